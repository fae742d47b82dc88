"""Tables that people bring beside listings: CRM properties, links. CSV with a header, read row by row.

A row that is no CSV, or has another number of cells than the header, is handed on as such and not guessed at; the rest
goes on. Only a file that ends inside a quote is broken.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from mls_crm_sync.core.errors import SourceBroken

MAX_CELL = 1_000_000
"""Characters; a quote that is never closed must not swallow the rest of a large file."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: the line where it begins, and its cells by column name.

    `cells` is None when their number is wrong, or when the row cannot be read: then `trouble` says why.
    """

    line: int
    cells: Mapping[str, str] | None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: Iterator[TableRow]


@contextmanager
def read_table(path: Path) -> Iterator[Table]:
    """Open a CSV file (UTF-8, comma or semicolon). Raises SourceBroken, at once or while the rows are read."""
    with _told(path):
        file = path.open(encoding="utf-8-sig", newline="")
    with file:
        yield _table(str(path), _lines(path, file))


def table_of(data: bytes, name: str) -> Table:
    """Return the table of a whole CSV in memory, as `read_table` reads a file; `name` is what errors call it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceBroken("encoding", f"{name} is not UTF-8 (byte {error.start})") from error
    return _table(name, io.StringIO(text, newline=""))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceBroken("no_such_file", f"{path} does not exist") from error
    except OSError as error:
        raise SourceBroken("unreadable", f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        hint = f"convert it: iconv -f WINDOWS-1252 -t UTF-8 {path} > utf8.csv"
        raise SourceBroken("encoding", f"{path} is not UTF-8 (byte {error.start})", hint=hint) from error


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """The file's lines; trouble with reading it is told here, and nobody else's trouble is taken for it."""
    with _told(path):
        yield from file


class _Lines:
    """The lines; `ended` once somebody has asked for one more than there are."""

    def __init__(self, first: str, others: Iterator[str]) -> None:
        self._lines = chain([first], others)
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            self.ended = True
            raise


def _table(name: str, others: Iterator[str]) -> Table:
    csv.field_size_limit(MAX_CELL)
    first = next(others, "")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    lines = _Lines(first, others)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = [column.replace("\x00", "").strip() for column in next(reader, ())]
    except csv.Error as error:
        raise SourceBroken("not_csv", f"{name}, the header: {error}") from error
    if not any(names):
        raise SourceBroken("empty", f"{name} has no header row")
    header = tuple(column or f"column {place}" for place, column in enumerate(names, start=1))
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise SourceBroken("header", f"{name} names a column twice: {', '.join(twice)}")
    return Table(header, _rows(name, lines, reader, header))


def _rows(name: str, lines: _Lines, reader: Iterator[list[str]], header: tuple[str, ...]) -> Iterator[TableRow]:
    while True:
        line = reader.line_num + 1  # type: ignore[attr-defined] # csv.reader has it, its stub's base has not
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.ended:
                raise _cut_off(name, line) from error
            yield TableRow(line, None, _trouble(error, line, reader.line_num))  # type: ignore[attr-defined]
            continue
        if any(cells):  # spreadsheets write blank rows as delimiters
            yield TableRow(line, dict(zip(header, cells, strict=True)) if len(cells) == len(header) else None)


def _trouble(error: csv.Error, first: int, last: int) -> str:
    """What is wrong with a row; a quote in the wrong place may have taken more lines than one."""
    return f"{error} (lines {first} to {last})" if last > first else str(error)


def _cut_off(name: str, line: int) -> SourceBroken:
    return SourceBroken(
        "truncated",
        f"{name} ends inside the row that begins in line {line}",
        hint="fetch the file again; or a quotation mark in that row is never closed",
    )
