"""`mls-crm-sync link`, `unlink`, `sync`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .output import broken, count, json_line, notice, row_errors
from .session import sealer, unsynced, with_database

if TYPE_CHECKING:
    from mls_crm_sync.sources.table import Table
    from mls_crm_sync.sync.links import LinkRow, RowError


def link(
    crm_id: Annotated[str | None, typer.Argument(metavar="CRM_ID")] = None,
    property_id: Annotated[str | None, typer.Argument(metavar="PROPERTY_ID")] = None,
    file: Annotated[
        Path | None, typer.Option(help="CSV with crm_id and property_id, or crm_id and listing_key.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Whose listing keys the file has.")] = None,
    move: Annotated[bool, typer.Option("--move", help="Also where it is linked to another listing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Link CRM properties to listings; the listing's facts fill the property at once."""
    if file is not None and crm_id is None:
        _link_file(file, source, move=move, as_json=json)
    elif crm_id is not None and property_id is not None and file is None:
        _link_one(crm_id, property_id, move=move, as_json=json)
    else:
        raise typer.BadParameter("say CRM_ID and PROPERTY_ID, or --file FILE")


def unlink(
    crm_id: Annotated[str, typer.Argument(metavar="CRM_ID")],
    restore_own: Annotated[
        bool,
        typer.Option("--restore-own", help="Give the CRM's own values back; else the MLS's stay, frozen."),
    ] = False,
) -> None:
    """Cut the link of a CRM property."""
    from mls_crm_sync.sync import links

    property_id = with_database(lambda db: links.unlink(db, crm_id, restore_own=restore_own))
    typer.echo(f"{crm_id} is no longer linked to {property_id}")


def sync(
    crm_id: Annotated[str | None, typer.Argument(metavar="[CRM_ID]")] = None,
    platform: Annotated[
        str | None, typer.Option(help="Without CRM_ID: only the properties of this CRM's listings.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the listing's source for it first; of one.")] = False,
) -> None:
    """Bring one CRM property, or all linked ones, in step with their listings."""
    from mls_crm_sync.sync import links

    if crm_id is not None and platform is not None:
        raise typer.BadParameter("say CRM_ID or --platform, not both")
    if refresh and crm_id is None:
        raise options.bad("--refresh", "needs CRM_ID; `mls-crm-sync schedule run` reads all that are active")
    if crm_id is not None:
        if refresh:
            _refresh(crm_id)
        synced = with_database(lambda db: links.sync_crm_property(db, unsynced(), crm_id))
        typer.echo("in step already" if synced is None else "brought in step: " + ", ".join(synced.field_names))
        return
    summary = with_database(lambda db: links.sync_all(db, unsynced(), platform=platform))
    found = count(summary.properties, "linked property", "linked properties")
    typer.echo(f"{found} in step, {len(summary.changed):,} of them only now")


def _refresh(crm_id: str) -> None:
    """Ask the source of a CRM property's listing, and say what it said."""
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.store import crm_properties
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync import refresh

    async def ask(db: Database) -> refresh.Checked:
        async with db.connection() as conn:
            property_id = await crm_properties.linked_to(conn, crm_id)
        return await refresh.refresh(db, sealer(), Normaliser(), property_id)

    told = with_database(ask)
    notice(f"{told.answer.replace('_', ' ')}: {told.detail}")


def _link_one(crm_id: str, property_id: str, *, move: bool, as_json: bool) -> None:
    from mls_crm_sync.sync import links

    result = with_database(lambda db: links.link(db, unsynced(), crm_id, property_id, move=move))
    if as_json:
        json_line(
            {
                "crm_id": crm_id,
                "property_id": property_id,
                "linked": result.linked,
                "field_names": result.field_names,
            }
        )
    elif result.linked:
        typer.echo(f"linked; {count(len(result.field_names), 'field')} filled")
    else:
        typer.echo("linked already")


def _link_file(file: Path, source: str | None, *, move: bool, as_json: bool) -> None:
    from mls_crm_sync.sources.table import read_table
    from mls_crm_sync.sync import links

    with read_table(file) as sheet:
        cut: list[RowError] = []
        rows = _link_rows(sheet, cut)
        summary = with_database(lambda db: links.link_rows(db, unsynced(), rows, source=source, move=move))
    errors = sorted([*cut, *summary.errors], key=lambda e: e.line)
    row_errors(errors)
    if as_json:
        numbers = {"linked": summary.linked, "unchanged": summary.unchanged, "filled": summary.filled}
        json_line(
            {
                **numbers,
                "errors": [{"line": e.line, "id": e.id, "code": e.code, "detail": e.detail} for e in errors],
            }
        )
    else:
        typer.echo(
            f"{summary.linked:,} linked ({summary.filled:,} filled), {summary.unchanged:,} linked already, "
            f"{count(len(errors), 'error')}"
        )
    if summary.broken is not None:
        broken(summary.broken)
    if errors or summary.broken is not None:
        raise typer.Exit(1)


def _link_rows(sheet: Table, cut: list[RowError]) -> Iterator[LinkRow]:
    from mls_crm_sync.core.errors import InvalidInput
    from mls_crm_sync.sync.links import LinkRow, RowError, whole_rows

    by = [name for name in ("property_id", "listing_key") if name in sheet.header]
    if "crm_id" not in sheet.header or not by:
        raise InvalidInput("columns", "the file needs crm_id, and property_id or listing_key")
    for line, cells in whole_rows(sheet.rows, cut):
        said = {name: text for name in by if (text := cells[name].strip())} or {by[0]: ""}
        if len(said) > 1:
            cut.append(
                RowError(line, cells["crm_id"].strip(), "ambiguous", "both property_id and listing_key; say one")
            )
        else:
            yield LinkRow(line, cells["crm_id"].strip(), **said)
