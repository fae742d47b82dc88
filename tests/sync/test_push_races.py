"""Pushes that bring ids of their own beside other writers of the same listings: nobody's facts end under another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from making import SOURCE, a_listing, deliver, id_of
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.purge import purge
from mls_crm_sync.sync.push import PushResult, push

T = TypeVar("T")


async def a_push(db: Database, *records: dict[str, Any], location: str = "here") -> PushResult:
    return await push(db, Normaliser(), list(records), source=SOURCE, location=location)


async def beside(db: Database, conn: Connection, writes: Awaitable[T], property_id: str, key: str) -> T:
    """Let `writes` begin while another transaction, seen by nobody, has made a listing; then let that commit."""
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute(
        "INSERT INTO mls_state (property_id, location_id, digest, payload_digest, content_hash, norm_version)"
        " VALUES ($1, 1, '', '', '', '')", property_id,
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO mls_properties (property_id, source, source_key, fields) VALUES ($1, $2, $3, $4)",
        property_id, SOURCE, key, '{"ListPrice":"1"}',
    )  # fmt: skip
    task = asyncio.ensure_future(writes)
    try:
        async with asyncio.timeout(10):
            await _until_somebody_waits(db)
    finally:
        await transaction.commit()
    return await task


async def _until_somebody_waits(db: Database) -> None:
    query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with db.connection() as other:
        while not await other.fetch(query):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)


async def stored(conn: Connection) -> dict[str, tuple[str, str | None]]:
    rows = await conn.fetch("SELECT property_id, source_key, fields::json ->> 'ListPrice' AS price FROM mls_properties")
    return {row["property_id"]: (row["source_key"], row["price"]) for row in rows}


async def test_id_that_another_listing_got_meanwhile_is_taken(db: Database, conn: Connection) -> None:
    result = await beside(db, conn, a_push(db, a_listing("K2", property_id="X")), "X", "K1")

    assert [error.code for error in result.quarantined] == ["id_taken"]
    assert await stored(conn) == {"X": ("K1", "1")}
    assert await conn.fetchval("SELECT count(*) FROM property_changes") == 0


async def test_key_that_got_another_id_meanwhile_keeps_it(db: Database, conn: Connection) -> None:
    result = await beside(db, conn, a_push(db, a_listing("K1", property_id="Y"), a_listing("K2")), "X", "K1")

    assert (result.run.tally.new, result.run.tally.changed, result.quarantined) == (1, 1, [])
    assert await stored(conn) == {"X": ("K1", "500000"), id_of("K2"): ("K2", "500000")}
    assert await conn.fetchval("SELECT count(*) FROM mls_state") == 2


async def test_file_beside_a_push_finds_the_listing_under_the_pushed_id(db: Database, conn: Connection) -> None:
    result = await beside(db, conn, deliver(db, a_listing("K1"), a_listing("K2")), "X", "K1")

    assert (result.tally.new, result.tally.changed, result.tally.quarantined) == (1, 1, 0)
    assert await stored(conn) == {"X": ("K1", "500000"), id_of("K2"): ("K2", "500000")}


async def test_pushes_at_once_never_mix_listings_up(db: Database, conn: Connection) -> None:
    """Each brings 60 listings; the same ids for other keys, or the same keys under other ids."""
    numbers = range(60)
    same_ids = [[a_listing(f"{who}{n}", property_id=f"id{n}", ListingId=f"{who}{n}") for n in numbers] for who in "ABC"]
    same_keys = [
        [a_listing(f"S{n}", property_id=f"{who}-{n}", ListingId=f"S{n}") for n in order]
        for who, order in (("p", numbers), ("q", reversed(numbers)), ("r", sorted(numbers, key=str)))
    ]

    await asyncio.gather(*(a_push(db, *each, location=f"l{n}") for n, each in enumerate(same_ids + same_keys)))

    mixed = "SELECT count(*) FROM mls_properties WHERE source_key IS DISTINCT FROM fields::json ->> 'ListingId'"
    assert await conn.fetchval(mixed) == 0
    assert await conn.fetchval("SELECT count(*) FROM mls_properties WHERE property_id ~ '^id'") == 60
    assert await conn.fetchval("SELECT count(*) FROM mls_properties WHERE source_key ~ '^S'") == 60
    assert await conn.fetchval("SELECT count(*) FROM mls_state FULL JOIN mls_properties USING (property_id)") == 120


async def test_pushed_id_whose_listing_was_purged_is_filled_again(db: Database, conn: Connection) -> None:
    await a_push(db, a_listing("K1", property_id="X"))
    await purge(db, "X")

    result = await a_push(db, a_listing("K1", property_id="X"))

    assert (result.run.tally.new, result.quarantined) == (1, [])
    assert await stored(conn) == {"X": ("K1", "500000")}
