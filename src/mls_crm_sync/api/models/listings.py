"""Listings, what changed of them, whether they are gone, and what follows from that."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from mls_crm_sync.core.proposals import suggested_status
from mls_crm_sync.store.database import Row
from mls_crm_sync.store.proposals import Reason as ProposalReason

from .base import Facts, Flag, Instant, Name, Request, Text, computed_of
from .crm import RowProblem


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
        "computed": computed_of(row["fields"]),
    }


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
        told = {"listing_key": row["source_key"], "computed": computed_of(row["fields"]), "evidence": evidence}
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
