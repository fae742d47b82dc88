"""`mls-crm-sync ingest`: listings from files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mls_crm_sync.sources.formats import FileFormat

from . import options
from .output import IngestProgressBar, broken, json_line, notice, one_line
from .results import numbers, report, say, say_what_followed
from .session import with_database
from .shares import Shares, Work

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from mls_crm_sync.core.errors import SourceBroken
    from mls_crm_sync.sources.base import Page
    from mls_crm_sync.sources.pieces import Takes
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.ingest import IngestResult
    from mls_crm_sync.sync.preview import Shown
    from mls_crm_sync.sync.reader import Reader


def ingest(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON, JSON Lines or CSV, gzip or not; - is standard input."),
    ],
    source: Annotated[str, typer.Option(help="Whose listings these are; the name is fixed for good.")],
    location: Annotated[str, typer.Option(help="What the files hold: a ZIP, a city, * for all.")],
    complete: Annotated[bool, typer.Option("--complete", help="The files hold every listing of the location.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change; write nothing.")] = False,
    columns: Annotated[
        Path | None, typer.Option(help="TOML file that names the columns of a CSV; see docs/file-formats.md.")
    ] = None,
    format_: Annotated[
        FileFormat | None, typer.Option("--format", help="Where neither the name nor the first bytes tell.")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA zone of time stamps that carry none.")] = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the work; each reads the files, which are on disk.")
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Read listings and bring every linked CRM property in step."""
    options.name("--source", source)
    options.name("--location", location)
    delivery = Delivery(files, columns, format_)
    where = options.zone("--time-zone", time_zone) or delivery.time_zone
    if jobs > 1:
        _check_for_several(files, dry_run=dry_run)
    if dry_run:
        _end(with_database(lambda db: _preview(db, delivery, reader_for(source, where), as_json=json)))
        return
    if jobs > 1:
        work = Work(files, source, str(columns) if columns else None, format_, where.key if where else None)
        result = with_database(
            lambda db: _share(db, delivery, Shares(work, jobs), location, complete=complete, as_json=json),
            bulk=True,
        )
    else:
        result = with_database(
            lambda db: _ingest(db, delivery, reader_for(source, where), location, complete=complete, as_json=json),
            bulk=True,
        )
    say_what_followed(result)
    if result.short:
        notice(f"This is not all of the location: {result.short}")
    if result.error is None and result.status != "succeeded":
        notice("The run failed: none of the records could be read")
    _end(result.error, done=result.status == "succeeded")


class Delivery:
    """The files of one run, read one after the other as one."""

    def __init__(
        self, files: list[str], columns: Path | None, file_format: FileFormat | None, takes: Takes | None = None
    ) -> None:
        """`takes`: which records of them are wanted, where that is not all."""
        from mls_crm_sync.core.fields import BY_NAME
        from mls_crm_sync.sources.column_map import load_column_map
        from mls_crm_sync.sources.file import FileReading

        column_map = load_column_map(columns) if columns else None
        self.time_zone = column_map.time_zone if column_map else None
        self._files = [
            FileReading(file, format=file_format, columns=column_map, field_names=BY_NAME, takes=takes)
            for file in files
        ]

    @property
    def total_bytes(self) -> int | None:
        sizes = [file.total_bytes for file in self._files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    async def pages(self) -> AsyncGenerator[Page, None]:
        from dataclasses import replace

        before = 0
        for file in self._files:
            async with aclosing(file.pages()) as pages:
                async for page in pages:
                    short = page.short if file is self._files[-1] else ""  # what follows is taken for the rest
                    yield replace(page, bytes_read=before + page.bytes_read, short=short)
            before += file.total_bytes or 0


async def _ingest(
    db: Database, delivery: Delivery, reader: Reader, location: str, *, complete: bool, as_json: bool
) -> IngestResult:
    from mls_crm_sync.sync.ingest import ingest as run

    with IngestProgressBar(delivery.total_bytes, quiet=as_json) as progress:
        async with aclosing(delivery.pages()) as pages:
            result = await run(db, reader, pages, location=location, complete=complete, progress=progress)
    report(result, as_json=as_json)
    return result


def _check_for_several(files: list[str], *, dry_run: bool) -> None:
    """Refuse what one process alone can read: each would get another part of a pipe."""
    from mls_crm_sync.sources.delivery import STDIN, is_read_once

    if STDIN in files:
        raise options.bad("--jobs", "standard input can be read by one process alone; name a file")
    if pipes := [file for file in files if is_read_once(file)]:
        raise options.bad("--jobs", f"{pipes[0]!r} can be read by one process alone; name a file on the disk")
    if dry_run:
        raise options.bad("--jobs", "a dry run is made by one process; leave one of both out")


async def _share(
    db: Database, delivery: Delivery, shares: Shares, location: str, *, complete: bool, as_json: bool
) -> IngestResult:
    from mls_crm_sync.sync.ingest import ingest_by

    with IngestProgressBar(delivery.total_bytes, quiet=as_json) as progress:
        async with shares:
            result = await ingest_by(
                db, shares.source, location, lambda held: shares.read(db, held, progress), complete=complete
            )
    report(result, as_json=as_json)
    return result


def _end(error: SourceBroken | None, *, done: bool = True) -> None:
    """Say why the delivery could not be read to its end, if so; exit with 1 where not all was done."""
    if error is not None:
        broken(error)
    if error is not None or not done:
        raise typer.Exit(1)


async def _preview(db: Database, delivery: Delivery, reader: Reader, *, as_json: bool) -> SourceBroken | None:
    from mls_crm_sync.sync.preview import preview

    async with aclosing(delivery.pages()) as pages:
        tally, broken = await preview(db, reader, pages, _show_as_json if as_json else _show)
    if as_json:
        json_line({**numbers(tally), "dry_run": True})
    else:
        say(tally, "- dry run, nothing was written", kept=False)
    return broken


def _show(one: Shown) -> None:
    from mls_crm_sync.sync.preview import SetAside

    if isinstance(one, SetAside):
        why = f"{one.origin}:{one.position}: {one.reason}: {one.detail}"
        typer.echo("\t".join(("quarantined", one_line(one.source_key), one.field or "", one_line(why))))
        return
    for change in one.changes:
        values = f"{one_line(change.previous) or '-'} -> {one_line(change.new) or '-'}" if change.field else ""
        typer.echo("\t".join((change.type.value, one_line(one.source_key), change.field or "", values)))


def _show_as_json(one: Shown) -> None:
    from mls_crm_sync.sync.preview import SetAside

    if isinstance(one, SetAside):
        place = {"origin": one.origin, "position": one.position}
        why = {"reason": one.reason, "field": one.field, "detail": one.detail}
        json_line({"type": "quarantined", "listing_key": one.source_key, **place, **why})
        return
    for change in one.changes:
        json_line(
            {
                "type": change.type.value,
                "property_id": one.property_id,
                "listing_key": one.source_key,
                "field": change.field,
                "previous": change.previous,
                "new": change.new,
            }
        )


def reader_for(source: str, zone: ZoneInfo | None) -> Reader:
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync.reader import Reader

    return Reader(source, Normaliser(), time_zone=zone)
