"""Schedules: their definitions, who edited them, and which of their due times are accounted for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

from mls_crm_sync.core.errors import ScheduleNotFound

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)

MADE_WITH = (
    "scheduled_job_id", "kind", "name", "status", "cron_expression", "timezone", "listing_limit", "request_delay",
    "priority", "filters", "source", "locations", "next_run_at", "frequency", "edited",
)  # fmt: skip
SAVED = (
    "scheduled_job_id", "name", "status", "cron_expression", "timezone", "listing_limit", "request_delay", "priority",
    "filters", "source", "locations", "next_run_at", "frequency", "edited", "paused_at", "paused_by", "paused_until",
)  # fmt: skip


Job: TypeAlias = dict[str, Any]
"""A schedule as its row has it."""


async def find(conn: Connection, job_id: str) -> Job | None:
    return _job(await conn.fetchrow(_SQL["get"], job_id))


async def get(conn: Connection, job_id: str) -> Job:
    """Raises ScheduleNotFound."""
    job = await find(conn, job_id)
    if job is None:
        raise ScheduleNotFound(job_id)
    return job


async def every(conn: Connection) -> list[Job]:
    return [dict(row) for row in await conn.fetch(_SQL["every"])]


async def lock(conn: Connection, job_id: str) -> Job:
    """Lock a schedule and return it. Raises ScheduleNotFound."""
    job = await find_locked(conn, job_id)
    if job is None:
        raise ScheduleNotFound(job_id)
    return job


async def find_locked(conn: Connection, job_id: str) -> Job | None:
    """Lock a schedule, if it is still there."""
    return _job(await conn.fetchrow(_SQL["lock"], job_id))


async def insert(conn: Connection, job: Mapping[str, Any]) -> bool:
    """Insert a schedule; False when its id is taken."""
    return await conn.fetchval(_SQL["insert"], *(job[name] for name in MADE_WITH)) is not None


async def save(conn: Connection, job: Mapping[str, Any]) -> None:
    """Write a locked schedule anew, as its next version."""
    await conn.execute(_SQL["save"], *(job[name] for name in SAVED))


async def delete(conn: Connection, job_id: str) -> None:
    """Raises ScheduleNotFound."""
    if await conn.fetchval(_SQL["delete"], job_id) is None:
        raise ScheduleNotFound(job_id)


async def note_edit(conn: Connection, job_id: str, version: int, by: str, changes: Mapping[str, Any]) -> None:
    """Keep who changed what: member -> [before, after]."""
    await conn.execute(_SQL["note_edit"], job_id, version, by, dict(changes))


async def edits(conn: Connection, job_id: str, *, limit: int = 50) -> list[Row]:
    """Return the newest edits first: version, edited_by, edited_at, changes."""
    return await conn.fetch(_SQL["edits"], job_id, limit)


async def due(conn: Connection, now: datetime) -> list[str]:
    """Return the schedules that have something due, the longest first."""
    return [row["scheduled_job_id"] for row in await conn.fetch(_SQL["due"], now)]


async def lock_due(conn: Connection, job_id: str, now: datetime) -> Job | None:
    """Lock a schedule that has something due; None where somebody else has it, or nothing is due any more."""
    return _job(await conn.fetchrow(_SQL["lock_due"], job_id, now))


async def accounted(conn: Connection, job_id: str, next_run_at: datetime | None, *, resumed: bool) -> None:
    """Note that all before `next_run_at` is accounted for; `resumed`: its pause is over."""
    await conn.execute(_SQL["accounted"], job_id, next_run_at, resumed)


async def note_problem(conn: Connection, job_id: str, problem: str) -> None:
    await conn.execute(_SQL["note_problem"], job_id, problem)


async def note_due(
    conn: Connection,
    job_id: str,
    status: Literal["skipped", "missed"],
    reason: str,
    *,
    first: datetime,
    last: datetime,
    times: int,
) -> None:
    """Account for due times of which nothing is made; consecutive ones with one reason share a row."""
    newest = await conn.fetchrow(_SQL["newest_due"], job_id)
    if newest is not None and (newest["status"], newest["reason"]) == (status, reason):
        await conn.execute(_SQL["add_due"], newest["run_id"], last, times)
    else:
        await conn.execute(_SQL["note_due"], job_id, status, first, last, times, reason)


async def open_run(conn: Connection, job_id: str) -> int | None:
    """Return the run of a schedule that is queued or running."""
    run_id: int | None = await conn.fetchval(_SQL["open_run"], job_id)
    return run_id


async def activity(conn: Connection, job_ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return what runs say of schedules: run_count, last_run_at, open_run, open_status, last_run, last_status,
    last_success_at, median_duration (seconds).
    """
    rows = await conn.fetch(_SQL["activity"], list(job_ids))
    return {row["scheduled_job_id"]: dict(row) for row in rows}


def _job(row: Row | None) -> Job | None:
    return None if row is None else dict(row)
