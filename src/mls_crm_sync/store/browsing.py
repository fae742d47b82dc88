"""What lists and pages of the dashboard read: summaries of CRM properties, their history, the newest changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from mls_crm_sync.core.errors import InvalidInput

from .crm_properties import SYNC_STATUSES
from .database import Connection, Row, like
from .queries import load, narrowed

_SQL = load(__file__)


class Touched(NamedTuple):
    """A place in the list of summaries: when the CRM property was last written, and its id."""

    at: datetime
    id: str


class Happened(NamedTuple):
    """A place in a history; `place` orders what happened at once."""

    at: datetime
    place: int


async def summaries(
    conn: Connection,
    *,
    stale_after: timedelta,
    platform: str | None = None,
    crm_status: str | None = None,
    standard_status: str | None = None,
    linked: bool | None = None,
    city: str | None = None,
    search: str | None = None,
    sync_statuses: Collection[str] | None = None,
    before: Touched | None = None,
    limit: int = 100,
) -> list[Row]:
    """Return at most `limit` CRM properties that were last touched before `before`, newest first, each with the `total`
    of all that the filters let through. Raises InvalidInput for a sync_status that there is not.
    """
    for status in sync_statuses or ():
        if status not in SYNC_STATUSES:
            raise InvalidInput("sync_status", f"there is no {status!r}; there are {', '.join(SYNC_STATUSES)}")
    given = {
        "platform": platform, "crm_status": crm_status, "standard_status": standard_status, "linked": linked,
        "city": city, "pattern": like(search), "sync_statuses": list(sync_statuses) if sync_statuses else None,
        "stale_after": stale_after, "before_at": before.at if before else None,
        "before_id": before.id if before else None, "limit": limit,
    }  # fmt: skip
    sql, arguments = narrowed(_SQL["summaries"], given)
    return await conn.fetch(sql, *arguments)


async def last_changes(conn: Connection, property_id: str) -> dict[str, Row]:
    """Return when each field of a listing last changed (`at`, `run_id`), by its name."""
    return {row["field_name"]: row for row in await conn.fetch(_SQL["last_changes"], property_id)}


async def history(
    conn: Connection, crm_id: str, unsynced: Sequence[str], *, before: Happened | None = None, limit: int = 100
) -> list[Row]:
    """Return what happened to the facts of a CRM property before a place, newest first: `linked`, `unlinked`, or a
    `change` of the listing while it was linked, which was `applied`, `held_by_override`, or is `not_copied`.
    """
    given = {
        "crm_id": crm_id, "unsynced": list(unsynced), "before_at": before.at if before else None,
        "before_place": before.place if before else None, "limit": limit,
    }  # fmt: skip
    sql, arguments = narrowed(_SQL["history"], given)
    return await conn.fetch(sql, *arguments)


async def market_changes(
    conn: Connection, *, linked: bool | None = None, before: int = 2**63 - 1, limit: int = 50
) -> list[Row]:
    """Return what the market changed of listings, newest first, whose change_id is before `before`."""
    given = {"linked": linked, "before": before, "limit": limit}
    sql, arguments = narrowed(_SQL["market_changes"], given)
    return await conn.fetch(sql, *arguments)
