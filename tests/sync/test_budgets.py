"""How fast a source is asked: by all workers together, over restarts, and what happens when it fails."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from making import event_log
from mls_crm_sync.core import pacing
from mls_crm_sync.core.errors import RateLimited, SourceRefused, SourceUnavailable
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.budgets import DatabaseGate, resume

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TOLD = ("source.degraded", "source.recovered")


class Clock:
    """Time that passes when everybody who lives in it sleeps, and then at once."""

    def __init__(self) -> None:
        self.now = NOON
        self.living = 0
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []
        self._order = itertools.count()

    async def sleep(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        if until <= self.now:
            return
        awake = asyncio.Event()
        heapq.heappush(self._sleepers, (until, next(self._order), awake))
        self._pass()
        await awake.wait()

    def leave(self) -> None:
        self.living -= 1
        self._pass()

    def _pass(self) -> None:
        if self._sleepers and len(self._sleepers) == self.living:
            self.now, _, awake = heapq.heappop(self._sleepers)
            awake.set()

    async def live(self, *lives: Any) -> None:
        """Let workers live in this time until they have done their work."""
        self.living = len(lives)

        async def one(life: Any) -> None:
            try:
                await life
            finally:
                self.leave()

        async with asyncio.TaskGroup() as group:
            for life in lives:
                group.create_task(one(life))


def a_gate(db: Database, clock: Clock, limits: dict[str, int] | None = None, delay: float = 0, **more: Any) -> Any:
    told: dict[str, Any] = {"patience": timedelta(hours=3), "sleep": clock.sleep, "jitter": lambda: 0.5} | more
    return DatabaseGate(db, "mls", limits or {}, delay, clock=lambda: clock.now, **told)


def most_in(starts: Sequence[datetime], window: timedelta) -> int:
    """Return the most starts in any interval of that length, open at one end, by looking at each."""
    return max(sum(one <= other < one + window for other in starts) for one in starts)


async def test_four_workers_never_exceed_any_budget_over_a_restart_and_lose_little_of_it(
    db: Database, conn: Connection
) -> None:
    limits, delay = {"second": 3, "minute": 40, "hour": 150}, 0.25
    clock, starts = Clock(), []

    async def worker(requests: int) -> None:
        gate = a_gate(db, clock, limits, delay)
        for _ in range(requests):
            async with gate.request() as request:
                starts.append(clock.now)
                await clock.sleep(0.4)
                request.count(1000)
                request.answered()

    await clock.live(*(worker(50) for _ in range(4)))
    await clock.live(killed_after_its_turn(a_gate(db, clock, limits, delay), clock, starts))
    await clock.live(*(worker(25) for _ in range(4)))

    starts.sort()
    assert len(starts) == 301
    for name, limit in limits.items():
        assert most_in(starts, pacing.WINDOWS[name]) <= limit, name
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert min(gaps) >= timedelta(seconds=delay)
    assert most_in(starts, pacing.WINDOWS["hour"]) == 150, "the budget can be used up"
    least = timedelta(hours=2)  # 301 of 150 an hour: the third hour begins with the last one
    assert least <= starts[-1] - starts[0] <= least * 1.02
    assert await conn.fetchval("SELECT sum(bytes) FROM source_requests WHERE at > $1", starts[0]) >= 150_000


async def killed_after_its_turn(gate: DatabaseGate, clock: Clock, starts: list[datetime]) -> None:
    """A process that dies after its request was let through: nobody tells what became of it."""
    while isinstance(turn := await gate._db.retrying(partial(gate._turn, gate._patience)), timedelta):
        await clock.sleep(turn.total_seconds())
    starts.append(clock.now)


async def test_who_waits_already_obeys_what_the_source_says_meanwhile(db: Database) -> None:
    clock, started = Clock(), {}

    async def asks(name: str, first: float) -> None:
        await clock.sleep(first)
        async with a_gate(db, clock, {"minute": 1}).request() as request:
            started[name] = (clock.now - NOON).total_seconds()
            await clock.sleep(30)
            request.limited(300.0) if name == "first" else request.answered()

    await clock.live(asks("first", 0), asks("second", 1))
    assert started == {"first": 0, "second": 330}


async def test_bytes_are_a_budget_whose_overdraft_is_waited_for(db: Database) -> None:
    clock, started = Clock(), []
    gate = a_gate(db, clock, {"bytes_hour": 10_000})

    async def worker() -> None:
        for size in (4_000, 4_000, 9_000, 1, 1):
            async with gate.request() as request:
                started.append((clock.now - NOON).total_seconds())
                request.count(size)
                request.answered()
            await clock.sleep(60)

    await clock.live(worker())
    assert started == [0, 60, 120, 3660, 3720], "the third runs over; there is room when the second leaves the hour"


async def test_longer_wait_than_our_patience_is_told_and_reserves_nothing(db: Database, conn: Connection) -> None:
    clock = Clock()
    gate = a_gate(db, clock, {"day": 1}, patience=timedelta(minutes=20))
    async with gate.request() as request:
        request.answered()
    with pytest.raises(RateLimited, match="2026-11-27 12:00:00 UTC") as refused:
        async with gate.request():
            pass
    assert refused.value.hint
    assert await conn.fetchval("SELECT count(*) FROM source_requests") == 1


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7), (86_400.0, 900), (None, 1), (-5.0, 0)])
async def test_retry_after_is_obeyed_by_all_workers_and_capped(
    db: Database, asked: float | None, waited: float
) -> None:
    clock = Clock()
    async with a_gate(db, clock).request() as request:
        request.limited(asked)

    async def other() -> None:
        async with a_gate(db, clock).request() as request:
            request.answered()

    await clock.live(other())
    assert (clock.now - NOON).total_seconds() == waited


async def test_source_that_goes_on_saying_429_is_asked_ever_more_seldom(db: Database) -> None:
    clock, waits = Clock(), []

    async def worker() -> None:
        for _ in range(12):
            before = clock.now
            async with a_gate(db, clock).request() as request:
                waits.append((clock.now - before).total_seconds())
                request.limited(None)

    await clock.live(worker())
    assert waits == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 450, 450]


async def fail(db: Database, clock: Clock, times: int) -> None:
    for _ in range(times):
        async with a_gate(db, clock).request() as request:
            request.failed()


async def test_breaker_opens_for_all_lets_one_probe_through_and_tells_of_it_once(
    db: Database, conn: Connection
) -> None:
    clock = Clock()
    await fail(db, clock, 4)
    async with a_gate(db, clock).request() as request:
        request.answered()
    await fail(db, clock, 4)
    assert await event_log(conn, TOLD) == [], "a success in between counts"
    await fail(db, clock, 1)
    assert [row[0] for row in await event_log(conn, TOLD)] == ["source.degraded"]
    with pytest.raises(SourceUnavailable, match="failed 5 times"):
        await fail(db, clock, 1)

    clock.now += timedelta(seconds=23)
    async with a_gate(db, clock).request() as probe:
        with pytest.raises(SourceUnavailable):
            await fail(db, clock, 1)
        probe.failed()
    with pytest.raises(SourceUnavailable):
        await fail(db, clock, 1)
    clock.now += timedelta(seconds=40)
    with pytest.raises(SourceUnavailable, match="left alone"):  # it is twice as long the second time
        await fail(db, clock, 1)
    clock.now += timedelta(seconds=10)
    async with a_gate(db, clock).request() as probe:
        probe.answered()
    async with a_gate(db, clock).request() as request:
        request.answered()
    assert [row[0] for row in await event_log(conn, TOLD)] == ["source.degraded", "source.recovered"]
    assert await conn.fetch("SELECT source FROM events WHERE source <> 'mls'") == []


async def test_probe_of_a_dead_process_is_not_waited_for_for_ever(db: Database) -> None:
    clock = Clock()
    await fail(db, clock, 5)
    clock.now += timedelta(minutes=1)
    await killed_after_its_turn(a_gate(db, clock), clock, [])
    with pytest.raises(SourceUnavailable):
        await fail(db, clock, 1)
    clock.now += pacing.PROBE
    async with a_gate(db, clock).request() as probe:
        probe.answered()


async def test_probe_that_told_nothing_makes_room_for_the_next_one(db: Database) -> None:
    clock = Clock()
    await fail(db, clock, 5)
    clock.now += timedelta(minutes=1)
    with pytest.raises(ZeroDivisionError):
        async with a_gate(db, clock).request():
            raise ZeroDivisionError
    async with a_gate(db, clock).request() as probe:
        probe.answered()


async def test_real_clock_is_the_databases(db: Database, conn: Connection) -> None:
    gate = DatabaseGate(db, "mls", {"second": 5})
    starts = []
    for _ in range(6):
        async with gate.request() as request:
            request.answered()
        starts.append(await conn.fetchval("SELECT max(at) FROM source_requests"))
    assert timedelta(seconds=1) <= starts[5] - starts[0]


async def test_refusal_stops_a_source_of_a_kind_that_stops_once_and_for_all_processes(
    db: Database, conn: Connection
) -> None:
    async def refused(*, stops: bool, name: str) -> None:
        async with DatabaseGate(db, name, {}, stops=stops).request() as request:
            request.refused()

    for _ in range(2):
        await refused(stops=False, name="account")
    async with DatabaseGate(db, "site", {}, stops=True).request() as late:
        await refused(stops=True, name="site")
        late.answered()  # one that was under way does not open it again
    with pytest.raises(SourceRefused, match="stopped"):
        await refused(stops=True, name="site")
    assert [row[0] for row in await event_log(conn, ("source.stopped",))] == ["source.stopped"]
    assert await resume(db, "site")
    assert not await resume(db, "site")
    await refused(stops=True, name="site")
