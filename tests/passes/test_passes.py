"""A pass over a location of a source: which delivery it read, what its records had, and how it goes on after a kill."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import pytest

from making import event_log
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Answer, Checkpoint, Page, Wanted
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.passes import read_location
from mls_crm_sync.sync.reader import Reader
from passes.world import Ends, Killed, World, WorldReading, WorldSource

READER = Reader("world", Normaliser())
KEYS = [f"L{n:02}" for n in range(10)]


class DeliverySource(WorldSource):
    """Reads deliveries that can be told from each other."""

    newest = "monday"

    def read(self, location: str, checkpoint: Checkpoint | None = None) -> WorldReading:
        reading = super().read(location, checkpoint)
        reading.delivery = self.newest
        return reading


@pytest.fixture
def world() -> World:
    return World(dict.fromkeys(KEYS, "north"))


async def outcomes(conn: Connection) -> list[tuple[str, str | None]]:
    rows = await conn.fetch("SELECT outcome, delivery FROM location_passes ORDER BY pass_id")
    return [tuple(row) for row in rows]


async def test_same_delivery_is_one_pass_and_an_older_one_proves_nothing(
    db: Database, conn: Connection, world: World
) -> None:
    source = DeliverySource(world, Ends(), "in_delivery")

    assert await read_location(db, READER, source, "north") is not None
    assert await read_location(db, READER, source, "north") is None
    source.newest = "tuesday"
    assert await read_location(db, READER, source, "north") is not None
    source.newest = "monday"
    again = await read_location(db, READER, source, "north")

    assert again is not None
    assert again.end.evidence == "it was read before, in pass 1"
    assert await outcomes(conn) == [("complete", "monday"), ("complete", "tuesday"), ("unproven", "monday")]


async def test_delivery_that_was_not_read_to_its_end_is_read_again(
    db: Database, conn: Connection, world: World
) -> None:
    ends = Ends("error", behind=1)
    source = DeliverySource(world, ends, "in_delivery")

    assert await read_location(db, READER, source, "north") is not None
    ends.fault = "none"
    assert await read_location(db, READER, source, "north") is not None
    assert await outcomes(conn) == [("unavailable", "monday"), ("complete", "monday")]


async def test_member_gone_from_every_record_is_told_and_changes_nothing(
    db: Database, conn: Connection, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = WorldSource(world, Ends(), "directly")
    await read_location(db, READER, source, "north")
    whole = World.record
    monkeypatch.setattr(World, "record", lambda self, key: whole(self, key).replace(b'"BedroomsTotal":2,', b""))

    for _ in range(2):
        await read_location(db, READER, source, "north")

    assert await event_log(conn, ["source.drift"]) == [("source.drift", None, None, ["BedroomsTotal"], [])]
    assert await conn.fetchval("SELECT source FROM events WHERE type = 'source.drift'") == "world"
    kept = "SELECT count(*) FROM mls_properties WHERE fields::json ->> 'BedroomsTotal' = '2'"
    assert await conn.fetchval(kept) == len(KEYS)
    assert await conn.fetchval("SELECT count(*) FROM property_changes WHERE type <> 'new'") == 0


async def test_killed_pass_goes_on_behind_its_last_page_and_knows_what_it_has_shown(
    db: Database, conn: Connection, world: World
) -> None:
    ends = Ends("kill", behind=2)
    source = WorldSource(world, ends, "directly")
    with pytest.raises(Killed):
        await read_location(db, READER, source, "north")
    written = await conn.fetchval("SELECT count(*) FROM pass_shown")
    assert 0 < written < len(KEYS)

    ends.fault = "none"
    result = await read_location(db, READER, source, "north")

    assert result is not None
    assert (result.status, result.tally.read, result.end.outcome) == ("succeeded", len(KEYS), "complete")
    assert await conn.fetchval("SELECT shown FROM location_passes") == len(KEYS)
    assert await conn.fetchval("SELECT count(*) FROM scraping_jobs") == 1


async def test_source_that_answers_with_another_listing_has_said_nothing(db: Database, conn: Connection) -> None:
    class Confused(WorldSource):
        async def look_up(self, wanted: Sequence[Wanted]) -> Mapping[str, Answer]:
            other = await super().look_up([Wanted("L01")])
            return {one.source_key: other["L01"] for one in wanted}

    world = World(dict.fromkeys(KEYS, "north"))
    source = Confused(world, Ends(), "directly")
    await read_location(db, READER, source, "north")
    del world.shown_at["L00"]

    for _ in range(4):
        await read_location(db, READER, source, "north")

    assert await conn.fetchval("SELECT absence_state FROM mls_properties WHERE source_key = 'L00'") == "listed"
    said = await conn.fetchval("SELECT look_up FROM location_listings WHERE missing_since IS NOT NULL")
    assert said == "the source answered with another listing"


async def test_pass_that_a_later_one_has_overtaken_proves_nothing_and_says_so(
    db: Database, conn: Connection, world: World
) -> None:
    source = WorldSource(world, Ends(), "never")
    await read_location(db, READER, source, "north")
    del world.shown_at["L09"]
    later = WorldSource(World(dict.fromkeys(KEYS, "north")), Ends(), "never")

    class Overtaken(WorldSource):
        def read(self, location: str, checkpoint: Checkpoint | None = None) -> WorldReading:  # noqa: ARG002 - never resumed
            return OvertakenReading(world, Ends(), world.at(location))

    class OvertakenReading(WorldReading):
        async def pages(self) -> AsyncGenerator[Page, None]:
            async with aclosing(super().pages()) as pages:
                async for page in pages:
                    yield page
            await read_location(db, READER, later, "north")

    result = await read_location(db, READER, Overtaken(world, Ends(), "never"), "north")

    assert result is not None
    assert (result.end.outcome, result.end.evidence) == ("unproven", "a pass that began later ended before it")
    assert [outcome for outcome, _ in await outcomes(conn)] == ["complete", "unproven", "complete"]
    assert await conn.fetchval("SELECT count(*) FROM location_listings WHERE missing_since IS NOT NULL") == 0
