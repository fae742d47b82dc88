"""`mls-crm-sync runs`: what was read, how far it is, and what went wrong."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from .output import count, json_line, notice, table
from .session import with_database

if TYPE_CHECKING:
    from mls_crm_sync.store.database import Database, Row

app = typer.Typer(help="Runs: list, show, log, cancel, retry what failed.", no_args_is_help=True)
RunId = Annotated[int, typer.Argument(metavar="RUN_ID", min=1, max=2**63 - 1)]
PROBLEMS = ["partial", "failed", "cancelled", "skipped", "missed"]


@app.command("list")
def list_(
    schedule: Annotated[str | None, typer.Option(help="Of this schedule.")] = None,
    problems: Annotated[bool, typer.Option("--problems", help="Those that did not succeed.")] = False,
    before: Annotated[int | None, typer.Option(help="Go on before this id.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 30,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a run.")] = False,
) -> None:
    """List runs, newest first, and due times of which none was made."""
    from mls_crm_sync.store import runs

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await runs.views(
                conn, job_id=schedule, statuses=PROBLEMS if problems else None, before=before or 2**62, limit=limit
            )

    found = with_database(read)
    if json:
        for row in found:
            json_line(dict(row))
        return
    shown = ("run_id", "kind", "status", "reason", "scheduled_for", "started_at", "locations", "changed", "crm_updated")
    table("Runs, newest first", shown, [[{**row, **_counts(row)}[name] for name in shown] for row in found])
    if len(found) == limit:
        notice(f"more with --before {found[-1]['run_id']}")


@app.command()
def show(
    run_id: RunId,
    failed: Annotated[bool, typer.Option("--failed", help="Only the locations that failed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one run: how far it is, its locations, what went wrong."""
    from mls_crm_sync.store import runs

    async def read(db: Database) -> tuple[Row, list[Row], list[Row]]:
        async with db.connection() as conn:
            run = await runs.view(conn, run_id)
            status = ["failed", "partial"] if failed else None
            locations = await runs.locations_of(conn, run_id, status=status, limit=1000)
            return run, locations, await runs.errors_of(conn, run_id)

    run, locations, errors = with_database(read)
    if json:
        json_line({**run, "locations": [dict(row) for row in locations], "errors": [dict(row) for row in errors]})
        return
    about = (
        "kind", "status", "reason", "scheduled_job_id", "scheduled_for", "made_at", "started_at", "finished_at",
        "actor", "attempt_of", "error_detail", "left_out", "config",
    )  # fmt: skip
    done = f"{run['finished_locations']:,} of {run['locations']:,}"
    facts = [(name, run[name]) for name in about if run[name] is not None]
    table("", ("", f"run {run_id}"), [*facts, ("locations done", done), *_counts(run).items()])
    shown = ("location", "source", "status", "outcome", "read", "changed", "seconds", "error_code", "evidence")
    table("Locations", shown, [[_location(row)[name] for name in shown] for row in locations])
    if errors:
        columns = ("code", "locations", "detail", "hint", "examples")
        table("What went wrong", columns, [[row[name] for name in columns] for row in errors])
        if run["finished_at"] is not None:
            notice(f"`mls-crm-sync runs retry-failed {run_id}` reads them again")


@app.command()
def log(run_id: RunId) -> None:
    """Say what happened in a run, oldest first."""
    from mls_crm_sync.sync import run_log

    async def read(db: Database) -> list[run_log.Line]:
        async with db.connection() as conn:
            return await run_log.log_of(conn, run_id)

    lines = with_database(read)
    table("", ("at", "level", "location", "message"), [(o.at, o.level, o.location, o.message) for o in lines])


@app.command()
def cancel(run_id: RunId) -> None:
    """End a run: what waits is not read, what is being read ends after its page."""
    from mls_crm_sync.sync import rescrape

    with_database(lambda db: rescrape.cancel(db, run_id, actor=getpass.getuser()))
    typer.echo(f"run {run_id} is cancelled")


@app.command("retry-failed")
def retry_failed(run_id: RunId) -> None:
    """Make a run of the locations that failed, and of no other."""
    from mls_crm_sync.sync import rescrape

    made = with_database(lambda db: rescrape.retry_failed(db, run_id, actor=getpass.getuser()))
    say_made(made)


def say_made(run_id: int) -> None:
    typer.echo(f"run {run_id} waits for a worker")
    notice(f"`mls-crm-sync worker` reads it, `runs show {run_id}` says how far it is")


def workers(json: Annotated[bool, typer.Option("--json", help="One line of JSON a worker.")] = False) -> None:
    """List the workers that are seen, and how many locations each reads."""
    from mls_crm_sync.store import workers as store

    async def read(db: Database) -> list[Row]:
        async with db.connection() as conn:
            return await store.living(conn)

    found = with_database(read)
    if json:
        for row in found:
            json_line(dict(row))
        return
    shown = ("worker_id", "host", "pid", "release", "started_at", "locations")
    table(count(len(found), "worker"), shown, [[row[name] for name in shown] for row in found])


def _counts(run: Row) -> dict[str, object]:
    counts = run["counts"] or {}
    return {
        "read": counts.get("read", run["read_so_far"]),
        "changed": counts.get("changed", ""),
        "crm_updated": counts.get("crm_updated", run["crm_updated_so_far"]),
    }


def _location(row: Row) -> dict[str, object]:
    ended = row["finished_at"] or datetime.now(UTC)
    seconds = "" if row["started_at"] is None else f"{(ended - row['started_at']).total_seconds():.1f}"
    counts = row["counts"]
    return {**row, "seconds": seconds, "read": counts.get("read", 0), "changed": counts.get("changed", 0)}
