"""A connection of a test's own, closed at its end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from mls_crm_sync.store.database import Connection, connect


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    conn = await connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()
