"""Purging a listing: its content goes, here, in the CRM, in quarantine and in kept answers. The row stays as a
content-free tombstone, and links stay.

A later delivery fills it again, as new. Asked for by a person or by a provider's rule.
"""

from __future__ import annotations

from functools import partial

from mls_crm_sync.core.errors import ListingNotFound
from mls_crm_sync.store import answers, crm_properties, events, listings, quarantine
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event


async def purge(db: Database, property_id: str) -> int:
    """Empty one listing; return how many CRM properties lost its facts. Raises ListingNotFound."""
    return await db.retrying(partial(_purge, property_id))


async def _purge(property_id: str, conn: Connection) -> int:
    await listings.lock(conn, {property_id: None})
    if not await listings.exists(conn, property_id):
        raise ListingNotFound(property_id)
    await listings.empty(conn, property_id)
    await quarantine.forget(conn, property_id)
    await answers.empty(conn)
    emptied = await crm_properties.empty_fields(conn, property_id)
    purged = Event("listing.purged", property_id)
    synced = [Event("property.synced", property_id, s.crm_id, s.platform, field_names=s.field_names) for s in emptied]
    await events.append(conn, [purged, *synced])
    return len(emptied)
