"""Workers as processes: what they share, and what is left when they are killed, stopped, or lose their database.

`WORKER_KILLS`, `WORKER_STOPS`, `WORKER_LOCATIONS` and `WORKER_SEED` make more of it, by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from making import a_crm, a_listing, id_of, out_of_step
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import runs, workers
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.sync import links, rescrape, schedules, sources
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer
from sources.mls_service import MlsService

pytestmark = [pytest.mark.slow, pytest.mark.one_server]

SOURCE = "test-mls"
LOCATIONS = int(os.environ.get("WORKER_LOCATIONS", "40"))
KILLS = int(os.environ.get("WORKER_KILLS", "4"))
STOPS = int(os.environ.get("WORKER_STOPS", "1"))
RECOVERED_WITHIN = 30.0


class Group:
    """Workers in processes of their own, over one database."""

    def __init__(self, dsn: str, logs: Path, *, jobs: int = 4) -> None:
        self._environment = {
            **os.environ, "DATABASE_URL": dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1", "LOG_LEVEL": "info",
        }  # fmt: skip
        self._command = [sys.executable, "-m", "mls_crm_sync", "worker", "--jobs", str(jobs)]
        self._logs = logs
        self.processes: list[subprocess.Popen[bytes]] = []
        self.started = 0

    def start(self, number: int = 1) -> None:
        for _ in range(number):
            self.started += 1
            log = (self._logs / f"worker{self.started}-{id(self)}.log").open("wb")
            with log:
                process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
            self.processes.append(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.processes.remove(process)

    def stop(self) -> list[int]:
        """Tell all to end; return their exit codes."""
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(30) for process in self.processes]
        self.processes = []
        return codes

    def said(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self._logs.glob("worker*.log")))


@contextlib.contextmanager
def group_of(dsn: str, logs: Path, number: int, *, jobs: int = 4) -> Iterator[Group]:
    group = Group(dsn, logs, jobs=jobs)
    group.start(number)
    try:
        yield group
    finally:
        for process in group.processes:
            process.kill()
            process.wait()


def zip_of(number: int) -> str:
    return f"{10_000 + number:05d}"


def a_service(locations: int, *, of_each: int = 1, latency: float = 0.0, page_size: int = 10) -> MlsService:
    listings = {
        zip_of(n): {
            key: a_listing(key, PostalCode=zip_of(n), ListPrice=500_000)
            for key in (f"L{n:04}-{m:02}" for m in range(of_each))
        }
        for n in range(locations)
    }
    return MlsService(listings, page_size=page_size, latency=latency)


async def set_up(db: Database, service: MlsService, **pace: Any) -> None:
    """Make the service the default source, with an active CRM property at each of its locations."""
    await sources.add(db, Sealer(), SOURCE, "fake", {"url": service.address, "page_size": service.page_size}, **pace)
    await schedules.ensure_active_properties(db, None)
    await schedules.edit(db, ACTIVE_PROPERTIES, {"request_delay": 0, "limit": 10_000}, by="test")
    for zip_code in service.listings:
        await a_crm(db, f"c{zip_code}", crm_status="active", zip=zip_code, notes="mine")


async def link_all(db: Database, service: MlsService) -> None:
    rows = [
        links.LinkRow(n, f"c{zip_code}", property_id=id_of(key))
        for n, (zip_code, some) in enumerate(service.listings.items())
        for key in (min(some),)
    ]
    done = await links.link_rows(db, Normaliser().unsynced, rows)
    assert done.linked == len(service.listings), done.errors[:1]


async def ended(db: Database, run_id: int, *, within: float = 120.0) -> Row:
    async with asyncio.timeout(within):
        while True:
            async with db.connection() as conn:
                row = await runs.view(conn, run_id)
            if row["finished_at"] is not None:
                return row
            await asyncio.sleep(0.05)


async def seen(db: Database, number: int) -> None:
    """Wait until so many workers are there: on a busy machine one may have done all before the others have begun."""
    async with asyncio.timeout(60):
        while True:
            async with db.connection() as conn:
                if len(await workers.living(conn)) >= number:
                    return
            await asyncio.sleep(0.05)


async def test_each_location_is_read_once_by_four_workers_with_three_schedulers(
    db: Database, conn: Connection, database_dsn: str, tmp_path: Path
) -> None:
    with a_service(LOCATIONS, latency=0.05).serving() as service:
        await set_up(db, service)
        with group_of(database_dsn, tmp_path, 4) as group:
            await seen(db, 4)
            await conn.execute("UPDATE scheduled_jobs SET next_run_at = clock_timestamp() - interval '1 second'")
            await asyncio.gather(*(schedules.tick(db) for _ in range(3)))
            run_id = await conn.fetchval("SELECT run_id FROM scraping_jobs WHERE kind = 'scheduled' AND reason IS NULL")
            row = await ended(db, run_id)
            assert group.stop() == [0, 0, 0, 0]
        assert row["status"] == "succeeded", row["error_detail"]
        assert row["counts"]["new"] == LOCATIONS
        assert service.first_pages() == Counter(dict.fromkeys(service.listings, 1))
        shared = await conn.fetchval("SELECT count(DISTINCT worker_id) FROM scraping_job_locations")
        assert shared > 1, "the work was shared"
        assert await conn.fetchval("SELECT count(*) FROM workers") == 0, "they said that they leave"


async def test_budget_and_delay_hold_over_all_workers(
    db: Database, conn: Connection, database_dsn: str, tmp_path: Path
) -> None:
    """The distance of any two requests, and how many fall into any second, by the one clock that all share."""
    with a_service(24).serving() as service:
        await set_up(db, service, limits={"second": 4, "hour": 1000})  # the hour keeps the log of starts
        await schedules.edit(db, ACTIVE_PROPERTIES, {"request_delay": 0.1}, by="test")
        with group_of(database_dsn, tmp_path, 4) as group:
            await seen(db, 4)
            run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="test")
            row = await ended(db, run_id)
            group.stop()
        assert row["status"] == "succeeded", row["error_detail"]
        starts = [row["at"] for row in await conn.fetch("SELECT at FROM source_requests ORDER BY at")]
        assert len(starts) == len(service.asked) == 24
        assert min(b - a for a, b in pairwise(starts)) >= timedelta(seconds=0.1)
        second = timedelta(seconds=1)
        assert all(sum(at <= one < at + second for one in starts) <= 4 for at in starts)
        arrived = sorted(at for at, _ in service.asked)
        assert arrived[-1] - arrived[0] > 0.9 * (starts[-1] - starts[0]).total_seconds(), (
            "they went out when they were let"
        )


async def test_killed_and_stopped_workers_lose_nothing_and_write_nothing_twice(
    db: Database, conn: Connection, database_dsn: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("WORKER_SEED", random.randrange(2**32)))
    print(f"WORKER_SEED={seed}")  # noqa: T201 - shown when the test fails, to replay it
    rng = random.Random(seed)
    with a_service(LOCATIONS, of_each=12, latency=0.08, page_size=4).serving() as service:
        await set_up(db, service)
        with group_of(database_dsn, tmp_path, 4, jobs=2) as group:
            await seen(db, 4)
            first = await ended(db, await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="test"))
            assert first["status"] == "succeeded", first["error_detail"]
            await link_all(db, service)
            seq = await conn.fetchval("SELECT max(seq) FROM events")
            changed: Counter[str] = Counter()
            faults = ["kill"] * KILLS + ["stop"] * STOPS
            rng.shuffle(faults)
            slowest = 0.0
            while faults:
                _change_some(service, rng, changed)
                run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="test")
                for fault in [faults.pop() for _ in range(min(2, len(faults)))]:
                    await asyncio.sleep(rng.uniform(0.1, 1.5))
                    slowest = max(slowest, await _harm(conn, group, fault, rng))
                row = await ended(db, run_id)
                assert row["status"] == "succeeded", (row["error_detail"], group.said()[-3000:])
                assert await out_of_step(conn) == []
            assert set(group.stop()) == {0}
        print(f"slowest recovery: {slowest:.1f} s")  # noqa: T201 - the figure of the run by hand
        assert slowest <= RECOVERED_WITHIN
        rows = await conn.fetch("SELECT source_key, fields::json ->> 'ListPrice' FROM mls_properties")
        offered = {k: str(o["ListPrice"]) for some in service.listings.values() for k, o in some.items()}
        assert {row[0]: row[1] for row in rows} == offered
        told = await conn.fetch("SELECT type, property_id FROM events WHERE seq > $1", seq)
        assert Counter(r["property_id"] for r in told if r["type"] == "listing.changed") == Counter(
            {id_of(key): times for key, times in changed.items()}
        )
        linked = {min(some) for some in service.listings.values()}
        assert Counter(r["property_id"] for r in told if r["type"] == "property.synced") == Counter(
            {id_of(key): times for key, times in changed.items() if key in linked}
        )
        owned = await conn.fetch("SELECT DISTINCT notes, crm_status FROM crm_properties")
        assert [tuple(one) for one in owned] == [("mine", "active")]


def _change_some(service: MlsService, rng: random.Random, changed: Counter[str]) -> None:
    for some in service.listings.values():
        for key in rng.sample(sorted(some), 3):
            changed[key] += 1
            stamp = f"2026-03-02T{changed[key] // 60:02}:{changed[key] % 60:02}:00Z"
            some[key] = {**some[key], "ListPrice": some[key]["ListPrice"] + 1000, "ModificationTimestamp": stamp}


async def _harm(conn: Connection, group: Group, fault: str, rng: random.Random) -> float:
    """Kill a worker, or stop it for longer than its lease; return how long what it had was left alone, in seconds."""
    process = rng.choice(group.processes)
    worker_id = await conn.fetchval("SELECT worker_id FROM workers WHERE pid = $1 ORDER BY 1 DESC LIMIT 1", process.pid)
    began = time.monotonic()
    if fault == "kill":
        group.kill(process)
        group.start()
    else:
        process.send_signal(signal.SIGSTOP)
    while await conn.fetchval(
        "SELECT count(*) FROM scraping_job_locations WHERE worker_id = $1 AND status = 'running'", worker_id
    ):
        await asyncio.sleep(0.05)
        assert time.monotonic() - began < 3 * RECOVERED_WITHIN, "it was never given to others"
    left_alone = time.monotonic() - began
    if fault == "stop":
        await asyncio.sleep(rng.uniform(0, 2))
        process.send_signal(signal.SIGCONT)
    return left_alone
