"""`mls-crm-sync scrape`: read locations of a source that is set up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .output import IngestProgressBar, broken, json_line, notice
from .results import report, say_what_followed
from .session import sealer, with_database

if TYPE_CHECKING:
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.sources import Opened


def scrape(
    location: Annotated[
        list[str] | None,
        typer.Option(help="What to read: a ZIP, a city; repeat. All that the source lists, unless named."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Which source; the default one, unless named.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for each location.")] = False,
) -> None:
    """Read locations of a source to their end, and bring every linked CRM property in step."""
    for name in location or ():
        options.name("--location", name)
    if not with_database(lambda db: _scrape(db, source, location, as_json=json), bulk=True):
        raise typer.Exit(1)


async def _scrape(db: Database, name: str | None, named: Sequence[str] | None, *, as_json: bool) -> bool:
    """Return whether all locations were read to their end."""
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync import sources

    async with sources.opened(db, sealer(), name, Normaliser()) as opened:
        locations = named or await opened.source.locations()
        if not locations:
            what = "cannot list its locations" if locations is None else "lists no location"
            raise options.bad("--location", f"{opened.name} {what}; name one")
        done = [await _read(db, opened, location, as_json=as_json) for location in locations]
    return all(done)


async def _read(db: Database, opened: Opened, location: str, *, as_json: bool) -> bool:
    from mls_crm_sync.sync.passes import read_location

    place = {"source": opened.name, "location": location}
    with IngestProgressBar(None, quiet=as_json) as progress:
        result = await read_location(db, opened.reader, opened.source, location, progress=progress)
    if result is None:
        if as_json:
            json_line({**place, "outcome": "same_delivery"})
        else:
            typer.echo(f"{location}: the newest delivery was read before")
        return True
    end = result.end
    if not as_json:
        typer.echo(f"{location}: {end.outcome}" + (f" ({end.evidence})" if end.evidence else ""))
    report(result, as_json=as_json, **place, outcome=end.outcome, evidence=end.evidence)
    say_what_followed(result)
    if result.error is not None:
        broken(result.error)
    elif result.status != "succeeded":
        notice("The run failed: none of the records could be read")
    return result.error is None and result.status == "succeeded"
