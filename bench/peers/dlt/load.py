"""dlt, as its documentation has it: a resource with a primary key, merged by the upsert strategy, no child tables.

    python load.py DSN FILE [tuned]

Plain, it runs with the defaults of its documentation, fed by pages. `tuned` adds what speeds it up (measured at 10,000
and 20,000 listings): pages instead of rows, files for COPY (csv) instead of
INSERT statements (a fifth), no compression of its working files (two thirds), a calm collector (a fifth). Buffers of
1,000 rows are no slower than 5,000 and take a third of the memory; on two cores two normalising workers are slower than
one.
Its working folder is new each time: it takes the schema from the database then, which costs milliseconds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dlt  # type: ignore[import-not-found]
import dlt.destinations.impl.postgres.postgres  # type: ignore[import-not-found] # late otherwise, and measured
import orjson
from psycopg2.extensions import parse_dsn  # type: ignore[import-untyped]

SCHEMA = "peer_dlt"
PAGE = 1000
SETTINGS = {
    "DLT_DATA_DIR": os.environ["PEER_HOME"],
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}
TUNED = {
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "1000",
}


def main() -> None:
    dsn, file, *tuned = sys.argv[1:]
    os.environ |= SETTINGS | (TUNED if tuned else {})
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=os.environ["PEER_HOME"],
        destination=dlt.destinations.postgres(credentials(dsn)),
        dataset_name=SCHEMA + ("_tuned" if tuned else ""),
    )
    listings = dlt.resource(
        pages(file),
        name="listings",
        primary_key="ListingKey",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        max_table_nesting=0,
        columns={"Stories": {"data_type": "double"}},  # 1 or 1.5: a second column else
    )
    if tuned:
        gc.freeze()
        gc.set_threshold(200_000, 10, 10)  # as the product calms its own
    began = time.perf_counter()
    pipeline.run(listings, **({"loader_file_format": "csv"} if tuned else {}))
    seconds = time.perf_counter() - began
    with pipeline.sql_client() as client:
        ((rows,),) = client.execute_sql("SELECT count(*) FROM listings")
    print(json.dumps({"seconds": seconds, "rows": rows, "max_rss_mb": peak_mb()}))


def pages(file: str) -> Iterator[list[dict[str, Any]]]:
    with Path(file).open("rb") as lines:
        while page := [orjson.loads(line) for line in islice(lines, PAGE)]:
            yield page


def credentials(dsn: str) -> str:
    """Return the DSN as dlt wants it: with a host before the path, though a socket's folder can only stand behind it,
    and with a password, needed or not.
    """
    asked = {"host": "localhost", "port": "5432", "password": "none"} | parse_dsn(dsn)
    user, password, host = (quote(asked[name], safe="") for name in ("user", "password", "host"))
    return f"postgresql://{user}:{password}@localhost:{asked['port']}/{asked['dbname']}?host={host}"


def peak_mb() -> float:
    """Return the most memory this program had; `getrusage` would count the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


if __name__ == "__main__":
    main()
