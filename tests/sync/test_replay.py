"""A replay: what an older field table made is made again by today's, from what is stored, and nothing of it is news.

The real deliveries are taken in by a table that lacks fields, reads some as another kind and keeps others out of the
CRM. REPLAY_LISTINGS says how many (2,000; by hand all 19,905), REPLAY_SEED replays the moment of the kill.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace as but
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from making import a_crm, a_link, a_listing, a_page, crm_row, deliver, event_log, history, id_of, listing_row, paged
from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.core.fields import FIELDS, Kind
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import crm_properties
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import links, sources
from mls_crm_sync.sync.ingest import ingest
from mls_crm_sync.sync.purge import purge
from mls_crm_sync.sync.push import push
from mls_crm_sync.sync.reader import Reader
from mls_crm_sync.sync.replay import Progress, preview, replay
from mls_crm_sync.sync.sealing import Sealer

TODAY = Normaliser()
LISTINGS = int(os.environ.get("REPLAY_LISTINGS", "2000"))
UNKNOWN_THEN = {"ListPrice", "City", "StandardStatus"}
OTHER_KIND = {"PhotosCount": Kind.TEXT, "BedroomsTotal": Kind.TEXT}
NOT_SYNCED_THEN = {"YearBuilt"}
OLDER = Normaliser(
    [
        but(f, kind=OTHER_KIND.get(f.name, f.kind), synced=f.synced and f.name not in NOT_SYNCED_THEN)
        for f in FIELDS
        if f.name not in UNKNOWN_THEN
    ]
)
WITHOUT_CITY = Normaliser([f for f in FIELDS if f.name != "City"])

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


async def every_row(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return where each row of each table lies, and what wrote it."""
    names = [row["tablename"] for row in await conn.fetch(TABLES)]
    return {
        name: [tuple(row) for row in await conn.fetch(f"SELECT ctid::text, xmin::text, xmax::text FROM {name}")]
        for name in names
    }


async def stored_facts(conn: Connection) -> dict[str, dict[str, Any]]:
    rows = await conn.fetch("SELECT source_key, fields FROM mls_properties")
    return {row["source_key"]: orjson.loads(row["fields"]) for row in rows}


# -- one listing at a time ---------------------------------------------------------------------------------------------


async def test_what_the_table_changed_is_renormalised_and_reaches_the_crm(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(), normaliser=WITHOUT_CITY)
    await a_crm(db, "a")
    await a_link(db, "a")
    before = await listing_row(conn)

    done = await replay(db, TODAY)

    after = await listing_row(conn)
    assert after["fields"]["City"] == "New York"
    assert (await crm_row(conn, "a"))["fields"]["City"] == "New York"
    assert (after["city"], after["last_changed_at"]) == ("New York", before["last_changed_at"])
    assert await history(conn) == [("new", None, None, None), ("renormalised", "City", None, "New York")]
    synced = [e for e in await event_log(conn) if e[0] == "property.synced"][-1]
    assert synced == ("property.synced", id_of(), "a", ["City"], ["renormalised"])
    assert (done.diff.listings, done.diff.changed, done.diff.crm_updated) == (1, 1, 1)
    run = await conn.fetchrow("SELECT * FROM scraping_jobs ORDER BY run_id DESC LIMIT 1")
    assert run is not None
    assert (run["kind"], run["status"], run["counts"]["renormalised"]) == ("replay", "succeeded", 1)
    assert await conn.fetchval("SELECT run_id FROM property_changes ORDER BY change_id DESC LIMIT 1") == run["run_id"]


async def test_replay_ends_where_the_listing_coming_by_would_have_ended(db: Database, conn: Connection) -> None:
    """And the same record is known by its bytes from then on."""
    await deliver(db, a_listing(), normaliser=OLDER)
    await replay(db, TODAY)
    replayed = await listing_row(conn)

    again = await deliver(db, a_listing())

    assert (again.tally.recognised, again.tally.renormalised) == (1, 0)
    same = ("fields", "content_hash", "digest", "payload_digest", "norm_version", "standard_status")
    await deliver(db, a_listing(), source="other")
    other = await conn.fetchrow(
        "SELECT * FROM mls_properties JOIN mls_state USING (property_id) WHERE source = 'other'"
    )
    assert other is not None
    told = {**other, "fields": orjson.loads(other["fields"])}
    assert [replayed[name] for name in same if name != "digest"] == [told[name] for name in same if name != "digest"]
    assert (await replay(db, TODAY)).runs == []  # nothing is left, and no run is made of nothing


async def test_listing_whose_facts_are_the_same_writes_its_narrow_row_alone(db: Database, conn: Connection) -> None:
    await deliver(db, without_city := a_listing(City=None), normaliser=WITHOUT_CITY)
    wide = await conn.fetchval("SELECT xmin::text FROM mls_properties")

    done = await replay(db, TODAY)

    assert (done.diff.same, done.diff.changed) == (1, 0)
    assert await conn.fetchval("SELECT xmin::text FROM mls_properties") == wide
    assert (await listing_row(conn))["norm_version"] == TODAY.version
    assert (await deliver(db, without_city)).tally.recognised == 1


async def test_field_that_is_synced_now_reaches_the_crm_without_history(db: Database, conn: Connection) -> None:
    older = Normaliser([but(f, synced=f.synced and f.name != "City") for f in FIELDS])
    await deliver(db, a_listing(), normaliser=older)
    await a_crm(db, "a")
    await links.link(db, older.unsynced, "a", id_of())

    seen = await preview(db, TODAY)
    done = await replay(db, TODAY)

    assert (await crm_row(conn, "a"))["fields"]["City"] == "New York"
    assert [change[0] for change in await history(conn)] == ["new"]
    assert (seen.changed, seen.crm_updated) == (done.diff.changed, done.diff.crm_updated) == (0, 1)
    assert (await event_log(conn))[-1] == ("property.synced", id_of(), "a", ["City"], [])


async def test_payload_that_cannot_be_read_keeps_its_listing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"), normaliser=WITHOUT_CITY)
    await a_crm(db, "a")
    await a_link(db, "a", "L1")
    await conn.execute("UPDATE mls_properties SET payload = 'no zstd at all' WHERE source_key = 'L1'")
    before, crm_before = await listing_row(conn, "L1"), await crm_row(conn, "a")

    seen = await preview(db, TODAY)
    done = await replay(db, TODAY)

    assert (await listing_row(conn, "L1"), await crm_row(conn, "a")) == (before, crm_before)
    assert (await listing_row(conn, "L2"))["fields"]["City"] == "New York"
    assert done.diff == seen
    assert [(u.listing_key, u.reason) for u in done.diff.unread] == [("L1", "damaged")]
    run = await conn.fetchrow("SELECT status, error_code, counts FROM scraping_jobs WHERE kind = 'replay'")
    assert run is not None
    assert (run["status"], run["error_code"], run["counts"]["read"]) == ("partial", "payload_unreadable", 1)


async def test_listing_with_a_damaged_payload_is_mended_when_it_comes_by(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(), normaliser=WITHOUT_CITY)
    await conn.execute("UPDATE mls_properties SET payload = 'no zstd at all'")
    older = a_listing(ModificationTimestamp="2020-01-01T00:00:00Z")
    assert (await deliver(db, older)).tally.older == 1
    assert (await listing_row(conn))["norm_version"] == WITHOUT_CITY.version  # nobody has made it again

    await deliver(db, a_listing())

    assert (await listing_row(conn))["fields"]["City"] == "New York"
    assert (await replay(db, Normaliser([f for f in FIELDS if f.name != "ListPrice"]))).diff.unreadable == 0


async def test_value_that_todays_table_refuses_keeps_its_form_and_is_told(db: Database, conn: Connection) -> None:
    older = Normaliser([but(f, kind=Kind.TEXT) if f.name == "BedroomsTotal" else f for f in FIELDS])
    record = a_listing(BedroomsTotal="two or three")
    await deliver(db, record, normaliser=older)

    done = await replay(db, TODAY)

    assert (await listing_row(conn))["fields"]["BedroomsTotal"] == "two or three"
    assert done.diff.refused == {"BedroomsTotal": 1}
    assert (await deliver(db, record)).tally.quarantined == 1  # as any record that says so: not known by its bytes


async def test_zone_of_a_source_that_is_set_up_is_the_payloads(db: Database, conn: Connection, tmp_path: Path) -> None:
    local = a_listing(StatusChangeTimestamp="2026-03-01T12:00:00")
    older = Normaliser([f for f in FIELDS if f.name != "StatusChangeTimestamp"])
    today = Normaliser([but(f, volatile=f.volatile and f.name != "StatusChangeTimestamp") for f in FIELDS])
    for name in ("set-up", "by-hand", "unknown"):
        reader = Reader(name, older, time_zone=ZoneInfo("America/New_York"))
        await ingest(db, reader, paged([local]), location="10001")
    settings = {"path": str(tmp_path), "time_zone": "America/New_York"}
    await sources.add(db, Sealer(), "set-up", "folder", settings)

    await replay(db, today, source="set-up")
    await replay(db, today, source="by-hand", time_zone=ZoneInfo("America/Chicago"))
    told = await replay(db, today)

    rows = await conn.fetch("SELECT source, fields::json ->> 'StatusChangeTimestamp' AS at FROM mls_properties")
    assert {row["source"]: row["at"] for row in rows} == {
        "set-up": "2026-03-01T17:00:00Z",
        "by-hand": "2026-03-01T18:00:00Z",
        "unknown": None,
    }
    assert told.diff.refused == {"StatusChangeTimestamp": 1}


async def test_purged_listing_stays_empty(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(), normaliser=WITHOUT_CITY)
    await purge(db, id_of())
    before = await every_row(conn)

    done = await replay(db, TODAY)

    assert done.diff.listings == 0
    assert await every_row(conn) == before


async def test_pushed_listing_keeps_the_id_it_brought(db: Database, conn: Connection) -> None:
    await push(db, WITHOUT_CITY, [{**a_listing(), "property_id": "mine"}], source="crm", location="push")

    await replay(db, TODAY)

    row = await conn.fetchrow("SELECT property_id, city FROM mls_properties")
    assert tuple(row or ()) == ("mine", "New York")
    again = await push(db, TODAY, [{**a_listing(), "property_id": "mine"}], source="crm", location="push")
    assert (again.run.tally.unchanged, again.run.tally.renormalised) == (1, 0)


async def test_source_that_nothing_came_from_is_refused(db: Database) -> None:
    with pytest.raises(InvalidInput, match="nobody"):
        await replay(db, TODAY, source="nobody")


async def test_source_that_is_named_leaves_the_others_alone(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(), normaliser=WITHOUT_CITY)
    await deliver(db, a_listing(), source="other", normaliser=WITHOUT_CITY)

    await replay(db, TODAY, source="other")

    rows = await conn.fetch("SELECT source FROM mls_properties WHERE city IS NOT NULL")
    assert [row["source"] for row in rows] == ["other"]


async def test_what_somebody_wrote_while_it_was_looked_at_is_looked_at_again(
    db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look without locks and the write: another price under the older table, today's form, and a purge."""
    keys = ("L1", "L2", "L3")
    await deliver(db, *(a_listing(key) for key in keys), normaliser=WITHOUT_CITY)
    count = crm_properties.count_by_listing
    later = "2026-03-02T12:00:00Z"

    async def then_others_write(*args: Any) -> dict[str, int]:
        monkeypatch.undo()
        await deliver(db, a_listing("L1", ListPrice=1, ModificationTimestamp=later), normaliser=WITHOUT_CITY)
        await deliver(db, a_listing("L2", ListPrice=2, ModificationTimestamp=later))
        await purge(db, id_of("L3"))
        return await count(*args)

    monkeypatch.setattr(crm_properties, "count_by_listing", then_others_write)
    done = await replay(db, TODAY)

    assert [(await listing_row(conn, key))["fields"].get("ListPrice") for key in keys] == ["1", "2", None]
    assert [(await listing_row(conn, key))["fields"].get("City") for key in keys] == ["New York", "New York", None]
    assert (done.diff.listings, done.diff.changed) == (1, 1)
    assert [change[:2] for change in await history(conn, "L1")] == [
        ("new", None), ("price", "ListPrice"), ("renormalised", "City")
    ]  # fmt: skip


async def test_replay_beside_an_ingest_loses_nothing(db: Database, conn: Connection) -> None:
    """Both write the same listings at once; in the end each has today's form and the price that came."""
    keys = [f"L{n:04}" for n in range(600)]
    await deliver(db, *(a_listing(key) for key in keys), normaliser=WITHOUT_CITY)
    await a_crm(db, *keys)
    for at in range(0, len(keys), 300):
        linked = [links.LinkRow(n, key, property_id=id_of(key)) for n, key in enumerate(keys[at : at + 300])]
        await links.link_rows(db, WITHOUT_CITY.unsynced, linked)
    later = [a_listing(key, ListPrice=7, ModificationTimestamp="2026-03-02T12:00:00Z") for key in keys]

    done, read, other = await asyncio.gather(
        replay(db, TODAY), deliver(db, *reversed(later), page_size=100), replay(db, TODAY)
    )

    rows = await conn.fetch("SELECT city, fields::json ->> 'ListPrice' AS price FROM mls_properties")
    assert {tuple(row) for row in rows} == {("New York", "7")}
    assert await crm_properties.count_out_of_step(conn, TODAY.unsynced) == 0
    types = await conn.fetch("SELECT type, count(*) FROM property_changes GROUP BY type")
    assert {row["type"]: row["count"] for row in types} == {"new": 600, "price": 600, "renormalised": 600}
    assert done.diff.changed + other.diff.changed + read.tally.renormalised == 600


# -- the real deliveries -----------------------------------------------------------------------------------------------


@pytest.fixture
async def taken_in(db: Database, shared: Path) -> None:
    """The first listings of day 1 as the older table reads them, with the CRM's properties linked."""
    pages = [a_page(chunk, n) async for n, chunk in _chunks(islice(_both_days(shared), LISTINGS))]

    async def delivery() -> Any:
        for page in pages:
            yield page

    await ingest(db, Reader("nyc", OLDER), delivery(), location="New York, NY")
    with (shared / "data" / "crm_truth.csv").open(newline="", encoding="utf-8") as file:
        truth = [(row["crm_id"], row["listing_key"]) for row in csv.DictReader(file)]
    await a_crm(db, *(crm_id for crm_id, _ in truth), notes="mine", crm_status="active")
    rows = [links.LinkRow(n, crm_id, listing_key=key) for n, (crm_id, key) in enumerate(truth)]
    linked = await links.link_rows(db, OLDER.unsynced, rows, source="nyc")
    assert linked.linked > LISTINGS / 20


def _both_days(shared: Path) -> Iterator[bytes]:
    """Yield the listings of day 1, then those that day 2 brings anew: 20,000 in all."""
    seen = set()
    for day in (1, 2):
        with gzip.open(shared / "data" / f"nyc_listings_day{day}.jsonl.gz") as lines:
            for line in lines:
                key = orjson.loads(line)["ListingKey"]
                if key not in seen:
                    seen.add(key)
                    yield line


async def _chunks(lines: Any, size: int = 1000) -> Any:
    number = 0
    while chunk := [line.strip() for line in islice(lines, size)]:
        number += 1
        yield number, chunk


@pytest.mark.usefixtures("taken_in")
async def test_real_deliveries_come_into_todays_form(db: Database, conn: Connection, shared: Path) -> None:
    wanted = {
        record["ListingKey"]: TODAY.normalise(record).fields
        for record in map(orjson.loads, islice(_both_days(shared), LISTINGS))
    }
    lying, owned = await every_row(conn), await crm_properties.owned_digest(conn)
    before, crm_before = await stored_facts(conn), await _crm_fields(conn)
    seq = await conn.fetchval("SELECT max(seq) FROM events")
    steps: list[Progress] = []

    seen = await preview(db, TODAY)
    assert await every_row(conn) == lying
    done = await replay(db, TODAY, progress=steps.append)

    assert await stored_facts(conn) == wanted
    assert done.diff == seen
    assert (done.diff.listings, done.diff.unreadable, dict(done.diff.refused)) == (LISTINGS, 0, {})
    assert (steps[-1].done, steps[-1].of) == (LISTINGS, LISTINGS)
    assert await crm_properties.count_out_of_step(conn, TODAY.unsynced) == 0
    assert await crm_properties.owned_digest(conn) == owned

    changed = {
        (key, name): (before[key].get(name), facts.get(name))
        for key, facts in wanted.items()
        for name in before[key].keys() | facts.keys()
        if before[key].get(name) != facts.get(name)
    }
    rows = await conn.fetch(
        "SELECT p.source_key, c.type, c.field_name, c.previous_value, c.new_value FROM property_changes AS c"
        " JOIN mls_properties AS p USING (property_id) WHERE c.run_id = ANY ($1)",
        done.runs,
    )
    assert {row["type"] for row in rows} == {"renormalised"}
    assert {(row["source_key"], row["field_name"]): tuple(row)[3:] for row in rows} == changed
    assert len(rows) == len(changed)
    assert {name: one.listings for name, one in seen.fields.items()} == Counter(name for _, name in changed)
    assert {f.name for f in FIELDS if f.name in seen.fields} == UNKNOWN_THEN | OTHER_KIND.keys()
    key, previous, new = seen.fields["BedroomsTotal"].examples[0]
    assert changed[key, "BedroomsTotal"] == (previous, new)

    crm_after = await _crm_fields(conn)
    told = await conn.fetch("SELECT type, crm_property_id, field_names, change_types FROM events WHERE seq > $1", seq)
    differing = {
        crm_id: sorted(
            n for n in fields.keys() | crm_before[crm_id].keys() if fields.get(n) != crm_before[crm_id].get(n)
        )
        for crm_id, fields in crm_after.items()
        if fields != crm_before[crm_id]
    }
    assert {row["crm_property_id"]: row["field_names"] for row in told} == differing
    assert {(row["type"], *row["change_types"]) for row in told} == {("property.synced", "renormalised")}
    assert len(told) == len(differing) == done.diff.crm_updated


async def _crm_fields(conn: Connection) -> dict[str, dict[str, Any]]:
    rows = await conn.fetch("SELECT id, fields FROM crm_properties WHERE mls_property_id IS NOT NULL")
    return {row["id"]: row["fields"] for row in rows}


@pytest.mark.one_server
@pytest.mark.usefixtures("taken_in")
async def test_replay_that_is_killed_goes_on_with_what_is_left(
    db: Database, conn: Connection, database_dsn: str
) -> None:
    seed = int(os.environ.get("REPLAY_SEED", random.randrange(2**32)))
    print(f"REPLAY_SEED={seed}")  # noqa: T201 - shown when the test fails, to replay it
    seen = await preview(db, TODAY)
    kill_at = random.Random(seed).randrange(1, LISTINGS * 3 // 4)
    process = _command(database_dsn, "replay", "--yes", "--json")
    left = "SELECT count(*) FROM mls_state WHERE norm_version <> $1"
    while await conn.fetchval(left, TODAY.version) > LISTINGS - kill_at:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    await _until_sessions_end(conn)
    undone = await conn.fetchval(left, TODAY.version)
    assert 0 < undone < LISTINGS

    goes_on = _command(database_dsn, "replay", "--yes", "--json")
    out, errors = goes_on.communicate(timeout=300)

    assert goes_on.returncode == 0, errors.decode()
    ended = json.loads(out.splitlines()[-1])
    assert ended["listings"] == undone
    assert await conn.fetchval(left, TODAY.version) == 0
    assert await crm_properties.count_out_of_step(conn, TODAY.unsynced) == 0
    per_field = await conn.fetch(
        "SELECT field_name, count(*) FROM property_changes WHERE type = 'renormalised' GROUP BY field_name"
    )
    assert {row["field_name"]: row["count"] for row in per_field} == {n: f.listings for n, f in seen.fields.items()}
    told = await conn.fetch("SELECT crm_property_id FROM events WHERE 'renormalised' = ANY (change_types)")
    assert len({row["crm_property_id"] for row in told}) == len(told) == seen.crm_updated
    runs = await conn.fetch("SELECT status, error_code FROM scraping_jobs WHERE kind = 'replay' ORDER BY run_id")
    assert [tuple(row) for row in runs] == [("failed", "abandoned"), ("succeeded", None)]


async def _until_sessions_end(conn: Connection) -> None:
    """What a killed process was writing is rolled back when the server notices."""
    others = "datname = current_database() AND application_name = 'mls-crm-sync' AND backend_xid IS NOT NULL"
    while await conn.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {others}"):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


def _command(dsn: str, *args: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DATABASE_URL": dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}
    command = [sys.executable, "-m", "mls_crm_sync", *args]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
