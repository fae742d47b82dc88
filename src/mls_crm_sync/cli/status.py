"""`mls-crm-sync status`: is everything in step, and what happened last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from .output import json_line, table
from .session import stale_after, unsynced, with_database


def status(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many listings and CRM properties there are, in which state, and how the last runs ended."""
    from mls_crm_sync.core.proposals import ENDED
    from mls_crm_sync.store import crm_properties, listings, proposals, quarantine, runs
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.ingest import end_abandoned

    async def read(db: Database) -> Mapping[str, Any]:
        await end_abandoned(db)
        async with db.connection() as conn:
            return {
                "listings": await listings.count_by_status(conn),
                "crm_properties": await crm_properties.count_by_status(conn, stale_after=stale_after()),
                "out_of_step": await crm_properties.count_out_of_step(conn, unsynced()),
                "quarantined": await quarantine.count_open(conn),
                "proposals": await proposals.count_open(conn, ENDED),
                "runs": [dict(row) for row in await runs.newest(conn)],
            }

    found = with_database(read)
    if json:
        json_line(found)
        return
    table("Listings by StandardStatus", ("status", "listings"), found["listings"].items())
    table("CRM properties by sync_status", ("status", "properties"), found["crm_properties"].items())
    shown = ("run_id", "kind", "source", "status", "started_at", "finished_at", "error_detail")
    table("Runs, newest first", shown, [[run[name] for name in shown] for run in found["runs"]])
    typer.echo(f"linked properties out of step with their listing: {found['out_of_step']:,}")
    typer.echo(f"quarantined records: {found['quarantined']:,}")
    typer.echo(f"active properties whose listing is over: {found['proposals']:,}")
