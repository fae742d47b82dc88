"""10,000 homes of a website through the real library: how much memory, how long, against the library by itself?

    python bench/website.py [--homes 10000] [--pandas] [--smoke]

A stand-in for realtor.com answers on loopback from a process of its own. Measured: `scrape_property` by itself, raw
and, with `--pandas`, as the table that most people take; then a worker that reads the same into its database for a
schedule, twice. Proved: all homes are there, and the library's process never holds more than 200 MB, the worker's no
more than 150 MB (highest resident memory, as the kernel kept it). Ratios are against the library by itself, raw.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mls_crm_sync import logs, wiring
from mls_crm_sync.settings import Settings
from mls_crm_sync.store import runs
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import rescrape, schedules, sources
from mls_crm_sync.sync.sealing import Sealer
from sources.realtor_site import SAN_DIEGO, RealtorSite, a_home

CHILD_MB, WORKER_MB = 200, 150
SMOKE = 1000
REMARKS = "A sunny home near the park, with a garden, a new roof and a view of the bay. " * 12
PHOTOS = 30
TAGS = [{"label": "kitchen"}, {"label": "interior"}]
ALONE = """
import sys
from homeharvest import scrape_property
from homeharvest.core.scrapers.realtor import RealtorScraper
RealtorScraper.SEARCH_GQL_URL = sys.argv[1]
print(len(scrape_property("San Diego, CA", listing_type="for_sale", return_type=sys.argv[2], parallel=False)))
"""


def serve(homes: int, told: Any) -> None:  # noqa: ANN401 # the end of a pipe
    """Serve the website until the process is ended."""

    async def forever() -> None:
        site = RealtorSite.of(
            a_home(
                f"{n:010}",
                description={"text": REMARKS},
                photos=[
                    {"title": "", "href": f"https://ap.rdcpix.com/{n:032x}l-m{photo:010}s.jpg", "tags": TAGS}
                    for photo in range(PHOTOS)
                ],
            )
            for n in range(homes)
        )
        async with site.serving():
            told.send(site.endpoint)
            await asyncio.Event().wait()

    asyncio.run(forever())


@contextlib.contextmanager
def serving(homes: int) -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(homes, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def alone(endpoint: str, kind: str, homes: int) -> tuple[float, float]:
    """Let the library read by itself; return seconds and its highest memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", ALONE, endpoint, kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        assert said.read().strip() == str(homes)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it was waited for
    return time.perf_counter() - started, used.ru_maxrss / 1024


class Watch:
    """The highest memory of a process and of the library's below it, in MB, looked at until it ends."""

    def __init__(self, pid: int) -> None:
        self.worker = self.child = 0.0
        self._pid = pid

    def look(self) -> None:
        with contextlib.suppress(psutil.Error, OSError):
            self.worker = max(self.worker, _highest(self._pid))
            for one in psutil.Process(self._pid).children(recursive=True):
                if "mls_crm_sync.sources.homeharvest.child" in one.cmdline():
                    self.child = max(self.child, _highest(one.pid))


def _highest(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


async def run_once(db: Database, job_id: str, watch: Watch, homes: int) -> float:
    started = time.perf_counter()
    run_id = await rescrape.run_now(db, job_id, actor="bench")
    async with db.connection() as conn:
        while (row := await runs.view(conn, run_id))["finished_at"] is None:
            watch.look()
            await asyncio.sleep(0.02)
        assert row["status"] == "succeeded", row["error_detail"]
        found = await conn.fetchval("SELECT count(*) FROM mls_properties")
        assert found == homes, f"{found:,} of {homes:,}"
    return time.perf_counter() - started


async def measure(settings: Settings, endpoint: str, homes: int, base: float) -> None:
    async with wiring.open_database(settings) as db:
        said = {"acknowledged": True, "endpoint": endpoint, "listing_types": "for_sale"}
        await sources.add(
            db, Sealer(), "realtor", "homeharvest", said, limits={"second": 1000}, request_delay=0.0, default=True
        )
        wanted = {"name": "all", "cron_expression": "0 0 * * *", "locations": [SAN_DIEGO], "source": "realtor"}
        await schedules.create(db, wanted | {"limit": 10_000, "request_delay": 0.0}, by="bench", job_id="all")
        environment = {**os.environ, "MLS_CRM_SYNC_HOME": str(settings.home), "LOG_LEVEL": "error"}
        command = [sys.executable, "-m", "mls_crm_sync", "worker", "--jobs", "1"]
        worker = subprocess.Popen(command, env=environment)  # noqa: ASYNC220 - started once
        watch = Watch(worker.pid)
        try:
            for what in ("a worker, all new", "a worker, all unchanged"):
                seconds = await run_once(db, "all", watch, homes)
                print(
                    f"{what:28} {seconds:6.2f} s, {seconds / base:4.2f} times"
                    f"   library {watch.child:4.0f} MB, worker {watch.worker:4.0f} MB",
                    flush=True,
                )
        finally:
            worker.terminate()
            worker.wait()
        assert 0 < watch.child <= CHILD_MB, f"the library held {watch.child:.0f} MB"
        assert 0 < watch.worker <= WORKER_MB, f"the worker held {watch.worker:.0f} MB"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--homes", type=int, default=10_000)
    asked.add_argument("--pandas", action="store_true", help="the library's table as well: it takes a minute")
    asked.add_argument("--smoke", action="store_true", help=f"{SMOKE:,} homes: does it still run and hold?")
    args = asked.parse_args()
    logs.configure("error")
    homes = SMOKE if args.smoke else args.homes
    with serving(homes) as endpoint, tempfile.TemporaryDirectory(prefix="mls-crm-sync-website-") as home:
        Path(home).chmod(0o711)
        base, memory = alone(endpoint, "raw", homes)
        print(
            f"{homes:,} homes\n{'the library by itself, raw':28} {base:6.2f} s, 1.00 times   {memory:4.0f} MB",
            flush=True,
        )
        if args.pandas:
            seconds, memory = alone(endpoint, "pandas", homes)
            print(f"{'... as a table':28} {seconds:6.2f} s, {seconds / base:4.2f} times   {memory:4.0f} MB", flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(Settings(home=Path(home) / "data"), endpoint, homes, base))


if __name__ == "__main__":
    main()
