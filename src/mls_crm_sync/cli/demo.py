"""`mls-crm-sync demo`: the main job on a generated sample."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from .output import one_line, table

if TYPE_CHECKING:
    from mls_crm_sync.demo.tour import Step


def demo() -> None:
    """Run the main job on a generated sample, in a database of its own, and show what changed in the CRM and why."""
    from mls_crm_sync.demo import tour
    from mls_crm_sync.settings import Settings

    done = asyncio.run(tour.run(Settings(), _tell))
    rows = [
        (
            change["crm_id"],
            change["field_name"],
            one_line(change["previous_value"]) or "-",
            one_line(change["new_value"]) or "-",
            f"{change['type']} at the MLS {one_line(change['source_modified_at'])}",
        )
        for change in done.changes
    ]
    title = "What the second delivery changed in the CRM, and why"
    table(title, ("CRM property", "field", "before", "now", "why"), rows, drawn_always=True)
    typer.echo(f"Linked properties out of step with their listing, counted: {done.out_of_step}")
    owned = "byte for byte as before" if done.owned_as_before else "NOT AS BEFORE - please report this"
    typer.echo(f"crm_status, notes, tags, agents and the CRM's own values: {owned}")
    typer.echo(f"Look around:  export MLS_CRM_SYNC_HOME={done.home}")
    typer.echo(f"              mls-crm-sync crm show {done.changes[0]['crm_id']}")
    typer.echo("              mls-crm-sync status")


def _tell(step: Step) -> None:
    typer.echo(f"mls-crm-sync {step.title}\n    {step.result}")
