"""What every command that works on data needs: an event loop, and the database opened and closed around it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mls_crm_sync.store.database import Database

T = TypeVar("T")


def with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    """Open the database (the embedded one unless DATABASE_URL says otherwise), migrate it, and run `work` on it."""
    from mls_crm_sync.settings import Settings
    from mls_crm_sync.wiring import open_database

    async def run() -> T:
        task = asyncio.current_task()
        if task is not None:  # SIGTERM ends in good order, as Ctrl-C does: the run is written down, the server stopped
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with open_database(Settings()) as db:
            return await work(db)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


def stale_after() -> timedelta:
    from mls_crm_sync.settings import Settings

    return Settings().stale_after


def unsynced() -> tuple[str, ...]:
    """The fields that stay out of the CRM."""
    from mls_crm_sync.core.listing import Normaliser

    return Normaliser().unsynced
