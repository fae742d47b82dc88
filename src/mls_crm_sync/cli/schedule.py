"""`mls-crm-sync schedule`: when properties are read anew."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import options
from .output import count, json_line, notice, one_line, table
from .runs import say_made
from .session import with_database

if TYPE_CHECKING:
    from datetime import timedelta

    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.schedules import View

T = TypeVar("T")

app = typer.Typer(
    help="Schedules: list, show, set, add, on, off, pause, resume, run, preview, remove.", no_args_is_help=True
)
ACTIVE = "active_properties_rescraping"
Limit = Annotated[int | None, typer.Option(help="Listings of a location in a run, 1 to 10,000.")]
Delay = Annotated[float | None, typer.Option(help="Seconds between two requests to a source.")]
JobId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id; the one of active properties, unless named.")]
_SHOWN = (
    "name", "kind", "status", "cron_expression", "timezone", "listing_limit", "request_delay", "priority", "filters",
    "source", "locations", "paused_at", "paused_by", "paused_until", "problem", "version",
)  # fmt: skip


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="One line of JSON a schedule.")] = False) -> None:
    """List schedules: when each runs next, and how its last run ended."""
    from mls_crm_sync.sync import schedules

    views = with_database(_with_schedule(schedules.every))
    if json:
        for view in views:
            json_line({**view.job, **view.activity, "next_run_at": view.next_run_at})
        return
    columns = ("scheduled_job_id", "status", "cron_expression", "timezone", "next_run_at", "runs", "last_status")
    rows = [
        (*(v.job[name] for name in columns[:4]), v.next_run_at, v.activity["run_count"], v.activity["last_status"])
        for v in views
    ]
    table("Schedules", columns, rows)


@app.command()
def show(job_id: JobId = ACTIVE, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show one schedule."""
    from mls_crm_sync.sync import schedules

    view = with_database(_with_schedule(lambda db: schedules.view(db, job_id)))
    if json:
        json_line({**view.job, **view.activity, "next_run_at": view.next_run_at})
        return
    _tell(view)


@app.command("set")
def set_(
    job_id: JobId = ACTIVE,
    cron: Annotated[str | None, typer.Option(help="Five fields: minute hour day month weekday.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA, as America/New_York.")] = None,
    limit: Limit = None,
    request_delay: Delay = None,
    priority: Annotated[str | None, typer.Option(help="low, normal, high or immediate.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="As city=Brooklyn; repeat. `none` clears."),
    ] = None,
) -> None:
    """Change a schedule."""
    from mls_crm_sync.sync import schedules

    plain = {
        "cron_expression": cron, "timezone": timezone, "limit": limit, "request_delay": request_delay,
        "priority": priority, "filters": _filters(filters),
    }  # fmt: skip
    given = {name: value for name, value in plain.items() if value is not None}
    if not given:
        raise options.bad("--cron", "say what to change")
    who = getpass.getuser()
    _tell(with_database(_with_schedule(lambda db: schedules.edit(db, job_id, given, by=who, minimum=_minimum()))))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    cron: Annotated[str, typer.Option(help="Five fields: minute hour day month weekday.")],
    location: Annotated[list[str] | None, typer.Option(help="What to read; repeat. Without any: by filters.")] = None,
    source: Annotated[str | None, typer.Option(help="Where from; the default one, unless named.")] = None,
    timezone: Annotated[str, typer.Option(help="IANA, as America/New_York.")] = "UTC",
    limit: Limit = None,
    request_delay: Delay = None,
    filters: Annotated[list[str] | None, typer.Option("--filter", metavar="NAME=VALUE", help="Repeat.")] = None,
) -> None:
    """Make a schedule of fixed locations, or of CRM properties by filters."""
    from mls_crm_sync.sync import schedules

    given: dict[str, Any] = {"name": name, "cron_expression": cron, "timezone": timezone}
    given |= {"locations": location} if location else {}
    given |= {"source": source} if source is not None else {}
    given |= {"filters": _filters(filters)} if filters else {}
    given |= {"limit": limit} if limit is not None else {}
    given |= {"request_delay": request_delay} if request_delay is not None else {}
    who = getpass.getuser()
    _tell(with_database(lambda db: schedules.create(db, given, by=who, minimum=_minimum())))


@app.command()
def remove(job_id: Annotated[str, typer.Argument(metavar="SCHEDULE")]) -> None:
    """Take a schedule away; its runs stay."""
    from mls_crm_sync.sync import schedules

    with_database(lambda db: schedules.remove(db, job_id))
    typer.echo(f"removed {job_id}; its runs stay")


@app.command()
def on(job_id: JobId = ACTIVE) -> None:
    """Switch a schedule on."""
    _toggle(job_id, enabled=True)


@app.command()
def off(job_id: JobId = ACTIVE) -> None:
    """Switch a schedule off."""
    _toggle(job_id, enabled=False)


def _toggle(job_id: str, *, enabled: bool) -> None:
    from mls_crm_sync.sync import schedules

    who = getpass.getuser()
    _tell(with_database(_with_schedule(lambda db: schedules.toggle(db, job_id, enabled=enabled, by=who))))


@app.command()
def pause(
    job_id: JobId = ACTIVE,
    until: Annotated[
        str | None, typer.Option(help="As 2026-12-01T08:00:00Z; until it is resumed, unless said.")
    ] = None,
) -> None:
    """Let due times pass; each is accounted for as skipped."""
    from mls_crm_sync.sync import schedules

    who, end = getpass.getuser(), _instant("--until", until)
    _tell(with_database(_with_schedule(lambda db: schedules.pause(db, job_id, until=end, by=who))))


@app.command()
def resume(job_id: JobId = ACTIVE) -> None:
    """End a pause."""
    from mls_crm_sync.sync import schedules

    who = getpass.getuser()
    _tell(with_database(_with_schedule(lambda db: schedules.resume(db, job_id, by=who))))


@app.command()
def run(job_id: JobId = ACTIVE) -> None:
    """Make a run now, whether the schedule is on or not."""
    from mls_crm_sync.sync import rescrape

    who = getpass.getuser()
    say_made(with_database(_with_schedule(lambda db: rescrape.run_now(db, job_id, actor=who))))


@app.command()
def preview(
    cron: Annotated[str, typer.Argument(help="Five fields, in quotes: '0 */2 * * *'.")],
    timezone: Annotated[str, typer.Option(help="IANA, as America/New_York.")] = "UTC",
    n: Annotated[int, typer.Option("-n", min=1, max=50)] = 5,
) -> None:
    """Say when a cron expression would run, and what daylight saving does to it."""
    from mls_crm_sync.core import schedule

    now = datetime.now(UTC)
    one = schedule.schedule_of(cron, timezone)
    schedule.check(one, now, _minimum())
    found = schedule.preview(one, now, n)
    table(f"{one.cron} in {timezone}", ("local", "UTC"), [(run.local.isoformat(), run.at) for run in found.runs])
    notice(f"{found.runs_per_day:g} runs a day")
    for note in found.daylight_saving:
        notice(note)


@app.command()
def selection(job_id: JobId = ACTIVE) -> None:
    """Say what a run would read now: how many properties, where, and what it would have to leave out."""
    from mls_crm_sync.sync import schedules

    told = with_database(_with_schedule(lambda db: schedules.preview_selection(db, job_id)))
    table("Some of the locations", ("location", "source"), [(o["location"], o["source"]) for o in told["examples"]])
    properties = count(told["properties"], "CRM property", "CRM properties")
    typer.echo(f"{properties} in {count(told['locations'], 'location')}")
    for reason, left in (told["left_out"] or {}).items():
        notice(f"left out, {reason}: {left['properties']:,}, as {', '.join(left['examples'])}")


def _with_schedule(work: Callable[[Database], Awaitable[T]]) -> Callable[[Database], Awaitable[T]]:
    """Make the schedule of active properties first, where this is the first start."""

    async def after(db: Database) -> T:
        from mls_crm_sync import wiring
        from mls_crm_sync.settings import Settings

        await wiring.set_schedule_up(Settings(), db)
        return await work(db)

    return after


def _tell(view: View) -> None:
    job = view.job
    facts = [(name, job[name]) for name in _SHOWN if job[name] not in (None, [], {})]
    runs = [(name, view.activity[name]) for name in ("run_count", "last_run_at", "open_run", "last_status")]
    next_run = [("next_run_at", one_line(view.next_run_at) or "none")]
    table("", ("", job["scheduled_job_id"]), [*facts, *next_run, *((n, v) for n, v in runs if v is not None)])


def _filters(texts: list[str] | None) -> dict[str, Any] | None:
    if texts is None:
        return None
    if texts == ["none"]:
        return {}
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise options.bad("--filter", f"{text!r} is not NAME=VALUE")
        if name in {"min_list_price", "max_list_price"}:
            given[name] = value
        elif name == "max_age_days":
            given[name] = int(value) if value.isascii() and value.isdigit() else value
        else:
            given.setdefault(name, []).append(value)
    return given


def _instant(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min  # noqa: DTZ901 - refused below
    if at.tzinfo is None:
        raise options.bad(option, f"{text!r} is no instant with a zone; 2026-12-01T08:00:00Z is one")
    return at.astimezone(UTC)


def _minimum() -> timedelta:
    from mls_crm_sync.settings import Settings

    return Settings().minimum_interval
