"""`mls-crm-sync listings`: what the MLS says."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from .output import count, json_line, notice, table
from .session import with_database

_ABOUT = (
    "source", "source_key", "location", "absence_state", "content_hash", "source_modified_at", "first_seen_at",
    "last_changed_at", "last_seen_at", "purged_at", "crm_property_ids",
)  # fmt: skip


class ListingState(StrEnum):
    LISTED = "listed"
    MISSING = "missing"
    ABSENT = "absent"
    HELD = "held"


app = typer.Typer(help="Listings: list, show, purge.", no_args_is_help=True)


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option()] = None,
    status: Annotated[str | None, typer.Option(help="StandardStatus, as `Active Under Contract`.")] = None,
    city: Annotated[str | None, typer.Option()] = None,
    zip_: Annotated[str | None, typer.Option("--zip", help="PostalCode")] = None,
    mls_number: Annotated[str | None, typer.Option(help="ListingId")] = None,
    linked: Annotated[bool | None, typer.Option("--linked/--not-linked")] = None,
    state: Annotated[
        ListingState | None, typer.Option(help="Whether it is still shown: `listings show` says why.")
    ] = None,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a listing.")] = False,
) -> None:
    """List listings by id."""
    from mls_crm_sync.store import listings
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await listings.page(
                conn, source=source, status=status, city=city, postal_code=zip_, listing_id=mls_number,
                linked=linked, state=state.value if state else None, after=after, limit=limit,
            )  # fmt: skip

    found = with_database(read)
    if json:
        for row in found:
            json_line(dict(row))
        return
    shown = ("ListingId", "StandardStatus", "ListPrice", "UnparsedAddress", "UnitNumber", "City")
    rows = [(row["property_id"], *(row["fields"].get(name) for name in shown), row["linked"]) for row in found]
    table("Listings", ("property_id", *shown, "linked"), rows)
    if len(found) == limit:
        notice(f"more with --after {found[-1]['property_id']}")


@app.command()
def show(
    property_id: Annotated[str, typer.Argument(metavar="PROPERTY_ID")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one listing: its facts, its CRM properties, its newest changes."""
    from mls_crm_sync.store import absence, listings
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> tuple[Row, list[Row], dict[str, dict[str, Any]]]:
        async with db.connection() as conn:
            row, changes = await listings.get(conn, property_id), await listings.changes(conn, property_id)
            return row, changes, await absence.evidence_of(conn, [property_id])

    row, changes, why = with_database(read)
    if json:
        json_line({**row, "evidence": why.get(property_id), "changes": [dict(change) for change in changes]})
        return
    plain = {**row, "content_hash": row["content_hash"].hex()}
    table("", ("", property_id), [(name, plain[name]) for name in _ABOUT])
    if property_id in why:
        table("Why it is not shown", ("", ""), _flat(why[property_id]))
    table("Facts", ("field", "value"), sorted(row["fields"].items()))
    shown = ("at", "run_id", "type", "field_name", "previous_value", "new_value")
    table("Changes, newest first", shown, [[change[name] for name in shown] for change in changes])


def _flat(why: dict[str, Any]) -> list[tuple[str, Any]]:
    """One line a reason; of a missing listing, by location."""
    return [item for place in why.get("missing", [why]) for item in place.items()]


@app.command()
def purge(property_id: Annotated[str, typer.Argument(metavar="PROPERTY_ID")]) -> None:
    """Take a listing's content away, here and in the CRM; a tombstone and the links stay."""
    from mls_crm_sync.sync.purge import purge as run

    emptied = with_database(lambda db: run(db, property_id))
    typer.echo(f"purged {property_id}; {count(emptied, 'CRM property', 'CRM properties')} lost its facts")
