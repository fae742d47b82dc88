"""A listing that is over raises a proposal for its active CRM properties, and never a change of `crm_status`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from making import a_crm, a_link, a_listing, crm_row, deliver, id_of
from mls_crm_sync.core.errors import CrmPropertyNotFound, InvalidInput, NoProposal, VersionMismatch
from mls_crm_sync.core.proposals import ENDED, suggested_status
from mls_crm_sync.store import proposals as store
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import crm, links, proposals, purge

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OVER = a_listing(StandardStatus="Closed", ModificationTimestamp="2026-03-02T12:00:00Z")
BACK = a_listing(StandardStatus="Active", ModificationTimestamp="2026-03-03T12:00:00Z")
OVER_AGAIN = a_listing(StandardStatus="Closed", ModificationTimestamp="2026-03-04T12:00:00Z")


async def proposed(db: Database, **filters: Any) -> dict[str, tuple[str, str | None]]:
    rows = await proposals.page(db, **filters)
    return {row["crm_property_id"]: (row["reason"], row["standard_status"]) for row in rows}


async def a_linked(db: Database, *crm_ids: str, status: str = "active") -> None:
    await a_crm(db, *crm_ids, crm_status=status, notes="mine")
    for crm_id in crm_ids:
        await a_link(db, crm_id)


@pytest.fixture
async def ended(db: Database) -> Database:
    """Return a database in which the listing of the active property `c1` has closed."""
    await deliver(db, a_listing())
    await a_linked(db, "c1")
    await deliver(db, OVER)
    return db


async def test_closed_listing_is_proposed_and_nothing_of_the_crms_changes(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_linked(db, "c1")
    await a_linked(db, "c2", status="archived")
    await a_crm(db, "c3", crm_status="active")
    assert await proposed(db) == {}
    before = await crm_row(conn, "c1")

    await deliver(db, OVER)

    assert await proposed(db) == {"c1": ("ended", "Closed")}
    after = await crm_row(conn, "c1")
    assert (after["crm_status"], after["notes"], after["version"]) == ("active", "mine", before["version"])
    assert after["fields"]["StandardStatus"] == "Closed"
    async with db.connection() as one:
        assert await store.count_open(one, ENDED) == 1


@pytest.mark.parametrize(
    ("status", "suggested"),
    [
        ("Closed", "closed"),
        ("Expired", "expired"),
        ("Canceled", "canceled"),
        ("Withdrawn", "withdrawn"),
        ("Delete", "off_market"),
        *((status, None) for status in ("Pending", "Hold", "Active Under Contract", "Coming Soon", "Incomplete")),
    ],
)
async def test_statuses_under_which_a_listing_is_over(db: Database, status: str, suggested: str | None) -> None:
    await deliver(db, a_listing())
    await a_linked(db, "c1")
    await deliver(db, a_listing(StandardStatus=status, ModificationTimestamp="2026-03-02T12:00:00Z"))
    assert [suggested_status(row["standard_status"]) for row in await proposals.page(db)] == (
        [] if suggested is None else [suggested]
    )


async def test_absent_listing_is_proposed_with_its_evidence_and_no_more_once_it_is_back(db: Database) -> None:
    await deliver(db, a_listing(), a_listing("L2"), complete=True)
    await a_linked(db, "c1")
    for _ in range(2):
        await deliver(db, a_listing("L2"), complete=True)
        assert await proposed(db) == {}, "missing is not proven"
    await deliver(db, a_listing("L2"), complete=True)

    (row,) = await proposals.page(db)
    assert (row["reason"], row["evidence"]["rule"], row["evidence"]["passes"]) == ("absent", "no_lookup", 3)
    assert suggested_status(row["standard_status"]) == "off_market"
    assert await proposed(db, reason="ended") == {}

    await deliver(db, a_listing(), location="elsewhere")
    assert await proposed(db) == {}


async def test_accepting_sets_crm_status_and_nothing_else(ended: Database, conn: Connection) -> None:
    before = dict(await crm_row(conn, "c1"))

    done = await proposals.accept(ended, "c1")

    after = dict(await crm_row(conn, "c1"))
    assert (
        (done.crm_status, done.version) == ("closed", before["version"] + 1) == (after["crm_status"], after["version"])
    )
    moved = {"crm_status", "version", "updated_at"}
    assert {n: v for n, v in after.items() if n not in moved} == {n: v for n, v in before.items() if n not in moved}
    assert await proposed(ended, dismissed=True) == {}
    with pytest.raises(NoProposal):
        await proposals.accept(ended, "c1")


async def test_person_may_say_another_status(ended: Database, conn: Connection) -> None:
    assert (await proposals.accept(ended, "c1", crm_status="sold")).crm_status == "sold"
    assert (await crm_row(conn, "c1"))["crm_status"] == "sold"


@pytest.mark.parametrize("status", ["", "active", "\x00"])
async def test_status_that_decides_nothing_is_refused(ended: Database, conn: Connection, status: str) -> None:
    with pytest.raises(InvalidInput, match="dismiss"):
        await proposals.accept(ended, "c1", crm_status=status)
    assert (await crm_row(conn, "c1"))["crm_status"] == "active"


async def test_dismissed_stays_away_until_the_listing_ends_another_time(ended: Database) -> None:
    await proposals.dismiss(ended, "c1", by="Dana", note="sold by us, kept for the photos")
    assert await proposed(ended) == {}
    (row,) = await proposals.page(ended, dismissed=True)
    assert (row["dismissed"], row["dismissed_by"], row["note"]) == (True, "Dana", "sold by us, kept for the photos")

    await deliver(ended, {**OVER, "ListPrice": 1, "ModificationTimestamp": "2026-03-02T18:00:00Z"})
    assert await proposed(ended) == {}, "another fact of the same closed listing"

    await deliver(ended, BACK)
    assert await proposed(ended, dismissed=True) == {}
    await deliver(ended, OVER_AGAIN)
    assert await proposed(ended) == {"c1": ("ended", "Closed")}


async def test_dismissal_of_a_closed_listing_holds_when_it_is_not_shown_any_more(db: Database) -> None:
    await deliver(db, a_listing(), a_listing("L2"), complete=True)
    await a_linked(db, "c1")
    await deliver(db, OVER, a_listing("L2"), complete=True)
    await proposals.dismiss(db, "c1", by="Dana")
    for _ in range(3):
        await deliver(db, a_listing("L2"), complete=True)
    assert await proposed(db) == {}


async def test_dismissal_is_of_one_listing_and_one_property(db: Database) -> None:
    closed = {"StandardStatus": "Closed"}
    await deliver(db, a_listing(**closed), a_listing("L2", **closed))
    await a_linked(db, "c1", "c2")
    await proposals.dismiss(db, "c1", by="Dana")
    assert await proposed(db) == {"c2": ("ended", "Closed")}

    await links.link(db, (), "c1", id_of("L2"), move=True)
    assert sorted(await proposed(db)) == ["c1", "c2"]


async def test_override_by_which_it_is_not_over_is_somebodys_word(ended: Database) -> None:
    await crm.edit(ended, "c1", crm.Edit(overrides={"StandardStatus": crm.Override("Active")}), now=NOW)
    assert await proposed(ended) == {}
    await crm.edit(ended, "c1", crm.Edit(overrides={"StandardStatus": crm.Override("Expired")}), now=NOW)
    assert await proposed(ended) == {"c1": ("ended", "Closed")}


async def test_purge_proves_nothing(ended: Database) -> None:
    await purge.purge(ended, id_of())
    assert await proposed(ended) == {}


async def test_deleted_property_takes_its_dismissal_along(ended: Database, conn: Connection) -> None:
    await proposals.dismiss(ended, "c1", by="Dana")
    await crm.delete(ended, "c1")
    assert await conn.fetchval("SELECT count(*) FROM proposal_dismissals") == 0


async def test_what_is_not_proposed_cannot_be_decided(db: Database) -> None:
    await deliver(db, a_listing())
    await a_linked(db, "c1")
    with pytest.raises(NoProposal):
        await proposals.accept(db, "c1")
    with pytest.raises(NoProposal):
        await proposals.dismiss(db, "c1", by="Dana")
    with pytest.raises(CrmPropertyNotFound):
        await proposals.accept(db, "nobody")


async def test_version_that_was_read_has_to_be_there_still(ended: Database, conn: Connection) -> None:
    version = (await crm_row(conn, "c1"))["version"]
    with pytest.raises(VersionMismatch):
        await proposals.accept(ended, "c1", versions={version - 1})
    with pytest.raises(VersionMismatch):
        await proposals.dismiss(ended, "c1", by="Dana", versions=set())
    await proposals.accept(ended, "c1", versions={version})


async def test_of_two_people_one_decides(ended: Database, conn: Connection) -> None:
    said = await asyncio.gather(
        proposals.accept(ended, "c1", crm_status="sold"),
        proposals.accept(ended, "c1", crm_status="archived"),
        return_exceptions=True,
    )
    (kept,) = (one for one in said if isinstance(one, proposals.Accepted))
    (refused,) = (one for one in said if one is not kept)
    assert isinstance(refused, NoProposal)
    assert (await crm_row(conn, "c1"))["crm_status"] == kept.crm_status


async def test_pages_follow_each_other(db: Database) -> None:
    await deliver(db, a_listing(StandardStatus="Closed"))
    ids = [f"c{n:02}" for n in range(7)]
    await a_linked(db, *ids)
    await proposals.dismiss(db, "c03", by="Dana")
    found: list[str] = []
    while page := await proposals.page(db, after=found[-1] if found else "", limit=2):
        found += [row["crm_property_id"] for row in page]
    assert found == [one for one in ids if one != "c03"]
    assert await proposed(db, platform="another") == {}


async def test_held_listing_proves_nothing(db: Database) -> None:
    many = [a_listing(f"M{n:02}") for n in range(30)]
    await deliver(db, a_listing(), *many, complete=True)
    await a_linked(db, "c1")
    for _ in range(3):
        await deliver(db, *many[:15], complete=True)
    assert await proposed(db) == {}


async def test_replay_is_no_other_time(ended: Database, conn: Connection) -> None:
    """What an upgrade alone writes into the history says nothing of the market."""
    await proposals.dismiss(ended, "c1", by="Dana")
    await conn.execute(
        "INSERT INTO property_changes (property_id, run_id, type, field_name, previous_value, new_value)"
        " VALUES ($1, 0, 'renormalised', 'StandardStatus', '\"Sold\"', '\"Closed\"')",
        id_of(),
    )
    assert await proposed(ended) == {}
