"""JSON Lines: one object per line, handed on unparsed.

Only a line feed ends a line: U+2028 and its like are text of a record. The common case costs a split and
one small object per line.
"""

from __future__ import annotations

from collections.abc import Iterator

from mls_crm_sync.core.errors import SourceBroken

from .base import RawRecord
from .json_text import is_cut_off
from .pieces import WHITESPACE, Parts, Piece, Takes, piece, too_large, wanted


def read_json_lines(blocks: Iterator[bytes], takes: Takes | None = None) -> Iterator[list[Piece]]:
    """Return the records of each block, those that are wanted. Raises SourceBroken where the last line was cut off."""
    number = 1
    begun = Parts()  # the line that the blocks so far have not ended
    for block in blocks:
        if b"\r" in block:  # looking for one byte is ten times as fast as looking for two
            block = block.replace(b"\r\n", b"\n")  # noqa: PLW2901 - the same lines
        end = block.find(b"\n")
        begun.add(block if end < 0 else block[:end])
        if end < 0:
            continue
        pieces = wanted(_line(number, begun), takes)
        number, end = _lines(block, end + 1, number + 1, takes, pieces)
        begun = Parts()
        begun.add(block[end:])
        yield pieces
    last = _line(number, begun)
    if last and is_cut_off(last[0].data) and not begun.too_large:
        raise SourceBroken(
            "truncated",
            f"the last line, {number}, ends inside a record",
            hint="fetch the file again: the transfer was cut off",
        )
    yield wanted(last, takes)  # only now: that it is cut off, whoever it is of, each reader has to see


def _lines(block: bytes, begin: int, number: int, takes: Takes | None, pieces: list[Piece]) -> tuple[int, int]:
    """Add the lines of a block that end in it; return the number of the next one, and where it begins.

    Each is copied out of the block by itself: to split the block at once takes half as long again. What is not wanted
    is not copied.
    """
    find, begins_object, add = block.find, block.startswith, pieces.append
    while (end := find(b"\n", begin)) >= 0:
        if takes is None or takes(block, begin, end):
            if begins_object(b"{", begin):
                add(RawRecord(number, block[begin:end]))
            elif text := block[begin:end].strip(WHITESPACE):
                add(piece(number, text))
        number += 1
        begin = end + 1
    return number, begin


def _line(number: int, line: Parts) -> list[Piece]:
    text = line.joined().strip(WHITESPACE)
    if line.too_large:
        return [too_large(number, text)]
    return [piece(number, text)] if text else []
