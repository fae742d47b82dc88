"""A broken record waits with its reason, and can be tried again alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from making import LOCATION, SOURCE, a_crm, a_link, a_listing, crm_row, deliver, listing_row
from mls_crm_sync.core.errors import QuarantineNotFound
from mls_crm_sync.core.fields import FIELDS
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page, Rejected
from mls_crm_sync.store import quarantine as store
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import ingest
from mls_crm_sync.sync.quarantine import retry
from mls_crm_sync.sync.recognise import Reader

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
    await deliver(db, BAD_YEAR | timeless)
    await deliver(db, a_listing(ListPrice=400000, **timeless))

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
    await deliver(db, BAD_YEAR | timeless)
    await deliver(db, a_listing(ListPrice=400000, **timeless))

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
