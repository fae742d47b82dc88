"""JSON Lines: one object per line, handed on unparsed.

Only a line feed ends a line: U+2028 and its like are text of a record. The common case costs a split and
one small object per line.
"""

from __future__ import annotations

from collections.abc import Iterator

from mls_crm_sync.core.errors import SourceBroken

from .base import RawRecord
from .json_text import is_cut_off
from .pieces import WHITESPACE, Parts, Piece, piece, too_large


def read_json_lines(blocks: Iterator[bytes]) -> Iterator[list[Piece]]:
    """Return the records of each block. Raises SourceBroken where the last line was cut off."""
    number = 1
    begun = Parts()  # the line that the blocks so far have not ended
    for block in blocks:
        end = block.find(b"\n")
        begun.add(block if end < 0 else block[:end])
        if end < 0:
            continue
        rest = block[end + 1 :]
        if b"\r" in rest:  # looking for one byte is ten times as fast as looking for two
            rest = rest.replace(b"\r\n", b"\n")
        lines = rest.split(b"\n")
        pieces = _line(number, begun)
        begun = Parts()
        begun.add(lines.pop())
        pieces += _lines(number + 1, lines)
        number += len(lines) + 1
        yield pieces
    last = _line(number, begun)
    if last and is_cut_off(last[0].data) and not begun.too_large:
        raise SourceBroken(
            "truncated",
            f"the last line, {number}, ends inside a record",
            hint="fetch the file again: the transfer was cut off",
        )
    yield last


def _lines(number: int, lines: list[bytes]) -> list[Piece]:
    if not [line for line in lines if line[:1] != b"{"]:  # as it is nearly always
        return list(map(RawRecord, range(number, number + len(lines)), lines))
    pieces: list[Piece] = []
    for at, line in enumerate(lines, number):
        if line[:1] == b"{":
            pieces.append(RawRecord(at, line))
        elif text := line.strip(WHITESPACE):
            pieces.append(piece(at, text))
    return pieces


def _line(number: int, line: Parts) -> list[Piece]:
    text = line.joined().strip(WHITESPACE)
    if line.too_large:
        return [too_large(number, text)]
    return [piece(number, text)] if text else []
