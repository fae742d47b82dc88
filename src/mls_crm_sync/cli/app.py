"""The commands, put together. Heavy imports stay inside them: `--help` has to be quick."""

from __future__ import annotations

from typing import Annotated

import typer

from . import (
    absences,
    crm,
    db,
    demo,
    ingest,
    keys,
    links,
    listings,
    options,
    proposals,
    quarantine,
    replay,
    runs,
    schedule,
    scrape,
    serve,
    sources,
    status,
    worker,
)

app = typer.Typer(
    name="mls-crm-sync",
    help="Keeps the property records of a real-estate CRM in step with MLS listings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from mls_crm_sync import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    log_level: Annotated[
        str, typer.Option(envvar="LOG_LEVEL", help="debug, info, warning or error; to standard error.")
    ] = "warning",
) -> None:
    del version
    from mls_crm_sync import logs

    if log_level.lower() not in logs.LEVELS:
        raise options.bad("--log-level", f"{log_level!r} is none of {', '.join(logs.LEVELS)}")
    logs.configure(log_level)


app.command("ingest")(ingest.ingest)
app.command("scrape")(scrape.scrape)
app.command("replay")(replay.replay)
app.command("link")(links.link)
app.command("unlink")(links.unlink)
app.command("sync")(links.sync)
app.command("status")(status.status)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("demo")(demo.demo)
app.add_typer(crm.app, name="crm")
app.add_typer(listings.app, name="listings")
app.add_typer(absences.app, name="absences")
app.command("workers")(runs.workers)
app.add_typer(schedule.app, name="schedule")
app.add_typer(runs.app, name="runs")
app.add_typer(proposals.app, name="proposals")
app.add_typer(sources.app, name="sources")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(keys.app, name="keys")
app.add_typer(db.app, name="db")
