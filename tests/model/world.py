"""What the reference model keeps: the rows that must be in the database, as plain Python, and what a step has added.

`tick` counts transactions. Where the database has a time stamp, the model has the tick of the transaction that set
it: equal ticks must be equal times, later ticks later ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from model.deliveries import Record, Trouble
from model.pieces import Piece, Table


class Refusal(Exception):
    """The request cannot be; nothing was changed. `code` is what the product must say."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Place(NamedTuple):
    source: str
    name: str


class History(NamedTuple):
    listing: str
    run: int
    type: str
    field: str | None
    previous: Any
    new: Any


class Told(NamedTuple):
    """An event."""

    type: str
    listing: str
    crm_id: str | None = None
    platform: str | None = None
    run: int | None = None
    fields: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass
class Listing:
    source: str
    key: str
    home: Place
    fields: dict[str, Any]
    payload: dict[str, Piece]
    essence: object  # of the payload, by the table that kept it
    clothes: object
    table: str  # the table that the stored form is of
    clock: datetime | None
    hash: str
    first_seen: int
    changed: int
    purged: bool = False


@dataclass
class Crm:
    """A CRM property."""

    platform: str
    created: int
    updated: int
    crm_status: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    assigned_agent: str | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    override_details: dict[str, Any] = field(default_factory=dict)
    listing: str | None = None
    hash: str | None = None
    synced: int | None = None
    version: int = 1
    read_by: str = ""  # the table by which it was last brought in step; not in the database


@dataclass
class Link:
    crm_id: str
    listing: str
    since: int
    until: int | None = None


@dataclass
class SetAside:
    """A quarantined record."""

    place: Place
    record: Record
    says: object
    trouble: Trouble
    run: int
    position: int
    first: int
    last: int
    clock: datetime | None = None  # the newest it came with, as far as clocks are believed
    times: int = 1
    resolved: int | None = None
    tried_by: int | None = None  # the last retry that had to put it back


class World:
    """The state, and the few things that every verb does to it."""

    def __init__(self) -> None:
        self.tick = 0
        self.runs = 0
        self.listings: dict[str, Listing] = {}
        self.crm: dict[str, Crm] = {}
        self.links: list[Link] = []
        self.shown: dict[tuple[Place, str], int | None] = {}  # None: by the newest pass; else by which pass last
        self.last_pass: dict[Place, int] = {}
        self.began: dict[tuple[Place, int], int] = {}  # which run made the pass of that number
        self.complete: dict[Place, list[int]] = {}  # the runs of complete passes
        self.missing: dict[tuple[Place, str], int] = {}  # since which of them
        self.left: set[tuple[Place, str]] = set()  # shown by another place since
        self.absent: set[str] = set()
        self.set_aside: list[SetAside] = []
        self.history: list[History] = []  # of this step
        self.events: list[Told] = []  # of this step

    def crm_of(self, listings: Iterable[str]) -> list[str]:
        wanted = set(listings)
        return sorted(crm_id for crm_id, row in self.crm.items() if row.listing in wanted)

    def bring_in_step(self, crm_ids: Iterable[str], table: Table) -> list[tuple[str, tuple[str, ...]]]:
        """Give linked CRM properties the synced facts of their listings; return those that differed, and in what."""
        synced = []
        for crm_id in sorted(crm_ids):
            row = self.crm[crm_id]
            listing = self.listings[str(row.listing)]
            row.read_by = table.name
            facts = {n: value for n, value in listing.fields.items() if n not in table.unsynced}
            if names := differing(row.fields, facts):
                row.fields, row.hash, row.synced = facts, listing.hash, self.tick
                synced.append((crm_id, names))
        return synced

    def tell(self, type_: str, crm_id: str, listing: str, fields: tuple[str, ...] = ()) -> None:
        self.events.append(Told(type_, listing, crm_id, self.crm[crm_id].platform, fields=fields))

    def out_of_step(self, table: Table) -> list[str]:
        """The CRM properties that differ from their listing, where this table has read both."""
        return [
            crm_id
            for crm_id, row in self.crm.items()
            if row.listing is not None
            and row.read_by == table.name
            and (listing := self.listings[row.listing]).table == table.name
            and row.fields != {n: value for n, value in listing.fields.items() if n not in table.unsynced}
        ]


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n)))


def hash_of(fields: Mapping[str, Any]) -> str:
    """Stands for the content hash: equal facts, equal text. A purged listing has none."""
    return json.dumps(fields, sort_keys=True)
