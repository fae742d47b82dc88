"""Records that could not be read: kept with their reason, their place and their bytes, until a retry takes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import xxhash
import zstandard

from mls_crm_sync.core import records
from mls_crm_sync.core.errors import RecordRejected

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)

KEPT_BYTES = 1_048_576
"""More of a broken record than this is not kept; it is marked as truncated and cannot be retried."""

ROWS_AT_A_TIME = 10

_compress = zstandard.ZstdCompressor(level=3).compress
_decompress = zstandard.ZstdDecompressor().decompress


@dataclass(frozen=True, slots=True)
class Broken:
    position: int
    reason: str
    detail: str
    data: bytes
    field: str | None = None
    is_record: bool = True  # False: a piece of a file that never was one, so that trying it again is of no use
    source_key: str | None = None  # of its listing, where that much could be read
    digest: bytes = b""  # of what it says, where it says something
    modified_at: datetime | None = None  # its ModificationTimestamp, where that could be read and believed


async def put(
    conn: Connection, location_id: int, run_id: int, origin: str, broken: Sequence[Broken], *, again: bool = False
) -> None:
    """Set records aside. `again`: they were tried again and stay as old as they are."""
    unique = {b.digest or xxhash.xxh3_128_digest(b.data): b for b in broken}
    if not unique:
        return
    rows = list(unique.values())
    reasons = ([b.reason for b in rows], [b.detail for b in rows], [b.field for b in rows])
    if again:
        await conn.execute(_SQL["put_back"], location_id, run_id, list(unique), *reasons)
        return
    await conn.execute(
        _SQL["put"],
        location_id,
        run_id,
        origin,
        list(unique),
        [b.source_key for b in rows],
        [b.position for b in rows],
        *reasons,
        [_compress(b.data[:KEPT_BYTES]) for b in rows],
        [len(b.data) > KEPT_BYTES for b in rows],
        [b.is_record for b in rows],
        [b.modified_at for b in rows],
    )


async def page(
    conn: Connection,
    *,
    source: str | None = None,
    after: int = 0,
    ids: Sequence[int] | None = None,
    limit: int = 100,
) -> list[Row]:
    """Return open records by id; `payload` is packed (`unpack`)."""
    return await conn.fetch(_SQL["list"], source, after, list(ids) if ids is not None else None, limit)


async def page_within(
    conn: Connection, most_bytes: int, *, source: str | None = None, after: int = 0, limit: int = 100
) -> tuple[list[tuple[Row, bytes]], bool]:
    """Return open records by id with their bytes, and whether there may be more. Ends before there are more than
    `most_bytes` of them, but never before the first one: unpacked, a full page could be a gigabyte.
    """
    found: list[tuple[Row, bytes]] = []
    size = 0
    async with conn.transaction(readonly=True):
        async for row in conn.cursor(_SQL["list"], source, after, None, limit, prefetch=ROWS_AT_A_TIME):
            payload = unpack(row["payload"])
            size += len(payload)
            if found and size > most_bytes:
                return found, True
            found.append((row, payload))
    return found, len(found) == limit


async def to_retry(conn: Connection, *, source: str | None = None, ids: Sequence[int] | None = None) -> list[Row]:
    """Return open records without their payloads: by source, location, run, origin and id."""
    return await conn.fetch(_SQL["to_retry"], source, list(ids) if ids is not None else None)


async def payloads(conn: Connection, ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Return position and bytes of records, by id."""
    return [(row["position"], unpack(row["payload"])) for row in await conn.fetch(_SQL["payloads"], list(ids))]


async def has_open(conn: Connection, source: str) -> bool:
    """Whether any open record of the source is known to belong to a listing."""
    return bool(await conn.fetchval(_SQL["has_open"], source))


async def resolve_read(conn: Connection, property_ids: Sequence[str], run_id: int) -> None:
    """Close the records of listings that `run_id` could read, and that are no newer than those are now.

    What that run set aside itself stays open.
    """
    if property_ids:
        await conn.execute(_SQL["resolve_read"], list(property_ids), run_id)


async def forget(conn: Connection, property_ids: Collection[str]) -> None:
    """Delete all records of listings: those with their keys, and pushed ones that only name an id. In a transaction."""
    await conn.execute(_SQL["forget"], list(property_ids))
    keyless = conn.cursor(_SQL["pushed_without_key"])
    named = [row["quarantine_id"] async for row in keyless if _names(unpack(row["payload"]), property_ids)]
    if named:
        await conn.execute(_SQL["delete"], named)


def _names(data: bytes, property_ids: Collection[str]) -> bool:
    try:
        return records.decode(data).record.get("property_id") in property_ids
    except RecordRejected:  # cut short, or no JSON: rather one too many
        return any(property_id.encode() in data for property_id in property_ids)


async def of_run(conn: Connection, run_id: int, *, limit: int) -> list[Row]:
    """Return what a run set aside last, by place; the same record once, at its last place."""
    return await conn.fetch(_SQL["of_run"], run_id, limit)


def unpack(payload: bytes) -> bytes:
    return _decompress(payload)


async def resolve_but(conn: Connection, ids: Sequence[int], run_id: int) -> int:
    """Close the records that the retry `run_id` has taken in, that is, not put back; return how many."""
    return len(await conn.fetch(_SQL["resolve_but"], list(ids), run_id))


async def count_open(conn: Connection) -> int:
    count: int = await conn.fetchval(_SQL["count_open"])
    return count
