"""Backup and restore: everything comes back, on either server, and a restore that fails changes nothing."""
# ruff: noqa: ASYNC240 # a test has its event loop to itself

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from connecting import connected
from mls_crm_sync.core.errors import InvalidInput, SetupError, StoreUnavailable
from mls_crm_sync.store import binaries, migrate
from mls_crm_sync.store.backup import address, backup, restore

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server
    from mls_crm_sync.store.database import Connection

PROGRAMS = binaries.find()  # the newest: they serve every server
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
# Rows that look like the script they travel in.
TRICKY = [
    "SET transaction_timeout = 0;",
    "-- Name: x",
    "\\.",
    "COMMIT;",
    "\\! true",
    "a\tb\nc\\",
    "",
    "漢 é \U0001f3e0",
]


async def fill(conn: Connection) -> None:
    await conn.execute("CREATE EXTENSION pg_trgm")
    await conn.execute("CREATE TABLE lines (line text)")
    await conn.copy_records_to_table("lines", records=[(line,) for line in TRICKY])
    await conn.execute(
        "CREATE TABLE facts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fields jsonb NOT NULL,"
        " payload bytea, city text GENERATED ALWAYS AS (fields ->> 'City') STORED, seen timestamptz, tags text[])"
    )
    await conn.execute("CREATE INDEX facts_city ON facts USING gin (city gin_trgm_ops)")
    await conn.execute(
        "INSERT INTO facts (fields, payload, seen, tags) VALUES ($1, $2, '2026-03-29 02:30+02', '{a,\"b,c\"}')",
        {"City": "Zürich", "ListPrice": "1650000.10"},
        bytes(range(256)),
    )


async def content(dsn: str) -> dict[str, Any]:
    async with connected(dsn) as conn:
        return {
            "lines": [row["line"] for row in await conn.fetch("SELECT line FROM lines")],
            "facts": [tuple(row) for row in await conn.fetch("SELECT * FROM facts")],
            "applied": [tuple(row) for row in await conn.fetch("SELECT * FROM schema_migrations")],
            "indexes": [row[0] for row in await conn.fetch(INDEXES)],
            "next id": await conn.fetchval("SELECT last_value FROM facts_id_seq"),
        }


@pytest.fixture
async def filled(database_dsn: str) -> str:
    """Return the address of a migrated database with rows of all sorts."""
    async with connected(database_dsn) as conn:
        await fill(conn)
    return database_dsn


@pytest.fixture
async def file(filled: str, tmp_path: Path) -> Path:
    """Return a backup of `filled`."""
    await backup(filled, tmp_path / "crm.backup", PROGRAMS)
    return tmp_path / "crm.backup"


async def test_everything_comes_back(filled: str, empty_dsn: str, file: Path) -> None:
    assert await restore(empty_dsn, file, PROGRAMS, replace=False) == []

    assert await content(empty_dsn) == await content(filled)


@pytest.mark.parametrize(("origin", "target"), [("embedded", "debian"), ("debian", "embedded")])
async def test_backup_goes_from_one_postgresql_to_the_other(
    both_servers: dict[str, Server], tmp_path: Path, origin: str, target: str
) -> None:
    with (
        both_servers[origin].database() as source,
        both_servers[target].database(template="template0") as destination,
    ):
        async with connected(source) as conn:
            await fill(conn)
        await backup(source, tmp_path / "crm.backup", PROGRAMS)
        await restore(destination, tmp_path / "crm.backup", PROGRAMS, replace=False)

        assert await content(destination) == await content(source)


async def test_restored_database_can_be_backed_up_and_restored_again(filled: str, file: Path, tmp_path: Path) -> None:
    before = await content(filled)
    for _ in range(2):
        await restore(filled, file, PROGRAMS, replace=True)
        await backup(filled, tmp_path / "again", PROGRAMS)
        file = tmp_path / "again"

    assert await content(filled) == before


async def test_database_that_is_not_empty_is_refused_without_replace(filled: str, file: Path) -> None:
    async with connected(filled) as conn:
        await conn.execute("DELETE FROM lines")

    with pytest.raises(InvalidInput, match="not empty"):
        await restore(filled, file, PROGRAMS, replace=False)
    assert (await content(filled))["lines"] == []


async def test_replace_drops_what_the_backup_does_not_know(filled: str, file: Path) -> None:
    before = await content(filled)
    async with connected(filled) as conn:
        await conn.execute("CREATE SCHEMA newer; CREATE TABLE newer.one (); CREATE TABLE two (); DELETE FROM lines")

    await restore(filled, file, PROGRAMS, replace=True)

    assert await content(filled) == before
    async with connected(filled) as conn:
        assert await conn.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'newer'") == 0
        assert await conn.fetchval("SELECT to_regclass('two')") is None


async def test_extensions_alone_leave_a_database_empty(empty_dsn: str, file: Path) -> None:
    async with connected(empty_dsn) as conn:
        await conn.execute("CREATE EXTENSION pg_stat_statements")

    await restore(empty_dsn, file, PROGRAMS, replace=False)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
async def test_damaged_backup_changes_nothing(filled: str, file: Path, kept: float) -> None:
    before = await content(filled)
    os.truncate(file, int(file.stat().st_size * kept))

    with pytest.raises(InvalidInput, match=str(file)):
        await restore(filled, file, PROGRAMS, replace=True)
    assert await content(filled) == before


def reading(folder: Path, script: str) -> Path:
    """Return a bin folder whose pg_restore writes its script by `script`, in which $@ are its arguments."""
    folder.mkdir()
    (folder / "psql").symlink_to(PROGRAMS / "psql")
    real = f"exec {PROGRAMS}/pg_restore"
    (folder / "pg_restore").write_text(
        f'#!/bin/sh\ncase "$*" in *--table=*) {real} "$@" ;; esac\n{script.format(real[5:])}\n'
    )
    (folder / "pg_restore").chmod(0o755)
    return folder


async def test_statement_that_fails_half_way_changes_nothing(filled: str, file: Path, tmp_path: Path) -> None:
    before = await content(filled)
    programs = reading(tmp_path / "bin", "{} \"$@\" | sed 's/^CREATE INDEX/CREATE NONSENSE/'")

    with pytest.raises(SetupError, match=r"nothing was changed: .*NONSENSE"):
        await restore(filled, file, programs, replace=True)
    assert await content(filled) == before


async def test_script_that_breaks_off_between_statements_changes_nothing(
    filled: str, file: Path, tmp_path: Path
) -> None:
    before = await content(filled)
    programs = reading(tmp_path / "bin", '{} --section=pre-data "$@"; echo broken off >&2; exit 1')

    with pytest.raises(InvalidInput, match="damaged, nothing was changed: broken off"):
        await restore(filled, file, programs, replace=True)
    assert await content(filled) == before


async def test_what_is_no_backup_is_refused(database_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear operator")

    with pytest.raises(InvalidInput, match="cannot be read"):
        await restore(database_dsn, tmp_path / "letter", PROGRAMS, replace=True)
    with pytest.raises(InvalidInput, match="cannot be read"):
        await restore(database_dsn, tmp_path / "missing", PROGRAMS, replace=True)


async def test_backup_of_something_else_is_refused(server: Server, database_dsn: str, tmp_path: Path) -> None:
    with server.database(template="template0") as other:
        async with connected(other) as conn:
            await conn.execute("CREATE TABLE blog (post text)")
        await backup(other, tmp_path / "blog.backup", PROGRAMS)

    with pytest.raises(InvalidInput, match="a backup of something else"):
        await restore(database_dsn, tmp_path / "blog.backup", PROGRAMS, replace=True)


async def test_backup_newer_than_the_code_is_refused_and_nothing_is_changed(
    filled: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await content(filled)
    monkeypatch.setattr(migrate, "migrations", lambda _=None: [])

    with pytest.raises(SetupError, match="the backup is newer than this mls-crm-sync"):
        await restore(filled, file, PROGRAMS, replace=True)
    assert await content(filled) == before


async def test_older_backup_is_brought_up_to_date(empty_dsn: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = migrate.Migration("9999_later", "CREATE TABLE later ()", "0" * 64)
    known = [*migrate.migrations(), newer]
    monkeypatch.setattr(migrate, "migrations", lambda _=None: known)

    assert await restore(empty_dsn, file, PROGRAMS, replace=False) == ["9999_later"]


async def test_backup_that_fails_leaves_the_former_one(database_dsn: str, tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "pg_dump").write_text("#!/bin/sh\necho disk full >&2; exit 1\n")
    (broken / "pg_dump").chmod(0o755)
    file = tmp_path / "folder" / "crm.backup"
    file.parent.mkdir()
    file.write_text("the former one")

    with pytest.raises(SetupError, match="disk full"):
        await backup(database_dsn, file, broken)
    assert file.read_text() == "the former one"
    assert [path.name for path in file.parent.iterdir()] == ["crm.backup"]


async def test_backup_is_for_its_owner_alone(file: Path) -> None:
    assert file.stat().st_mode & 0o077 == 0


async def test_backup_into_a_missing_folder_is_refused(database_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        await backup(database_dsn, tmp_path / "missing" / "crm.backup", PROGRAMS)


async def test_backup_onto_a_folder_is_refused(database_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a folder"):
        await backup(database_dsn, tmp_path, PROGRAMS)


async def test_backup_of_a_database_that_is_away_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await backup(f"postgresql://nobody@/crm?host={tmp_path}", tmp_path / "crm.backup", PROGRAMS)


async def test_password_reaches_pg_dump_by_its_environment_alone(database_dsn: str, tmp_path: Path) -> None:
    spy = tmp_path / "bin"
    spy.mkdir()
    (spy / "pg_dump").write_text(f'#!/bin/sh\necho "$@" > {spy}/argv; echo "$PGPASSWORD" > {spy}/password\n')
    (spy / "pg_dump").chmod(0o755)

    await backup(f"{database_dsn}&password=s%26cret", tmp_path / "crm.backup", spy)
    assert "cret" not in (spy / "argv").read_text()
    assert (spy / "password").read_text() == "s&cret\n"


@pytest.mark.parametrize(
    ("dsn", "uri", "password"),
    [
        ("postgresql://anna:s%40c%2Fret@db:5433/crm", "postgresql://anna@db:5433/crm?", "s@c/ret"),
        (
            "postgres://anna@db/crm?password=secret&sslmode=require",
            "postgres://anna@db/crm?sslmode=require",
            "secret",
        ),
        ("postgresql:///crm?host=%2Frun%2Fpg", "postgresql:///crm?host=%2Frun%2Fpg", None),
        ("postgresql://a:secret@h1:1,h2:2/crm", "postgresql://a@h1:1,h2:2/crm?", "secret"),
    ],
)
def test_address_takes_the_password_out_of_the_uri(
    monkeypatch: pytest.MonkeyPatch, dsn: str, uri: str, password: str | None
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)

    assert address(dsn).uri == uri
    assert address(dsn).environment.get("PGPASSWORD") == password


@pytest.mark.skipif(shutil.which("psql") is None, reason="needs a second set of programs")
def test_newest_programs_serve_a_server_of_older_ones(pg_bin: Path | None) -> None:
    assert binaries.newest(pg_bin) == PROGRAMS
