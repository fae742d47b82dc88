"""Runs: how far they are, what they changed, what went wrong; cancelled, and what failed read again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from mls_crm_sync.core.errors import RunNotFound
from mls_crm_sync.store import listings, runs, workers
from mls_crm_sync.sync import rescrape
from mls_crm_sync.sync.run_log import log_of

from . import models
from .context import Caller, Cursor, Here, Limit, number_of, refuse_nul
from .problems import responses
from .strict import StrictRoute

router = APIRouter(tags=["runs"], route_class=StrictRoute)
NEWEST = 2**62
LARGEST = 2**63 - 1

Status = Literal["queued", "running", "succeeded", "partial", "failed", "cancelled", "skipped", "missed"]
Trigger = Literal["scheduled", "manual", "ingest", "push", "look_up", "replay", "retry"]


@router.get("/api/runs", operation_id="list_runs")
async def list_runs(
    here: Here,
    scheduled_job_id: str | None = None,
    status: Annotated[list[Status] | None, Query()] = None,
    trigger: Annotated[list[Trigger] | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.Run]:
    """Runs, newest first, and due times of which none was made. `status` and `trigger` may come several times."""
    refuse_nul(scheduled_job_id=scheduled_job_id)
    async with here.db.connection() as conn:
        rows = await runs.views(
            conn,
            job_id=scheduled_job_id,
            statuses=status,
            kinds=trigger,
            before=number_of(cursor, NEWEST),
            limit=limit,
        )
    now = datetime.now(UTC)
    following = str(rows[-1]["run_id"]) if len(rows) == limit else None
    return models.Page(items=[models.Run.of(row, now) for row in rows], next_cursor=following)


@router.get("/api/runs/{run_id}", operation_id="get_run", responses=responses(404))
async def get_run(here: Here, run_id: int) -> models.Run:
    """One run."""
    async with here.db.connection() as conn:
        return models.Run.of(await runs.view(conn, _known(run_id)), datetime.now(UTC))


@router.get("/api/runs/{run_id}/locations", operation_id="list_run_locations", responses=responses(404))
async def list_locations(
    here: Here,
    run_id: int,
    status: Annotated[list[Status] | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.RunLocation]:
    """The locations of a run, and what came of each."""
    async with here.db.connection() as conn:
        await runs.view(conn, _known(run_id))
        rows = await runs.locations_of(
            conn, run_id, status=status, after=min(number_of(cursor, 0), 2**31 - 1), limit=limit
        )
    now = datetime.now(UTC)
    following = str(rows[-1]["location_id"]) if len(rows) == limit else None
    return models.Page(items=[models.RunLocation.of(row, now) for row in rows], next_cursor=following)


@router.get("/api/runs/{run_id}/changes", operation_id="list_run_changes", responses=responses(404))
async def list_changes(
    here: Here, run_id: int, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.RunChange]:
    """What a run found changed, oldest first, and which CRM properties follow."""
    async with here.db.connection() as conn:
        await runs.view(conn, _known(run_id))
        rows = await listings.changes_of_run(conn, run_id, after=number_of(cursor, 0), limit=limit)
    following = str(rows[-1]["change_id"]) if len(rows) == limit else None
    return models.Page(items=[models.RunChange.of(row) for row in rows], next_cursor=following)


@router.get("/api/runs/{run_id}/errors", operation_id="list_run_errors", responses=responses(404))
async def list_errors(here: Here, run_id: int) -> models.Page[models.RunErrors]:
    """What went wrong in a run, grouped by its code."""
    async with here.db.connection() as conn:
        await runs.view(conn, _known(run_id))
        rows = await runs.errors_of(conn, run_id)
    return models.Page(items=[models.RunErrors.model_construct(**row) for row in rows], next_cursor=None)


@router.get("/api/runs/{run_id}/log", operation_id="get_run_log", responses=responses(404))
async def get_log(here: Here, run_id: int) -> models.Page[models.LogLine]:
    """What happened in a run, oldest first, from what is written down of it."""
    async with here.db.connection() as conn:
        lines = await log_of(conn, _known(run_id))
    items = [models.LogLine(at=one.at, level=one.level, message=one.message, location=one.location) for one in lines]
    return models.Page(items=items, next_cursor=None)


@router.post("/api/runs/{run_id}/cancel", operation_id="cancel_run", responses=responses(404, 409))
async def cancel(here: Here, run_id: int, caller: Caller) -> models.RunMade:
    """End a run: what waits is not read, what is being read ends after its page."""
    await rescrape.cancel(here.db, _known(run_id), actor=caller)
    return models.RunMade(message="cancelled", run_id=run_id)


@router.post(
    "/api/runs/{run_id}/retry-failed",
    operation_id="retry_failed_locations",
    status_code=202,
    responses=responses(404, 409),
)
async def retry_failed(here: Here, run_id: int, caller: Caller) -> models.RunMade:
    """Make a run of the locations that failed in this one, and of no other."""
    made = await rescrape.retry_failed(here.db, _known(run_id), actor=caller)
    return models.RunMade(message="waits for a worker", run_id=made)


@router.get("/api/workers", operation_id="list_workers")
async def list_workers(here: Here) -> models.Page[models.WorkerView]:
    """Workers that are seen, and how many locations each reads."""
    async with here.db.connection() as conn:
        rows = await workers.living(conn)
    return models.Page(items=[models.WorkerView.model_construct(**row) for row in rows], next_cursor=None)


def _known(run_id: int) -> int:
    """Raises RunNotFound for what cannot be the id of one."""
    if not 0 < run_id <= LARGEST:
        raise RunNotFound(run_id)
    return run_id
