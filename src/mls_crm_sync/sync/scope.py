"""What the listings of a location are stored as: read once for a long delivery, and kept true by the events.

Asking for the states of a page's listings by their keys costs the server several times what reading them side by side
does, and the more, the more listings there are. So a delivery that turns out to be long reads the narrow rows of its
location once, and compares in memory. What is stored of a listing changes in a transaction that appends an event of it
(`listing.changed`, `listing.purged`), and events are numbered in the order of their commits: whatever was written since
is found by its number, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Collection

from mls_crm_sync.core.hashing import Sighting
from mls_crm_sync.store import events, listings
from mls_crm_sync.store.database import Database
from mls_crm_sync.store.listings import StoredAt

MAX_LISTINGS = 100_000
"""Of a location; 30 MB. Larger ones are looked up by their keys, page by page."""

WORTH_IT_AFTER = 2_000
"""Records of a delivery: a shorter one asks for less than reading its location may cost."""


class Scope:
    """Tells of a sighted record whether its listing is stored so, from this location."""

    def __init__(self, stored: StoredAt) -> None:
        self._by_digest = frozenset(stored.by_digest)
        self._by_payload = frozenset(stored.by_payload)
        self._seq = stored.seq
        self._changed: set[str] = set()  # since it was read, by whomever

    @classmethod
    async def read(cls, db: Database, location_id: int, norm_version: str) -> Scope | None:
        """Return None for a location of which nothing is stored, or too much. `norm_version` is today's."""
        async with db.connection() as conn:
            stored = await listings.stored_at(conn, location_id, norm_version, most=MAX_LISTINGS)
        return cls(stored) if stored.by_digest else None

    async def catch_up(self, db: Database) -> Collection[str]:
        """Note which listings were written since the last time, and return them."""
        async with db.connection() as conn:
            self._seq, listings_written = await events.listings_since(conn, self._seq)
        self._changed.update(listings_written)
        return frozenset(listings_written)

    def is_worn_out(self) -> bool:
        """Whether as many listings have changed, or come, as it held: it is no help any more, and would only grow."""
        return len(self._changed) >= len(self._by_digest)

    def holds(self, one: Sighting) -> bool:
        """Whether exactly these bytes are stored."""
        an_id = one.property_id
        return an_id not in self._changed and listings.stored_as(an_id, one.digest, one.modified_at) in self._by_digest

    def holds_what_it_says(self, one: Sighting, said: bytes) -> bool:
        """Whether what the record says is stored, in whatever clothes."""
        an_id = one.property_id
        return an_id not in self._changed and listings.stored_as(an_id, said, one.modified_at) in self._by_payload
