"""The bodies of requests and answers. Unknown members of a request are refused; money is decimal text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation, WithJsonSchema

from mls_crm_sync.core.access import Scope
from mls_crm_sync.core.ages import ages
from mls_crm_sync.core.ownership import effective
from mls_crm_sync.core.proposals import suggested_status
from mls_crm_sync.core.values import instant_text
from mls_crm_sync.store.database import Row
from mls_crm_sync.store.proposals import Reason as ProposalReason
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


class SyncAnswer(BaseModel):
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
    mls_property_id: str | None = None
    platform: str | None = None


class SyncPropertyAnswer(BaseModel):
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
    run_id: int
    kind: str
    source: str
    status: str
    started_at: Instant
    finished_at: Instant | None
    counts: Facts
    error_code: str | None
    error_detail: str | None

    @classmethod
    def of(cls, row: Row) -> RunView:
        return cls.model_construct(**{name: row[name] for name in cls.model_fields})


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
    """`sources_left_to_others`: so many have a secret that no key of this process opens; it leaves them to others."""

    status: str
    checks: dict[str, str]
    sources_left_to_others: int
