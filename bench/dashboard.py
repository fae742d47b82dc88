"""The dashboard over many properties: when its first page is painted, and how its list scrolls; in a real browser.

    python bench/dashboard.py [--properties N]

Needs the built dashboard (`make dashboard`) and Chromium. Half of the listings have a CRM property, all are active.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import uvloop

import load
from mls_crm_sync import logs, wiring
from mls_crm_sync.settings import Settings

ROOT = Path(__file__).parents[1]
ASKED = ("/api/overview", "/api/property-summaries?limit=200", "/api/property-summaries?limit=200&sync_status=stale",
         "/api/changes?linked=true&limit=30", "/api/runs?limit=48")  # fmt: skip
ROUNDS = 7


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--properties", type=int, default=10_000)
    args = asked.parse_args()
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-dashboard-") as folder:
        Path(folder).chmod(0o711)
        settings = Settings(home=Path(folder) / "home", database_url=os.environ.get("BENCH_DATABASE_URL"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(settings, Path(folder), args.properties))


async def measure(settings: Settings, folder: Path, properties: int) -> None:
    async with wiring.database_server(settings) as server:
        own = Settings(home=settings.home, database_url=server.dsn)
        async with wiring.open_database(own) as db:
            await load.fill(db, properties * 2)
            async with db.connection() as conn:
                await conn.execute("UPDATE crm_properties SET crm_status = 'active'")
                await conn.execute("VACUUM ANALYZE")
        with load.service(server.dsn, folder, None, "dashboard") as (_, host, port):
            address = f"http://{host}:{port}"
            for path in ASKED:
                print(f"{path:58} {_answer(address + path):7.1f} ms")
            command = [
                sys.executable,
                str(ROOT / "web" / "npm.py"),
                "exec",
                "--silent",
                "--",
                "node",
                "measure.mjs",
                address,
            ]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            _report(json.loads(done.stdout))


def _answer(url: str) -> float:
    """Return the median of the milliseconds that an answer takes."""
    took = []
    with httpx2.Client(timeout=60) as client:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            assert client.get(url).status_code == 200, url
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def _report(told: dict[str, Any]) -> None:
    for what in ("paint", "headline"):
        times = [one[what] for one in told["paints"]]
        print(f"Overview, {what}: {statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})")
    list_ = told["scroll"]
    print(f"List of {list_['total']:,}: to row {list_['reached']:,}, at most {list_['rows_in_page']} rows in the page")
    print(f"between frames p50 {list_['p50']:.1f}, p99 {list_['p99']:.1f}, longest {list_['longest']:.1f} ms; "
          f"{list_['over_100']} of {list_['frames']:,} over 100 ms")  # fmt: skip
    assert list_["reached"] == list_["total"], "the list did not come to its end"


if __name__ == "__main__":
    main()
