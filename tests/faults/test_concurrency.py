"""Writers beside each other: no update lost, no deadlock that surfaces, in step at every moment anybody looks.

A watcher compares each linked CRM property with its listing in one snapshot, again and again while the others write.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from making import (
    LOCATION,
    SOURCE,
    a_crm,
    a_link,
    a_listing,
    crm_row,
    deliver,
    history,
    id_of,
    listing_row,
    out_of_step,
    paged,
)
from mls_crm_sync.core.errors import AlreadyLinked, CrmPropertyNotFound, NotLinked, VersionMismatch
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import crm_properties, events, listings
from mls_crm_sync.store.database import Connection, Database, connect
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync import ingest as ingesting
from mls_crm_sync.sync.crm import Edit
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.reader import Reader

UNSYNCED = Normaliser().unsynced
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LISTINGS = 60
_HOURS = timedelta(hours=12)


@pytest.fixture(autouse=True, params=[0, 10], ids=["looked_at_before", "looked_at_under_locks"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which a page is looked at: up to so many records are under the locks of their listings."""
    monkeypatch.setattr(ingesting, "FEW", request.param)


def seeded() -> random.Random:
    seed = int(os.environ.get("CONCURRENCY_SEED", random.randrange(10**6)))
    print(f"CONCURRENCY_SEED={seed}")  # noqa: T201 - replays it
    return random.Random(seed)


def day(number: int, rng: random.Random) -> list[dict[str, Any]]:
    """One delivery: every listing, a third of them new in price, in any order."""
    records = [
        a_listing(
            f"L{n}",
            ListPrice=100_000 + 1_000 * number if n % 3 == number % 3 else 100_000 + n,
            ModificationTimestamp=f"2026-03-{1 + number:02d}T12:00:00Z",
        )
        for n in range(LISTINGS)
    ]
    rng.shuffle(records)
    return records


async def take(db: Database, records: list[dict[str, Any]], location: str = LOCATION) -> None:
    result = await ingest(db, Reader(SOURCE, Normaliser()), paged(records, 7), location=location)
    assert result.status == "succeeded"


@contextlib.asynccontextmanager
async def watched(dsn: str) -> AsyncIterator[dict[str, int]]:
    """Look at the invariant from outside while the body runs; `looks` counts."""
    seen, done = {"looks": 0, "seq": 0, "events": 0}, asyncio.Event()

    async def watch() -> None:
        conn = await connect(dsn)
        try:
            while not done.is_set():
                assert await out_of_step(conn) == []
                for event in await events.after(conn, seen["seq"], limit=1000):
                    assert event["seq"] > seen["seq"]
                    seen["seq"], seen["events"] = event["seq"], seen["events"] + 1
                seen["looks"] += 1
        finally:
            await conn.close()

    watcher = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        done.set()
        await watcher


async def test_overlapping_ingests_end_with_the_newest_revision_of_each_listing(
    db: Database, conn: Connection, database_dsn: str
) -> None:
    rng = seeded()
    await deliver(db, *day(0, rng))
    await a_crm(db, *(f"c{n}" for n in range(LISTINGS)))
    for n in range(LISTINGS):
        await a_link(db, f"c{n}", f"L{n}")

    async with watched(database_dsn) as seen:
        for first in (1, 4, 7):
            await asyncio.gather(*(take(db, day(first + k, rng), location=f"place {k % 2}") for k in range(3)))

    newest = {record["ListingKey"]: record for record in day(9, rng)}
    for key, record in newest.items():
        row = await listing_row(conn, key)
        assert (row["fields"]["ListPrice"], row["source_modified_at"].day) == (str(record["ListPrice"]), 10)
        told = [change[3] for change in await history(conn, key) if change[1] == "ListPrice"]
        before = [change[2] for change in await history(conn, key) if change[1] == "ListPrice"]
        assert before[1:] == told[:-1], "each change begins where the one before it ended"
        assert not told or told[-1] == row["fields"]["ListPrice"]
    assert await out_of_step(conn) == []
    assert seen["looks"] > 5
    assert seen["events"] == await conn.fetchval("SELECT count(*) FROM events WHERE seq <= $1", seen["seq"])


async def test_same_new_listings_from_two_ingests_at_once_are_made_once(db: Database, conn: Connection) -> None:
    rng = seeded()

    await asyncio.gather(*(take(db, day(0, rng), location=f"place {k}") for k in range(4)))

    assert await conn.fetchval("SELECT count(*) FROM property_changes") == LISTINGS
    assert await conn.fetchval("SELECT count(*) FROM events") == LISTINGS
    assert await conn.fetchval("SELECT count(*) FROM location_listings") == 4 * LISTINGS


async def link_at_random(db: Database, r: random.Random) -> None:
    for _ in range(60):
        crm_id, key = f"c{r.randrange(20)}", f"L{r.randrange(LISTINGS)}"
        with contextlib.suppress(AlreadyLinked, NotLinked):
            if r.random() < 0.6:
                await links.link(db, UNSYNCED, crm_id, id_of(key), move=r.random() < 0.7)
            else:
                await links.unlink(db, crm_id, restore_own=r.random() < 0.5)


async def edit_at_random(db: Database, r: random.Random, edits: dict[str, int]) -> None:
    """Count up in the CRM property, by the version that was read; what was refused does not count."""
    for _ in range(60):
        crm_id = f"c{r.randrange(20)}"
        async with db.connection() as conn:
            row = await crm_properties.get(conn, crm_id, stale_after=_HOURS)
        count = int(row["custom"].get("edits", 0)) + 1
        with contextlib.suppress(VersionMismatch):
            await crm.edit(db, crm_id, Edit({"custom": {"edits": count}}, version=row["version"]), now=NOW)
            edits[crm_id] += 1


async def test_links_and_edits_beside_an_ingest_lose_nothing(db: Database, conn: Connection, database_dsn: str) -> None:
    rng = seeded()
    await deliver(db, *day(0, rng))
    await a_crm(db, *(f"c{n}" for n in range(20)))
    edits = dict.fromkeys((f"c{n}" for n in range(20)), 0)

    async def ingests() -> None:
        for number in range(1, 9):
            await take(db, day(number, rng))

    rngs = [random.Random(rng.random()) for _ in range(5)]
    async with watched(database_dsn) as seen:
        linkers = (link_at_random(db, r) for r in rngs[:3])
        editors = (edit_at_random(db, r, edits) for r in rngs[3:])
        await asyncio.gather(ingests(), *linkers, *editors)

    assert await out_of_step(conn) == []
    assert {c: int((await crm_row(conn, c))["custom"].get("edits", 0)) for c in edits} == edits, "no edit was lost"
    assert sum(edits.values()) > 60
    assert seen["looks"] > 5
    open_links = await conn.fetch(
        "SELECT crm_id, property_id FROM property_links WHERE unlinked_at IS NULL ORDER BY crm_id"
    )
    now = await conn.fetch(
        "SELECT id, mls_property_id FROM crm_properties WHERE mls_property_id IS NOT NULL ORDER BY id"
    )
    assert [tuple(row) for row in open_links] == [tuple(row) for row in now]


async def test_link_waits_for_an_ingest_of_its_listing_and_copies_what_that_wrote(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    async with conn.transaction():
        await listings.lock(conn, {id_of(): None})
        linking = asyncio.create_task(a_link(db, "a"))
        await asyncio.sleep(0.2)
        assert not linking.done(), "the listing is being written"
        await conn.execute("""UPDATE mls_properties SET fields = (fields::jsonb || '{"ListPrice": "7"}')::text""")

    await linking

    assert (await crm_row(conn, "a"))["fields"]["ListPrice"] == "7"


async def test_ingest_waits_for_a_link_under_way_and_then_reaches_it(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    async with conn.transaction():
        await listings.share(conn, [id_of()])
        ingesting = asyncio.create_task(deliver(db, a_listing(ListPrice=7)))
        await asyncio.sleep(0.2)
        assert not ingesting.done()
        await crm_properties.lock(conn, ["a"])
        await crm_properties.set_links(conn, {"a": id_of()})
        await crm_properties.bring_in_step_only(conn, {"a": id_of()}, UNSYNCED)

    assert (await ingesting).tally.crm_updated == 1
    assert (await crm_row(conn, "a"))["fields"]["ListPrice"] == "7"


async def test_clock_of_a_record_whose_listing_changed_meanwhile_is_decided_anew(
    db: Database, conn: Connection
) -> None:
    """The record is known by its bytes when it is read, and no more when its lock is held."""
    await deliver(db, a_listing())
    newest = a_listing(ModificationTimestamp="2026-03-09T00:00:00Z")
    async with conn.transaction():
        await listings.lock(conn, {id_of(): None})
        late = asyncio.create_task(deliver(db, newest))
        await asyncio.sleep(0.3)
        assert not late.done()
        await conn.execute("""UPDATE mls_properties SET fields = (fields::jsonb || '{"ListPrice": "7"}')::text""")
        await conn.execute(
            "UPDATE mls_state SET digest = 'other', payload_digest = 'other', content_hash = 'other',"
            " source_modified_at = '2026-03-05'"
        )

    result = await late

    assert (result.tally.changed, result.tally.recognised) == (1, 0)
    assert (await listing_row(conn))["fields"]["ListPrice"] == "500000"


@contextlib.asynccontextmanager
async def an_ingest_that_waits(db: Database, conn: Connection) -> AsyncIterator[asyncio.Task[IngestResult]]:
    """Lend an ingest of a listing's change to its CRM properties a and b that waits until a is free."""
    await deliver(db, a_listing())
    await a_crm(db, "a", "b")
    for crm_id in "ab":
        await a_link(db, crm_id)
    async with conn.transaction():
        await crm_properties.lock(conn, ["a"])
        ingesting = asyncio.create_task(deliver(db, a_listing(ListPrice=7)))
        await asyncio.sleep(0.2)
        assert not ingesting.done()
        yield ingesting


async def test_crm_property_deleted_during_an_ingest_is_gone_and_nothing_fails(db: Database, conn: Connection) -> None:
    async with an_ingest_that_waits(db, conn) as ingesting:
        await crm_properties.delete(conn, "a")

    assert (await ingesting).tally.crm_updated == 1
    with pytest.raises(CrmPropertyNotFound):
        await crm.delete(db, "a")


async def test_crm_property_unlinked_during_an_ingest_keeps_its_own(db: Database, conn: Connection) -> None:
    async with an_ingest_that_waits(db, conn) as ingesting:
        await crm_properties.unlink(conn, "a", restore_own=True)

    assert (await ingesting).tally.crm_updated == 1
    assert [(await crm_row(conn, c))["fields"].get("ListPrice") for c in "ab"] == [None, "7"]


@pytest.mark.parametrize("renewed", [False, True])
async def test_crm_rows_are_locked_in_the_order_of_their_ids(
    db: Database, conn: Connection, database_dsn: str, *, renewed: bool
) -> None:
    """`renewed`: the first is of a listing that another normaliser had stored, which is copied after the rest."""
    await deliver(db, a_listing("L1"), a_listing("L2"))
    await a_crm(db, "a", "b")
    await a_link(db, "a", "L1")
    await a_link(db, "b", "L2")
    if renewed:
        older = "UPDATE mls_state SET norm_version = 'an older one', digest = '' WHERE property_id = $1"
        await conn.execute(older, id_of("L1"))
    async with conn.transaction():
        await crm_properties.lock(conn, ["a"])
        first = a_listing("L1") if renewed else a_listing("L1", ListPrice=7)
        ingesting = asyncio.create_task(deliver(db, first, a_listing("L2", ListPrice=7)))
        await asyncio.sleep(0.2)
        assert not ingesting.done()
        eye = await connect(database_dsn)
        try:
            await eye.execute("SELECT FROM crm_properties WHERE id = 'b' FOR UPDATE NOWAIT")
        finally:
            await eye.close()

    assert (await ingesting).tally.crm_updated == 1 + (not renewed)


async def test_property_made_again_while_its_lock_was_awaited_is_not_taken_for_locked(
    db: Database, conn: Connection, database_dsn: str
) -> None:
    await a_crm(db, "a")

    async def lock_and_look() -> bool:
        """Whether a row was handed out that somebody else could still lock."""
        eye = await connect(database_dsn)
        try:
            async with db.transaction() as mine:
                found = await crm_properties.lock(mine, ["a"])
                free = await eye.fetch("SELECT FROM crm_properties WHERE id = 'a' FOR UPDATE SKIP LOCKED")
                return bool(found and free)
        finally:
            await eye.close()

    async with conn.transaction():
        await crm_properties.delete(conn, "a")
        await conn.execute("INSERT INTO crm_properties (id) VALUES ('a')")
        waiting = asyncio.create_task(lock_and_look())
        await asyncio.sleep(0.2)
        assert not waiting.done()

    assert not await waiting


async def test_events_are_numbered_in_commit_order(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"))
    await a_crm(db, "a", "b")
    async with conn.transaction():
        await events.append(conn, [events.Event("property.linked", crm_property_id="first")])
        later = asyncio.create_task(a_link(db, "a", "L1"))
        await asyncio.sleep(0.2)
        assert not later.done(), "who comes later waits, so that no smaller number appears after a larger one"
    await later

    rows = await conn.fetch("SELECT crm_property_id FROM events WHERE type = 'property.linked' ORDER BY seq")
    assert [row["crm_property_id"] for row in rows] == ["first", "a"]
