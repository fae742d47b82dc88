"""Schedules: the documented configuration of re-scraping active properties, and all others beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from mls_crm_sync.core import schedule as cron
from mls_crm_sync.core.errors import InvalidInput, ScheduleNotFound
from mls_crm_sync.store import schedules as store
from mls_crm_sync.sync import rescrape, schedules
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.schedules import View

from . import models
from .context import Caller, Here, Id, IfMatch, known_job_id
from .problems import responses
from .strict import StrictRoute

router = APIRouter(tags=["schedules"], route_class=StrictRoute)

NOT_THERE = "active properties are not re-scraped yet; PUT makes the schedule"


# -- the documented endpoints -----------------------------------------------------------------------------------------


@router.get("/active-properties-config", operation_id="get_active_properties_config")
async def get_config(here: Here, response: Response) -> models.ActivePropertiesConfig | models.NoActivePropertiesConfig:
    """When active properties are read anew, and how."""
    try:
        view = await schedules.view(here.db, ACTIVE_PROPERTIES)
    except ScheduleNotFound:
        return models.NoActivePropertiesConfig(exists=False, message=NOT_THERE)
    return models.ActivePropertiesConfig.model_construct(exists=True, job=_shown(view, response))


@router.put("/active-properties-config", operation_id="put_active_properties_config", responses=responses(412))
async def put_config(
    here: Here, body: models.ActivePropertiesChanges, response: Response, caller: Caller, if_match: IfMatch = None
) -> models.ActivePropertiesUpdated:
    """Change when and how active properties are read anew; what is left out stays. Makes the schedule where it is not
    there. With If-Match, refused when somebody changed it since.
    """
    given = body.model_dump(exclude_unset=True)
    view = await schedules.edit(
        here.db, ACTIVE_PROPERTIES, given, by=caller, versions=if_match, minimum=here.minimum_interval
    )
    job = _shown(view, response)
    return models.ActivePropertiesUpdated.model_construct(exists=True, job=job, updated_fields=sorted(given))


@router.post("/active-properties-config/toggle", operation_id="toggle_active_properties", responses=responses(404, 412))
async def toggle_config(
    here: Here, body: models.Toggle, response: Response, caller: Caller, if_match: IfMatch = None
) -> models.ActivePropertiesConfig:
    """Switch re-scraping of active properties on or off."""
    view = await schedules.toggle(here.db, ACTIVE_PROPERTIES, enabled=body.enabled, by=caller, versions=if_match)
    return models.ActivePropertiesConfig.model_construct(exists=True, job=_shown(view, response))


# -- beside them ------------------------------------------------------------------------------------------------------


@router.post(
    "/api/active-properties/run", operation_id="run_active_properties", status_code=202, responses=responses(404, 409)
)
async def run_active_properties(here: Here, caller: Caller) -> models.RunMade:
    """Read active properties now, whether the schedule is on or not; 409 while a run of it is under way."""
    return await _run(here, ACTIVE_PROPERTIES, caller)


@router.get("/api/schedule/preview", operation_id="preview_schedule")
async def preview(
    here: Here,
    cron_expression: Annotated[str, Query(alias="cron", max_length=1000)],
    tz: Annotated[str, Query(max_length=100)] = "UTC",
    n: Annotated[int, Query(ge=1, le=50)] = 5,
) -> models.SchedulePreview:
    """Say what a cron expression will do in a zone: valid or what is wrong with which field, the next runs, how many a
    day, and what daylight saving does to them.
    """
    now = datetime.now(UTC)
    problem = cron.problem_of(cron_expression)
    error = models.CronError(field=problem.field, reason=problem.reason) if problem is not None else None
    try:
        schedule = cron.schedule_of(cron_expression, tz)
        cron.check(schedule, now, here.minimum_interval)
    except InvalidInput as refused:
        field = "timezone" if refused.member == "timezone" else "expression"
        wrong = error or models.CronError(field=field, reason=refused.detail)
        return models.SchedulePreview(valid=False, error=wrong, next_runs=[], runs_per_day=None, daylight_saving=[])
    found = cron.preview(schedule, now, n)
    runs = [models.NextRun(at=run.at, local=run.local.isoformat()) for run in found.runs]
    return models.SchedulePreview(
        valid=True,
        error=None,
        next_runs=runs,
        runs_per_day=found.runs_per_day,
        daylight_saving=found.daylight_saving,
    )


@router.get("/api/scheduled-jobs", operation_id="list_schedules")
async def list_schedules(here: Here) -> models.Page[models.Schedule]:
    """All schedules."""
    return models.Page(items=[models.Schedule.of(view) for view in await schedules.every(here.db)], next_cursor=None)


@router.post("/api/scheduled-jobs", operation_id="create_schedule", status_code=201, responses=responses(409))
async def create_schedule(
    here: Here, body: models.ScheduleChanges, response: Response, caller: Caller
) -> models.Schedule:
    """Make a schedule of fixed `locations`, or without any of CRM properties by its `filters`; active at once."""
    given = body.model_dump(exclude_unset=True)
    return _shown(await schedules.create(here.db, given, by=caller, minimum=here.minimum_interval), response)


@router.get("/api/scheduled-jobs/{id}", operation_id="get_schedule", responses=responses(404))
async def get_schedule(here: Here, id: Id, response: Response) -> models.Schedule:  # noqa: A002 - the schedule's
    """One schedule."""
    return _shown(await schedules.view(here.db, known_job_id(id)), response)


@router.patch("/api/scheduled-jobs/{id}", operation_id="edit_schedule", responses=responses(404, 412))
async def edit_schedule(
    here: Here,
    id: Id,  # noqa: A002 - the schedule's
    body: models.ScheduleChanges,
    response: Response,
    caller: Caller,
    if_match: IfMatch = None,
) -> models.Schedule:
    """Change a schedule; what is left out stays. With If-Match, refused when somebody changed it since."""
    given = body.model_dump(exclude_unset=True)
    view = await schedules.edit(
        here.db, known_job_id(id), given, by=caller, versions=if_match, minimum=here.minimum_interval
    )
    return _shown(view, response)


@router.delete("/api/scheduled-jobs/{id}", operation_id="remove_schedule", status_code=204, responses=responses(404))
async def remove_schedule(here: Here, id: Id) -> None:  # noqa: A002 - the schedule's
    """Take a schedule away; its runs stay. The one of active properties is switched off instead."""
    await schedules.remove(here.db, known_job_id(id))


@router.post("/api/scheduled-jobs/{id}/toggle", operation_id="toggle_schedule", responses=responses(404, 412))
async def toggle_schedule(
    here: Here,
    id: Id,  # noqa: A002 - the schedule's
    body: models.Toggle,
    response: Response,
    caller: Caller,
    if_match: IfMatch = None,
) -> models.Schedule:
    """Switch a schedule on or off."""
    view = await schedules.toggle(here.db, known_job_id(id), enabled=body.enabled, by=caller, versions=if_match)
    return _shown(view, response)


@router.post("/api/scheduled-jobs/{id}/pause", operation_id="pause_schedule", responses=responses(404))
async def pause_schedule(
    here: Here,
    id: Id,  # noqa: A002 - the schedule's
    response: Response,
    caller: Caller,
    body: models.Pause | None = None,
) -> models.Schedule:
    """Let due times pass, until a time or until somebody resumes it; each is accounted for as skipped."""
    until = body.until.astimezone(UTC) if body is not None and body.until is not None else None
    return _shown(await schedules.pause(here.db, known_job_id(id), until=until, by=caller), response)


@router.post("/api/scheduled-jobs/{id}/resume", operation_id="resume_schedule", responses=responses(404))
async def resume_schedule(here: Here, id: Id, response: Response, caller: Caller) -> models.Schedule:  # noqa: A002 - the schedule's
    """End a pause."""
    return _shown(await schedules.resume(here.db, known_job_id(id), by=caller), response)


@router.post(
    "/api/scheduled-jobs/{id}/run", operation_id="run_schedule", status_code=202, responses=responses(404, 409)
)
async def run_schedule(here: Here, id: Id, caller: Caller) -> models.RunMade:  # noqa: A002 - the schedule's
    """Make a run now; 409 while one of this schedule is under way."""
    return await _run(here, known_job_id(id), caller)


@router.post("/api/scheduled-jobs/{id}/selection", operation_id="preview_selection", responses=responses(404, 409))
async def selection(
    here: Here,
    id: Id,  # noqa: A002 - the schedule's
    body: models.SelectionRequest | None = None,
) -> models.SelectionView:
    """Say what a run would read now, by the schedule's filters or by others: how many properties, which locations."""
    filters = body.filters if body is not None else None
    return models.SelectionView(**await schedules.preview_selection(here.work, known_job_id(id), filters))


@router.get("/api/scheduled-jobs/{id}/edits", operation_id="list_schedule_edits", responses=responses(404))
async def edits(here: Here, id: Id) -> models.Page[models.ScheduleEdit]:  # noqa: A002 - the schedule's
    """Who changed what of a schedule, newest first; at most fifty."""
    async with here.db.connection() as conn:
        await store.get(conn, known_job_id(id))
        rows = await store.edits(conn, id)
    items = [models.ScheduleEdit.model_construct(**row) for row in rows]
    return models.Page(items=items, next_cursor=None)


async def _run(here: Here, job_id: str, caller: str) -> models.RunMade:
    run_id = await rescrape.run_now(here.db, job_id, actor=caller)
    return models.RunMade(message="waits for a worker", run_id=run_id)


def _shown(view: View, response: Response) -> models.Schedule:
    response.headers["ETag"] = f'"{view.job["version"]}"'
    return models.Schedule.of(view)
