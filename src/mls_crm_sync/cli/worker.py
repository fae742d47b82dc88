"""`mls-crm-sync worker`: reads what schedules and people ask for, together with any number of others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from .output import notice
from .session import on_a_loop

if TYPE_CHECKING:
    from mls_crm_sync.settings import Settings

log = structlog.get_logger()

SLOTS = 4
LONGEST_PAUSE = 30.0
"""Seconds before a worker that ended by itself is started again; doubled from one."""
GRACE = 15.0
"""Seconds that it has to give back what it reads."""


def worker(
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Locations read at a time.")] = SLOTS,
    beside: Annotated[bool, typer.Option("--beside", hidden=True, help="End when standard input does.")] = False,
) -> None:
    """Read locations of runs until told to stop; also look every minute what falls due."""
    from mls_crm_sync.settings import Settings

    on_a_loop(_worker(Settings(), jobs, beside=beside))


async def _worker(settings: Settings, slots: int, *, beside: bool) -> None:
    from mls_crm_sync import wiring

    wiring.calm_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # somebody said `nohup`
        loop.add_signal_handler(number, stop.set)
    if beside:
        threading.Thread(target=_stop_with_input, args=(loop, stop), daemon=True).start()
    async with wiring.open_worker(settings, slots=slots) as one:
        notice(f"reads up to {slots} locations at a time; SIGTERM ends it after the page under way")
        await one.run(stop)


def _stop_with_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Whoever started us holds the other end, and is gone, however it ended, when that closes."""
    # Not by `sys.stdin.buffer`: the interpreter's end would wait for its lock, and abort.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(stop.set)


@contextlib.asynccontextmanager
async def worker_beside(settings: Settings) -> AsyncIterator[None]:
    """Keep a worker running in a process of its own, over the same database; it ends with ours, however that ends."""
    task = asyncio.create_task(_keep_running(settings))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_running(settings: Settings) -> None:
    pause = 1.0
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mls_crm_sync", "worker", "--beside"),
            env=_environment(settings),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in our terminal is for us, and we tell it
        )
        try:
            code = await process.wait()
        finally:
            await asyncio.shield(_end(process))
        log.error("worker_ended", code=code, again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _environment(settings: Settings) -> dict[str, str]:
    """What our own says, and the database that we have: a sample's is not what the environment names."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if settings.database_url is not None:
        environment["DATABASE_URL"] = settings.database_url
    if settings.frequency is not None:
        environment["ACTIVE_PROPERTIES_SCRAPING_FREQUENCY"] = settings.frequency
    minutes = int(settings.minimum_interval.total_seconds() // 60)
    own = {"MLS_CRM_SYNC_HOME": str(settings.home), "MLS_CRM_SYNC_MINIMUM_INTERVAL_MINUTES": str(minutes)}
    return environment | own


async def _end(process: asyncio.subprocess.Process) -> None:
    """Tell it to stop, and wait until it has; no longer than it may take."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
