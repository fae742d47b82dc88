"""Does memory stay flat? A delivery of any size through the real command line, its process watched.

    python bench/flat_memory.py [--listings 1000000] [--plain] [--seed N] [--smoke]

A process of its own streams a seeded JSON Lines file of small listings (gzip, or `--plain`). `mls-crm-sync ingest`
reads it twice, on an embedded server in a temporary folder: the first load, then the same again. Proved: nothing is
lost or taken twice (the ingest's counts, and what the database then holds), and the ingesting process (not the server)
never holds more than 200 MB. Printed: its highest resident memory, and the speed. Whatever happens, the server is
stopped and the files are gone at the end.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil

import workload
from mls_crm_sync.store.embedded import EmbeddedPostgres

BOUND_MB = 200
SMOKE = 20_000
ROOM = 12_000  # bytes of disk a listing may need: the file, the tables, and the server's log of both runs
LOOK_EVERY = 0.05  # seconds
_LEFT_OUT = frozenset(
    {"PublicRemarks", "Appliances", "InteriorFeatures", "X_TaxHistory", "X_PriceHistory", "X_Neighborhoods", "Media"}
)


def main() -> None:
    args = _asked()
    if args.write is not None:
        print(write(args.write, args.listings, args.seed))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # so that the server and files go too
    count = SMOKE if args.smoke else args.listings
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-memory-") as folder:
        Path(folder).chmod(0o711)  # root's server runs under an account that has to pass through
        free = shutil.disk_usage(folder).free
        assert free > count * ROOM, f"{count:,} listings may need {count * ROOM:,} bytes, {free:,} are free"
        file = Path(folder) / ("listings.jsonl" if args.plain else "listings.jsonl.gz")
        size = generate(file, count, args.seed)
        print(f"{count:,} listings of {size / count:,.0f} bytes, seed {args.seed}", flush=True)
        home = Path(folder) / "home"
        try:
            measure(file, home, count)
        finally:
            stop_left_over(home)


def _asked() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--listings", type=int, default=1_000_000)
    asked.add_argument("--plain", action="store_true", help="a file that is not packed")
    asked.add_argument("--seed", type=int, default=workload.SEED)
    asked.add_argument("--smoke", action="store_true", help=f"{SMOKE:,} listings: does it still run and hold?")
    asked.add_argument("--write", type=Path, metavar="FILE", help=argparse.SUPPRESS)  # what `generate` starts
    return asked.parse_args()


def generate(file: Path, count: int, seed: int) -> int:
    """Let another process write the delivery, so that its memory is not ours; return its size in bytes, unpacked."""
    command = [sys.executable, __file__, "--write", str(file), "--listings", str(count), "--seed", str(seed)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def write(file: Path, count: int, seed: int) -> int:
    workload.SEED = seed
    size = 0
    with gzip.open(file, "wb", compresslevel=1) if file.suffix == ".gz" else file.open("wb") as out:
        for number in range(count):
            size += out.write(orjson.dumps(small(number)) + b"\n")
    return size


def small(number: int) -> dict[str, Any]:
    """A listing of somewhat less than 2 kB: one photo, no remarks."""
    record = {name: value for name, value in workload.listing(number).items() if name not in _LEFT_OUT}
    photo = {
        "MediaKey": f"{number}-0",
        "Order": 0,
        "MediaCategory": "Photo",
        "MediaURL": f"https://p.test/{number}.jpg",
    }
    return record | {"Media": [photo]}


def measure(file: Path, home: Path, count: int) -> None:
    for name, counted in (("first load", "new"), ("the same again", "unchanged")):
        numbers, peak = watched_ingest(file, home)
        speed = count / numbers["seconds"]
        print(f"{name:16}{speed:10,.0f} listings/s, peak {peak:,.0f} MB", flush=True)
        assert numbers["read"] == numbers[counted] == count, numbers
        assert numbers["recognised"] == numbers["unchanged"], "what came in unchanged is known by its bytes"
        assert peak <= BOUND_MB, f"{peak:.0f} MB is more than {BOUND_MB} MB"
    status = json.loads(
        subprocess.run(_command("status"), env=_environment(home), stdout=subprocess.PIPE, check=True).stdout
    )
    assert sum(status["listings"].values()) == count, status["listings"]
    assert [run["status"] for run in status["runs"]] == ["succeeded", "succeeded"], status["runs"]


def watched_ingest(file: Path, home: Path) -> tuple[dict[str, Any], float]:
    """Return the numbers the command ends with, and its highest resident memory in MB."""
    command = _command("ingest", str(file), "--source", "bench", "--location", "*")
    process = subprocess.Popen(command, env=_environment(home), stdout=subprocess.PIPE)
    try:
        peak = _highest_memory(process)
        out, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, out.decode()
    return dict(json.loads(out.splitlines()[-1])), peak / 1024**2


def _highest_memory(process: subprocess.Popen[bytes]) -> int:
    """Watch a process to its end; return the most bytes it held at once."""
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss, _high_water_mark(process.pid))
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            break
        time.sleep(LOOK_EVERY)
    return peak


def _high_water_mark(pid: int) -> int:
    """What Linux itself noted, between two looks as well; 0 elsewhere, and of a process that has just ended."""
    status = Path(f"/proc/{pid}/status")
    if not sys.platform.startswith("linux"):
        return 0
    lines = (line.split() for line in status.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:"), 0)


def _command(*args: str) -> list[str]:
    return [sys.executable, "-m", "mls_crm_sync", *args, "--json"]


def _environment(home: Path) -> Mapping[str, str]:
    return {name: v for name, v in os.environ.items() if name != "DATABASE_URL"} | {"MLS_CRM_SYNC_HOME": str(home)}


def stop_left_over(home: Path) -> None:
    """Stop the server of an ingest that could not do it itself; it is gone already after one that could."""
    if any(home.glob("pg*/postmaster.pid")):
        server = EmbeddedPostgres(home)
        server.start()
        server.stop()


if __name__ == "__main__":
    main()
