"""Where the parts meet: which database, by which programs, for how long. The edges come in here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mls_crm_sync.core.errors import SetupError
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.jobs.worker import Worker
from mls_crm_sync.store import backup, binaries, migrate
from mls_crm_sync.store.database import Database, connect
from mls_crm_sync.store.embedded import EmbeddedPostgres
from mls_crm_sync.sync import schedules
from mls_crm_sync.sync.sealing import Sealer
from mls_crm_sync.sync.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mls_crm_sync.settings import Settings


YOUNG_OBJECTS = 200_000
"""Between two looks of the garbage collector. A page of listings makes more than the usual 700 at once, none of them a
cycle; looking through them each time took a fifth of an ingest."""

CONNECTIONS_PER_TASK = 3
"""Of a worker: a page is looked at while the one before is written, and the source's budget asked beside both."""

BULK_NICENESS = 15
"""Of processes in which nobody waits for a single answer: 0 is everybody's, 19 the last."""

WORKER_IDLE_TIMEOUT = timedelta(seconds=10)
"""Of a worker's transaction: a process that was stopped in the middle of one must not keep its locks in its sleep."""

REQUEST_TIMEOUT = timedelta(seconds=15)
"""Of one statement of a request; long work has its own pool and no such limit."""


def calm_collector() -> None:
    """Let the garbage collector look less often, and no more at what is here now. Once, when the process begins."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


def give_way() -> None:
    """Let the processor serve others first, from now on: a service beside an ingest on two full cores answers several
    times as fast, for a twentieth of the ingest's speed (bench/RESULTS.md).
    """
    os.nice(BULK_NICENESS)


def sealer(settings: Settings) -> Sealer:
    """Return what opens and seals the secrets of sources, by the keys this process was given. Raises SetupError."""
    text = settings.secret_key.get_secret_value() if settings.secret_key else ""
    if settings.secret_key_file is not None:
        try:
            text = f"{text}\n{settings.secret_key_file.read_text(encoding='ascii')}"
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            message = f"the key file {settings.secret_key_file} cannot be read: {why}"
            raise SetupError(message, hint="MLS_CRM_SYNC_SECRET_KEY_FILE names it") from error
    return Sealer(text.split())


@dataclass(frozen=True)
class Server:
    """A database that can be connected to, and the programs that back it up."""

    dsn: str
    pg_bin: Path | None  # where the programs are said to be

    @property
    def bin_dir(self) -> Path:
        """Looked for when it is needed: a database of one's own needs no programs of ours. Raises SetupError."""
        return binaries.newest(self.pg_bin)


@contextlib.asynccontextmanager
async def database_server(settings: Settings) -> AsyncIterator[Server]:
    """Lend the configured database as it is, not migrated. The embedded one runs while somebody holds it."""
    if settings.database_url is not None:
        yield Server(settings.database_url, settings.pg_bin)
        return
    postgres = await asyncio.to_thread(EmbeddedPostgres, settings.home, pg_bin=settings.pg_bin)
    starting = asyncio.ensure_future(asyncio.to_thread(postgres.start))
    try:
        yield Server(await asyncio.shield(starting), settings.pg_bin)
    finally:
        await asyncio.shield(_stop(postgres, starting))


async def _stop(postgres: EmbeddedPostgres, starting: asyncio.Future[str]) -> None:
    """Stop it once it has started: a thread cannot be cancelled, and a server nobody stops would stay."""
    await asyncio.wait([starting])
    await asyncio.to_thread(postgres.stop)


@contextlib.asynccontextmanager
async def open_database(settings: Settings, *, max_size: int = 10) -> AsyncIterator[Database]:
    """Lend the configured database, up to date. Raises SetupError and StoreUnavailable.

    `max_size` is the most connections this process will hold at once.
    """
    async with _opened(settings, max_size=max_size) as database:
        async with database.connection() as conn:
            await migrate.migrate(conn)
        yield database


@contextlib.asynccontextmanager
async def open_worker(settings: Settings, *, slots: int) -> AsyncIterator[Worker]:
    """Lend a worker over the configured database, up to date, with the schedule of active properties made.

    Raises SetupError and StoreUnavailable.
    """
    sealer_ = sealer(settings)
    unsafe = settings.allow_unsafe_database
    async with (
        database_server(settings) as server,
        Database.open(
            server.dsn,
            max_size=slots * CONNECTIONS_PER_TASK + 4,
            allow_unsafe=unsafe,
            idle_timeout=WORKER_IDLE_TIMEOUT,
        ) as database,
    ):
        async with database.connection() as conn:
            await migrate.migrate(conn)
        await set_schedule_up(settings, database)
        yield Worker(database, server.dsn, Work(database, Normaliser(), sealer_), slots=slots)


async def set_schedule_up(settings: Settings, database: Database) -> None:
    """Make the schedule of active properties at the first start. Raises SetupError."""
    await schedules.ensure_active_properties(database, settings.frequency, minimum=settings.minimum_interval)


@contextlib.asynccontextmanager
async def _opened(settings: Settings, *, max_size: int) -> AsyncIterator[Database]:
    unsafe = settings.allow_unsafe_database
    async with (
        database_server(settings) as server,
        Database.open(server.dsn, max_size=max_size, allow_unsafe=unsafe) as database,
    ):
        yield database


async def migrate_database(settings: Settings) -> list[str]:
    """Bring the configured database up to date; return the names of what was applied."""
    async with _opened(settings, max_size=1) as database, database.connection() as conn:
        return await migrate.migrate(conn)


async def backup_database(settings: Settings, file: Path) -> int:
    """Write a backup of the configured database; return its size in bytes.

    A new database is migrated first, or nothing could restore its backup. Any other is left as it is, so that the
    backup before an upgrade is one for the release before it.
    """
    async with database_server(settings) as server:
        conn = await connect(server.dsn)
        try:
            if await migrate.is_new(conn):
                await migrate.migrate(conn)
        finally:
            await conn.close()
        return await backup.backup(server.dsn, file, server.bin_dir)


async def restore_database(settings: Settings, file: Path, *, replace: bool) -> list[str]:
    """Restore the configured database from a backup; return the names of the migrations that followed."""
    async with database_server(settings) as server:
        return await backup.restore(server.dsn, file, server.bin_dir, replace=replace)


async def reset_database(settings: Settings) -> None:
    """Empty the configured database for good. For samples."""
    async with _opened(settings, max_size=1) as database, database.transaction() as conn:
        await backup.drop_all(conn)


@contextlib.asynccontextmanager
async def open_pools(settings: Settings) -> AsyncIterator[tuple[Database, Database]]:
    """Lend the configured database, up to date, by two pools: one for short requests, one for long work.

    Long work that holds its connections can then never keep a reader waiting.
    """
    unsafe = settings.allow_unsafe_database
    async with (
        database_server(settings) as server,
        Database.open(server.dsn, max_size=20, allow_unsafe=unsafe, statement_timeout=REQUEST_TIMEOUT) as short,
        Database.open(server.dsn, max_size=10, allow_unsafe=unsafe) as long,
    ):
        async with long.connection() as conn:
            await migrate.migrate(conn)
        yield short, long
