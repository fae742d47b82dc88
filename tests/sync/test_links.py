"""Linking fills at once, unlinking freezes or gives back, and no verb of sync ever writes what the CRM owns."""

from __future__ import annotations

import pytest

from making import a_crm, a_link, a_listing, crm_row, deliver, event_log, id_of, out_of_step
from mls_crm_sync.core.errors import AlreadyLinked, CrmPropertyNotFound, ListingNotFound, NotLinked
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import links
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.purge import purge

UNSYNCED = Normaliser().unsynced


async def test_link_fills_the_fields_at_once_and_keeps_own(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a", address="One Main St", notes="mine")

    result = await a_link(db, "a")

    row = await crm_row(conn, "a")
    assert result.linked
    assert "ListPrice" in result.field_names
    assert row["fields"]["ListPrice"] == "500000"
    assert (row["own"], row["notes"]) == ({"UnparsedAddress": "One Main St"}, "mine")
    assert await out_of_step(conn) == []


async def test_same_link_again_changes_nothing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")
    before = dict(await crm_row(conn, "a"))

    assert not (await a_link(db, "a")).linked

    assert dict(await crm_row(conn, "a")) == before
    assert len(await event_log(conn, ["property.linked"])) == 1


async def test_link_elsewhere_is_refused_unless_moved(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2", ListPrice=7))
    await a_crm(db, "a")
    await a_link(db, "a", "L1")

    with pytest.raises(AlreadyLinked, match=id_of("L1")):
        await a_link(db, "a", "L2")
    await links.link(db, UNSYNCED, "a", id_of("L2"), move=True)

    assert (await crm_row(conn, "a"))["fields"]["ListPrice"] == "7"
    dates = await conn.fetch("SELECT property_id, unlinked_at IS NULL AS open FROM property_links ORDER BY link_id")
    assert [tuple(d) for d in dates] == [(id_of("L1"), False), (id_of("L2"), True)]
    told = await event_log(conn, ["property.linked", "property.unlinked", "property.synced"])
    assert [(kind, listing) for kind, listing, *_ in told[-3:]] == [
        ("property.unlinked", id_of("L1")),
        ("property.linked", id_of("L2")),
        ("property.synced", id_of("L2")),
    ]


async def test_unknown_ids_are_not_found(db: Database) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")

    with pytest.raises(CrmPropertyNotFound):
        await a_link(db, "nobody")
    with pytest.raises(ListingNotFound):
        await links.link(db, UNSYNCED, "a", "no-such-listing")
    with pytest.raises(NotLinked):
        await links.unlink(db, "a")
    with pytest.raises(NotLinked):
        await links.sync_crm_property(db, UNSYNCED, "a")


async def test_unlink_freezes_the_values_and_restore_own_gives_the_crms_back(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a", "b", address="One Main St")
    for crm_id in "ab":
        await a_link(db, crm_id)

    await links.unlink(db, "a")
    await links.unlink(db, "b", restore_own=True)
    await deliver(db, a_listing(ListPrice=1))

    a, b = await crm_row(conn, "a"), await crm_row(conn, "b")
    assert (a["mls_property_id"], a["fields"]["ListPrice"]) == (None, "500000")
    assert (b["mls_property_id"], b["fields"], b["own"]) == (None, {}, {"UnparsedAddress": "One Main St"})


async def test_row_with_a_nul_is_an_error_of_its_own(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"))
    await a_crm(db, "a", "b", "c", "d")
    rows = [
        LinkRow(2, "a", listing_key="L1"),
        LinkRow(3, "b\0", listing_key="L1"),
        LinkRow(4, "c", listing_key="L\0001"),
        LinkRow(5, "c", property_id="\0"),
        LinkRow(6, "d", listing_key="L1"),
    ]

    summary = await links.link_rows(db, UNSYNCED, rows)

    assert (summary.linked, [(e.line, e.code) for e in summary.errors]) == (
        2,
        [(line, "invalid_input") for line in (3, 4, 5)],
    )
    assert await out_of_step(conn) == []


async def test_link_file_links_what_it_can_and_reports_the_rest_by_line(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"))
    await deliver(db, a_listing("L1"), a_listing("L2"), source="other-mls")
    await a_crm(db, "a", "b", "c", "d")
    rows = [
        LinkRow(2, "a", listing_key="L2"),
        LinkRow(3, "b", listing_key="L1"),
        LinkRow(4, "c", listing_key="L9"),
        LinkRow(5, "nobody", listing_key="L2"),
        LinkRow(6, "a", listing_key="L2"),
    ]

    summary = await links.link_rows(db, UNSYNCED, rows)

    assert (summary.linked, summary.unchanged, summary.filled) == (1, 1, 1)
    assert [(e.line, e.code) for e in summary.errors] == [
        (3, "ambiguous_listing_key"),
        (4, "listing_not_found"),
        (5, "crm_property_not_found"),
    ]
    assert await out_of_step(conn) == []


async def test_sync_mends_fields_that_somebody_wrote_over(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a", "b")
    for crm_id in "ab":
        await a_link(db, crm_id)
    await conn.execute("""UPDATE crm_properties SET fields = fields || '{"ListPrice": "9"}' WHERE id = 'b'""")

    summary = await links.sync_all(db, UNSYNCED)

    assert (summary.properties, [(s.crm_id, s.field_names) for s in summary.changed]) == (
        2,
        [("b", ("ListPrice",))],
    )
    assert await out_of_step(conn) == []
    assert await links.sync_crm_property(db, UNSYNCED, "b") is None


async def test_sync_never_touches_what_the_crm_owns(db: Database, conn: Connection) -> None:
    """A trigger of this test refuses any write to a CRM-owned column; every verb of sync runs under it."""
    await deliver(db, a_listing())
    await a_crm(db, "a", "b", notes="mine", crm_status="active", tags="x;y", address="1 Main")
    for crm_id in "ab":
        await a_link(db, crm_id)
    await conn.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           RAISE EXCEPTION 'sync wrote a column of the CRM'; END $$;
           CREATE TRIGGER owned AFTER UPDATE ON crm_properties FOR EACH ROW WHEN (
               (to_jsonb(OLD) - '{fields,synced_hash,synced_at,place}'::text[])
               IS DISTINCT FROM (to_jsonb(NEW) - '{fields,synced_hash,synced_at,place}'::text[]))
           EXECUTE FUNCTION refuse()"""
    )

    await deliver(db, a_listing(ListPrice=1, City=None, StandardStatus="Pending"))
    await conn.execute("UPDATE crm_properties SET fields = '{}' WHERE id = 'b'")
    await links.sync_all(db, UNSYNCED)
    await links.sync_listing(db, UNSYNCED, id_of())
    await conn.execute("UPDATE crm_properties SET fields = '{}' WHERE id = 'b'")
    await links.sync_crm_property(db, UNSYNCED, "b")

    assert await out_of_step(conn) == []


async def test_purge_takes_the_content_and_leaves_tombstone_and_link(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(PublicRemarks="Sunny."))
    await a_crm(db, "a", notes="mine")
    await a_link(db, "a")
    await deliver(db, a_listing(PublicRemarks="Sunny and large."))

    assert await purge(db, id_of()) == 1

    row = await conn.fetchrow("SELECT fields::json, payload, purged_at FROM mls_properties")
    assert row is not None
    assert (row["fields"], row["payload"]) == ({}, None)
    assert row["purged_at"] is not None
    a = await crm_row(conn, "a")
    assert (a["fields"], a["notes"], a["mls_property_id"]) == ({}, "mine", id_of())
    assert await conn.fetchval("SELECT count(*) FROM property_changes") == 0

    again = await deliver(db, a_listing(PublicRemarks="Sunny."))

    assert (again.tally.new, again.tally.crm_updated) == (1, 1)
    assert (await crm_row(conn, "a"))["fields"]["PublicRemarks"] == "Sunny."
    with pytest.raises(ListingNotFound):
        await purge(db, "nobody")
