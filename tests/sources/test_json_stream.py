from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mls_crm_sync.sources.base import RawRecord, Rejected
from mls_crm_sync.sources.json_lines import read_json_lines
from mls_crm_sync.sources.json_stream import Envelope, read_json
from reading import gathered, in_blocks, read_content, read_file

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.text('"\\{}[],: \n', max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXTS, VALUES, max_size=4)
SPACES = st.text(" \t\r\n", max_size=3).map(str.encode)
BLOCK_SIZES = st.integers(1, 40) | st.just(1 << 20)
TOKENS = [b'{"a":', b'"\\\\"', b'"\\""', b'"},{"', b'\\"', b"\\", b'"', b"}", b"},", b",", b"{", b"[", b"]", b"1", b" "]
STRUCTURE = st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)

thorough = settings(max_examples=200, deadline=None, print_blob=True)


@st.composite
def written(draw: st.DrawFn, *, pretty: bool = True) -> bytes:
    style: dict[str, Any] = {
        "ensure_ascii": draw(st.booleans()),
        "indent": draw(st.sampled_from([None, 1])) if pretty else None,
    }
    return json.dumps(draw(RECORDS), **style).encode("utf-8", "surrogatepass")


@thorough
@given(st.lists(st.tuples(SPACES, written(), SPACES), max_size=6), SPACES, BLOCK_SIZES)
def test_array_gives_exactly_the_bytes_of_its_elements(
    elements: list[tuple[bytes, bytes, bytes]], space: bytes, size: int
) -> None:
    text = space + b"[" + b",".join(b"".join(element) for element in elements) + b"]" + space

    pieces, broken = gathered(read_json(in_blocks(text, size)))

    assert broken is None
    assert pieces == [RawRecord(at, element) for at, (_, element, _) in enumerate(elements, 1)]


@thorough
@given(st.lists(written(), max_size=4), st.sampled_from(["value", "bundle"]), RECORDS, RECORDS, BLOCK_SIZES)
def test_wrapped_array_gives_exactly_the_bytes_of_its_elements(
    elements: list[bytes], name: str, before: dict[str, Any], after: dict[str, Any], size: int
) -> None:
    members = [(json.dumps(k), json.dumps(v)) for k, v in before.items() if k not in ("value", "bundle", "D")]
    members += [(json.dumps(name), "[" + b" , ".join(elements).decode() + "]")]
    members += [(json.dumps(k), json.dumps(v)) for k, v in after.items() if k not in ("value", "bundle", "D")]
    text = "{" + ", ".join(f"{k} : {v}" for k, v in members) + "}\n"

    pieces, broken = gathered(read_json(in_blocks(text.encode(), size)))

    assert broken is None
    assert [piece.data for piece in pieces] == elements


@thorough
@given(written(), BLOCK_SIZES)
def test_object_that_wraps_nothing_is_one_record_as_it_was_written(record: bytes, size: int) -> None:
    pieces, broken = gathered(read_json(in_blocks(record, size)))

    assert broken is None
    if not {"value", "bundle", "D"} & set(json.loads(record)):
        assert pieces == [RawRecord(1, record)]


@thorough
@given(STRUCTURE, BLOCK_SIZES)
def test_blocks_do_not_change_what_is_made_of_a_broken_array(inside: bytes, size: int) -> None:
    text = b"[" + inside

    assert gathered(read_json(in_blocks(text, size))) == gathered(read_json(iter([text])))


@thorough
@given(st.lists(written(pretty=False), min_size=1, max_size=6), st.data())
def test_array_cut_anywhere_is_truncated(elements: list[bytes], data: st.DataObject) -> None:
    text = b"[" + b",".join(elements) + b"]"
    cut = data.draw(st.integers(1, len(text) - 1))

    pieces, broken = gathered(read_json(in_blocks(text[:cut], data.draw(BLOCK_SIZES))))

    assert broken == "truncated"
    assert [piece.data for piece in pieces] == elements[: len(pieces)]


@thorough
@given(st.lists(written(pretty=False), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\n\n"]), BLOCK_SIZES)
def test_lines_give_exactly_their_bytes_and_numbers(records: list[bytes], end: bytes, size: int) -> None:
    text = b"".join(record + end for record in records)

    pieces, broken = gathered(read_json_lines(in_blocks(text, size)))

    assert broken is None
    step = end.count(b"\n")
    assert [(one.position, one.data.strip()) for one in pieces] == [
        (1 + at * step, record) for at, record in enumerate(records)
    ]


@thorough
@given(written(pretty=False), written(pretty=False), st.data())
def test_last_line_cut_anywhere_is_truncated(first: bytes, last: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(last) - 1))

    pieces, broken = gathered(read_json_lines(in_blocks(first + b"\n" + last[:cut], data.draw(BLOCK_SIZES))))

    assert (broken, [piece.data for piece in pieces]) == ("truncated", [first])


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    lines = ['{"a":"\u2028\u2029\x85\x0b"}'.encode(), b'{"a":2}']

    reading = read_content(tmp_path, "d.jsonl", b"\n".join(lines))

    assert reading.data == lines


def test_escapes_do_not_hide_where_a_string_ends() -> None:
    elements = [rb'{"a":"\\","b":"},{"}', rb'{"a":"\"","b":"},{"}', rb'{"a":"\\\"},","b":"\\"}']

    for size in (1, 1 << 20):
        pieces, broken = gathered(read_json(in_blocks(b"[" + b",".join(elements) + b",{}]", size)))
        assert ([piece.data for piece in pieces], broken) == ([*elements, b"{}"], None)


def test_broken_element_is_one_record_and_not_a_broken_file(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.json", b'[{"a": 01}, {"b": 2}, {"c" 3} x, {"d": [1}], {"e": 5}]')

    assert reading.ended is None
    assert reading.data == [b'{"a": 01}', b'{"b": 2}', b'{"c" 3} x', b'{"d": [1}]', b'{"e": 5}']


def test_element_that_is_no_object_is_rejected_at_its_place(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.json", b'[{"a":1}, 7, "x,]", [{"b":1}], null, {"c":3},]')

    assert [record.position for record in reading.records] == [1, 6]
    assert [(one.position, one.reason, one.data) for one in reading.rejected] == [
        (2, "not_an_object", b"7"),
        (3, "not_an_object", b'"x,]"'),
        (4, "not_an_object", b'[{"b":1}]'),
        (5, "not_an_object", b"null"),
        (7, "not_an_object", b""),
    ]


def test_line_that_is_no_object_is_rejected_with_its_number(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.jsonl", b'{"a":1}\n\n  {"b":2}\r\n[3]\nfour\n')

    assert [(record.position, record.data) for record in reading.records] == [(1, b'{"a":1}'), (3, b'{"b":2}')]
    assert [(one.position, one.data) for one in reading.rejected] == [(4, b"[3]"), (5, b"four")]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":', b'{"value":['])
def test_deep_nesting_neither_crashes_nor_hangs(tmp_path: Path, opening: bytes) -> None:
    began = time.monotonic()

    cut = read_content(tmp_path, "cut.json", opening * 100_000)
    deep = b"[" * 100_000 + b"]" * 100_000
    whole = read_content(tmp_path, "whole.json", b'[{"a":' + deep + b"}]")

    assert cut.ended == "truncated"
    assert whole.data == [b'{"a":' + deep + b"}"]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["d.json", "d.jsonl"])
def test_record_that_is_too_large_is_rejected_and_the_rest_goes_on(tmp_path: Path, name: str) -> None:
    records = [b'{"a":1}', b'{"b":"' + b"x" * (21 * 1024**2) + b'"}', b'{"c":3}']
    array = name == "d.json"

    reading = read_content(tmp_path, name, b"[" + b",".join(records) + b"]" if array else b"\n".join(records))

    assert reading.data == [b'{"a":1}', b'{"c":3}']
    assert reading.reasons == ["too_large"]
    assert 1024**2 < len(reading.rejected[0].data) <= 2 * 1024**2  # so much that the quarantine knows it is cut
    assert reading.rejected[0].position == 2


def test_single_object_that_is_too_large_is_rejected(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.json", b'{"b":"' + b"x" * (21 * 1024**2) + b'","c":{}}')

    assert (reading.reasons, reading.data, reading.ended) == (["too_large"], [], None)


def test_what_follows_the_end_is_not_overlooked(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.json", b'[{"a":1}] [{"b":2}]')

    assert (reading.data, reading.ended) == ([b'{"a":1}'], "not_json")
    assert reading.broken is not None
    assert "jsonl" in (reading.broken.hint or "")


@pytest.mark.parametrize("text", [b'[{"a":1}}', b'{"value":[{"a":1}]]', b'{"value":[{"a":1}}', b'{"a":1]'])
def test_brackets_that_do_not_match_break_the_file(tmp_path: Path, text: bytes) -> None:
    assert read_content(tmp_path, "d.json", text).ended == "not_json"


def test_empty_array_is_a_delivery_of_no_records(tmp_path: Path) -> None:
    for text in (b"[]", b" [ \n ] ", b'{"value":[]}', b'{"D":{"Results":[]}}'):
        reading = read_content(tmp_path, "d.json", text)

        assert (reading.pages, reading.ended) == ([], None)


def test_record_of_mred_is_read_as_it_lies_there(shared: Path) -> None:
    path = shared / "fixtures/mred/mred-mlsgrid-property.json"

    assert read_file(path).data == [path.read_bytes().strip()]


NOT_JSON = {"refresh_body.json"}
"""Fixtures that are broken themselves."""


def test_no_member_of_a_spark_listing_is_lost(shared: Path) -> None:
    paths = sorted((shared / "fixtures/spark").rglob("*.json"))

    for path in paths:
        if path.name in NOT_JSON:
            continue
        answer = orjson.loads(path.read_bytes())
        results = answer.get("D", {}).get("Results") if isinstance(answer, dict) else None
        reading = read_file(path)
        records = [orjson.loads(data) for data in reading.data]

        expected = [answer] if results is None else [_flat(item) for item in results if isinstance(item, dict)]
        assert (records, reading.ended) == (expected, None), path
    assert len(paths) > 30


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    return {**item.get("StandardFields", {}), **{k: v for k, v in item.items() if k != "StandardFields"}}


def test_spark_keeps_both_where_names_clash(tmp_path: Path) -> None:
    item = b'{"Id":"1", "City":"outer", "StandardFields":{"City":"inner","Spark":1.10}}'

    reading = read_content(tmp_path, "d.json", b'{"D":{"Success":true,"Results":[' + item + b"]}}")

    assert reading.data == [b'{"City":"inner","Spark":1.10,"Id":"1","Spark_":{"City":"outer"}}']


@pytest.mark.parametrize(
    "item",
    [
        b'{"StandardFields":{"a":1},"StandardFields":{"b":2}}',
        b'{"StandardFields":null,"Id":"1"}',
        b'{"StandardFields":{"a" 1},"Id":"1"}',
        b'{"Id" "1"}',
        b"{}",
    ],
)
def test_spark_item_of_another_shape_is_handed_on_as_it_is(tmp_path: Path, item: bytes) -> None:
    reading = read_content(tmp_path, "d.json", b'{"D":{"Results":[' + item + b',{"Id":"2"}]}}')

    assert reading.data == [item, b'{"Id":"2"}']


def test_name_that_stands_twice_in_a_spark_listing_stays_for_the_parser(tmp_path: Path) -> None:
    item = b'{"StandardFields":{"a":1,"a":2},"Id":"1","Id":"2"}'

    reading = read_content(tmp_path, "d.json", b'{"D":{"Results":[' + item + b"]}}")

    assert reading.data == [b'{"a":1,"a":2,"Id":"1","Id":"2"}']


def test_rejected_says_what_stood_there(tmp_path: Path) -> None:
    [rejected] = read_content(tmp_path, "d.json", b"[7]").rejected

    assert isinstance(rejected, Rejected)
    assert "'7'" in rejected.detail


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [
        (b'{"value": [{"A":1}], "@odata.nextLink": "https://x.test/?$skip=1"}', True),
        (b'{"@odata.nextLink" : "https://x.test/", "value": []}', True),
        (b'{"value": [{"A":1}], "@nextLink": "x"}', True),
        (b'{"value": [{"A":1}], "@odata.nextLink": null}', False),
        (b'{"value": [{"A":1}], "@odata.nextLink": "" }', False),
        (b'{"value": [{"@odata.nextLink": "x"}], "Media@odata.nextLink": "x"}', False),
        (b'{"ListingKey": "L1", "@odata.nextLink": "x"}', False),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answer_that_goes_on_elsewhere_is_known_by_its_link(text: bytes, size: int, *, goes_on: bool) -> None:
    envelope = Envelope()

    list(read_json(in_blocks(text, size), envelope))

    assert envelope.goes_on == goes_on
