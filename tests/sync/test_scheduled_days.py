"""Two real days through a folder source: what the second one changed arrives in the CRM by the scheduled run alone."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from making import id_of, out_of_step
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.table import read_table
from mls_crm_sync.store import crm_properties, runs
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.sync import crm, links, schedules, sources
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer
from sync.test_rescrape import ended, working

SOURCE = "nyc"
ELSEWHERE = 10  # active properties whose user says another ZIP than the MLS, which then shows them nowhere

pytestmark = [pytest.mark.slow, pytest.mark.one_server]


def read_day(shared: Path, day: int) -> dict[str, dict[str, Any]]:
    with gzip.open(shared / "data" / f"nyc_listings_day{day}.jsonl.gz") as lines:
        return {record["ListingKey"]: record for record in map(orjson.loads, lines)}


def deliver(folder: Path, listings: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a file for each ZIP, and the manifest that proves them."""
    by_zip: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in listings.values():
        by_zip[one["PostalCode"]].append(one)
    for zip_code, some in by_zip.items():
        (folder / f"{zip_code}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, some)))
    said = [{"file": f"{zip_code}.jsonl", "records": len(some)} for zip_code, some in by_zip.items()]
    (folder / "manifest.json").write_text(json.dumps({"deliveries": said}), encoding="utf-8")


async def scheduled_run(db: Database, conn: Connection, dsn: str) -> Row:
    """Let the schedule fall due, and a worker do what it asks for."""
    due: datetime = (await schedules.view(db, ACTIVE_PROPERTIES)).job["next_run_at"]
    assert await schedules.tick(db, at=due) == 1
    run_id = await conn.fetchval("SELECT max(run_id) FROM scraping_jobs WHERE scheduled_for = $1", due)
    async with working(db, dsn):
        return await ended(db, run_id)


@pytest.fixture
async def folder(db: Database, shared: Path, tmp_path: Path) -> Path:
    """Return the folder of a source, and set all up as a broker does: properties imported, the schedule made."""
    await sources.add(db, Sealer(), SOURCE, "folder", {"path": str(tmp_path)})
    await schedules.ensure_active_properties(db, None)
    await schedules.edit(db, ACTIVE_PROPERTIES, {"limit": 10_000}, by="Dana")
    with read_table(shared / "data" / "crm_properties.csv") as sheet:
        rows = [(row.line, row.cells) for row in sheet.rows if row.cells is not None]
        await crm.import_rows(db, sheet.header, rows)
    return tmp_path


async def active_places(conn: Connection) -> set[str]:
    rows = await conn.fetch("SELECT DISTINCT place FROM crm_properties WHERE crm_status = 'active'")
    return {row["place"] for row in rows if row["place"] is not None}


async def test_second_day_arrives_by_the_scheduled_run_alone(
    db: Database, conn: Connection, database_dsn: str, shared: Path, folder: Path
) -> None:
    first, second = read_day(shared, 1), read_day(shared, 2)
    deliver(folder, first)
    places = await active_places(conn)
    day1 = await scheduled_run(db, conn, database_dsn)

    read = {row["location"] for row in await runs.locations_of(conn, day1["run_id"], limit=10_000)}
    assert read == places, "where active properties are, and nowhere else"
    known = {row[0] for row in await conn.fetch("SELECT source_key FROM mls_properties")}
    assert known == {key for key, one in first.items() if one["PostalCode"] in places}
    unknown = {row["code"] for row in await runs.errors_of(conn, day1["run_id"])}
    assert unknown <= {"unknown_location"}, "cities and mistyped ZIPs, of which no delivery lies there"

    with (shared / "data" / "crm_truth.csv").open(newline="", encoding="utf-8") as file:
        truth = {row["crm_id"]: row["listing_key"] for row in csv.DictReader(file)}
    rows = [
        links.LinkRow(n, crm_id, property_id=id_of(key, SOURCE))
        for n, (crm_id, key) in enumerate(truth.items())
        if key in known
    ]
    linked = await links.link_rows(db, Normaliser().unsynced, rows)
    assert linked.linked == len(rows) > 2000
    moved = await _say_another_zip(conn)
    owned = await crm_properties.owned_digest(conn)
    seq = await conn.fetchval("SELECT max(seq) FROM events")

    deliver(folder, second)
    day2 = await scheduled_run(db, conn, database_dsn)

    assert await out_of_step(conn) == []
    assert await crm_properties.owned_digest(conn) == owned
    with gzip.open(shared / "data" / "day2_changed.csv.gz", "rt", encoding="utf-8") as file:
        changed = {row["listing_key"]: row["change"] for row in csv.DictReader(file)}
    places = await active_places(conn)
    looked_up = set(moved.values())
    assert not {first[key]["PostalCode"] for key in looked_up} & places, "nothing reads where they are"
    wanted = {
        key for key, change in changed.items()
        if change in {"price", "status", "remarks"} and (second[key]["PostalCode"] in places or key in looked_up)
    }  # fmt: skip
    told = await conn.fetch(
        "SELECT DISTINCT p.source_key FROM events AS e JOIN mls_properties AS p USING (property_id)"
        " WHERE e.seq > $1 AND e.type = 'listing.changed' AND e.change_types <> '{new}'",
        seq,
    )
    assert {row[0] for row in told} == wanted & known
    assert looked_up & {row[0] for row in told} == looked_up & set(changed), "by look-up"
    locations = await runs.locations_of(conn, day2["run_id"], limit=10_000)
    (asked,) = [row for row in locations if row["task"] == "look_up"]
    assert (asked["location"], asked["status"]) == ("(linked listings)", "succeeded")
    assert asked["counts"]["read"] == len(moved), "found, each of them; who left is in no delivery"
    for crm_id, key in truth.items():
        if key in wanted & known:
            await _has(conn, crm_id, second[key])


async def _say_another_zip(conn: Connection) -> dict[str, str]:
    """Let users of some active properties say a ZIP that the MLS does not; return their listings' keys by CRM id.

    Taken are those that are alone in their ZIP, so that no other property has it read.
    """
    rows = await conn.fetch(
        "SELECT c.id, p.source_key FROM crm_properties AS c"
        " JOIN mls_properties AS p ON p.property_id = c.mls_property_id"
        " WHERE c.crm_status = 'active' AND (SELECT count(*) FROM crm_properties AS o"
        " WHERE o.crm_status = 'active' AND o.place = c.place) = 1 ORDER BY c.id LIMIT $1",
        ELSEWHERE,
    )
    ids = [row["id"] for row in rows]
    await conn.execute('UPDATE crm_properties SET overrides = \'{"PostalCode": "00000"}\' WHERE id = ANY ($1)', ids)
    return {row["id"]: row["source_key"] for row in rows}


async def _has(conn: Connection, crm_id: str, record: Mapping[str, Any]) -> None:
    fields = await conn.fetchval("SELECT fields FROM crm_properties WHERE id = $1", crm_id)
    facts = Normaliser().normalise(record).fields
    for name in ("ListPrice", "StandardStatus", "PublicRemarks"):
        assert fields.get(name) == facts.get(name), (crm_id, name)
