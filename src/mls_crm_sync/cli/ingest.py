"""`mls-crm-sync ingest`: listings from files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mls_crm_sync.sources.formats import FileFormat

from .output import IngestProgressBar, broken, count, json_line, notice, one_line
from .session import with_database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from mls_crm_sync.core.errors import SourceBroken
    from mls_crm_sync.sources.base import Page
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.preview import Preview
    from mls_crm_sync.sync.recognise import Reader
    from mls_crm_sync.sync.tally import Tally


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
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Read listings and bring every linked CRM property in step."""
    delivery = _Delivery(files, columns, format_)
    where = zone(time_zone) or delivery.time_zone
    if dry_run:
        error = with_database(lambda db: _preview(db, delivery, _reader(source, where), as_json=json))
    else:
        error = with_database(
            lambda db: _ingest(db, delivery, _reader(source, where), location, complete=complete, as_json=json)
        )
    if error is not None:
        broken(error)
        raise typer.Exit(1)


class _Delivery:
    """The files of one run, read one after the other as one."""

    def __init__(self, files: list[str], columns: Path | None, file_format: FileFormat | None) -> None:
        from mls_crm_sync.core.fields import BY_NAME
        from mls_crm_sync.sources.column_map import load_column_map
        from mls_crm_sync.sources.file import FileSource

        column_map = load_column_map(columns) if columns else None
        self.time_zone = column_map.time_zone if column_map else None
        self._files = [FileSource(file, format=file_format, columns=column_map, field_names=BY_NAME) for file in files]

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
                    yield replace(page, bytes_read=before + page.bytes_read)
            before += file.total_bytes or 0


async def _ingest(
    db: Database, delivery: _Delivery, reader: Reader, location: str, *, complete: bool, as_json: bool
) -> SourceBroken | None:
    from mls_crm_sync.sync.ingest import ingest as run

    with IngestProgressBar(delivery.total_bytes, quiet=as_json) as progress:
        async with aclosing(delivery.pages()) as pages:
            result = await run(db, reader, pages, location=location, complete=complete, progress=progress)
    if as_json:
        json_line(
            {
                **_numbers(result.tally),
                "seconds": round(result.seconds, 3),
                "run_id": result.run_id,
                "status": result.status,
            }
        )
    else:
        _say(result.tally, f"in {result.seconds:.1f} s (run {result.run_id})")
    return result.error


async def _preview(db: Database, delivery: _Delivery, reader: Reader, *, as_json: bool) -> SourceBroken | None:
    from mls_crm_sync.sync.preview import preview

    async with aclosing(delivery.pages()) as pages:
        tally, broken = await preview(db, reader, pages, _show_as_json if as_json else _show)
    if as_json:
        json_line({**_numbers(tally), "dry_run": True})
    else:
        _say(tally, "- dry run, nothing was written")
    return broken


def _show(preview: Preview) -> None:
    for change in preview.changes:
        values = f"{one_line(change.previous) or '-'} -> {one_line(change.new) or '-'}" if change.field else ""
        typer.echo("\t".join((change.type.value, one_line(preview.source_key), change.field or "", values)))


def _show_as_json(preview: Preview) -> None:
    for change in preview.changes:
        json_line(
            {
                "type": change.type.value,
                "property_id": preview.property_id,
                "listing_key": preview.source_key,
                "field": change.field,
                "previous": change.previous,
                "new": change.new,
            }
        )


def _numbers(tally: Tally) -> dict[str, Any]:
    share = tally.recognised / tally.unchanged if tally.unchanged else None
    return {**tally.as_dict(), "recognised_share": None if share is None else round(share, 4)}


def _say(tally: Tally, ending: str) -> None:
    known = f" ({tally.recognised / tally.unchanged:.1%} of them known by their bytes)" if tally.unchanged else ""
    typer.echo(
        f"{count(tally.read, 'record')} read: {tally.new:,} new, {tally.changed:,} changed, "
        f"{tally.unchanged:,} unchanged{known}, {tally.quarantined:,} quarantined"
    )
    if tally.changes:
        typer.echo("changes: " + ", ".join(f"{number:,} {name}" for name, number in sorted(tally.changes.items())))
    typer.echo(f"{count(tally.crm_updated, 'CRM property', 'CRM properties')} brought in step {ending}")
    if tally.older:
        notice(f"{count(tally.older, 'record')} of an earlier revision than the stored one changed nothing")
    if tally.quarantined:
        notice("see `mls-crm-sync quarantine list` for the records that could not be read")
    if tally.unknown_members:
        first = list(tally.unknown_members)[:8]
        more = ", ..." if len(tally.unknown_members) > len(first) else ""
        notice(
            f"kept without being understood: {count(len(tally.unknown_members), 'member')} ({', '.join(first)}{more})"
        )
    for note, times in sorted(tally.notes.items()):
        notice(f"{note} ({count(times, 'time')})")


def _reader(source: str, zone: ZoneInfo | None) -> Reader:
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync.recognise import Reader

    return Reader(source, Normaliser(), time_zone=zone)


def zone(name: str | None) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from mls_crm_sync.core.errors import InvalidInput

    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidInput("--time-zone", f"{name!r} is no IANA time zone; America/New_York is one") from error
