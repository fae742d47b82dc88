"""The benchmark of the main job: S1 to S4 through the real `sync.ingest`, beside the limit of the machine in this run.

    python bench/run.py [--listings N] [--linked SHARE] [--smoke]

S1 first load, S2n the same again with only volatile facts moved, S2 with list and spelling noise in one of five, S3
again with 2 % changed, S4 all changed. Ratios are against orjson parsing the same bytes in the same process. Every
scenario checks the number of its writes and, at the end, that each linked CRM property equals its listing: it cannot
measure nothing. The peers and S5, S6 come with the speed work.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import orjson

import workload
from mls_crm_sync import logs, wiring
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.settings import Settings
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store import crm_properties
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.recognise import Reader

SOURCE, LOCATION = "bench", "*"
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    day: int
    changed: float = 0.0
    noise: bool = False


SCENARIOS = (
    Scenario("S1 first load", 0),
    Scenario("S2n unchanged", 1),
    Scenario("S2 unchanged, noise", 2, noise=True),
    Scenario("S3 2 % changed", 3, changed=0.02),
    Scenario("S4 all changed", 4, changed=1.0),
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--listings", type=int, default=20_000)
    asked.add_argument("--linked", type=float, default=0.1, help="share of listings with a CRM property")
    asked.add_argument("--smoke", action="store_true", help="2,000 listings: does it still run and hold?")
    args = asked.parse_args()
    logs.configure("warning")
    count = 2_000 if args.smoke else args.listings
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-bench-") as home:
        Path(home).chmod(0o711)
        settings = Settings(home=Path(home) / "data", database_url=os.environ.get("BENCH_DATABASE_URL"))
        asyncio.run(measure(settings, count, args.linked))


async def measure(settings: Settings, count: int, linked: float) -> None:
    async with wiring.open_database(settings) as db:
        async with db.connection() as conn:
            version = await conn.fetchval("SHOW server_version")
        print(f"{count:,} listings, {linked:.0%} linked; Python {platform.python_version()}, PostgreSQL {version}, "
              f"asyncpg {asyncpg.__version__}, {os.cpu_count()} cores")  # fmt: skip
        print(f"{'':22}{'listings/s':>12}{'x orjson':>10}{'WAL B/listing':>15}")
        for scenario in SCENARIOS:
            records = list(workload.delivery(
                count, day=scenario.day, changed=scenario.changed, noise=scenario.noise
            ))  # fmt: skip
            limit = parse_speed(records)
            result, wal = await run(db, records)
            check(scenario, count, result)
            speed = count / result.seconds
            print(f"{scenario.name:22}{speed:12,.0f}{speed / limit:10.3f}{wal / count:15,.0f}", flush=True)
            if scenario.day == 0:
                await link(db, count, linked)
        await check_end(db, count, linked)
        print(f"orjson parses {limit:,.0f} of them a second ({len(records[0]):,} bytes each)")


async def run(db: Database, records: Sequence[bytes]) -> tuple[IngestResult, int]:
    async with db.connection() as conn:
        before = await conn.fetchval("SELECT pg_current_wal_insert_lsn()")
    result = await ingest(db, Reader(SOURCE, Normaliser()), pages(records), location=LOCATION, complete=True)
    async with db.connection() as conn:
        wal = await conn.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)", before)
    return result, int(wal)


async def pages(records: Sequence[bytes]) -> AsyncIterator[Page]:
    for number, at in enumerate(range(0, len(records), PAGE), start=1):
        raws = tuple(RawRecord(at + n, data) for n, data in enumerate(records[at : at + PAGE]))
        yield Page(number, raws, (), bytes_read=0, checkpoint={"record": at})


async def link(db: Database, count: int, linked: float) -> None:
    every = max(1, round(1 / linked))
    rows = [(n + 2, {"id": f"c{n}", "notes": "called owner"}) for n in range(0, count, every)]
    await crm.import_rows(db, ["id", "notes"], rows)
    wanted = [LinkRow(n + 2, f"c{n}", listing_key=workload.key(n)) for n in range(0, count, every)]
    summary = await links.link_rows(db, Normaliser().unsynced, wanted, source=SOURCE)
    assert summary.linked == len(wanted), summary.errors[:3]


def parse_speed(records: Sequence[bytes]) -> float:
    began = time.perf_counter()
    for record in records:
        orjson.loads(record)
    return len(records) / (time.perf_counter() - began)


def check(scenario: Scenario, count: int, result: IngestResult) -> None:
    tally = result.tally
    new = count if scenario.day == 0 else 0
    changed = workload.changed_count(count, scenario.changed)
    if scenario.day == 4:
        assert changed == count
    expected = (count, new, changed, count - new - changed, 0)
    seen = (tally.read, tally.new, tally.changed, tally.unchanged, tally.quarantined)
    assert seen == expected, f"{scenario.name}: {seen}, not {expected}"


async def check_end(db: Database, count: int, linked: float) -> None:
    async with db.connection() as conn:
        assert await crm_properties.count_out_of_step(conn, Normaliser().unsynced) == 0
        assert await conn.fetchval("SELECT count(*) FROM mls_properties") == count
        notes = await conn.fetchval("SELECT count(*) FROM crm_properties WHERE notes = 'called owner'")
        assert notes == len(range(0, count, max(1, round(1 / linked))))
        prices = await conn.fetchval("SELECT count(*) FROM property_changes WHERE type = 'price'")
        assert prices >= count, "the price changes of S4 at least"


if __name__ == "__main__":
    main()
