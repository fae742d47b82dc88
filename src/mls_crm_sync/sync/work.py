"""What a worker does: reads a location that it has taken, sees to what others left, and looks what falls due."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import structlog

from mls_crm_sync.core.errors import RunLost, SecretSealed, StoreUnavailable, SyncError
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import events, places, runs, workers
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.runs import LocationEnd, PassEnd
from mls_crm_sync.store.workers import Place, Taken

from . import absence
from .finishing import end_run_if_done
from .ingest import try_to_fail
from .passes import look_up_taken, read_taken
from .schedules import tick
from .sealing import Sealer
from .sources import opened, sealed_away

log = structlog.get_logger()

MOST_STARTS = 3
"""A location that took so many workers along is not begun again."""


@dataclass(frozen=True, slots=True)
class Work:
    """The duty of a worker (`jobs.worker.Duty`)."""

    db: Database
    normaliser: Normaliser
    sealer: Sealer

    async def do(self, taken: Taken) -> None:
        """Read what was taken; however it ends is written down. Cancelled, it is given back."""
        try:
            await self._read(taken)
        except RunLost:
            log.info("location_lost")  # cancelled, or given to somebody else while we were not seen
        except (StoreUnavailable, SecretSealed) as error:
            log.warning("location_left", reason=str(error))  # it is still ours, and given back at the next look
        except SyncError as error:
            await try_to_fail(self.db, taken.held, error.code, str(error), error.hint)
        except Exception as bug:
            log.exception("location_failed")
            await try_to_fail(self.db, taken.held, "internal", f"a bug: {type(bug).__name__}")

    async def _read(self, taken: Taken) -> None:
        config = taken.config
        delay = config["request_delay"]
        async with opened(self.db, self.sealer, taken.source, self.normaliser, request_delay=delay) as one:
            if taken.task == "read":
                await read_taken(self.db, one.reader, one.source, taken.location, taken.held, limit=config["limit"])
                return
            async with self.db.connection() as conn:
                wanted = await places.unseen(
                    conn,
                    config["crm_status"],
                    config["filters"],
                    source=taken.source,
                    run_id=taken.held.run_id,
                    since=taken.run_started_at,
                    limit=config["limit"],
                )
            await look_up_taken(self.db, one.reader, one.source, taken.held, wanted)

    async def recover(self, place: Place) -> None:
        """Let what an unseen worker has wait again; end it where it was begun too often."""
        await self.db.retrying(partial(self._recover, place))

    async def _recover(self, place: Place, conn: Connection) -> None:
        starts = await workers.lock_orphan(conn, place)
        if starts is None:
            return
        log.warning("location_recovered", run_id=place.run_id, location_id=place.location_id, starts=starts)
        if starts < MOST_STARTS:
            await workers.give_back(conn, place)
            await workers.ring(conn)
            return
        told: list[Event] = []
        open_one = await runs.open_location(conn, *place)
        if open_one.pass_id is not None:
            abandoned = PassEnd("abandoned")
            _, told = await absence.end_pass(conn, open_one.pass_id, place.location_id, abandoned, place.run_id)
        detail = f"its worker ended without a word {starts} times; what was stored stays"
        error = ("worker_killed", detail, "look at the workers' log: memory, or a bug")
        end = LocationEnd("failed", open_one.counts, "abandoned", error=error)
        await runs.end_location(conn, *place, end, lost=True)
        await end_run_if_done(conn, place.run_id)
        await events.append(conn, told)

    async def give_back(self, place: Place, worker_id: int) -> None:
        """Let something of a worker that was stopped, or that had no database, wait again."""
        await self.db.retrying(partial(_give_back, place, worker_id))

    async def every_minute(self) -> None:
        await tick(self.db)

    async def leave_alone(self) -> Collection[str]:
        return await sealed_away(self.db, self.sealer)


async def _give_back(place: Place, worker_id: int, conn: Connection) -> None:
    if await workers.give_back(conn, place, worker_id=worker_id, blameless=True):
        await workers.ring(conn)
