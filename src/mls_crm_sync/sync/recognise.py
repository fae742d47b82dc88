"""From the raw records of a page to what has to be looked at.

Most of a re-read is known by its bytes and costs nothing more. The rest is parsed and brought into normal form; what
cannot be is set aside with its reason. Reads the database without locks: whatever follows from stored state here is
looked at again under the listing's lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from mls_crm_sync.core.hashing import UNTOLD, Sighting, says_of
from mls_crm_sync.core.listing import property_id
from mls_crm_sync.core.splitting import Members
from mls_crm_sync.sources.base import RawRecord
from mls_crm_sync.store import listings
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.listings import State, StoredListing
from mls_crm_sync.store.quarantine import Broken

from .reader import Fresh, Incoming, Reader
from .scope import Scope
from .tally import Tally

GIVE_WAY_AFTER = 0.001
"""Seconds of looking at records; then whoever waits for the database goes on: a transaction is under way, with locks
that others wait for."""


Sighted: TypeAlias = Mapping[str, tuple[RawRecord, Sighting]]
"""Records of a page, each with what it is sighted as, by the ids of their listings."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """A record that needs no parsing: its bytes tell that it says what is stored."""

    property_id: str
    digest: bytes  # of what is stored, whatever the record's own
    clock: datetime | None  # its ModificationTimestamp, where that alone is newer
    elsewhere: bool  # the listing was first read from another location
    raw: RawRecord


@dataclass(slots=True)
class Batch:
    """Records that follow each other in a page, each listing at most once, sorted by what they need."""

    shown: list[str] = field(default_factory=list)  # every listing of the batch
    told: set[str] = field(default_factory=set)  # those that their bytes told
    elsewhere: list[str] = field(default_factory=list)  # those that this location may not have shown before
    known: list[Known] = field(default_factory=list)  # whose clock has to be moved
    fresh: list[Fresh] = field(default_factory=list)
    incoming: list[Incoming] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)  # of what needs nothing more


class Look(msgspec.Struct, frozen=True, gc=False):
    """One record of a page, and what it was told to be by the state that was read of its listing."""

    raw: RawRecord
    one: Sighting | Incoming | Broken
    ids: tuple[str, ...]  # of its listing; also the one its key would give it, where it brought one of its own
    told: Known | Fresh | Incoming | Broken
    state: State | None


class Looked(NamedTuple):
    """A page after a look at it. Most of a re-read is stored exactly as it was sighted: nothing is made of that."""

    raws: Sequence[RawRecord]
    ones: Sequence[Sighting | Incoming | Broken]  # of the same records
    looks: Mapping[int, Look]  # at those that are not stored so, by their place in the page
    ids: frozenset[str]  # of all listings of the page
    once: bool  # each of them comes once

    def is_news(self) -> bool:
        """Whether most of the page had to be parsed."""
        half = len(self.ones) / 2
        return len(self.looks) > half and sum(not isinstance(look.told, Known) for look in self.looks.values()) > half

    def same(self) -> list[str]:
        """Return the ids of the listings that are stored as they were sighted."""
        looks = self.looks
        if not looks:
            return [one.property_id for one in self.ones]  # type: ignore[union-attr] # sighted, all of them
        return [one.property_id for n, one in enumerate(self.ones) if n not in looks]  # type: ignore[union-attr]

    def every(self) -> list[Look]:
        """Return a look at each record, in order."""
        return [
            self.looks.get(n) or _as_sighted(raw, one)  # type: ignore[arg-type] # sighted, or there is a look
            for n, (raw, one) in enumerate(zip(self.raws, self.ones, strict=True))
        ]


class _Pace:
    """Tells when it is time to give way."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_over(self) -> bool:
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + GIVE_WAY_AFTER
        return True


async def _give_way() -> None:
    """Let a statement's answer be read, and whoever waits for it send the next one."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def look_ahead(
    db: Database,
    reader: Reader,
    location_id: int,
    raws: Sequence[RawRecord],
    scope: Scope | None = None,
    *,
    is_news: bool = False,
) -> Looked:
    """Look at a page's records. May run while the page before is being written: it gives way every few records, and
    what that page changes is looked at again by `recognise`.

    `scope`: what is stored of the location, where that was read; nothing that it holds is asked for. `is_news`: most
    of it will have to be parsed, as most of the page before had: that is done at once then, while the record and its
    members are in the cache.
    """
    ones: list[Sighting | Incoming | Broken] = []
    early: dict[int, Incoming | Broken] = {}
    pace, sight = _Pace(), reader.sight
    async with _catching_up(db, scope) as caught_up:
        for n, raw in enumerate(raws):
            if not n & 7 and pace.is_over():
                await _give_way()
            if not is_news:
                ones.append(sight(raw, scope) or reader.take(raw))
            elif (taken := _take_news(reader, raw, scope, ones)) is not None:
                early[n] = taken
        written = await caught_up
    unsure = ones if scope is None else [
        one for one in ones if not isinstance(one, Sighting) or one.said is not None or one.property_id in written
    ]  # fmt: skip
    differing: Mapping[str, State | None] = {}
    if unsure:
        async with db.connection() as conn:
            differing = await _differing(conn, location_id, unsure)
    looks: dict[int, Look] = {}
    every = [one.property_id for one in ones if not isinstance(one, Broken)]
    ids, count = set(every), len(every)
    for n, one in enumerate(ones):
        if isinstance(one, Sighting) and one.property_id not in differing:
            continue
        if pace.is_over():
            await _give_way()
        looks[n] = look = _look(reader, raws[n], one, differing, location_id, early=early.get(n))
        count += len(look.ids) - (not isinstance(one, Broken))
        ids.update(look.ids)
    return Looked(raws, ones, looks, frozenset(ids), count == len(ids))


@asynccontextmanager
async def _catching_up(db: Database, scope: Scope | None) -> AsyncIterator[Awaitable[Collection[str]]]:
    """Let the scope catch up in the meantime; awaited, it tells which listings were written since the last time."""
    catching = asyncio.create_task(_nothing() if scope is None else scope.catch_up(db))
    try:
        yield catching
    finally:
        catching.cancel()  # which does nothing to one that is done
        await asyncio.gather(catching, return_exceptions=True)


async def _nothing() -> Collection[str]:
    return ()


def _take_news(
    reader: Reader, raw: RawRecord, scope: Scope | None, ones: list[Sighting | Incoming | Broken]
) -> Incoming | Broken | None:
    """Add what a record is sighted as to `ones`; return what it is taken to be, unless it is stored."""
    seen = reader.split(raw, scope)
    if seen is None:
        ones.append(reader.take(raw))
        return None
    one, members = seen
    ones.append(one)
    return reader.take(raw, one, members, one.said) if scope is None or one.said is not None else None


async def _differing(
    conn: Connection, location_id: int, ones: Iterable[Sighting | Incoming | Broken]
) -> dict[str, State | None]:
    """Return the states of the listings that are not stored as they were sighted; None where one is not stored.

    Of a listing that comes twice the last is compared, so its state is asked for whatever it says.
    """
    sighted: dict[str, tuple[bytes, datetime | None]] = {}
    for one in ones:
        if isinstance(one, Sighting):
            twice = one.property_id in sighted
            sighted[one.property_id] = (UNTOLD, None) if twice else (one.digest, one.modified_at)
        elif isinstance(one, Incoming):
            sighted[one.property_id] = (UNTOLD, None)
    return await listings.differing_states(conn, location_id, sighted) if sighted else {}


async def recognise(
    db: Database, reader: Reader, location_id: int, looked: Looked, written: Collection[str]
) -> AsyncIterator[Batch]:
    """Yield the records in order, sorted by what they need, in batches that hold each listing at most once.

    A listing that was `written` since it was looked at, or that comes again in the page, is compared with what was made
    of it: write each batch before asking for the next.
    """
    if looked.once and looked.ids.isdisjoint(written):  # as it is nearly always
        looks = list(looked.looks.values())
        await _give_stored_ids(db, reader, looks)
        yield _batch(looks, location_id, looked.same())
        return
    stale = set(written)
    for group, ids in _groups(looked.every()):
        again = [] if stale.isdisjoint(ids) else [n for n, look in enumerate(group) if not stale.isdisjoint(look.ids)]
        if again:
            async with db.connection() as conn:
                differing = await _differing(conn, location_id, [group[n].one for n in again])
            for n in again:
                group[n] = _look(reader, group[n].raw, group[n].one, differing, location_id)
        await _give_stored_ids(db, reader, group)
        yield _batch(group, location_id)
        stale |= ids


def sight_few(reader: Reader, raws: Sequence[RawRecord]) -> Sighted | None:
    """Return the records as they are sighted; None unless each of them can be, and their listings come once."""
    sighted: dict[str, tuple[RawRecord, Sighting]] = {}
    for raw in raws:
        if (one := reader.sight(raw)) is None or one.property_id in sighted:
            return None
        sighted[one.property_id] = raw, one
    return sighted


def recognise_locked(reader: Reader, location_id: int, sighted: Sighted, locked: Mapping[str, StoredListing]) -> Batch:
    """Sort records by what they need, of listings that were locked: what is told of them stays true to the commit."""
    looks: list[Look] = []
    same: list[str] = []
    for an_id, (raw, one) in sighted.items():
        state = locked[an_id].state
        if state.is_as(location_id, one.digest, one.modified_at):
            same.append(an_id)
        else:
            looks.append(_look(reader, raw, one, {an_id: state}, location_id))
    return _batch(looks, location_id, same)


def _groups(looks: Iterable[Look]) -> Iterator[tuple[list[Look], set[str]]]:
    """Yield runs of records without a listing in common, each with the ids of its listings."""
    group: list[Look] = []
    ids: set[str] = set()
    for look in looks:
        if not ids.isdisjoint(look.ids):
            yield group, ids
            group, ids = [], set()
        ids.update(look.ids)
        group.append(look)
    yield group, ids


def _look(
    reader: Reader,
    raw: RawRecord,
    one: Sighting | Incoming | Broken,
    differing: Mapping[str, State | None],
    location_id: int,
    *,
    early: Incoming | Broken | None = None,
) -> Look:
    """`early`: what a sighted record was taken to be already."""
    if isinstance(one, Sighting):
        an_id = one.property_id
        if an_id not in differing:
            return _as_sighted(raw, one)
        state = differing[an_id]
        return Look(raw, one, (an_id,), _told(reader, raw, one, state, location_id, early=early), state)
    if isinstance(one, Incoming):
        ids = tuple({one.property_id, property_id(reader.source, one.facts.source_key)})
        state = differing[one.property_id]
        return Look(raw, one, ids, one if state else reader.fresh(raw, one), state)
    return Look(raw, one, () if one.source_key is None else (property_id(reader.source, one.source_key),), one, None)


def _as_sighted(raw: RawRecord, one: Sighting) -> Look:
    """Of a listing that is stored exactly so."""
    an_id = one.property_id
    return Look(raw, one, (an_id,), Known(an_id, one.digest, None, False, raw), None)  # noqa: FBT003 - not elsewhere


def _told(
    reader: Reader,
    raw: RawRecord,
    one: Sighting,
    state: State | None,
    location_id: int,
    *,
    early: Incoming | Broken | None,
) -> Known | Fresh | Incoming | Broken:
    """Tell by its bytes what can be told, then by what it says in other words, and parse the rest."""
    clock = one.modified_at
    if state is None:
        taken = early or reader.take(raw, one)
        return reader.fresh(raw, taken) if isinstance(taken, Incoming) else taken
    if not reader.believes(clock):
        return early or reader.take(raw, one)
    members = None
    if state.digest != one.digest and one.said is None and early is None:
        seen = one.exactly()
        if seen is None:
            return reader.take(raw)
        one, members = seen
    if state.digest != one.digest:
        says = _says(raw, one, members, early)
        forgotten = not state.digest  # parsed, it is remembered again
        if forgotten or says != state.payload_digest or not reader.may_say_what_is_stored(clock, state):
            return early or reader.take(raw, one, members, says)
    if clock is not None and state.modified_at is not None and clock <= state.modified_at:
        clock = None
    return Known(one.property_id, state.digest, clock, state.location_id != location_id, raw)


def _says(raw: RawRecord, one: Sighting, members: Members | None, early: Incoming | Broken | None) -> bytes:
    if one.said is None and isinstance(early, Incoming) and early.payload is raw.data:
        return early.payload_digest
    return one.says() if members is None else says_of(members)


async def _give_stored_ids(db: Database, reader: Reader, group: list[Look]) -> None:
    """A listing that was pushed may have brought an id of its own: its later records belong to that id.

    The id is the first record's for good: another one that a later record brings is passed over.
    """
    unsure = {
        n: (told.property_id, _key_of(told))
        for n, look in enumerate(group)
        if isinstance(told := look.told, Fresh) or (isinstance(told, Incoming) and isinstance(look.one, Incoming))
    }
    if not unsure:
        return
    async with db.connection() as conn:
        ids = await listings.ids_by_source_key(conn, reader.source, {key for _, key in unsure.values()})
        stored = {own_id for n, (own_id, _) in unsure.items() if isinstance(group[n].told, Incoming)}  # others are new
        taken = await listings.keys_by_id(conn, stored) if stored else {}
        states = await listings.read_states(conn, set(ids.values())) if ids else {}
    for n, (own_id, key) in unsure.items():
        if key in ids:
            group[n] = _under_stored_id(reader, group[n], states[ids[key]])
        elif taken.get(own_id, (reader.source, key)) != (reader.source, key):
            group[n] = replace(group[n], told=reader.id_taken(group[n].raw, own_id, key))


def _key_of(told: Fresh | Incoming) -> str:
    return told.write.source_key if isinstance(told, Fresh) else told.facts.source_key


def _under_stored_id(reader: Reader, look: Look, state: State) -> Look:
    told = reader.take_anew(look.raw) if isinstance(look.told, Fresh) else look.told
    if isinstance(told, Incoming):
        told = replace(told, property_id=state.property_id)
    return replace(look, told=told, state=state)


def _batch(looks: Iterable[Look], location_id: int, same: Sequence[str] = ()) -> Batch:
    """`same`: listings that are stored exactly as they were sighted, here."""
    batch = Batch(shown=list(same), told=set(same))
    for look in looks:
        _sort_in(batch, look.told, look.state, location_id)
    batch.tally.told(len(batch.told) - len(batch.known))
    return batch


def _sort_in(batch: Batch, one: Known | Fresh | Incoming | Broken, state: State | None, location_id: int) -> None:
    if isinstance(one, Known):
        batch.shown.append(one.property_id)
        batch.told.add(one.property_id)
        if one.elsewhere:
            batch.elsewhere.append(one.property_id)
        if one.clock is not None:
            batch.known.append(one)
    elif isinstance(one, Broken):
        batch.broken.append(one)
    else:
        batch.shown.append(one.property_id)
        if state is None or state.location_id != location_id:
            batch.elsewhere.append(one.property_id)
        if isinstance(one, Fresh):
            batch.fresh.append(one)
        else:
            batch.incoming.append(one)
