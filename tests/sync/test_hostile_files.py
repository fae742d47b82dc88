"""Files that were made to break readers, through the file source into the database.

Each is a value or a typed error; what is stored is its own normal form, and the payload replays to it.
"""

from __future__ import annotations

import csv
import json
import tarfile
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from making import LOCATION, SOURCE, a_listing, deliver
from mls_crm_sync.core.fields import BY_NAME, FIELDS, Kind
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.store import payloads
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.reader import Reader

pytestmark = pytest.mark.one_server

NORMALISER = Normaliser()


async def ingest_file(db: Database, path: Path, source: str = SOURCE) -> IngestResult:
    file = FileReading(str(path), field_names=BY_NAME)
    return await ingest(db, Reader(source, NORMALISER), file.pages(), location=LOCATION)


async def assert_stored_is_normal(conn: Connection) -> int:
    rows = await conn.fetch("SELECT source_key, fields::json, payload FROM mls_properties")
    for row in rows:
        assert NORMALISER.normalise(row["fields"]).fields == row["fields"], row["source_key"]
        assert NORMALISER.normalise(payloads.unpack(row["payload"])).fields == row["fields"], row["source_key"]
    return len(rows)


async def test_json_test_suite_ends_in_a_value_or_a_typed_error(
    db: Database, conn: Connection, shared: Path, tmp_path: Path
) -> None:
    with tarfile.open(shared / "suites" / "JSONTestSuite-test_parsing.tar.gz") as suite:
        names = [m for m in suite.getmembers() if m.name.endswith(".json")]
        datas = {Path(m.name).stem: file.read() for m in names if (file := suite.extractfile(m)) is not None}
    assert len(datas) > 300
    read = 0
    for name, data in datas.items():
        wrapped = b'[{"ListingKey": "%s", "City": "x", "X": %s}]' % (name.encode(), data)
        for kind, text in (("json", data), ("jsonl", data), ("json", wrapped), ("jsonl", wrapped[1:-1])):
            path = tmp_path / f"{len(data)}.{kind}"
            path.write_bytes(text)
            result = await ingest_file(db, path)
            tally = result.tally
            assert tally.read == tally.new + tally.changed + tally.unchanged + tally.quarantined
            assert result.error is None or result.status in {"failed", "partial"}
            read += tally.new
    assert read > 50
    assert await assert_stored_is_normal(conn) == read


async def test_naughty_strings_are_stored_in_normal_form_or_quarantined(
    db: Database, conn: Connection, shared: Path
) -> None:
    strings = json.loads((shared / "suites" / "blns.json").read_text(encoding="utf-8"))
    records = [record | {record["X_Local"]: "a name"} for record in naughty_records(strings)]

    result = await deliver(db, *(orjson.dumps(record) for record in records))

    assert result.tally.read == len(strings)
    assert result.tally.quarantined == 0
    assert await assert_stored_is_normal(conn) == len(strings)
    again = await deliver(db, *(orjson.dumps(record) for record in records))
    assert (again.tally.changed, again.tally.unchanged) == (0, len(strings))


def naughty_records(strings: list[str]) -> list[dict[str, str]]:
    """One for each string, with the string in every member that takes text."""
    kinds = {Kind.TEXT, Kind.ENUM, Kind.MULTI, Kind.POSTAL_CODE}
    texts = [field.name for field in FIELDS if field.kind in kinds and not field.volatile]
    return [dict.fromkeys(texts, text) | {"ListingKey": f"K{n}", "X_Local": text} for n, text in enumerate(strings)]


async def test_naughty_strings_say_the_same_in_a_file_of_any_format(
    db: Database, conn: Connection, shared: Path, tmp_path: Path
) -> None:
    records = naughty_records(json.loads((shared / "suites" / "blns.json").read_text(encoding="utf-8")))
    with (tmp_path / "csv.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([records[0], *(record.values() for record in records)])
    (tmp_path / "jsonl.jsonl").write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    (tmp_path / "json.json").write_text(json.dumps(records, indent=1), encoding="utf-8")  # escaped, and spread out

    said = {}
    for kind in ("csv", "jsonl", "json"):
        result = await ingest_file(db, tmp_path / f"{kind}.{kind}", source=kind)
        assert (result.tally.new, result.tally.quarantined, result.error) == (len(records), 0, None)
        rows = await conn.fetch("SELECT source_key, fields FROM mls_properties WHERE source = $1", kind)
        said[kind] = {row["source_key"]: row["fields"] for row in rows}

    assert said["csv"] == said["jsonl"] == said["json"]
    assert await assert_stored_is_normal(conn) == 3 * len(records)


async def test_naughty_keys_are_told_apart_or_quarantined(db: Database, conn: Connection, shared: Path) -> None:
    strings = json.loads((shared / "suites" / "blns.json").read_text(encoding="utf-8"))

    result = await deliver(db, *({"ListingKey": text, "City": str(n)} for n, text in enumerate(strings)))

    tally = result.tally
    assert tally.read == len(strings) == tally.new + tally.changed + tally.quarantined
    assert {r["reason"] for r in await conn.fetch("SELECT reason FROM quarantined_records")} <= {
        "missing_key",
        "bad_value",
    }
    assert await assert_stored_is_normal(conn) == tally.new


async def test_media_of_a_csv_are_those_of_the_same_listing_in_json(
    db: Database, conn: Connection, tmp_path: Path
) -> None:
    listing = {"ListingKey": "L1", "City": "x", "Media": a_listing("L1")["Media"]}
    (tmp_path / "l.json").write_bytes(orjson.dumps([listing]))
    with (tmp_path / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows([listing, [*list(listing.values())[:2], json.dumps(listing["Media"])]])

    assert (await ingest_file(db, tmp_path / "l.json")).tally.new == 1
    tally = (await ingest_file(db, tmp_path / "l.csv")).tally
    assert (tally.unchanged, tally.changed, tally.quarantined) == (1, 0, 0)
    assert await assert_stored_is_normal(conn) == 1


@pytest.mark.parametrize("folder", ["mred", "spark/listings"])
async def test_recorded_answers_are_read_without_losing_a_member(
    db: Database, conn: Connection, shared: Path, folder: str
) -> None:
    read = 0
    for path in sorted((shared / "fixtures" / folder).glob("*.json")):
        await ingest_file(db, path, source=path.name)  # they all tell of the same few listings, at different times
        rows = await conn.fetch("SELECT source_key, payload FROM mls_properties WHERE source = $1", path.name)
        stored = {row["source_key"]: payloads.unpack(row["payload"]) for row in rows}
        for record in _records(json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)):
            if "ListingKey" in record:
                kept = stored[str(record["ListingKey"])]
                assert {name: kept.get(name, "lost") for name in record} == record, path.name
                read += 1
    assert read >= (1 if folder == "mred" else 10)


def _records(document: object) -> list[dict[str, object]]:
    if not isinstance(document, dict):
        return []
    results = document.get("D", {}).get("Results") if "D" in document else [{"StandardFields": document}]
    return [r["StandardFields"] for r in results or () if isinstance(r, dict) and "StandardFields" in r]
