"""How results look: tables for people, JSON lines for programs, progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson
import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mls_crm_sync.core.errors import SourceBroken
    from mls_crm_sync.sync.shares import Progress as IngestProgress

PLAIN_LINE_EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""

REDRAWN_EVERY = 0.2


def json_line(value: Mapping[str, Any]) -> None:
    typer.echo(orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z).decode())


def notice(text: str) -> None:
    """Tell a person something that is not the result, in one line that cannot steer a terminal."""
    typer.echo("".join(c if c.isprintable() else " " for c in text), err=True)


def broken(error: SourceBroken) -> None:
    """Say why a file could not be read to its end; what came before is stored."""
    notice(f"{error.title}: {error}")
    if error.hint:
        notice(f"  {error.hint}")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, drawn_always: bool = False) -> None:
    """Print a table as wide as the terminal; where there is none, tab-separated values, unless it is `drawn_always`."""
    if not sys.stdout.isatty() and not drawn_always:
        typer.echo("\t".join(columns))
        for row in rows:
            typer.echo("\t".join(one_line(value) for value in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for place, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=place == 0)  # the first is an id, to be copied whole
    for row in rows:
        drawn.add_row(*(Text(one_line(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 120).print(drawn)


def one_line(value: object) -> str:
    """A value as one line without control characters: what comes from outside must not steer a terminal."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return instant(value)
    text = value if isinstance(value, str) else _dumped(value)
    return "".join(c if c.isprintable() else " " for c in text)


def instant(at: datetime) -> str:
    """UTC, to the second, as the API writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 listing`, `2,000 listings`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def row_errors(errors: Iterable[Any]) -> None:
    """Print what is wrong with which line of a file, on standard error."""
    for error in errors:
        notice(f"line {error.line}: {error.code}: {error.detail}" + (f" ({error.id})" if error.id else ""))


class IngestProgressBar:
    """A bar on a terminal, a line every few seconds otherwise; both on standard error."""

    def __init__(self, total_bytes: int | None, *, quiet: bool) -> None:
        self._total = total_bytes
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._next_line = time.monotonic() + PLAIN_LINE_EVERY

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._open_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: IngestProgress) -> None:
        tally = progress.tally
        if self._bar is not None and self._task is not None:
            counts = f"{tally.read:,} read, {tally.new:,} new, {tally.changed:,} changed"
            self._bar.update(self._task, completed=progress.bytes_read, counts=counts)
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_LINE_EVERY
            share = f"{progress.bytes_read / self._total:.0%}, " if self._total else ""
            notice(f"{share}{tally.read:,} read, {tally.new:,} new, {tally.changed:,} changed")

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("ingest", total=self._total, counts="")
        self._bar.start()


class ProgressLine:
    """How far something has come: a line that is written over on a terminal, one every few seconds otherwise; both on
    standard error.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._on_terminal = sys.stderr.isatty()
        self._every = REDRAWN_EVERY if self._on_terminal else PLAIN_LINE_EVERY
        self._next = time.monotonic() + self._every
        self._drawn = False

    def __call__(self, text: str, *, last: bool = False) -> None:
        """`last`: nothing follows, so a line that was drawn is ended."""
        if self._quiet or (time.monotonic() < self._next and not (last and self._drawn)):
            return
        self._next = time.monotonic() + self._every
        if self._on_terminal:
            self._drawn = not last
            typer.echo(f"\r\x1b[K{one_line(text)}", err=True, nl=last)
        else:
            notice(text)


def _dumped(value: object) -> str:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z).decode()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(type(value).__name__)
