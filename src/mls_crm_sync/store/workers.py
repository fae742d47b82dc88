"""Workers and what they have taken: a location of a run belongs to one worker, as long as that one is seen.

A worker's lease on all it has is its own row, renewed by its heartbeat. Whoever looks may give what an unseen worker
had back to the queue, which is the table itself; `epoch` keeps the unseen one, should it wake, from writing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .database import Connection, Row
from .queries import load
from .runs import Begun, Hold, RunKind, Task

_SQL = load(__file__)

CHANNEL = "mls_crm_sync_work"
"""Rung when there is something to take."""

LEASE = timedelta(seconds=15)
"""A worker that was not seen for so long has nothing any more."""


class Place(NamedTuple):
    """One location of one run."""

    run_id: int
    location_id: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A location that a worker has taken, and what it is to do with it."""

    held: Hold
    task: Task
    source: str
    location: str
    config: Mapping[str, Any]
    run_started_at: datetime

    @property
    def place(self) -> Place:
        return Place(self.held.run_id, self.held.location_id)


async def enrol(conn: Connection, host: str, pid: int, release: str) -> int:
    worker_id: int = await conn.fetchval(_SQL["enrol"], host, pid, release)
    return worker_id


async def beat(conn: Connection, worker_id: int) -> None:
    """Renew a worker's lease on all it has."""
    await conn.execute(_SQL["beat"], worker_id)


async def leave(conn: Connection, worker_id: int) -> None:
    await conn.execute(_SQL["leave"], worker_id)


async def forget(conn: Connection, unseen_for: timedelta) -> None:
    """Drop workers that went away without a word so long ago."""
    await conn.execute(_SQL["forget"], unseen_for)


async def living(conn: Connection) -> list[Row]:
    """Return the workers that are seen, and how many locations each has: worker_id, host, pid, release, started_at,
    seen_at, locations.
    """
    return await conn.fetch(_SQL["living"], LEASE)


async def ring(conn: Connection) -> None:
    """Tell all workers, at the commit, that there is something to take."""
    await conn.execute(_SQL["ring"])


async def claim(conn: Connection, worker_id: int, *, leave_alone: Collection[str] = ()) -> Taken | None:
    """Take the next location that waits; None: there is none. `leave_alone` are sources. Call it in a transaction."""
    row = await conn.fetchrow(_SQL["claim"], worker_id, list(leave_alone))
    if row is None:
        return None
    await conn.execute(_SQL["begin_run"], row["run_id"])
    begun = Begun(row["checkpoint"], row["counts"], row["pages"]) if row["checkpoint"] is not None else None
    pass_id = row["pass_id"]
    if row["task"] == "read" and pass_id is None:
        pass_id = await conn.fetchval(_SQL["begin_pass"], row["location_id"], row["run_id"])
    kind: RunKind = "look_up" if row["task"] == "look_up" else row["kind"]
    held = Hold(row["run_id"], row["location_id"], row["epoch"], kind, pass_id, begun, by_worker=True)
    return Taken(held, row["task"], row["source"], row["location"], row["config"], row["run_started_at"])


async def taken_by(conn: Connection, worker_id: int) -> list[Place]:
    return [Place(*row) for row in await conn.fetch(_SQL["taken_by"], worker_id)]


async def orphans(conn: Connection) -> list[Place]:
    """Return what unseen workers have, in order."""
    return [Place(*row) for row in await conn.fetch(_SQL["orphans"], LEASE)]


async def lock_orphan(conn: Connection, place: Place) -> int | None:
    """Lock what an unseen worker has; return how often it was begun, None where that worker is back."""
    row = await conn.fetchrow(_SQL["lock_orphan"], *place, LEASE)
    return row["starts"] if row is not None else None


async def give_back(conn: Connection, place: Place, *, worker_id: int | None = None, blameless: bool = False) -> bool:
    """Let a location wait again. `worker_id`: only if that one has it still. `blameless`: this start does not count."""
    return await conn.fetchval(_SQL["give_back"], *place, worker_id, blameless) is not None
