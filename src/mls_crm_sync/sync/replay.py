"""Replay: what an older field table made of stored payloads is made again by today's, without asking anybody.

Ingest does the same of each listing that comes by; a replay does not wait for them. Whatever it changes is history of
type `renormalised`: no market change, no `listing.changed`. Linked CRM properties follow in the same transaction.

A listing is found by the version of the normaliser that it was stored by, so that a replay which was killed is simply
begun again: what was done is found no more. Beside a running ingest each listing's lock decides who is first; the other
finds today's version there. The dry run reads the same pages and asks the same function, and writes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import structlog

from mls_crm_sync.core.changes import Decision, renew
from mls_crm_sync.core.errors import InvalidInput, RecordRejected
from mls_crm_sync.core.hashing import payload_digest
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import RawRecord
from mls_crm_sync.store import crm_properties, events, listings, payloads, runs
from mls_crm_sync.store.crm_properties import Synced
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.listings import ListingWrite, Outdated, State, StoredListing, searched
from mls_crm_sync.store.runs import LocationEnd

from .finishing import end_location
from .ingest import CHANGED_PER_TRANSACTION, LINKED_PER_TRANSACTION, claimed_run
from .reader import NO_DIGEST, Reader
from .sources import zones
from .tally import Tally

log = structlog.get_logger()

LISTINGS_PER_PAGE = 300
EXAMPLES = 3
"""Of each field, and of payloads that cannot be read: kept to be shown."""

RENORMALISED = ("renormalised",)


class Example(NamedTuple):
    """One listing's value before and after; None stands for no value."""

    listing_key: str
    previous: Any
    new: Any


class Unreadable(NamedTuple):
    """A listing whose stored payload cannot be read, so that it stays as it is."""

    property_id: str
    listing_key: str
    reason: str
    detail: str


@dataclass(slots=True)
class FieldDiff:
    """How many listings differ in a field, with the first few."""

    listings: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Diff:
    """What today's table makes of listings that another one made. `listings` = `same` + `changed` + `unreadable`."""

    listings: int = 0
    same: int = 0
    changed: int = 0
    unreadable: int = 0
    crm_updated: int = 0  # CRM properties that follow
    fields: dict[str, FieldDiff] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)  # listings by field whose value today's table refuses
    unread: list[Unreadable] = field(default_factory=list)  # the first few

    def add(self, look: Look) -> None:
        self.listings += 1
        if isinstance(look, Unreadable):
            self.unreadable += 1
            if len(self.unread) < EXAMPLES:
                self.unread.append(look)
            return
        self.changed += bool(look.decision.changes)
        self.same += not look.decision.changes
        self.refused.update(look.refused)
        for change in look.decision.changes:
            found = self.fields.setdefault(change.field or "", FieldDiff())
            found.listings += 1
            if len(found.examples) < EXAMPLES:
                found.examples.append(Example(look.listing_key, change.previous, change.new))


class Renewal(NamedTuple):
    """A listing in today's form, and the state that it was made from."""

    property_id: str
    listing_key: str
    state: State
    decision: Decision
    write: ListingWrite
    refused: tuple[str, ...]  # members whose values today's table refuses: their stored forms stay


Look: TypeAlias = Renewal | Unreadable


@dataclass(frozen=True, slots=True)
class Progress:
    source: str
    done: int
    of: int  # counted when it began


@dataclass(slots=True)
class ReplayResult:
    """What a replay did, over all sources; `runs` are its runs, one a source, in order."""

    diff: Diff = field(default_factory=Diff)
    runs: list[int] = field(default_factory=list)
    seconds: float = 0.0


Show: TypeAlias = Callable[[Progress], None]


async def preview(
    db: Database,
    normaliser: Normaliser,
    *,
    source: str | None = None,
    time_zone: ZoneInfo | None = None,
    progress: Show = lambda _: None,
) -> Diff:
    """Return what a replay would do now. Writes nothing; reads without locks. Arguments and errors as of `replay`."""
    diff = Diff()
    for one, count, reader in await _sources(db, normaliser, source, time_zone):
        done = 0
        async for page in _pages(db, normaliser.version, one):
            async with db.connection() as conn:
                looks = await _look(conn, reader, page)
                after = {look.property_id: look.decision.fields for look in looks if isinstance(look, Renewal)}
                diff.crm_updated += await crm_properties.would_change(conn, after, normaliser.unsynced)
            for look in looks:
                diff.add(look)
            done += len(page)
            progress(Progress(one, done, count))
    return diff


async def replay(
    db: Database,
    normaliser: Normaliser,
    *,
    source: str | None = None,
    time_zone: ZoneInfo | None = None,
    progress: Show = lambda _: None,
) -> ReplayResult:
    """Bring every listing that another normaliser has stored into `normaliser`'s form; a run for each source.

    `source`: its listings alone. `time_zone` is that of time stamps that carry none; where it is None, a source that
    is set up has its own, as when it is read. A value that today's table refuses keeps its stored form, a listing whose
    payload cannot be read stays as it is, and both are counted.

    Raises InvalidInput for a source that nothing ever came from, RunLost when a run was ended meanwhile, and
    StoreUnavailable; what was done by then stays, and the same call goes on with the rest.
    """
    began = time.monotonic()
    result = ReplayResult()
    for one, count, reader in await _sources(db, normaliser, source, time_zone):
        async with db.connection() as conn:
            location = await runs.first_location(conn, one)
        assert location is not None  # noqa: S101 - its listings came from there
        async with claimed_run(db, "replay", one, location, resume=False) as held:
            result.runs.append(held.run_id)
            await _Run(db, reader, held, result.diff, progress).go_through(one, count)
    result.seconds = time.monotonic() - began
    return result


class _Run:
    """Brings one source's listings up to date."""

    def __init__(self, db: Database, reader: Reader, held: runs.Hold, diff: Diff, progress: Show) -> None:
        self._db = db
        self._reader = reader
        self._held = held
        self._diff = diff
        self._progress = progress
        self._version = reader.normaliser.version
        self._tally = Tally()
        self._unreadable = 0

    async def go_through(self, source: str, count: int) -> None:
        done = 0
        async for page in _pages(self._db, self._version, source):
            async with self._db.connection() as conn:
                looks = await _look(conn, self._reader, page)
                linked = await crm_properties.count_by_listing(conn, [one.property_id for one in page])
            for chunk in _chunks(looks, linked):
                await self._take(chunk)
            done += len(page)
            self._progress(Progress(source, done, count))
        await self._db.retrying(self._finish)
        log.info("run_ended", run_id=self._held.run_id, status=self._status, read=self._tally.read)

    @property
    def _status(self) -> runs.RunStatus:
        return "partial" if self._unreadable else "succeeded"

    async def _take(self, chunk: Sequence[Look]) -> None:
        written, synced = await self._db.retrying(partial(self._write, chunk))
        for look in written:
            self._diff.add(look)
        self._diff.crm_updated += len(synced)
        self._tally.add(_tally(written, synced))
        self._unreadable += sum(isinstance(look, Unreadable) for look in written)

    async def _write(self, chunk: Sequence[Look], conn: Connection) -> tuple[list[Look], list[Synced]]:
        """Write one chunk; return what was found of its listings, and the CRM properties that followed."""
        await runs.hold(conn, self._held)
        states = await listings.lock(conn, {look.property_id: None for look in chunk})
        looks = await self._still_so(conn, chunk, states)
        renewals = [look for look in looks if isinstance(look, Renewal)]
        changed = [one.write for one in renewals if one.decision.changes]
        await listings.renew(conn, changed)
        await listings.update_states(conn, self._version, [one.write for one in renewals])
        await listings.insert_changes(conn, self._held.run_id, [(w.property_id, c) for w in changed for c in w.changes])
        ids = [one.property_id for one in renewals]  # all: what is copied may be another part of the same facts
        synced = await crm_properties.bring_in_step(conn, ids, self._reader.normaliser.unsynced)
        counts = self._tally.plus(_tally(looks, synced)).as_dict()
        checkpoint = {"after": chunk[-1].property_id}
        await runs.advance(conn, self._held, page=0, keys=(), checkpoint=checkpoint, counts=counts)
        await events.append(conn, list(self._told(synced, {w.property_id for w in changed})))
        return looks, synced

    async def _still_so(self, conn: Connection, chunk: Sequence[Look], states: Mapping[str, State]) -> list[Look]:
        """Look again, under its lock, at what somebody has written since; what is in today's form by then, or purged,
        is left out.
        """
        moved = [o for o in chunk if isinstance(o, Unreadable) or states.get(o.property_id) != o.state]
        again = await _look(conn, self._reader, [Outdated(o.property_id, o.listing_key) for o in moved])
        kept = {o.property_id for o in chunk} - {o.property_id for o in moved}
        looks = [*(o for o in chunk if o.property_id in kept), *again]
        return sorted(looks, key=lambda look: look.property_id)

    def _told(self, synced: Iterable[Synced], changed: Collection[str]) -> Iterator[Event]:
        for s in synced:
            types = RENORMALISED if s.property_id in changed else ()
            yield Event("property.synced", s.property_id, s.crm_id, s.platform, self._held.run_id, s.field_names, types)

    async def _finish(self, conn: Connection) -> None:
        await runs.hold(conn, self._held)
        self._tally.changes = Counter(await runs.totals(conn, self._held.run_id))
        error = None
        if self._unreadable:
            error = (
                "payload_unreadable",
                f"{self._unreadable} stored payloads cannot be read; their listings stay",
                None,
            )
        await end_location(conn, self._held, LocationEnd(self._status, self._tally.as_dict(), error=error))


async def _sources(
    db: Database, normaliser: Normaliser, source: str | None, time_zone: ZoneInfo | None
) -> list[tuple[str, int, Reader]]:
    """Return the sources that have listings to renew, by name: how many, and what reads their payloads."""
    async with db.connection() as conn:
        if source is not None and ("\0" in source or await runs.first_location(conn, source) is None):
            raise InvalidInput("source", f"nothing ever came from a source called {source!r}")
        counts = await listings.count_outdated(conn, normaliser.version)
    own = await zones(db)
    return [
        (one, count, Reader(one, normaliser, time_zone=time_zone or own.get(one)))
        for one, count in counts.items()
        if source in (None, one)
    ]


async def _pages(db: Database, norm_version: str, source: str) -> AsyncIterator[list[Outdated]]:
    after = ""
    while True:
        async with db.connection() as conn:
            page = await listings.outdated(conn, norm_version, source, after=after, limit=LISTINGS_PER_PAGE)
        if not page:
            return
        yield page
        after = page[-1].property_id


async def _look(conn: Connection, reader: Reader, page: Sequence[Outdated]) -> list[Look]:
    """Return what today's table makes of each listing of a page that is still of another one, in the page's order."""
    version = reader.normaliser.version
    stored = await listings.read_stored(conn, version, [one.property_id for one in page])
    looks: list[Look] = []
    for property_id, listing_key in page:
        one = stored[property_id]
        if one.state.norm_version != version and not one.facts.purged:
            looks.append(_renewal(reader, one, listing_key))
    return looks


def _renewal(reader: Reader, stored: StoredListing, listing_key: str) -> Look:
    property_id = stored.state.property_id
    if stored.packed is None or stored.unreadable is not None:
        why = stored.unreadable or RecordRejected("no_payload", "none is stored")
        return Unreadable(property_id, listing_key, why.reason, why.detail)
    refused: list[str] = []
    decision = renew(stored.facts, reader.normaliser, time_zone=reader.time_zone, refused=refused)
    digest, says = (NO_DIGEST, NO_DIGEST) if refused else _digests(reader, property_id, stored.packed)
    write = ListingWrite(
        property_id=property_id,
        source_key=listing_key,
        digest=digest,
        payload_digest=says,
        content_hash=decision.content_hash,
        modified_at=stored.state.modified_at,
        text=decision.text,
        searched=searched(decision.text),
        changes=decision.changes,
    )
    return Renewal(property_id, listing_key, stored.state, decision, write, tuple(refused))


def _digests(reader: Reader, property_id: str, packed: bytes) -> tuple[bytes, bytes]:
    """Return what the same record will be recognised by when it comes again. Not asked of a payload with a value that
    today's table refuses: a record that says so still has to be set aside.
    """
    data = payloads.unpacked(packed)
    seen = reader.split(RawRecord(0, data))
    ours = seen is not None and seen[0].property_id == property_id
    return seen[0].digest if seen is not None and ours else NO_DIGEST, payload_digest(data, reader.volatile)


def _chunks(looks: Sequence[Look], linked: Mapping[str, int]) -> Iterator[list[Look]]:
    """Small transactions: whoever edits a CRM property waits for the one that changes its listing."""
    chunk: list[Look] = []
    crm_rows = 0
    for look in looks:
        rows = linked.get(look.property_id, 0)
        if chunk and (len(chunk) == CHANGED_PER_TRANSACTION or crm_rows + rows > LINKED_PER_TRANSACTION):
            yield chunk
            chunk, crm_rows = [], 0
        chunk.append(look)
        crm_rows += rows
    if chunk:
        yield chunk


def _tally(looks: Iterable[Look], synced: Sequence[Synced]) -> Tally:
    """A listing whose form alone has changed is unchanged; one that cannot be read is counted by its reason alone."""
    tally = Tally(crm_updated=len(synced))
    for look in looks:
        if isinstance(look, Unreadable):
            tally.name((), (f"its stored payload cannot be read, so a listing stays as it is: {look.reason}",))
            continue
        tally.read += 1
        tally.unchanged += 1
        tally.renormalised += bool(look.decision.changes)
        tally.name((), [f"{name}: today's table refuses a stored value, whose form stays" for name in look.refused])
    return tally
