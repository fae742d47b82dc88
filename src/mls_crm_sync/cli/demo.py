"""`mls-crm-sync demo`: the main job on a generated sample, and then a service over it to look around in."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from . import serve
from .output import notice, one_line, table
from .session import on_a_loop

if TYPE_CHECKING:
    from mls_crm_sync.demo.tour import Step, Tour

PORTS_TRIED = 100
"""From the usual one on; after that any free one will do."""


def demo(
    served: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the sample until told to stop.")] = True,
) -> None:
    """Run the main job on a generated sample, show what changed in the CRM and why, and go on with it.

    The sample has a database of its own. It is served on 127.0.0.1:8080, or the next free port; twice a
    minute a few of its listings change, and every minute a worker reads them.
    """
    on_a_loop(_demo(served=served))


async def _demo(*, served: bool) -> None:
    from mls_crm_sync import wiring
    from mls_crm_sync.demo import live, tour
    from mls_crm_sync.settings import Settings

    settings = Settings()
    own = tour.own_settings(settings)
    async with wiring.database_server(own):  # held from the tour to the service: it need not stop between them
        done = await tour.run(settings, _tell)
        _show(done)
        if not served:
            return
        mls = live.Live(done.second)
        async with mls.serving() as address:
            async with wiring.open_database(own) as db:
                await mls.set_up(db, tour.SOURCE, address)
            async with serve.application(own, local_mode=True, keyless=True) as app:
                going_on = asyncio.create_task(mls.go_on())
                try:
                    await serve.run(app, _free_socket(), local_mode=True, greet=lambda url: _invite(url, done))
                finally:
                    going_on.cancel()


def _tell(step: Step) -> None:
    typer.echo(f"mls-crm-sync {step.title}\n    {step.result}")


def _show(done: Tour) -> None:
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


def _invite(url: str, done: Tour) -> None:
    """Name three requests that work when they are pasted; README.md has the same, of the usual port."""
    changed = done.changes[0]
    where = url.removeprefix("http://")
    body = f"""-H 'Content-Type: application/json' -d '{{"mls_property_id": "{changed["property_id"]}"}}'"""
    typer.echo(f"Open {url} in a browser: twice a minute a few listings change, and a run reads them every minute.")
    typer.echo("The sample is served until Ctrl-C. Three things to try in another terminal:")
    typer.echo(f"curl {where}/api/properties/{changed['crm_id']}/mls-data")
    typer.echo(f"curl -X POST {where}/sync-property {body}")
    typer.echo(f"curl '{where}/api/mls-properties?linked=true&status=Pending&limit=3'")


def _free_socket() -> socket.socket:
    """Listen on the usual port or the next free one, and say so if it is another. Raises SetupError."""
    from mls_crm_sync.core.errors import SetupError

    for port in (*range(serve.PORT, serve.PORT + PORTS_TRIED), 0):
        sock = serve.bound(serve.HOST, port)
        if sock is not None:
            if port != serve.PORT:
                notice(f"port {serve.PORT} is taken; this is port {sock.getsockname()[1]}")
            return sock
    raise SetupError(f"no port of {serve.HOST} can be bound")
