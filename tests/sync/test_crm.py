"""What the CRM says of its own: import, edit, delete, and what a reader gets of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from making import a_crm, a_link, a_listing, crm_row, deliver
from mls_crm_sync.core.errors import CrmPropertyNotFound, InvalidInput, VersionMismatch
from mls_crm_sync.core.ownership import Owner, compare, effective
from mls_crm_sync.store import crm_properties
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import crm
from mls_crm_sync.sync.crm import Edit, ImportSummary, Override

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TWELVE_HOURS = timedelta(hours=12)


async def the_import(db: Database, *rows: Mapping[str, str], platform: str = "default") -> ImportSummary:
    header = list(rows[0])
    return await crm.import_rows(db, header, enumerate(rows, start=2), platform=platform)


async def sync_status(conn: Connection, crm_id: str = "a", *, stale_after: timedelta = TWELVE_HOURS) -> str:
    return str((await crm_properties.get(conn, crm_id, stale_after=stale_after))["sync_status"])


async def test_import_puts_facts_under_reso_names_and_the_rest_in_its_columns(db: Database, conn: Connection) -> None:
    summary = await the_import(
        db,
        {"id": "a", "crm_status": "active", "address": "969 64Th   Street", "unit": "Apt #1", "city": "Brooklyn",
         "state": "NY", "zip": "11219", "mls_number": "NY1", "notes": "=SUM(A1)", "assigned_agent": "Dana",
         "tags": "hot; new", "region": "North"},
    )  # fmt: skip

    row = await crm_row(conn, "a")
    assert (summary.made, summary.custom_columns) == (1, ("region",))
    assert row["own"] == {
        "UnparsedAddress": "969 64Th   Street", "UnitNumber": "Apt #1", "City": "Brooklyn", "StateOrProvince": "NY",
        "PostalCode": "11219", "ListingId": "NY1",
    }  # fmt: skip
    assert (row["crm_status"], row["notes"], row["tags"], row["custom"]) == (
        "active",
        "=SUM(A1)",
        ["hot", "new"],
        {"region": "North"},
    )


async def test_import_again_sets_its_columns_and_keeps_the_others(db: Database, conn: Connection) -> None:
    await the_import(db, {"id": "a", "notes": "mine", "city": "Brooklyn", "zip": "11219", "region": "North"})

    summary = await the_import(db, {"id": "a", "crm_status": "active", "city": ""})

    row = await crm_row(conn, "a")
    assert (summary.made, summary.changed) == (0, 1)
    assert (row["notes"], row["crm_status"], row["own"], row["custom"]) == (
        "mine",
        "active",
        {"PostalCode": "11219"},
        {"region": "North"},
    )


async def test_import_that_says_nothing_new_writes_nothing(db: Database, conn: Connection) -> None:
    await the_import(db, {"id": "a", "notes": "mine", "city": "Brooklyn"})
    before = dict(await crm_row(conn, "a"))

    assert (await the_import(db, {"id": "a", "notes": "mine", "city": "Brooklyn"})).unchanged == 1
    assert dict(await crm_row(conn, "a")) == before


async def test_import_reports_bad_rows_by_line_and_takes_the_others(db: Database, conn: Connection) -> None:
    await the_import(db, {"id": "theirs", "notes": "theirs"}, platform="other-crm")

    summary = await the_import(
        db,
        {"id": "a", "ListPrice": "1"},
        {"id": "", "ListPrice": "1"},
        {"id": "theirs", "ListPrice": "1"},
        {"id": "b", "ListPrice": "a lot"},
        {"id": "a", "ListPrice": "2"},
    )

    assert [(e.line, e.code) for e in summary.errors] == [
        (3, "invalid_input"), (4, "id_taken"), (5, "invalid_input"), (6, "invalid_input"),
    ]  # fmt: skip
    assert summary.made == 1
    assert (await crm_row(conn, "theirs"))["own"] == {}


async def test_import_without_an_id_column_is_refused(db: Database) -> None:
    with pytest.raises(InvalidInput, match="id"):
        await the_import(db, {"notes": "x"})


async def test_import_of_a_linked_property_leaves_its_mls_facts_alone(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")
    before = (await crm_row(conn, "a"))["fields"]

    await the_import(db, {"id": "a", "city": "Elsewhere", "ListPrice": "1"})

    row = await crm_row(conn, "a")
    assert row["fields"] == before
    assert effective(row["own"], row["fields"], row["overrides"])["City"] == "New York"


async def test_override_wins_until_it_is_removed_and_the_mls_goes_on_beneath(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")

    await crm.edit(db, "a", Edit(overrides={"ListPrice": Override("1,000", by="dana", reason="agreed")}), now=NOW)
    row = await crm_row(conn, "a")
    assert compare(row["own"], row["fields"], row["overrides"])["ListPrice"].owner is Owner.OVERRIDE
    assert row["override_details"]["ListPrice"]["mls_value"] == "500000"
    assert await sync_status(conn) == "overridden"

    await deliver(db, a_listing(ListPrice=450000))
    row = await crm_row(conn, "a")
    assert (row["overrides"], row["fields"]["ListPrice"]) == ({"ListPrice": "1000"}, "450000")
    assert await sync_status(conn) == "conflict"

    await crm.edit(db, "a", Edit(overrides={"ListPrice": Override(None)}), now=NOW)
    assert await sync_status(conn) == "synced"


async def test_override_made_before_there_was_a_link_is_in_conflict_with_nothing(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await crm.edit(db, "a", Edit(overrides={"ListPrice": Override("1")}), now=NOW)

    await a_link(db, "a")

    assert await sync_status(conn) == "overridden"
    assert "mls_value" not in (await crm_row(conn, "a"))["override_details"]["ListPrice"]


async def test_override_of_a_value_that_the_mls_does_not_say_is_in_conflict_once_it_does(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")
    await crm.edit(db, "a", Edit(overrides={"YearBuilt": Override("1900")}), now=NOW)
    assert await sync_status(conn) == "overridden"

    await deliver(db, a_listing(YearBuilt=1901))

    assert await sync_status(conn) == "conflict"


async def test_expired_override_is_as_if_it_were_not_there(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")

    past = Override("1", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    await crm.edit(db, "a", Edit(overrides={"ListPrice": past}), now=NOW)

    row = await crm_properties.get(conn, "a", stale_after=TWELVE_HOURS)
    assert (row["sync_status"], row["overrides"]) == ("synced", {})


async def test_edit_with_an_old_version_is_refused_and_changes_nothing(db: Database, conn: Connection) -> None:
    await a_crm(db, "a", notes="first")
    version = await crm.edit(db, "a", Edit({"notes": "second"}, version=1), now=NOW)

    with pytest.raises(VersionMismatch):
        await crm.edit(db, "a", Edit({"notes": "third"}, version=1), now=NOW)

    assert (version, (await crm_row(conn, "a"))["notes"]) == (2, "second")


@pytest.mark.parametrize(
    "change",
    [
        Edit({"fields": {}}),
        Edit({"mls_property_id": "x"}),
        Edit({"notes": 1}),
        Edit(own={"NoSuchField": "x"}),
        Edit(overrides={"DaysOnMarket": Override("1")}),
        Edit(overrides={"ListPrice": Override("a lot")}),
    ],
)
async def test_edit_of_what_the_crm_does_not_own_is_refused(db: Database, change: Edit) -> None:
    await a_crm(db, "a")

    with pytest.raises(InvalidInput):
        await crm.edit(db, "a", change, now=NOW)


async def test_sync_status_is_the_first_that_holds(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    assert await sync_status(conn) == "not_linked"

    await a_link(db, "a")
    assert await sync_status(conn) == "synced"
    assert await sync_status(conn, stale_after=timedelta(microseconds=1)) == "stale"

    await conn.execute("UPDATE mls_properties SET absence_state = 'absent'")
    assert await sync_status(conn) == "gone"


async def test_listing_that_passes_no_longer_show_was_last_seen_by_the_last_that_did(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"))
    await a_crm(db, "a", "b")
    await a_link(db, "a", "L1")
    await a_link(db, "b", "L2")
    await conn.execute("UPDATE mls_properties SET last_changed_at = last_changed_at - interval '2 days'")
    await conn.execute("UPDATE locations SET last_pass_at = last_pass_at - interval '1 day'")
    assert await sync_status(conn, "b") == "stale"

    await deliver(db, a_listing("L1"))

    assert (await sync_status(conn, "a"), await sync_status(conn, "b")) == ("synced", "stale")
    await deliver(db, a_listing("L2"))
    assert (await sync_status(conn, "a"), await sync_status(conn, "b")) == ("synced", "synced")


async def test_deleted_property_is_gone_and_its_link_is_closed(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")

    await crm.delete(db, "a")

    assert await conn.fetchval("SELECT count(*) FROM property_links WHERE unlinked_at IS NULL") == 0
    assert (await deliver(db, a_listing(ListPrice=1))).tally.crm_updated == 0
    with pytest.raises(CrmPropertyNotFound):
        await crm.delete(db, "a")


def test_a_value_shows_its_owner_and_what_stands_behind_it() -> None:
    own: dict[str, Any] = {"City": "Bklyn"}

    shown = compare(own, {"City": "Brooklyn", "ListPrice": "2"}, {"ListPrice": "1"})

    assert (shown["City"].value, shown["City"].owner, shown["City"].hidden) == (
        "Brooklyn",
        Owner.MLS,
        {Owner.CRM: "Bklyn"},
    )
    assert (shown["ListPrice"].value, shown["ListPrice"].hidden) == ("1", {Owner.MLS: "2"})


async def test_import_knows_columns_by_their_usual_spellings(db: Database, conn: Connection) -> None:
    header = ["ID", "CRM Status", "Zip Code", "MLS #", "Street", "price", "DaysOnMarket", "list price"]
    row = dict(zip(header, ["a", "active", "11216", "RLS1", "Main", "5", "12", "$1,000"], strict=True))

    summary = await crm.import_rows(db, header, [(2, row)])

    assert (summary.made, summary.errors) == (1, [])
    made = await crm_row(conn, "a")
    assert made["crm_status"] == "active"
    assert made["own"] == {"PostalCode": "11216", "ListingId": "RLS1", "ListPrice": "1000"}
    assert made["custom"] == {"Street": "Main", "price": "5", "DaysOnMarket": "12"}


async def test_import_takes_the_plainer_of_two_columns_and_keeps_the_other(db: Database, conn: Connection) -> None:
    await crm.import_rows(db, ["id", "zip", "Zip Code"], [(2, {"id": "a", "zip": "11216", "Zip Code": "11217"})])

    made = await crm_row(conn, "a")
    assert (made["own"], made["custom"]) == ({"PostalCode": "11216"}, {"Zip Code": "11217"})


async def test_import_refuses_two_columns_that_say_the_same_thing_as_plainly(db: Database) -> None:
    with pytest.raises(InvalidInput, match=r"'zip' and 'PostalCode' are both PostalCode"):
        await crm.import_rows(db, ["id", "zip", "PostalCode"], [])
