"""What the readers of the file formats have in common: pieces of a delivery, and how large one may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .base import RawRecord, Rejected

Piece: TypeAlias = RawRecord | Rejected

Takes: TypeAlias = Callable[[bytes, int, int], bool]
"""Asked whether a piece is wanted that stands in these bytes, between begin and end; the others are passed over."""

MAX_RECORD_BYTES = 20 * 1024 * 1024
"""A listing with 200 photos has about 0.2 MB; what is longer than this is not a listing."""
WHITESPACE = b" \t\r\n"  # what JSON calls so
KEPT_BYTES = 2 * 1024 * 1024
"""So much of a piece that is too long is handed on, for people to see what it was."""


def piece(position: int, data: bytes) -> Piece:
    """Return what stands at `position` as a record if it may be one; its parser tells whether it is."""
    if data.startswith(b"{"):
        return RawRecord(position, data)
    return Rejected(position, "not_an_object", f"a record begins with '{{', this with {_begin(data)}", data)


def wanted(pieces: list[Piece], takes: Takes | None) -> list[Piece]:
    """Return those of the pieces that are wanted; None wants all."""
    return pieces if takes is None else [one for one in pieces if takes(one.data, 0, len(one.data))]


def too_large(position: int, kept: bytes) -> Rejected:
    limit = f"{MAX_RECORD_BYTES // 1024**2} MB"
    return Rejected(position, "too_large", f"the record is longer than {limit}", kept[:KEPT_BYTES])


def _begin(data: bytes) -> str:
    return repr(data[:20].decode("utf-8", "replace")) if data else "nothing at all"


class Parts:
    """Bytes that come in pieces and may become too many: then only their beginning is kept."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.too_large = False

    def add(self, part: bytes) -> None:
        if self.too_large:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > MAX_RECORD_BYTES:
            self._parts = [b"".join(self._parts)[:KEPT_BYTES]]
            self.too_large = True

    def add_all(self, other: Parts) -> None:
        self.add(other.joined())
        self.too_large = self.too_large or other.too_large

    def joined(self) -> bytes:
        return b"".join(self._parts)
