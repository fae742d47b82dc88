"""Active CRM properties whose listing is over, and what a person dismissed of that.

A proposal is no row: it holds while the listing is over and the CRM says `active`, so nothing can lag behind.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from .database import Connection, Row
from .queries import load, narrowed

_SQL = load(__file__)

Reason = Literal["ended", "absent"]
"""`ended`: its StandardStatus says so; `absent`: it was proven not to be shown any more."""


async def page(
    conn: Connection,
    ended: Collection[str],
    *,
    crm_id: str | None = None,
    platform: str | None = None,
    reason: Reason | None = None,
    dismissed: bool = False,
    after: str = "",
    limit: int = 100,
) -> list[Row]:
    """Return at most `limit` proposals whose CRM property's id is after `after`, by that id. `ended` are the
    StandardStatus values under which a listing is over. `dismissed`: those that were dismissed as well.
    """
    sql, arguments = narrowed(
        _SQL["read"],
        {
            "ended": list(ended),
            "crm_id": crm_id,
            "platform": platform,
            "reason": reason,
            "open_only": None if dismissed else True,
            "after": after,
            "limit": limit,
        },
    )
    return await conn.fetch(sql, *arguments)


async def count_open(conn: Connection, ended: Collection[str]) -> int:
    given = {"ended": list(ended), "after": "", "open_only": True, "limit": None}
    query = _SQL["count_open"].replace("(read)", f"({_SQL['read']})")
    sql, arguments = narrowed(query, dict.fromkeys(("crm_id", "platform", "reason")) | given)
    count: int = await conn.fetchval(sql, *arguments)
    return count


async def dismiss(conn: Connection, proposal: Row, *, note: str | None, by: str) -> None:
    """Note that a person does not want a proposal as it stands; the CRM property is locked."""
    about = (proposal["crm_property_id"], proposal["mls_property_id"], proposal["reason"], proposal["since"])
    await conn.execute(_SQL["dismiss"], *about, note, by)
