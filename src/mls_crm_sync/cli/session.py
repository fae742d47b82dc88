"""What every command that works on data needs: an event loop, and the database opened and closed around it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mls_crm_sync.store.database import Database
    from mls_crm_sync.sync.sealing import Sealer

T = TypeVar("T")


def with_database(work: Callable[[Database], Awaitable[T]], *, bulk: bool = False) -> T:
    """Open the database (the embedded one unless DATABASE_URL says otherwise), migrate it, and run `work` on it.

    `bulk`: it takes long, and gives way to what people wait for.
    """
    from mls_crm_sync.settings import Settings
    from mls_crm_sync.wiring import calm_collector, give_way, open_database

    async def run() -> T:
        task = asyncio.current_task()
        if task is not None:  # SIGTERM ends in good order, as Ctrl-C does: the run is written down, the server stopped
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with open_database(Settings()) as db:
            if bulk:
                give_way()  # not sooner: a server that was started for it would inherit that
            return await work(db)

    calm_collector()
    try:
        return on_a_loop(run())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


def on_a_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on an event loop of its own, the quicker one that is not Python's."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def sealer() -> Sealer:
    """What opens and seals the secrets of sources, by the keys in the environment."""
    from mls_crm_sync import wiring
    from mls_crm_sync.settings import Settings

    return wiring.sealer(Settings())


def stale_after() -> timedelta:
    from mls_crm_sync.settings import Settings

    return Settings().stale_after


def unsynced() -> tuple[str, ...]:
    """The fields that stay out of the CRM."""
    from mls_crm_sync.core.listing import Normaliser

    return Normaliser().unsynced
