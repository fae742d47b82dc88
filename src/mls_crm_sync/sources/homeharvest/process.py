"""The library in a process of its own: given tasks one by one, watched, and killed when nobody wants it any more.

HomeHarvest sets no time-out and returns nothing before it has everything. Here whoever asks gets each answer of the
site as it comes, already judged; the library gets it when that one has been taken. Its process has no secrets and no
proxies in its environment, bounded memory, and ends by itself when ours has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import structlog

from mls_crm_sync.core.errors import SourceBroken, SourceUnavailable

from .answers import SUGGESTIONS, Answered, asked_in
from .relay import relaying

log = structlog.get_logger()

PATIENCE = 60.0
"""Seconds that the library may do nothing at all: neither ask, nor wait for an answer, nor come to its end."""
_STDERR_KEPT = 2000
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")
_OF_ITS_OWN = {
    "OPENBLAS_NUM_THREADS": "1",  # each thread reserves memory, and nothing here computes
    "PYTHONUNBUFFERED": "1",
}

Asks: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[bytes]]
"""Sends a request of the library's to the site. Raises SourceBroken and what is below it."""


class Returned(NamedTuple):
    """What the library returned for a task in the end: so many homes, with these keys (`child.digest`)."""

    rows: int
    keys: str


Task: TypeAlias = Mapping[str, Any]
"""As child.py reads it."""


def installed() -> bool:
    """Whether the library can be had."""
    return importlib.util.find_spec("homeharvest") is not None


@dataclass(slots=True)
class Library:
    """The library, at work. One task at a time."""

    _process: asyncio.subprocess.Process
    _events: asyncio.Queue[Answered | Mapping[str, Any] | BaseException]
    _relay: _Relay
    _patience: float

    async def ready(self) -> None:
        """Wait until it is. Raises SourceBroken, SourceUnavailable."""
        event = await self._next()
        if not isinstance(event, Mapping) or event.get("ready") is not True:
            raise SourceBroken("library_failed", f"HomeHarvest began with {event!r:.200}", hint=_INSTALL)

    async def do(self, task: Task) -> AsyncGenerator[Answered | Returned, None]:
        """Yield what the site answers on the way, and last what the library returned.

        Raises what asking the site raises, SourceBroken where the library fails, SourceUnavailable where it stalls.
        """
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        while True:
            event = await self._next()
            if isinstance(event, Answered):
                yield event
                continue
            if "error" in event:
                raise SourceBroken("library_failed", f"HomeHarvest failed: {event['error']}", hint=_REPORT)
            yield Returned(event["rows"], event["keys"])
            return

    async def _next(self) -> Answered | Mapping[str, Any]:
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    event = await self._events.get()
                break
            except TimeoutError:
                if not self._relay.asking:  # waiting for its turn or for the site has its own bounds
                    detail = f"HomeHarvest has done nothing for {self._patience:g} s, and was ended"
                    raise SourceUnavailable("library_stalled", detail, hint=_REPORT) from None
        if isinstance(event, BaseException):
            raise event
        return event


@contextlib.asynccontextmanager
async def library(asks: Asks, *, patience: float = PATIENCE) -> AsyncIterator[Library]:
    """Lend the library in a process that ends with the block, however that ends.

    Raises SourceBroken where it is not installed or does not start, SourceUnavailable where that takes too long.
    """
    if not installed():
        raise SourceBroken("not_installed", "HomeHarvest is not installed", hint=_INSTALL)
    events: asyncio.Queue[Answered | Mapping[str, Any] | BaseException] = asyncio.Queue(maxsize=1)
    relay = _Relay(asks, events)
    async with relaying(relay.answer) as address, _process(address) as process:
        listening = asyncio.ensure_future(_listen(process, events))
        try:
            one = Library(process, events, relay, patience)
            await one.ready()
            yield one
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@contextlib.asynccontextmanager
async def _process(address: str) -> AsyncIterator[asyncio.subprocess.Process]:
    program = f"{__package__}.child"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", program, address,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _OF_ITS_OWN,
        start_new_session=True,  # Ctrl-C is for us, who then end it
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.communicate())


async def _listen(process: asyncio.subprocess.Process, events: asyncio.Queue[Any]) -> None:
    """Hand on what the process says, and that it has ended."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - they are pipes
    stderr = asyncio.ensure_future(_tail(process.stderr))
    try:
        async for line in process.stdout:
            await events.put(json.loads(line))
        told = (await stderr).decode("utf-8", "replace").strip()
        log.warning("homeharvest_ended", stderr=told)
        last = told.rpartition("\n")[2] or f"exit status {await process.wait()}"
        await events.put(SourceBroken("library_ended", f"HomeHarvest's process has ended: {last}", hint=_REPORT))
    except asyncio.CancelledError:
        stderr.cancel()
        await asyncio.gather(stderr, return_exceptions=True)
        raise


async def _tail(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while part := await stream.read(4096):
        kept = (kept + part)[-_STDERR_KEPT:]
    return kept


class _Relay:
    """Answers the library by the site's answers; after one that is none there are no more."""

    def __init__(self, asks: Asks, events: asyncio.Queue[Any]) -> None:
        self._asks = asks
        self._events = events
        self._areas: dict[bytes, bytes] = {}  # the library asks for the area again with each search
        self._ended = False
        self.asking = 0

    async def answer(self, body: bytes, headers: Mapping[str, str]) -> bytes | None:
        if self._ended:
            return None
        self.asking += 1
        try:
            answered = await self._answered(body, headers)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._ended = True
            await self._events.put(error)
            return None
        finally:
            self.asking -= 1
        await self._events.put(answered)
        return answered.body

    async def _answered(self, body: bytes, headers: Mapping[str, str]) -> Answered:
        asked = asked_in(body)
        if asked.operation != SUGGESTIONS:
            return Answered(asked, await self._asks(body, headers))
        if body not in self._areas:
            self._areas[body] = await self._asks(body, headers)
        return Answered(asked, self._areas[body])


_INSTALL = "install it: `pip install 'mls-crm-sync[homeharvest]'`, or in a checkout `make homeharvest`"
_REPORT = "look at the log; where it stays, look whether the release that was tried is installed: homeharvest 0.8.18"
