"""Strict JSON of one record, and back.

What is accepted here is what is stored, so it is accepted strictly: UTF-8, one object, no member twice at any level, no
NaN, no Infinity, bounded depth; numbers exactly as written. Text that PostgreSQL cannot hold (NUL, lone surrogates) is
cleaned where text is normalised (`values.py`) and here for member names and unknown members. No IO.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import msgspec

from .errors import RecordRejected

MAX_DEPTH = 64
MAX_DIGITS = 400
"""Of a number: more is no measure of a house, and costs quadratic time."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_SPACE = b" \t\n\r"
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Decoded:
    record: dict[str, Any]  # str, int, Decimal, bool, None, list, dict
    notes: tuple[str, ...]


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decode(data: bytes) -> Decoded:
    """Return the record of one JSON object. Raises RecordRejected: `not_utf8`, `not_json`, `not_an_object`,
    `duplicate_member`, `too_deep`.
    """
    record = _decoded_plainly(data)
    return Decoded(record, ()) if record is not None else _decoded_strictly(data)


def _decoded_plainly(data: bytes) -> dict[str, Any] | None:
    """The usual record, many times as fast; None for whatever the strict way has to judge.

    msgspec is as strict as we are, but takes NUL, and the last of a member that stands twice. What gives the same bytes
    again has lost nothing. Of other spellings: without white space every member has a `":` of its own, and text can
    only add to them, so as many as there are members means that none is lost.
    """
    if b"\\" in data and b"\\u0000" in data:
        return None
    try:
        record = _decode(data)
        again = _encode(record)
    except (msgspec.MsgspecError, ValueError, RecursionError, _Refused):
        return None
    if not isinstance(record, dict):
        return None
    if again == data:
        few = data.count(b"{") + data.count(b"[") <= MAX_DEPTH  # too few to be nested deeper
        return record if few or not _depth_reached(record) else None
    return record if _members_of(record) == data.translate(None, _SPACE).count(b'":') else None


def _members_of(record: dict[str, Any]) -> int:
    """How many members a record and all the objects in it have; -1 when they are nested too deep."""
    count = len(record)
    level: list[Any] = [v for v in record.values() if v.__class__ is list or v.__class__ is dict]
    for _ in range(MAX_DEPTH):
        if not level:
            return count
        inner: list[Any] = []
        for outer in level:
            values = outer
            if outer.__class__ is dict:
                count += len(outer)
                values = outer.values()
            inner += [v for v in values if v.__class__ is list or v.__class__ is dict]
        level = inner
    return -1


def _decoded_strictly(data: bytes) -> Decoded:
    try:
        text = data.decode("utf-8")
        record = json.loads(
            text, object_pairs_hook=_object, parse_float=_decimal, parse_int=_int, parse_constant=_constant
        )
    except UnicodeDecodeError as error:
        raise RecordRejected("not_utf8", f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise RecordRejected("not_json", f"{error.msg} at character {error.pos}") from error
    except _Refused as error:
        raise RecordRejected(error.reason, str(error)) from error
    except RecursionError as error:
        raise RecordRejected("too_deep", f"nested deeper than {MAX_DEPTH} levels") from error
    if not isinstance(record, dict):
        raise RecordRejected("not_an_object", "a record is a JSON object")
    notes: list[str] = []
    if b"\x00" in data or _ESCAPED.search(data):
        record = _cleaned_object(record, None, notes, 1)
    elif _depth_reached(record):
        raise RecordRejected("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    return Decoded(record, tuple(dict.fromkeys(notes)))


def names(data: bytes) -> Collection[str]:
    """Return the names of the members of one JSON object that `decode` took."""
    return _raw_members(data).keys()


def encode(record: Mapping[str, Any]) -> bytes:
    """Return compact JSON, member order kept, numbers exactly as they were written."""
    return _encode(record)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused("duplicate_member", f"{twice!a} stands twice in one object")
    return members


def _decimal(text: str) -> Decimal:
    if len(text) < 30 and "e" not in text and "E" not in text:
        return Decimal(text)
    if len(text) > MAX_DIGITS:
        raise _Refused("not_json", f"a number of {len(text):,} characters")
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond what even Decimal takes
        number = Decimal("Infinity")
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS:
        raise _Refused("not_json", f"the number {text[:40]} is out of any range")
    return number


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused("not_json", f"a number of {len(text):,} characters")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise _Refused("not_json", f"{text} is not JSON")


def _cleaned(value: Any, name: str, notes: list[str], depth: int) -> Any:  # noqa: ANN401 - any JSON value
    """Take NUL and lone surrogates out of every text, with a note for the member of the record it is in."""
    if isinstance(value, str):
        clean = _UNSTORABLE.sub("", value)
        if clean != value:
            notes.append(f"NUL or lone surrogate removed in {_UNSTORABLE.sub('', name)}")
        return clean
    if not isinstance(value, list | dict):
        return value
    if depth > MAX_DEPTH:
        raise RecordRejected("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return _cleaned_object(value, name, notes, depth + 1)
    return [_cleaned(item, name, notes, depth + 1) for item in value]


def _cleaned_object(members: Mapping[str, Any], within: str | None, notes: list[str], depth: int) -> dict[str, Any]:
    """`within` is the member of the record that the object is in, None for the record itself; `depth` its values'.

    Names that are the same once cleaned are one member twice: neither value may silently win.
    """
    clean: dict[str, Any] = {}
    for name, value in members.items():
        at = name if within is None else within
        clean_name = _cleaned(name, at, notes, depth)
        if clean_name in clean:
            raise RecordRejected("duplicate_member", f"{clean_name!a} stands twice in one object")
        clean[clean_name] = _cleaned(value, at, notes, depth)
    return clean


def _depth_reached(record: Mapping[str, Any]) -> bool:
    """Whether values are nested deeper than what may be stored; looks at containers only."""
    level: list[Any] = [v for v in record.values() if isinstance(v, dict | list)]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


_decode = msgspec.json.Decoder(float_hook=_decimal).decode
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
