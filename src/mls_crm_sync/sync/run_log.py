"""What happened in a run, told from what is written down of it: nothing twice, and nothing that was not so."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from mls_crm_sync.store import runs
from mls_crm_sync.store.database import Connection, Row

Level = Literal["info", "warning", "error"]
MOST_LOCATIONS = 10_000


class Line(NamedTuple):
    at: datetime
    level: Level
    message: str
    location: str | None = None


async def log_of(conn: Connection, run_id: int) -> list[Line]:
    """Return what happened, oldest first. Raises RunNotFound."""
    run = await runs.view(conn, run_id)
    lines = _of_run(run)
    for row in await runs.locations_of(conn, run_id, limit=MOST_LOCATIONS):
        lines += _of_location(row)
    return sorted(lines, key=lambda line: line.at)


def _of_run(run: Row) -> list[Line]:
    by = f" by {run['actor']}" if run["actor"] is not None else ""
    if run["status"] in {"skipped", "missed"}:
        times = run["due_times"]
        return [Line(run["finished_at"], "warning", f"{times} due times {run['status']}: {run['reason']}")]
    lines = [Line(run["made_at"], "info", f"made ({run['kind']}{by}), {run['locations']} locations")]
    for reason, left in (run["left_out"] or {}).items():
        lines.append(Line(run["made_at"], "warning", f"left out, {reason}: {left['properties']} CRM properties"))
    if run["started_at"] is not None:
        lines.append(Line(run["started_at"], "info", "started"))
    if run["finished_at"] is not None:
        level: Level = "info" if run["status"] == "succeeded" else "warning"
        detail = f": {run['error_detail']}" if run["error_detail"] else ""
        lines.append(Line(run["finished_at"], level, f"{run['status']}{detail}"))
    return lines


def _of_location(row: Row) -> list[Line]:
    name = row["location"]
    lines = []
    if row["started_at"] is not None:
        again = f", for the {row['starts']}. time" if row["starts"] > 1 else ""
        lines.append(Line(row["started_at"], "info", f"{row['task'].replace('_', ' ')} begun{again}", name))
    if row["finished_at"] is None:
        return lines
    counts = row["counts"]
    read = f", {counts['read']:,} read, {counts['changed']:,} changed" if counts.get("read") else ""
    evidence = f" ({row['evidence']})" if row["evidence"] else ""
    lines.append(Line(row["finished_at"], "info", f"{row['outcome'] or row['status']}{evidence}{read}", name))
    if row["error_code"] is not None:
        lines.append(Line(row["finished_at"], "error", f"{row['error_code']}: {row['error_detail']}", name))
    return lines
