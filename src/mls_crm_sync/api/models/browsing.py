"""What the dashboard's pages show: summaries, a comparison, a history, how things stand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel

from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.ownership import Effective, Owner, State, effective, state_of
from mls_crm_sync.store.database import Row
from mls_crm_sync.sync.overview import Age, Trouble
from mls_crm_sync.sync.overview import Overview as Seen

from .base import Instant
from .runs import ChangedField, Run, RunChange, about_field


class PropertySummary(BaseModel):
    """A CRM property as a list shows it: facts as a reader gets them, by RESO's names, null where nobody knows.

    `touched_at`: when it was last written, by a person or by a sync. `mls_price` is the MLS's, whatever a user set over
    it, and was `previous_price` before `price_changed_at`. `courtesy_of` is the office that has to be named where the
    listing is shown.
    """

    id: str
    platform: str
    crm_status: str | None
    assigned_agent: str | None
    address: str | None
    city: str | None
    state: str | None
    postal_code: str | None
    standard_status: str | None
    list_price: str | None
    mls_price: str | None
    previous_price: str | None
    price_changed_at: Instant | None
    bedrooms: str | None
    bathrooms: str | None
    living_area: str | None
    mls_number: str | None
    courtesy_of: str | None
    mls_property_id: str | None
    source: str | None
    listing_key: str | None
    sync_status: str
    overridden: int
    last_seen_at: Instant | None
    touched_at: Instant
    version: int

    @classmethod
    def of(cls, row: Row) -> PropertySummary:
        same = {name: row[name] for name in cls.model_fields if name in row and name != "previous_price"}
        values = effective(row["own"], row["fields"], row["overrides"])
        shown = {member: _text(values.get(name)) for member, name in _SHOWN.items()}
        prices = {"mls_price": _text(row["fields"].get("ListPrice")), "previous_price": _text(row["previous_price"])}
        return cls.model_construct(**same | shown | prices, overridden=len(row["overrides"]))


_SHOWN = {
    "address": "UnparsedAddress", "city": "City", "state": "StateOrProvince", "postal_code": "PostalCode",
    "standard_status": "StandardStatus", "list_price": "ListPrice", "bedrooms": "BedroomsTotal",
    "bathrooms": "BathroomsTotalInteger", "living_area": "LivingArea", "mls_number": "ListingId",
    "courtesy_of": "ListOfficeName",
}  # fmt: skip


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    return None if value is None else str(value)


class PropertySummaries(BaseModel):
    """One page of the list; `total` is of all that the filters let through, null on an empty page behind another."""

    items: list[PropertySummary]
    next_cursor: str | None
    total: int | None


class OverrideView(BaseModel):
    """Who set a value over the MLS's, when, why and until when; `mls_value` is what the MLS said then."""

    by: str | None
    at: Instant | None
    reason: str | None
    until: Instant | None
    mls_value: Any


class ComparedField(BaseModel):
    """A field by its RESO name: what the MLS says, what is the CRM's own, and the `value` a reader gets.

    `kept_by` is whose value that is; `changed_at` and `run_id` when the MLS last changed it. `type` and `unit` are null
    for a field that the table of fields does not have.
    """

    name: str
    label: str
    group: str | None
    type: str | None
    unit: str | None
    value: Any
    mls: Any
    own: Any
    kept_by: Owner
    state: State
    override: OverrideView | None
    changed_at: Instant | None
    run_id: int | None


class Comparison(BaseModel):
    """All fields of a CRM property, in the order of the table of fields; others behind them, by name.

    `frozen`: it was linked and is no more, so nothing here follows the MLS.
    """

    id: str
    version: int
    mls_property_id: str | None
    sync_status: str
    frozen: bool
    last_seen_at: Instant | None
    synced_at: Instant | None
    courtesy_of: str | None
    fields: list[ComparedField]


_PLACES = {name: place for place, name in enumerate(BY_NAME)}


def compared(
    fields: Mapping[str, Effective], details: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Row]
) -> list[ComparedField]:
    """Word a comparison; `details` are those of the overrides, `changes` the last ones at the MLS, by field."""
    names = sorted(fields, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))
    return [_compared(name, fields[name], details.get(name, {}), changes.get(name)) for name in names]


def _compared(name: str, field: Effective, detail: Mapping[str, Any], change: Row | None) -> ComparedField:
    said = {**field.hidden, field.owner: field.value}
    known = BY_NAME.get(name)
    return ComparedField(
        name=name,
        label=known.label if known else name,
        group=known.group if known else None,
        type=known.kind if known else None,
        unit=known.unit if known else None,
        value=field.value,
        mls=said.get(Owner.MLS),
        own=said.get(Owner.CRM),
        kept_by=field.owner,
        state=state_of(field, detail),
        override=_override(detail) if field.owner is Owner.OVERRIDE else None,
        changed_at=change["at"] if change else None,
        run_id=change["run_id"] if change else None,
    )


def _override(detail: Mapping[str, Any]) -> OverrideView:
    at, until = detail.get("at"), detail.get("expires_at")
    return OverrideView(
        by=detail.get("by"),
        at=datetime.fromisoformat(at) if at else None,
        reason=detail.get("reason"),
        until=datetime.fromisoformat(until) if until else None,
        mls_value=detail.get("mls_value"),
    )


class Happening(ChangedField):
    """One thing in the history of a CRM property's facts. `kind` is `linked`, `unlinked` or `change`; a change of the
    listing was `applied` to the property, `held_by_override`, or is `not_copied`, and has the `run_id` that found it.
    """

    at: Instant
    kind: Literal["linked", "unlinked", "change"]
    property_id: str
    type: str | None
    field_name: str | None
    previous_value: Any
    new_value: Any
    crm: Literal["applied", "held_by_override", "not_copied"] | None
    run_id: int | None
    run_kind: str | None

    @classmethod
    def of(cls, row: Row) -> Happening:
        same = {name: row[name] for name in cls.model_fields if name in row}
        return cls.model_construct(**same, **about_field(row["field_name"]))


class MarketChange(RunChange):
    """A change of a listing, the run that found it, and the office that has to be named with it."""

    run_id: int
    courtesy_of: str | None


class FreshnessBand(BaseModel):
    """Linked active properties whose listing was seen at least `from_seconds` and less than `to_seconds` ago (null: no
    bound).
    """

    from_seconds: int
    to_seconds: int | None
    properties: int

    @classmethod
    def of(cls, age: Age) -> FreshnessBand:
        until = None if age.until is None else round(age.until.total_seconds())
        return cls(from_seconds=round(age.since.total_seconds()), to_seconds=until, properties=age.properties)


class Attention(BaseModel):
    """Something that needs somebody, by its `code`; the members that are not null say where it is looked into."""

    code: str
    message: str
    count: int
    hint: str | None
    run_id: int | None
    source: str | None
    scheduled_job_id: str | None
    examples: list[str]

    @classmethod
    def of(cls, one: Trouble) -> Attention:
        return cls.model_construct(**{name: getattr(one, name) for name in cls.model_fields})


class Overview(BaseModel):
    """How things stood at `as_of`. `active_by_status` are the active properties by sync_status; `freshness` those of
    them that are linked, by how long ago their listing was seen, `never_seen` beside it. The day ends at `as_of`.
    """

    as_of: Instant
    stale_after_seconds: int
    properties: int
    active_properties: int
    linked_properties: int
    active_by_status: dict[str, int]
    freshness: list[FreshnessBand]
    never_seen: int
    changes_in_a_day: dict[str, int]
    crm_updates_in_a_day: int
    proposals: int
    quarantined: int
    held_listings: int
    workers: int
    running: list[Run]
    last_run: Run | None
    next_run_at: Instant | None
    next_run_of: str | None
    problems: list[Attention]

    @classmethod
    def of(cls, seen: Seen, stale_after: timedelta) -> Overview:
        return cls.model_construct(
            as_of=seen.at,
            stale_after_seconds=round(stale_after.total_seconds()),
            properties=seen.properties,
            active_properties=seen.active,
            linked_properties=seen.linked,
            active_by_status=dict(seen.statuses),
            freshness=[FreshnessBand.of(age) for age in seen.ages],
            never_seen=seen.never_seen,
            changes_in_a_day=dict(seen.changes),
            crm_updates_in_a_day=seen.crm_updates,
            proposals=seen.proposals,
            quarantined=seen.quarantined,
            held_listings=seen.held,
            workers=seen.workers,
            running=[Run.of(row, seen.at) for row in seen.running],
            last_run=Run.of(seen.last_run, seen.at) if seen.last_run is not None else None,
            next_run_at=seen.next_run_at,
            next_run_of=seen.next_run_of,
            problems=[Attention.of(one) for one in seen.troubles],
        )


class Me(BaseModel):
    """Who asks (`local` in local mode), and what they may do."""

    caller: str
    local: bool
    scopes: list[str]


class About(BaseModel):
    """The service: its release, its clock, and what it was started with. `disclaimer` has to stand wherever a listing
    is shown.
    """

    version: str
    now: Instant
    stale_after_seconds: int
    minimum_interval_seconds: int
    disclaimer: str
