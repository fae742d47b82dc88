"""The real deliveries as complete passes: who is called gone, by which proof, and what a person decides."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection
from pathlib import Path

import orjson
import pytest

from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.store import absence as store
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.absence import decide_hold
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.reader import Reader

READER = Reader("nyc", Normaliser())


async def complete(db: Database, file: Path) -> IngestResult:
    pages = FileReading(str(file), field_names=BY_NAME).pages()
    return await ingest(db, READER, pages, location="New York, NY", complete=True)


async def in_state(conn: Connection, state: str) -> set[str]:
    rows = await conn.fetch("SELECT source_key FROM mls_properties WHERE absence_state = $1", state)
    return {row["source_key"] for row in rows}


async def told(conn: Connection, kind: str) -> set[str]:
    """Whom events of a kind name; each once."""
    rows = await conn.fetch(
        "SELECT p.source_key FROM events AS e JOIN mls_properties AS p USING (property_id) WHERE e.type = $1", kind
    )
    names = [row["source_key"] for row in rows]
    assert len(names) == len(set(names))
    return set(names)


def keys_of(file: Path) -> list[str]:
    with gzip.open(file, "rb") as lines:
        return [orjson.loads(line)["ListingKey"] for line in lines]


def part_of(file: Path, into: Path, keys: Collection[str]) -> Path:
    with gzip.open(file, "rb") as lines:
        into.write_bytes(b"".join(line for line in lines if orjson.loads(line)["ListingKey"] in keys))
    return into


@pytest.mark.slow
@pytest.mark.one_server
async def test_real_deliveries_prove_absence(db: Database, conn: Connection, shared: Path, tmp_path: Path) -> None:
    first, second = (shared / "data" / f"nyc_listings_day{day}.jsonl.gz" for day in (1, 2))
    with gzip.open(shared / "data" / "day2_changed.csv.gz", "rt") as file:
        gone = {row["listing_key"] for row in csv.DictReader(file) if row["change"] == "gone"}
    assert len(gone) == 93
    await complete(db, first)

    half = tmp_path / "half.jsonl"
    whole = gzip.decompress(second.read_bytes())
    half.write_bytes(whole[: len(whole) // 2])
    for _ in range(4):
        assert (await complete(db, half)).end.outcome == "broken"
    assert await in_state(conn, "listed") >= gone
    assert await conn.fetchval("SELECT count(*) FROM location_listings WHERE missing_since IS NOT NULL") == 0

    for _ in range(2):
        assert (await complete(db, second)).end.outcome == "complete"
        assert await in_state(conn, "absent") == await in_state(conn, "held") == set()
    settled = (await complete(db, second)).settled

    assert settled.absent == 93
    assert await in_state(conn, "absent") == await told(conn, "listing.gone") == gone
    proofs = [row["evidence"] for row in await conn.fetch("SELECT evidence FROM absences")]
    assert {(p["rule"], p["passes"], p["source"], p["location"]) for p in proofs} == {
        ("no_lookup", 3, "nyc", "New York, NY")
    }
    assert all(p["last_shown_at"] < p["not_shown_since"] for p in proofs)

    await complete(db, first)  # day 1 again: they are all back by themselves
    assert await in_state(conn, "absent") == set()
    assert await told(conn, "listing.returned") == gone


@pytest.mark.slow
@pytest.mark.one_server
async def test_many_at_once_wait_for_a_person(db: Database, conn: Connection, shared: Path, tmp_path: Path) -> None:
    first = shared / "data" / "nyc_listings_day1.jsonl.gz"
    keys = keys_of(first)
    shown = set(keys[: len(keys) * 2 // 5])
    missing = set(keys) - shown
    some = part_of(first, tmp_path / "some.jsonl", shown)
    await complete(db, first)
    await conn.execute("ANALYZE")  # what the server knows is of before anything was held

    for _ in range(3):
        await complete(db, some)
    assert await in_state(conn, "held") == missing
    (hold,) = await store.holds(conn)
    assert (hold["listings"], hold["of"], hold["still_held"]) == (len(missing), len(keys), len(missing))

    assert await decide_hold(db, hold["hold_id"], "rejected", "ann") == len(missing)
    assert await in_state(conn, "listed") == set(keys)
    for _ in range(2):
        await complete(db, some)
    assert await in_state(conn, "listed") == set(keys), "the passes are counted anew"
    await complete(db, some)
    (hold,) = await store.holds(conn)

    assert await decide_hold(db, hold["hold_id"], "released", "ann") == len(missing)
    assert await in_state(conn, "absent") == missing == await told(conn, "listing.gone")
    released = await conn.fetchval("SELECT count(*) FROM absences WHERE evidence ->> 'released_by' = 'ann'")
    assert released == len(missing)
    assert await store.holds(conn) == []
