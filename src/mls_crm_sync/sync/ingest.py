"""Ingest: read a source's pages to their end and bring every linked CRM property in step, page by page.

A run is made, claimed for the life of this process, and ended with what really happened: `succeeded` when everything
was read to the end, `partial` when the delivery broke after some of it was stored, `failed` when nothing was. What an
earlier process left running without a word is ended first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from mls_crm_sync.core.errors import RunLost, SourceBroken, SyncError
from mls_crm_sync.sources.base import Page
from mls_crm_sync.store import events, listings, quarantine, runs
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.quarantine import Broken

from .apply import Transaction
from .recognise import Batch, Incoming, Reader, checked_name, recognise
from .tally import Tally

log = structlog.get_logger()

CHANGED_PER_TRANSACTION = 500
"""Keeps the worst wait of an interactive writer near 60 ms (measured in the trials: 557 ms at 5,000)."""


@dataclass(frozen=True, slots=True)
class Progress:
    tally: Tally
    bytes_read: int  # of the delivery as it lies there, compressed or not


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What a run did. `error` is why the delivery could not be read to its end, or None."""

    run_id: int
    status: runs.RunStatus
    tally: Tally
    seconds: float
    error: SourceBroken | None = None


async def ingest(
    db: Database,
    reader: Reader,
    pages: AsyncIterator[Page],
    *,
    location: str,
    complete: bool = False,
    kind: runs.RunKind = "ingest",
    not_after: datetime | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> IngestResult:
    """Read `pages` into the database under `location` of the reader's source.

    `complete`: the sender says that the delivery holds all of the location; without it the pass proves no absence.
    `not_after`: the records are of that time, and listings that changed since are left alone.
    Raises RunLost when the run was given away or cancelled meanwhile, StoreUnavailable when the database is away.
    """
    began = time.monotonic()
    checked_name("location", location)
    async with _claimed_run(db, kind, reader.source, location) as held:
        writer = _PageWriter(db, reader, held, not_after)
        error: SourceBroken | None = None
        try:
            async for page in pages:
                await writer.write(page)
                progress(Progress(writer.tally, page.bytes_read))
        except SourceBroken as broken:
            error = broken
            log.warning("delivery_broken", run_id=held.run_id, reason=broken.reason)
        status = await _end(db, held, writer.tally, error, complete=complete)
    return IngestResult(held.run_id, status, writer.tally, time.monotonic() - began, error)


class _PageWriter:
    """Takes the pages of one run at one location into the database."""

    def __init__(self, db: Database, reader: Reader, held: runs.Hold, not_after: datetime | None) -> None:
        self._db = db
        self._reader = reader
        self._held = held
        self._not_after = not_after
        self._step = 0
        self.tally = Tally()

    async def write(self, page: Page) -> None:
        rejected = [Broken(r.position, r.reason, r.detail, r.data, is_record=False) for r in page.rejected]
        async for batch in recognise(self._db, self._reader, self._held.location_id, page.records):
            batch.broken += rejected
            rejected = []
            await self._write_batch(batch, page.checkpoint)

    async def _write_batch(self, batch: Batch, checkpoint: object) -> None:
        """In several transactions where much has changed; the last one notes the batch as done."""
        *first, last = _chunks(batch.incoming)
        for chunk in first:
            self.tally.add(await self._db.retrying(partial(self._apply, chunk)))
        self._step += 1
        self.tally.add(await self._db.retrying(partial(self._apply_last, batch, last, checkpoint)))

    async def _apply(self, chunk: Sequence[Incoming], conn: Connection) -> Tally:
        await runs.hold(conn, self._held)
        applied = await self._transaction(conn).apply(chunk, not_after=self._not_after)
        await listings.add_to_location(conn, self._held.location_id, [i.property_id for i in chunk])
        await events.append(conn, applied.events)
        return applied.tally

    async def _apply_last(self, batch: Batch, chunk: Sequence[Incoming], checkpoint: object, conn: Connection) -> Tally:
        held = self._held
        await runs.hold(conn, held)
        applied = await self._transaction(conn).apply(chunk, batch.clocks, not_after=self._not_after)
        await listings.add_to_location(conn, held.location_id, batch.elsewhere)
        await quarantine.put(conn, held.location_id, held.run_id, batch.broken, again=held.kind == "retry")
        broken = Tally(read=len(batch.broken), quarantined=len(batch.broken))
        tally = applied.tally.plus(batch.tally).plus(broken)
        counts = self.tally.plus(tally).as_dict()
        await runs.advance(conn, held, page=self._step, keys=batch.shown, checkpoint=checkpoint, counts=counts)
        await events.append(conn, applied.events)
        return tally

    def _transaction(self, conn: Connection) -> Transaction:
        return Transaction(conn, self._reader, run_id=self._held.run_id, location_id=self._held.location_id)


def _chunks(incoming: Sequence[Incoming]) -> list[Sequence[Incoming]]:
    """At least one chunk, so that the last one always is there to end the batch."""
    size = CHANGED_PER_TRANSACTION
    return [incoming[at : at + size] for at in range(0, len(incoming), size)] or [()]


async def end_abandoned(db: Database) -> None:
    """End the runs whose process is gone as failed, `abandoned`, each in a transaction of its own."""
    async with db.connection() as conn:
        running = await runs.running(conn)
    for run_id in running:
        if await db.retrying(partial(_abandon, run_id)):
            log.warning("run_abandoned", run_id=run_id)


async def _abandon(run_id: int, conn: Connection) -> bool:
    return await runs.abandon(conn, run_id)


@asynccontextmanager
async def _claimed_run(db: Database, kind: runs.RunKind, source: str, location: str) -> AsyncIterator[runs.Hold]:
    """Make a run whose life lock this process holds; whatever goes wrong inside is written down as its end."""
    async with db.connection() as life:
        await end_abandoned(db)
        async with life.transaction():
            held = await runs.start(life, kind, source, location)
            await runs.claim(life, held.run_id)
        log.info("run_started", run_id=held.run_id, source=source, location=location)
        try:
            yield held
        except RunLost:
            raise
        except SyncError as error:
            await _try_to_fail(db, held, error.code, str(error))
            raise
        except asyncio.CancelledError:
            await _try_to_fail(db, held, "interrupted", "stopped before the delivery was read to its end")
            raise


async def _try_to_fail(db: Database, held: runs.Hold, code: str, detail: str) -> None:
    """Write the failure down if the database lets us; if not, the next start ends the run as abandoned."""
    with suppress(SyncError):
        async with db.transaction() as conn:
            await runs.hold(conn, held)
            if held.pass_id is not None:
                await runs.end_pass(conn, held.pass_id, held.location_id, "partial", None)
            counts = await runs.counts(conn, held)
            status: runs.RunStatus = "partial" if counts.get("read") else "failed"
            await runs.finish(conn, held, status, counts, error=(code, detail))


async def _end(
    db: Database, held: runs.Hold, tally: Tally, error: SourceBroken | None, *, complete: bool
) -> runs.RunStatus:
    """End the pass and the run; the tally's changes are replaced by what the history says."""
    outcome, evidence = _pass_outcome(tally, error, complete=complete)
    async with db.transaction() as conn:
        await runs.hold(conn, held)
        if held.pass_id is not None:
            await runs.end_pass(conn, held.pass_id, held.location_id, outcome, evidence)
        tally.changes = Counter(await runs.totals(conn, held.run_id))
        status = _status(tally, error)
        reason = (error.reason, error.detail) if error else None
        await runs.finish(conn, held, status, tally.as_dict(), error=reason)
    log.info("run_ended", run_id=held.run_id, status=status, read=tally.read)
    return status


def _pass_outcome(tally: Tally, error: SourceBroken | None, *, complete: bool) -> tuple[runs.PassOutcome, str | None]:
    """A record that could not be read may be any listing: a pass with one proves nobody's absence."""
    if error:
        return "broken", error.detail
    if not complete:
        return "unproven", None
    if not tally.read:
        return "unproven", "declared complete, but it held no record at all"
    if tally.quarantined:
        return "unproven", f"declared complete, but {tally.quarantined} of its records could not be read"
    return "complete", "the sender declared the delivery complete"


def _status(tally: Tally, error: SourceBroken | None) -> runs.RunStatus:
    """Quarantined records do not fail a run that was read to its end; its counts and the quarantine tell of them."""
    stored_any = tally.read > tally.quarantined
    if error:
        return "partial" if stored_any else "failed"
    return "failed" if tally.quarantined and not stored_any else "succeeded"
