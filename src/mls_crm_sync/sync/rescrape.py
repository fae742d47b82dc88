"""Runs over many locations: which there are, made to wait for workers, cancelled, and what failed read again.

A schedule of active properties reads where they are, each place at the source of its linked listings, else at the
default one. What cannot be read anywhere is told with the run, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from mls_crm_sync.core.errors import AlreadyRunning, NothingToRead, RunEnded, RunNotFound
from mls_crm_sync.core.filters import beside_status, statuses_of
from mls_crm_sync.store import events, places, runs, schedules, workers
from mls_crm_sync.store import sources as source_store
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.places import Group
from mls_crm_sync.store.runs import LocationEnd, PassEnd

from . import absence
from .finishing import end_run_if_done
from .sources import only_location

log = structlog.get_logger()

ACTIVE_PROPERTIES = "active_properties_rescraping"
EXAMPLES = 10


@dataclass(slots=True)
class LeftOut:
    """CRM properties that cannot be read: how many, and some of their ids."""

    properties: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, group: Group) -> None:
        self.properties += group.properties
        self.examples = sorted({*self.examples, *group.examples})[:EXAMPLES]


@dataclass(slots=True)
class Selection:
    """What a run of a schedule reads: locations as (source, name), sorted; and what it has to leave out."""

    locations: list[tuple[str, str]]
    no_location: LeftOut = field(default_factory=LeftOut)  # nobody knows where they are
    no_source: LeftOut = field(default_factory=LeftOut)  # their listings' source is not set up, or there is no default
    properties: int = 0  # that are read

    def check(self) -> None:
        """Raises NothingToRead."""
        if self.locations:
            return
        if self.no_source.properties:
            raise NothingToRead("no_source", "no source is set up for the properties: `mls-crm-sync sources add`")
        if self.no_location.properties:
            raise NothingToRead("no_location", "none of the properties has a ZIP, or a city and a state")
        raise NothingToRead("nothing_active", "no CRM property is selected")

    def left_out(self) -> dict[str, Any] | None:
        told = {"no_location": self.no_location, "no_source": self.no_source}
        return {
            reason: {"properties": left.properties, "examples": left.examples}
            for reason, left in told.items()
            if left.properties
        } or None


async def select(conn: Connection, job: Mapping[str, Any]) -> Selection:
    """Return what a run of this schedule would read now.

    Raises NothingToRead where a schedule of fixed locations has no source.
    """
    default = await source_store.default(conn)
    rows = {row["name"]: row for row in await source_store.every(conn)}
    if job["kind"] == "locations":
        source: str | None = job["source"] or default
        if source is None or source not in rows:
            raise NothingToRead("no_source", f"no source is called {source!r}" if source else "no source is set up")
        return Selection(_at(rows, [(source, name) for name in job["locations"]]))
    if job["filters"]:
        groups = await places.selected(conn, statuses_of(job["filters"]), beside_status(job["filters"]))
    else:
        groups = await places.active(conn)
    return await _selection(conn, groups, rows, default)


async def _selection(
    conn: Connection, groups: Sequence[Group], rows: Mapping[str, Row], default: str | None
) -> Selection:
    selection = Selection([])
    found: list[tuple[str, str]] = []
    unknown: set[str] = set()  # sources of which nobody looked for examples
    for group in groups:
        source = group.source or default or ""
        if group.place is None:
            selection.no_location.add(group)
        elif source in rows:
            found.append((source, group.place))
            selection.properties += group.properties
        elif group.examples:
            selection.no_source.add(group)
        else:
            unknown.add(group.source)
    if unknown:
        selection.no_source.add(await places.active_of(conn, unknown))
    selection.locations = _at(rows, found)
    return selection


def _at(rows: Mapping[str, Row], found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each once, sorted, whatever its case; of a source that is read as a whole, its only location."""
    once: dict[tuple[str, str], str] = {}
    for source, name in sorted(found):
        place = only_location(rows[source]) or name
        once.setdefault((source, place.casefold()), place)
    return [(source, place) for (source, _), place in sorted(once.items())]


async def make_run(
    conn: Connection,
    job: Mapping[str, Any],
    *,
    kind: runs.RunKind,
    scheduled_for: datetime | None = None,
    actor: str | None = None,
) -> int:
    """Make a run of a locked schedule that waits for workers; return its id.

    Raises AlreadyRunning, and NothingToRead with its reason.
    """
    job_id = job["scheduled_job_id"]
    under_way = await schedules.open_run(conn, job_id)
    if under_way is not None:
        raise AlreadyRunning(job_id, under_way)
    selection = await select(conn, job)
    selection.check()
    run_id = await runs.make(
        conn,
        kind,
        _only_source(selection.locations),
        _config(job),
        job_id=job_id,
        scheduled_for=scheduled_for,
        actor=actor,
        left_out=selection.left_out(),
    )
    await runs.queue(conn, run_id, selection.locations, rank=runs.RANKS[job["priority"]])
    await workers.ring(conn)
    log.info("run_made", run_id=run_id, job=job_id, locations=len(selection.locations), kind=kind)
    return run_id


async def run_now(db: Database, job_id: str, *, actor: str) -> int:
    """Make a run of a schedule now, whether it is active or not. Raises ScheduleNotFound and as `make_run`."""

    async def make(conn: Connection) -> int:
        job = await schedules.lock(conn, job_id)
        return await make_run(conn, job, kind="manual", actor=actor)

    return await db.retrying(make)


async def retry_failed(db: Database, run_id: int, *, actor: str) -> int:
    """Make a run of what failed in an earlier one, by that one's settings; return its id.

    Raises RunNotFound, AlreadyRunning, and NothingToRead where nothing failed.
    """
    return await db.retrying(partial(_retry_failed, run_id, actor))


async def _retry_failed(run_id: int, actor: str, conn: Connection) -> int:
    row = await runs.view(conn, run_id)
    if row["finished_at"] is None:
        raise AlreadyRunning(row["scheduled_job_id"] or f"run {run_id}", run_id)
    failed = await runs.locations_of(conn, run_id, status=["failed", "partial"], limit=1_000_000)
    if not failed or row["config"] is None:
        raise NothingToRead("nothing_failed", f"run {run_id} has no location that failed")
    job_id = row["scheduled_job_id"]
    if job_id is not None:
        await schedules.find_locked(conn, job_id)
        under_way = await schedules.open_run(conn, job_id)
        if under_way is not None:
            raise AlreadyRunning(job_id, under_way)
    by_task = {task: [(one["source"], one["location"]) for one in failed if one["task"] == task] for task in _TASKS}
    config = {**row["config"], "look_up": False}
    source = _only_source([place for some in by_task.values() for place in some])
    made = await runs.make(conn, "manual", source, config, job_id=job_id, actor=actor, attempt_of=run_id)
    for task in _TASKS:
        await runs.queue(conn, made, by_task[task], rank=runs.RANKS[config["priority"]], task=task)
    await workers.ring(conn)
    return made


_TASKS: tuple[runs.Task, ...] = ("read", "look_up")


async def cancel(db: Database, run_id: int, *, actor: str) -> None:
    """Cancel a run: what waits is not read, what is being read ends after its page. Raises RunNotFound, RunEnded."""
    await db.retrying(partial(_cancel, run_id, actor))
    log.info("run_cancelled", run_id=run_id)


async def _cancel(run_id: int, actor: str, conn: Connection) -> None:
    row = await runs.view(conn, run_id)
    if row["finished_at"] is not None:
        raise RunEnded(run_id, row["status"])
    if row["config"] is None:  # one process reads it, which nobody else can end
        raise RunNotFound(run_id)
    told: list[Event] = []
    open_ones = await runs.lock_open_locations(conn, run_id)  # waits for the page that is being written
    status = (await runs.lock_run(conn, run_id))["status"]
    if status not in {"queued", "running"}:  # it has ended while we waited
        raise RunEnded(run_id, status)
    for place in open_ones:
        if place.pass_id is not None:
            _, back = await absence.end_pass(conn, place.pass_id, place.location_id, PassEnd("cancelled"), run_id)
            told += back
        end = LocationEnd("cancelled", place.counts, "cancelled")
        await runs.end_location(conn, run_id, place.location_id, end, lost=True)
    await runs.note_actor(conn, run_id, actor)
    await end_run_if_done(conn, run_id)
    await events.append(conn, told)


def _only_source(locations: Sequence[tuple[str, str]]) -> str | None:
    names = {source for source, _ in locations}
    return names.pop() if len(names) == 1 else None


def _config(job: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run is made with, kept with it."""
    same = ("name", "cron_expression", "timezone", "request_delay", "priority")
    return {
        **{name: job[name] for name in same},
        "limit": job["listing_limit"],
        "crm_status": statuses_of(job["filters"]),
        "filters": beside_status(job["filters"]),
        "look_up": job["kind"] == "active_properties",
    }
