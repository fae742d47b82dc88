"""`mls-crm-sync absences`: many listings that would vanish at once, and what a person decides of them."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from .output import count, json_line, notice, table
from .session import with_database

if TYPE_CHECKING:
    from mls_crm_sync.store.absence import Decision

app = typer.Typer(help="Listings that would vanish many at once: holds, release, reject.", no_args_is_help=True)
HoldId = Annotated[int, typer.Argument(metavar="HOLD_ID", min=1, max=2**63 - 1)]


@app.command()
def holds(
    decided: Annotated[bool, typer.Option("--decided", help="Those that are decided as well.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a hold.")] = False,
) -> None:
    """List what is held for a person, newest first."""
    from mls_crm_sync.store import absence
    from mls_crm_sync.store.database import Database, Row

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await absence.holds(conn, decided=decided, limit=limit)

    found = with_database(read)
    if json:
        for row in found:
            json_line(dict(row))
        return
    shown = ("hold_id", "source", "location", "still_held", "listings", "of", "made_at", "decision", "decided_by")
    table("Held for a person", shown, [[row[name] for name in shown] for row in found])
    if any(row["decision"] is None for row in found):
        notice("`mls-crm-sync listings list --state held` shows them; `absences release ID` or `reject ID` decides")


@app.command()
def release(hold_id: HoldId) -> None:
    """They are gone: call the listings absent."""
    typer.echo(f"{_decide(hold_id, 'released')} absent now")


@app.command()
def reject(hold_id: HoldId) -> None:
    """They are there: passes that do not show the listings are counted anew."""
    typer.echo(f"{_decide(hold_id, 'rejected')} listed again; the passes that do not show them are counted anew")


def _decide(hold_id: int, decision: Decision) -> str:
    from mls_crm_sync.sync.absence import decide_hold

    done = with_database(lambda db: decide_hold(db, hold_id, decision, getpass.getuser()))
    return count(done, "listing")
