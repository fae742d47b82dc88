"""The bodies of requests and answers. Unknown members of a request are refused; money is decimal text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from mls_crm_sync.core.access import Scope
from mls_crm_sync.core.ages import ages
from mls_crm_sync.core.ownership import effective
from mls_crm_sync.core.values import instant_text
from mls_crm_sync.store.database import Row

T = TypeVar("T")
Instant = Annotated[datetime, PlainSerializer(instant_text, return_type=str)]
Text = Annotated[str, Field(max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Facts = dict[str, Any]


class Request(BaseModel):
    """A body that is read: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` goes on after it and is null at the end."""

    items: list[T]
    next_cursor: str | None


# -- CRM properties ---------------------------------------------------------------------------------------------------


class CrmProperty(BaseModel):
    """A CRM property as a reader gets it: `values` is own, over it the MLS's fields, over both the overrides."""

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
    mls_property_id: str | None
    sync_status: str
    last_seen_at: Instant | None
    synced_at: Instant | None
    version: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, row: Row) -> CrmProperty:
        shown = {name: row[name] for name in cls.model_fields if name != "values"}
        return cls.model_construct(**shown, values=effective(row["own"], row["fields"], row["overrides"]))


class CrmPropertyNew(Request):
    """`id` is made by the service where it is left out."""

    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    platform: Name = "default"
    crm_status: Text | None = None
    notes: Text | None = None
    tags: list[Text] = []
    assigned_agent: Text | None = None
    custom: Facts = {}
    own: Facts = {}


class CrmPropertyPatch(Request):
    """What to change; members left out stay. In `own` and `overrides` null removes a field."""

    version: int | None = None
    crm_status: Text | None = None
    notes: Text | None = None
    tags: list[Text] | None = None
    assigned_agent: Text | None = None
    custom: Facts | None = None
    own: Facts | None = None
    overrides: Facts | None = None
    reason: Text | None = None


class BulkItem(Request):
    id: Annotated[str, Field(max_length=200)]
    crm_status: Text | None = None
    notes: Text | None = None
    tags: list[Text] | None = None
    assigned_agent: Text | None = None
    custom: Facts | None = None
    own: Facts | None = None


class BulkUpsert(Request):
    platform: Name = "default"
    items: Annotated[list[BulkItem], Field(max_length=10_000)]


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


# -- links ------------------------------------------------------------------------------------------------------------


class LinkRequest(Request):
    mls_property_id: str
    move: bool = False


class LinkAnswer(BaseModel):
    message: str
    id: str
    mls_property_id: str
    linked: bool
    field_names: list[str]


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
    source_modified_at: Instant | None
    first_seen_at: Instant
    last_changed_at: Instant
    last_seen_at: Instant | None
    purged_at: Instant | None

    @classmethod
    def of(cls, row: Row) -> Listing:
        return cls.model_construct(**{name: row[name] for name in _SAME}, **_shown(row))


_SAME = (
    "property_id", "source", "location", "fields", "crm_property_ids", "absence_state", "source_modified_at",
    "first_seen_at", "last_changed_at", "last_seen_at", "purged_at",
)  # fmt: skip


def _shown(row: Row) -> Facts:
    return {
        "listing_key": row["source_key"],
        "content_hash": row["content_hash"].hex(),
        "computed": ages(row["fields"], datetime.now(UTC).date()),
    }


class ListingSummary(BaseModel):
    property_id: str
    source: str
    listing_key: str
    fields: Facts
    absence_state: str
    last_changed_at: Instant
    purged_at: Instant | None
    linked: int

    @classmethod
    def of(cls, row: Row) -> ListingSummary:
        same = {name: row[name] for name in cls.model_fields if name != "listing_key"}
        return cls.model_construct(**same, listing_key=row["source_key"])


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
    """`read = new + changed + unchanged + quarantined`; `errors` says what was quarantined and why."""

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
    ids: list[int] | None = None


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


class Health(BaseModel):
    status: str


class Ready(BaseModel):
    status: str
    checks: dict[str, str]
