"""Where active CRM properties are: what a run reads, and which linked listings it has to look up besides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from .database import Connection, Row
from .queries import load, narrowed

_SQL = load(__file__)
_FILTERS = (
    "platform", "assigned_agent", "tags", "postal_code", "city", "standard_status", "property_type", "min_list_price",
    "max_list_price", "max_age_days",
)  # fmt: skip


class Group(NamedTuple):
    """CRM properties of one place. `source` is that of their listings, '' where they are linked to none; `place` None:
    nobody knows where. `examples` are some ids, where somebody looked.
    """

    source: str
    place: str | None
    properties: int
    examples: tuple[str, ...] = ()


class Linked(NamedTuple):
    """A listing that CRM properties are linked to."""

    property_id: str
    source_key: str
    postal_code: str | None
    address: str | None


async def active(conn: Connection) -> list[Group]:
    """Return where properties with `crm_status` active are, each place once a source; examples where nobody knows."""
    groups = [Group(*row) for row in await conn.fetch(_SQL["active"])]
    return groups + [_group(row) for row in await conn.fetch(_SQL["placeless"])]


async def active_of(conn: Connection, sources: Collection[str]) -> Group:
    """Return the active properties with a place whose listings are of some sources, counted as one group."""
    row = await conn.fetchrow(_SQL["active_of"], list(sources))
    assert row is not None  # noqa: S101 - an aggregate
    return _group(row)


async def selected(conn: Connection, crm_status: list[str], filters: Mapping[str, Any]) -> list[Group]:
    """Return the same of properties that filters select, all with examples."""
    sql, arguments = _narrowed("selected", filters, crm_status=crm_status)
    return [_group(row) for row in await conn.fetch(sql, *arguments)]


async def unseen(
    conn: Connection,
    crm_status: list[str],
    filters: Mapping[str, Any],
    *,
    source: str,
    run_id: int,
    since: datetime,
    limit: int,
) -> list[Linked]:
    """Return at most `limit` listings of a source that are linked to selected properties and that nothing has shown
    since a run began.
    """
    sql, arguments = _narrowed(
        "unseen", filters, crm_status=crm_status, source=source, run_id=run_id, since=since, limit=limit
    )
    return [Linked(*row) for row in await conn.fetch(sql, *arguments)]


async def has_unseen(
    conn: Connection, crm_status: list[str], filters: Mapping[str, Any], *, source: str, run_id: int, since: datetime
) -> bool:
    """Whether `unseen` would return any."""
    sql, arguments = _narrowed("has_unseen", filters, crm_status=crm_status, source=source, run_id=run_id, since=since)
    return bool(await conn.fetchval(sql, *arguments))


def _narrowed(name: str, filters: Mapping[str, Any], **given: Any) -> tuple[str, list[Any]]:  # noqa: ANN401 - as the columns have it
    query = _SQL[name].replace("(unseen_ones)", _SQL["unseen_ones"]).replace("(filters)", _SQL["filters"])
    prices = {name: Decimal(filters[name]) for name in ("min_list_price", "max_list_price") if name in filters}
    return narrowed(query, {**dict.fromkeys(_FILTERS), **filters, **prices, **given})


def _group(row: Row) -> Group:
    return Group(row["mls_source"], row["place"], row["properties"], tuple(row["examples"] or ()))
