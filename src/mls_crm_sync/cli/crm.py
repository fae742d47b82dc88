"""`mls-crm-sync crm`: the CRM's own properties."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .output import broken, count, json_line, notice, one_line, row_errors, table
from .session import stale_after, with_database

if TYPE_CHECKING:
    from mls_crm_sync.sync.links import RowError

_ABOUT = (
    "id", "platform", "sync_status", "mls_property_id", "last_seen_at", "synced_at", "crm_status", "assigned_agent",
    "tags", "notes", "custom", "version",
)  # fmt: skip

app = typer.Typer(help="CRM properties: import, list, show, edit, delete.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a column id; see docs/crm-import.md.")],
    platform: Annotated[str, typer.Option(help="The CRM that the ids belong to.")] = "default",
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Insert or update CRM properties by id."""
    from mls_crm_sync.sources.table import read_table
    from mls_crm_sync.sync import crm
    from mls_crm_sync.sync.links import whole_rows

    options.name("--platform", platform)
    with read_table(file) as sheet:
        cut: list[RowError] = []
        rows = whole_rows(sheet.rows, cut)
        summary = with_database(lambda db: crm.import_rows(db, sheet.header, rows, platform=platform))
    errors = sorted([*cut, *summary.errors], key=lambda e: e.line)
    row_errors(errors)
    if summary.custom_columns:
        notice("kept in `custom`: " + ", ".join(summary.custom_columns))
    if json:
        made = {"made": summary.made, "changed": summary.changed, "unchanged": summary.unchanged}
        json_line(
            {
                **made,
                "errors": [{"line": e.line, "id": e.id, "code": e.code, "detail": e.detail} for e in errors],
            }
        )
    else:
        done = f"{summary.made:,} made, {summary.changed:,} changed, {summary.unchanged:,} unchanged"
        typer.echo(f"{done}, {count(len(errors), 'error')}")
    if summary.broken is not None:
        broken(summary.broken)
    if errors or summary.broken is not None:
        raise typer.Exit(1)


@app.command("list")
def list_(
    platform: Annotated[str | None, typer.Option()] = None,
    crm_status: Annotated[str | None, typer.Option()] = None,
    sync_status: Annotated[
        str | None, typer.Option(help="not_linked, synced, overridden, conflict, stale or gone.")
    ] = None,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a property.")] = False,
) -> None:
    """List CRM properties by id."""
    from mls_crm_sync.core.ownership import effective
    from mls_crm_sync.store import crm_properties
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await crm_properties.page(
                conn, stale_after=stale_after(), platform=platform, crm_status=crm_status,
                sync_status=sync_status, after=after, limit=limit,
            )  # fmt: skip

    found = with_database(read)
    if json:
        for row in found:
            json_line(dict(row))
        return
    shown = ("UnparsedAddress", "City", "StandardStatus", "ListPrice")
    rows = []
    for row in found:
        facts = effective(row["own"], row["fields"], row["overrides"])
        rows.append((row["id"], row["crm_status"], row["sync_status"], *(facts.get(name) for name in shown)))
    table("CRM properties", ("id", "crm_status", "sync_status", *shown), rows)
    if len(found) == limit:
        notice(f"more with --after {found[-1]['id']}")


@app.command()
def show(
    crm_id: Annotated[str, typer.Argument(metavar="CRM_ID")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one CRM property: each value, whose it is, and what stands behind it."""
    from mls_crm_sync.core.ownership import compare
    from mls_crm_sync.store import crm_properties
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> Row:
        async with db.connection() as conn:
            return await crm_properties.get(conn, crm_id, stale_after=stale_after())

    row = with_database(read)
    if json:
        json_line(dict(row))
        return
    table("", ("", row["id"]), [(name, row[name]) for name in _ABOUT])
    values = compare(row["own"], row["fields"], row["overrides"])
    lines = [
        (name, v.value, v.owner.value, "; ".join(f"{o.value}: {one_line(x)}" for o, x in v.hidden.items()))
        for name, v in values.items()
    ]
    table("Values", ("field", "value", "owner", "behind it"), lines)


@app.command()
def edit(
    crm_id: Annotated[str, typer.Argument(metavar="CRM_ID")],
    status: Annotated[str | None, typer.Option(help="crm_status; empty clears.")] = None,
    notes: Annotated[str | None, typer.Option()] = None,
    agent: Annotated[str | None, typer.Option(help="assigned_agent")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Replaces the tags; repeat for several.")] = None,
    own: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="The CRM's own fact; empty removes it.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Wins over the MLS; empty removes it.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why the override is there.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so.")] = None,
    version: Annotated[int | None, typer.Option(help="Refuse when somebody changed it since this version.")] = None,
) -> None:
    """Change what the CRM owns of a property."""
    from datetime import UTC, datetime

    from mls_crm_sync.sync import crm

    plain = {"crm_status": status, "notes": notes, "assigned_agent": agent, "tags": tag}
    change = crm.Edit(
        values={name: value for name, value in plain.items() if value is not None},
        own={name: value or None for name, value in _pairs(own)},
        overrides={name: crm.Override(value or None, by=by, reason=reason) for name, value in _pairs(override)},
        version=version,
    )
    now = datetime.now(UTC)
    typer.echo(f"version {with_database(lambda db: crm.edit(db, crm_id, change, now=now))}")


@app.command()
def delete(crm_id: Annotated[str, typer.Argument(metavar="CRM_ID")]) -> None:
    """Delete a CRM property; its link ends with it."""
    from mls_crm_sync.sync import crm

    with_database(lambda db: crm.delete(db, crm_id))
    typer.echo(f"deleted {crm_id}")


def _pairs(texts: list[str] | None) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not FIELD=VALUE")
        yield name, value
