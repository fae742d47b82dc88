"""Normal forms: what sources write, and the one form each value is stored in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls_crm_sync.core.fields import BY_NAME, FIELDS, Kind
from mls_crm_sync.core.values import BadValue, Context, instant_of, instant_text, normal

NEW_YORK = ZoneInfo("America/New_York")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
plausible = st.sampled_from(
    ["1,650,000", "$12.50", " 3.0 ", "1e5", "-0", "Y", "no", "2024-02-30", "2/3/2024", "2024-01-05T07:00:00.120Z",
     "2024-01-05T07:00:00", "ActiveUnderContract", "sold", "B, a,,A", "07030",
     "\u00e9 e\u0301 \x00", "12/31/2024", "٣", "½"]
)  # fmt: skip
media_items = st.fixed_dictionaries(
    {},
    optional={
        "MediaKey": st.none() | st.text(max_size=4),
        "Order": st.none() | st.integers(-2, 5) | st.just("3"),
        "MediaCategory": st.text(max_size=4),
        "MediaURL": st.text(max_size=8),
    },
)


def form(name: str, value: Any, zone: ZoneInfo | None = None) -> Any:
    return normal(BY_NAME[name], value, Context(zone))


@given(st.sampled_from(FIELDS), json_values | plausible | st.lists(media_items, max_size=4))
def test_normalising_twice_changes_nothing_and_only_bad_value_is_raised(field: Any, value: Any) -> None:
    try:
        once = normal(field, value, Context(NEW_YORK))
    except BadValue:
        return

    assert normal(field, once, Context()) == once


@pytest.mark.shared
def test_naughty_strings_are_text_in_normal_form_or_refused(shared: Path) -> None:
    for text in json.loads((shared / "suites" / "blns.json").read_text(encoding="utf-8")):
        for field in (f for f in FIELDS if not f.volatile):
            try:
                once = normal(field, text, Context())
            except BadValue:
                continue
            assert normal(field, once, Context()) == once
            json.dumps(once, ensure_ascii=False).encode("utf-8")
            assert "\x00" not in json.dumps(once, ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("ListPrice", 1650000, "1650000"),
        ("ListPrice", Decimal("1650000.00"), "1650000"),
        ("ListPrice", "$1,650,000", "1650000"),
        ("ListPrice", Decimal("1.65E+6"), "1650000"),
        ("ListPrice", "", None),
        ("LivingArea", Decimal("-0.0"), "0"),
        ("LotSizeAcres", "0.1846", "0.1846"),
        ("LotSizeAcres", Decimal("0.14990000000000001"), "0.1499"),
        ("TaxAssessedValue", Decimal("123456.780000001"), "123456.78"),
        ("TaxAssessedValue", " 0.30000000000000004 ", "0.3"),
        ("ListPrice", Decimal("1." + "0" * 50 + "1"), "1"),
        ("Latitude", Decimal("40.712345678901"), "40.71234568"),
        ("Longitude", " -116.3237", "-116.3237"),
        ("BedroomsTotal", "3.0", 3),
        ("BedroomsTotal", Decimal("3.00"), 3),
        ("BathroomsTotalInteger", Decimal("1.1"), "1.1"),
        ("BathroomsTotalInteger", "2.0", 2),
        ("WaterfrontYN", "Y", True),
        ("WaterfrontYN", "false", False),
        ("WaterfrontYN", 1, True),
        ("CloseDate", "2024-01-05T23:00:00-05:00", "2024-01-05"),
        ("CloseDate", "1/5/2024", "2024-01-05"),
        ("StandardStatus", "ActiveUnderContract", "Active Under Contract"),
        ("StandardStatus", "ACTIVE_UNDER_CONTRACT", "Active Under Contract"),
        ("StandardStatus", "Cancelled", "Canceled"),
        ("MlsStatus", " In  Contract ", "In  Contract"),
        ("PropertySubType", "SingleFamilyResidence", "Single Family Residence"),
        ("PropertySubType", "Split Level", "Split Level"),
        ("PropertySubType", "MobileHomePark", "Mobile Home Park"),
        ("AssociationFeeFrequency", "SemiAnnually", "Semi-Annually"),
        ("AssociationFeeFrequency", "bi monthly", "Bi-Monthly"),
        ("Cooling", "Wall Unit(s),Central Air,,Central Air", ["Central Air", "Wall Unit(s)"]),
        ("Cooling", ["b", "a"], ["a", "b"]),
        ("Cooling", [], None),
        ("PostalCode", 7030, "07030"),
        ("PostalCode", "7030", "7030"),
        ("StreetNumber", 12, "12"),
        ("PublicRemarks", " e\u0301\r\nline ", "\u00e9\nline"),
        ("PublicRemarks", "a\x00b\ud800", "ab"),
        ("PublicRemarks", "   ", None),
    ],
)
def test_value_is_stored_in_its_normal_form(name: str, value: Any, stored: Any) -> None:
    assert form(name, value) == stored
    assert type(form(name, value)) is type(stored)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ListPrice", "a lot"), ("ListPrice", -1), ("ListPrice", True), ("ListPrice", Decimal("1e15")),
        ("ListPrice", "1,65"),
        ("ListPrice", [1]), ("ListPrice", Decimal("0.000000001")), ("ListPrice", "1.000000001"),
        ("ListPrice", Decimal("-123456.780000001")), ("LivingArea", Decimal("1e1000000")),
        ("BedroomsTotal", "2.5"), ("BedroomsTotal", 2**31),
        ("WaterfrontYN", "maybe"), ("CloseDate", "2024-02-30"), ("CloseDate", 20240105), ("StandardStatus", "For Sale"),
        ("Latitude", 91), ("PublicRemarks", {"a": 1}), ("PublicRemarks", "x" * 100_001), ("Media", "photo.jpg"),
        ("Media", [1]),
        ("Cooling", {"a": True}), ("Latitude", Decimal("1e-300")),
    ],
)  # fmt: skip
def test_what_is_none_of_its_kind_is_refused(name: str, value: Any) -> None:
    if (name, value) == ("Latitude", Decimal("1e-300")):
        assert form("Latitude", Decimal("0.000000001")) == "0", "coordinates are rounded"
        return
    with pytest.raises(BadValue):
        form(name, value)


def test_removed_characters_are_noted() -> None:
    context = Context()
    normal(BY_NAME["City"], "New\x00 York\udc00", context)

    assert context.notes == ["NUL removed in City", "lone surrogate removed in City"]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("2024-01-01T12:00:00Z", "2024-01-01T12:00:00Z"),
        ("2024-01-01T12:00:00+00:00", "2024-01-01T12:00:00Z"),
        ("2024-01-01T12:00:00.430-05:00", "2024-01-01T17:00:00.43Z"),
        ("2024-01-01 12:00:00.0000000Z", "2024-01-01T12:00:00Z"),
        ("2024-01-01T12:00:00.123456789Z", "2024-01-01T12:00:00.123456Z"),
        ("2024-07-01T12:00:00", "2024-07-01T16:00:00Z"),
        ("2024-11-03T01:30:00", "2024-11-03T05:30:00Z"),
        ("2024-03-10T02:30:00", "2024-03-10T07:30:00Z"),
    ],
)
def test_instants_are_utc_and_local_ones_are_of_the_declared_zone(written: str, stored: str) -> None:
    instant = instant_of(written, NEW_YORK)

    assert instant is not None
    assert instant_text(instant) == stored


@pytest.mark.parametrize(
    "written", ["2024-01-01T12:00:00", "yesterday", "2024-13-01T00:00:00Z", "2024-01-01", 1704110400]
)
def test_instant_without_a_zone_or_sense_is_refused(written: Any) -> None:
    with pytest.raises(BadValue):
        instant_of(written, None)


def test_instant_without_a_zone_says_how_to_declare_one() -> None:
    with pytest.raises(BadValue, match="--time-zone"):
        instant_of("2024-01-01T12:00:00", None)


@given(st.datetimes(timezones=st.just(UTC)))
def test_instant_text_reads_back_as_the_same_instant(at: datetime) -> None:
    assert instant_of(instant_text(at), None) == at


def test_media_keeps_key_order_and_category_and_no_url() -> None:
    photos = [
        {
            "MediaKey": "b",
            "Order": "1",
            "MediaCategory": "Photo",
            "MediaURL": "https://p.test/b?sig=1",
            "ShortDescription": "x",
        },
        {"MediaKey": "a", "Order": 0, "MediaURL": "https://p.test/a?sig=2"},
        {"MediaURL": "https://p.test/c?sig=3"},
        {"Order": 7},
    ]

    stored = form("Media", photos)

    assert stored[:2] == [{"MediaKey": "a", "Order": 0}, {"MediaKey": "b", "Order": 1, "MediaCategory": "Photo"}]
    assert stored[2]["MediaKey"].startswith("url-")
    assert stored[2] == form("Media", [{"MediaURL": "https://p.test/c?sig=4"}])[0]
    assert len(stored) == 3
    assert form("Media", photos[::-1]) == stored


@pytest.mark.parametrize(
    "photos",
    [
        [{"MediaKey": "k", "Order": 5}, {"MediaKey": "k", "Order": 0}],
        [{"MediaKey": "k"}, {"MediaKey": "k", "Order": 0}],
        [{"MediaKey": "k", "Order": 0, "MediaCategory": "Video"}, {"MediaKey": "k", "Order": 0}],
    ],
)
def test_media_that_come_twice_are_the_same_whichever_comes_first(photos: list[dict[str, Any]]) -> None:
    assert form("Media", photos) == form("Media", photos[::-1]) == [{"MediaKey": "k", "Order": 0}]


@pytest.mark.parametrize("empty", [None, "", " \t\n", []])
@pytest.mark.parametrize("kind", list(Kind))
def test_null_blank_text_and_an_empty_list_clear_a_field_of_any_kind(kind: Kind, empty: Any) -> None:
    field = next(f for f in FIELDS if f.kind is kind)

    assert normal(field, empty, Context()) is None


def test_item_of_a_list_keeps_its_comma_and_joined_text_is_split() -> None:
    assert form("Cooling", ["Ductless, Multi-zone", "Central Air", "Central Air"]) == [
        "Central Air",
        "Ductless, Multi-zone",
    ]
    assert form("Cooling", "Ductless, Central Air,,Ductless") == ["Central Air", "Ductless"]
