"""The event log: what the outside is told, in commit order.

`append` takes the event lock and must be the last thing a transaction does. Events carry field names, never values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from .arrays import array_of, quoted
from .database import Connection, Row
from .queries import load

_SQL = load(__file__)


class Event(NamedTuple):
    """A row of the table, as it is appended."""

    type: (
        str  # of a listing, a CRM property or a source: listing.changed, property.synced, source.degraded; docs/http.md
    )
    property_id: str | None = None
    crm_property_id: str | None = None
    platform: str | None = None
    run_id: int | None = None
    field_names: tuple[str, ...] = ()
    change_types: tuple[str, ...] = ()
    source: str | None = None  # of events about a source as a whole


async def append(conn: Connection, events: Sequence[Event]) -> None:
    """Append events in the order given. Nothing to tell takes no lock."""
    if not events:
        return
    types, ids, crm_ids, platforms, run_ids, names, changes, sources = zip(*events, strict=True)
    runs = [None if run_id is None else str(run_id) for run_id in run_ids]
    plain = [array_of(column) for column in (types, ids, crm_ids, platforms, runs)]
    await conn.execute(_SQL["append"], *plain, _arrays(names), _arrays(changes), array_of(sources))


def _arrays(every: Iterable[tuple[str, ...]]) -> str:
    return f"{{{','.join(map(_inner, every))}}}"


@lru_cache(maxsize=1024)  # of the same few again and again
def _inner(texts: tuple[str, ...]) -> str:
    """Return the text of an array as an element of another one."""
    return quoted(array_of(texts))


async def after(conn: Connection, seq: int, *, limit: int = 100) -> list[Row]:
    """Return the events after `seq`, in order."""
    return await conn.fetch(_SQL["after"], seq, limit)


async def listings_since(conn: Connection, seq: int) -> tuple[int, list[str]]:
    """Return the newest event and the listings whose content was changed or emptied after event `seq`."""
    row = await conn.fetchrow(_SQL["listings_since"], seq)
    assert row is not None  # noqa: S101 - it selects one row
    return row[0], row[1] or []
