"""A dry run: the same recognition and the same decisions, and nothing written.

What is stored is read without locks, and a listing that a delivery names twice is compared with what is stored each
time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from mls_crm_sync.core.changes import Change, Decision, decide
from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources.base import Page
from mls_crm_sync.store import crm_properties, listings
from mls_crm_sync.store.database import Connection, Database

from .apply import tally_of
from .recognise import Batch, Reader, recognise
from .tally import Tally

NO_LOCATION = 0
"""Locations are numbered from 1: every listing counts as read from elsewhere, which a dry run does not care about."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen to one listing that is not as it is stored."""

    property_id: str
    source_key: str
    changes: tuple[Change, ...]


async def preview(
    db: Database, reader: Reader, pages: AsyncIterator[Page], show: Callable[[Preview], None]
) -> tuple[Tally, SourceBroken | None]:
    """Tell `show` of each listing that would change; return the counts, and why the delivery broke if it did."""
    total = Tally()
    try:
        async for page in pages:
            async for batch in recognise(db, reader, NO_LOCATION, page.records):
                async with db.connection() as conn:
                    total.add(await _batch(conn, reader, batch, show))
            total.add(Tally(read=len(page.rejected), quarantined=len(page.rejected)))
    except SourceBroken as error:
        return total, error
    return total, None


async def _batch(conn: Connection, reader: Reader, batch: Batch, show: Callable[[Preview], None]) -> Tally:
    stored = await listings.read_stored(conn, [i.property_id for i in batch.incoming])
    tally = Tally(read=len(batch.broken), quarantined=len(batch.broken)).plus(batch.tally)
    tally.add(Tally(read=len(batch.clocks), unchanged=len(batch.clocks), recognised=len(batch.clocks)))
    after: dict[str, Decision] = {}
    for incoming in batch.incoming:
        known = stored.get(incoming.property_id)
        decision = decide(known.facts if known else None, incoming.facts, reader.normaliser, time_zone=reader.time_zone)
        tally.add(tally_of(incoming, decision))
        if decision.changes:
            after[incoming.property_id] = decision
            show(Preview(incoming.property_id, incoming.facts.source_key, decision.changes))
    fields = {property_id: decision.fields for property_id, decision in after.items()}
    tally.crm_updated = await crm_properties.would_change(conn, fields, reader.normaliser.unsynced)
    return tally
