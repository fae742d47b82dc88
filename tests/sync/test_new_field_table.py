"""An upgrade brings another field table: what is stored follows it, quietly, and nothing of it is news."""

from __future__ import annotations

from dataclasses import replace

from making import a_crm, a_link, a_listing, crm_row, deliver, history, listing_row
from mls_crm_sync.core.fields import FIELDS
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database

TODAY = Normaliser()
WITHOUT_REMARKS_IN_THE_CRM = Normaliser([replace(f, synced=f.synced and f.name != "PublicRemarks") for f in FIELDS])
WITHOUT_CITY = Normaliser([f for f in FIELDS if f.name != "City"])
OLDER = {"ModificationTimestamp": "2020-01-01T00:00:00Z"}


async def test_field_that_is_no_longer_synced_leaves_the_crm_with_the_next_reading(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing(PublicRemarks="Sunny."))
    await a_crm(db, "a")
    await a_link(db, "a")
    assert "PublicRemarks" in (await crm_row(conn, "a"))["fields"]

    result = await deliver(db, a_listing(PublicRemarks="Sunny."), normaliser=WITHOUT_REMARKS_IN_THE_CRM)

    assert "PublicRemarks" not in (await crm_row(conn, "a"))["fields"]
    assert (result.tally.unchanged, result.tally.crm_updated) == (1, 1)
    assert [change[0] for change in await history(conn)] == ["new"]


async def test_going_back_to_a_former_table_reads_the_listing_again(db: Database, conn: Connection) -> None:
    """The bytes were known under the former table, but what is stored was written under another since."""
    await deliver(db, a_listing(City="Brooklyn"))
    await deliver(db, a_listing(City="Brooklyn", **OLDER), normaliser=WITHOUT_CITY)
    assert "City" not in (await listing_row(conn))["fields"]

    await deliver(db, a_listing(City="Brooklyn"), normaliser=TODAY)

    assert (await listing_row(conn))["fields"]["City"] == "Brooklyn"
    assert [change[:2] for change in await history(conn)] == [
        ("new", None),
        ("renormalised", "City"),
        ("renormalised", "City"),
    ]


async def test_what_only_the_table_changed_is_no_change_of_the_listing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(City="Brooklyn"))
    before = (await listing_row(conn))["last_changed_at"]

    await deliver(db, a_listing(City="Brooklyn"), normaliser=WITHOUT_CITY)

    assert (await listing_row(conn))["last_changed_at"] == before
