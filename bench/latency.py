"""S5: one changed listing, from its arrival to the commit of its CRM property, alone and beside a bulk load.

    python bench/latency.py [--listings N] [--changes N] [--smoke]

A run stays open, and its source hands out a page of one changed, linked listing at a time, the next one 5 ms after the
last was committed: what is measured is the real `sync.ingest`, with history, event and CRM property. Then the same
through `push`, which makes and ends a run for each. Beside it, another process ingests a file in which every listing
of another source is changed. Every change is checked at the end: the CRM property has the price, the history each step.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import uvloop

import workload
from mls_crm_sync import logs, wiring
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.settings import Settings
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.ingest import ingest
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.push import push
from mls_crm_sync.sync.reader import Reader

SOURCE, LOCATION = "bench", "*"
PAUSE = 0.005  # seconds between two arrivals


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--listings", type=int, default=20_000)
    asked.add_argument("--changes", type=int, default=2_000)
    asked.add_argument("--smoke", action="store_true", help="200 changes among 2,000 listings: does it still hold?")
    args = asked.parse_args()
    logs.configure("warning")
    wiring.calm_collector()
    listings, changes = (2_000, 200) if args.smoke else (args.listings, args.changes)
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-latency-") as home:
        Path(home).chmod(0o711)
        settings = Settings(home=Path(home) / "data", database_url=os.environ.get("BENCH_DATABASE_URL"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the command line does
            runner.run(measure(settings, listings, changes))


async def measure(settings: Settings, count: int, changes: int) -> None:
    async with wiring.open_database(settings) as db:
        await prepare(db, count)
        print(f"{changes:,} changes among {count:,} listings, a tenth of them linked; milliseconds")
        print(f"{'':34}{'p50':>8}{'p99':>8}{'max':>8}")
        price = Prices(count)
        show("a page of a running ingest", await by_ingest(db, changes, price))
        show("a push of its own", await by_push(db, changes // 4, price))
        files = [bulk(settings.home / f"bulk{day}.jsonl", count, day) for day in range(1, 4)]
        os.sync()
        async with bulk_load(settings, files) as is_under_way:
            show("  beside a bulk load", await by_ingest(db, changes, price, while_=is_under_way))
        await price.check(db)


class Prices:
    """Changes one linked listing after the other, and knows what the prices must be in the end."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._steps = 0
        self._expected: dict[str, str] = {}

    def next(self) -> bytes:
        number = self._steps * 10 % self._count
        record = workload.listing(number)
        self._steps += 1
        record["ListPrice"] += self._steps
        record["ModificationTimestamp"] = "2024-06-02T08:00:00Z"
        self._expected[f"c{number}"] = str(int(record["ListPrice"]))
        return orjson.dumps(record)

    async def check(self, db: Database) -> None:
        async with db.connection() as conn:
            rows = await conn.fetch(
                "SELECT id, fields ->> 'ListPrice' FROM crm_properties WHERE id = ANY ($1)", list(self._expected)
            )
            assert {row[0]: row[1] for row in rows} == self._expected
            steps = await conn.fetchval(
                "SELECT count(*) FROM property_changes JOIN mls_properties USING (property_id)"
                " WHERE source = $1 AND type = 'price'",
                SOURCE,
            )
            assert steps == self._steps, (steps, self._steps)


async def prepare(db: Database, count: int) -> None:
    raws = [RawRecord(n, data) for n, data in enumerate(workload.delivery(count))]

    async def pages(source: str) -> AsyncIterator[Page]:
        del source
        for number, at in enumerate(range(0, count, 1000), start=1):
            yield Page(number, tuple(raws[at : at + 1000]), (), bytes_read=0, checkpoint={})

    for source in (SOURCE, "bulk"):
        await ingest(db, Reader(source, Normaliser()), pages(source), location=LOCATION)
        rows = [(n, {"id": f"{'c' if source == SOURCE else 'b'}{n}"}) for n in range(0, count, 10)]
        await crm.import_rows(db, ["id"], rows)
        wanted = [LinkRow(n, str(row["id"]), listing_key=workload.key(n)) for n, row in rows]
        done = await links.link_rows(db, Normaliser().unsynced, wanted, source=source)
        assert done.linked == len(wanted), done.errors[:3]


async def by_ingest(
    db: Database, changes: int, price: Prices, *, while_: Callable[[], bool] = lambda: True
) -> list[float]:
    """Return the seconds of each change, in a run that stays open."""
    taken: list[float] = []
    committed = asyncio.Event()

    async def pages() -> AsyncIterator[Page]:
        for number in range(1, changes + 1):
            if not while_():
                break
            data = price.next()
            committed.clear()
            began = time.perf_counter()
            yield Page(number, (RawRecord(number, data),), (), bytes_read=0, checkpoint={})
            await committed.wait()
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE)

    result = await ingest(
        db, Reader(SOURCE, Normaliser()), pages(), location=LOCATION, progress=lambda _: committed.set()
    )  # fmt: skip
    assert result.tally.changed == result.tally.crm_updated == len(taken), result.tally
    return taken


async def by_push(db: Database, changes: int, price: Prices) -> list[float]:
    taken: list[float] = []
    for _ in range(changes):
        record = orjson.loads(price.next())
        began = time.perf_counter()
        done = await push(db, Normaliser(), [record], source=SOURCE, location=LOCATION)
        taken.append(time.perf_counter() - began)
        assert done.run.tally.crm_updated == 1
        await asyncio.sleep(PAUSE)
    return taken


def bulk(file: Path, count: int, day: int) -> Path:
    file.write_bytes(b"\n".join(workload.delivery(count, day=day, changed=1.0, noise=True)) + b"\n")
    return file


@asynccontextmanager
async def bulk_load(settings: Settings, files: list[Path]) -> AsyncIterator[Callable[[], bool]]:
    """Let another process ingest the files; what is lent tells whether it still does."""
    environment = {**os.environ, "MLS_CRM_SYNC_HOME": str(settings.home)}
    if settings.database_url:
        environment["DATABASE_URL"] = settings.database_url
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mls_crm_sync", "ingest", *map(str, files), "--source", "bulk", "--location", LOCATION,
        "--json", env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    reading = asyncio.create_task(process.communicate())
    await asyncio.sleep(1.5)  # its start
    try:
        yield lambda: process.returncode is None
    finally:
        said, _ = await reading
        assert process.returncode == 0
        numbers = orjson.loads(said)
        print(f"  the bulk load: {numbers['changed']:,} changed in {numbers['seconds']:.0f} s, "
              f"{numbers['changed'] / numbers['seconds']:,.0f} a second")  # fmt: skip


def show(name: str, seconds: list[float]) -> None:
    milliseconds = sorted(1000 * one for one in seconds)
    p99 = milliseconds[int(len(milliseconds) * 0.99)]
    print(f"{name:34}{statistics.median(milliseconds):8.2f}{p99:8.2f}{milliseconds[-1]:8.2f}"
          f"   ({len(milliseconds):,})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
