"""`mls-crm-sync proposals`: active CRM properties whose listing is over, and what a person makes of them."""

from __future__ import annotations

import getpass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from .output import json_line, notice, table
from .session import with_database

if TYPE_CHECKING:
    from mls_crm_sync.store.proposals import Reason

app = typer.Typer(help="Active CRM properties whose listing is over: list, accept, dismiss.", no_args_is_help=True)
CrmId = Annotated[str, typer.Argument(metavar="CRM_ID")]


class Why(StrEnum):
    ENDED = "ended"
    ABSENT = "absent"


@app.command("list")
def list_(
    platform: Annotated[str | None, typer.Option()] = None,
    reason: Annotated[Why | None, typer.Option(help="The listing has ended; it is not shown any more.")] = None,
    dismissed: Annotated[bool, typer.Option("--dismissed", help="Those that were dismissed as well.")] = False,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a proposal.")] = False,
) -> None:
    """List what is proposed, by the id of the CRM property."""
    from mls_crm_sync.core.proposals import suggested_status
    from mls_crm_sync.sync import proposals

    why: Reason | None = reason.value if reason else None
    found = with_database(
        lambda db: proposals.page(db, platform=platform, reason=why, dismissed=dismissed, after=after, limit=limit)
    )
    rows = [{**row, "suggested_crm_status": suggested_status(row["standard_status"])} for row in found]
    if json:
        for row in rows:
            json_line(row)
        return
    shown = ["crm_property_id", "address", "reason", "standard_status", "since", "suggested_crm_status"]
    shown += ["dismissed_by", "note"] if dismissed else []
    table("Proposals", shown, [[row[name] for name in shown] for row in rows])
    if len(rows) == limit:
        notice(f"more with --after {rows[-1]['crm_property_id']}")
    elif rows:
        notice("`mls-crm-sync proposals accept CRM_ID` sets crm_status; `proposals dismiss CRM_ID` keeps it active")


@app.command()
def accept(
    crm_id: CrmId,
    status: Annotated[str | None, typer.Option(help="crm_status, instead of what is suggested.")] = None,
) -> None:
    """Set crm_status as is suggested."""
    from mls_crm_sync.sync import proposals

    done = with_database(lambda db: proposals.accept(db, crm_id, crm_status=status))
    typer.echo(f"crm_status {done.crm_status}, version {done.version}")


@app.command()
def dismiss(
    crm_id: CrmId,
    note: Annotated[str | None, typer.Option(help="Why it stays active.")] = None,
) -> None:
    """Keep the property active; nothing is proposed of it until its listing ends another time."""
    from mls_crm_sync.sync import proposals

    with_database(lambda db: proposals.dismiss(db, crm_id, by=getpass.getuser(), note=note))
    typer.echo(f"{crm_id} stays active")
