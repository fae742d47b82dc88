"""The CRM's records and their links.

Two kinds of statements, kept apart: those of the CRM (import, edit, link) and the one of sync (`bring_in_step`), which
writes `fields`, `synced_hash` and `synced_at` and no other column. Locks: CRM rows by id, after the listings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mls_crm_sync.core.errors import CrmPropertyNotFound, InvalidInput, NotLinked

from .database import Connection, Row, json_text, like
from .queries import load, narrowed

_SQL = load(__file__)
_FILTERS = ("crm_id", "platform", "crm_status", "property_id", "sync_status", "pattern")

SYNC_STATUSES = ("not_linked", "gone", "conflict", "overridden", "stale", "synced")
"""In the order in which they are asked: the first that holds is the one."""


@dataclass(frozen=True, slots=True)
class Synced:
    """A CRM property whose fields were brought in step; `field_names` are the members that differed, sorted."""

    crm_id: str
    platform: str
    property_id: str
    field_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkTarget:
    platform: str
    property_id: str | None


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What an import says of one CRM property. None and missing members are empty."""

    id: str
    crm_status: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    assigned_agent: str | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns an import brings; the others keep what is there."""

    plain: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()


async def bring_in_step(conn: Connection, property_ids: Collection[str], unsynced: Sequence[str]) -> list[Synced]:
    """Copy the facts of locked listings to the CRM properties linked to them; return the ones that differed, by id."""
    if not property_ids:
        return []
    return synced(await conn.fetch(in_step(_SQL["stored_facts"]), list(property_ids), list(unsynced)))


async def bring_in_step_only(conn: Connection, links: Mapping[str, str], unsynced: Sequence[str]) -> list[Synced]:
    """As `bring_in_step`, but for the locked CRM rows of `links` (crm id -> property id) alone."""
    if not links:
        return []
    sql = in_step(_SQL["stored_facts"], among="AND id = ANY ($3::text[])")
    return synced(await conn.fetch(sql, list(set(links.values())), list(unsynced), list(links)))


def in_step(facts: str, *, among: str = "", along: str = "") -> str:
    """Return the statement that brings CRM properties in step: with what `facts` selects, of the listings that are its
    first argument. `among`: more that has to hold of a CRM property. `along`: what else is written, as parts of WITH.
    """
    sql = _SQL["bring_in_step"].replace("(along)", along)
    return sql.replace("(facts)", f"({facts})").replace("(among)", among)


def synced(rows: Iterable[Row]) -> list[Synced]:
    """Return what was brought in step, by CRM id."""
    every = [Synced(row["id"], row["platform"], row["property_id"], tuple(row["field_names"])) for row in rows]
    return sorted(every, key=lambda one: one.crm_id)


async def lock_linked(conn: Connection, property_ids: Collection[str]) -> None:
    """Lock the CRM rows of locked listings, in id order."""
    await conn.fetch(_SQL["lock_linked"], list(property_ids))


async def would_change(conn: Connection, fields: Mapping[str, Mapping[str, Any]], unsynced: Sequence[str]) -> int:
    """Return how many CRM properties `bring_in_step` would write if the listings had these facts."""
    if not fields:
        return 0
    count: int = await conn.fetchval(_SQL["would_change"], list(fields), list(fields.values()), list(unsynced))
    return count


async def insert(conn: Connection, platform: str, row: ImportRow) -> bool:
    """Insert one CRM property; False when its id is taken."""
    values = (row.crm_status, row.notes, list(row.tags), row.assigned_agent, row.own, row.custom)
    return await conn.fetchval(_SQL["insert_one"], row.id, platform, *values) is not None


async def has_platform(conn: Connection, platform: str) -> bool:
    """Whether any CRM property is of this platform."""
    return bool(await conn.fetchval(_SQL["has_platform"], platform))


async def count_linked(conn: Connection, property_ids: Collection[str], platform: str | None = None) -> int:
    count: int = await conn.fetchval(_SQL["count_linked"], list(property_ids), platform)
    return count


async def count_by_listing(conn: Connection, property_ids: Collection[str]) -> dict[str, int]:
    """Return how many CRM properties each listing has; listings without any are left out."""
    rows = await conn.fetch(_SQL["count_by_listing"], list(property_ids))
    return {row["property_id"]: row["count"] for row in rows}


async def linked_listing_ids(conn: Connection, *, after: str = "", platform: str | None, limit: int) -> list[str]:
    """Return the ids of listings that have CRM properties, in order, `limit` at a time."""
    return [row["property_id"] for row in await conn.fetch(_SQL["linked_ids"], after, platform, limit)]


async def lock(conn: Connection, crm_ids: Collection[str]) -> dict[str, LinkTarget]:
    """Lock CRM rows in id order and return what they are linked to; unknown ids are left out."""
    locked = [row["id"] for row in await conn.fetch(_SQL["lock"], list(crm_ids))]
    # Only the locked ones are read: a row that was deleted and made again while we waited is not ours.
    rows = await conn.fetch(_SQL["link_targets"], locked)
    return {row["id"]: LinkTarget(row["platform"], row["mls_property_id"]) for row in rows}


async def linked_to(conn: Connection, crm_id: str) -> str:
    """Return the listing a CRM property is linked to, without a lock. Raises CrmPropertyNotFound, NotLinked."""
    row = await conn.fetchrow(_SQL["linked_to"], crm_id)
    if row is None:
        raise CrmPropertyNotFound(crm_id)
    if row["mls_property_id"] is None:
        raise NotLinked(crm_id)
    return str(row["mls_property_id"])


async def set_links(conn: Connection, links: Mapping[str, str]) -> None:
    """Point locked CRM rows to listings (crm id -> property id) and keep the dates."""
    if links:
        ids, property_ids = list(links), list(links.values())
        await conn.execute(_SQL["close_links"], ids)
        await conn.execute(_SQL["set_links"], ids, property_ids)
        await conn.execute(_SQL["open_links"], ids, property_ids)


async def unlink(conn: Connection, crm_id: str, *, restore_own: bool) -> None:
    """Cut the link of a locked CRM row. Its fields stay frozen as they are, or go, so that `own` shows again."""
    await conn.execute(_SQL["close_links"], [crm_id])
    await conn.execute(_SQL["unlink"], crm_id, restore_own)


async def upsert(
    conn: Connection, platform: str, columns: Columns, rows: Sequence[ImportRow]
) -> tuple[set[str], set[str]]:
    """Insert or update by id; return the ids made and the ids changed. Ids of another platform are in neither."""
    result = await conn.fetch(
        _SQL["upsert"],
        [r.id for r in rows],
        platform,
        [r.crm_status for r in rows],
        [r.notes for r in rows],
        [json_text(r.tags) for r in rows],
        [r.assigned_agent for r in rows],
        [r.own for r in rows],
        [r.custom for r in rows],
        list(columns.plain),
        list(columns.own),
        list(columns.custom),
    )
    return {r["id"] for r in result if r["made"]}, {r["id"] for r in result if not r["made"]}


async def platforms(conn: Connection, crm_ids: Collection[str]) -> dict[str, str]:
    rows = await conn.fetch(_SQL["platforms_of"], list(crm_ids))
    return {row["id"]: row["platform"] for row in rows}


async def lock_for_edit(conn: Connection, crm_id: str) -> Row:
    """Lock one CRM row and return it. Raises CrmPropertyNotFound."""
    row = await conn.fetchrow(_SQL["get_for_edit"], crm_id)
    if row is None:
        raise CrmPropertyNotFound(crm_id)
    return row


async def save_edit(conn: Connection, row: Mapping[str, Any]) -> int:
    """Write the CRM-owned columns of a locked row; return its new version."""
    names = (
        "crm_status",
        "notes",
        "tags",
        "assigned_agent",
        "custom",
        "own",
        "overrides",
        "override_details",
    )
    version: int = await conn.fetchval(_SQL["save_edit"], row["id"], *(row[name] for name in names))
    return version


async def delete(conn: Connection, crm_id: str) -> None:
    """Delete a CRM property and close its link. Raises CrmPropertyNotFound."""
    if await conn.fetchrow(_SQL["delete"], crm_id) is None:
        raise CrmPropertyNotFound(crm_id)
    await conn.execute(_SQL["close_links"], [crm_id])


async def empty_fields(conn: Connection, property_ids: Collection[str]) -> list[Synced]:
    """Take purged listings' facts out of the CRM; return the properties that had some, by id."""
    ids = list(property_ids)
    await lock_linked(conn, ids)
    had = await conn.fetch(_SQL["filled"], ids)
    await conn.execute(_SQL["empty_fields"], ids)
    return [Synced(row["id"], row["platform"], row["mls_property_id"], tuple(row["field_names"])) for row in had]


async def get(conn: Connection, crm_id: str, *, stale_after: timedelta) -> Row:
    """Return one CRM property with its sync_status. Raises CrmPropertyNotFound."""
    rows = await _read(conn, stale_after=stale_after, crm_id=crm_id, limit=1)
    if not rows:
        raise CrmPropertyNotFound(crm_id)
    return rows[0]


async def page(
    conn: Connection,
    *,
    stale_after: timedelta,
    platform: str | None = None,
    crm_status: str | None = None,
    property_id: str | None = None,
    sync_status: str | None = None,
    search: str | None = None,
    after: str = "",
    limit: int = 100,
) -> list[Row]:
    """Return at most `limit` CRM properties whose id is after `after`, by id.

    `search` is looked for in the id, the notes, the address and the MLS number, whatever its case. Raises InvalidInput
    for a `sync_status` that there is not.
    """
    if sync_status is not None and sync_status not in SYNC_STATUSES:
        raise InvalidInput("sync_status", f"there is no {sync_status!r}; there are {', '.join(SYNC_STATUSES)}")
    return await _read(
        conn,
        stale_after=stale_after,
        platform=platform,
        crm_status=crm_status,
        property_id=property_id,
        sync_status=sync_status,
        pattern=like(search),
        after=after,
        limit=limit,
    )


async def _read(conn: Connection, *, stale_after: timedelta, limit: int, after: str = "", **filters: Any) -> list[Row]:  # noqa: ANN401 - as the query's columns have it
    given = dict.fromkeys(_FILTERS) | filters | {"stale_after": stale_after, "after": after, "limit": limit}
    sql, arguments = narrowed(_SQL["read"], given)
    return await conn.fetch(sql, *arguments)


async def count_out_of_step(conn: Connection, unsynced: Sequence[str]) -> int:
    """Return how many linked properties are not as their listing; anything but 0 is a bug or somebody's own SQL."""
    count: int = await conn.fetchval(_SQL["count_out_of_step"], list(unsynced))
    return count


async def owned_digest(conn: Connection) -> str | None:
    """Return a digest over all that the CRM owns, None where there are no properties."""
    digest: str | None = await conn.fetchval(_SQL["owned_digest"])
    return digest


async def count_by_status(conn: Connection, *, stale_after: timedelta) -> dict[str, int]:
    rows = await conn.fetch(_SQL["count_by_status"], stale_after)
    return {row["sync_status"]: row["count"] for row in rows}
