"""Quarantine, events, statistics, keys, health."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from mls_crm_sync.core.access import Scope
from mls_crm_sync.store.database import Row

from .base import Instant, Name, Request, Whole
from .runs import RunView


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
