"""The heart: a listing changes, every linked CRM property follows in the same transaction, and nothing else moves."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from making import (
    LOCATION,
    SOURCE,
    a_crm,
    a_link,
    a_listing,
    a_page,
    crm_row,
    deliver,
    event_log,
    history,
    id_of,
    listing_row,
    load_migration,
    out_of_step,
    without,
)
from mls_crm_sync.core.errors import RunLost, SourceBroken
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.store import listings, payloads, runs
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import ingest as ingesting
from mls_crm_sync.sync.ingest import end_abandoned, ingest
from mls_crm_sync.sync.reader import Reader


@pytest.fixture(autouse=True, params=[0, 10], ids=["looked_at_before", "looked_at_under_locks"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which a page is looked at: up to so many records are under the locks of their listings."""
    monkeypatch.setattr(ingesting, "FEW", request.param)


async def test_new_listing_is_one_row_of_history_without_a_field_and_one_event(db: Database, conn: Connection) -> None:
    result = await deliver(db, a_listing())

    assert (result.status, result.tally.new, result.tally.changes) == ("succeeded", 1, {"new": 1})
    assert await history(conn) == [("new", None, None, None)]
    assert await event_log(conn) == [("listing.changed", id_of(), None, [], ["new"])]


async def test_price_change_reaches_every_linked_crm_property_in_the_same_run(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a", "b", "c", notes="mine")
    await a_link(db, "a")
    await a_link(db, "b")

    result = await deliver(db, a_listing(ListPrice=480000, ModificationTimestamp="2026-03-02T12:00:00Z"))

    assert (result.tally.changed, result.tally.crm_updated, result.tally.changes) == (1, 2, {"price": 1})
    assert (await history(conn))[1:] == [("price", "ListPrice", "500000", "480000")]
    assert [(await crm_row(conn, c))["fields"].get("ListPrice") for c in "abc"] == ["480000", "480000", None]
    assert (await event_log(conn))[-3:] == [
        ("listing.changed", id_of(), None, ["ListPrice"], ["price"]),
        ("property.synced", id_of(), "a", ["ListPrice"], ["price"]),
        ("property.synced", id_of(), "b", ["ListPrice"], ["price"]),
    ]
    assert await out_of_step(conn) == []


async def test_same_bytes_again_are_recognised_and_write_nothing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    before = await _everything(conn)

    result = await deliver(db, a_listing())

    assert (result.tally.unchanged, result.tally.recognised) == (1, 1)
    assert await _everything(conn) == before


async def test_listing_whose_digest_was_forgotten_is_parsed_once_and_remembered(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    before = await listing_row(conn)
    await conn.execute(load_migration("0017_digests_anew"))
    assert (await listing_row(conn))["digest"] == b""

    tallies = [(await deliver(db, a_listing())).tally for _ in range(2)]

    assert [(t.unchanged, t.recognised, t.changed) for t in tallies] == [(1, 0, 0), (1, 1, 0)]
    assert await listing_row(conn) == before
    assert len(await history(conn)) == 1


async def test_record_that_only_a_glance_takes_is_set_aside(db: Database, conn: Connection) -> None:
    """Nobody looks at the names of other members at a glance: of a new listing, and of one that is stored."""
    bad = [orjson.dumps(a_listing(key)).replace(b'"City"', b'"City\xff"') for key in ("L2", "L3")]
    await deliver(db, a_listing("L1"), a_listing("L2"))

    result = await deliver(db, a_listing("L1"), *bad, a_listing("L4"))

    assert (result.tally.unchanged, result.tally.new, result.tally.quarantined) == (1, 1, 2)
    assert {row["reason"] for row in await conn.fetch("SELECT reason FROM quarantined_records")} == {"not_utf8"}


async def test_what_says_the_same_is_not_parsed_on_whatever_page(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await deliver(db, *(a_listing(f"L{n}") for n in range(6)))
    touched = [a_listing(f"L{n}", ModificationTimestamp="2026-03-02T12:00:00Z", DaysOnMarket=11) for n in range(6)]
    for record in touched:
        record["Media"][0]["MediaURL"] += "2"

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Reader, "take", never)

    assert (await deliver(db, *touched, page_size=2)).tally.recognised == 6


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_pages_of_news_come_to_the_same_however_they_are_cut(db: Database, conn: Connection, size: int) -> None:
    """What follows a page of news is parsed at once, before it is asked what is stored."""
    stored = [a_listing(f"L{n}", Appliances=["Oven", "Washer"]) for n in range(4)]
    await deliver(db, *stored, a_listing("L4", Appliances=["Oven", "Washer"], PublicRemarks="a\0"))
    news = [a_listing(f"N{n}") for n in range(3)]
    known = [a_listing("L0", Appliances=["Oven", "Washer"]), a_listing("L1", Appliances=["Washer", "Oven"])]
    changed = a_listing("L2", Appliances=["Oven", "Washer"], ListPrice=1)
    broken = a_listing("L3", ListPrice="dear")
    newer = a_listing("N0", ModificationTimestamp="2026-03-09T00:00:00Z")
    mended = a_listing("L4", Appliances=["Washer", "Oven"], PublicRemarks="a\0")  # only parsing shows what is stored

    tally = (await deliver(db, *news, *known, changed, broken, newer, mended, page_size=size)).tally

    assert (tally.new, tally.changed, tally.unchanged, tally.recognised, tally.quarantined) == (3, 1, 4, 3, 1)
    assert [(await history(conn, key))[-1][0] for key in ("N0", "L0", "L1", "L2", "L3")] == [
        "new", "new", "new", "price", "new"
    ]  # fmt: skip


async def test_noise_is_recognised_without_parsing_and_moves_only_the_clock(db: Database, conn: Connection) -> None:
    photos = [{"MediaKey": f"k{n}", "Order": n, "MediaURL": f"https://p.test/{n}.jpg?sig=1"} for n in range(3)]
    await deliver(db, a_listing(Media=photos))
    await a_crm(db, "a")
    await a_link(db, "a")
    before = await _everything(conn)

    signed = [photo | {"MediaURL": f"{photo['MediaURL']}23"} for photo in reversed(photos)]
    again = a_listing(Media=signed, DaysOnMarket=11, ModificationTimestamp="2026-03-09T00:00:00Z")
    result = await deliver(db, again)

    assert (result.tally.recognised, result.tally.crm_updated) == (1, 0)
    assert await _everything(conn) == before
    assert str((await listing_row(conn))["source_modified_at"]) == "2026-03-09 00:00:00+00:00"


async def test_other_spelling_of_the_same_facts_is_no_change(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(Cooling=["Central Air", "Ductless"], StandardStatus="Active Under Contract"))
    before = (await history(conn), await event_log(conn), (await listing_row(conn))["last_changed_at"])

    other = a_listing(Cooling="Ductless,Central Air", StandardStatus="ActiveUnderContract", ListPrice="500000.00")
    result = await deliver(db, other)

    assert (result.tally.unchanged, result.tally.recognised, result.tally.changed) == (1, 0, 0)
    assert (await history(conn), await event_log(conn), (await listing_row(conn))["last_changed_at"]) == before
    assert (await deliver(db, other)).tally.recognised == 1


async def test_absent_member_keeps_its_value_and_null_clears_it(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")

    kept = await deliver(db, without(a_listing(), "BedroomsTotal"))
    assert kept.tally.changed == 0
    assert (await listing_row(conn))["fields"]["BedroomsTotal"] == 2

    cleared = await deliver(db, a_listing(BedroomsTotal=None))
    assert cleared.tally.changes == {"other": 1}
    assert "BedroomsTotal" not in (await listing_row(conn))["fields"]
    assert "BedroomsTotal" not in (await crm_row(conn, "a"))["fields"]


async def test_older_revision_changes_nothing(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(ListPrice=450000, ModificationTimestamp="2026-03-05T00:00:00Z"))

    late = await deliver(db, a_listing(ListPrice=500000, ModificationTimestamp="2026-03-01T00:00:00Z"))

    assert (late.tally.older, late.tally.unchanged, late.tally.changed) == (1, 1, 0)
    assert (await listing_row(conn))["fields"]["ListPrice"] == "450000"


async def test_clock_that_moved_alone_makes_data_from_before_it_older(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(ModificationTimestamp="2026-03-01T00:00:00Z"))
    await deliver(db, a_listing(ModificationTimestamp="2026-03-07T00:00:00Z"))

    late = await deliver(db, a_listing(ListPrice=1, ModificationTimestamp="2026-03-05T00:00:00Z"))

    assert late.tally.older == 1
    assert (await listing_row(conn))["fields"]["ListPrice"] == "500000"


async def test_same_time_stamp_and_other_content_takes_the_later_fetch_and_logs_it(
    db: Database, conn: Connection
) -> None:
    later = "2026-03-02T12:00:00Z"
    await deliver(db, a_listing("L1"), a_listing("L2"))
    with capture_logs() as logs:
        await deliver(db, a_listing("L1", ListPrice=1), a_listing("L2", ListPrice=1, ModificationTimestamp=later))

    assert (await listing_row(conn))["fields"]["ListPrice"] == "1"
    told = [entry["property_id"] for entry in logs if entry["event"] == "same_time_other_content"]
    assert told == [id_of("L1")]


@pytest.mark.parametrize(
    ("before", "after", "types"),
    [
        ("Active", "Pending", {"status": 1}),
        ("Pending", "Active", {"back_on_market": 1, "status": 1}),
        ("Withdrawn", "Active", {"back_on_market": 1, "status": 1}),
        ("Expired", "Active", {"relisted": 1, "status": 1}),
        ("Closed", "Active", {"relisted": 1, "status": 1}),
    ],
)
async def test_status_changes_have_the_trades_names(
    db: Database, before: str, after: str, types: dict[str, int]
) -> None:
    await deliver(db, a_listing(StandardStatus=before, MlsStatus=before))

    result = await deliver(db, a_listing(StandardStatus=after, MlsStatus=after))

    assert result.tally.changes == types


async def test_listing_twice_in_a_page_counts_as_two_deliveries(db: Database, conn: Connection) -> None:
    result = await deliver(db, a_listing(ListPrice=1), a_listing(ListPrice=2), a_listing(ListPrice=3))

    assert (result.tally.read, result.tally.new, result.tally.changed) == (3, 1, 2)
    assert result.tally.changes == {"new": 1, "price": 1}, "each listing once per type"
    assert [h[2:] for h in (await history(conn))[1:]] == [("1", "2"), ("2", "3")]


async def test_listing_that_changes_and_changes_back_within_a_page_ends_as_it_came_last(
    db: Database, conn: Connection
) -> None:
    """The last record has the very bytes that were stored before the page: what came between must not hide it."""
    await deliver(db, a_listing())

    await deliver(db, a_listing(ListPrice=1), a_listing())

    assert (await listing_row(conn))["fields"]["ListPrice"] == "500000"
    assert [h[2:] for h in (await history(conn))[1:]] == [("500000", "1"), ("1", "500000")]


async def test_poison_record_is_quarantined_and_its_page_goes_on(db: Database, conn: Connection) -> None:
    bad = a_listing("L2", ListPrice="a lot")
    result = await deliver(
        db, a_listing("L1"), bad, b"{broken", b"[1]", a_listing("L3"), without(a_listing(), "ListingKey")
    )

    assert (result.tally.read, result.tally.new, result.tally.quarantined) == (6, 2, 4)
    rows = await conn.fetch("SELECT position, reason, field_name FROM quarantined_records ORDER BY position")
    assert [tuple(row) for row in rows] == [
        (2, "bad_value", "ListPrice"),
        (3, "not_json", None),
        (4, "not_an_object", None),
        (6, "missing_key", "ListingKey"),
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (orjson.dumps(a_listing(ModificationTimestamp="9999-12-31T23:59:59-05:00")), "bad_value"),
        (b'{"ListingKey": "L1", "X": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    ],
    ids=["beyond the calendar", "beyond the stack"],
)
async def test_record_that_breaks_the_quick_look_is_quarantined_like_any_other(
    db: Database, conn: Connection, record: bytes, reason: str
) -> None:
    result = await deliver(db, record, a_listing("L2"))

    assert (result.tally.quarantined, result.tally.new) == (1, 1)
    assert await conn.fetchval("SELECT reason FROM quarantined_records") == reason


async def test_run_killed_between_the_transactions_of_a_page_loses_no_member_of_the_location(
    db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [a_listing(f"L{n}") for n in range(1000)]

    class Killed(BaseException):
        pass

    async def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("mls_crm_sync.sync.ingest._PageWriter._apply_last", die)
        with pytest.raises(Killed):
            await deliver(db, *records)
    await conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND pid <> pg_backend_pid()"
    )
    await deliver(db, *records, complete=True)

    assert await conn.fetchval("SELECT count(*) FROM location_listings") == 1000


async def test_abandoned_run_is_ended_once_and_a_live_one_is_left_alone(db: Database, conn: Connection) -> None:
    async with conn.transaction():
        dead = await runs.start(conn, "ingest", SOURCE, LOCATION)
        live = await runs.start(conn, "ingest", SOURCE, LOCATION)
    assert await runs.claim(conn, live.run_id)

    await asyncio.gather(*(end_abandoned(db) for _ in range(4)))

    rows = await conn.fetch("SELECT run_id, status, error_code FROM scraping_jobs ORDER BY run_id")
    assert [tuple(row) for row in rows] == [(dead.run_id, "failed", "abandoned"), (live.run_id, "running", None)]
    assert await conn.fetchval("SELECT epoch FROM scraping_job_locations WHERE run_id = $1", dead.run_id) == 2


async def test_run_that_has_ended_leaves_no_lock_in_a_session(db: Database, conn: Connection) -> None:
    """Sessions go back to the pool as they are."""
    await deliver(db, a_listing("L1"))
    with pytest.raises(RuntimeError):
        await ingest(db, Reader(SOURCE, Normaliser()), _breaking(), location=LOCATION)

    left = await conn.fetchval(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory'"
    )
    assert left == 0


async def _breaking() -> AsyncIterator[Page]:
    yield Page(1, (), (), bytes_read=0, checkpoint={})
    raise RuntimeError


async def test_empty_delivery_proves_nothing_whatever_its_sender_says(db: Database, conn: Connection) -> None:
    await deliver(db, complete=True)

    assert await conn.fetchval("SELECT outcome FROM location_passes") == "unproven"


async def test_ever_new_member_names_do_not_grow_a_run(db: Database) -> None:
    result = await deliver(db, *({**a_listing(f"L{n}"), f"X_{n}": n} for n in range(500)))

    assert len(result.tally.unknown_members) <= 201
    assert sum(result.tally.unknown_members.values()) == 500


async def test_same_broken_bytes_again_are_one_row_counted_twice(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(), b"{broken")
    await deliver(db, a_listing(), b"{broken")

    assert [r["times"] for r in await conn.fetch("SELECT times FROM quarantined_records")] == [2]


async def test_broken_delivery_keeps_what_was_stored_and_says_so(db: Database, conn: Connection) -> None:
    async def breaks() -> AsyncIterator[Page]:
        yield a_page([a_listing("L1")])
        raise SourceBroken("truncated", "ends in the middle of a record")

    result = await ingest(db, Reader(SOURCE, Normaliser()), breaks(), location=LOCATION, complete=True)

    assert (result.status, result.tally.new) == ("partial", 1)
    assert result.error is not None
    run = (await runs.newest(conn))[0]
    assert (run["status"], run["error_code"]) == ("partial", "truncated")
    assert await conn.fetchval("SELECT outcome FROM location_passes") == "broken"


async def test_pass_whose_answer_goes_on_elsewhere_is_not_complete(
    db: Database, conn: Connection, tmp_path: Path
) -> None:
    records = [a_listing(f"L{n}") for n in range(4)]
    (tmp_path / "a.json").write_bytes(orjson.dumps({"value": records, "@odata.nextLink": "https://mls.test/next"}))
    source = FileReading(str(tmp_path / "a.json"), field_names=(), page_size=2)  # so that nothing is left for the link

    result = await ingest(db, Reader(SOURCE, Normaliser()), source.pages(), location=LOCATION, complete=True)

    assert (result.status, result.tally.new) == ("succeeded", 4)
    (row,) = await conn.fetch("SELECT outcome, evidence, shown FROM location_passes")
    assert (row["outcome"], row["shown"]) == ("unproven", 4)
    assert "@odata.nextLink" in row["evidence"]


async def test_pass_with_a_record_nobody_could_read_is_not_complete(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(), complete=True)
    await deliver(db, a_listing(), b"{", complete=True)

    assert [r["outcome"] for r in await conn.fetch("SELECT outcome FROM location_passes ORDER BY pass_id")] == [
        "complete",
        "unproven",
    ]


async def test_run_given_away_writes_nothing_more(db: Database, conn: Connection) -> None:
    async def given_away() -> AsyncIterator[Page]:
        yield a_page([a_listing("L1")])
        while not await conn.fetchval("SELECT count(*) FROM mls_properties"):  # noqa: ASYNC110 - the database tells
            await asyncio.sleep(0.01)
        await conn.execute("UPDATE scraping_job_locations SET epoch = epoch + 1")
        yield a_page([a_listing("L2")], 2)

    with pytest.raises(RunLost):
        await ingest(db, Reader(SOURCE, Normaliser()), given_away(), location=LOCATION)

    assert [r["source_key"] for r in await conn.fetch("SELECT source_key FROM mls_properties")] == ["L1"]


async def test_unknown_members_are_kept_in_the_payload_and_counted(db: Database, conn: Connection) -> None:
    result = await deliver(db, a_listing(X_Local="só", Deep={"a": [1, {"b": 2}]}))

    assert result.tally.unknown_members == {"Deep": 1, "X_Local": 1}
    payload = payloads.unpack((await listing_row(conn))["payload"])
    assert (payload["X_Local"], payload["Deep"]) == ("só", {"a": [1, {"b": 2}]})


async def test_unknown_member_that_changes_alone_moves_the_payload_and_is_no_change(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing(X_Local=1))

    result = await deliver(db, a_listing(X_Local=2))

    assert (result.tally.changed, len(await history(conn))) == (0, 1)
    assert payloads.unpack((await listing_row(conn))["payload"])["X_Local"] == 2


async def test_unsynced_fields_are_stored_and_stay_out_of_the_crm(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(PrivateRemarks="lockbox 1234"))
    await a_crm(db, "a")
    await a_link(db, "a")

    await deliver(db, a_listing(PrivateRemarks="lockbox 9999", ListPrice=1))

    assert (await listing_row(conn))["fields"]["PrivateRemarks"] == "lockbox 9999"
    assert "PrivateRemarks" not in (await crm_row(conn, "a"))["fields"]


async def test_content_hash_is_sha256_and_the_same_for_the_same_facts_from_anywhere(
    db: Database, conn: Connection
) -> None:
    await deliver(db, a_listing("L1", Media=None), source="one")
    await deliver(db, dict(reversed(a_listing("L1", Media=None).items())), source="two")

    hashes = {r["content_hash"] for r in await conn.fetch("SELECT content_hash FROM mls_state")}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 32


async def test_payload_replays_to_the_stored_fields(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing(Cooling="A,B"))
    await deliver(db, without(a_listing(ListPrice=2, ModificationTimestamp="2026-04-01T00:00:00Z"), "Cooling", "City"))
    await deliver(db, a_listing(UnparsedAddress=""))

    row = await listing_row(conn)
    assert Normaliser().normalise(payloads.unpack(row["payload"])).fields == row["fields"]


async def _everything(conn: Connection) -> bytes:
    """All that people see, as bytes: facts, history, CRM rows, events; the narrow state aside."""
    tables = ("mls_properties", "property_changes", "crm_properties", "events", "property_links")
    parts = [await conn.fetchval(f"SELECT jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)) FROM {t} AS t") for t in tables]
    xmins = [await conn.fetchval(f"SELECT array_agg(xmin::text ORDER BY xmin::text) FROM {t}") for t in tables]
    return orjson.dumps([parts, xmins], option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("name", ["City", "ListingId", "PostalCode"])
async def test_value_too_long_for_an_index_is_stored_whole_and_found(name: str, db: Database, conn: Connection) -> None:
    """A searched column holds the beginning of its fact; the index refuses entries of more than 2.7 kB."""
    long = "".join(random.Random(name).choices(string.ascii_letters, k=20_000))

    new = await deliver(db, a_listing(**{name: long}))
    changed = await deliver(db, a_listing(**{name: long + "!", "ModificationTimestamp": "2026-03-02T12:00:00Z"}))

    assert (new.tally.new, changed.tally.changed, changed.tally.quarantined) == (1, 1, 0)
    assert (await listing_row(conn))["fields"][name] == long + "!"
    argument: Any = {{"City": "city", "ListingId": "listing_id", "PostalCode": "postal_code"}[name]: long + "!"}
    assert [row["property_id"] for row in await listings.page(conn, **argument)] == [id_of()]


async def test_run_that_a_bug_ends_is_failed_and_not_running(
    db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(listings, "update_states", bug)

    with pytest.raises(ZeroDivisionError):
        await deliver(db, a_listing())

    (run,) = await runs.newest(conn)
    assert (run["status"], run["error_code"]) == ("failed", "internal")
