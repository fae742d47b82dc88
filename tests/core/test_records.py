"""Strict JSON of one record: a value or a typed error, and nothing of a record lost on the way back."""

from __future__ import annotations

import tarfile
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls_crm_sync.core.errors import RecordRejected
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.core.records import MAX_DEPTH, decode, encode

storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.decimals(-(10**20), 10**20, places=6) | storable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(storable, json_values, max_size=6))
def test_a_record_survives_encoding_and_decoding_exactly(record: dict[str, object]) -> None:
    assert decode(encode(record)).record == record


@given(st.binary(max_size=60) | storable.map(str.encode))
def test_any_bytes_are_a_record_or_a_typed_error(data: bytes) -> None:
    try:
        decoded = decode(data)
    except RecordRejected as error:
        assert error.reason in {"not_utf8", "not_json", "not_an_object", "duplicate_member", "too_deep"}
    else:
        assert decode(encode(decoded.record)).record == decoded.record


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 2}', "duplicate_member"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "duplicate_member"),
        (b'{"a\\u0000": 1, "a": 2}', "duplicate_member"),
        (b'{"x": [{"a\\ud800": 1, "a": 2}]}', "duplicate_member"),
        (b'{"a": NaN}', "not_json"),
        (b'{"a": -Infinity}', "not_json"),
        (b'{"a": 1e999999999}', "not_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a": 01}', "not_json"),
        (b'{"a": 1} {"b": 2}', "not_json"),
        (b"", "not_json"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'{"a": "\xff"}', "not_utf8"),
        (b'{"a": ' + b"[" * 100_000, "too_deep"),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "too_deep"),
        (b'{"a": ' + b"[" * 70 + b'"\\u0000"' + b"]" * 70 + b"}", "too_deep"),
    ],
)
def test_what_is_not_strict_json_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        decode(data)

    assert caught.value.reason == reason


@pytest.mark.parametrize("leaf", [b"1", b'"\\ud83d\\ude00"', b'"\\u0000"'])
def test_nesting_is_bounded_alike_whether_or_not_text_is_looked_through(leaf: bytes) -> None:
    def nested(depth: int) -> bytes:
        return b'{"a": ' + b"[" * depth + leaf + b"]" * depth + b"}"

    assert decode(nested(MAX_DEPTH)).record["a"] is not None
    with pytest.raises(RecordRejected, match="too_deep"):
        decode(nested(MAX_DEPTH + 1))


def test_numbers_are_exact_and_stay_so() -> None:
    decoded = decode(b'{"a": 0.1, "b": 1e400, "c": 12345678901234567890, "d": 2.50}')

    assert decoded.record == {
        "a": Decimal("0.1"),
        "b": Decimal("1e400"),
        "c": 12345678901234567890,
        "d": Decimal("2.50"),
    }
    assert decode(encode(decoded.record)).record == decoded.record


def test_nul_and_lone_surrogates_are_removed_with_a_note() -> None:
    decoded = decode(b'{"City": "New\\u0000 York\\ud800", "X": ["\\udfff", {"k\\u0000": 1}], "ok": "\\ud83d\\ude00"}')

    assert decoded.record == {"City": "New York", "X": ["", {"k": 1}], "ok": "\U0001f600"}
    assert decoded.notes == ("NUL or lone surrogate removed in City", "NUL or lone surrogate removed in X")


@pytest.mark.shared
def test_json_test_suite_is_a_value_or_a_typed_error(shared: Path) -> None:
    normaliser = Normaliser()
    with tarfile.open(shared / "suites" / "JSONTestSuite-test_parsing.tar.gz") as suite:
        members = [m for m in suite.getmembers() if m.name.endswith(".json")]
        assert len(members) > 300
        for member in members:
            file = suite.extractfile(member)
            assert file is not None
            data = file.read()
            for text in (data, b'{"ListingKey": "k", "X": ' + data + b"}"):
                _value_or_typed_error(text, normaliser, member.name)


def _value_or_typed_error(text: bytes, normaliser: Normaliser, name: str) -> None:
    valid = name.rsplit("/", 1)[-1].startswith("y_") and text.startswith(b'{"ListingKey')
    try:
        record = decode(text).record
        once = normaliser.normalise(record)
    except RecordRejected as error:
        assert not valid or error.reason == "duplicate_member", (name, error)
        return
    assert normaliser.normalise({"ListingKey": "k", **once.fields}).fields == {"ListingKey": "k", **once.fields}
    orjson.dumps(once.fields)
