"""Listings: their state, facts, payloads and history.

The row of `mls_state` is the listing's lock. Every writer takes the rows of its page in id order (`lock`, or `share`
for a reader that copies), before it looks at anything else of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import zstandard

from mls_crm_sync.core import records
from mls_crm_sync.core.changes import Change, Stored
from mls_crm_sync.core.errors import ListingNotFound

from .database import Connection, Row, json_text, like
from .queries import load

_SQL = load(__file__)

PAYLOAD_CODEC = 0
"""0 is zstd without a dictionary."""

_compress = zstandard.ZstdCompressor(level=1, write_checksum=False).compress
_decompress = zstandard.ZstdDecompressor().decompress


def pack_payload(record: Mapping[str, Any]) -> bytes:
    return _compress(records.encode(record))


def unpack_payload(packed: bytes) -> dict[str, Any]:
    return records.decode(_decompress(packed)).record


@dataclass(frozen=True, slots=True)
class State:
    """The narrow row of a listing; what recognition compares with."""

    location_id: int
    digest: bytes
    payload_digest: bytes
    content_hash: bytes
    norm_version: str
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredListing:
    """A listing read under its lock."""

    state: State
    facts: Stored
    last_changed_at: datetime


@dataclass(frozen=True, slots=True)
class ListingWrite:
    """A listing as it is to stand after the transaction. `payload` is packed; what is not written may be left out."""

    property_id: str
    source_key: str
    digest: bytes
    payload_digest: bytes
    content_hash: bytes
    modified_at: datetime | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""
    changes: tuple[Change, ...] = ()


async def read_states(conn: Connection, property_ids: Collection[str]) -> dict[str, State]:
    rows = await conn.fetch(_SQL["read_states"], list(property_ids))
    return {row["property_id"]: _state(row) for row in rows}


async def ids_by_source_key(conn: Connection, source: str, source_keys: Collection[str]) -> dict[str, str]:
    rows = await conn.fetch(_SQL["ids_by_source_key"], source, list(source_keys))
    return {row["source_key"]: row["property_id"] for row in rows}


async def keys_by_id(conn: Connection, property_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return whose listings these ids are: source and its key."""
    rows = await conn.fetch(_SQL["keys_by_id"], list(property_ids))
    return {row["property_id"]: (row["source"], row["source_key"]) for row in rows}


async def ids_by_any_source_key(
    conn: Connection, source: str | None, source_keys: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the listings with these keys, at one source or at any."""
    rows = await conn.fetch(_SQL["ids_by_any_source_key"], list(source_keys), source)
    return {row["source_key"]: row["property_ids"] for row in rows}


async def lock(conn: Connection, property_ids: Collection[str]) -> None:
    if property_ids:
        await conn.fetch(_SQL["lock_states"], list(property_ids))


async def share(conn: Connection, property_ids: Collection[str]) -> set[str]:
    """Keep every sync of these listings out until our commit; return the ids that exist."""
    return {row["property_id"] for row in await conn.fetch(_SQL["share_states"], list(property_ids))}


async def read_stored(conn: Connection, property_ids: Collection[str]) -> dict[str, StoredListing]:
    if not property_ids:
        return {}
    rows = await conn.fetch(_SQL["read_stored"], list(property_ids))
    return {row["property_id"]: _stored(row) for row in rows}


async def insert(
    conn: Connection, source: str, location_id: int, norm_version: str, listings: Sequence[ListingWrite]
) -> set[str]:
    """Insert new listings with their history left to `insert_changes`; return the ids that were really new."""
    if not listings:
        return set()
    rows = await conn.fetch(
        _SQL["insert_states"],
        [w.property_id for w in listings],
        [location_id] * len(listings),
        [w.digest for w in listings],
        [w.payload_digest for w in listings],
        [w.content_hash for w in listings],
        [norm_version] * len(listings),
        [w.modified_at for w in listings],
    )
    won = {row["property_id"] for row in rows}
    made = [w for w in listings if w.property_id in won]
    await conn.execute(
        _SQL["insert_listings"],
        [w.property_id for w in made],
        source,
        [w.source_key for w in made],
        [w.fields for w in made],
        [w.payload for w in made],
        PAYLOAD_CODEC,
    )
    return won


async def add_to_location(conn: Connection, location_id: int, property_ids: Collection[str]) -> None:
    if property_ids:
        await conn.execute(_SQL["insert_location_listings"], location_id, list(property_ids))


async def update(conn: Connection, listings: Sequence[ListingWrite]) -> None:
    """Write fields and payload of locked listings; `last_changed_at` moves where there are changes."""
    if listings:
        await conn.execute(
            _SQL["update_listings"],
            [w.property_id for w in listings],
            [w.fields for w in listings],
            [w.payload for w in listings],
            PAYLOAD_CODEC,
            [bool(w.changes) for w in listings],
        )


async def update_payloads(conn: Connection, listings: Sequence[ListingWrite]) -> None:
    if listings:
        ids, payloads = [w.property_id for w in listings], [w.payload for w in listings]
        await conn.execute(_SQL["update_payloads"], ids, payloads, PAYLOAD_CODEC)


async def update_states(conn: Connection, norm_version: str, listings: Sequence[ListingWrite]) -> None:
    if listings:
        await conn.execute(
            _SQL["update_states"],
            [w.property_id for w in listings],
            [w.digest for w in listings],
            [w.payload_digest for w in listings],
            [w.content_hash for w in listings],
            [norm_version] * len(listings),
            [w.modified_at for w in listings],
        )


async def move_clocks(conn: Connection, clocks: Mapping[str, datetime]) -> None:
    """Move `source_modified_at` of locked listings forward, never back."""
    if clocks:
        await conn.execute(_SQL["move_clocks"], list(clocks), list(clocks.values()))


async def insert_changes(conn: Connection, run_id: int, changes: Sequence[tuple[str, Change]]) -> None:
    """Append history, in the order given; `changes` pairs a property_id with its change."""
    if changes:
        await conn.execute(
            _SQL["insert_changes"],
            run_id,
            [property_id for property_id, _ in changes],
            [change.type.value for _, change in changes],
            [change.field for _, change in changes],
            [json_text(change.previous) for _, change in changes],
            [json_text(change.new) for _, change in changes],
        )


async def get(conn: Connection, property_id: str) -> Row:
    """Return one listing with its links. Raises ListingNotFound."""
    row = await conn.fetchrow(_SQL["listing"], property_id)
    if row is None:
        raise ListingNotFound(property_id)
    return row


async def page(
    conn: Connection,
    *,
    source: str | None = None,
    status: str | None = None,
    city: str | None = None,
    postal_code: str | None = None,
    listing_id: str | None = None,
    linked: bool | None = None,
    search: str | None = None,
    after: str = "",
    limit: int = 100,
) -> list[Row]:
    """Return at most `limit` listings whose id is after `after`, by id.

    `search` is looked for in the key, the MLS number and the address, whatever its case.
    """
    return await conn.fetch(
        _SQL["list_listings"], source, status, city, postal_code, listing_id, linked, after, limit, like(search)
    )


async def changes(conn: Connection, property_id: str, *, before: int = 2**63 - 1, limit: int = 50) -> list[Row]:
    """Return the newest changes of a listing whose id is before `before`, newest first."""
    return await conn.fetch(_SQL["listing_changes"], property_id, limit, before)


async def crm_changes_of_run(conn: Connection, run_id: int, *, limit: int = 100) -> list[Row]:
    """Return what a run changed, beside the CRM properties it reached, by CRM id."""
    return await conn.fetch(_SQL["crm_changes_of_run"], run_id, limit)


async def exists(conn: Connection, property_id: str) -> bool:
    return property_id in await read_states(conn, [property_id])


async def empty(conn: Connection, property_id: str) -> None:
    """Take the content of a locked listing away: facts, payload, history. The row and its links stay."""
    await conn.execute(_SQL["purge_listing"], property_id)
    await conn.execute(_SQL["purge_state"], property_id)
    await conn.execute(_SQL["purge_changes"], property_id)


async def count_by_status(conn: Connection) -> dict[str, int]:
    """Return how many listings there are by StandardStatus, purged ones aside."""
    return {row["standard_status"]: row["count"] for row in await conn.fetch(_SQL["count_by_status"])}


def _state(row: Row) -> State:
    return State(
        row["location_id"],
        row["digest"],
        row["payload_digest"],
        row["content_hash"],
        row["norm_version"],
        row["source_modified_at"],
    )


def _stored(row: Row) -> StoredListing:
    state = _state(row)
    payload = unpack_payload(row["payload"]) if row["payload"] is not None else None
    facts = Stored(
        fields=row["fields"],
        content_hash=state.content_hash,
        norm_version=state.norm_version,
        modified_at=state.modified_at,
        payload=payload,
        purged=row["purged_at"] is not None,
    )
    return StoredListing(state, facts, row["last_changed_at"])
