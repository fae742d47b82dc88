"""`mls-crm-sync quarantine`: records that could not be read."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .output import count, json_line, notice, one_line, table
from .session import with_database

_ABOUT = (
    "source", "location", "source_key", "source_modified_at", "run_id", "origin", "position", "reason", "field_name",
    "detail", "times", "first_at", "last_at",
)  # fmt: skip

app = typer.Typer(help="Records that could not be read: list, show, retry.", no_args_is_help=True)


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option()] = None,
    after: Annotated[int, typer.Option(help="Go on after this id.")] = 0,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a record, its payload included.")] = False,
) -> None:
    """List open records with where they stood and why they were refused."""
    from mls_crm_sync.store import quarantine
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await quarantine.page(conn, source=source, after=after, limit=limit)

    found = with_database(read)
    if json:
        for row in found:
            json_line({**row, "payload": quarantine.unpack(row["payload"]).decode("utf-8", "replace")})
        return
    shown = (
        "quarantine_id",
        "source",
        "location",
        "origin",
        "position",
        "reason",
        "field_name",
        "detail",
        "times",
        "last_at",
    )
    table("Quarantine", shown, [[row[name] for name in shown] for row in found])
    if len(found) == limit:
        notice(f"more with --after {found[-1]['quarantine_id']}")


@app.command()
def show(
    quarantine_id: Annotated[int, typer.Argument(metavar="ID")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one open record: where it stood, why it was refused, and what it says."""
    from mls_crm_sync.core.errors import QuarantineNotFound
    from mls_crm_sync.store import quarantine
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> Row:
        async with db.connection() as conn:
            found = await quarantine.page(conn, ids=[quarantine_id])
        if not found:
            raise QuarantineNotFound(quarantine_id)
        return found[0]

    row = with_database(read)
    payload = quarantine.unpack(row["payload"]).decode("utf-8", "replace")
    if json:
        json_line({**row, "payload": payload})
        return
    table("", ("", str(quarantine_id)), [(name, row[name]) for name in _ABOUT])
    for line in payload.splitlines():
        typer.echo(one_line(line))
    if row["truncated"]:
        notice("only the beginning was kept")


@app.command()
def retry(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID...]", help="All open records when none is named.")
    ] = None,
    source: Annotated[str | None, typer.Option()] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA zone of time stamps that carry none.")] = None,
) -> None:
    """Try open records again."""
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync import quarantine

    where = options.zone("--time-zone", time_zone)
    summary = with_database(lambda db: quarantine.retry(db, Normaliser(), ids or None, source=source, time_zone=where))
    broken = summary.tried - summary.resolved
    typer.echo(f"{count(summary.tried, 'record')} tried: {summary.resolved:,} taken in, {broken:,} still broken")
    if summary.cut_short:
        notice(f"{count(summary.cut_short, 'record')} not kept whole, or no records at all: deliver them again")
    if summary.tried != summary.resolved or summary.cut_short:
        raise typer.Exit(1)
