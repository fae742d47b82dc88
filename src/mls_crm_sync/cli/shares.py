"""The processes of `ingest --jobs`: each looks through the delivery, and takes in its share of it.

    with the run's process                     a share's process
    one line of JSON: the work             ->
                                           <-  {"ready": true}, once it has its database
    {"held": {...}}, when the run is made  ->
                                           <-  {"tally": {...}, "bytes_read": n}, page by page
                                           <-  {"tally": {...}, "error": {...} or null, "short": "..."},
                                               or {"failed": ...}

The end of its standard input is the end of a share's process: nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from mls_crm_sync.core.errors import RunLost, ShareFailed, SourceBroken, SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType

    from mls_crm_sync.store.database import Database
    from mls_crm_sync.store.runs import Hold
    from mls_crm_sync.sync.shares import Part, Progress

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; a tally names at most a few hundred members."""

STOP_TIMEOUT = 10.0
"""Seconds for a share's process to end in good order; a page is rolled back at once."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is read, and how: as the command line says it."""

    files: Sequence[str]
    source: str
    columns: str | None = None
    file_format: str | None = None
    time_zone: str | None = None


class Shares:
    """Processes that wait for a run, read it together, and are gone at the end, whatever happens."""

    def __init__(self, work: Work, jobs: int) -> None:
        self.source = work.source
        self._work = work
        self._jobs = jobs
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        try:
            for number in range(self._jobs):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                    limit=LONGEST_LINE,
                )  # fmt: skip
                self._processes.append(process)
                _tell(process, {**asdict(self._work), "number": number, "of": self._jobs})
            for process in self._processes:
                _raise_failure(await _hear(process))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def read(self, db: Database, held: Hold, progress: Callable[[Progress], None]) -> list[Part]:
        """Read the delivery for a run; nobody writes for it any more when this ends badly.

        Raises RunLost, ShareFailed.
        """
        from mls_crm_sync.sync.shares import Together

        together = Together(db, held, self._jobs, progress)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._follow(number, process, held, together))
                    for number, process in enumerate(self._processes)
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._stop()
        return [task.result() for task in tasks]

    async def _follow(
        self, number: int, process: asyncio.subprocess.Process, held: Hold, together: Any  # noqa: ANN401 # imported late
    ) -> Part:  # fmt: skip
        from mls_crm_sync.sync.shares import Part, Progress
        from mls_crm_sync.sync.tally import Tally

        _tell(process, {"held": asdict(held)})
        while True:
            said = await _hear(process)
            if said.get("failed") == RunLost.code:
                raise RunLost(held.run_id)
            _raise_failure(said)
            tally = Tally.of_dict(said["tally"])
            if "error" in said:
                return Part(tally, SourceBroken(**said["error"]) if said["error"] else None, said["short"])
            await together.hear(number, Progress(tally, said["bytes_read"]))

    async def _stop(self) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()


def _tell(process: asyncio.subprocess.Process, what: Mapping[str, Any]) -> None:
    if process.stdin is not None and not process.stdin.is_closing():  # one that has ended is found when it is heard
        process.stdin.write(json.dumps(what).encode() + b"\n")


async def _hear(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return what the process says next. Raises ShareFailed when it has ended instead."""
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line.endswith(b"\n"):
        raise ShareFailed(f"process {process.pid} ended with {await process.wait()}")
    said: dict[str, Any] = json.loads(line)
    return said


def _raise_failure(said: Mapping[str, Any]) -> None:
    if "failed" in said:
        raise ShareFailed(said["message"])


# In a share's own process.


def main() -> NoReturn:
    from mls_crm_sync import logs
    from mls_crm_sync.wiring import calm_collector

    from .session import on_a_loop

    logs.configure(os.environ.get("LOG_LEVEL") or "warning")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run's process; it ends us
    calm_collector()
    try:
        on_a_loop(_take_share())
    except SyncError as error:
        _say({"failed": error.code, "message": str(error)})
        sys.exit(1)
    except (asyncio.CancelledError, BrokenPipeError):
        os._exit(1)  # nobody reads what is left in our standard output
    sys.exit(0)


async def _take_share() -> None:
    from mls_crm_sync.settings import Settings
    from mls_crm_sync.store.runs import Hold
    from mls_crm_sync.sync.ingest import read_share
    from mls_crm_sync.sync.shares import Share
    from mls_crm_sync.wiring import open_database

    from .ingest import Delivery, reader_for
    from .options import zone

    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    work = json.loads(await lines.readline())
    columns = Path(work["columns"]) if work["columns"] else None
    share = Share(work["number"], work["of"])
    delivery = Delivery(work["files"], columns, work["file_format"], share.takes)
    reader = reader_for(work["source"], zone("--time-zone", work["time_zone"]))
    async with open_database(Settings(), max_size=4) as db:
        _say({"ready": True})
        line = await lines.readline()
        if not line:
            return
        held = Hold(**json.loads(line)["held"])
        async with aclosing(delivery.pages()) as pages, _while_somebody_waits(lines):
            part = await read_share(db, reader, pages, held, share, progress=_say_progress)
    broken = part.error
    error = {"reason": broken.reason, "detail": broken.detail, "hint": broken.hint} if broken else None
    _say({"tally": part.tally.as_dict(), "error": error, "short": part.short})


@asynccontextmanager
async def _while_somebody_waits(lines: asyncio.StreamReader) -> AsyncIterator[None]:
    """Cancel what is inside once nobody waits for it any more."""
    inside = asyncio.current_task()
    assert inside is not None  # noqa: S101 - we run in one

    async def watch() -> None:
        await lines.read()
        inside.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _say_progress(progress: Progress) -> None:
    _say({"tally": progress.tally.as_dict(), "bytes_read": progress.bytes_read})


def _say(what: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
