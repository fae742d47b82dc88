"""A long delivery compares with what was read of its location once; what is written meanwhile is seen all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from making import LOCATION, SOURCE, a_crm, a_link, a_listing, a_page, deliver, history, id_of, out_of_step, without
from mls_crm_sync.core.errors import StoreUnavailable
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page
from mls_crm_sync.store import events, listings
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.purge import purge
from mls_crm_sync.sync.reader import Reader
from mls_crm_sync.sync.scope import WORTH_IT_AFTER, Scope

SIZE = 500
LONG = WORTH_IT_AFTER + 3 * SIZE
VERSION = Normaliser().version

Meanwhile = Callable[[], Awaitable[object]]


def small(number: int, **members: Any) -> bytes:
    """A record without a clock: what comes last holds."""
    return orjson.dumps(without(a_listing(f"L{number}", **members), "ModificationTimestamp"))


RECORDS = [small(number) for number in range(LONG)]


async def delivered(
    db: Database, records: list[bytes], *, after: int = 0, meanwhile: Meanwhile | None = None
) -> IngestResult:
    """Deliver records in pages, those that may be compared with what was read of the location once that is there; once
    `after` pages are written, something else happens.
    """
    read, real = asyncio.Event(), Scope.read

    async def told(*args: Any) -> Scope | None:
        try:
            return await real(*args)
        finally:
            read.set()

    async def pages() -> AsyncIterator[Page]:
        for number, begin in enumerate(range(0, len(records), SIZE), 1):
            if begin >= WORTH_IT_AFTER:
                await asyncio.wait_for(read.wait(), 10)
            if meanwhile is not None and number == after + 1:
                await meanwhile()
            yield a_page(records[begin : begin + SIZE], number)

    with patch.object(Scope, "read", told):
        return await ingest(db, Reader(SOURCE, Normaliser()), pages(), location=LOCATION, complete=True)


@pytest.fixture
async def stored(db: Database) -> Database:
    assert (await delivered(db, RECORDS)).tally.new == LONG
    return db


LAST = LONG - 1  # on the last page, which is compared with what was read before


async def test_what_was_read_once_is_not_asked_for_again(
    stored: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = listings.differing_states

    async def counted(conn: Connection, location_id: int, sighted: Any) -> Any:
        asked.append(len(sighted))
        return await real(conn, location_id, sighted)

    monkeypatch.setattr(listings, "differing_states", counted)
    result = await delivered(stored, [*RECORDS[:LAST], small(LAST, ListPrice=1)])

    assert asked == [SIZE] * (WORTH_IT_AFTER // SIZE) + [1]
    assert (result.tally.unchanged, result.tally.recognised, result.tally.changed) == (LAST, LAST, 1)
    assert await conn.fetchval("SELECT shown FROM location_passes ORDER BY pass_id DESC LIMIT 1") == LONG


async def test_delivery_does_not_wait_for_what_is_read_of_its_location(stored: Database) -> None:
    """Whoever reads it is gone with the delivery."""
    ended: list[str] = []

    async def slow(*_: object) -> Scope | None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return None

    async def pages() -> AsyncIterator[Page]:
        for number, begin in enumerate(range(0, LONG, SIZE), 1):
            assert not ended
            yield a_page(RECORDS[begin : begin + SIZE], number)

    with patch.object(Scope, "read", slow):
        result = await ingest(stored, Reader(SOURCE, Normaliser()), pages(), location=LOCATION, complete=True)

    assert (result.tally.unchanged, ended) == (LONG, ["cancelled"])


async def test_location_that_cannot_be_read_ends_the_run(stored: Database, conn: Connection) -> None:
    async def broken(*_: object) -> Scope | None:
        raise StoreUnavailable("gone")

    async def pages() -> AsyncIterator[Page]:
        for number, begin in enumerate(range(0, LONG, SIZE), 1):
            yield a_page(RECORDS[begin : begin + SIZE], number)
            await asyncio.sleep(0)

    with patch.object(Scope, "read", broken), pytest.raises(StoreUnavailable):
        await ingest(stored, Reader(SOURCE, Normaliser()), pages(), location=LOCATION, complete=True)

    assert await conn.fetchval("SELECT status FROM scraping_jobs ORDER BY run_id DESC LIMIT 1") == "partial"


def in_other_clothes(number: int, **members: Any) -> bytes:
    """The same said in another order."""
    return small(number, Appliances=["Washer", "Dryer"], **members)


@pytest.fixture
async def stored_with_lists(stored: Database) -> Database:
    last = [small(number, Appliances=["Dryer", "Washer"]) for number in range(LAST - 1, LONG)]
    assert (await delivered(stored, [*RECORDS[: LAST - 1], *last])).tally.changed == 2
    return stored


async def test_what_says_the_same_is_not_asked_for_either(
    stored_with_lists: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Connection, location_id: int, sighted: Any) -> Any:
        raise AssertionError((location_id, [*sighted]))

    noise = [in_other_clothes(LAST - 1), in_other_clothes(LAST)]
    real = listings.differing_states
    pages = WORTH_IT_AFTER // SIZE

    async def from_now_on() -> None:
        monkeypatch.setattr(listings, "differing_states", never)

    result = await delivered(stored_with_lists, [*RECORDS[: LAST - 1], *noise], after=pages, meanwhile=from_now_on)

    assert (result.tally.unchanged, result.tally.recognised) == (LONG, LONG)
    monkeypatch.setattr(listings, "differing_states", real)
    assert (await delivered(stored_with_lists, [*RECORDS[:LAST], in_other_clothes(LAST, City="X")])).tally.changed == 1


async def test_change_by_somebody_else_is_seen_in_other_clothes(stored_with_lists: Database) -> None:
    async def other() -> None:
        theirs = orjson.loads(in_other_clothes(LAST, ListPrice=7))
        assert (await deliver(stored_with_lists, theirs)).tally.changed == 1

    records = [*RECORDS[: LAST - 1], in_other_clothes(LAST - 1), in_other_clothes(LAST)]
    result = await delivered(stored_with_lists, records, after=WORTH_IT_AFTER // SIZE + 1, meanwhile=other)

    assert (result.tally.changed, result.tally.unchanged) == (1, LAST)


@pytest.mark.parametrize(
    ("which", "after"),
    [(LAST, WORTH_IT_AFTER // SIZE + 1), (LONG - SIZE, LONG // SIZE - 1)],
    ids=["long before", "as its page is looked at"],
)
async def test_change_by_somebody_else_is_seen(stored: Database, conn: Connection, which: int, after: int) -> None:
    """Taken for what was read before, the delivery's own word would be lost, and the count would say it is stored."""
    await a_crm(stored, "a")
    await a_link(stored, "a", f"L{which}")

    async def other() -> None:
        assert (await deliver(stored, orjson.loads(small(which, ListPrice=7)))).tally.changed == 1

    result = await delivered(stored, RECORDS, after=after, meanwhile=other)

    assert (result.tally.changed, result.tally.unchanged) == (1, LAST)
    told = [(previous, new) for _, name, previous, new in await history(conn, f"L{which}") if name == "ListPrice"]
    assert told == [("500000", "7"), ("7", "500000")]
    assert await out_of_step(conn) == []


async def test_purged_listing_is_filled_again(stored: Database, conn: Connection) -> None:
    result = await delivered(
        stored, RECORDS, after=WORTH_IT_AFTER // SIZE + 1, meanwhile=lambda: purge(stored, id_of(f"L{LAST}"))
    )

    assert (result.tally.new, result.tally.unchanged) == (1, LAST)
    assert await conn.fetchval("SELECT count(*) FROM mls_properties WHERE purged_at IS NOT NULL") == 0


@pytest.mark.parametrize("between", [0, 1, 2])
async def test_listing_that_comes_twice_ends_as_it_came_last(stored: Database, conn: Connection, between: int) -> None:
    """Changed and changed back, on one page, on two that follow each other, and on two with one between them."""
    first = LONG - 3 * SIZE + 1
    again = first + 1 + between * SIZE
    records = [*RECORDS[:first], small(first, ListPrice=7), *RECORDS[first + 1 :]]
    records.insert(again, small(first))

    result = await delivered(stored, records)

    assert (result.tally.changed, result.tally.unchanged) == (2, LONG - 1)
    told = [(previous, new) for _, name, previous, new in await history(conn, f"L{first}") if name == "ListPrice"]
    assert told == [("500000", "7"), ("7", "500000")]


async def test_listing_first_read_elsewhere_belongs_here_too(stored: Database, conn: Connection) -> None:
    await deliver(stored, orjson.loads(small(LONG)), location="10002")

    result = await delivered(stored, [*RECORDS, small(LONG)])

    assert (result.tally.unchanged, result.tally.new) == (LONG + 1, 0)
    where = "SELECT count(*) FROM location_listings WHERE property_id = $1"
    assert await conn.fetchval(where, id_of(f"L{LONG}")) == 2


@pytest.mark.parametrize("between", [0, SIZE])
async def test_listing_under_an_id_of_its_own_ends_as_it_came_last(
    stored: Database, conn: Connection, between: int
) -> None:
    """A push brought the id. The bytes that are stored come again, on the page of a change or on the next one."""
    own = Reader(SOURCE, Normaliser(), own_ids=True)
    pushed = a_page([orjson.dumps({**orjson.loads(small(LONG)), "property_id": "theirs"})], 1)

    async def pages() -> AsyncIterator[Page]:
        yield pushed

    assert (await ingest(stored, own, pages(), location=LOCATION)).tally.new == 1
    first = LONG - 2 * SIZE
    with_it = [*RECORDS[:first], small(LONG, ListPrice=7), *RECORDS[first:]]
    assert (await delivered(stored, with_it)).tally.changed == 1

    records = [*RECORDS[:first], small(LONG, ListPrice=8), *RECORDS[first:]]
    records.insert(first + 1 + between, small(LONG, ListPrice=7))
    result = await delivered(stored, records)

    assert (result.tally.changed, result.tally.new) == (2, 0)
    price = "SELECT fields::json ->> 'ListPrice' FROM mls_properties WHERE property_id = 'theirs'"
    assert await conn.fetchval(price) == "7"


CLOCKS = [
    None,
    datetime(2026, 3, 1, 12, tzinfo=UTC),
    datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1900, 2, 28, 1, 2, 3, 456_789, tzinfo=UTC),
    datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2, 1, 1, tzinfo=UTC),
]


async def test_database_and_we_write_what_is_stored_alike(conn: Connection) -> None:
    insert = "INSERT INTO mls_state VALUES ($1, $2, $3, $4, '', $5, $6)"
    expected, said = [], []
    for number, clock in enumerate(CLOCKS):
        an_id, digest = f"Zoë's {number}" if number % 2 else id_of(str(number)), bytes([number]) * 16
        says, version = bytes([100 + number]) * 16, str(number % 2)
        await conn.execute(insert, an_id, 5, digest, says, version, clock)
        expected.append(listings.stored_as(an_id, digest, clock))
        if version == "1":
            said.append(listings.stored_as(an_id, says, clock))
    await conn.execute(insert, "purged", 5, b"", b"", "1", None)
    await conn.execute(insert, "elsewhere", 6, bytes(16), bytes(16), "1", None)
    await conn.execute(insert, "the year 1", 5, bytes(16), bytes(16), "1", datetime.min.replace(tzinfo=UTC))
    rows = len(CLOCKS) + 2

    seq, by_digest, by_payload = await listings.stored_at(conn, 5, "1", most=rows)

    assert seq == 0
    assert sorted(by_digest) == sorted(expected)
    assert sorted(by_payload) == sorted(said)
    assert len({*by_digest}) == len(CLOCKS)
    assert await listings.stored_at(conn, 5, "1", most=rows - 1) == (0, [], [])


async def test_location_with_nothing_or_too_much_is_asked_by_the_page(
    stored: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = await conn.fetchval("SELECT location_id FROM locations")
    assert await Scope.read(stored, location + 1, VERSION) is None
    assert await Scope.read(stored, location, VERSION) is not None
    monkeypatch.setattr("mls_crm_sync.sync.scope.MAX_LISTINGS", LONG)
    assert await Scope.read(stored, location, VERSION) is not None
    monkeypatch.setattr("mls_crm_sync.sync.scope.MAX_LISTINGS", LONG - 1)
    assert await Scope.read(stored, location, VERSION) is None
    assert (await delivered(stored, RECORDS)).tally.recognised == LONG


async def test_what_was_read_is_given_up_when_as_much_has_changed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first load of a million changes all that there is: to remember that would take more memory than the run has."""
    caught_up: list[int] = []
    real = events.listings_since

    async def counted(conn: Connection, seq: int) -> tuple[int, list[str]]:
        newest, changed = await real(conn, seq)
        caught_up.append(len(changed))
        return newest, changed

    monkeypatch.setattr(events, "listings_since", counted)
    result = await delivered(db, [small(number) for number in range(4 * WORTH_IT_AFTER)])

    assert result.tally.new == 4 * WORTH_IT_AFTER
    assert WORTH_IT_AFTER - 2 * SIZE <= sum(caught_up) <= WORTH_IT_AFTER + SIZE  # two pages may be on their way
