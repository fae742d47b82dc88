"""Runs, their locations, and the workers that read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel

from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.store.database import Row

from .base import Facts, Instant


class RunView(BaseModel):
    """`source` is null where there are several."""

    run_id: int
    kind: str
    source: str | None
    status: str
    started_at: Instant
    finished_at: Instant | None
    counts: Facts
    error_code: str | None
    error_detail: str | None

    @classmethod
    def of(cls, row: Row) -> RunView:
        return cls.model_construct(**{name: row[name] for name in cls.model_fields})


class LeftOut(BaseModel):
    """CRM properties that cannot be read, and some of their ids."""

    properties: int
    examples: list[str]


class Run(BaseModel):
    """A run, or due times of which none was made (`skipped`, `missed`, with a `reason`): `due_times` of them, from
    `scheduled_for` to `last_due_at`.

    `trigger` is scheduled, manual, or the kind of an ingest. `counts` grow while it runs. `estimated_finish_at` goes by
    the locations done so far. `left_out`: CRM properties that it could not read, by reason.
    """

    run_id: int
    trigger: str
    scheduled_job_id: str | None
    scheduled_for: Instant | None
    last_due_at: Instant | None
    due_times: int
    status: str
    reason: str | None
    actor: str | None
    attempt_of: int | None
    source: str | None
    made_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    duration_ms: int | None
    locations: int
    finished_locations: int
    failed_locations: int
    estimated_finish_at: Instant | None
    counts: Facts
    error_code: str | None
    error_detail: str | None
    config: Facts | None
    left_out: dict[str, LeftOut] | None

    @classmethod
    def of(cls, row: Row, now: datetime) -> Run:
        same = {name: row[name] for name in cls.model_fields if name in row}
        counts = row["counts"] or {"read": row["read_so_far"], "crm_updated": row["crm_updated_so_far"]}
        ran = (row["finished_at"] or now) - row["started_at"] if row["started_at"] is not None else None
        done, of = row["finished_locations"], row["locations"]
        left = None
        if row["finished_at"] is None and ran is not None and done:
            left = now + ran / done * (of - done)
        return cls.model_construct(
            **same
            | {
                "trigger": row["kind"],
                "counts": counts,
                "duration_ms": None if ran is None else round(ran.total_seconds() * 1000),
                "estimated_finish_at": left,
            }
        )


class RunError(BaseModel):
    code: str
    message: str
    hint: str | None


class RunLocation(BaseModel):
    """A location of a run. `task` is read or look_up; `outcome` how its pass ended, `evidence` how that is known."""

    location_id: int
    source: str
    location: str
    task: str
    status: str
    starts: int
    started_at: Instant | None
    finished_at: Instant | None
    duration_ms: int | None
    outcome: str | None
    evidence: str | None
    counts: Facts
    error: RunError | None
    worker: str | None

    @classmethod
    def of(cls, row: Row, now: datetime) -> RunLocation:
        same = {name: row[name] for name in cls.model_fields if name in row}
        ran = (row["finished_at"] or now) - row["started_at"] if row["started_at"] is not None else None
        code = row["error_code"]
        error = RunError(code=code, message=row["error_detail"], hint=row["error_hint"]) if code is not None else None
        told = {
            "duration_ms": None if ran is None else round(ran.total_seconds() * 1000),
            "error": error,
            "worker": None if row["pid"] is None else f"{row['host']}:{row['pid']}",
        }
        return cls.model_construct(**same | told)


class RunErrors(BaseModel):
    """What went wrong in a run, by its code, the most frequent first."""

    code: str
    locations: int
    detail: str | None
    hint: str | None
    examples: list[str]


class ChangedField(BaseModel):
    """What the table of fields has on a field; all are null of a change that is of no field, as a new listing."""

    label: str | None
    field_type: str | None
    unit: str | None


def about_field(name: str | None) -> dict[str, Any]:
    """Return the members of ChangedField for a field's name; one that the table does not have is its own label."""
    known = BY_NAME.get(name or "")
    if known is None:
        return {"label": name, "field_type": None, "unit": None}
    return {"label": known.label, "field_type": known.kind, "unit": known.unit}


class RunChange(ChangedField):
    """A change that a run found, and the CRM properties that were linked then: `applied`, or `held_by_override`."""

    change_id: int
    at: Instant
    type: str
    property_id: str
    listing_key: str
    address: str | None
    field_name: str | None
    previous_value: Any
    new_value: Any
    crm_properties: dict[str, str]

    @classmethod
    def of(cls, row: Row) -> Self:
        return cls.model_construct(**row, **about_field(row["field_name"]))


class LogLine(BaseModel):
    """What happened in a run, from what is written down of it; oldest first."""

    at: Instant
    level: str
    message: str
    location: str | None


class RunMade(BaseModel):
    message: str
    run_id: int


class WorkerView(BaseModel):
    """A worker that is seen, and how many locations it reads."""

    worker_id: int
    host: str
    pid: int
    release: str
    started_at: Instant
    seen_at: Instant
    locations: int
