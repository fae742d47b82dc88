"""Schedules, and what they would do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from mls_crm_sync.sync.schedules import View

from .base import Facts, Flag, Instant, Name, Request, Text, Whole, _aware
from .runs import LeftOut


class ScheduleChanges(Request):
    """What to change of a schedule; members left out stay, and none is null but `source`.

    `cron_expression`: five fields, in the schedule's `timezone` (IANA). `limit`: listings of a location in a run, 1 to
    10,000. `request_delay`: seconds between the starts of two requests to a source, over all workers. `filters`: which
    CRM properties, instead of those that are active.
    """

    name: Name = ""
    cron_expression: Text = ""
    timezone: Text = ""
    limit: Whole = 0
    request_delay: Annotated[float, Field(strict=True, allow_inf_nan=False)] = 0.0
    priority: Text = ""
    filters: Facts = {}
    source: Name | None = None
    locations: Annotated[list[Name], Field(max_length=10_000)] = []


class ActivePropertiesChanges(Request):
    """As `ScheduleChanges`, of the schedule of active properties."""

    cron_expression: Text = ""
    limit: Whole = 0
    request_delay: Annotated[float, Field(strict=True, allow_inf_nan=False)] = 0.0
    priority: Text = ""
    timezone: Text = ""
    filters: Facts = {}


class Toggle(Request):
    enabled: Flag


class Pause(Request):
    """`until`: when it goes on by itself; left out, when somebody resumes it."""

    until: Annotated[datetime, AfterValidator(_aware)] | None = None


class Schedule(BaseModel):
    """Three facts that are independent: `status` (is it on), `activity` (does it run), `health` (how did the last
    finished run end; null before the first).

    `last_run_at` is when the newest run began, `run_count` counts runs that began. `next_run_at` is null while inactive
    and while paused without an end. `problem`: why nothing can be made of its due times. `version` is its ETag.
    """

    scheduled_job_id: str
    kind: str
    name: str
    status: str
    cron_expression: str
    timezone: str
    limit: int
    request_delay: float
    priority: str
    filters: Facts
    source: str | None
    locations: list[str]
    last_run_at: Instant | None
    next_run_at: Instant | None
    run_count: int
    activity: str
    health: str | None
    current_run_id: int | None
    last_finished_run_id: int | None
    last_success_at: Instant | None
    median_duration_ms: int | None
    paused: bool
    paused_at: Instant | None
    paused_by: str | None
    paused_until: Instant | None
    problem: str | None
    version: int
    made_at: Instant
    changed_at: Instant

    @classmethod
    def of(cls, view: View) -> Schedule:
        job, runs = view.job, view.activity
        same = {name: job[name] for name in cls.model_fields if name in job}
        median = runs["median_duration"]
        return cls.model_construct(
            **same
            | {
                "limit": job["listing_limit"],
                "next_run_at": view.next_run_at,
                "last_run_at": runs["last_run_at"],
                "run_count": runs["run_count"],
                "activity": runs["open_status"] or "idle",
                "health": runs["last_status"],
                "current_run_id": runs["open_run"],
                "last_finished_run_id": runs["last_run"],
                "last_success_at": runs["last_success_at"],
                "median_duration_ms": None if median is None else round(median * 1000),
                "paused": job["paused_at"] is not None,
            }
        )


class ActivePropertiesConfig(BaseModel):
    """The schedule of active properties."""

    exists: Literal[True]
    job: Schedule


class NoActivePropertiesConfig(BaseModel):
    """There is none yet."""

    exists: Literal[False]
    message: str


class ActivePropertiesUpdated(ActivePropertiesConfig):
    """`updated_fields` are the members that were given, sorted."""

    updated_fields: list[str]


class ScheduleEdit(BaseModel):
    """`changes` are member -> [before, after]."""

    version: int
    edited_by: str
    edited_at: Instant
    changes: Facts


class PlaceView(BaseModel):
    source: str
    location: str


class SelectionRequest(Request):
    """`filters` to look at instead of the schedule's own."""

    filters: Facts | None = None


class SelectionView(BaseModel):
    """What a schedule would read now; `left_out` by reason: `no_location`, `no_source`."""

    locations: int
    properties: int
    left_out: dict[str, LeftOut] | None
    examples: list[PlaceView]


class CronError(BaseModel):
    """`field` is minute, hour, day, month, weekday, expression or timezone."""

    field: str
    reason: str


class NextRun(BaseModel):
    """`local` is the same instant in the zone asked for, with its offset."""

    at: Instant
    local: str


class SchedulePreview(BaseModel):
    """`valid`, with runs; or not, with `error` and none. `runs_per_day` is the mean of the next seven days;
    `daylight_saving` says what becomes of runs when the clocks change within a year.
    """

    valid: bool
    error: CronError | None
    next_runs: list[NextRun]
    runs_per_day: float | None
    daylight_saving: list[str]
