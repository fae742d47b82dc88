"""A record in normal form: nothing lost, absent is not null, and one odd value names itself."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from making import a_listing, without
from mls_crm_sync.core.canonical import content_hash
from mls_crm_sync.core.changes import Stored, decide
from mls_crm_sync.core.errors import InvalidInput, RecordRejected
from mls_crm_sync.core.fields import BY_NAME, FIELDS, Kind
from mls_crm_sync.core.hashing import Recogniser, Sighting
from mls_crm_sync.core.listing import Normaliser, normalise_facts, overlay, property_id
from mls_crm_sync.core.records import decode

NORMALISER = Normaliser()


def records_of(path: Path) -> list[dict[str, Any]]:
    whole = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    results = whole.get("D", {}).get("Results") if isinstance(whole, dict) and "D" in whole else None
    if results is None:
        return [whole] if isinstance(whole, dict) else []
    return [r["StandardFields"] for r in results if isinstance(r, dict) and "StandardFields" in r]


def accounted_for(record: dict[str, Any]) -> set[str]:
    said = NORMALISER.normalise(record)
    return set(said.fields) | said.cleared | set(said.unknown) | (set(NORMALISER.volatile) & record.keys())


@pytest.mark.shared
def test_mred_record_is_read_without_losing_a_member(shared: Path) -> None:
    (record,) = records_of(shared / "fixtures" / "mred" / "mred-mlsgrid-property.json")
    said = NORMALISER.normalise(record)

    assert accounted_for(record) == set(record)
    assert said.fields["BathroomsTotalInteger"] == "1.1"
    assert said.fields["Heating"] == ["Forced Air", "Natural Gas"]
    assert "CloseDate" in said.cleared


@pytest.mark.shared
def test_spark_records_are_read_without_losing_a_member(shared: Path) -> None:
    read = 0
    for path in sorted((shared / "fixtures" / "spark" / "listings").glob("*.json")):
        for record in records_of(path):
            if "ListingKey" in record:
                assert accounted_for(record) == set(record), path.name
                read += 1
    assert read >= 10


@pytest.mark.shared
def test_real_records_are_their_own_normal_form_the_second_time(shared: Path) -> None:
    with gzip.open(shared / "data" / "nyc_listings_day1.jsonl.gz") as file:
        for line in islice(file, 0, None, 40):
            said = NORMALISER.normalise(decode(line).record)
            again = NORMALISER.normalise(orjson.loads(orjson.dumps(said.fields)))
            assert (again.fields, again.cleared) == (said.fields, frozenset())


@given(
    st.dictionaries(
        st.sampled_from([f.name for f in FIELDS]) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.lists(st.text(max_size=3), max_size=3),
        max_size=6,
    )
)
def test_any_record_is_normalised_or_rejected_with_a_reason(record: dict[str, Any]) -> None:
    try:
        said = NORMALISER.normalise({"ListingKey": "k", **record})
    except RecordRejected as error:
        assert error.reason in {"bad_value", "missing_key"}
        return
    assert set(said.fields) <= BY_NAME.keys() - set(NORMALISER.volatile)
    assert NORMALISER.normalise(said.fields).fields == said.fields


def test_rejection_names_the_field() -> None:
    with pytest.raises(RecordRejected, match="ListPrice") as caught:
        NORMALISER.normalise(a_listing(ListPrice="a lot"))

    assert (caught.value.reason, caught.value.field) == ("bad_value", "ListPrice")


@pytest.mark.parametrize("key", [None, "", "  "])
def test_record_without_a_key_is_rejected(key: Any) -> None:
    with pytest.raises(RecordRejected) as caught:
        NORMALISER.normalise(a_listing() | {"ListingKey": key})

    assert caught.value.reason == "missing_key"


def test_bad_volatile_value_rejects_nothing_but_a_bad_modification_time_does() -> None:
    assert NORMALISER.normalise(a_listing(DaysOnMarket="soon", StatusChangeTimestamp="?")).fields
    with pytest.raises(RecordRejected, match="ModificationTimestamp"):
        NORMALISER.normalise(a_listing(ModificationTimestamp="2026-03-01T12:00:00"))


def test_absent_keeps_and_empty_clears() -> None:
    stored = {"City": "New York", "BedroomsTotal": 2, "ListPrice": "1"}
    said = NORMALISER.normalise({"ListingKey": "k", "City": "", "ListPrice": 2})

    assert overlay(stored, said) == {"ListingKey": "k", "BedroomsTotal": 2, "ListPrice": "2"}


def test_hash_depends_on_hashed_facts_alone() -> None:
    one = NORMALISER.normalise(a_listing(Cooling=["b", "a"], ListPrice="500,000", DaysOnMarket=1)).fields
    other = NORMALISER.normalise(a_listing(Cooling="a,b", ListPrice=Decimal("5.0E+5"), DaysOnMarket=99)).fields

    assert content_hash(NORMALISER.hashed(one)) == content_hash(NORMALISER.hashed(other))
    for name in sorted(f.name for f in FIELDS if f.hashed):
        assert content_hash(NORMALISER.hashed(one | {name: "other"})) != content_hash(NORMALISER.hashed(one)), name


def test_property_id_is_made_of_source_and_key_for_good() -> None:
    assert property_id("nyc", "DOF1") == "f5ea4b303e6b3c25c91c829f8691b817"
    assert property_id("nyc", "DOF1") != property_id("nycD", "OF1")


def test_facts_of_a_person_take_the_same_form_and_bad_ones_name_their_member() -> None:
    assert normalise_facts({"ListPrice": "$1,000", "City": ""}) == {"ListPrice": "1000", "City": None}
    for bad in ({"Nope": 1}, {"DaysOnMarket": 3}, {"ListPrice": "x"}):
        with pytest.raises(InvalidInput, match=next(iter(bad))):
            normalise_facts(bad)


def test_digest_sees_every_member_that_is_not_volatile() -> None:
    recogniser = Recogniser(source="s", version=NORMALISER.version, volatile=NORMALISER.volatile)
    base = a_listing(X_Local=1)

    def sight(record: dict[str, Any]) -> Sighting:
        sighting = recogniser.sight(orjson.dumps(record))
        assert sighting is not None
        return sighting

    for name in without(base, "ListingKey"):
        changed = sight(base | {name: "2026-03-09T00:00:00Z" if name.endswith("Timestamp") else "other"})
        assert (changed.digest == sight(base).digest) == (name in NORMALISER.volatile), name
        assert (changed.says() == sight(base).says()) == (name in NORMALISER.volatile), name
        assert sight(without(base, name)).digest != sight(base).digest, name
        assert (sight(without(base, name)).says() == sight(base).says()) == (name in NORMALISER.volatile), name


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"MediaURL": "https://p.test/0.jpg?sig=2"}, False),
        ({"MediaURL": "https://p.test/1.jpg?sig=1"}, True),
        ({"MediaModificationTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"Order": 1}, True),
        ({"ShortDescription": "Why? Because."}, True),
    ],
)
def test_what_is_said_of_media_leaves_out_what_is_volatile_and_no_more(change: dict[str, Any], *, counts: bool) -> None:
    recogniser = Recogniser(source="s", version="1", volatile=NORMALISER.volatile)
    photo = {
        "MediaKey": "k",
        "MediaModificationTimestamp": "2025-01-01T00:00:00Z",
        "MediaURL": "https://p.test/0.jpg?sig=1",
        "Order": 0,
    }

    before = recogniser.sight(orjson.dumps(a_listing(Media=[photo])))
    after = recogniser.sight(orjson.dumps(a_listing(Media=[photo | change])))

    assert before is not None
    assert after is not None
    assert (before.says() != after.says()) is counts
    assert before.digest != after.digest


def test_field_table_change_is_history_and_no_market_change() -> None:
    before = NORMALISER.normalise(a_listing(Cooling="b,a"))
    tomorrow = Normaliser([f for f in FIELDS if f.name != "Cooling"])
    stored = Stored(before.fields, b"", NORMALISER.version, before.modified_at, a_listing(Cooling="b,a"))

    decision = decide(stored, tomorrow.normalise(a_listing(Cooling="b,a", ListPrice=1)), tomorrow)

    assert [(c.type.value, c.field) for c in decision.changes] == [("renormalised", "Cooling"), ("price", "ListPrice")]


def test_field_table_change_reads_the_stored_payload_in_the_sources_zone() -> None:
    """Without the zone the payload's own time stamp would refuse it, and the old form would pass for today's."""
    zone = ZoneInfo("America/New_York")
    record = a_listing(Cooling="b,a", ModificationTimestamp="2026-03-01T12:00:00")
    before = NORMALISER.normalise(record, time_zone=zone)
    tomorrow = Normaliser([f for f in FIELDS if f.name != "Cooling"])
    stored = Stored(before.fields, b"", NORMALISER.version, before.modified_at, record)

    decision = decide(stored, tomorrow.normalise(record, time_zone=zone), tomorrow, time_zone=zone)

    assert [(c.type.value, c.field) for c in decision.changes] == [("renormalised", "Cooling")]


@pytest.mark.parametrize(
    "clock", ["2026-03-06", "20260306T000000Z", "2026-W10-5T00:00:00Z", "2026-03-06T00", "2026-03-06T00:00:00,5Z", "7"]
)
def test_clock_that_is_not_written_plainly_is_left_to_the_strict_path(clock: str) -> None:
    """`datetime.fromisoformat` reads more than the normaliser takes: such a clock was believed unread."""
    recogniser = Recogniser(
        source="s", version="1", volatile=NORMALISER.volatile, time_zone=ZoneInfo("America/New_York")
    )

    assert recogniser.sight(orjson.dumps(a_listing(ModificationTimestamp=clock))) is None


def test_stored_value_that_a_new_table_refuses_keeps_its_form() -> None:
    stricter = Normaliser([replace(f, kind=Kind.INTEGER) if f.name == "City" else f for f in FIELDS])
    stored = NORMALISER.normalise(a_listing(City="Brooklyn", ListPrice=1)).fields

    assert stricter.again(a_listing(City="Brooklyn", ListPrice=2), stored) == {**stored, "ListPrice": "2"}
