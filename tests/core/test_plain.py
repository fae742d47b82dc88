"""The short cut from bytes to canonical text says what the strict way says or nothing; of usual records it speaks."""

from __future__ import annotations

import gc
import gzip
import json
import random
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from making import a_listing
from mls_crm_sync.core.canonical import text_in
from mls_crm_sync.core.errors import RecordRejected
from mls_crm_sync.core.fields import FIELDS, Kind
from mls_crm_sync.core.hashing import Recogniser
from mls_crm_sync.core.listing import Normalised, Normaliser
from mls_crm_sync.core.plain import PATIENCE
from mls_crm_sync.core.records import decode
from mls_crm_sync.core.splitting import Layout
from mls_crm_sync.core.values import MAX_TEXT
from mls_crm_sync.demo import generator

NORMALISER = Normaliser()
ZONE = ZoneInfo("America/New_York")

SPELLINGS = tuple(
    spelling.encode("utf-8", "surrogatepass")
    for spelling in (
        "null", "true", "false", "[]", "{}", '""', '" "', '"x"', '" x"', '"x "', '"x y"', '"x  y"', "[null]", '[""]',
        "0", "-0", "1", "-1", "7", "12", "1.1", "1.10", "0.5", "-0.5", "0.0", "-0.0", "1.0", "10", "10.0", "1e3", "1E3",
        "1.5e-2", "100", "1650000", "1650000.00", "-100.123456", "89.999999999", "90", "90.0", "-90", "91", "180",
        "180.00000001", "2147483647", "2147483648", "-2147483649", "99999999999999", "100000000000000", "1e400",
        "0.123456789", "123456.780000001", "0.14990000000000001", "12345678901234567890", "1" * 500, '"1"', '"1.50"',
        '"$1,650,000.00"', '"1,65"', '"-5"', '"٣"', '"1e3"', '"Active"', '"active under contract"', '"Sold"', '"Nope"',
        '"single_family-residence"', '"2024-02-29"', '"2023-02-29"', '"2024-2-9"', '"20240229"', '"2024-W05-1"',
        '"02/29/2024"', '"2024-05-30T08:00:00Z"', '"2024-05-30T08:00:00"', '"2024-05-30"', '"Y"', '"no"', '"maybe"',
        '"07030"', "7030", '"07030-1234"', '["b","a"]', '["a","a"]', '["a, b","c"]', '"b, a"', '["a",1]', '[["a"]]',
        '[" a "]', '"é"', '"e\u0301"', '"\u00a0x"', '"x\u2028y"', '"\u200b"', '"\x7f"', '"\\u0041"', '"\\n"', '"a\\tb"',
        '"\\u0000"', '"\\ud800"', '"a\\"b"', '"a\\\\b"', '"\U0001f3e0"', '"ﬁ"', '{"a":1}', '{"a":1,"a":2}', '[{"a":1}]',
        '[{"MediaKey":"k","Order":0,"MediaCategory":"Photo"}]', '[{"MediaKey":"k","Order":0}]',
        '[{"MediaKey":"k","Order":0,"MediaCategory":"Photo","MediaURL":"https://p.test/a?x=1","ImageWidth":3}]',
        '[{"MediaKey":"b","Order":1,"MediaCategory":"Photo"},{"MediaKey":"a","Order":0,"MediaCategory":"Photo"}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"Photo"},{"MediaKey":"a","Order":1,"MediaCategory":"Photo"}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"Photo"},{"Order":1,"MediaKey":"b","MediaCategory":"Photo"}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":""}]', '[{"MediaKey":"a","Order":0,"MediaCategory":" P"}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"é"}]', '"%s"' % ("x" * (MAX_TEXT + 1)), '"%s"' % ("x" * MAX_TEXT),
        '[{"MediaKey":" a","Order":0,"MediaCategory":"Photo"}]', '[{"MediaKey":"a ","Order":0,"MediaCategory":""}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":null}]',
        '[{"MediaKey":"a","Order":2147483648,"MediaCategory":"P"}]',
        '[{"MediaKey":"é","Order":0,"MediaCategory":"P"}]', '[{"MediaKey":"a","Order":"0","MediaCategory":"P"}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"P","MediaKey":"b"}]',
        '[{"MediaKey":"","Order":0,"MediaCategory":"P"}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"P","X":{"y":[1]}}]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"P"},5]',
        '[{"MediaKey":"a","Order":0,"MediaCategory":"P","X":12345678901234567890}]', '[{"MediaURL":"https://p.test/a?b"}]',
        '[{"MediaKey":"a\\u0000","Order":0,"MediaCategory":"P"}]', "[" * 70 + "]" * 70,
    )
)  # fmt: skip


def strictly(data: bytes) -> Normalised | None:
    """What the strict way says; None where it refuses or has something to note."""
    try:
        decoded = decode(data)
        said = NORMALISER.normalise(decoded.record, time_zone=ZONE)
    except RecordRejected:
        return None
    return None if decoded.notes or said.notes else said


class Shortcut:
    """Asked as often as it takes to be taken for a usual record."""

    def __init__(self) -> None:
        self._recogniser = Recogniser(
            source="s", version=NORMALISER.version, volatile=NORMALISER.volatile, time_zone=ZONE
        )
        self._reader = NORMALISER.plain_reader(ZONE)

    def __call__(self, data: bytes) -> Normalised | None:
        said = [self._once(data) for _ in range(PATIENCE)]
        assert all(one is None or one == said[-1] for one in said)
        return said[-1]

    def _once(self, data: bytes) -> Normalised | None:
        sighting = self._recogniser.sight(data)
        seen = None if sighting is None else sighting.exactly()
        plain = None if seen is None else self._reader.read(data, seen[1])
        if sighting is None or plain is None:
            return None
        return NORMALISER.of_plain(plain, source_key=sighting.source_key, modified_at=sighting.modified_at)


def agree(quick: Normalised | None, strict: Normalised | None) -> bool:
    """Whether the short cut says nothing, or exactly what is so."""
    if quick is None:
        return True
    if strict is None:
        return False
    said = [
        (one.source_key, one.text, one.cleared, one.modified_at, one.content_hash, one.notes, sorted(one.unknown))
        for one in (quick, strict)
    ]
    return said[0] == said[1]


@pytest.mark.parametrize("kind", Kind)
def test_every_spelling_of_every_kind_is_read_as_the_strict_way_does(kind: Kind) -> None:
    shortcut = Shortcut()
    names = [field.name for field in FIELDS if field.kind is kind] + ["X_Unknown"]
    for name in names:
        for spelling in SPELLINGS * 2:  # what is remembered must say the same again
            if name == "ListingKey":
                data = b'{"ListingKey":' + spelling + b"}"
            else:
                data = b'{"ListingKey":"K","' + name.encode() + b'":' + spelling + b',"X_Last":"x"}'

            assert agree(shortcut(data), strictly(data)), (name, spelling)


@given(
    st.lists(
        st.tuples(st.sampled_from([*(f.name for f in FIELDS), "X_1", "X_2"]), st.sampled_from(SPELLINGS)), max_size=12
    ),
    st.sampled_from([b"", b" ", b"\n"]),
    st.booleans(),
)
def test_records_of_any_members_are_read_as_the_strict_way_does(
    members: list[tuple[str, bytes]],
    space: bytes,
    with_key: bool,  # noqa: FBT001 - drawn
) -> None:
    """With members that stand twice, with white space, in any order."""
    pairs = [b'"%b":%b%b' % (name.encode(), space, spelling) for name, spelling in members]
    if with_key:
        pairs.append(b'"ListingKey":"K"')
    data = b"{" + b",".join(pairs) + b"}"

    assert agree(Shortcut()(data), strictly(data))


def test_usual_records_are_read_by_the_short_cut() -> None:
    rng = random.Random(3)
    shortcut = Shortcut()
    for number in range(200):
        record = a_listing(f"K{number}", X_Own=[{"a": 1.5}], City=rng.choice(["Salem", "Cañon City", None]))
        data = orjson.dumps(record)

        quick = shortcut(data)

        assert quick is not None, data
        assert agree(quick, strictly(data))


def test_generated_deliveries_are_read_by_the_short_cut(tmp_path: Path) -> None:
    shortcut = Shortcut()
    sample = generator.write_sample(tmp_path, listings=100)
    records = [*sample.first.read_bytes().splitlines(), *sample.second.read_bytes().splitlines()]

    assert all(shortcut(data) is not None and agree(shortcut(data), strictly(data)) for data in records)


def test_source_with_ever_new_members_does_not_fill_memory_with_layouts() -> None:
    shortcut = Shortcut()
    for number in range(200):
        assert agree(shortcut(data := orjson.dumps({"ListingKey": "K", f"X_{number}": 1})), strictly(data))
    gc.collect()

    alive = sum(isinstance(one, Layout) for one in gc.get_objects())

    assert alive < 100, "64 are kept for whoever reads the same source next"


@pytest.mark.shared
@pytest.mark.parametrize("day", [1, 2])
def test_real_deliveries_are_read_by_the_short_cut(day: int, shared: Path) -> None:
    shortcut = Shortcut()
    with gzip.open(shared / "data" / f"nyc_listings_day{day}.jsonl.gz") as lines:
        for line in islice(lines, 0, None, 20):
            data = line.strip()
            compact = json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False).encode()

            quick = shortcut(compact)

            assert quick is not None, compact
            assert agree(quick, strictly(compact))


@seed(1)
@given(st.dictionaries(st.sampled_from(["City", "CityX", "ListingId", "Remarks"]), st.text(max_size=8), max_size=4))
def test_text_is_found_in_a_canonical_form_without_parsing_it(fields: dict[str, str]) -> None:
    for name, value in fields.items():
        fields[name] = value.encode("utf-8", "ignore").decode() + ',"City":"no"' * (len(value) % 2)
    text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)

    for name in ("City", "ListingId"):
        assert text_in(text, name) == fields.get(name)
