"""Many locations by one, two and four workers: does the time fall with their number?

    python bench/workers.py [--locations 200] [--latency 0.2] [--jobs 2] [--smoke]

A service on loopback answers each request after 200 ms; no delay, no narrow budget. Each run is made by a schedule that
three schedulers look at together, and it is checked that every location was asked for exactly once and read whole.
Ratios are against one worker in the same program.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from making import a_crm, a_listing
from mls_crm_sync import logs, wiring
from mls_crm_sync.settings import Settings
from mls_crm_sync.store import runs, workers
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import schedules, sources
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer
from sources.mls_service import MlsService

NEWEST_RUN = "SELECT max(run_id) FROM scraping_jobs WHERE by_workers"


async def measure(db: Database, settings: Settings, service: MlsService, number: int, jobs: int) -> float:
    """Let so many workers read everything once; return how long the run took, in seconds."""
    environment = {**os.environ, "MLS_CRM_SYNC_HOME": str(settings.home), "LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "mls_crm_sync", "worker", "--jobs", str(jobs)]
    processes = [
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 - started once
        for _ in range(number)
    ]
    try:
        async with db.connection() as conn:
            while len(await workers.living(conn)) < number:  # noqa: ASYNC110 - they tell nobody
                await asyncio.sleep(0.05)
            service.asked.clear()
            before = await conn.fetchval(NEWEST_RUN) or 0
            await conn.execute("UPDATE scheduled_jobs SET next_run_at = clock_timestamp() - interval '1 second'")
            await asyncio.gather(*(schedules.tick(db) for _ in range(3)))
            # A worker looks what falls due too: where it was first, the run is there once it has committed.
            while (run_id := await conn.fetchval(NEWEST_RUN) or 0) == before:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            while (row := await runs.view(conn, run_id))["finished_at"] is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
        assert row["status"] == "succeeded", row["error_detail"]
        asked = service.first_pages()
        assert asked == Counter(dict.fromkeys(service.listings, 1)), f"each location once, not {asked}"
        return float((row["finished_at"] - row["started_at"]).total_seconds())
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


async def run(settings: Settings, locations: int, latency: float, jobs: int) -> None:
    zips = [f"{10_000 + n:05d}" for n in range(locations)]
    service = MlsService({z: {f"L{z}": a_listing(f"L{z}", PostalCode=z)} for z in zips}, latency=latency)
    with service.serving():
        async with wiring.open_database(settings) as db:
            await sources.add(db, Sealer(), "mls", "fake", {"url": service.address}, limits={"second": 1000})
            await schedules.ensure_active_properties(db, None)
            await schedules.edit(db, ACTIVE_PROPERTIES, {"request_delay": 0}, by="bench")
            for zip_code in zips:
                await a_crm(db, f"c{zip_code}", crm_status="active", zip=zip_code)
            await measure(db, settings, service, 1, jobs)  # the listings are there then: each run does the same
            first = 0.0
            for number in (1, 2, 4):
                seconds = await measure(db, settings, service, number, jobs)
                first = first or seconds
                wait = locations * latency / (number * jobs)
                print(
                    f"{number} workers of {jobs}: {seconds:6.2f} s, {first / seconds:4.2f} times one"
                    f"   (waiting for the service alone: {wait:5.2f} s)",
                    flush=True,
                )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--locations", type=int, default=200)
    asked.add_argument("--latency", type=float, default=0.2)
    asked.add_argument("--jobs", type=int, default=2)
    asked.add_argument("--smoke", action="store_true", help="20 locations of 50 ms: does it still run and hold?")
    args = asked.parse_args()
    logs.configure("error")
    locations, latency = (20, 0.05) if args.smoke else (args.locations, args.latency)
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-workers-") as home:
        Path(home).chmod(0o711)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(Settings(home=Path(home) / "data"), locations, latency, args.jobs))


if __name__ == "__main__":
    main()
