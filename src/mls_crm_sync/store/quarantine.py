"""Records that could not be read: kept with their reason, their place and their bytes, until a retry takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xxhash
import zstandard

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)

KEPT_BYTES = 1_048_576
"""More of a broken record than this is not kept; it is marked as truncated and cannot be retried."""

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


async def put(
    conn: Connection, location_id: int, run_id: int, broken: Sequence[Broken], *, again: bool = False
) -> None:
    """Set records aside. `again`: they were tried again and stay as old as they are."""
    unique = {xxhash.xxh3_128_digest(b.data): b for b in broken}
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
        list(unique),
        [b.position for b in rows],
        *reasons,
        [_compress(b.data[:KEPT_BYTES]) for b in rows],
        [len(b.data) > KEPT_BYTES for b in rows],
        [b.is_record for b in rows],
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


async def of_run(conn: Connection, run_id: int) -> list[Row]:
    """Return what a run set aside last, at most a thousand, by place."""
    return await conn.fetch(_SQL["of_run"], run_id)


def unpack(payload: bytes) -> bytes:
    return _decompress(payload)


async def resolve_but(conn: Connection, ids: Sequence[int], run_id: int) -> int:
    """Close the records that the retry `run_id` has taken in, that is, not put back; return how many."""
    return len(await conn.fetch(_SQL["resolve_but"], list(ids), run_id))


async def count_open(conn: Connection) -> int:
    count: int = await conn.fetchval(_SQL["count_open"])
    return count
