"""A worker: takes what waits, some at a time, looks every minute what falls due, and gives back what others left.

The table of a run's locations is the queue: taking is one statement there (`store/workers.sql`), a bell (NOTIFY) only
saves the wait, and whatever this process forgets (a lost connection, a kill) is found there again by the next look of
any worker. Nothing here ends because the database is away; it goes on when that is back.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Protocol

import structlog

from mls_crm_sync import __version__
from mls_crm_sync.core.errors import StoreUnavailable
from mls_crm_sync.store import workers
from mls_crm_sync.store.database import Connection, Database, connect, now, translated
from mls_crm_sync.store.workers import Place, Taken

from .heartbeat import Heartbeat

log = structlog.get_logger()

LOOK_EVERY = 5.0
"""Seconds between two looks at what waits and at what was left behind, whether the bell rang or not."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
"""Seconds before something that failed is tried again; doubled, and taken at random below that."""
FORGET_AFTER = timedelta(days=7)


class Duty(Protocol):
    """What a worker is there for."""

    async def do(self, taken: Taken) -> None:
        """Do what was taken and write down how it ended, whatever happens; leave it open where the database is away."""

    async def recover(self, place: Place) -> None:
        """See to what an unseen worker has: let it wait again, or end it when it was begun too often."""

    async def give_back(self, place: Place, worker_id: int) -> None:
        """Let something of ours wait again."""

    async def every_minute(self) -> None:
        """Look what falls due."""

    async def leave_alone(self) -> Collection[str]:
        """Return the sources that only others can read."""


class Worker:
    """Works until it is told to stop; then gives back what it has, and leaves."""

    def __init__(self, db: Database, dsn: str, duty: Duty, *, slots: int) -> None:
        """`db` must have room for `slots` tasks of three connections and two more; `dsn` is for the heartbeat and the
        bell, which need connections of their own.
        """
        self._db = db
        self._dsn = dsn
        self._duty = duty
        self._slots = slots
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._taking = asyncio.Lock()  # what was just taken is not yet known as ours
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Raises nothing for what the world does; StoreUnavailable only where the database is away at the start."""
        async with self._enrolled() as worker_id, asyncio.TaskGroup() as group:
            loops = [
                group.create_task(_forever("bell", self._listen)),
                group.create_task(_forever("minute", self._mind_the_minute)),
                group.create_task(_forever("look", partial(self._look_around, worker_id))),
                group.create_task(_forever("take", partial(self._take_what_waits, worker_id))),
            ]
            await stop.wait()
            for loop in loops:
                loop.cancel()
        log.info("worker_stopped", worker_id=worker_id)

    @asynccontextmanager
    async def _enrolled(self) -> AsyncIterator[int]:
        async with self._db.connection() as conn:
            await workers.forget(conn, unseen_for=FORGET_AFTER)
            worker_id = await workers.enrol(conn, socket.gethostname(), os.getpid(), __version__)
        log.info("worker_started", worker_id=worker_id, slots=self._slots)
        with Heartbeat(self._dsn, worker_id):
            try:
                yield worker_id
            finally:
                await asyncio.shield(self._leave(worker_id))

    async def _leave(self, worker_id: int) -> None:
        """Give back all we have; what the database does not let us give back now, others will see to."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._give_back_what_we_left(worker_id)
            async with self._db.connection() as conn:
                await workers.leave(conn, worker_id)

    async def _listen(self) -> None:
        """Wake up whenever the bell rings, until its connection is lost."""
        lost = asyncio.Event()
        with translated():
            conn = await connect(self._dsn)
            try:
                conn.add_termination_listener(lambda _: lost.set())
                await conn.add_listener(workers.CHANNEL, lambda *_: self._wake.set())
                self._wake.set()
                await lost.wait()
            finally:
                conn.terminate()
        raise StoreUnavailable("the connection that the bell rings on was lost")

    async def _mind_the_minute(self) -> None:
        """Look what falls due at each minute of the database's clock, and now."""
        while True:
            await self._duty.every_minute()
            async with self._db.connection() as conn:
                at = await now(conn)
            await asyncio.sleep(60.05 - at.second - at.microsecond / 1e6)

    async def _look_around(self, worker_id: int) -> None:
        while True:
            await asyncio.sleep(random.uniform(LOOK_EVERY / 2, LOOK_EVERY))  # noqa: S311 # so that workers take turns
            async with self._taking:
                await self._give_back_what_we_left(worker_id)
            async with self._db.connection() as conn:
                left = await workers.orphans(conn)
            for place in left:
                await self._duty.recover(place)
            self._wake.set()

    async def _give_back_what_we_left(self, worker_id: int) -> None:
        """What the database says is ours and nobody of us does: the database was away when it ended."""
        async with self._db.connection() as conn:
            ours = await workers.taken_by(conn, worker_id)
        for place in ours:
            if place not in self._tasks:
                await self._duty.give_back(place, worker_id)

    async def _take_what_waits(self, worker_id: int) -> None:
        while True:
            self._wake.clear()
            while len(self._tasks) < self._slots and await self._take(worker_id):
                pass
            await self._wake.wait()

    async def _take(self, worker_id: int) -> bool:
        leave_alone = await self._duty.leave_alone()
        async with self._taking:
            taken = await self._db.retrying(partial(_claim, worker_id, leave_alone))
            if taken is None:
                return False
            task = asyncio.create_task(self._do(taken))
            self._tasks[taken.place] = task
            task.add_done_callback(partial(self._done, taken.place))
        return True

    async def _do(self, taken: Taken) -> None:
        with structlog.contextvars.bound_contextvars(run_id=taken.held.run_id, location=taken.location):
            await self._duty.do(taken)

    def _done(self, place: Place, task: asyncio.Task[None]) -> None:
        self._tasks.pop(place, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("task_failed", place=place, exc_info=task.exception())
        self._wake.set()


async def _claim(worker_id: int, leave_alone: Collection[str], conn: Connection) -> Taken | None:
    return await workers.claim(conn, worker_id, leave_alone=leave_alone)


async def _forever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Begin a loop anew whenever it fails, after a pause: the worker lives on."""
    pause = FIRST_PAUSE
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await loop()
        except StoreUnavailable as error:
            log.warning("store_unavailable", loop=name, reason=str(error))
        except Exception:
            log.exception("loop_failed", loop=name)
        pause = FIRST_PAUSE if asyncio.get_running_loop().time() - began > LOOK_EVERY else min(2 * pause, LONGEST_PAUSE)
        await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 # jitter, no secret
