"""The event log: what is appended is what is read."""

from __future__ import annotations

from mls_crm_sync.store import events
from mls_crm_sync.store.database import Connection
from mls_crm_sync.store.events import Event

ODD = ("a,b", '"quoted"', "back\\slash", "{braces}", "NULL", "", " space ", "Zoë", "a\nb", "\\", '\\"')


async def test_names_come_back_as_they_were(conn: Connection) -> None:
    """Members of a source have any names that JSON can write."""
    told = [Event("source.drift", field_names=ODD, source="s"), Event("listing.changed", "p", change_types=("new",))]

    async with conn.transaction():
        await events.append(conn, told)

    first, second = await events.after(conn, 0)
    assert (first["field_names"], first["change_types"], first["source"]) == ([*ODD], [], "s")
    assert (second["property_id"], second["field_names"], second["change_types"]) == ("p", [], ["new"])
    assert first["seq"] < second["seq"]
