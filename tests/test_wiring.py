"""The parts together: the embedded database or one's own, opened, migrated, given back; `db` commands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from typer.testing import CliRunner

from mls_crm_sync import wiring
from mls_crm_sync.cli import db as db_commands
from mls_crm_sync.core.errors import InvalidInput, SetupError
from mls_crm_sync.settings import Settings
from mls_crm_sync.store import migrate
from mls_crm_sync.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server


@pytest.fixture
def embedded(home: Path, pg_bin: Path | None) -> Settings:
    return Settings(database_url=None, home=home, pg_bin=pg_bin)


def residents(settings: Settings) -> int:
    return len(EmbeddedPostgres(settings.home, pg_bin=settings.pg_bin)._residents())


async def test_embedded_database_is_migrated_lent_and_stopped(embedded: Settings) -> None:
    async with wiring.open_database(embedded) as db, db.connection() as conn:
        await migrate.check(conn)
        assert residents(embedded) > 0

    assert residents(embedded) == 0


async def test_embedded_database_is_stopped_after_an_error(embedded: Settings) -> None:
    with pytest.raises(ZeroDivisionError):
        async with wiring.open_database(embedded):
            raise ZeroDivisionError

    assert residents(embedded) == 0


def test_bulk_work_gives_way_and_the_server_that_it_started_does_not(embedded: Settings, tmp_path: Path) -> None:
    pipe = tmp_path / "listings.jsonl"
    os.mkfifo(pipe)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"MLS_CRM_SYNC_HOME": str(embedded.home)}
    environment |= {"MLS_CRM_SYNC_PG_BIN": str(embedded.pg_bin)} if embedded.pg_bin else {}
    command = [sys.executable, "-m", "mls_crm_sync", "ingest", str(pipe), "--source", "mls", "--location", "x"]
    started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with started as ingest, pipe.open("wb") as written:  # which opens once somebody reads
        process, until = psutil.Process(ingest.pid), time.monotonic() + 60
        while process.nice() != wiring.BULK_NICENESS and time.monotonic() < until:
            time.sleep(0.02)
        server, _ = EmbeddedPostgres(embedded.home, pg_bin=embedded.pg_bin)._lock_file()
        assert server is not None
        assert (process.nice(), psutil.Process(server).nice()) == (wiring.BULK_NICENESS, 0)
        written.write(b'{"ListingKey": "1"}\n')


async def test_start_that_is_cancelled_leaves_no_server(embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, original = threading.Event(), EmbeddedPostgres.start

    def start(self: EmbeddedPostgres) -> str:
        begun.set()
        return original(self)

    async def work() -> None:
        async with wiring.open_database(embedded):
            pass

    monkeypatch.setattr(EmbeddedPostgres, "start", start)
    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert residents(embedded) == 0


async def test_database_url_wins_and_nothing_embedded_is_started(empty_dsn: str, home: Path) -> None:
    own = Settings(database_url=empty_dsn, home=home, allow_unsafe_database=True)

    async with wiring.open_database(own) as db, db.connection() as conn:
        await migrate.check(conn)
    assert residents(own) == 0


async def test_unsafe_server_of_ones_own_is_refused_before_it_is_migrated(empty_dsn: str, home: Path) -> None:
    with pytest.raises(SetupError, match="fsync"):
        async with wiring.open_database(Settings(database_url=empty_dsn, home=home)):
            pass


async def test_reset_database_is_as_empty_as_a_new_one(database_dsn: str) -> None:
    own = Settings(database_url=database_dsn, allow_unsafe_database=True)

    await wiring.reset_database(own)

    assert await wiring.migrate_database(own) == [one.name for one in migrate.migrations()]


async def test_backup_of_a_new_database_can_be_restored(server: Server, empty_dsn: str, tmp_path: Path) -> None:
    new = Settings(database_url=empty_dsn, allow_unsafe_database=True)
    file = tmp_path / "crm.backup"

    await wiring.backup_database(new, file)

    with server.database(template="template0") as other:
        assert await wiring.restore_database(Settings(database_url=other), file, replace=False) == []


async def test_backup_before_an_upgrade_is_one_for_the_release_before_it(
    server: Server, database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Settings(database_url=database_dsn, allow_unsafe_database=True)
    later = migrate.Migration("9999_later", "SELECT 1", "")
    known = migrate.migrations()
    with monkeypatch.context() as upgraded:
        upgraded.setattr(migrate, "migrations", lambda *_: [*known, later])
        await wiring.backup_database(own, tmp_path / "crm.backup")

    with server.database(template="template0") as other:
        restored = Settings(database_url=other)
        assert await wiring.restore_database(restored, tmp_path / "crm.backup", replace=False) == []


def test_commands_migrate_back_up_and_restore(
    server: Server, empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(db_commands.app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    monkeypatch.setenv("MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE", "1")
    names = [one.name for one in migrate.migrations()]
    file = str(tmp_path / "crm.backup")

    assert run("migrate").endswith("".join(f"applied {name}\n" for name in names))
    assert run("migrate").endswith("nothing to do\n")
    assert run("backup", file).startswith(f"wrote {file}, ")
    with pytest.raises(InvalidInput, match="not empty"):
        run("restore", file)
    assert run("restore", file, "--replace").endswith(f"restored {file}\n")
    with server.database(template="template0") as other:
        monkeypatch.setenv("DATABASE_URL", other)
        assert run("restore", file).endswith(f"restored {file}\n")
