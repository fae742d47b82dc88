"""Runs over many locations by workers: what is read, what is looked up, what is left out, and how a run ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from making import a_crm, a_link, a_listing, crm_row, out_of_step
from mls_crm_sync.core.errors import AlreadyRunning, NothingToRead, RunEnded, RunNotFound
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.jobs.worker import Worker
from mls_crm_sync.store import runs, workers
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.sync import rescrape, schedules, sources
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer
from mls_crm_sync.sync.work import Work

SOURCE = "test-mls"


def work_of(db: Database) -> Work:
    return Work(db, Normaliser(), Sealer())


@asynccontextmanager
async def working(db: Database, dsn: str, *, slots: int = 4) -> AsyncIterator[Worker]:
    """Run a worker in this process."""
    worker = Worker(db, dsn, work_of(db), slots=slots)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def ended(db: Database, run_id: int) -> Row:
    """Wait for a run's end."""
    async with asyncio.timeout(30):
        while True:
            async with db.connection() as conn:
                row = await runs.view(conn, run_id)
            if row["finished_at"] is not None:
                return row
            await asyncio.sleep(0.02)


class Mls:
    """A folder of deliveries that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.counts: dict[str, int] = {}

    def deliver(self, location: str, *listings: dict[str, Any], complete: bool = True) -> None:
        lines = [json.dumps(one) for one in listings]
        (self.folder / f"{location}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        if complete:
            self.counts[location] = len(lines)
        said = [{"file": f"{name}.jsonl", "records": count} for name, count in self.counts.items()]
        (self.folder / "manifest.json").write_text(json.dumps({"deliveries": said}), encoding="utf-8")


@pytest.fixture
async def mls(db: Database, tmp_path: Path) -> Mls:
    """Return a folder that is set up as the default source, and make the schedule of active properties."""
    folder = Mls(tmp_path / "mls")
    await sources.add(db, Sealer(), SOURCE, "folder", {"path": str(folder.folder)})
    await schedules.ensure_active_properties(db, None)
    return folder


def at(zip_code: str, key: str, **members: Any) -> dict[str, Any]:
    return a_listing(key, PostalCode=zip_code, City="Brooklyn", StateOrProvince="NY", **members)


async def run_now(db: Database, dsn: str) -> Row:
    run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    async with working(db, dsn):
        return await ended(db, run_id)


async def locations_of(conn: Connection, run_id: int) -> dict[str, tuple[str, str | None]]:
    return {row["location"]: (row["status"], row["outcome"]) for row in await runs.locations_of(conn, run_id)}


async def test_change_reaches_the_crm_by_a_run_alone(
    db: Database, conn: Connection, database_dsn: str, mls: Mls
) -> None:
    await a_crm(db, "c1", crm_status="active", zip="11216", notes="mine")
    await a_crm(db, "c2", crm_status="archived", zip="11217")
    mls.deliver("11216", at("11216", "A"), at("11216", "B"))
    mls.deliver("11217", at("11217", "C"))
    first = await run_now(db, database_dsn)
    assert (first["status"], first["kind"], first["actor"]) == ("succeeded", "manual", "Dana")
    assert await locations_of(conn, first["run_id"]) == {"11216": ("succeeded", "complete")}
    assert first["counts"]["read"] == first["counts"]["new"] == 2

    await a_link(db, "c1", "A")
    mls.deliver("11216", at("11216", "A", ListPrice=1, ModificationTimestamp="2026-03-02T12:00:00Z"), at("11216", "B"))
    second = await run_now(db, database_dsn)

    assert second["counts"]["changes"] == {"price": 1}
    assert second["counts"]["crm_updated"] == 1
    row = await crm_row(conn, "c1")
    assert (row["fields"]["ListPrice"], row["notes"], row["crm_status"]) == ("1", "mine", "active")
    assert await out_of_step(conn) == []

    third = await run_now(db, database_dsn)
    assert await locations_of(conn, third["run_id"]) == {"11216": ("succeeded", "same_delivery")}


async def test_linked_listing_elsewhere_is_looked_up(
    db: Database, conn: Connection, database_dsn: str, mls: Mls
) -> None:
    """The CRM says another ZIP than the MLS: the property's own place does not show its listing."""
    mls.deliver("11216", at("11216", "A"))
    mls.deliver("11299", at("11299", "X"))
    await a_crm(db, "c0", crm_status="active", zip="11299")
    await a_crm(db, "c1", crm_status="active", zip="11216")
    await run_now(db, database_dsn)
    await a_link(db, "c1", "A")
    await conn.execute("UPDATE crm_properties SET overrides = '{\"PostalCode\": \"11299\"}' WHERE id = 'c1'")
    mls.deliver("11216", at("11216", "A", ListPrice=7, ModificationTimestamp="2026-03-02T12:00:00Z"))

    run = await run_now(db, database_dsn)

    found = await locations_of(conn, run["run_id"])
    assert found == {"11299": ("succeeded", "same_delivery"), "(linked listings)": ("succeeded", "looked_up")}
    assert (await crm_row(conn, "c1"))["fields"]["ListPrice"] == "7"
    assert run["counts"]["changes"] == {"price": 1}


async def test_what_cannot_be_read_is_told_with_the_run(
    db: Database, conn: Connection, database_dsn: str, mls: Mls
) -> None:
    mls.deliver("11216", at("11216", "A"))
    await a_crm(db, "c1", crm_status="active", zip="11216-1234")
    await a_crm(db, "c2", crm_status="active", city="BROOKLYN", state="ny")
    await a_crm(db, "c3", crm_status="active", notes="nowhere")

    run = await run_now(db, database_dsn)

    assert run["status"] == "partial"
    assert run["left_out"] == {"no_location": {"properties": 1, "examples": ["c3"]}}
    assert await locations_of(conn, run["run_id"]) == {
        "11216": ("succeeded", "complete"), "Brooklyn, NY": ("failed", "broken"),
    }  # fmt: skip
    (error,) = await runs.errors_of(conn, run["run_id"])
    assert (error["code"], error["examples"]) == ("unknown_location", ["Brooklyn, NY"])
    assert run["error_code"] == "unknown_location"


async def test_limit_caps_a_pass_and_proves_nothing(
    db: Database, conn: Connection, database_dsn: str, mls: Mls
) -> None:
    await a_crm(db, "c1", crm_status="active", zip="11216")
    mls.deliver("11216", *(at("11216", f"L{n}") for n in range(7)))
    await schedules.edit(db, ACTIVE_PROPERTIES, {"limit": 5}, by="Dana")
    run = await run_now(db, database_dsn)
    assert run["status"] == "succeeded", "reaching the limit is no failure"
    assert await locations_of(conn, run["run_id"]) == {"11216": ("succeeded", "capped")}
    assert run["counts"]["read"] == 5

    await schedules.edit(db, ACTIVE_PROPERTIES, {"limit": 7}, by="Dana")
    exact = await run_now(db, database_dsn)
    assert await locations_of(conn, exact["run_id"]) == {"11216": ("succeeded", "complete")}


async def test_only_one_run_at_a_time_and_why_there_is_none(db: Database, mls: Mls) -> None:
    del mls
    with pytest.raises(NothingToRead, match="no CRM property is selected") as nothing:
        await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    assert nothing.value.code == "nothing_active"
    await a_crm(db, "c1", crm_status="active")
    with pytest.raises(NothingToRead) as nowhere:
        await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    assert nowhere.value.code == "no_location"
    await a_crm(db, "c2", crm_status="active", zip="11216")
    said = await asyncio.gather(
        *(rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana") for _ in range(4)), return_exceptions=True
    )
    assert [type(one) for one in said if not isinstance(one, int)] == [AlreadyRunning] * 3
    await sources.remove(db, SOURCE)
    (run_id,) = [one for one in said if isinstance(one, int)]
    await rescrape.cancel(db, run_id, actor="Dana")
    with pytest.raises(NothingToRead) as no_source:
        await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    assert no_source.value.code == "no_source"


async def test_cancelled_run_reads_no_more(db: Database, conn: Connection, database_dsn: str, mls: Mls) -> None:
    for zip_code in ("11216", "11217"):
        await a_crm(db, zip_code, crm_status="active", zip=zip_code)
        mls.deliver(zip_code, at(zip_code, zip_code))
    run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    await rescrape.cancel(db, run_id, actor="Eve")
    async with working(db, database_dsn):
        row = await ended(db, run_id)
    assert (row["status"], row["actor"]) == ("cancelled", "Eve")
    assert set((await locations_of(conn, run_id)).values()) == {("cancelled", "cancelled")}
    assert await conn.fetchval("SELECT count(*) FROM mls_properties") == 0
    with pytest.raises(RunEnded):
        await rescrape.cancel(db, run_id, actor="Eve")
    with pytest.raises(RunNotFound):
        await rescrape.cancel(db, 999, actor="Eve")


async def test_only_what_failed_is_read_again(db: Database, conn: Connection, database_dsn: str, mls: Mls) -> None:
    mls.deliver("11216", at("11216", "A"))
    await a_crm(db, "c1", crm_status="active", zip="11216")
    await a_crm(db, "c2", crm_status="active", zip="11217")
    first = await run_now(db, database_dsn)
    assert first["status"] == "partial"
    mls.deliver("11217", at("11217", "B"))

    run_id = await rescrape.retry_failed(db, first["run_id"], actor="Dana")
    async with working(db, database_dsn):
        again = await ended(db, run_id)

    assert (again["status"], again["attempt_of"]) == ("succeeded", first["run_id"])
    assert await locations_of(conn, run_id) == {"11217": ("succeeded", "complete")}
    with pytest.raises(NothingToRead) as nothing:
        await rescrape.retry_failed(db, run_id, actor="Dana")
    assert nothing.value.code == "nothing_failed"


async def orphaned(db: Database, conn: Connection) -> workers.Taken:
    """Take the next location for a worker that is not seen any more."""
    async with db.transaction() as one:
        worker_id = await workers.enrol(one, "gone", 1, "0")
        taken = await workers.claim(one, worker_id)
    assert taken is not None
    await conn.execute("UPDATE workers SET seen_at = now() - interval '1 minute' WHERE worker_id = $1", worker_id)
    return taken


async def test_what_a_dead_worker_had_is_read_by_another(
    db: Database, conn: Connection, database_dsn: str, mls: Mls
) -> None:
    mls.deliver("11216", at("11216", "A"))
    await a_crm(db, "c1", crm_status="active", zip="11216")
    run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    zombie = await orphaned(db, conn)

    async with working(db, database_dsn):
        row = await ended(db, run_id)

    assert row["status"] == "succeeded"
    before = await conn.fetchval("SELECT count(*) FROM property_changes")
    await work_of(db).do(zombie)  # it wakes up
    assert await conn.fetchval("SELECT count(*) FROM property_changes") == before
    assert (await runs.view(conn, run_id))["status"] == "succeeded"


async def test_location_that_kills_its_workers_is_given_up(db: Database, conn: Connection, mls: Mls) -> None:
    mls.deliver("11216", at("11216", "A"))
    await a_crm(db, "c1", crm_status="active", zip="11216")
    run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="Dana")
    for _ in range(3):
        taken = await orphaned(db, conn)
        (place,) = await workers.orphans(conn)
        assert place == taken.place
        await work_of(db).recover(place)
    row = await runs.view(conn, run_id)
    assert (row["status"], row["error_code"]) == ("failed", "worker_killed")
    assert await conn.fetchval("SELECT outcome FROM location_passes") == "abandoned"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, {"11216", "11217"}),
        ({"crm_status": ["under_contract", "active"]}, {"11216", "11217", "11218"}),
        ({"city": ["BROOKLYN"]}, {"11216"}),
        ({"postal_code": ["11217-0001"]}, {"11217"}),
        ({"tags": ["vip", "x"]}, {"11217"}),
        ({"assigned_agent": ["Dana"]}, {"11216"}),
        ({"min_list_price": "500", "max_list_price": 1000}, {"11216"}),
        ({"standard_status": ["pending"]}, {"11217"}),
        ({"platform": ["other"]}, set()),
    ],
)
async def test_filters_select(db: Database, mls: Mls, filters: dict[str, Any], found: set[str]) -> None:
    del mls
    facts = ("id", "crm_status", "zip", "City", "tags", "assigned_agent", "ListPrice", "StandardStatus")
    rows = [
        ("a", "active", "11216", "Brooklyn", "", "Dana", "700", "Active"),
        ("b", "active", "11217", "Queens", "vip", "Eve", "2000", "Pending"),
        ("c", "under_contract", "11218", "Queens", "", "", "", ""),
    ]
    for row in rows:
        given = dict(zip(facts, row, strict=True))
        await a_crm(db, given.pop("id"), **given)
    await schedules.edit(db, ACTIVE_PROPERTIES, {"filters": filters}, by="Dana")
    told = await schedules.preview_selection(db, ACTIVE_PROPERTIES)
    assert {one["location"] for one in told["examples"]} == found
    assert (told["locations"], told["properties"]) == (len(found), len(found))


async def test_place_with_an_override_that_expires_is_worked_out(db: Database, conn: Connection, mls: Mls) -> None:
    del mls
    await a_crm(db, "c1", crm_status="active", zip="11216")
    for expires, place in (("2999-01-01T00:00:00Z", "11299"), ("2001-01-01T00:00:00Z", "11216")):
        await conn.execute(
            'UPDATE crm_properties SET overrides = \'{"PostalCode": "11299"}\','
            " override_details = jsonb_build_object('PostalCode', jsonb_build_object('expires_at', $1::text))",
            expires,
        )
        job = (await schedules.view(db, ACTIVE_PROPERTIES)).job
        assert (await rescrape.select(conn, job)).locations == [(SOURCE, place)]


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("""fields = '{"PostalCode": "11201"}'""", "11201"),
        ("""own = '{"PostalCode": "11202-0001"}', fields = '{}'""", "11202"),
        ("""overrides = '{"PostalCode": "k1a 0b1"}'""", "K1A 0B1"),
        ("""override_details = '{"City": {"expires_at": "2999-01-01T00:00:00Z"}}'""", None),
        ("place = 'Elsewhere'", "11216"),
        ("notes = 'moved'", "11216"),
    ],
)
async def test_place_follows_whatever_is_written(db: Database, conn: Connection, written: str, place: str) -> None:
    await a_crm(db, "c1", zip="11216")
    found = await conn.fetchval(f"UPDATE crm_properties SET {written} RETURNING place")
    assert found == place


async def test_higher_priority_is_taken_first_and_sealed_sources_are_left_to_others(
    db: Database, conn: Connection, mls: Mls
) -> None:
    await sources.add(db, Sealer(), "sealed", "folder", {"path": str(mls.folder)})
    for name, source, priority in (("low", SOURCE, "low"), ("high", SOURCE, "high"), ("first", "sealed", "immediate")):
        given = {
            "source": source,
            "priority": priority,
            "cron_expression": "0 2 * * *",
            "locations": ["11216", "11217"],
        }
        await schedules.create(db, given, by="Dana", job_id=name)
        await rescrape.run_now(db, name, actor="Dana")
    worker_id = await workers.enrol(conn, "here", 1, "0")

    taken = []
    while (one := await workers.claim(conn, worker_id, leave_alone=["sealed"])) is not None:
        taken.append((await runs.view(conn, one.held.run_id))["scheduled_job_id"])

    assert taken == ["high", "high", "low", "low"]
    assert await workers.claim(conn, worker_id) is not None, "another worker can open it"
