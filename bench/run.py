"""The benchmark of the main job: S1 to S4 through the real `sync.ingest`, beside the machine's limit and the peers.

    python bench/run.py [--listings N] [--linked SHARE] [--jobs N] [--smoke] [--no-peers | --peer NAME]

S1 first load, S2n the same again with only volatile facts moved, S2 with list and spelling noise in one of five, S3
again with 2 % changed, S4 all changed, S2t the same again with every clock moved and every photo's address signed anew.
The peers load the same files, turn by turn. Limits are against orjson parsing
the same bytes in the same process. Every scenario checks the number of its writes and, at the end, that each linked CRM
property equals its listing: it cannot measure nothing. A peer is checked too: it must have stored each listing with its
price of today. Peers do less: no CRM properties, no history, no events. S5 is `latency.py`, S6 `scheduler.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson
import uvloop

import peers
import workload
from cost import Cost, of_this_process, postmaster
from mls_crm_sync import logs, wiring
from mls_crm_sync.cli.shares import Shares, Work
from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.settings import Settings
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.store import crm_properties, migrate
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.ingest import IngestResult, ingest, ingest_by
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.reader import Reader

SOURCE, LOCATION = "bench", "*"


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    day: int
    changed: float = 0.0
    noise: bool = True
    touched: bool = False
    stored: bool = False  # its changes are stored already


SCENARIOS = (
    Scenario("S1 first load", 0, noise=False),
    Scenario("S2n unchanged", 1, noise=False),
    Scenario("S2 unchanged, noise", 2),
    Scenario("S3 2 % changed", 3, changed=0.02),
    Scenario("S4 all changed", 4, changed=1.0),
    Scenario("S2t the same, touched", 4, changed=1.0, touched=True, stored=True),
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--listings", type=int, default=20_000)
    asked.add_argument("--linked", type=float, default=0.1, help="share of listings with a CRM property")
    asked.add_argument("--smoke", action="store_true", help="2,000 listings, no peers: does it still run and hold?")
    asked.add_argument("--jobs", type=int, default=2, help="processes beside one, 1 for none")
    asked.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    asked.add_argument("--peer", action="append", choices=peers.NAMES, help="these peers alone; may be said again")
    args = asked.parse_args()
    logs.configure("warning")
    wiring.calm_collector()
    count = 2_000 if args.smoke else args.listings
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-bench-") as home:
        Path(home).chmod(0o711)
        settings = Settings(home=Path(home) / "data", database_url=os.environ.get("BENCH_DATABASE_URL"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the command line does
            names = () if args.smoke or not args.peers else args.peer or peers.NAMES
            runner.run(measure(settings, count, args.linked, args.jobs, names))


async def measure(settings: Settings, count: int, linked: float, jobs: int, names: Sequence[str]) -> None:
    for name in names:
        peers.prepare(name)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(wiring.database_server(settings))
        db = await stack.enter_async_context(migrated(server.dsn))
        async with db.connection() as conn:
            version = await conn.fetchval("SHOW server_version")
            others_dsn = await another_database(conn, server.dsn)
        others = await stack.enter_async_context(migrated(others_dsn)) if jobs > 1 else None
        os.environ["DATABASE_URL"] = others_dsn  # where the processes of the shares find it
        print(f"{count:,} listings, {linked:.0%} linked; Python {platform.python_version()}, PostgreSQL {version}, "
              f"asyncpg {asyncpg.__version__}, {os.cpu_count()} cores")  # fmt: skip
        print(f"{'':22}{'listings/s':>12}{'x orjson':>10}{'WAL B/listing':>15}"
              f"{'us a listing: ours':>21}{'server':>9}{'others':>9}")  # fmt: skip
        file = settings.home / "delivery.jsonl"
        pid = await postmaster(server.dsn)
        for scenario in SCENARIOS:
            delivery = write(file, list(delivery_of(scenario, count)))
            limit = delivery.parsed
            await tidy(server.dsn)
            cost = of_this_process(pid)
            result, wal = await run(db, file)
            check(scenario, count, result)
            speed = count / result.seconds
            print(f"{scenario.name:22}{speed:12,.0f}{speed / limit:10.3f}{wal / count:15,.0f}"
                  f"{spent(cost, count, 21)}", flush=True)  # fmt: skip
            if others is not None:
                await tidy(server.dsn)
                cost = of_this_process(pid)
                check(scenario, count, together := await run_together(others, file, jobs))
                times = result.seconds / together.seconds
                print(f"{f'  {jobs} processes':22}{count / together.seconds:12,.0f}"
                      f"{f'{times:.2f} times one':>25}{spent(cost, count, 21)}", flush=True)  # fmt: skip
            await measure_peers(server.dsn, delivery, speed, names)
            if scenario.day == 0:
                for each in filter(None, (db, others)):
                    await link(each, count, linked)
        for each in filter(None, (db, others)):
            await check_end(each, count, linked)
        print(f"orjson parses {limit:,.0f} of them a second ({file.stat().st_size / count:,.0f} bytes each)")


def spent(cost: Cost, count: int, width: int) -> str:
    """Microseconds of a core for each listing. Of several processes, ours are those of `others`, with their start."""
    ours, server, others = (1e6 * seconds / count for seconds in cost.spent().values())
    return f"{ours:{width},.0f}{server:9,.0f}{others:9,.0f}"


@asynccontextmanager
async def migrated(dsn: str) -> AsyncIterator[Database]:
    async with Database.open(dsn) as db:
        async with db.connection() as conn:
            await migrate.migrate(conn)
        yield db


async def another_database(conn: Connection, dsn: str) -> str:
    """Make an empty database beside the one that the connection is to; return its address."""
    await conn.execute("DROP DATABASE IF EXISTS together")
    await conn.execute("CREATE DATABASE together")
    return together_with(dsn)


def together_with(dsn: str) -> str:
    """Return the address of the database that several processes write together, beside the one that is named."""
    return urlunsplit(urlsplit(dsn)._replace(path="/together"))


def delivery_of(scenario: Scenario, count: int) -> Iterator[bytes]:
    day, changed, noise, touched = scenario.day, scenario.changed, scenario.noise, scenario.touched
    return workload.delivery(count, day=day, changed=changed, noise=noise, touched=touched)


@dataclass(frozen=True, slots=True)
class Delivery:
    file: Path
    count: int
    prices: float  # the sum of their ListPrice
    parsed: float  # by orjson, a second


def write(file: Path, records: Sequence[bytes]) -> Delivery:
    began = time.perf_counter()
    for record in records:
        orjson.loads(record)
    parsed = len(records) / (time.perf_counter() - began)
    file.write_bytes(b"\n".join(records) + b"\n")
    os.sync()  # nobody is to pay for somebody else's writing
    return Delivery(file, len(records), sum(orjson.loads(record)["ListPrice"] for record in records), parsed)


async def measure_peers(dsn: str, delivery: Delivery, ours: float, names: Sequence[str]) -> None:
    """Let the peers load the same listings, one after the other, and print how much faster we were."""
    for name in names:
        await tidy(dsn)
        loaded = await asyncio.to_thread(peers.load, name, dsn, delivery.file)
        await peers.check(name, dsn, delivery.prices, delivery.count)
        speed = delivery.count / loaded.seconds
        print(f"{'  ' + name:22}{speed:12,.0f}   we are {ours / speed:5.1f} times as fast"
              f"{loaded.max_rss_mb:9,.0f} MB", flush=True)  # fmt: skip


async def tidy(dsn: str) -> None:
    """Let the server do now what it would do in the background of whoever comes next: nobody is to pay for somebody
    else's writing. Two processes beside the vacuum of what a peer had left were told a quarter too slow.
    """
    for each in (together_with(dsn), dsn):
        conn = await asyncpg.connect(each)
        try:
            await conn.execute("VACUUM (ANALYZE)")
            await conn.execute("CHECKPOINT")
        finally:
            await conn.close()
    os.sync()


async def run(db: Database, file: Path) -> tuple[IngestResult, int]:
    async with db.connection() as conn:
        before = await conn.fetchval("SELECT pg_current_wal_insert_lsn()")
    async with aclosing(FileReading(str(file), field_names=BY_NAME).pages()) as pages:
        result = await ingest(db, Reader(SOURCE, Normaliser()), pages, location=LOCATION, complete=True)
    async with db.connection() as conn:
        wal = await conn.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)", before)
    return result, int(wal)


async def run_together(db: Database, file: Path, jobs: int) -> IngestResult:
    """The same by several processes. Their start is not measured, as our own is not."""
    async with Shares(Work([str(file)], SOURCE), jobs) as shares:
        return await ingest_by(
            db, SOURCE, LOCATION, lambda held: shares.read(db, held, lambda _: None), complete=True
        )  # fmt: skip


async def link(db: Database, count: int, linked: float) -> None:
    every = max(1, round(1 / linked))
    rows = [(n + 2, {"id": f"c{n}", "notes": "called owner"}) for n in range(0, count, every)]
    await crm.import_rows(db, ["id", "notes"], rows)
    wanted = [LinkRow(n + 2, f"c{n}", listing_key=workload.key(n)) for n in range(0, count, every)]
    summary = await links.link_rows(db, Normaliser().unsynced, wanted, source=SOURCE)
    assert summary.linked == len(wanted), summary.errors[:3]


def check(scenario: Scenario, count: int, result: IngestResult) -> None:
    tally = result.tally
    new = count if scenario.day == 0 else 0
    changed = 0 if scenario.stored else workload.changed_count(count, scenario.changed)
    assert changed == count or scenario.changed < 1 or scenario.stored
    expected = (count, new, changed, count - new - changed, 0)
    seen = (tally.read, tally.new, tally.changed, tally.unchanged, tally.quarantined)
    assert seen == expected, f"{scenario.name}: {seen}, not {expected}"


async def check_end(db: Database, count: int, linked: float) -> None:
    async with db.connection() as conn:
        assert await crm_properties.count_out_of_step(conn, Normaliser().unsynced) == 0
        assert await conn.fetchval("SELECT count(*) FROM mls_properties") == count
        notes = await conn.fetchval("SELECT count(*) FROM crm_properties WHERE notes = 'called owner'")
        assert notes == len(range(0, count, max(1, round(1 / linked))))
        changed = await conn.fetchval("SELECT count(DISTINCT property_id) FROM property_changes WHERE type <> 'new'")
        assert changed == count, "each listing was changed in S4"


if __name__ == "__main__":
    main()
