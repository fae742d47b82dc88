"""Does memory stay flat? A delivery of any size through the real command line, its process watched.

    python bench/flat_memory.py [--listings 1000000] [--smoke]

Writes a packed JSON Lines file of small listings, ingests it twice (first load, then the same again) with
`mls-crm-sync ingest` on an embedded server in a temporary folder, and prints the highest resident memory of the
ingesting process (not the server's) and the speed. Ends with an error above 200 MB or when a count is wrong.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import psutil

import workload

BOUND_MB = 200
_LEFT_OUT = frozenset({"PublicRemarks", "Appliances", "InteriorFeatures", "ParkingFeatures", "LotFeatures", "Media"})


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--listings", type=int, default=1_000_000)
    asked.add_argument("--smoke", action="store_true", help="5,000 listings: does it still run and hold?")
    args = asked.parse_args()
    count = 5_000 if args.smoke else args.listings
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-memory-") as folder:
        Path(folder).chmod(0o711)
        file = Path(folder) / "listings.jsonl.gz"
        size = write(file, count)
        print(f"{count:,} listings of {size / count:,.0f} bytes", flush=True)
        for name, counted in (("first load", "new"), ("the same again", "unchanged")):
            numbers, peak = watched_ingest(file, Path(folder) / "home")
            speed = count / numbers["seconds"]
            print(f"{name:16}{speed:10,.0f} listings/s, peak {peak:,.0f} MB", flush=True)
            assert numbers["read"] == numbers[counted] == count, numbers
            assert peak <= BOUND_MB, f"{peak:.0f} MB is more than {BOUND_MB} MB"


def write(file: Path, count: int) -> int:
    """Write the delivery; return its size before packing, in bytes."""
    size = 0
    with gzip.open(file, "wb", compresslevel=1) as out:
        for number in range(count):
            line = orjson.dumps(small(number)) + b"\n"
            size += out.write(line)
    return size


def small(number: int) -> dict[str, Any]:
    """A listing of about 2 kB: few photos, no remarks."""
    record = {name: value for name, value in workload.listing(number).items() if name not in _LEFT_OUT}
    photo = {
        "MediaKey": f"{number}-0",
        "Order": 0,
        "MediaCategory": "Photo",
        "MediaURL": f"https://p.test/{number}.jpg",
    }
    return record | {"Media": [photo]}


def watched_ingest(file: Path, home: Path) -> tuple[dict[str, Any], float]:
    """Return the numbers the command ends with, and its highest resident memory in MB."""
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"} | {"MLS_CRM_SYNC_HOME": str(home)}
    command = [
        sys.executable,
        "-m",
        "mls_crm_sync",
        "ingest",
        str(file),
        "--source",
        "bench",
        "--location",
        "*",
        "--json",
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.1)
    out, _ = process.communicate()
    assert process.returncode == 0, out.decode()
    return dict(json.loads(out.splitlines()[-1])), peak / 1024**2


if __name__ == "__main__":
    main()
