"""Runs, their locations and passes: who is reading what, how far, and with what proof it ended.

A run that one process reads is alive exactly as long as a session of the database holds its advisory lock (`claim`). A
killed process frees it, and the next start ends the run as failed: no run stays "running" for ever. The locations of a
run that workers share are theirs by lease (`workers.py`). `epoch` is checked in every write of both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import asyncpg

from mls_crm_sync.core.errors import RunLost, RunNotFound

from .arrays import array_of
from .database import Connection, Row
from .queries import load, narrowed

_SQL = load(__file__)

_HASH = re.compile(r"[0-9a-f]{32}")

RunKind = Literal["ingest", "push", "look_up", "replay", "retry", "scheduled", "manual"]
READS_A_LOCATION: frozenset[RunKind] = frozenset({"ingest", "scheduled", "manual"})
"""The kinds of runs that make a pass; a push, a look-up, a replay or a retry shows single listings."""

RELEASE_TIMEOUT = timedelta(seconds=5)

RunStatus = Literal["succeeded", "partial", "failed", "cancelled"]
Task = Literal["read", "look_up"]
Priority = Literal["low", "normal", "high", "immediate"]
RANKS: Mapping[Priority, int] = {"low": -1, "normal": 0, "high": 1, "immediate": 2}
"""The greater, the sooner workers take a run's locations."""
PassOutcome = Literal[
    "complete", "unproven", "partial", "capped", "blocked", "refused", "rate_limited", "unavailable",
    "broken", "abandoned", "cancelled",
]  # fmt: skip


class PassEnd(NamedTuple):
    """How a pass ended, and how that is known. `delivery`: what its source tells the delivery by. `members`: that at
    least one of its records had, where somebody looked.
    """

    outcome: PassOutcome
    evidence: str | None = None
    delivery: str | None = None
    members: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a run had come: where to go on, what came of it so far, and how many pages its pass has."""

    checkpoint: Mapping[str, int | str]
    counts: Mapping[str, Any]
    pages: int


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to write for one run at one location, as long as `epoch` is the row's."""

    run_id: int
    location_id: int
    epoch: int
    kind: RunKind
    pass_id: int | None  # None: records about single listings, which say nothing about the rest of the location
    begun: Begun | None = None  # what an earlier process had done of the run, before it went away
    by_worker: bool = False  # one of many locations of the run, taken by a worker; else the run is this one location


class LocationEnd(NamedTuple):
    """How a run ended at a location. `error` is (code, detail, hint); `outcome` and `evidence` are its pass's."""

    status: RunStatus
    counts: Mapping[str, Any]
    outcome: str | None = None
    evidence: str | None = None
    error: tuple[str, str, str | None] | None = None


class Abandoned(NamedTuple):
    """A location that a run had not finished when its process went away."""

    location_id: int
    counts: Mapping[str, Any]
    pass_id: int | None


async def location_id(conn: Connection, source: str, name: str) -> int:
    found: int | None = await conn.fetchval(_SQL["location"], source, name)
    if found is None:  # made by somebody else between the two halves of the statement
        found = await conn.fetchval(_SQL["location"], source, name)
    assert found is not None  # noqa: S101 - the row exists after a conflict; nobody deletes locations
    return found


async def first_location(conn: Connection, source: str) -> str | None:
    """Return the location that a source was first read by; None: nothing ever came from it."""
    name: str | None = await conn.fetchval(_SQL["first_location"], source)
    return name


async def start(conn: Connection, kind: RunKind, source: str, location: str) -> Hold:
    """Make a run of one location, with its pass where it reads all of it.

    The caller has to `claim` it on a connection that lives as long as the run. Its commit does not wait for the disk:
    the first page's does for both.
    """
    await conn.execute(_SQL["later"])
    place = await location_id(conn, source, location)
    run_id = await conn.fetchval(_SQL["start"], kind, source)
    epoch = await conn.fetchval(_SQL["start_location"], run_id, place)
    pass_id = await conn.fetchval(_SQL["start_pass"], place, run_id) if kind in READS_A_LOCATION else None
    return Hold(run_id, place, epoch, kind, pass_id)


async def take_over(conn: Connection, source: str, location: str) -> Hold | None:
    """Take over a run of a source's location whose process is gone, claimed for this session; None: there is none.

    From now on nothing of that process can be written, should it wake up. Call it in a transaction.
    """
    for row in await conn.fetch(_SQL["resumable"], source, location):
        if not await claim(conn, row["run_id"]):
            continue
        place = (row["run_id"], row["location_id"])
        if (taken := await conn.fetchrow(_SQL["take_over"], *place)) is None:
            await conn.execute(_SQL["release_run"], row["run_id"])
            continue
        begun = Begun(taken["checkpoint"], taken["counts"], await conn.fetchval(_SQL["pages"], row["pass_id"]))
        return Hold(*place, taken["epoch"], row["kind"], row["pass_id"], begun)
    return None


async def deliveries(conn: Connection, source: str, location: str, delivery: str) -> tuple[bool, int | None]:
    """Return whether the newest complete pass of a location read this delivery, and the newest pass that did."""
    row = await conn.fetchrow(_SQL["deliveries"], source, location, delivery)
    assert row is not None  # noqa: S101 - an aggregate
    return bool(row["newest"]), row["pass_id"]


async def members_gone(conn: Connection, pass_id: int) -> tuple[str, list[str]]:
    """Return a complete pass's source, and the members that records of the one before it had and none of its own has,
    sorted.
    """
    row = await conn.fetchrow(_SQL["members_gone"], pass_id)
    assert row is not None  # noqa: S101 - it is a pass
    return row["source"], row["gone"]


async def claim(conn: Connection, run_id: int) -> bool:
    """Take the run's life lock for this session; False when somebody else has it."""
    return bool(await conn.fetchval(_SQL["try_claim"], run_id))


async def release(conn: Connection) -> None:
    """Give the life lock back, whatever happens: a session that cannot is closed, and the lock gone with it."""
    try:
        async with asyncio.timeout(RELEASE_TIMEOUT.total_seconds()):
            await conn.execute(_SQL["release"])
    except BaseException as error:
        with suppress(asyncpg.InterfaceError):  # of a connection that is lost the pool has taken note already
            conn.terminate()
        if not isinstance(error, Exception):
            raise


async def hold(conn: Connection, held: Hold, *, alone: bool = True, few: bool = False) -> None:
    """Take the location's row lock, the first of a page's transaction; `alone` or beside other processes of the run.

    `few` listings are written by plans that are made once: planning each statement anew would be a quarter of their
    time. Raises RunLost.
    """
    statement = _SQL["hold" if alone else "hold_together"]
    planning = "force_generic_plan" if few else "auto"
    if await conn.fetchval(statement, held.run_id, held.location_id, held.epoch, planning) is None:
        raise RunLost(held.run_id)


async def show(conn: Connection, held: Hold, *, page: int, keys: Sequence[str]) -> None:
    """Note which listings a page showed. `page` is its number in the pass."""
    if held.pass_id is not None:
        await conn.execute(_SQL["show"], held.pass_id, page, *_packed(keys))


async def advance(
    conn: Connection,
    held: Hold,
    *,
    page: int,
    keys: Sequence[str],
    checkpoint: object,
    counts: Mapping[str, Any],
) -> None:
    """Note a page as done: what it showed, where to go on, what came of the run so far. Whoever calls it holds the
    location alone.
    """
    progress = (held.run_id, held.location_id, checkpoint, dict(counts))
    if held.pass_id is None:
        await conn.execute(_SQL["advance"], *progress)
    else:
        await conn.execute(_SQL["show_and_advance"], *progress, held.pass_id, page, *_packed(keys))


def _packed(keys: Sequence[str]) -> tuple[str, list[str]]:
    """Return the ids that are hashes, as PostgreSQL writes an array of them, and the others."""
    if all(map(_HASH.fullmatch, keys)):
        return array_of(keys), []
    return array_of([key for key in keys if _HASH.fullmatch(key)]), [key for key in keys if not _HASH.fullmatch(key)]


async def note_counts(conn: Connection, run_id: int, counts: Mapping[str, Any]) -> None:
    """Note what has come of a run that several processes read."""
    await conn.execute(_SQL["note_counts"], run_id, dict(counts))


async def totals(conn: Connection, run_id: int) -> dict[str, int]:
    """Return how many listings changed per type, each once per type; from the history, not from counting along."""
    first = await conn.fetchval(_SQL["first_change"], run_id)
    return {row["type"]: row["listings"] for row in await conn.fetch(_SQL["totals"], run_id, first)}


async def plan_whole_sets(conn: Connection) -> None:
    """Let the rest of the transaction join what a pass showed as the large sets that they are."""
    await conn.execute(_SQL["join_whole_sets"])


async def end_pass(conn: Connection, pass_id: int, location: int, end: PassEnd) -> PassEnd:
    """End a pass and fold what it showed into the location; return how it ended.

    Call it in a transaction that does little else, after `plan_whole_sets`. A complete pass that one which began
    later has overtaken proves nothing any more: what it did not show may have been shown since.
    """
    await conn.execute(_SQL["lock_location"], location)
    row = await conn.fetchrow(_SQL["count_shown"], pass_id)
    assert row is not None  # noqa: S101 - made by `start`, never deleted while its run stands
    if end.outcome == "complete" and row["overtaken"]:
        end = end._replace(outcome="unproven", evidence="a pass that began later ended before it")
    complete = end.outcome == "complete"
    if row["shown"] or complete:
        await conn.execute(_SQL["mark_not_shown"], pass_id, location, complete)
        await conn.execute(_SQL["mark_shown_again"], pass_id, location)
        await conn.execute(_SQL["move_location"], location, row["started_at"])
    await conn.execute(_SQL["end_pass"], pass_id, *end)
    await conn.execute(_SQL["drop_pages"], pass_id)
    return end


async def end_location(conn: Connection, run_id: int, location: int, end: LocationEnd, *, lost: bool = False) -> None:
    """End a run at one of its locations. `lost`: whoever held it may not write any more."""
    error = end.error or (None, None, None)
    step = 1 if lost else 0
    await conn.execute(
        _SQL["end_location"], run_id, location, end.status, step, dict(end.counts), end.outcome, end.evidence, *error
    )


async def finish(
    conn: Connection,
    run_id: int,
    status: RunStatus,
    counts: Mapping[str, Any],
    *,
    error: tuple[str, str] | None = None,
) -> None:
    """End a run whose locations have ended."""
    code, detail = error or (None, None)
    await conn.execute(_SQL["finish"], run_id, status, dict(counts), code, detail)


async def counts(conn: Connection, held: Hold) -> Mapping[str, Any]:
    """Return what the run's pages had come to at the last checkpoint."""
    found: Mapping[str, Any] = await conn.fetchval(_SQL["counts"], held.run_id, held.location_id)
    return found


async def running(conn: Connection) -> list[int]:
    """Return the runs that say they are under way; whose process lives only `abandon` finds out."""
    return [row["run_id"] for row in await conn.fetch(_SQL["running"])]


async def lock_abandoned(conn: Connection, run_id: int) -> list[Abandoned] | None:
    """Return the open locations of a run whose process is gone, in order; None when it lives or has ended meanwhile.

    Until the transaction ends nobody else can take the run. Locks as a page does: the run's location row first.
    """
    if not await conn.fetchval(_SQL["is_abandoned"], run_id) or not await conn.fetchval(_SQL["still_running"], run_id):
        return None
    return [Abandoned(**row) for row in await conn.fetch(_SQL["open_locations"], run_id)]


async def give_up(conn: Connection, run_id: int, places: Sequence[Abandoned]) -> None:
    """End a run whose process is gone as failed; its passes have been ended."""
    error = ("abandoned", "the process that read it ended without a word; what it had stored stays")
    for place in places:
        end = LocationEnd("failed", place.counts, "abandoned", error=(*error, None))
        await end_location(conn, run_id, place.location_id, end, lost=True)
    await finish(conn, run_id, "failed", places[-1].counts if places else {}, error=error)


async def lock_run(conn: Connection, run_id: int) -> Row:
    """Lock a run: status, config, since. After its locations, in the order of all locks."""
    row = await conn.fetchrow(_SQL["lock_run"], run_id)
    assert row is not None  # noqa: S101 - nobody deletes runs
    return row


async def has_open_locations(conn: Connection, run_id: int) -> bool:
    return bool(await conn.fetchval(_SQL["has_open_locations"], run_id))


async def location_results(conn: Connection, run_id: int) -> list[Row]:
    """Return the locations of a run: location_id, source, task, status, counts, error_code."""
    return await conn.fetch(_SQL["location_results"], run_id)


async def make(
    conn: Connection,
    kind: RunKind,
    source: str | None,
    config: Mapping[str, Any],
    *,
    job_id: str | None = None,
    scheduled_for: datetime | None = None,
    actor: str | None = None,
    attempt_of: int | None = None,
    left_out: Mapping[str, Any] | None = None,
) -> int:
    """Make a run that workers share, without a location yet. `source` None: of several."""
    about = (job_id, scheduled_for, actor, attempt_of, dict(config), dict(left_out) if left_out else None)
    run_id: int = await conn.fetchval(_SQL["make"], kind, source, *about)
    return run_id


async def queue(
    conn: Connection,
    run_id: int,
    places: Sequence[tuple[str, str]],
    *,
    rank: int,
    task: Task = "read",
) -> None:
    """Let locations of a run, each by source and name, wait for workers."""
    sources, names = [source for source, _ in places], [name for _, name in places]
    await conn.execute(_SQL["make_locations"], sources, names)
    await conn.execute(_SQL["queue"], run_id, sources, names, task, rank)


async def lock_open_locations(conn: Connection, run_id: int) -> list[Abandoned]:
    """Lock what a run has not ended yet, in order."""
    return [Abandoned(**row) for row in await conn.fetch(_SQL["lock_open_locations"], run_id)]


async def open_location(conn: Connection, run_id: int, location: int) -> Abandoned:
    """Return one of them, which is locked."""
    row = await conn.fetchrow(_SQL["open_location"], run_id, location)
    assert row is not None  # noqa: S101 - locked, so it is there
    return Abandoned(**row)


async def note_actor(conn: Connection, run_id: int, actor: str) -> None:
    await conn.execute(_SQL["note_actor"], run_id, actor)


async def views(
    conn: Connection,
    *,
    run_id: int | None = None,
    job_id: str | None = None,
    statuses: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    before: int = 2**62,
    limit: int = 100,
) -> list[Row]:
    """Return runs as people see them, newest first, with how many locations they have and how far they are."""
    given = {
        "run_id": run_id, "scheduled_job_id": job_id, "statuses": list(statuses) if statuses else None,
        "kinds": list(kinds) if kinds else None, "before": before, "limit": limit,
    }  # fmt: skip
    sql, arguments = narrowed(_SQL["views"], given)
    return await conn.fetch(sql, *arguments)


async def view(conn: Connection, run_id: int) -> Row:
    """Raises RunNotFound."""
    rows = await views(conn, run_id=run_id, limit=1)
    if not rows:
        raise RunNotFound(run_id)
    return rows[0]


async def locations_of(
    conn: Connection, run_id: int, *, status: Sequence[str] | None = None, after: int = 0, limit: int = 100
) -> list[Row]:
    """Return the locations of a run by id, with what came of each and which worker has it."""
    given = {"run_id": run_id, "after": after, "status": list(status) if status else None, "limit": limit}
    sql, arguments = narrowed(_SQL["locations_of"], given)
    return await conn.fetch(sql, *arguments)


async def errors_of(conn: Connection, run_id: int) -> list[Row]:
    """Return what went wrong in a run by code: locations, detail, hint, examples."""
    return await conn.fetch(_SQL["errors_of"], run_id)


async def newest(conn: Connection, limit: int = 10) -> list[Row]:
    return await conn.fetch(_SQL["newest"], limit)
