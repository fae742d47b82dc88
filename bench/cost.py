"""Processor time over a while: of our processes, of PostgreSQL, and of whoever else disturbs the measurement."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import asyncpg
import psutil


class Cost:
    """What has been spent since this was made."""

    def __init__(self, pids: Mapping[str, int], postmaster: int) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._postmaster = psutil.Process(postmaster)
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        spent = {name: sum(p.cpu_times()[:2]) for name, p in self._processes.items()}
        spent["PostgreSQL"] = sum(self._postmaster.cpu_times()[:4])  # with those of its children that have ended
        for child in self._postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                spent["PostgreSQL"] += sum(child.cpu_times()[:2])
        machine = psutil.cpu_times()
        return spent | {"others": machine.user + machine.nice + machine.system - sum(spent.values())}

    def spent(self) -> dict[str, float]:
        """Return seconds of a core, by name; `others` are of no process that was named, nor of PostgreSQL."""
        now = self._now()
        return {name: now[name] - self._before[name] for name in now}

    def since(self, seconds: float) -> str:
        told = ", ".join(f"{name} {spent / seconds:.2f}" for name, spent in self.spent().items())
        return f"cores in use: {told}"


async def postmaster(dsn: str) -> int:
    """Return the pid of the server, which has to be on this machine."""
    conn = await asyncpg.connect(dsn)
    try:
        lock_file = await conn.fetchval("SELECT pg_read_file('postmaster.pid')")
    finally:
        await conn.close()
    return int(lock_file.split()[0])


def of_this_process(pid_of_server: int) -> Cost:
    """The cost of the measuring process itself beside its server."""
    return Cost({"ours": os.getpid()}, pid_of_server)
