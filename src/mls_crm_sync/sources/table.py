"""Tables that people bring beside listings: CRM properties, links. CSV with a header, read row by row.

A row with another number of cells than the header is reported by the reader of the rows, not guessed at.
"""

from __future__ import annotations

import csv
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
    """One row: its line in the file, and its cells by column name; `cells` is None when their number is wrong."""

    line: int
    cells: Mapping[str, str] | None


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
        yield _table(path, _lines(path, file))


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


def _table(path: Path, lines: Iterator[str]) -> Table:
    csv.field_size_limit(MAX_CELL)
    first = next(lines, "")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    try:
        header = tuple(name.replace("\x00", "").strip() for name in next(reader, ()))
    except csv.Error as error:
        raise SourceBroken("not_csv", f"{path}, the header: {error}") from error
    if not any(header):
        raise SourceBroken("empty", f"{path} has no header row")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise SourceBroken("header", f"{path} names a column twice: {', '.join(twice)}")
    return Table(header, _rows(path, reader, header))


def _rows(path: Path, reader: Iterator[list[str]], header: tuple[str, ...]) -> Iterator[TableRow]:
    while True:
        line = reader.line_num + 1  # type: ignore[attr-defined] # csv.reader has it, its stub's base has not
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceBroken("not_csv", f"{path}, line {line}: {error}") from error
        if cells:
            yield TableRow(line, dict(zip(header, cells, strict=True)) if len(cells) == len(header) else None)
