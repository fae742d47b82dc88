"""A worker's heartbeat: its lease, renewed from a thread and a connection of its own.

The event loop may be busy with a large page for seconds, and the pool with locks; neither makes a living worker look
dead. A stopped process stops its thread too.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

import structlog

from mls_crm_sync.core.errors import SyncError
from mls_crm_sync.store import workers
from mls_crm_sync.store.database import Connection, connect, translated

log = structlog.get_logger()

EVERY = 3.0
"""Seconds; five beats are a lease."""
PATIENCE = 5.0
"""Seconds that one beat may take before its connection is given up."""


class Heartbeat:
    """Beats for as long as it is entered."""

    def __init__(self, dsn: str, worker_id: int, *, every: float = EVERY) -> None:
        self._dsn = dsn
        self._worker_id = worker_id
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE + self._every)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            conn: Connection | None = None
            while not self._stopped.wait(self._every):
                conn = runner.run(self._beat(conn))
            if conn is not None:
                conn.terminate()

    async def _beat(self, conn: Connection | None) -> Connection | None:
        """Beat once; return the connection to beat with next time, None where it is lost."""
        try:
            async with asyncio.timeout(PATIENCE):
                with translated():
                    conn = conn or await connect(self._dsn)
                    await workers.beat(conn, self._worker_id)
        except (SyncError, TimeoutError) as error:
            log.warning("heartbeat_missed", worker_id=self._worker_id, reason=str(error) or type(error).__name__)
            if conn is not None:
                conn.terminate()
            return None
        return conn
