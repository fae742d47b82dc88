"""What every command that works on data needs: an event loop, and the database opened and closed around it."""

from __future__ import annotations

import asyncio
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
        async with open_database(Settings()) as db:
            return await work(db)

    return asyncio.run(run())


def stale_after() -> timedelta:
    from mls_crm_sync.settings import Settings

    return Settings().stale_after


def unsynced() -> tuple[str, ...]:
    """The fields that stay out of the CRM."""
    from mls_crm_sync.core.listing import Normaliser

    return Normaliser().unsynced
