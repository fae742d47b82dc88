"""A broken record waits with its reason, and can be tried again alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from making import LOCATION, SOURCE, a_crm, a_link, a_listing, crm_row, deliver, listing_row
from mls_crm_sync.core.errors import QuarantineNotFound
from mls_crm_sync.core.fields import FIELDS
from mls_crm_sync.core.listing import Normaliser, property_id
from mls_crm_sync.sources.base import Page, Rejected
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.store import quarantine as store
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import ingest
from mls_crm_sync.sync.purge import purge
from mls_crm_sync.sync.push import push
from mls_crm_sync.sync.quarantine import retry
from mls_crm_sync.sync.reader import Reader

BAD_YEAR = a_listing("L1", ListPrice=450000, YearBuilt="around 1900")


def without_year() -> Normaliser:
    """Tomorrow's field table: it no longer knows the field that today's refuses."""
    return Normaliser([field for field in FIELDS if field.name != "YearBuilt"])


async def test_retry_takes_in_what_can_be_read_now(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"))
    await a_crm(db, "a")
    await a_link(db, "a")
    await deliver(db, BAD_YEAR, b"{broken")

    summary = await retry(db, without_year())

    assert (summary.tried, summary.resolved) == (2, 1)
    assert (await crm_row(conn, "a"))["fields"]["ListPrice"] == "450000"
    still = await store.page(conn)
    assert [(row["reason"], row["times"]) for row in still] == [("not_json", 2)]


async def test_retry_of_a_record_whose_listing_has_changed_since_is_superseded(db: Database, conn: Connection) -> None:
    timeless: dict[str, Any] = {"ModificationTimestamp": None}
    await deliver(db, a_listing(**timeless))
    await deliver(db, BAD_YEAR | timeless, a_listing(ListPrice=400000, **timeless))

    summary = await retry(db, without_year())

    assert (summary.resolved, summary.tally.superseded) == (1, 1)
    assert (await listing_row(conn))["fields"]["ListPrice"] == "400000"


async def test_retry_says_nothing_about_listings_it_did_not_show(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"), b"{broken")
    await retry(db, Normaliser())

    assert await conn.fetchval("SELECT count(*) FROM location_listings WHERE last_shown_at IS NOT NULL") == 0
    assert await conn.fetchval("SELECT count(*) FROM location_passes") == 1


async def test_retry_of_an_unknown_id_is_not_found(db: Database) -> None:
    with pytest.raises(QuarantineNotFound):
        await retry(db, Normaliser(), [7])


async def test_record_too_large_to_keep_whole_is_marked_and_not_tried(db: Database, conn: Connection) -> None:
    huge = orjson.dumps({"ListingKey": "L1", "YearBuilt": "x" * (store.KEPT_BYTES + 10)})
    await deliver(db, huge)

    summary = await retry(db, Normaliser())

    assert (summary.tried, summary.cut_short) == (0, 1)
    kept = (await store.page(conn))[0]
    assert len(store.unpack(kept["payload"])) == store.KEPT_BYTES


async def test_retry_that_fails_leaves_the_record_as_old_as_it_was(db: Database, conn: Connection) -> None:
    timeless: dict[str, Any] = {"ModificationTimestamp": None}
    await deliver(db, a_listing(**timeless))
    await deliver(db, BAD_YEAR | timeless, a_listing(ListPrice=400000, **timeless))

    assert (await retry(db, Normaliser())).resolved == 0
    summary = await retry(db, without_year())

    assert (summary.resolved, summary.tally.superseded) == (1, 1)
    assert (await listing_row(conn))["fields"]["ListPrice"] == "400000"


async def test_piece_that_never_was_a_record_keeps_its_reason_and_is_not_tried(db: Database, conn: Connection) -> None:
    async def pages() -> AsyncIterator[Page]:
        yield Page(1, (), (Rejected(2, "too_few_cells", "2 cells, the header 3", b"a,b"),), 0, {})

    await ingest(db, Reader(SOURCE, Normaliser()), pages(), location=LOCATION)

    summary = await retry(db, Normaliser())

    assert (summary.tried, summary.cut_short) == (0, 1)
    assert [row["reason"] for row in await store.page(conn)] == ["too_few_cells"]


async def open_rows(conn: Connection) -> list[tuple[str, int]]:
    return [(row["reason"], row["times"]) for row in await store.page(conn)]


async def test_listing_that_can_be_read_again_closes_what_was_set_aside_of_it(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2", YearBuilt="old"), b"{broken")
    await deliver(db, a_listing("L1", YearBuilt="older"))
    assert len(await open_rows(conn)) == 3

    await deliver(db, a_listing("L1"), a_listing("L2"))

    assert await open_rows(conn) == [("not_json", 1)]


async def test_older_revision_closes_nothing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1", ModificationTimestamp="2026-03-02T00:00:00Z"))
    await deliver(db, a_listing("L1", YearBuilt="old", ModificationTimestamp="2026-03-03T00:00:00Z"))

    await deliver(db, a_listing("L1", ListPrice=1, ModificationTimestamp="2026-03-01T00:00:00Z"))

    assert await open_rows(conn) == [("bad_value", 1)]


JANUARY = "2026-01-10T00:00:00Z"
FEBRUARY = "2026-02-10T00:00:00Z"


@pytest.mark.parametrize("elsewhere", [LOCATION, "another place"])
async def test_older_copy_that_is_what_is_stored_closes_nothing_newer(
    db: Database, conn: Connection, elsewhere: str
) -> None:
    old = a_listing("L1", ListPrice=100, ModificationTimestamp=JANUARY)
    await deliver(db, old)
    await deliver(db, a_listing("L1", ListPrice=90, YearBuilt="unknown", ModificationTimestamp=FEBRUARY))

    await deliver(db, old, location=elsewhere)
    assert await open_rows(conn) == [("bad_value", 1)]

    await deliver(db, a_listing("L1", ListPrice=90, ModificationTimestamp=FEBRUARY), location=elsewhere)
    assert await open_rows(conn) == []


async def test_older_copy_of_what_was_set_aside_makes_it_no_older(db: Database, conn: Connection) -> None:
    old = a_listing("L1", ModificationTimestamp=JANUARY)
    broken = a_listing("L1", YearBuilt="unknown")
    await deliver(db, old)
    await deliver(db, broken | {"ModificationTimestamp": FEBRUARY})
    await deliver(db, broken | {"ModificationTimestamp": JANUARY})

    await deliver(db, old)

    assert await open_rows(conn) == [("bad_value", 2)]


@pytest.mark.parametrize("clock", [None, "soon", "2999-01-01T00:00:00Z"])
async def test_record_whose_clock_tells_nothing_is_closed_by_any_that_can_be_read(
    db: Database, conn: Connection, clock: str | None
) -> None:
    await deliver(db, a_listing("L1"))
    await deliver(db, a_listing("L1", YearBuilt="unknown", ModificationTimestamp=clock))
    assert len(await open_rows(conn)) == 1

    await deliver(db, a_listing("L1"))

    assert await open_rows(conn) == []


async def test_listing_of_the_same_key_at_another_source_closes_nothing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1", YearBuilt="old"))
    await deliver(db, a_listing("L1"), source="another-mls")

    assert await open_rows(conn) == [("bad_value", 1)]


async def test_pushed_listing_closes_what_was_set_aside_under_its_key(db: Database, conn: Connection) -> None:
    pushed = {"property_id": "my-own", **a_listing("L1")}
    await push(db, Normaliser(), [pushed], source=SOURCE, location=LOCATION)
    await push(db, Normaliser(), [pushed | {"YearBuilt": "old"}], source=SOURCE, location=LOCATION)
    assert await open_rows(conn) == [("bad_value", 1)]

    await push(db, Normaliser(), [pushed | {"ListPrice": 7}], source=SOURCE, location=LOCATION)

    assert await open_rows(conn) == []


async def test_record_that_is_broken_again_with_other_noise_is_one_row(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1", YearBuilt="old", DaysOnMarket=1))
    await deliver(db, a_listing("L1", YearBuilt="old", DaysOnMarket=2))

    assert await open_rows(conn) == [("bad_value", 2)]
    kept = orjson.loads(store.unpack((await store.page(conn))[0]["payload"]))
    assert kept["DaysOnMarket"] == 2


async def test_purge_takes_what_was_set_aside_too_and_nothing_else(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"))
    await deliver(db, a_listing("L1", YearBuilt="old"), a_listing("L2", YearBuilt="old"))
    await deliver(db, a_listing("L1", ListPrice=1))
    await deliver(db, a_listing("L1", YearBuilt="older"))

    await purge(db, property_id(SOURCE, "L1"))

    assert [row["source_key"] for row in await conn.fetch("SELECT source_key FROM quarantined_records")] == ["L2"]


async def test_clock_in_the_future_is_set_aside_and_freezes_nothing(db: Database, conn: Connection) -> None:
    tomorrow = f"{datetime.now(UTC) + timedelta(hours=23):%Y-%m-%dT%H:%M:%SZ}"
    far = f"{datetime.now(UTC) + timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}"
    await deliver(db, a_listing("L1", ModificationTimestamp="2026-03-01T00:00:00Z"))

    same = await deliver(db, a_listing("L1", ModificationTimestamp=far))
    other = await deliver(db, a_listing("L1", ListPrice=1, ModificationTimestamp=far))
    assert [(t.tally.quarantined, t.tally.changed) for t in (same, other)] == [(1, 0), (1, 0)]
    assert [reason for reason, _ in await open_rows(conn)] == ["clock_ahead", "clock_ahead"]

    assert (await deliver(db, a_listing("L1", ListPrice=2, ModificationTimestamp=tomorrow))).tally.changed == 1
    assert (await listing_row(conn))["fields"]["ListPrice"] == "2"


async def test_records_are_found_again_by_file_and_line(db: Database, conn: Connection, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(b'{"ListingKey": "L1"}\n{' + name.encode() + b"\n")

    async def pages() -> AsyncIterator[Page]:
        for name in ("a.jsonl", "b.jsonl"):
            async for page in FileReading(str(tmp_path / name), field_names=()).pages():
                yield page

    await ingest(db, Reader(SOURCE, Normaliser()), pages(), location=LOCATION)

    found = [(row["origin"], row["position"]) for row in await store.page(conn)]
    assert found == [(str(tmp_path / "a.jsonl"), 2), (str(tmp_path / "b.jsonl"), 2)]
