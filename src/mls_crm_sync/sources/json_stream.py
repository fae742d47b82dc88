"""The records of a JSON file of any size, as the exact bytes that were delivered.

An array of records may be the whole file or a member of an object: OData's `value`, Bridge's `bundle`,
Spark's `D.Results`. An object without any of these is one record. A broken element is one broken record and
not a broken file; see `json_text` for where that ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mls_crm_sync.core.errors import SourceBroken

from .base import RawRecord
from .json_text import SPACE, JsonText
from .pieces import WHITESPACE, Parts, Piece, piece, too_large
from .spark import flattened

Reshape: TypeAlias = Callable[[bytes], bytes]
Wrappers: TypeAlias = Mapping[str, "Reshape | Wrappers"]


def _as_it_is(element: bytes) -> bytes:
    return element


WRAPPERS: Wrappers = {"value": _as_it_is, "bundle": _as_it_is, "D": {"Results": flattened}}
"""The members that hold records, and what is done to each record."""

NEXT_PAGE = frozenset({"@odata.nextLink", "@nextLink", "odata.nextLink"})
"""OData's word, beside the records, for: the answer goes on there."""


@dataclass(slots=True)
class Envelope:
    """What an answer says of itself, beside its records; known at its end."""

    goes_on: bool = False


_DEPTH = 8
"""Nested brackets that one match takes in; what is deeper goes the slower way of `JsonText.take`."""
_STRINGS = rb'"[^"]*+"(?:[:,]"[^"]*+")*+'
_FLAT = rb'[^"{}\[\]\\\0]*+'  # an escape outside of a string is not passed over


def _nested(depth: int) -> bytes:
    inner = _FLAT + rb"(?:" + _STRINGS + _FLAT + rb")*"
    for _ in range(depth):
        inner = _FLAT + rb"(?:(?:" + _STRINGS + rb"|[{\[]" + inner + rb"[}\]])" + _FLAT + rb")*"
    return inner


_WHOLE_ELEMENT = re.compile(SPACE + rb"(\{" + _nested(_DEPTH) + rb"\})" + SPACE + rb",", re.DOTALL)
"""Matches in a text whose escapes are blanked: three times as fast as minding them (measured)."""


def read_json(blocks: Iterator[bytes], envelope: Envelope | None = None) -> Iterator[list[Piece]]:
    """Return the records, some at a time. Raises SourceBroken where the file ends early or is no JSON."""
    text = JsonText(blocks)
    first = text.look()
    if first not in (b"[", b"{"):
        raise _not_json(f"the text begins with {first!r}, not with an array or an object")
    text.step()
    if first == b"[":
        yield from _elements(text, _as_it_is)
    elif whole := (yield from _object(text, WRAPPERS, envelope or Envelope())):
        yield [_one_record(whole)]
    if rest := text.look():
        raise _not_json(f"something follows the end of the JSON text at byte {text.position}: {rest!r}")


def _elements(text: JsonText, reshape: Reshape) -> Iterator[list[Piece]]:
    """Pass an array whose opening bracket was passed, with the bracket that ends it."""
    count = 0
    end = b","
    while end == b",":
        whole: list[Piece] = [
            RawRecord(at, reshape(element)) for at, element in enumerate(_whole_elements(text), count + 1)
        ]
        if whole:
            yield whole
        taken = text.take()
        end = text.step()
        element = taken.joined().strip(WHITESPACE)
        count += len(whole) + 1
        if element or count > 1 or end == b",":
            yield [_element(count, element, reshape, is_too_large=taken.too_large)]
    if end != b"]":
        raise _not_json(f"the brackets do not match at byte {text.position}")


def _whole_elements(text: JsonText) -> Iterator[bytes]:
    """Pass the objects that lie in the buffer together with the comma after them."""
    buffer, blanked, match = text.buffer, text.blanked(), _WHOLE_ELEMENT.match
    while found := match(blanked, text.at):
        text.at = found.end()
        yield buffer[found.start(1) : found.end(1)]


def _element(position: int, element: bytes, reshape: Reshape, *, is_too_large: bool) -> Piece:
    if is_too_large:
        return too_large(position, element)
    return piece(position, reshape(element) if element.startswith(b"{") else element)


def _object(text: JsonText, wrappers: Wrappers, envelope: Envelope) -> Generator[list[Piece], None, Parts | None]:
    """Pass an object whose brace was passed; return its bytes, or None where it wrapped records."""
    whole, wrapped, goes_on = Parts(), False, False
    whole.add(b"{")
    end = b","
    while end == b",":
        name, label = text.take_name()
        whole.add(label)
        inside = wrappers.get(name) if name else None
        if callable(inside) and text.look() == b"[":
            text.step()
            yield from _elements(text, inside)
            wrapped = True
        elif isinstance(inside, Mapping) and text.look() == b"{":
            text.step()
            nested = yield from _object(text, inside, envelope)
            wrapped = wrapped or nested is None
            whole.add_all(nested or Parts())
        taken = text.take()
        goes_on = goes_on or (name in NEXT_PAGE and taken.joined().strip(WHITESPACE) not in (b"null", b'""'))
        whole.add_all(taken)
        end = text.step()
        whole.add(end)
    if end != b"}":
        raise _not_json(f"the brackets do not match at byte {text.position}")
    envelope.goes_on = envelope.goes_on or (wrapped and goes_on)
    return None if wrapped else whole


def _one_record(whole: Parts) -> Piece:
    return too_large(1, whole.joined()) if whole.too_large else RawRecord(1, whole.joined())


def _not_json(detail: str) -> SourceBroken:
    return SourceBroken(
        "not_json",
        detail,
        hint="a file with one record per line is JSON Lines: name it .jsonl or give the format jsonl",
    )
