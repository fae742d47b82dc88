"""pipelinewise's target-postgres, fed with Singer messages as a tap writes them: SCHEMA, RECORD, STATE.

    python load.py DSN FILE

The target's own `persist_lines` runs in this process, at the best that can happen to it: the messages are made of the
file's lines without parsing them, and no pipe is between. One flush at its default of 100,000 rows: COPY into a
temporary table, one UPDATE, one INSERT. Records are not validated and have no metadata columns, as is its default.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2.extensions import parse_dsn  # type: ignore[import-untyped]
from target_postgres import persist_lines  # type: ignore[import-not-found]

SCHEMA, STREAM = "peer_target_postgres", "listings"


def main() -> None:
    dsn, file = sys.argv[1:]
    logging.disable(logging.INFO)
    schema = schema_of(file)  # a tap knows its catalogue before it runs: not measured
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)  # as the product calms its own
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # it writes its state there
        persist_lines(config(dsn), messages(file, schema))
    seconds = time.perf_counter() - began
    with psycopg2.connect(dsn) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM peer_target_postgres.listings")
        (rows,) = cursor.fetchone()
    print(json.dumps({"seconds": seconds, "rows": rows, "max_rss_mb": peak_mb()}))


def config(dsn: str) -> dict[str, Any]:
    asked = {"host": "localhost", "port": "5432", "password": "none"} | parse_dsn(dsn)  # it insists on a password
    known = {name: asked[name] for name in ("host", "port", "user", "password", "dbname")}
    return known | {"default_target_schema": SCHEMA, "temp_dir": os.environ["PEER_HOME"]}


def messages(file: str, schema: dict[str, Any]) -> Iterator[str]:
    yield json.dumps({"type": "SCHEMA", "stream": STREAM, "schema": schema, "key_properties": ["ListingKey"]})
    with Path(file).open(encoding="utf-8") as lines:
        for line in lines:
            yield f'{{"type":"RECORD","stream":"{STREAM}","record":{line}}}'
    yield json.dumps({"type": "STATE", "value": {"bookmarks": {STREAM: {"file": file}}}})


def schema_of(file: str) -> dict[str, Any]:
    """Return the JSON schema of the file's records; a number is of any kind, since 1 and 1.5 may share a member."""
    properties: dict[str, Any] = {}
    with Path(file).open(encoding="utf-8") as lines:
        for line in lines:
            for name, value in json.loads(line).items():
                if value is not None and name not in properties:
                    properties[name] = property_of(name, value)
    return {"type": "object", "properties": properties}


def property_of(name: str, value: object) -> dict[str, Any]:
    if name.endswith(("Timestamp", "Date")):
        return {"type": ["null", "string"], "format": "date-time"}
    kinds = {bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
    return {"type": ["null", kinds.get(type(value), "string")]}


def peak_mb() -> float:
    """Return the most memory this program had; `getrusage` would count the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


if __name__ == "__main__":
    main()
