"""CRM properties and their links."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, SkipValidation

from mls_crm_sync.core.ownership import effective
from mls_crm_sync.store.database import Row

from .base import Facts, Flag, Instant, Platform, Request, Text, Whole, computed_of


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
        return cls.model_construct(**shown, values=values, computed=computed_of(values))


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
