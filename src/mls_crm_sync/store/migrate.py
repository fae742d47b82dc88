"""Migrations: numbered `.sql` files, each applied once, in order of their names, in a transaction of its own.

The database remembers name and checksum of what was applied. A file that was edited afterwards is refused,
and so is a database that knows more than this code. There is no way down: to go back, restore a backup.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import structlog

from mls_crm_sync.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mls_crm_sync.store.database import Connection

log = structlog.get_logger()

FOLDER = Path(__file__).with_name("migrations")
LOCK = 0x6D6C7363  # of the advisory lock: "mlsc"
_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name       text COLLATE "C" PRIMARY KEY,
        sha256     text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True)
class Migration:
    """One file; `sha256` is the hex digest of its bytes."""

    name: str
    sql: str
    sha256: str


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """Read what this code brings along, in order."""
    return [_read(path) for path in sorted(folder.glob("[0-9]*.sql"))]


def _read(path: Path) -> Migration:
    data = path.read_bytes()
    return Migration(path.stem, data.decode(), hashlib.sha256(data).hexdigest())


def pending(applied: Mapping[str, str], known: Sequence[Migration], *, what: str = "the database") -> list[Migration]:
    """Return what `applied` (checksums by name) lacks. Raises SetupError where the two contradict each other.

    `what` is what has them applied, for the message.
    """
    newer = sorted(applied.keys() - {migration.name for migration in known})
    if newer:
        raise SetupError(
            f"{what} is newer than this mls-crm-sync: it has {', '.join(newer)}",
            hint="install the release that wrote it, or restore a backup made before that",
        )
    edited = [m.name for m in known if applied.get(m.name, m.sha256) != m.sha256]
    if edited:
        raise SetupError(
            f"{', '.join(edited)} was edited after it had been applied to {what}",
            hint="put the file back as released; a change belongs into a new migration",
        )
    return [migration for migration in known if migration.name not in applied]


async def migrate(conn: Connection, *, folder: Path = FOLDER) -> list[str]:
    """Bring the database up to date; return the names of what was applied now. Many may run it at once.

    Raises SetupError; what was applied before the failing file stays.
    """
    known = migrations(folder)
    done: list[str] = []
    if not pending(await _applied(conn), known):
        return done
    while (name := await _apply_next(conn, known)) is not None:
        log.info("migration_applied", name=name)
        done.append(name)
    return done


async def check(conn: Connection, *, folder: Path = FOLDER) -> None:
    """Raise SetupError unless the database is exactly as this code needs it."""
    missing = pending(await _applied(conn), migrations(folder))
    if missing:
        raise SetupError(
            f"the database lacks {', '.join(m.name for m in missing)}", hint="run `mls-crm-sync db migrate`"
        )


async def is_new(conn: Connection) -> bool:
    """Tell a database to which nothing of ours was ever applied."""
    return not await _applied(conn)


async def _applied(conn: Connection) -> dict[str, str]:
    if await conn.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    return await _recorded(conn)


async def _recorded(conn: Connection) -> dict[str, str]:
    rows = await conn.fetch("SELECT name, sha256 FROM schema_migrations")
    return {row["name"]: row["sha256"] for row in rows}


async def _apply_next(conn: Connection, known: Sequence[Migration]) -> str | None:
    """Apply the first file still pending once the lock is ours. The lock ends with the transaction."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        # Not to_regclass: in a transaction that has begun before the wait it still says what it said before.
        await conn.execute(_TABLE)
        waiting = pending(await _recorded(conn), known)
        if not waiting:
            return None
        await _apply(conn, waiting[0])
        return waiting[0].name


async def _apply(conn: Connection, migration: Migration) -> None:
    try:
        await conn.execute(migration.sql)
    except (asyncpg.SyntaxOrAccessError, asyncpg.FeatureNotSupportedError, asyncpg.DataError) as error:
        raise SetupError(f"migration {migration.name} failed, nothing of it was applied: {error}") from error
    await conn.execute("INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256)
