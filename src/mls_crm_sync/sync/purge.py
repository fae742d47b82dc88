"""Purging listings: their content goes, here, in the CRM, in quarantine and in kept answers. The rows stay as
content-free tombstones, and links stay.

A later delivery fills them again, as new. Asked for by a person or by a provider's rule, of one listing or of all that
a rule names; the rule is asked again under each listing's lock, so that what has come back since is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from mls_crm_sync.core.errors import InvalidInput, ListingNotFound
from mls_crm_sync.core.listing import normalise_facts
from mls_crm_sync.store import answers, crm_properties, events, listings, quarantine
from mls_crm_sync.store.crm_properties import Synced
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.listings import PurgeRule

LISTINGS_PER_TRANSACTION = 300
LINKED_PER_TRANSACTION = 100
"""CRM properties, as of an ingest: whoever edits one waits for the transaction."""

LONGEST = timedelta(days=36_500)


@dataclass(slots=True)
class Purged:
    """How many listings were emptied, and how many CRM properties lost their facts."""

    listings: int = 0
    crm_properties: int = 0


def rule(
    *,
    source: str | None = None,
    statuses: Collection[str] = (),
    not_seen_for: timedelta | None = None,
    absent_for: timedelta | None = None,
) -> PurgeRule:
    """Return a rule of which all has to hold; what is left out is not asked. Statuses come in any of their spellings.

    Raises InvalidInput where nothing is said: all listings are never meant.
    """
    if source is None and not statuses and not_seen_for is None and absent_for is None:
        raise InvalidInput("rule", "says nothing: name a source, a status, or how long not seen or absent")
    for member, span in (("not_seen_for", not_seen_for), ("absent_for", absent_for)):
        if span is not None and not timedelta(0) <= span <= LONGEST:
            raise InvalidInput(member, f"must be 0 to {LONGEST.days:,} days")
    stored = sorted({_status(status) for status in statuses}) if statuses else None
    return PurgeRule(source, stored, not_seen_for, absent_for)


def _status(status: str) -> str:
    try:
        form: str | None = normalise_facts({"StandardStatus": status})["StandardStatus"]
    except InvalidInput as error:
        raise InvalidInput("status", error.detail) from error
    if form is None:
        raise InvalidInput("status", "is empty")
    return form


async def purge(db: Database, property_id: str) -> int:
    """Empty one listing; return how many CRM properties lost its facts. Raises ListingNotFound."""
    return await db.retrying(partial(_purge_one, property_id))


async def would_purge(db: Database, asked: PurgeRule) -> list[Row]:
    """Return what `purge_all` would empty now: rows of source, standard_status, absence_state, listings, linked."""
    async with db.connection() as conn:
        return await listings.count_purgeable(conn, asked)


async def purge_all(db: Database, asked: PurgeRule, *, progress: Callable[[Purged], None] = lambda _: None) -> Purged:
    """Empty all listings that a rule names, some hundred a transaction. Killed, it is begun again for the rest."""
    done = Purged()
    after = ""
    while True:
        async with db.connection() as conn:
            page = await listings.purgeable(conn, asked, after=after, limit=LISTINGS_PER_TRANSACTION)
        if not page:
            return done
        for chunk in _chunks(page):
            emptied, synced = await db.retrying(partial(_purge_named, asked, chunk))
            done.listings += emptied
            done.crm_properties += synced
        after = next(reversed(page))
        progress(done)


def _chunks(linked: Mapping[str, int]) -> Iterator[list[str]]:
    chunk: list[str] = []
    crm_rows = 0
    for property_id, rows in linked.items():
        if chunk and crm_rows + rows > LINKED_PER_TRANSACTION:
            yield chunk
            chunk, crm_rows = [], 0
        chunk.append(property_id)
        crm_rows += rows
    yield chunk


async def _purge_one(property_id: str, conn: Connection) -> int:
    await listings.lock(conn, {property_id: None})
    if not await listings.exists(conn, property_id):
        raise ListingNotFound(property_id)
    return len(await _empty(conn, [property_id]))


async def _purge_named(asked: PurgeRule, property_ids: Sequence[str], conn: Connection) -> tuple[int, int]:
    await listings.lock(conn, dict.fromkeys(property_ids))
    still = list(await listings.purgeable(conn, asked, ids=property_ids))
    return len(still), len(await _empty(conn, still)) if still else 0


async def _empty(conn: Connection, property_ids: Sequence[str]) -> list[Synced]:
    """Take the content of locked listings away; return the CRM properties that lost it. `property_ids` are in order."""
    await listings.empty(conn, property_ids)
    await quarantine.forget(conn, set(property_ids))
    await answers.empty(conn)
    emptied = await crm_properties.empty_fields(conn, property_ids)
    purged = [Event("listing.purged", property_id) for property_id in property_ids]
    synced = [Event("property.synced", s.property_id, s.crm_id, s.platform, field_names=s.field_names) for s in emptied]
    await events.append(conn, [*purged, *synced])
    return emptied
