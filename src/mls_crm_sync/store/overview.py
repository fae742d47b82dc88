"""Counts of the whole, as the first page of the dashboard shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)


async def active_properties(conn: Connection, bounds: Sequence[timedelta], stale_after: timedelta) -> list[Row]:
    """Return counts of active CRM properties by `sync_status`, `linked` and `bucket`: how many of the ascending
    `bounds` the time since their listing was seen has reached; null where it never was.
    """
    seconds = [bound.total_seconds() for bound in bounds]
    return await conn.fetch(_SQL["active_properties"], seconds, stale_after)


async def properties(conn: Connection) -> Row:
    """Return how many CRM properties there are, are active, are linked."""
    row = await conn.fetchrow(_SQL["properties"])
    assert row is not None  # noqa: S101 - an aggregate has a row
    return row


async def changes_since(conn: Connection, at: datetime) -> dict[str, int]:
    """Return how many listings the market changed since then, by the type of change."""
    return {row["type"]: row["listings"] for row in await conn.fetch(_SQL["changes_since"], at)}


async def crm_updates_since(conn: Connection, at: datetime) -> int:
    """Return how many times a CRM property followed its listing, by the runs that ended since then or still run."""
    count: int = await conn.fetchval(_SQL["crm_updates_since"], at)
    return count
