"""Ingest: read a source's pages to their end and bring every linked CRM property in step, page by page.

A run is made, claimed for the life of this process, and ended with what really happened: `succeeded` when everything
was read to the end, `partial` when the delivery broke after some of it was stored, `failed` when nothing was. What an
earlier process left running without a word is ended first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Self, TypeAlias

import structlog

from mls_crm_sync.core.errors import RunLost, SourceBroken, SyncError
from mls_crm_sync.sources.base import Page
from mls_crm_sync.store import crm_properties, events, listings, quarantine, runs
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.listings import StoredListing
from mls_crm_sync.store.quarantine import Broken
from mls_crm_sync.store.runs import LocationEnd, PassEnd

from . import absence
from .absence import NO_LOOK_UP, LookUp, Settled
from .apply import NONE_LOCKED, Transaction
from .finishing import end_location
from .reader import Fresh, Incoming, Reader, checked_name
from .recognise import Batch, Looked, Sighted, look_ahead, recognise, recognise_locked, sight_few
from .scope import WORTH_IT_AFTER, Scope
from .shares import ALL, Part, Progress, Share, sum_of
from .tally import Tally

log = structlog.get_logger()

CHANGED_PER_TRANSACTION = 300
LINKED_PER_TRANSACTION = 100
"""CRM properties of changed listings: whoever edits one waits for the transaction. The p99 of mixed requests beside a
bulk load was 121 ms at 500 and 71 to 98 ms at 100 (bench/load.py)."""


SHOWS_SINGLY: frozenset[runs.RunKind] = frozenset({"push", "look_up"})
"""The kinds of runs without a pass whose records are of now: what they show is there."""

FEW = 10
"""Listings of a page: a push, or a source that hands out what has just changed."""


Proof: TypeAlias = Callable[[Tally, str], PassEnd]
"""Asked when a delivery was read to its end, with what came of it and with why it cannot be all (empty: no reason)."""


@dataclass(slots=True)
class IngestResult:
    """What a run did. `error` is why the delivery could not be read to its end, or None."""

    run_id: int
    status: runs.RunStatus
    tally: Tally
    seconds: float
    end: PassEnd
    error: SourceBroken | None = None
    short: str = ""  # why the delivery cannot be all of the location, by its own word
    settled: Settled = field(default_factory=Settled)  # what followed from a complete pass


async def ingest(
    db: Database,
    reader: Reader,
    pages: AsyncIterator[Page],
    *,
    location: str,
    complete: bool = False,
    proof: Proof | None = None,
    look_up: LookUp = NO_LOOK_UP,
    kind: runs.RunKind = "ingest",
    not_after: datetime | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> IngestResult:
    """Read `pages` into the database under `location` of the reader's source.

    `complete`: the sender says that the delivery holds all of the location; without it the pass proves no absence.
    `proof`: who says at the end how it ended, where that is not the sender. `look_up`: who is asked for listings that
    complete passes did not show.
    `not_after`: the records are of that time, and listings that changed since are left alone.
    Raises RunLost when the run was given away or cancelled meanwhile, StoreUnavailable when the database is away.
    """

    async def read(held: runs.Hold) -> list[Part]:
        return [await read_share(db, reader, pages, held, not_after=not_after, progress=progress)]

    return await ingest_by(
        db, reader.source, location, read, complete=complete, proof=proof, look_up=look_up, kind=kind
    )


async def ingest_by(
    db: Database,
    source: str,
    location: str,
    read: Callable[[runs.Hold], Awaitable[Sequence[Part]]],
    *,
    complete: bool = False,
    proof: Proof | None = None,
    look_up: LookUp = NO_LOOK_UP,
    kind: runs.RunKind = "ingest",
    resume: bool = False,
) -> IngestResult:
    """Make a run and let `read` take a delivery in for it, in this process or by others; it returns every share's part.

    `resume`: go on with a run of the location whose process is gone, if there is one; `read` is told by its hold.

    Raises as `ingest` does, and whatever `read` raises.
    """
    checked_name("location", location)
    async with claimed_run(db, kind, source, location, resume=resume) as held:
        result = await ingest_held(db, held, read, complete=complete, proof=proof)
    if result.end.outcome == "complete":
        result.settled = await absence.settle(db, source, look_up)
    return result


async def ingest_held(
    db: Database,
    held: runs.Hold,
    read: Callable[[runs.Hold], Awaitable[Sequence[Part]]],
    *,
    complete: bool = False,
    proof: Proof | None = None,
) -> IngestResult:
    """Let `read` take a delivery in for a run that is held, and end the run at its location. What follows from a
    complete pass is left to the caller. Raises as `ingest` does, and whatever `read` raises.
    """
    began = time.monotonic()
    parts = await read(held)
    tally = sum_of(part.tally for part in parts)
    error = next((part.error for part in parts if part.error), None)
    short = next((part.short for part in parts if part.short), "")
    end = (proof or _declared(complete=complete))(tally, short)
    if error is not None:
        end = end._replace(outcome=error.outcome, evidence=error.detail)
    status, end = await _end(db, held, tally, error, end)
    return IngestResult(held.run_id, status, tally, time.monotonic() - began, end, error, short)


async def read_share(
    db: Database,
    reader: Reader,
    pages: AsyncIterator[Page],
    held: runs.Hold,
    share: Share = ALL,
    *,
    not_after: datetime | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Part:
    """Read pages of our share into the database, for a run that somebody has made.

    Raises RunLost when it was given away or has ended, StoreUnavailable when the database is away.
    """
    error: SourceBroken | None = None
    short = ""
    async with _PageWriter(db, reader, held, share, not_after=not_after, progress=progress) as writer:
        try:
            async for page in pages:
                short = page.short
                await writer.take(page)
        except SourceBroken as broken:
            error = broken.with_traceback(None)  # with its frames all that was read of a page would stay in memory
            error.__context__ = error.__cause__ = None
            log.warning("delivery_broken", run_id=held.run_id, reason=broken.reason)
        await writer.finish()
    return Part(writer.tally, error, short)


class _PageWriter:
    """Takes the pages of one run at one location into the database, in their order.

    A page is written while the next one is read and looked at: the database and we work at the same time.
    """

    def __init__(
        self,
        db: Database,
        reader: Reader,
        held: runs.Hold,
        share: Share,
        *,
        not_after: datetime | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self._db = db
        self._reader = reader
        self._held = held
        self._share = share
        self._not_after = not_after
        self._progress = progress
        self._has_set_aside: bool | None = None  # by an earlier run; asked once
        self._step = held.begun.pages if held.begun else 0
        self._writing: asyncio.Task[None] | None = None
        self._seen = 0  # records
        self._has_asked = False
        self._reading: asyncio.Task[Scope | None] | None = None  # of the scope
        self._scope: Scope | None = None
        self._is_news = False  # most of the page before
        self._written: Collection[str] = frozenset()  # listings of the page that is being written
        self.tally = Tally.of_dict(held.begun.counts) if held.begun else Tally()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing of ours goes on once somebody has left: what is half written is rolled back."""
        ours = [task for task in (self._reading, self._writing) if task is not None]
        for task in ours:
            task.cancel()  # which does nothing to one that is done
        await asyncio.gather(*ours, return_exceptions=True)

    async def take(self, page: Page) -> None:
        """Look at a page, and begin to write it once the page before is written."""
        if len(page.records) <= FEW and (few := sight_few(self._reader, page.records)) is not None:
            await self.finish()
            self._writing = asyncio.create_task(self._write_few(page, few))
            self._written = few.keys()
            return
        looked = await self._look(page)
        await self.finish()
        self._writing = asyncio.create_task(self._write(page, looked, self._written))
        self._written = looked.ids

    async def _look(self, page: Page) -> Looked:
        scope = self._known_of_location() if len(page.records) > FEW else None
        place, news = self._held.location_id, self._is_news
        looked = await look_ahead(self._db, self._reader, place, page.records, scope, is_news=news)
        self._is_news = looked.is_news()
        self._seen += len(page.records)
        if self._seen >= WORTH_IT_AFTER and not self._has_asked:
            self._has_asked = True
            self._reading = asyncio.create_task(Scope.read(self._db, place, self._reader.normaliser.version))
        return looked

    def _known_of_location(self) -> Scope | None:
        """What was read of a long delivery's location, once it is there and as long as it helps: without it a page asks
        for what it shows.
        """
        if self._reading is not None and self._reading.done():
            self._scope, self._reading = self._reading.result(), None
        elif self._scope is not None and self._scope.is_worn_out():
            self._scope = None
        return self._scope

    async def finish(self) -> None:
        """Wait until the pages that were taken are written. Raises what writing them raised."""
        if self._writing is not None:
            await self._writing

    async def _write_few(self, page: Page, few: Sighted) -> None:
        """Listings that are stored are looked at under their locks: nothing is asked before, and all that is to be
        known comes with them.
        """
        await self._look_for_set_aside()
        step = self._step + 1
        tally = await self._db.retrying(partial(self._apply_few, few, page, step))
        if tally is None:
            await self._write(page, await self._look(page), ())
            return
        self._step = step
        self.tally.add(tally)
        self._progress(Progress(self.tally, page.bytes_read))

    async def _write(self, page: Page, looked: Looked, written: Collection[str]) -> None:
        await self._look_for_set_aside()
        rejected = _rejected(page)
        async for batch in recognise(self._db, self._reader, self._held.location_id, looked, written):
            batch.broken += rejected
            rejected = []
            await self._write_batch(batch, page)
        self._progress(Progress(self.tally, page.bytes_read))

    async def _look_for_set_aside(self) -> None:
        """Once. A retry reads what is old: it closes what it was given and nothing else."""
        if self._has_set_aside is None and self._held.kind == "retry":
            self._has_set_aside = False
        elif self._has_set_aside is None:
            async with self._db.connection() as conn:
                self._has_set_aside = await quarantine.has_open(conn, self._reader.source)

    async def _write_batch(self, batch: Batch, page: Page) -> None:
        """In several transactions where much has changed; the last one notes the batch as done."""
        *first, last = await self._chunks(batch)
        if batch.incoming and len(batch.fresh) > CHANGED_PER_TRANSACTION:
            self.tally.add(await self._db.retrying(partial(self._apply, batch, (), batch.fresh)))
            batch.fresh = []
        for chunk in first:
            self.tally.add(await self._db.retrying(partial(self._apply, batch, chunk, ())))
        self._step += 1
        self.tally.add(await self._db.retrying(partial(self._apply_last, batch, last, page, self._step)))

    async def _chunks(self, batch: Batch) -> list[list[Incoming]]:
        """At least one chunk, so that the last one always is there to end the batch.

        Whoever edits a CRM property waits for the transaction that changes its listing, so those are small; listings
        that nobody has yet make nobody wait.
        """
        linked: Mapping[str, int] = {}
        if len(batch.incoming) > LINKED_PER_TRANSACTION:
            async with self._db.connection() as conn:
                linked = await crm_properties.count_by_listing(conn, [i.property_id for i in batch.incoming])
        chunks: list[list[Incoming]] = [[]]
        crm_rows = 0
        for incoming in batch.incoming:
            crm_rows += linked.get(incoming.property_id, 0)
            full = len(chunks[-1]) == CHANGED_PER_TRANSACTION or crm_rows > LINKED_PER_TRANSACTION
            if chunks[-1] and full:
                chunks.append([])
                crm_rows = linked.get(incoming.property_id, 0)
            chunks[-1].append(incoming)
        return chunks

    async def _apply(self, batch: Batch, chunk: Sequence[Incoming], fresh: Sequence[Fresh], conn: Connection) -> Tally:
        await self._hold(conn)
        applied = await self._transaction(conn).apply(chunk, fresh=fresh, not_after=self._not_after)
        ids = _ids(chunk, fresh)
        await self._add_to_location(conn, sorted(ids.intersection(batch.elsewhere)), applied.new)
        await self._close_set_aside(conn, ids - applied.older)
        await events.append(conn, applied.events)
        return applied.tally  # only records that are known can turn out broken: none are here

    async def _apply_few(self, few: Sighted, page: Page, step: int, conn: Connection) -> Tally | None:
        """None where one of the listings is not stored: whoever inserts takes no lock before."""
        await self._hold(conn, few=True)
        locked = await listings.lock_stored(conn, self._reader.normaliser.version, few)
        if len(locked) < len(few):
            return None
        batch = recognise_locked(self._reader, self._held.location_id, few, locked)
        batch.broken += _rejected(page)
        return await self._end_batch(conn, batch, batch.incoming, page, step=step, locked=locked)

    async def _apply_last(
        self, batch: Batch, chunk: Sequence[Incoming], page: Page, step: int, conn: Connection
    ) -> Tally:
        await self._hold(conn, few=len(batch.shown) <= FEW)
        return await self._end_batch(conn, batch, chunk, page, step=step)

    async def _end_batch(
        self,
        conn: Connection,
        batch: Batch,
        chunk: Sequence[Incoming],
        page: Page,
        *,
        step: int,
        locked: Mapping[str, StoredListing] = NONE_LOCKED,
    ) -> Tally:
        """Apply what is left of a batch and note it as done: its `step`, which is not the page's number."""
        held = self._held
        returned: Sequence[str] = ()
        if held.kind in SHOWS_SINGLY and len(batch.shown) > len(batch.fresh):  # of new listings nothing is noted
            returned = await absence.shown_singly(conn, batch.shown)
        applied = await self._transaction(conn).apply(
            chunk, batch.known, fresh=batch.fresh, locked=locked, not_after=self._not_after
        )
        await self._add_to_location(conn, batch.elsewhere, applied.new)
        await self._close_set_aside(conn, (batch.told | _ids(chunk, batch.fresh)) - applied.older)
        set_aside = batch.broken + applied.broken
        await quarantine.put(conn, held.location_id, held.run_id, page.origin, set_aside, again=held.kind == "retry")
        tally = applied.tally
        tally.add(batch.tally)
        tally.set_aside(len(set_aside))
        number = (step - 1) * self._share.of + self._share.number + 1  # through all shares
        if self._share == ALL:
            counts = self.tally.plus(tally).as_dict()
            await runs.advance(conn, held, page=number, keys=batch.shown, checkpoint=page.checkpoint, counts=counts)
        else:
            await runs.show(conn, held, page=number, keys=batch.shown)
        await events.append(conn, [*applied.events, *absence.returning(returned, held.run_id)])
        return tally

    async def _hold(self, conn: Connection, *, few: bool = False) -> None:
        await runs.hold(conn, self._held, alone=self._share == ALL, few=few)

    async def _add_to_location(self, conn: Connection, property_ids: Sequence[str], new: frozenset[str]) -> None:
        place, by_pass = self._held.location_id, self._held.kind not in SHOWS_SINGLY
        before = [an_id for an_id in property_ids if an_id not in new]
        await listings.add_to_location(conn, place, before, by_pass=by_pass)
        await listings.add_new_to_location(conn, place, new.intersection(property_ids), by_pass=by_pass)

    async def _close_set_aside(self, conn: Connection, read: Collection[str]) -> None:
        """What was set aside of a listing is of the past once a record of it, and no older one, could be read."""
        if self._has_set_aside:
            await quarantine.resolve_read(conn, sorted(read), self._held.run_id)

    def _transaction(self, conn: Connection) -> Transaction:
        return Transaction(conn, self._reader, run_id=self._held.run_id, location_id=self._held.location_id)


def _rejected(page: Page) -> list[Broken]:
    return [Broken(r.position, r.reason, r.detail, r.data, is_record=False) for r in page.rejected]


def _ids(incoming: Sequence[Incoming], fresh: Sequence[Fresh]) -> set[str]:
    return {i.property_id for i in incoming} | {f.property_id for f in fresh}


async def end_abandoned(db: Database) -> None:
    """End the runs whose process is gone as failed, `abandoned`, each in a transaction of its own."""
    async with db.connection() as conn:
        running = await runs.running(conn)
    for run_id in running:
        if await db.retrying(partial(_abandon, run_id)):
            log.warning("run_abandoned", run_id=run_id)


async def _abandon(run_id: int, conn: Connection) -> bool:
    places = await runs.lock_abandoned(conn, run_id)
    if places is None:
        return False
    told: list[Event] = []
    for place in places:
        if place.pass_id is not None:
            _, back = await absence.end_pass(conn, place.pass_id, place.location_id, PassEnd("abandoned"), run_id)
            told += back
    await runs.give_up(conn, run_id, places)
    await events.append(conn, told)
    return True


@asynccontextmanager
async def claimed_run(
    db: Database, kind: runs.RunKind, source: str, location: str, *, resume: bool
) -> AsyncIterator[runs.Hold]:
    """Make a run whose life lock this process holds; whatever goes wrong inside is written down as its end."""
    async with _life(db) as life:
        async with life.transaction():
            held = await runs.take_over(life, source, location) if resume else None
        await end_abandoned(db)
        if held is None:
            async with life.transaction():
                held = await runs.start(life, kind, source, location)
                await runs.claim(life, held.run_id)
        log.info("run_started", run_id=held.run_id, source=source, location=location, resumed=held.begun is not None)
        try:
            yield held
        except RunLost:
            raise
        except SyncError as error:
            await try_to_fail(db, held, error.code, str(error))
            raise
        except asyncio.CancelledError:
            await try_to_fail(db, held, "interrupted", "stopped before the delivery was read to its end")
            raise
        except Exception as bug:
            await try_to_fail(db, held, "internal", f"a bug: {type(bug).__name__}")
            raise


@asynccontextmanager
async def _life(db: Database) -> AsyncIterator[Connection]:
    """Lend a connection for a run's life lock, which it does not keep."""
    async with db.connection() as conn:
        try:
            yield conn
        finally:
            await runs.release(conn)


async def try_to_fail(db: Database, held: runs.Hold, code: str, detail: str, hint: str | None = None) -> None:
    """Write the failure down if the database lets us; if not, the next start ends the run as abandoned."""

    async def fail(conn: Connection) -> None:
        await runs.hold(conn, held)
        _, told = await _end_pass(conn, held, PassEnd("partial"))
        counts = await runs.counts(conn, held)
        status: runs.RunStatus = "partial" if counts.get("read") else "failed"
        await end_location(conn, held, LocationEnd(status, counts, "partial", error=(code, detail, hint)))
        await events.append(conn, told)

    with suppress(SyncError):
        await db.retrying(fail)


async def _end(
    db: Database, held: runs.Hold, tally: Tally, error: SourceBroken | None, end: PassEnd
) -> tuple[runs.RunStatus, PassEnd]:
    """End the pass and the run; return how they did end. The tally's changes are replaced by what the history says."""
    status = _status(tally, error)
    reason = (error.reason, error.detail, error.hint) if error else None

    async def finish(conn: Connection) -> PassEnd:
        await runs.hold(conn, held)
        ended, told = await _end_pass(conn, held, end)
        if not held.by_worker:  # of one location among many they were counted along
            tally.changes = Counter(await runs.totals(conn, held.run_id))
        outcome = "looked_up" if held.kind == "look_up" else ended.outcome
        await end_location(conn, held, LocationEnd(status, tally.as_dict(), outcome, ended.evidence, reason))
        await events.append(conn, told)
        return ended

    ended = await db.retrying(finish)
    log.info("run_ended", run_id=held.run_id, status=status, read=tally.read)
    return status, ended


async def end_unread(db: Database, held: runs.Hold, outcome: str, end: PassEnd) -> IngestResult:
    """End a run at a location of which nothing had to be read; `outcome` says so in a word. Raises as `ingest`."""

    async def finish(conn: Connection) -> None:
        await runs.hold(conn, held)
        _, told = await _end_pass(conn, held, end)
        await end_location(conn, held, LocationEnd("succeeded", Tally().as_dict(), outcome, end.evidence))
        await events.append(conn, told)

    await db.retrying(finish)
    return IngestResult(held.run_id, "succeeded", Tally(), 0.0, end)


async def _end_pass(conn: Connection, held: runs.Hold, end: PassEnd) -> tuple[PassEnd, list[Event]]:
    if held.pass_id is None:
        return end, []
    ended, told = await absence.end_pass(conn, held.pass_id, held.location_id, end, held.run_id)
    if ended.outcome == "complete" and ended.members is not None:
        source, gone = await runs.members_gone(conn, held.pass_id)
        if gone:
            told.append(Event("source.drift", run_id=held.run_id, field_names=tuple(gone), source=source))
    return ended, told


def _declared(*, complete: bool) -> Proof:
    """What a delivery proves by its sender's word."""

    def end(tally: Tally, short: str) -> PassEnd:
        if not complete:
            return PassEnd("unproven", short or None)
        if short:
            return PassEnd("unproven", f"declared complete, but {short}")
        if not tally.read:
            return PassEnd("unproven", "declared complete, but it held no record at all")
        return proven(tally, "the sender declared the delivery complete")

    return end


def proven(tally: Tally, evidence: str) -> PassEnd:
    """A complete pass, unless a record could not be read: it may be any listing, so nobody's absence is proven."""
    if tally.quarantined:
        unread = f"{tally.quarantined} of its records could not be read"
        return PassEnd("unproven", f"{evidence}, but {unread}")
    return PassEnd("complete", evidence)


def _status(tally: Tally, error: SourceBroken | None) -> runs.RunStatus:
    """Quarantined records do not fail a run that was read to its end; its counts and the quarantine tell of them."""
    stored_any = tally.read > tally.quarantined
    if error:
        return "partial" if stored_any else "failed"
    return "failed" if tally.quarantined and not stored_any else "succeeded"
