"""realtor.com, set up as a source: what changes there arrives in the CRM, and a refusal ends all asking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from making import a_crm, event_log, id_of, out_of_step
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import links, passes, schedules, sources
from mls_crm_sync.sync.ingest import IngestResult
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer
from sources.realtor_site import SAN_DIEGO, RealtorSite, a_home, forbidden, sold
from sync.test_rescrape import ended, working

REALTOR = "homeharvest"
KEYS = [f"{n:010}" for n in range(889)]


@pytest.fixture
async def site(db: Database) -> AsyncIterator[RealtorSite]:
    """The website, and the source that reads it, at a pace for tests."""
    async with RealtorSite.of(a_home(key) for key in KEYS).serving() as site:
        settings = {"acknowledged": True, "endpoint": site.endpoint}
        await sources.add(db, Sealer(), REALTOR, "homeharvest", settings, limits={"second": 1000}, request_delay=0.0)
        yield site


async def scrape(db: Database, location: str = SAN_DIEGO) -> IngestResult:
    async with sources.opened(db, Sealer(), REALTOR, Normaliser()) as one:
        result = await passes.read_location(db, one.reader, one.source, location)
    assert result is not None
    return result


async def a_linked_crm(db: Database, *keys: str) -> None:
    for key in keys:
        await a_crm(db, f"crm-{key}", crm_status="active", notes="mine", PostalCode="92101")
        await links.link(db, Normaliser().unsynced, f"crm-{key}", id_of(key, REALTOR))


async def rows_of(conn: Connection, table: str) -> list[Any]:
    """Return the rows with their place in the table: a row that was written anew stands elsewhere."""
    return [tuple(row) for row in await conn.fetch(f"SELECT ctid::text, t::text FROM {table} AS t ORDER BY 2")]


@pytest.mark.slow
async def test_second_run_writes_nothing_and_what_was_touched_is_what_arrives(
    db: Database, conn: Connection, site: RealtorSite
) -> None:
    first = await scrape(db)
    assert (first.end.outcome, first.tally.new) == ("complete", 889)
    await a_linked_crm(db, *KEYS)
    crm, listings, log = [await rows_of(conn, table) for table in ("crm_properties", "mls_properties", "events")]

    second = await scrape(db)

    assert (second.end.outcome, second.tally.unchanged) == ("complete", 889)
    assert await rows_of(conn, "crm_properties") == crm
    assert await rows_of(conn, "mls_properties") == listings
    assert await rows_of(conn, "events") == log

    touched, gone = KEYS[10:40], KEYS[100:105]
    for key in touched:
        site.change(key, list_price=725000, last_update_date="2026-11-20T10:00:00Z")
    for key in gone:
        home = sold(site.homes[key], price=731000, on=f"{site.today:%Y-%m-%d}", updated="2026-11-21T10:00:00Z")
        site.homes[key] = home
    seen = await conn.fetchval("SELECT max(seq) FROM events")

    third = await scrape(db)

    assert (third.end.outcome, third.tally.changed, third.tally.unchanged) == ("complete", 35, 854)
    assert third.settled.absent == 0
    told = await conn.fetch("SELECT type, property_id FROM events WHERE seq > $1", seen)
    ids = {id_of(key, REALTOR) for key in (*touched, *gone)}
    for kind in ("listing.changed", "property.synced"):
        assert sorted(row["property_id"] for row in told if row["type"] == kind) == sorted(ids)
    assert {row["type"] for row in told} == {"listing.changed", "property.synced"}
    rows = await conn.fetch("SELECT id, crm_status, notes, fields FROM crm_properties")
    values = {row["id"].removeprefix("crm-"): row for row in rows}
    for key in KEYS:
        fields = values[key]["fields"]
        fields = orjson.loads(fields) if isinstance(fields, str) else fields
        price = "725000" if key in touched else "750000"
        assert (fields["ListPrice"], fields["StandardStatus"]) == (price, "Closed" if key in gone else "Active")
        assert fields.get("ClosePrice") == ("731000" if key in gone else None)
        assert (values[key]["crm_status"], values[key]["notes"]) == ("active", "mine")
    assert await out_of_step(conn) == []


async def test_home_that_leaves_the_market_is_called_absent_by_the_sites_own_word(
    db: Database, conn: Connection, site: RealtorSite
) -> None:
    site.homes = {key: site.homes[key] for key in KEYS[:30]}
    await scrape(db)
    site.change(KEYS[3], status="off_market")
    del site.homes[KEYS[4]]
    assert (await scrape(db)).settled.absent == 0
    assert (await scrape(db)).settled.absent == 2
    rows = await conn.fetch("SELECT property_id, evidence::text FROM absences")
    evidence = {row["property_id"]: row["evidence"] for row in rows}
    assert "off the market" in evidence[id_of(KEYS[3], REALTOR)]
    assert "no home of this id" in evidence[id_of(KEYS[4], REALTOR)]


async def test_sale_that_leaves_the_window_is_looked_up_once_and_stays(
    db: Database, conn: Connection, site: RealtorSite
) -> None:
    on = f"{site.today:%Y-%m-%d}"
    site.homes = {key: site.homes[key] for key in KEYS[:5]}
    site.homes["77"] = sold(a_home("77"), price=1, on=on, updated="2026-11-21T10:00:00Z")
    await scrape(db)
    site.homes["77"] |= {"last_sold_date": "2020-01-01"}
    asked = []
    for _ in range(4):
        site.asked.clear()
        assert (await scrape(db)).settled.absent == 0
        asked.append(site.operations().count("GetHomeDetails"))
    assert asked == [0, 1, 0, 0]
    assert await conn.fetchval("SELECT absence_state FROM mls_properties WHERE source_key = '77'") == "listed"


async def test_schedule_reads_where_active_properties_are(
    db: Database, conn: Connection, database_dsn: str, site: RealtorSite
) -> None:
    site.homes = {key: site.homes[key] for key in KEYS[:30]}
    await scrape(db)
    await a_linked_crm(db, KEYS[0], KEYS[1])
    await schedules.ensure_active_properties(db, None)
    await schedules.edit(db, ACTIVE_PROPERTIES, {"request_delay": 0.0}, by="Dana")
    site.change(KEYS[0], list_price=1, last_update_date="2026-11-20T10:00:00Z")
    site.asked.clear()
    run = await schedules_run(db, database_dsn)
    assert run["status"] == "succeeded"
    assert {one.variables["searchInput"]["search_term"] for one in site.asked if "searchInput" in one.variables} == {
        "92101"
    }
    assert await event_log(conn, ("property.synced",))
    assert await out_of_step(conn) == []


async def schedules_run(db: Database, dsn: str) -> Any:
    due = (await schedules.view(db, ACTIVE_PROPERTIES)).job["next_run_at"]
    assert await schedules.tick(db, at=due) == 1
    async with db.connection() as conn:
        run_id = await conn.fetchval("SELECT max(run_id) FROM scraping_jobs WHERE scheduled_for = $1", due)
    async with working(db, dsn):
        return await ended(db, run_id)


async def test_first_refusal_ends_all_asking_until_a_person_says_so(
    db: Database, conn: Connection, database_dsn: str, site: RealtorSite
) -> None:
    site.homes = {key: a_home(key, zip_code=f"9210{n}") for n, key in enumerate(KEYS[:4], start=1)}
    await scrape(db)
    await a_linked_crm(db, *site.homes)
    await schedules.ensure_active_properties(db, None)
    await sources.change(db, Sealer(), REALTOR, request_delay=1.0)  # as between any two requests to it, only shorter
    site.asked.clear()
    site.fault = forbidden

    run = await schedules_run(db, database_dsn)

    assert run["status"] != "succeeded"
    assert len(site.asked) == 1, "who was refused once asks no more, for no location"
    (shown,) = await sources.every(db, Sealer())
    assert shown.stopped_at is not None
    assert [row[0] for row in await event_log(conn, ("source.stopped",))] == ["source.stopped"]
    ends = await conn.fetch(
        "SELECT name, status, outcome FROM scraping_job_locations JOIN locations USING (location_id)"
        " WHERE run_id = $1 AND task = 'read' ORDER BY name",
        run["run_id"],
    )
    assert [tuple(row) for row in ends] == [(f"9210{n}", "failed", "refused") for n in range(1, 5)]
    refused = await scrape(db)
    assert refused.error is not None
    assert "sources resume homeharvest" in str(refused.error.hint)
    found = await sources.check(db, Sealer(), REALTOR, Normaliser())
    assert not found.ok
    assert len(site.asked) == 1

    site.fault = None
    assert (await sources.resume(db, Sealer(), REALTOR)).stopped_at is None
    assert (await scrape(db)).end.outcome == "complete"
