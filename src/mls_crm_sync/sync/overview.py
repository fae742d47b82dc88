"""How things stand as a whole: how fresh, what changed, what needs somebody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mls_crm_sync.core.proposals import ENDED
from mls_crm_sync.store import absence, overview, proposals, quarantine, runs, workers
from mls_crm_sync.store.database import Connection, Database, Row, now

from . import schedules, sources
from .schedules import View
from .sealing import Sealer
from .sources import Configured

DAY = timedelta(days=1)
AGES = tuple(timedelta(hours=hours) for hours in (1, 2, 6, 12, 24, 72))
"""Bounds of the freshness histogram."""
WITH_PROBLEMS = frozenset({"failed", "partial"})


@dataclass(frozen=True, slots=True)
class Age:
    """So many linked active properties were seen at least `since` and less than `until` ago; `until` None: no bound."""

    since: timedelta
    until: timedelta | None
    properties: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that needs somebody, by its `code`: what it is, how often, and where it is looked into."""

    code: str
    message: str
    count: int = 1
    hint: str | None = None
    run_id: int | None = None
    source: str | None = None
    scheduled_job_id: str | None = None
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts at one time. `statuses` are those of active CRM properties, `ages` those of the linked ones among them;
    `changes` are listings by type of change, and `crm_updates` CRM properties that followed, in a day.
    """

    at: datetime
    properties: int
    active: int
    linked: int
    statuses: Mapping[str, int]
    ages: list[Age]
    never_seen: int
    changes: Mapping[str, int]
    crm_updates: int
    proposals: int
    quarantined: int
    held: int
    workers: int
    running: list[Row]
    last_run: Row | None
    next_run_at: datetime | None
    next_run_of: str | None
    troubles: list[Trouble]


async def look(db: Database, sealer: Sealer, stale_after: timedelta) -> Overview:
    """Return how things stand now."""
    views = await schedules.every(db)
    configured = await sources.every(db, sealer)
    async with db.connection() as conn:
        at = await now(conn)
        active = await overview.active_properties(conn, AGES, stale_after)
        counts = await overview.properties(conn)
        held = sum(hold["still_held"] for hold in await absence.holds(conn))
        seen = len(await workers.living(conn))
        finished = await runs.views(conn, statuses=("succeeded", "partial", "failed", "cancelled"), limit=1)
        due = sorted((view.next_run_at, view.job["name"]) for view in views if view.next_run_at is not None)
        return Overview(
            at=at,
            properties=counts["properties"],
            active=counts["active"],
            linked=counts["linked"],
            statuses=_by_status(active),
            ages=_ages(active),
            never_seen=sum(row["count"] for row in active if row["linked"] and row["bucket"] is None),
            changes=await overview.changes_since(conn, at - DAY),
            crm_updates=await overview.crm_updates_since(conn, at - DAY),
            proposals=await proposals.count_open(conn, ENDED),
            quarantined=await quarantine.count_open(conn),
            held=held,
            workers=seen,
            running=await runs.views(conn, statuses=("queued", "running")),
            last_run=finished[0] if finished else None,
            next_run_at=due[0][0] if due else None,
            next_run_of=due[0][1] if due else None,
            troubles=[*_of_schedules(views, seen), *_of_sources(configured), *await _of_runs(conn, views)],
        )


def _by_status(active: Iterable[Row]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for row in active:
        counted[row["sync_status"]] += row["count"]
    return dict(counted)


def _ages(active: Iterable[Row]) -> list[Age]:
    counted = Counter[int]()
    for row in active:
        if row["bucket"] is not None:  # what is not linked was never seen
            counted[row["bucket"]] += row["count"]
    bounds = (timedelta(0), *AGES, None)
    return [Age(bounds[n] or timedelta(0), bounds[n + 1], counted[n]) for n in range(len(AGES) + 1)]


def _of_schedules(views: Iterable[View], seen: int) -> Iterable[Trouble]:
    on = [view for view in views if view.job["status"] == "active"]
    if on and not seen:
        hint = "`mls-crm-sync worker` reads what is due; `serve` brings one along unless it was told not to"
        yield Trouble("no_worker", "no worker is seen, so nothing is read", len(on), hint)
    for view in on:
        if view.job["problem"] is not None:
            name, job_id = view.job["name"], view.job["scheduled_job_id"]
            yield Trouble("schedule_cannot_run", f"{name}: {view.job['problem']}", scheduled_job_id=job_id)


def _of_sources(configured: Iterable[Configured]) -> Iterable[Trouble]:
    for one in configured:
        if one.stopped_at is not None:
            hint = "see why it refused us before it is asked again; then resume it"
            yield Trouble(
                "source_stopped", f"{one.name} refused us and is not asked any more", hint=hint, source=one.name
            )
        elif one.left_alone_until is not None:
            message = f"{one.name} failed so often that it is left alone for a while"
            yield Trouble("source_left_alone", message, source=one.name)
        if one.secret_readable is False:
            hint = "start the service with the key that sealed it, or set the secret anew"
            yield Trouble("secret_sealed", f"no key here opens the secret of {one.name}", hint=hint, source=one.name)


async def _of_runs(conn: Connection, views: Iterable[View]) -> list[Trouble]:
    """What went wrong in the last finished run of each schedule, by code."""
    found = []
    for view in views:
        if view.activity["last_status"] in WITH_PROBLEMS:
            run_id = view.activity["last_run"]
            rows = await runs.errors_of(conn, run_id)
            found += [
                Trouble(
                    row["code"], row["detail"] or row["code"], row["locations"], row["hint"], run_id,
                    scheduled_job_id=view.job["scheduled_job_id"], examples=row["examples"],
                )
                for row in rows
            ]  # fmt: skip
    return found
