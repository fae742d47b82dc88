"""CSV: each row becomes the JSON text of one record, under the names that the column map finds.

An empty cell is null: it clears. A column that the file does not have is absent: it changes nothing. A row
with too few cells is set aside and never read as one whose last cells are empty. A list of media stands in its
cell as JSON, and goes into the record as it stands. A table that HomeHarvest wrote is known by its columns, unless the
operator maps them: its rows are read as the homes that they were made from.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import orjson

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.core.fields import FIELDS, Kind

from .base import RawRecord, Rejected
from .column_map import ColumnMap, names_of
from .homeharvest.fields import BadShape, is_homeharvest, record_of_row
from .pieces import KEPT_BYTES, MAX_RECORD_BYTES, Piece, too_large

MAX_CELL_CHARACTERS = 1024 * 1024
"""The csv module's own limit of 131,072 is less than the remarks and photo lists that are really sent."""
BATCH_ROWS = 500
_DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r?\n|\r)", re.IGNORECASE)  # spreadsheets write it, no header has it
_LISTS = frozenset(field.name for field in FIELDS if field.kind is Kind.MEDIA)
_QUOTED = re.compile(r'"[^"]*+"')

Row: TypeAlias = list[str]
Shape: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What becomes of the cells by name before they are a record."""


def read_csv(blocks: Iterator[bytes], *, columns: ColumnMap, field_names: Collection[str]) -> Iterator[list[Piece]]:
    """Return the records, some at a time. Raises SourceBroken: encoding, header, or cut off in a cell."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)  # of the whole process; nobody here wants the smaller one
    rows = _Rows(_Lines(blocks, columns.encoding))
    header = next(rows, None)
    if not isinstance(header, list):
        raise SourceBroken("no_header", "the first line cannot be read", hint="the first line has to name the columns")
    shape: Shape = dict
    if is_homeharvest(header) and not columns.columns:
        names: Sequence[str | None] = [label.strip() for label in header]
        shape = record_of_row
    else:
        names = names_of(header, columns, field_names)
    batch: list[Piece] = []
    try:
        for row in rows:
            batch.append(row if isinstance(row, Rejected) else _record(rows, row, names, shape))
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
    except SourceBroken:
        yield batch
        raise
    yield batch


def _record(rows: _Rows, row: Row, names: Sequence[str | None], shape: Shape) -> Piece:
    if len(row) != len(names):
        few = len(row) < len(names)
        reason = "too_few_cells" if few else "too_many_cells"
        return rows.rejected(reason, f"the row has {len(row)} cells, the header {len(names)}")
    members = {name: _value(name, cell) for name, cell in zip(names, row, strict=True) if name}
    try:
        return RawRecord(rows.position, orjson.dumps(shape(members)))
    except BadShape as odd:
        return rows.rejected("bad_shape", str(odd))
    except TypeError:  # half a surrogate pair, which some encodings let through
        return rows.rejected("encoding", "the row holds text that is no Unicode")


def _value(name: str, cell: str) -> str | orjson.Fragment | None:
    """Return what a cell says; whether a list holds media is for the record's parser to see."""
    if name in _LISTS and cell.lstrip().startswith("["):
        with suppress(orjson.JSONDecodeError):
            orjson.loads(cell)
            return orjson.Fragment(cell)
    return cell or None


class _LineTooLong(Exception):  # passes through the csv module, is never seen by anybody else
    """A line or a row that memory shall not hold"""


class _Lines:
    """The physical lines with their ends; `number` is that of the last one, `row` holds the present row's."""

    def __init__(self, blocks: Iterator[bytes], encoding: str) -> None:
        self._texts = self._decoded(blocks, encoding)
        self._encoding = encoding
        self.head = next(self._texts, "")
        self._line_end = "\n" if "\n" in self.head else "\r" if "\r" in self.head else "\n"
        self._lines = self._split()
        self.number = 0
        self.row: list[str] = []
        self._row_characters = 0
        self.ended = False

    def begin_row(self) -> None:
        self.row, self._row_characters = [], 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self.number += 1
        self.row.append(line)
        self._row_characters += len(line)
        if self._row_characters > MAX_RECORD_BYTES:
            raise _LineTooLong
        return line

    def _split(self) -> Iterator[str]:
        """A line that is too long comes cut, but long enough to be refused."""
        end, text = self._line_end, self.head
        begun = ""
        while text:
            first, *others = text.split(end)
            begun += first if len(begun) <= MAX_RECORD_BYTES else ""
            if others:
                *lines, last = others
                yield begun + end
                for line in lines:
                    yield line + end
                begun = last
            text = next(self._texts, "")
        if begun:
            yield begun

    def _decoded(self, blocks: Iterator[bytes], encoding: str) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(encoding)()
        lines = 1
        try:
            for block in blocks:
                if text := decoder.decode(block):
                    lines += _line_ends(text)
                    yield text
            yield decoder.decode(b"", final=True)
        except UnicodeError as error:
            good = (
                error.object[: error.start].decode(encoding, "ignore") if isinstance(error, UnicodeDecodeError) else ""
            )
            if good:  # nothing would be taken for the end
                yield good
            raise SourceBroken(
                "encoding",
                f"line {lines + _line_ends(good)} is not {encoding} text",
                hint="convert it (iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW),"
                ' or say what it is in the column map: encoding = "cp1252"',
            ) from error


class _Rows:
    """The rows, each as its cells or set aside; blank ones are passed over. One begins at `position`."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self.position = 0
        separator = _SEPARATOR_LINE.match(lines.head)
        if separator:
            next(lines)
        delimiter = separator[1] if separator else _delimiter(lines.head)
        self._rows = csv.reader(lines, delimiter=delimiter, strict=True)

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> Row | Rejected:
        row: Row | Rejected = []
        while not (isinstance(row, Rejected) or any(row)):
            self.position = self._lines.number + 1
            self._lines.begin_row()
            row = self._read()
        return row

    def _read(self) -> Row | Rejected:
        try:
            return next(self._rows)
        except _LineTooLong:
            return too_large(self.position, self._text())
        except csv.Error as error:
            if self._lines.ended:
                raise SourceBroken(
                    "truncated",
                    f"the file ends inside the row that begins in line {self.position}",
                    hint="fetch the file again; or a quotation mark in that row is never closed",
                ) from error
            return self.rejected("bad_csv", str(error))

    def rejected(self, reason: str, detail: str) -> Rejected:
        """Set the present row aside."""
        first, last = self.position, self._lines.number
        lines = f"lines {first} to {last}" if last > first else f"line {first}"
        return Rejected(first, reason, f"{detail} ({lines})", self._text())

    def _text(self) -> bytes:
        return "".join(self._lines.row)[:KEPT_BYTES].rstrip("\r\n").encode("utf-8", "replace")


def _line_ends(text: str) -> int:
    return text.count("\n") or text.count("\r")


def _delimiter(head: str) -> str:
    """Return the mark that the header has most of, outside of quotes; of equals the comma."""
    header = _QUOTED.sub("", head.lstrip("\r\n").partition("\n")[0])
    return max(_DELIMITERS, key=header.count)
