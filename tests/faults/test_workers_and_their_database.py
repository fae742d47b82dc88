"""Workers whose PostgreSQL is stopped under them, and groups of workers that share nothing but one over TCP."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from connecting import connected
from faults.own_postgres import Postgres
from faults.test_workers import a_service, ended, group_of, link_all, seen, set_up
from making import id_of, out_of_step
from mls_crm_sync.store import embedded
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.migrate import migrate
from mls_crm_sync.sync import rescrape
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES

pytestmark = [pytest.mark.slow, pytest.mark.one_server]

WAYS = ("fast", "immediate", "fast", "immediate", "fast")
AWAY = 0.8  # seconds without a server
BACK = 10.0  # seconds after its start within which workers work again


@pytest.fixture
def _port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server have a free port for its TCP."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number: int = taken.getsockname()[1]
    monkeypatch.setattr(embedded, "PORT", number)


@pytest.fixture
def postgres(home: Path, pg_bin: Path | None, _port: None) -> Iterator[Postgres]:
    one = Postgres(home, pg_bin, tcp=True)
    yield one
    one.close()


@pytest.fixture
async def own(postgres: Postgres) -> AsyncIterator[Database]:
    async with Database.open(postgres.dsn) as database:
        async with database.connection() as conn:
            await migrate(conn)
        yield database


async def _read_so_far(conn: Connection, run_id: int) -> int:
    """Return a number that grows with each page that workers store."""
    pages = "SELECT count(*) FROM pass_pages JOIN location_passes USING (pass_id) WHERE run_id = $1"
    done = "SELECT count(*) FROM scraping_job_locations WHERE run_id = $1 AND finished_at IS NOT NULL"
    return int(await conn.fetchval(pages, run_id) + 1000 * await conn.fetchval(done, run_id))


async def _all_at_work(own: Database, number: int) -> None:
    busy = "SELECT count(DISTINCT worker_id) FROM scraping_job_locations WHERE status = 'running'"
    async with asyncio.timeout(60), own.connection() as conn:
        while await conn.fetchval(busy) < number:  # noqa: ASYNC110 - workers tell nobody
            await asyncio.sleep(0.02)


async def test_workers_outlive_their_database(own: Database, postgres: Postgres, tmp_path: Path) -> None:
    with a_service(100, of_each=12, latency=0.15, page_size=4).serving() as service:
        await set_up(own, service)
        with group_of(postgres.dsn, tmp_path, 3, jobs=2) as group:
            await seen(own, 3)
            run_id = await rescrape.run_now(own, ACTIVE_PROPERTIES, actor="test")
            await _all_at_work(own, 3)
            for way in WAYS:
                await asyncio.sleep(1.0)
                postgres.stop(way)
                await asyncio.sleep(AWAY)
                postgres.start()
                began = time.monotonic()
                async with connected(postgres.dsn) as conn:
                    before = now = await _read_so_far(conn, run_id)
                    while now <= before:
                        assert time.monotonic() - began < BACK, f"no page since\n{group.said()[-3000:]}"
                        await asyncio.sleep(0.05)
                        now = await _read_so_far(conn, run_id)
            row = await ended(own, run_id)
            assert [process.poll() for process in group.processes] == [None, None, None], "no worker has ended"
            assert group.stop() == [0, 0, 0]
        assert row["status"] == "succeeded", row["error_detail"]
        async with own.connection() as conn:
            stored = {row[0] for row in await conn.fetch("SELECT property_id FROM mls_properties")}
            assert stored == {id_of(key) for some in service.listings.values() for key in some}
            assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'listing.changed'") == len(stored)


async def test_worker_whose_database_is_away_at_the_start_says_so(postgres: Postgres, tmp_path: Path) -> None:
    postgres.stop("fast")
    with group_of(postgres.dsn, tmp_path, 1) as group:
        assert group.processes[0].wait(60) != 0
        group.processes.clear()
        assert "database" in group.said()
    postgres.start()


async def test_one_group_finishes_what_the_other_began(own: Database, postgres: Postgres, tmp_path: Path) -> None:
    """Each group has folders of its own and nothing else in common than the server's address over TCP."""
    dsn = postgres.tcp_dsn
    with a_service(40, of_each=12, latency=0.1, page_size=4).serving() as service:
        await set_up(own, service)
        places = [tmp_path / name for name in ("a", "b")]
        for place in places:
            place.mkdir()
        with group_of(dsn, places[0], 2, jobs=3) as first, group_of(dsn, places[1], 2, jobs=3) as second:
            await seen(own, 4)
            run_id = await rescrape.run_now(own, ACTIVE_PROPERTIES, actor="test")
            await _all_at_work(own, 4)
            for process in list(first.processes):
                first.kill(process)
            row = await ended(own, run_id)
            assert second.stop() == [0, 0]
        assert row["status"] == "succeeded", row["error_detail"]
        assert row["counts"]["new"] == 40 * 12
        await link_all(own, service)
        async with own.connection() as conn:
            assert await out_of_step(conn) == []
            assert await conn.fetchval("SELECT count(*) FROM scraping_job_locations WHERE starts > 1") > 0
