"""The bodies of requests and answers. Unknown members of a request are refused; money is decimal text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation, WithJsonSchema

from mls_crm_sync.core.access import Scope
from mls_crm_sync.core.ages import ages
from mls_crm_sync.core.ownership import effective
from mls_crm_sync.core.proposals import suggested_status
from mls_crm_sync.core.values import instant_text
from mls_crm_sync.store.database import Row
from mls_crm_sync.store.proposals import Reason as ProposalReason
from mls_crm_sync.sync.schedules import View
from mls_crm_sync.sync.sources import Configured

T = TypeVar("T")


def _whole_seconds(at: datetime) -> str:
    return instant_text(at.replace(microsecond=0))


Instant = Annotated[
    datetime,
    PlainSerializer(_whole_seconds, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2024-01-01T12:00:00Z"]}),
]
Text = Annotated[str, Field(max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Flag = Annotated[bool, Field(strict=True)]  # "no" is a text, not a false
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]  # true is no number, "3" neither
Seconds = Annotated[float, Field(strict=True, ge=0, le=60, allow_inf_nan=False)]
Facts = dict[str, Any]


def _shown_name(name: str) -> str:
    """As `sync.recognise.checked_name`: it is kept for good, and shown."""
    if not name.strip() or not name.isprintable():
        raise ValueError("must be printable text")
    return name


Platform = Annotated[Name, AfterValidator(_shown_name)]


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("must have a zone, as 2026-11-26T18:00:00Z")
    return at


class Request(BaseModel):
    """A body that is read: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` goes on after it and is null at the end."""

    items: list[T]
    next_cursor: str | None


# -- CRM properties ---------------------------------------------------------------------------------------------------


class CrmProperty(BaseModel):
    """A CRM property as a reader gets it: `values` is own, over it the MLS's fields, over both the overrides.

    `computed` is what follows from the values today.
    """

    id: str
    platform: str
    crm_status: str | None
    notes: str | None
    tags: list[str]
    assigned_agent: str | None
    custom: Facts
    own: Facts
    fields: Facts
    overrides: Facts
    override_details: Facts
    values: Facts
    computed: Facts
    mls_property_id: str | None
    sync_status: str
    last_seen_at: Instant | None
    synced_at: Instant | None
    version: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, row: Row) -> CrmProperty:
        shown = {name: row[name] for name in cls.model_fields if name not in {"values", "computed"}}
        values = effective(row["own"], row["fields"], row["overrides"])
        return cls.model_construct(**shown, values=values, computed=_computed(values))


class CrmPropertyNew(Request):
    """`id` is made by the service where it is left out."""

    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    platform: Platform = "default"
    crm_status: Text | None = None
    notes: Text | None = None
    tags: list[Text] = []
    assigned_agent: Text | None = None
    custom: Facts = {}
    own: Facts = {}


class CrmPropertyPatch(Request):
    """What to change; members left out stay. In `own` and `overrides` null removes a field; neither is null itself, for
    that could mean to keep all fields or to remove all.
    """

    version: Whole | None = None
    crm_status: Text | None = None
    notes: Text | None = None
    tags: list[Text] | None = None
    assigned_agent: Text | None = None
    custom: Facts | None = None
    own: Facts = {}
    overrides: Facts = {}
    reason: Text | None = None


class BulkItem(Request):
    """Members left out are kept. In `own` and `custom` null removes a member; neither is null itself."""

    id: Annotated[str, Field(max_length=200)]
    crm_status: Text | None = None
    notes: Text | None = None
    tags: list[Text] | None = None
    assigned_agent: Text | None = None
    custom: Facts = {}
    own: Facts = {}


class BulkUpsert(Request):
    """Each item is looked at by itself, when its turn comes: one that has not the form is an error of its row."""

    platform: Platform = "default"
    items: Annotated[list[SkipValidation[BulkItem]], Field(max_length=10_000)]


class RowProblem(BaseModel):
    """What is wrong with a row: `row` is its line in a file, or its place in a list, from 1."""

    row: int
    id: str
    code: str
    detail: str


class ImportResult(BaseModel):
    """`made + changed + unchanged + len(errors)` is the number of rows."""

    made: int
    changed: int
    unchanged: int
    errors: list[RowProblem]


class RowResult(BaseModel):
    """`result` is `made`, `changed`, `unchanged` or `error`; what is wrong stands in `errors`."""

    row: int
    id: str
    result: str


class BulkResult(ImportResult):
    """`results` has every row once, in their order."""

    results: list[RowResult]


# -- links ------------------------------------------------------------------------------------------------------------


class LinkRequest(Request):
    mls_property_id: str
    move: Flag = False


class LinkAnswer(BaseModel):
    message: str
    id: str
    mls_property_id: str
    linked: bool
    field_names: list[str]


class UnlinkRequest(Request):
    restore_own: Flag | None = None


class UnlinkAnswer(BaseModel):
    message: str
    id: str
    mls_property_id: str
    restored_own: bool


class MlsData(BaseModel):
    """The listing a CRM property is linked to."""

    property_id: str
    content_hash: str
    crm_property_ids: list[str]
    fields: Facts
    computed: Facts
    source: str
    listing_key: str
    source_modified_at: Instant | None
    last_changed_at: Instant
    last_seen_at: Instant | None

    @classmethod
    def of(cls, row: Row) -> MlsData:
        return cls.model_construct(**{name: row[name] for name in _SAME if name in cls.model_fields}, **_shown(row))


class SyncRequest(Request):
    """`refresh`: ask the listing's source for it first."""

    refresh: Flag | None = None


class SourceChecked(BaseModel):
    """What the listing's source said when it was asked for it first: `found`, `not_there`, or `unknown` and why.
    `source_checked_at` is when it said so; all are null where nobody asked.
    """

    source_checked_at: Instant | None = None
    source_answer: str | None = None
    source_detail: str | None = None


class SyncAnswer(SourceChecked):
    message: str
    id: str
    mls_property_id: str
    changed: bool
    field_names: list[str]


class ReferenceRequest(Request):
    mls_property_id: str
    crm_property_id: str
    platform: str | None = None


class ReferenceRemoval(Request):
    """Members that are left out come as query parameters."""

    mls_property_id: str | None = None
    crm_property_id: str | None = None
    platform: str | None = None


class ReferenceAnswer(BaseModel):
    message: str
    mls_property_id: str
    crm_property_id: str
    platform: str


class SyncPropertyRequest(Request):
    """`refresh`: ask the listing's source for it first; only with `mls_property_id`."""

    mls_property_id: str | None = None
    platform: str | None = None
    refresh: Flag | None = None


class SyncPropertyAnswer(SourceChecked):
    """`crm_properties_updated` counts the linked properties brought or found in step, `changed` those that differed."""

    success: bool
    message: str
    mls_property_id: str | None
    crm_properties_updated: int
    changed: int


# -- listings ---------------------------------------------------------------------------------------------------------


class Listing(BaseModel):
    property_id: str
    source: str
    listing_key: str
    location: str | None
    fields: Facts
    computed: Facts
    content_hash: str
    crm_property_ids: list[str]
    absence_state: str
    evidence: Facts | None
    source_modified_at: Instant | None
    first_seen_at: Instant
    last_changed_at: Instant
    last_seen_at: Instant | None
    purged_at: Instant | None

    @classmethod
    def of(cls, row: Row, evidence: Facts | None) -> Listing:
        return cls.model_construct(**{name: row[name] for name in _SAME}, **_shown(row), evidence=evidence)


_SAME = (
    "property_id", "source", "location", "fields", "crm_property_ids", "absence_state", "source_modified_at",
    "first_seen_at", "last_changed_at", "last_seen_at", "purged_at",
)  # fmt: skip


def _shown(row: Row) -> Facts:
    return {
        "listing_key": row["source_key"],
        "content_hash": row["content_hash"].hex(),
        "computed": _computed(row["fields"]),
    }


def _computed(fields: Mapping[str, Any]) -> Facts:
    return {**ages(fields, datetime.now(UTC).date())}


class ListingSummary(BaseModel):
    property_id: str
    source: str
    listing_key: str
    fields: Facts
    computed: Facts
    absence_state: str
    evidence: Facts | None
    last_changed_at: Instant
    purged_at: Instant | None
    linked: int

    @classmethod
    def of(cls, row: Row, evidence: Facts | None) -> ListingSummary:
        same = {name: row[name] for name in cls.model_fields if name not in {"listing_key", "computed", "evidence"}}
        told = {"listing_key": row["source_key"], "computed": _computed(row["fields"]), "evidence": evidence}
        return cls.model_construct(**same, **told)


class AbsenceHold(BaseModel):
    """Listings of a location that would vanish at once, held for a person."""

    hold_id: int
    source: str
    location: str
    pass_id: int
    listings: int
    of: int
    made_at: Instant
    decision: str | None
    decided_by: str | None
    decided_at: Instant | None
    still_held: int


class HoldAnswer(BaseModel):
    message: str
    hold_id: int
    listings: int


class Proposal(BaseModel):
    """An active CRM property whose listing is over (`ended`) or not shown any more (`absent`, with the evidence).

    `since`: when the listing ended, or was called absent. `version` is the CRM property's.
    """

    crm_property_id: str
    platform: str
    address: str | None
    crm_status: str
    suggested_crm_status: str
    reason: ProposalReason
    since: Instant
    standard_status: str | None
    mls_property_id: str
    source: str
    listing_key: str
    evidence: Facts | None
    version: int
    dismissed: bool
    dismissed_by: str | None
    dismissed_at: Instant | None
    note: str | None

    @classmethod
    def of(cls, row: Row) -> Proposal:
        return cls.model_construct(**row, suggested_crm_status=suggested_status(row["standard_status"]))


class ProposalAcceptance(Request):
    """`crm_status` is what it becomes instead of what is suggested."""

    crm_status: Text | None = None


class ProposalDismissal(Request):
    note: Text | None = None


class ProposalAnswer(BaseModel):
    message: str
    crm_property_id: str
    crm_status: str
    version: int


class Change(BaseModel):
    """One field of one listing, by the names of RESO's HistoryTransactional; `new` has no field."""

    change_id: int
    run_id: int
    at: Instant
    type: str
    field_name: str | None
    previous_value: Any
    new_value: Any

    @classmethod
    def of(cls, row: Row) -> Change:
        return cls.model_construct(**{name: row[name] for name in cls.model_fields})


class Push(Request):
    """Listings in RESO names; one may bring a `property_id` of its own."""

    source: Name = "push"
    location: Name = "*"
    listings: Annotated[list[Facts], Field(min_length=1, max_length=10_000)]


class PushedListing(BaseModel):
    listing_key: str
    property_id: str


class PushResult(BaseModel):
    """`read = new + changed + unchanged + quarantined`; `errors` says what was quarantined and why: each record by its
    place from 1, with its ListingKey as `id`, where that could be read.
    """

    run_id: int
    read: int
    new: int
    changed: int
    unchanged: int
    quarantined: int
    crm_updated: int
    changes: dict[str, int]
    items: list[PushedListing]
    errors: list[RowProblem]


class PurgeAnswer(BaseModel):
    message: str
    property_id: str
    crm_properties_emptied: int


Days = Annotated[int, Field(strict=True, ge=0, le=36_500)]


class PurgeRequest(Request):
    """All that is said has to hold, and something has to be said beside `dry_run`. `not_seen_for_days`: no pass has
    shown it for so long, nor has anything changed it; what only came by a push is never meant. `absent_for_days`: it
    was called absent at least so long ago.
    """

    dry_run: Flag
    source: Name | None = None
    status: Annotated[list[Name], Field(max_length=11, description="StandardStatus; any of these.")] = []
    not_seen_for_days: Days | None = None
    absent_for_days: Days | None = None


class PurgeCount(BaseModel):
    """`linked` counts the CRM properties that are linked to these listings."""

    source: str
    standard_status: str | None
    absence_state: str
    listings: int
    linked: int


class PurgeAllAnswer(BaseModel):
    """`counts`: what the rule named before anything was done. In a dry run nothing was, and the other two are 0."""

    message: str
    counts: list[PurgeCount]
    listings_purged: int
    crm_properties_emptied: int


# -- the rest ---------------------------------------------------------------------------------------------------------


class Quarantined(BaseModel):
    quarantine_id: int
    source: str
    location: str
    run_id: int
    position: int
    reason: str
    detail: str
    field_name: str | None
    times: int
    first_at: Instant
    last_at: Instant
    truncated: bool
    payload: str


class RetryRequest(Request):
    ids: list[Whole] | None = None


class RetryAnswer(BaseModel):
    tried: int
    resolved: int
    still_broken: int
    cut_short: int


class EventView(BaseModel):
    """What happened, by field names, never values. `seq` is in commit order."""

    seq: int
    at: Instant
    type: str
    property_id: str | None
    crm_property_id: str | None
    platform: str | None
    run_id: int | None
    field_names: list[str]
    change_types: list[str]
    source: str | None  # of events about a source as a whole

    @classmethod
    def of(cls, row: Row) -> EventView:
        return cls.model_construct(**{name: row[name] for name in cls.model_fields})


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


# -- schedules and runs -----------------------------------------------------------------------------------------------


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


class LeftOut(BaseModel):
    """CRM properties that cannot be read, and some of their ids."""

    properties: int
    examples: list[str]


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


class RunChange(BaseModel):
    """A change that a run found, and the CRM properties that follow the listing: `applied`, or `held_by_override`."""

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


class Stats(BaseModel):
    listings: dict[str, int]
    crm_properties: dict[str, int]
    quarantined: int
    proposals: int
    runs: list[RunView]


class KeyNew(Request):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1)]


class KeyMade(BaseModel):
    """The only time that `key` is shown."""

    key_id: int
    name: str
    scopes: list[str]
    key: str


class KeyView(BaseModel):
    key_id: int
    name: str
    scopes: list[str]
    created_at: Instant
    revoked_at: Instant | None

    @classmethod
    def of(cls, row: Row) -> KeyView:
        return cls.model_construct(**{name: row[name] for name in cls.model_fields})


class SourceKind(BaseModel):
    """`settings` is a JSON Schema; `credential` says whether a secret is `none`, `optional` or `needed`."""

    kind: str
    title: str
    credential: str
    settings: Facts


class SourceNew(Request):
    name: Platform
    kind: Name
    settings: Facts = Field(default_factory=dict)
    secret: Text | None = None
    default: Flag | None = None
    limits: dict[str, Whole] | None = None
    request_delay: Seconds | None = None


class SourceChange(Request):
    settings: Facts | None = None
    secret: Text | None = None
    default: Flag | None = None
    limits: dict[str, Whole] | None = None
    request_delay: Seconds | None = None


class SourceView(BaseModel):
    """`secret_readable`: by this process; null where there is no secret. The secret itself is never shown."""

    name: str
    kind: str
    settings: Facts
    has_secret: bool
    secret_readable: bool | None
    is_default: bool
    limits: dict[str, int]
    request_delay: float
    stopped_at: Instant | None  # when it refused us; it is not asked until somebody resumes it
    left_alone_until: Instant | None  # after so many failures in a row
    made_at: Instant
    changed_at: Instant

    @classmethod
    def of(cls, one: Configured) -> SourceView:
        return cls.model_construct(**{name: getattr(one, name) for name in cls.model_fields})


class SourceCheck(BaseModel):
    ok: bool
    detail: str


class Health(BaseModel):
    status: str


class Ready(BaseModel):
    """`sources_left_to_others`: so many have a secret that no key of this process opens; it leaves them to others.
    `workers` are seen; `worker_included`: this service brings one along.
    """

    status: str
    checks: dict[str, str]
    sources_left_to_others: int
    workers: int
    worker_included: bool
