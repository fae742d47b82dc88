"""Schedules: how they are set up, edited, paused; and what becomes of each of their due times.

Every due time is accounted for, by the database's clock and in one transaction with whatever is made of it: a run, or a
row that says why there is none (skipped: a pause, the run before, nothing to read; missed: nobody was there to look).
After a time without anybody the latest due time becomes the run, and those before it share one row.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

import structlog

from mls_crm_sync.core import schedule as cron
from mls_crm_sync.core.errors import (
    AlreadyRunning,
    InvalidInput,
    NothingToRead,
    ScheduleExists,
    SetupError,
    StoreUnavailable,
    SyncError,
    VersionMismatch,
)
from mls_crm_sync.core.filters import checked_filters
from mls_crm_sync.core.schedule import Schedule
from mls_crm_sync.store import runs, schedules
from mls_crm_sync.store import sources as source_store
from mls_crm_sync.store.database import Connection, Database, now
from mls_crm_sync.store.schedules import Job

from .reader import checked_name
from .rescrape import ACTIVE_PROPERTIES, make_run, select

log = structlog.get_logger()

DEFAULT_CRON = "0 * * * *"
NAME = "Active Properties Re-scraping"
MOST_LISTINGS = 10_000
LONGEST_DELAY = 60.0
MOST_LOCATIONS = 10_000
MOMENT = timedelta(microseconds=1)

DEFAULTS: Mapping[str, Any] = {
    "status": "active",
    "cron_expression": DEFAULT_CRON,
    "timezone": "UTC",
    "listing_limit": 1000,
    "request_delay": 2.0,
    "priority": "normal",
    "filters": {},
    "source": None,
    "locations": [],
    "next_run_at": None,
    "frequency": None,
    "edited": False,
    "paused_at": None,
    "paused_by": None,
    "paused_until": None,
}
_WHEN = frozenset({"cron_expression", "timezone"})


@dataclass(frozen=True, slots=True)
class _Edit:
    """What somebody asks of a schedule."""

    changes: Mapping[str, Any]
    by: str
    versions: Collection[int] | None
    minimum: timedelta


@dataclass(frozen=True, slots=True)
class View:
    """A schedule as it is shown: its row, what its runs say of it, and when it runs next (null while it does not)."""

    job: Mapping[str, Any]
    activity: Mapping[str, Any]
    next_run_at: datetime | None


async def ensure_active_properties(
    db: Database, frequency: str | None, *, minimum: timedelta = cron.DEFAULT_MINIMUM
) -> None:
    """Make the schedule of active properties at the first start; later let a changed `frequency` (cron, from the
    environment) count, unless a person has edited when it runs.

    Raises SetupError for a frequency that cannot be.
    """
    text = frequency or DEFAULT_CRON
    async with db.transaction() as conn:
        at = await now(conn)
        try:
            wanted = _checked_schedule(text, "UTC", at, minimum)
        except InvalidInput as error:
            message = f"ACTIVE_PROPERTIES_SCRAPING_FREQUENCY: {error.detail}"
            raise SetupError(message, hint="five cron fields, as `0 */2 * * *`; unset it for every hour") from error
        found = await schedules.find_locked(conn, ACTIVE_PROPERTIES)
        if found is None:
            job = _new(ACTIVE_PROPERTIES, "active_properties", NAME) | {"cron_expression": wanted.cron}
            await schedules.insert(conn, job | {"next_run_at": cron.next_run(wanted, at), "frequency": wanted.cron})
        elif found["edited"]:
            if frequency is not None and wanted.cron != found["cron_expression"]:
                log.warning("frequency_overridden", environment=wanted.cron, schedule=found["cron_expression"])
        elif wanted.cron != found["frequency"]:
            await _save(conn, {**found, "frequency": wanted.cron}, {"cron_expression": wanted.cron}, "environment", at)


async def view(db: Database, job_id: str) -> View:
    """Raises ScheduleNotFound."""
    async with db.connection() as conn:
        return await _view(conn, await schedules.get(conn, job_id))


async def every(db: Database) -> list[View]:
    async with db.connection() as conn:
        rows = await schedules.every(conn)
        activity = await schedules.activity(conn, [row["scheduled_job_id"] for row in rows])
        return [View(row, activity[row["scheduled_job_id"]], _next_shown(row)) for row in rows]


async def edit(
    db: Database,
    job_id: str,
    changes: Mapping[str, Any],
    *,
    by: str,
    versions: Collection[int] | None = None,
    minimum: timedelta = cron.DEFAULT_MINIMUM,
) -> View:
    """Change members of a schedule: name, cron_expression, timezone, limit, request_delay, priority, filters, source,
    locations. The one of active properties is made where it is not there.

    Raises ScheduleNotFound, VersionMismatch, InvalidInput that names the member.
    """
    return await db.retrying(partial(_edit, job_id, _Edit(changes, by, versions, minimum)))


async def create(
    db: Database,
    changes: Mapping[str, Any],
    *,
    by: str,
    job_id: str | None = None,
    minimum: timedelta = cron.DEFAULT_MINIMUM,
) -> View:
    """Make a schedule of fixed `locations`, or with none of them one of CRM properties by its filters; active at once.

    Raises InvalidInput, ScheduleExists.
    """
    return await db.retrying(partial(_create, job_id, _Edit(changes, by, None, minimum)))


async def remove(db: Database, job_id: str) -> None:
    """Take a schedule away; its runs stay. Raises ScheduleNotFound, InvalidInput for the one of active properties."""
    if job_id == ACTIVE_PROPERTIES:
        raise InvalidInput("scheduled_job_id", "this one is switched off, not removed: toggle it")
    await db.retrying(partial(schedules.delete, job_id=job_id))


async def toggle(db: Database, job_id: str, *, enabled: bool, by: str, versions: Collection[int] | None = None) -> View:
    """Make a schedule active or inactive. Raises ScheduleNotFound, VersionMismatch."""
    status: Literal["active", "inactive"] = "active" if enabled else "inactive"
    return await db.retrying(partial(_change, job_id, {"status": status}, by, versions))


async def pause(db: Database, job_id: str, *, until: datetime | None, by: str) -> View:
    """Let due times pass until then, or until somebody resumes it. Raises ScheduleNotFound, InvalidInput."""

    async def change(conn: Connection) -> View:
        at = await now(conn)
        if until is not None and until <= at:
            raise InvalidInput("until", "has passed")
        return await _change(job_id, {"paused_at": at, "paused_by": by, "paused_until": until}, by, None, conn)

    return await db.retrying(change)


async def resume(db: Database, job_id: str, *, by: str) -> View:
    """Raises ScheduleNotFound."""
    over = {"paused_at": None, "paused_by": None, "paused_until": None}
    return await db.retrying(partial(_change, job_id, over, by, None))


async def tick(db: Database, *, at: datetime | None = None) -> int:
    """Account for all due times up to now, each schedule by itself; return how many schedules had some.

    A schedule of which nothing can be made is told with its reason, and the others go on. `at` is there to be replaced.
    """
    async with db.connection() as conn:
        moment = at if at is not None else await now(conn)
        due = await schedules.due(conn, moment)
    done = 0
    for job_id in due:
        try:
            done += await db.retrying(partial(_account_due, job_id, moment))
        except StoreUnavailable:
            raise
        except Exception as error:  # one bad row stops no other
            log.exception("schedule_failed", job=job_id)
            problem = str(error) if isinstance(error, SyncError) else f"a bug: {type(error).__name__}"
            await db.retrying(partial(schedules.note_problem, job_id=job_id, problem=problem))
    return done


async def _account_due(job_id: str, at: datetime, conn: Connection) -> bool:
    job = await schedules.lock_due(conn, job_id, at)
    if job is None:
        return False
    await _account(conn, job, at)
    return True


async def _account(conn: Connection, job: Job, at: datetime) -> None:
    """Account for the due times of a locked schedule up to now, its `next_run_at` being the first of them."""
    schedule = _schedule_of(job)
    first: datetime | None = job["next_run_at"]
    resumed = False
    if job["paused_at"] is not None and first is not None:
        until: datetime | None = job["paused_until"]
        resumed = until is not None and until <= at
        last_paused = until - MOMENT if until is not None and resumed else at
        if first <= last_paused:
            await _note(conn, job, "skipped", "paused", (first, last_paused))
        after = cron.next_run(schedule, last_paused) if resumed else None
        first = max(first, after) if after is not None and after <= at else None
    if first is not None:
        latest = cron.due_between(schedule, first, at).latest or first
        if latest > first:
            await _note(conn, job, "missed", "downtime", (first, latest - MOMENT))
        try:
            await make_run(conn, job, kind="scheduled", scheduled_for=latest)
        except AlreadyRunning:
            await _note(conn, job, "skipped", "overlap", (latest, latest))
        except NothingToRead as error:
            await _note(conn, job, "skipped", error.reason, (latest, latest))
    await schedules.accounted(conn, job["scheduled_job_id"], cron.next_run(schedule, at), resumed=resumed)


async def _note(
    conn: Connection,
    job: Job,
    status: Literal["skipped", "missed"],
    reason: str,
    span: tuple[datetime, datetime],
) -> None:
    """Account for the due times from one, which is due, to an instant."""
    first, until = span
    job_id = job["scheduled_job_id"]
    more = cron.due_between(_schedule_of(job), first, until)
    times = 1 if more.latest is None else 2 + more.earlier
    await schedules.note_due(conn, job_id, status, reason, first=first, last=more.latest or first, times=times)
    log.info("due_times_passed", job=job_id, status=status, reason=reason, times=times)


async def _create(job_id: str | None, asked: _Edit, conn: Connection) -> View:
    at = await now(conn)
    new_id = job_id or f"job_{secrets.token_hex(8)}"
    checked_name("scheduled_job_id", new_id)
    kind = "locations" if asked.changes.get("locations") else "active_properties"
    job = _new(new_id, kind, new_id)
    checked = await _checked(conn, asked, job, at)
    job |= checked
    job["next_run_at"] = _next(job, at)
    if not await schedules.insert(conn, job):
        raise ScheduleExists(new_id)
    await schedules.note_edit(conn, new_id, 1, asked.by, {name: [None, value] for name, value in checked.items()})
    return await _view(conn, await schedules.get(conn, new_id))


async def _edit(job_id: str, asked: _Edit, conn: Connection) -> View:
    at = await now(conn)
    if job_id == ACTIVE_PROPERTIES and await schedules.find(conn, job_id) is None:
        job = _new(job_id, "active_properties", NAME)
        await schedules.insert(conn, job | {"next_run_at": _next(job, at)})
    job = await schedules.lock(conn, job_id)
    checked = await _checked(conn, asked, job, at)
    if _WHEN & checked.keys():
        checked["edited"] = True
    return await _change(job_id, checked, asked.by, asked.versions, conn)


async def _change(
    job_id: str, changes: Mapping[str, Any], by: str, versions: Collection[int] | None, conn: Connection
) -> View:
    """Change checked members of a schedule, after all that was due before is accounted for."""
    job = await schedules.lock(conn, job_id)
    if versions is not None and job["version"] not in versions:
        raise VersionMismatch(job_id, versions, job["version"], what="the schedule")
    at = await now(conn)
    if job["next_run_at"] is not None and job["next_run_at"] <= at and job["problem"] is None:
        await _account(conn, job, at)
        job = await schedules.lock(conn, job_id)
    await _save(conn, job, changes, by, at)
    return await _view(conn, await schedules.get(conn, job_id))


async def _save(conn: Connection, job: Mapping[str, Any], changes: Mapping[str, Any], by: str, at: datetime) -> None:
    after = {**job, **changes}
    moved = {name for name in changes if job[name] != after[name]}
    if moved & {*_WHEN, "status"}:
        after["next_run_at"] = _next(after, at)
    if not moved:
        return
    await schedules.save(conn, after)
    told = {name: [_plain(job[name]), _plain(after[name])] for name in sorted(moved - {"edited"})}
    if told:
        await schedules.note_edit(conn, job["scheduled_job_id"], job["version"] + 1, by, told)
    log.info("schedule_changed", job=job["scheduled_job_id"], members=sorted(told))


async def _checked(conn: Connection, asked: _Edit, job: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Return members as they are stored. Raises InvalidInput that names the member."""
    changes = asked.changes
    unknown = sorted(changes.keys() - _CHECKS.keys() - _WHEN - {"source"})
    if unknown:
        raise InvalidInput(unknown[0], "is no member of a schedule")
    checked = {_STORED.get(name, name): _CHECKS[name](value) for name, value in changes.items() if name in _CHECKS}
    if _WHEN & changes.keys():
        wanted = {name: changes.get(name, job[name]) for name in _WHEN}
        schedule = _checked_schedule(wanted["cron_expression"], wanted["timezone"], at, asked.minimum)
        checked |= {"cron_expression": schedule.cron, "timezone": schedule.zone.key}
    if "source" in changes:
        source = changes["source"]
        if source is not None and source not in {row["name"] for row in await source_store.every(conn)}:
            raise InvalidInput("source", f"no source is called {source!r}")
        checked["source"] = source
    if job["kind"] == "locations" and "locations" in checked and not checked["locations"]:
        raise InvalidInput("locations", "name at least one")
    if job["kind"] != "locations" and checked.get("locations"):
        raise InvalidInput("locations", "this schedule reads where its CRM properties are")
    return checked


def _checked_schedule(expression: str, timezone: str, at: datetime, minimum: timedelta) -> Schedule:
    schedule = cron.schedule_of(expression, timezone)
    cron.check(schedule, at, minimum)
    return schedule


def _limit(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_LISTINGS:
        raise InvalidInput("limit", f"must be a whole number from 1 to {MOST_LISTINGS:,}")
    return value


def _delay(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= LONGEST_DELAY:
        raise InvalidInput("request_delay", f"must be 0 to {LONGEST_DELAY:g} seconds")
    return float(value)


def _priority(value: object) -> str:
    if not isinstance(value, str) or value not in runs.RANKS:
        raise InvalidInput("priority", f"must be one of {', '.join(runs.RANKS)}")
    return value


def _name(value: str) -> str:
    return checked_name("name", value).strip()


def _locations(value: Collection[str]) -> list[str]:
    if len(value) > MOST_LOCATIONS:
        raise InvalidInput("locations", f"at most {MOST_LOCATIONS:,}")
    return sorted({checked_name("locations", one).strip() for one in value})


_CHECKS: Mapping[str, Any] = {
    "name": _name,
    "limit": _limit,
    "request_delay": _delay,
    "priority": _priority,
    "filters": checked_filters,
    "locations": _locations,
}
_STORED: Mapping[str, str] = {"limit": "listing_limit"}


def _new(job_id: str, kind: str, name: str) -> dict[str, Any]:
    return {**DEFAULTS, "scheduled_job_id": job_id, "kind": kind, "name": name}


def _schedule_of(job: Mapping[str, Any]) -> Schedule:
    return cron.schedule_of(job["cron_expression"], job["timezone"])


def _next(job: Mapping[str, Any], at: datetime) -> datetime | None:
    """Return the next due time to account for; an inactive schedule has none."""
    if job["status"] != "active":
        return None
    return cron.next_run(_schedule_of(job), at)


async def _view(conn: Connection, job: Mapping[str, Any]) -> View:
    job_id = job["scheduled_job_id"]
    return View(job, (await schedules.activity(conn, [job_id]))[job_id], _next_shown(job))


def _next_shown(job: Mapping[str, Any]) -> datetime | None:
    """When it runs next: a paused schedule after its pause, if that has an end."""
    due: datetime | None = job["next_run_at"]
    if job["paused_at"] is None or due is None:
        return due
    until: datetime | None = job["paused_until"]
    if until is None:
        return None
    try:
        schedule = _schedule_of(job)
    except InvalidInput:  # somebody else's SQL; the schedule's problem says so
        return None
    return max(due, cron.next_run(schedule, until - MOMENT) or due)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


async def preview_selection(db: Database, job_id: str, filters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a schedule would read now, with its filters or others: locations, properties, left_out, examples of
    locations. Raises ScheduleNotFound, InvalidInput, NothingToRead where it has no source.
    """
    async with db.connection() as conn:
        job = dict(await schedules.get(conn, job_id))
        if filters is not None:
            job["filters"] = checked_filters(filters)
        selection = await select(conn, job)
    return {
        "locations": len(selection.locations),
        "properties": selection.properties,
        "left_out": selection.left_out(),
        "examples": [{"source": source, "location": name} for source, name in selection.locations[:20]],
    }
