"""Backup and restore of the whole database, by PostgreSQL's own pg_dump, pg_restore and psql.

A backup is pg_dump's custom format, and goes from any PostgreSQL from 15 on to any other: what an older
server does not know is left out of the script. A restore is one transaction, committed only after the script
was seen whole: it happens, or nothing does. No password is ever in a command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mls_crm_sync.core.errors import InvalidInput, SetupError
from mls_crm_sync.store import migrate
from mls_crm_sync.store.database import check_server, connect
from mls_crm_sync.store.queries import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mls_crm_sync.store.database import Connection

CHUNK = 1024 * 1024  # bytes
LOCK_WAIT = "30s"  # for those who still use the tables that --replace drops

_SQL = load(__file__)
_APPLIED = re.compile(rb"^COPY public\.schema_migrations \((.+?)\) FROM stdin;\n(.*?)^\\\.$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Address:
    """Where libpq's programs find the database: a URI without, and an environment with the password."""

    uri: str
    environment: dict[str, str]


def address(dsn: str) -> Address:
    """Take the password out of the URI, from either place where it may stand."""
    parts = urlsplit(dsn)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    kept = []
    for option in filter(None, parts.query.split("&")):
        if option.startswith("password="):
            password = option.removeprefix("password=")
        else:
            kept.append(option)
    environment = dict(os.environ, PGCONNECT_TIMEOUT="10", PGAPPNAME="mls-crm-sync", LC_ALL="C")
    if password:
        environment["PGPASSWORD"] = unquote(password)
    return Address(f"{parts.scheme}://{name}{at}{host}{parts.path}?{'&'.join(kept)}", environment)


async def backup(dsn: str, file: Path, bin_dir: Path) -> int:
    """Write the database to `file`; return its size in bytes. The file is whole, or what it was before."""
    conn = await connect(dsn)  # for what it says when the database is away or refuses us
    await conn.close()
    return await asyncio.to_thread(_dump, address(dsn), file, bin_dir)


async def restore(dsn: str, file: Path, bin_dir: Path, *, replace: bool) -> list[str]:
    """Bring the database to what `file` holds, then up to date; return the migrations that were applied.

    Raises InvalidInput for a file that is no whole backup of ours and for a database that is not empty,
    unless `replace` says that everything in it may go; SetupError for a backup that is newer than this code.
    """
    applied = await asyncio.to_thread(_migrations_in, file, bin_dir)
    migrate.pending(applied, migrate.migrations(), what="the backup")
    conn = await connect(dsn)
    try:
        await check_server(conn, allow_unsafe=True)
        if not replace:
            await _require_empty(conn)
        major = conn.get_server_version().major
        await asyncio.to_thread(_replay, address(dsn), file, bin_dir, major=major, replace=replace)
        done = await migrate.migrate(conn)
        await conn.execute("ANALYZE")  # the planner's statistics are not in the backup
        return done
    finally:
        await conn.close()


async def drop_all(conn: Connection) -> None:
    """Make the database as empty as a new one. There is no way back."""
    await conn.execute(_SQL["drop_all"])


async def _require_empty(conn: Connection) -> None:
    if await conn.fetchval(_SQL["holds_something"]):
        raise InvalidInput("--replace", "the database is not empty; with --replace everything in it is dropped first")


def _dump(source: Address, file: Path, bin_dir: Path) -> int:
    with _made_aside(file.absolute()) as part:
        options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={part}"]
        command = [str(bin_dir / "pg_dump"), *options, f"--dbname={source.uri}"]
        done = subprocess.run(command, env=source.environment, capture_output=True, check=False)  # noqa: S603 # our own program
        if done.returncode:
            raise SetupError(
                f"pg_dump failed: {done.stderr.decode(errors='replace').strip()}",
                hint="MLS_CRM_SYNC_PG_BIN names the programs of a PostgreSQL as new as the server; "
                "the ones that come with mls-crm-sync speak no TLS",
            )
        return part.stat().st_size


@contextlib.contextmanager
def _made_aside(file: Path) -> Iterator[Path]:
    """Lend a private file beside `file`; at the end it is on the disk and takes its place."""
    if file.is_dir():
        raise InvalidInput(str(file), "is a folder; name a file in it")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise InvalidInput(str(file), f"cannot be written: {error.strerror}") from error
    part = Path(name)
    try:
        yield part
        os.fsync(handle)
        part.replace(file)
        _sync_folder(file.parent)
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _migrations_in(file: Path, bin_dir: Path) -> dict[str, str]:
    """Return the checksums by name of the migrations that the backed-up database had."""
    options = ["--data-only", "--schema=public", "--table=schema_migrations", "--file=-"]
    command = [str(bin_dir / "pg_restore"), *options, str(file.absolute())]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 # our own program
    if done.returncode:
        raise InvalidInput(str(file), f"cannot be read: {done.stderr.decode(errors='replace').strip()}")
    found = _APPLIED.search(done.stdout)
    if not found:
        raise InvalidInput(str(file), "is a backup of something else: it has no table schema_migrations")
    names = found[1].decode().split(", ")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in found[2].decode().splitlines()]
    return {row["name"]: row["sha256"] for row in rows}


def _replay(target: Address, file: Path, bin_dir: Path, *, major: int, replace: bool) -> None:
    """Run the backup's script in one transaction. An end of the script without COMMIT rolls it back."""
    read = [str(bin_dir / "pg_restore"), "--no-owner", "--no-privileges", "--no-comments", "--file=-"]
    write = [
        str(bin_dir / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--dbname={target.uri}",
    ]
    with (
        tempfile.TemporaryFile() as unreadable,
        tempfile.TemporaryFile() as refused,
        subprocess.Popen([*read, str(file.absolute())], stdout=subprocess.PIPE, stderr=unreadable) as reader,  # noqa: S603 # our own program
        subprocess.Popen(  # noqa: S603 # our own program
            write, env=target.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=refused
        ) as writer,
    ):
        assert reader.stdout is not None  # noqa: S101 # for mypy
        assert writer.stdin is not None  # noqa: S101 # for mypy
        with contextlib.suppress(BrokenPipeError), writer.stdin as script:
            script.write(_prologue(replace=replace))
            _copy_script(reader.stdout, script, major)
            if reader.wait() == 0:
                script.write(b"COMMIT;\n")
        reader.stdout.close()
        if writer.wait():
            raise SetupError(f"the backup was not restored, nothing was changed: {_text(refused)}")
        if reader.wait():
            raise InvalidInput(str(file), f"is damaged, nothing was changed: {_text(unreadable)}")


def _prologue(*, replace: bool) -> bytes:
    before = f"BEGIN; SET client_min_messages = warning; SET lock_timeout = '{LOCK_WAIT}';"
    return f"{before} {_SQL['drop_all'] if replace else ''}\n".encode()


def _copy_script(source: IO[bytes], target: IO[bytes], major: int) -> None:
    """Copy; from the settings at its head leave out what the server does not know yet."""
    for line in iter(source.readline, b""):
        if major >= 17 or not line.startswith(b"SET transaction_timeout"):
            target.write(line)
        if line.startswith(b"-- Name:"):
            break
    shutil.copyfileobj(source, target, CHUNK)


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace").strip()
