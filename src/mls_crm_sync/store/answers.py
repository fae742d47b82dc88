"""Answers that are kept under an Idempotency-Key: a request that comes twice gets the first one's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import zstandard

from .database import Connection
from .queries import load

_SQL = load(__file__)

KEPT_FOR = timedelta(days=7)
TAKEN_FOR_DEAD_AFTER = timedelta(minutes=5)
"""A request without an answer for so long ended with its process, and one that ended with an error of ours (5xx) was
looked after by then; the next one with its key is done anew."""

_compress = zstandard.ZstdCompressor(level=3).compress
_decompress = zstandard.ZstdDecompressor().decompress


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a key. `status` is None while its request is under way; `answer` None also where it was not
    kept, and after a purge.
    """

    fingerprint: bytes
    status: int | None = None
    answer: Answer | None = None


async def begin(conn: Connection, caller: str, key: str, fingerprint: bytes) -> Kept | None:
    """Take a key for a request; return None when it is ours, or what somebody else has made of it."""
    if await conn.fetchval(_SQL["begin"], caller, key, fingerprint, TAKEN_FOR_DEAD_AFTER, KEPT_FOR):
        return None
    row = await conn.fetchrow(_SQL["find"], caller, key)
    if row is None:  # given back between the two statements: the caller may simply come again
        return Kept(fingerprint)
    answer = None
    if row["body"] is not None:
        answer = Answer(row["status"], row["headers"], _decompress(row["body"]))
    return Kept(row["fingerprint"], row["status"], answer)


async def keep(conn: Connection, caller: str, key: str, answer: Answer, *, content: bool = True) -> None:
    """Keep an answer; only its status where a listing was purged since it began. `content` False: it tells of none."""
    packed = _compress(answer.body)
    await conn.execute(_SQL["keep"], caller, key, answer.status, dict(answer.headers), packed, not content)


async def keep_status(conn: Connection, caller: str, key: str, status: int) -> None:
    """Keep how the request ended, and nothing of what was answered."""
    await conn.execute(_SQL["keep_status"], caller, key, status)


async def empty(conn: Connection) -> None:
    """Take the content out of all kept answers: a listing's facts may be in any of them. Inside a transaction."""
    await conn.execute(_SQL["bar"])
    await conn.execute(_SQL["empty"])


async def forget(conn: Connection, caller: str, key: str) -> None:
    """Give a key back: its request had no effect."""
    await conn.execute(_SQL["forget"], caller, key)
