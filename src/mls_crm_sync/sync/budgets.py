"""The gate that all processes go through to a source, at the pace they have together.

Whether a request may start now is looked at under the source's lock, by the database's clock, and noted in the same
short transaction; who has to wait does so without a connection, and looks again. So what a source asks for holds for
those who wait already, and a start counts, whatever becomes of its process.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from mls_crm_sync.core import pacing
from mls_crm_sync.core.errors import RateLimited, SourceRefused, SourceUnavailable
from mls_crm_sync.core.pacing import Breaker
from mls_crm_sync.sources.base import Request
from mls_crm_sync.store import budgets, events
from mls_crm_sync.store.database import Connection, Database, now
from mls_crm_sync.store.events import Event

log = structlog.get_logger()
PATIENCE = timedelta(minutes=20)
"""A longer wait ends the pass, so that its run says why; a request waits this long at most."""


@dataclass(slots=True)
class _Asked:
    """One request: what its caller tells of it is written down when its block ends."""

    request_id: int
    stops: bool  # a refusal is not asked about again
    size: int = 0
    end: Callable[[Breaker, datetime, float], Breaker] | None = None

    def count(self, size: int) -> None:
        self.size += size

    def answered(self) -> None:
        self.end = lambda before, _now, _jitter: pacing.answered(before)

    def refused(self) -> None:
        self.end = lambda before, now, _jitter: pacing.refused(before, now, stops=self.stops)

    def limited(self, retry_after: float | None) -> None:
        self.end = lambda before, now, jitter: pacing.limited(before, now, retry_after, jitter)

    def failed(self) -> None:
        self.end = pacing.failed


class DatabaseGate:
    """Lets requests to a source through, by the budget that all processes share in the database.

    `sleep` (seconds), `jitter` (0 up to 1) and `clock` (UTC; the database's unless given) are there to be replaced.
    """

    def __init__(
        self,
        db: Database,
        source: str,
        limits: Mapping[str, int],
        request_delay: float = 0.0,
        *,
        stops: bool = False,
        patience: timedelta = PATIENCE,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """`stops`: once it was refused, nobody is let through. Raises InvalidInput for limits that cannot be."""
        self._db = db
        self._source = source
        self._budget = pacing.budget_of(limits, request_delay)
        self._stops = stops
        self._patience = patience
        self._sleep = sleep
        self._jitter = jitter
        self._clock = clock

    @asynccontextmanager
    async def request(self) -> AsyncIterator[Request]:
        """Wait for our turn. Raises RateLimited or SourceUnavailable where that would be longer than our patience, and
        SourceRefused where the source is stopped.
        """
        waited = timedelta(0)
        while isinstance(turn := await self._db.retrying(partial(self._turn, self._patience - waited)), timedelta):
            await self._sleep(turn.total_seconds())
            waited += turn
        asked = _Asked(turn, self._stops)
        try:
            yield asked
        finally:
            await asyncio.shield(self._db.retrying(partial(self._note, asked)))

    async def _turn(self, patience: timedelta, conn: Connection) -> int | timedelta:
        """Note a start that may be now and return the request's id, or return how long it has to wait."""
        breaker = await budgets.lock(conn, self._source)
        now = await self._now(conn)
        if breaker.stopped_at is not None:
            raise SourceRefused(
                "stopped",
                f"{self._source} refused us at {breaker.stopped_at:%Y-%m-%d %H:%M} UTC, and nobody has asked it since",
                hint=f"look why; when it may be asked again: `mls-crm-sync sources resume {self._source}`",
            )
        shut = breaker.shut_until(now)
        if shut is not None:
            raise SourceUnavailable(
                "breaker_open",
                f"{self._source} failed {breaker.failures} times in a row and is left alone until {shut:%H:%M:%S} UTC",
                hint="look whether the source has an outage; it is tried again by itself",
            )
        marks = await budgets.marks(conn, self._source, self._budget, now)
        start = pacing.next_start(now, self._budget, breaker, marks)
        if start - now > patience:
            raise RateLimited(
                "budget_spent",
                f"{self._source} may be asked again at {start:%Y-%m-%d %H:%M:%S} UTC",
                hint="raise its limits if its provider allows more, or read it less often",
            )
        if start > now:
            return start - now
        if breaker.open:
            await budgets.update(conn, self._source, replace(breaker, probe_until=now + pacing.PROBE))
        return await budgets.begin(conn, self._source, now, forget=now - self._budget.memory)

    async def _note(self, asked: _Asked, conn: Connection) -> None:
        """Write down what became of a request. Of one that told nothing, only that it no longer probes."""
        before = await budgets.lock(conn, self._source)
        if asked.size:
            await budgets.count(conn, asked.request_id, asked.size)
        now = await self._now(conn)
        end = asked.end or _gave_up
        after = end(before, now, self._jitter())
        if after == before:
            return
        await budgets.update(conn, self._source, after)
        if before.open != after.open:
            word = "source.degraded" if after.open else "source.recovered"
            log.warning(word, source=self._source, failures=before.failures)
            await events.append(conn, [Event(word, source=self._source)])
        if after.stopped_at != before.stopped_at:
            log.warning("source.stopped", source=self._source)
            await events.append(conn, [Event("source.stopped", source=self._source)])

    async def _now(self, conn: Connection) -> datetime:
        return self._clock() if self._clock is not None else await now(conn)


def _gave_up(before: Breaker, _now: datetime, _jitter: float) -> Breaker:
    return replace(before, probe_until=None)


async def resume(db: Database, source: str) -> bool:
    """Let a source that is stopped be asked again; return whether it was."""

    async def let(conn: Connection) -> bool:
        before = await budgets.lock(conn, source)
        await budgets.update(conn, source, replace(before, stopped_at=None))
        return before.stopped_at is not None

    return await db.retrying(let)
