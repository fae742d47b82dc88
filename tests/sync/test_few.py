"""A page of a few records whose listings are stored: looked at under their locks, nothing is asked for before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from making import LOCATION, SOURCE, a_crm, a_link, a_listing, a_page, crm_row, deliver, history, id_of, out_of_step
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page, Rejected
from mls_crm_sync.store import listings, runs
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import FEW, ingest
from mls_crm_sync.sync.reader import Reader


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many listings something was asked for beside their locks: their states before, the rest of them after."""
    times: list[int] = []
    states, stored = listings.differing_states, listings.read_stored

    async def differing_states(conn: Connection, location_id: int, sighted: Any) -> Any:
        times.append(len(sighted))
        return await states(conn, location_id, sighted)

    async def read_stored(conn: Connection, version: str, property_ids: Collection[str]) -> Any:
        times.extend([len(property_ids)] if property_ids else [])
        return await stored(conn, version, property_ids)

    monkeypatch.setattr(listings, "differing_states", differing_states)
    monkeypatch.setattr(listings, "read_stored", read_stored)
    return times


def some(count: int, **members: Any) -> list[dict[str, Any]]:
    return [a_listing(f"L{number}", **members) for number in range(count)]


@pytest.mark.parametrize(("records", "times"), [(FEW, []), (FEW + 1, [FEW + 1, FEW + 1])])
async def test_few_are_not_asked_for_before(db: Database, asked: list[int], records: int, times: list[int]) -> None:
    await deliver(db, *some(FEW + 1))
    asked.clear()

    result = await deliver(db, *some(records, ListPrice=7))

    assert (result.tally.changed, asked) == (records, times)


async def test_what_is_stored_is_recognised_under_its_lock(db: Database, conn: Connection, asked: list[int]) -> None:
    await deliver(db, *some(3))
    asked.clear()

    result = await deliver(db, *some(2, DaysOnMarket=11), a_listing("L2", ListPrice=7))

    assert (result.tally.recognised, result.tally.changed, asked) == (2, 1, [])
    assert await history(conn, "L2") == [("new", None, None, None), ("price", "ListPrice", "500000", "7")]


async def test_new_listing_among_few_is_found_before_anything_is_locked_for_it(
    db: Database, conn: Connection, asked: list[int]
) -> None:
    await deliver(db, a_listing("L0"))
    asked.clear()
    await a_crm(db, "a")
    await a_link(db, "a", "L0")

    result = await deliver(db, *some(2, ListPrice=7))

    assert (result.tally.new, result.tally.changed, result.tally.crm_updated, asked) == (1, 1, 1, [2, 1])
    assert (await crm_row(conn, "a"))["fields"]["ListPrice"] == "7"
    assert await out_of_step(conn) == []


@pytest.mark.parametrize("twice", [False, True])
async def test_listing_that_comes_twice_is_taken_in_its_order(db: Database, conn: Connection, *, twice: bool) -> None:
    await deliver(db, a_listing())
    records = [a_listing(ListPrice=price) for price in ((6, 7) if twice else (7,))]

    result = await deliver(db, *records)

    assert result.tally.changed == len(records)
    assert [step[2:] for step in await history(conn) if step[0] == "price"] == (
        [("500000", "6"), ("6", "7")] if twice else [("500000", "7")]
    )


async def test_larger_page_behind_few_is_compared_with_what_they_made(db: Database, conn: Connection) -> None:
    """It is looked at while they are being written."""
    everybody = some(FEW + 1)
    await deliver(db, *everybody)

    async def pages() -> AsyncIterator[Page]:
        yield a_page([a_listing("L0", ListPrice=7)], 1)
        yield a_page(everybody, 2)

    async with conn.transaction():
        await listings.lock(conn, {id_of("L0"): None})
        ingesting = asyncio.create_task(ingest(db, Reader(SOURCE, Normaliser()), pages(), location=LOCATION))
        await asyncio.sleep(0.3)
    result = await ingesting

    assert (result.tally.changed, result.tally.unchanged) == (2, FEW)
    assert [step[2:] for step in (await history(conn, "L0"))[1:]] == [("500000", "7"), ("7", "500000")]


async def test_pages_are_numbered_without_a_gap_and_what_is_no_record_is_set_aside_once(
    db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one of few turned out to be new, and the page was looked at again."""
    await deliver(db, *some(2))
    numbers: list[int] = []
    real = runs.advance

    async def noted(conn: Connection, held: runs.Hold, *, page: int, **how: Any) -> None:
        numbers.append(page)
        await real(conn, held, page=page, **how)

    async def pages() -> AsyncIterator[Page]:
        for number, records in enumerate((some(1, ListPrice=7), some(3, ListPrice=7), some(3, ListPrice=8)), start=1):
            page = a_page(records, number)
            rejected = (Rejected(len(records) + 1, "malformed", "no JSON", b"{" * number),)
            yield Page(number, page.records, rejected, bytes_read=0, checkpoint={"page": number})

    monkeypatch.setattr(runs, "advance", noted)
    result = await ingest(db, Reader(SOURCE, Normaliser()), pages(), location=LOCATION)

    assert numbers == [1, 2, 3]
    assert (result.tally.read, result.tally.new, result.tally.quarantined) == (10, 1, 3)
    assert await conn.fetchval("SELECT count(*) FROM quarantined_records WHERE times = 1") == 3


async def test_older_normaliser_s_listings_reach_the_crm_beside_those_that_changed(
    db: Database, conn: Connection
) -> None:
    """What is copied to the CRM may be another part of the same facts: by the locks of all, in one order."""
    await deliver(db, *some(2))
    await a_crm(db, "a", "b")
    await a_link(db, "a", "L1")
    await a_link(db, "b", "L0")
    older = "UPDATE mls_state SET norm_version = 'an older one', digest = '' WHERE property_id = $1"
    await conn.execute(older, id_of("L1"))
    await conn.execute("""UPDATE crm_properties SET fields = fields || '{"Internal": "1"}' WHERE id = 'a'""")

    result = await deliver(db, a_listing("L0", ListPrice=7), a_listing("L1"))

    assert (result.tally.changed, result.tally.crm_updated) == (1, 2)
    assert await out_of_step(conn) == []
    told = await conn.fetch(
        "SELECT crm_property_id FROM events WHERE type = 'property.synced' ORDER BY seq DESC LIMIT 2"
    )
    assert [row[0] for row in told] == ["b", "a"]
