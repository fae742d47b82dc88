"""How a run ends: at a location, and as a whole once the last of its locations has.

A run that one process reads is its one location, and ends with it. Of a run that workers share, whoever ends the last
location ends the run too, under its lock; before that come the linked listings that none of its passes showed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mls_crm_sync.store import places, runs
from mls_crm_sync.store.database import Connection, Row
from mls_crm_sync.store.runs import Hold, LocationEnd, RunStatus

from .tally import Tally

LINKED_LISTINGS = "(linked listings)"
"""What the location is called under which a run looks up listings that no pass showed."""


async def end_location(conn: Connection, held: Hold, end: LocationEnd) -> None:
    """End a run at a location that is held, and the run where that was its last one."""
    await runs.end_location(conn, held.run_id, held.location_id, end)
    if held.by_worker:
        await end_run_if_done(conn, held.run_id)
    else:
        error = end.error[:2] if end.error is not None else None
        await runs.finish(conn, held.run_id, end.status, end.counts, error=error)


async def end_run_if_done(conn: Connection, run_id: int) -> None:
    """End a run that workers share, if nothing of it is left to do. Its locations are locked before it is."""
    run = await runs.lock_run(conn, run_id)
    if run["status"] not in {"queued", "running"} or await runs.has_open_locations(conn, run_id):
        return
    results = await runs.location_results(conn, run_id)
    if await _look_up_the_rest(conn, run_id, run, results):
        return
    tally = Tally()
    for row in results:
        tally.add(Tally.of_dict(row["counts"]))
    tally.changes = Counter(await runs.totals(conn, run_id))
    status = status_of([row["status"] for row in results])
    await runs.finish(conn, run_id, status, tally.as_dict(), error=_summary(results))


def status_of(locations: Collection[str]) -> RunStatus:
    """Return how a run ended whose locations ended so. Never succeeded when something failed."""
    if "cancelled" in locations:
        return "cancelled"
    ended = set(locations)
    if ended <= {"succeeded"}:
        return "succeeded"
    return "failed" if ended == {"failed"} else "partial"


def _summary(results: Sequence[Row]) -> tuple[str, str] | None:
    failed = Counter(row["error_code"] for row in results if row["error_code"] is not None)
    if not failed:
        return None
    (code, _), *others = failed.most_common()
    more = f", and for {len(others)} other reasons" if len(others) > 1 else ", and for another reason" if others else ""
    return code, f"{failed.total()} of {len(results)} locations were not read to their end: {code}{more}"


async def _look_up_the_rest(conn: Connection, run_id: int, run: Row, results: Sequence[Row]) -> bool:
    """Let the sources be asked for linked listings that no pass showed; return whether there is anything to ask.

    Once a run: what was not answered is no reason to ask again.
    """
    config: Mapping[str, Any] = run["config"]
    if not config["look_up"] or any(row["task"] == "look_up" or row["status"] == "cancelled" for row in results):
        return False
    selected = (config["crm_status"], config["filters"])
    asked = [
        (source, LINKED_LISTINGS)
        for source in sorted({row["source"] for row in results})
        if await places.has_unseen(conn, *selected, source=source, run_id=run_id, since=run["since"])
    ]
    if asked:
        await runs.queue(conn, run_id, asked, rank=runs.RANKS[config["priority"]], task="look_up")
    return bool(asked)
