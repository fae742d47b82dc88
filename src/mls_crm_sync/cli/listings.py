"""`mls-crm-sync listings`: what the MLS says."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .output import ProgressLine, count, json_line, notice, table
from .session import with_database

if TYPE_CHECKING:
    from mls_crm_sync.store.listings import PurgeRule
    from mls_crm_sync.sync.purge import Purged

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
def purge(
    property_id: Annotated[str | None, typer.Argument(metavar="PROPERTY_ID", help="One; else say which.")] = None,
    source: Annotated[str | None, typer.Option(help="All of this source, or those of it that the rest names.")] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="StandardStatus, as `Closed`; repeat for any of several.")
    ] = None,
    not_seen_for: Annotated[
        str | None, typer.Option(metavar="DAYS", help="No pass has shown it, nothing has changed it for so long: 90d.")
    ] = None,
    absent: Annotated[bool, typer.Option("--absent", help="It was called absent.")] = False,
    absent_for: Annotated[str | None, typer.Option(metavar="DAYS", help="It was, at least so long ago: 30d.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print how many; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Lines of JSON.")] = False,
) -> None:
    """Take listings' content away, here and in the CRM: of one, or of all that a rule names. Links stay."""
    from mls_crm_sync.core.errors import InvalidInput
    from mls_crm_sync.sync import purge as verb

    unseen, gone = options.days("--not-seen-for", not_seen_for), options.days("--absent-for", absent_for)
    if gone is None and absent:
        gone = timedelta(0)
    if property_id is not None:
        if source is not None or status or unseen is not None or gone is not None or dry_run:
            raise options.bad("PROPERTY_ID", "name one listing, or say which by options; not both")
        emptied = with_database(lambda db: verb.purge(db, property_id))
        typer.echo(f"purged {property_id}; {count(emptied, 'CRM property', 'CRM properties')} lost its facts")
        return
    try:
        asked = verb.rule(source=source, statuses=status or (), not_seen_for=unseen, absent_for=gone)
    except InvalidInput as error:
        if error.member == "status":
            raise options.bad("--status", error.detail) from error
        detail = "say which: PROPERTY_ID, --source, --status, --not-seen-for, --absent or --absent-for"
        raise options.bad("PROPERTY_ID", detail) from error
    if not dry_run:
        options.check_can_ask(yes=yes)
    _purge_all(asked, dry_run=dry_run, yes=yes, as_json=json)


def _purge_all(asked: PurgeRule, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from mls_crm_sync.sync import purge as verb

    found = with_database(lambda db: verb.would_purge(db, asked))
    shown = ("source", "standard_status", "absence_state", "listings", "linked")
    if as_json:
        for row in found:
            json_line(dict(row))
    else:
        table("What the rule names", shown, [[row[name] for name in shown] for row in found])
    named = sum(row["listings"] for row in found)
    linked = count(sum(row["linked"] for row in found), "CRM property", "CRM properties")
    done = verb.Purged()
    if named and not dry_run:
        options.ask(f"Take the content of {count(named, 'listing')} away, and from {linked}, for good?", yes=yes)
        line = ProgressLine(quiet=as_json)

        def so_far(done: Purged) -> None:
            line(f"{done.listings:,} of {named:,} listings purged", last=done.listings >= named)

        done = with_database(lambda db: verb.purge_all(db, asked, progress=so_far))
    if as_json:
        numbers = {"listings_purged": done.listings, "crm_properties_emptied": done.crm_properties}
        json_line({**numbers, **({"dry_run": True} if dry_run else {})})
    elif dry_run:
        typer.echo(f"{count(named, 'listing')} and {linked} would be emptied - dry run, nothing was written")
    else:
        lost = count(done.crm_properties, "CRM property", "CRM properties")
        typer.echo(f"purged {count(done.listings, 'listing')}; {lost} lost their facts")
