"""The log of requests to each source, and what is known of its health. The rules are in `core/pacing.py`."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime

from mls_crm_sync.core.pacing import Breaker, Budget, Marks

from .database import Connection
from .queries import load

_SQL = load(__file__)


async def lock(conn: Connection, source: str) -> Breaker:
    """Take the turn of a source until the transaction ends; return its health."""
    row = await conn.fetchrow(_SQL["lock"], source)
    if row is None:
        await conn.execute(_SQL["make"], source)
        row = await conn.fetchrow(_SQL["lock"], source)
    assert row is not None  # noqa: S101 - made above; nobody deletes these rows
    return Breaker(**dict(row))


async def marks(conn: Connection, source: str, budget: Budget, now: datetime) -> Marks:
    latest = await conn.fetchval(_SQL["latest"], source)
    nth, spent = {}, {}
    for window, limit in budget.starts.items():
        nth[window] = await conn.fetchval(_SQL["nth_latest"], source, limit - 1)
    for window, limit in budget.sizes.items():
        spent[window] = await conn.fetchval(_SQL["spent"], source, now - window, limit)
    return Marks(latest, nth, spent)


async def begin(conn: Connection, source: str, at: datetime, *, forget: datetime) -> int:
    """Note a start, and forget those before `forget`; return the request's id."""
    await conn.execute(_SQL["forget"], source, forget)
    request_id: int = await conn.fetchval(_SQL["begin"], source, at)
    return request_id


async def count(conn: Connection, request_id: int, size: int) -> None:
    await conn.execute(_SQL["count"], request_id, size)


async def update(conn: Connection, source: str, breaker: Breaker) -> None:
    await conn.execute(_SQL["update"], source, *astuple(breaker))
