"""A purge by a rule: nothing of the content is left anywhere, the CRM's own is, and what has come back stays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard

from making import (
    SOURCE,
    a_crm,
    a_link,
    a_listing,
    crm_row,
    deliver,
    event_log,
    history,
    id_of,
    listing_row,
    out_of_step,
    without,
)
from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import answers, listings, payloads, quarantine
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import crm
from mls_crm_sync.sync.purge import purge_all, rule, would_purge
from mls_crm_sync.sync.push import push

CANARY = "xyzzy-canary"
DAY = timedelta(days=1)
LATER = "2026-03-02T12:00:00Z"
OWNED = "id, platform, crm_status, notes, tags, assigned_agent, custom, own, overrides, version"


async def places_of(conn: Connection, text: str) -> set[str]:
    """Return the columns of all tables in which a text stands, packed or not."""
    columns = await conn.fetch(
        "SELECT c.table_name, c.column_name, c.udt_name FROM information_schema.columns AS c"
        " JOIN pg_tables AS t ON t.tablename = c.table_name AND t.schemaname = 'public'"
        " WHERE c.udt_name IN ('text', 'jsonb', 'json', 'bytea', '_text') AND c.table_schema = 'public'"
    )
    found = set()
    for table, column, kind in columns:
        cast = column if kind == "bytea" else f"{column}::text"
        for row in await conn.fetch(f"SELECT {cast} AS value FROM {table} WHERE {column} IS NOT NULL"):
            value = row["value"] if isinstance(row["value"], bytes) else row["value"].encode()
            if text.encode() in value or text.encode() in _unpacked(value):
                found.add(f"{table}.{column}")
    return found


def _unpacked(value: bytes) -> bytes:
    if not value.startswith(b"\x28\xb5\x2f\xfd"):
        return b""
    if zstandard.get_frame_parameters(value).dict_id:
        return payloads.unpacked(value)
    return zstandard.ZstdDecompressor().decompressobj().decompress(value)


async def lying(conn: Connection, where: str) -> list[tuple[Any, ...]]:
    rows = await conn.fetch(
        f"SELECT p.xmin::text, s.xmin::text FROM mls_properties AS p JOIN mls_state AS s USING (property_id)"
        f" WHERE {where}"
    )
    return [tuple(row) for row in rows]


async def keys_left(conn: Connection) -> list[str]:
    """Return the keys of the listings that have content, in order."""
    rows = await conn.fetch("SELECT source_key FROM mls_properties WHERE purged_at IS NULL ORDER BY source_key")
    return [row["source_key"] for row in rows]


async def aged(conn: Connection, days: int, *keys: str) -> None:
    """Let listings be last shown, and last changed, so many days ago."""
    ids = [id_of(key) for key in keys]
    ago = timedelta(days=days)
    await conn.execute(
        "UPDATE mls_properties SET last_changed_at = now() - $2::interval WHERE property_id = ANY ($1)", ids, ago
    )
    await conn.execute(
        "UPDATE location_listings SET last_shown_at = now() - $2::interval WHERE property_id = ANY ($1)"
        " AND last_shown_at IS DISTINCT FROM '-infinity'",
        ids, ago,
    )  # fmt: skip


async def full_of(db: Database, conn: Connection, canary: str) -> None:
    """Let a text stand wherever a listing's content can."""
    members: dict[str, Any] = {"PublicRemarks": canary, "X_Unknown": [canary], "City": canary}
    await deliver(db, a_listing(**members))
    await deliver(db, a_listing(**members | {"PublicRemarks": f"{canary} again", "ModificationTimestamp": LATER}))
    await a_crm(db, "a", "b", notes="mine", crm_status="active", city="Own City")
    await a_link(db, "a")
    await a_link(db, "b")
    override = crm.Edit(overrides={"PublicRemarks": crm.Override("my words", by="dana")})
    await crm.edit(db, "a", override, now=datetime(2026, 3, 1, tzinfo=UTC))
    await deliver(db, a_listing(ListPrice=canary, ModificationTimestamp="2026-03-03T12:00:00Z"))
    nameless = {"PublicRemarks": canary, "property_id": id_of()}
    await push(db, Normaliser(), [nameless], source=SOURCE, location="push")
    await answers.begin(conn, "key:1", "k", b"\0" * 32)
    await answers.keep(conn, "key:1", "k", answers.Answer(200, {"etag": canary}, canary.encode()))


async def test_nothing_of_the_content_is_left_in_any_table(db: Database, conn: Connection) -> None:
    await full_of(db, conn, CANARY)
    await deliver(db, a_listing("L2", PublicRemarks="stays"), source="other")
    owned = await conn.fetch(f"SELECT {OWNED} FROM crm_properties ORDER BY id")
    others = await lying(conn, "p.source = 'other'")
    assert await places_of(conn, CANARY) >= {
        "mls_properties.fields", "mls_properties.payload", "mls_properties.city", "property_changes.new_value",
        "crm_properties.fields", "crm_properties.override_details", "quarantined_records.payload",
        "quarantined_records.detail", "kept_answers.body", "kept_answers.headers",
    }  # fmt: skip

    done = await purge_all(db, rule(source=SOURCE))

    assert await places_of(conn, CANARY) == set()
    assert (done.listings, done.crm_properties) == (1, 2)
    assert await conn.fetch(f"SELECT {OWNED} FROM crm_properties ORDER BY id") == owned
    details = (await crm_row(conn, "a"))["override_details"]["PublicRemarks"]
    assert details == {"at": "2026-03-01T00:00:00Z", "by": "dana", "reason": None}
    row = await listing_row(conn)
    assert (row["fields"], row["payload"], row["digest"], row["content_hash"]) == ({}, None, b"", b"")
    assert (row["purged_at"] is not None, await history(conn)) == (True, [])
    assert [(await crm_row(conn, crm_id))["fields"] for crm_id in "ab"] == [{}, {}]
    assert [(await crm_row(conn, crm_id))["mls_property_id"] for crm_id in "ab"] == [id_of(), id_of()]
    assert await lying(conn, "p.source = 'other'") == others
    assert await places_of(conn, "stays")


async def test_events_of_a_purge_name_fields_and_no_values(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"))
    await a_crm(db, "a")
    await a_link(db, "a", "L1")
    seq = await conn.fetchval("SELECT max(seq) FROM events")

    await purge_all(db, rule(source=SOURCE))

    told = await conn.fetch("SELECT type, property_id, crm_property_id FROM events WHERE seq > $1 ORDER BY seq", seq)
    first, second = sorted((id_of("L1"), id_of("L2")))
    assert [tuple(row) for row in told] == [
        ("listing.purged", first, None),
        ("listing.purged", second, None),
        ("property.synced", id_of("L1"), "a"),
    ]
    names = (await event_log(conn, ["property.synced"]))[-1][3]
    assert {"City", "ListPrice"} < set(names)


async def test_later_delivery_fills_it_as_new(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await a_crm(db, "a")
    await a_link(db, "a")
    await purge_all(db, rule(source=SOURCE))

    again = await deliver(db, a_listing())

    assert (again.tally.new, again.tally.recognised) == (1, 0)
    assert (await listing_row(conn))["purged_at"] is None
    assert [change[0] for change in await history(conn)] == ["new"]
    assert (await crm_row(conn, "a"))["fields"]["City"] == "New York"
    assert await out_of_step(conn) == []


async def test_purged_listing_is_not_purged_again(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing())
    await purge_all(db, rule(source=SOURCE))
    seq = await conn.fetchval("SELECT max(seq) FROM events")

    assert (await purge_all(db, rule(source=SOURCE))).listings == 0
    assert await would_purge(db, rule(source=SOURCE)) == []
    assert await conn.fetchval("SELECT max(seq) FROM events") == seq


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"statuses": ["closed"]}, ["A1", "A2", "E1", "E2"]),
        ({"statuses": ["Sold", "Expired"]}, ["A1", "A2"]),
        ({"not_seen_for": 90 * DAY}, ["A1", "C1", "E1"]),
        ({"not_seen_for": 120 * DAY}, ["A1", "A2", "C1", "C2", "E1", "E2"]),
        ({"statuses": ["Closed"], "not_seen_for": 90 * DAY}, ["A1", "A2", "C1", "E1", "E2"]),
        ({"absent_for": 0 * DAY}, ["A1", "C1", "C2", "E1", "E2"]),
        ({"absent_for": 30 * DAY}, ["A1", "A2", "C1", "C2", "E1", "E2"]),
        ({"source": "other"}, ["A1", "A2", "C1", "C2", "E1", "E2"]),
        ({"source": SOURCE}, []),
    ],
)
async def test_rule_names_what_all_of_it_says(
    db: Database, conn: Connection, asked: dict[str, Any], left: Sequence[str]
) -> None:
    """Of each status one that is shown, and one that was last shown 100 days ago; the active one is absent."""
    statuses = {"A": "Active", "C": "Closed", "E": "Expired"}
    keys = [letter + number for letter in statuses for number in "12"]
    await deliver(db, *(a_listing(key, StandardStatus=statuses[key[0]]) for key in keys))
    await aged(conn, 100, "A2", "C2", "E2")
    await conn.execute("UPDATE mls_properties SET absence_state = 'absent' WHERE source_key = 'A2'")
    await conn.execute(
        "INSERT INTO absences (property_id, location_id, evidence, decided_at) VALUES ($1, 1, '{}',"
        " now() - interval '20 days')",
        id_of("A2"),
    )

    counted = await would_purge(db, rule(**asked))
    assert await keys_left(conn) == keys
    done = await purge_all(db, rule(**asked))

    assert await keys_left(conn) == left
    assert sum(row["listings"] for row in counted) == done.listings == len(keys) - len(left)


async def test_count_tells_source_status_and_links(db: Database) -> None:
    await deliver(
        db, a_listing("L1", StandardStatus="Closed"), a_listing("L2"), without(a_listing("L3"), "StandardStatus")
    )
    await a_crm(db, "a", "b")
    await a_link(db, "a")
    await a_link(db, "b")

    counted = await would_purge(db, rule(source=SOURCE))

    assert [tuple(row) for row in counted] == [
        (SOURCE, "Active", "listed", 1, 0),
        (SOURCE, "Closed", "listed", 1, 2),
        (SOURCE, None, "listed", 1, 0),
    ]


async def test_what_was_only_pushed_is_never_called_unseen(db: Database, conn: Connection) -> None:
    """A push of the same facts leaves no trace: nobody knows when it came last."""
    await push(db, Normaliser(), [a_listing("P1")], source=SOURCE, location="push")
    await deliver(db, a_listing("P2"))
    await aged(conn, 100, "P1", "P2")
    await conn.execute(
        "UPDATE location_listings SET left_at = now() - interval '95 days' WHERE property_id = $1", id_of("P2")
    )

    assert (await purge_all(db, rule(not_seen_for=90 * DAY))).listings == 0


async def test_what_a_pass_under_way_has_shown_is_seen(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"))
    await aged(conn, 100, "L1", "L2")
    await conn.execute("INSERT INTO location_passes (location_id, run_id) VALUES (1, 1)")
    await conn.execute("INSERT INTO pass_pages SELECT max(pass_id), 1, ARRAY[$1] FROM location_passes", id_of("L1"))

    await purge_all(db, rule(not_seen_for=90 * DAY))

    assert await keys_left(conn) == ["L1"]


async def test_what_has_come_back_since_it_was_counted_is_left(
    db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relisted between the reading of the page and the lock."""
    closed = [a_listing(key, StandardStatus="Closed") for key in ("L1", "L2")]
    await deliver(db, *closed)
    lock = listings.lock

    async def relisted_first(*args: Any) -> Any:
        monkeypatch.undo()
        await deliver(db, a_listing("L1", ModificationTimestamp=LATER))
        return await lock(*args)

    monkeypatch.setattr(listings, "lock", relisted_first)
    done = await purge_all(db, rule(statuses=["Closed"]))

    assert done.listings == 1
    assert await keys_left(conn) == ["L1"]


async def test_purge_beside_an_ingest_leaves_each_listing_whole_or_empty(db: Database, conn: Connection) -> None:
    keys = [f"L{n:03}" for n in range(400)]
    await deliver(db, *(a_listing(key) for key in keys))
    await a_crm(db, *keys)
    await asyncio.gather(*(a_link(db, key, key) for key in keys[:40]))
    later = [a_listing(key, ListPrice=7, ModificationTimestamp=LATER) for key in keys]

    done, _ = await asyncio.gather(purge_all(db, rule(source=SOURCE)), deliver(db, *reversed(later), page_size=50))

    assert done.listings == 400
    assert await out_of_step(conn) == []
    rows = await conn.fetch(
        "SELECT p.purged_at IS NULL AS filled, p.fields <> '{}' AS facts, p.payload IS NOT NULL AS payload,"
        " s.digest <> '' AS known FROM mls_properties AS p JOIN mls_state AS s USING (property_id)"
    )
    assert {tuple(row) for row in rows} <= {(True,) * 4, (False,) * 4}
    await deliver(db, *later)
    assert len(await keys_left(conn)) == 400


async def test_quarantined_records_of_others_stay(db: Database, conn: Connection) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2", StandardStatus="Closed"))
    broken = [a_listing(key, ListPrice="much", ModificationTimestamp=LATER) for key in ("L1", "L2")]
    await deliver(db, *broken)

    await purge_all(db, rule(statuses=["Closed"]))

    assert [row["source_key"] for row in await quarantine.page(conn)] == ["L1"]


@pytest.mark.parametrize(
    ("asked", "member"),
    [
        ({}, "rule"),
        ({"statuses": []}, "rule"),
        ({"statuses": ["For Sale"]}, "status"),
        ({"statuses": [""]}, "status"),
        ({"not_seen_for": -DAY}, "not_seen_for"),
        ({"absent_for": 40_000 * DAY}, "absent_for"),
    ],
)
def test_rule_that_says_nothing_or_nonsense_is_refused(asked: dict[str, Any], member: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(member)) as refused:
        rule(**asked)
    assert refused.value.member == member
