"""A dry run: the same recognition and the same decisions, and nothing written.

What is stored is read without locks, and a listing that a delivery names twice is compared with what is stored each
time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from mls_crm_sync.core.changes import Change, Decision, decide
from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources.base import Page
from mls_crm_sync.store import crm_properties, listings
from mls_crm_sync.store.database import Connection, Database

from .apply import count, count_new
from .reader import Reader
from .recognise import Batch, look_ahead, recognise
from .tally import Tally

NO_LOCATION = 0
"""Locations are numbered from 1: every listing counts as read from elsewhere, which a dry run does not care about."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen to one listing that is not as it is stored."""

    position: int
    property_id: str
    source_key: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record, or what is none, that would be quarantined."""

    position: int  # in `origin`
    origin: str
    reason: str
    detail: str
    field: str | None
    source_key: str | None


Shown: TypeAlias = Preview | SetAside


async def preview(
    db: Database, reader: Reader, pages: AsyncIterator[Page], show: Callable[[Shown], None]
) -> tuple[Tally, SourceBroken | None]:
    """Tell `show` of each listing that would change, and of what would be quarantined, as they stand in the delivery.

    Return the counts, and why the delivery broke if it did.
    """
    total = Tally()
    try:
        async for page in pages:
            total.add(await _page(db, reader, page, show))
    except SourceBroken as error:
        return total, error
    return total, None


async def _page(db: Database, reader: Reader, page: Page, show: Callable[[Shown], None]) -> Tally:
    found: list[Shown] = [SetAside(r.position, page.origin, r.reason, r.detail, None, None) for r in page.rejected]
    tally = Tally()
    tally.set_aside(len(found))
    looked = await look_ahead(db, reader, NO_LOCATION, page.records)
    async for batch in recognise(db, reader, NO_LOCATION, looked, ()):
        async with db.connection() as conn:
            tally.add(await _batch(conn, reader, batch, found))
        found += (SetAside(b.position, page.origin, b.reason, b.detail, b.field, b.source_key) for b in batch.broken)
    for one in sorted(found, key=attrgetter("position")):
        show(one)
    return tally


async def _batch(conn: Connection, reader: Reader, batch: Batch, found: list[Shown]) -> Tally:
    """Add what would change to `found`, and return the counts."""
    stored = await listings.read_stored(conn, reader.normaliser.version, [i.property_id for i in batch.incoming])
    tally = batch.tally
    tally.set_aside(len(batch.broken))
    tally.told(len(batch.known))
    for fresh in batch.fresh:
        count_new(tally, fresh)
        write = fresh.write
        found.append(Preview(fresh.raw.position, write.property_id, write.source_key, write.changes))
    after: dict[str, Decision] = {}
    for incoming in batch.incoming:
        known = stored.get(incoming.property_id)
        decision = decide(known.facts if known else None, incoming.facts, reader.normaliser, time_zone=reader.time_zone)
        count(tally, incoming, decision)
        if decision.changes:
            after[incoming.property_id] = decision
            key = incoming.facts.source_key
            found.append(Preview(incoming.position, incoming.property_id, key, decision.changes))
    fields = {property_id: decision.fields for property_id, decision in after.items()}
    tally.crm_updated = await crm_properties.would_change(conn, fields, reader.normaliser.unsynced)
    return tally
