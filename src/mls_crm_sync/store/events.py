"""The event log: what the outside is told, in commit order.

`append` takes the event lock and must be the last thing a transaction does. Events carry field names, never values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .database import Connection, Row, json_text
from .queries import load

_SQL = load(__file__)


@dataclass(frozen=True, slots=True)
class Event:
    type: str  # listing.changed, listing.purged, property.synced, property.linked, property.unlinked
    property_id: str | None = None
    crm_property_id: str | None = None
    platform: str | None = None
    run_id: int | None = None
    field_names: tuple[str, ...] = ()
    change_types: tuple[str, ...] = ()


async def append(conn: Connection, events: Sequence[Event]) -> None:
    """Append events in the order given. Nothing to tell takes no lock."""
    if not events:
        return
    await conn.execute(_SQL["lock"])
    await conn.execute(
        _SQL["append"],
        [e.type for e in events],
        [e.property_id for e in events],
        [e.crm_property_id for e in events],
        [e.platform for e in events],
        [e.run_id for e in events],
        [json_text(e.field_names) for e in events],
        [json_text(e.change_types) for e in events],
    )


async def after(conn: Connection, seq: int, *, limit: int = 100) -> list[Row]:
    """Return the events after `seq`, in order."""
    return await conn.fetch(_SQL["after"], seq, limit)
