"""When a listing is gone: what follows from complete passes, what a person decides, and how it comes back by itself.

A pass that ends complete is *settled*: the listings that it and the passes before it did not show are put to the
decision table (`core/absence.py`), looked up where the table asks for it, and called absent with the evidence, or held
for a person where too many would vanish at once. Until then the pass is noted as unsettled, so that a process killed
in between leaves nothing out: whoever settles next goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

import structlog

from mls_crm_sync.core.absence import Case, LooksUp, Said, Verdict, decide, too_many_at_once
from mls_crm_sync.store import absence, events, listings, runs
from mls_crm_sync.store.absence import Candidate, Decision, Place
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.runs import PassEnd

log = structlog.get_logger()
T = TypeVar("T")

CASES_PER_READ = 2000
LISTINGS_PER_TRANSACTION = 300
ASKED_AT_ONCE = 100
MOST_ASKED = 1000
"""Listings of one location that one settling asks the source for; the others are asked for after the next pass."""


class Told(NamedTuple):
    """What the source said of a listing that it was asked for, and its words."""

    said: Said
    words: str


Ask: TypeAlias = Callable[[Place, Sequence[Candidate]], Awaitable[Mapping[str, Told]]]
"""Asks the source for listings of a location, takes in what it finds, and returns what it said by property_id."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """How a source can be asked for single listings, and what its answers are worth."""

    worth: LooksUp
    ask: Ask


async def _nobody_to_ask(_: Place, __: Sequence[Candidate]) -> Mapping[str, Told]:
    return {}


NO_LOOK_UP = LookUp(LooksUp.NEVER, _nobody_to_ask)


@dataclass(slots=True)
class Settled:
    """What followed from the passes that were settled: how many listings are absent now, and how many held."""

    absent: int = 0
    held: int = 0


async def settle(db: Database, source: str, look_up: LookUp = NO_LOOK_UP) -> Settled:
    """Let follow what follows from the complete passes of a source that nothing has followed from yet.

    Where another process is at it, that one goes on with ours. Raises StoreUnavailable; then the rest follows when the
    source is settled next.
    """
    done = Settled()
    while True:
        async with _turn(db, source) as ours:
            if not ours:
                return done
            await _settle_all(db, source, look_up, done)
        async with db.connection() as conn:  # a pass that ended while we gave our turn back
            if not await absence.unsettled(conn, source):
                return done


@asynccontextmanager
async def _turn(db: Database, source: str) -> AsyncIterator[bool]:
    async with db.connection() as conn:
        try:
            yield await absence.claim(conn, source)
        finally:
            await runs.release(conn)


async def _settle_all(db: Database, source: str, look_up: LookUp, done: Settled) -> None:
    async with db.connection() as conn:
        half = await absence.half_decided(conn, source)
    for hold_id, decision in half:
        await _carry_out(db, hold_id, decision)
    while True:
        async with db.connection() as conn:
            places = await absence.unsettled(conn, source)
        if not places:
            return
        for place in places:
            await _settle_place(db, place, look_up, done)


async def _settle_place(db: Database, place: Place, look_up: LookUp, done: Settled) -> None:
    verdicts = _Verdicts(look_up.worth)
    async for cases in _cases(db, place):
        for case in cases:
            verdicts.judge(case)
    asked = verdicts.take_asked()[:MOST_ASKED]
    for chunk in _chunks(asked, ASKED_AT_ONCE):
        told = await look_up.ask(place, chunk)
        for case in chunk:
            verdicts.judge(case, told.get(case.property_id, Told(Said.UNKNOWN, "")).said)
        words = {an_id: one.words for an_id, one in told.items()}
        await db.retrying(partial(absence.note_look_ups, location=place.location_id, said=words))
    for left in _chunks(verdicts.left, LISTINGS_PER_TRANSACTION):
        await db.retrying(partial(absence.leave, location=place.location_id, property_ids=left))
    await _call_absent(db, place, verdicts.absent, done)
    async with db.connection() as conn:
        await absence.settled(conn, place)


class _Verdicts:
    """What the table says of the cases of a location."""

    def __init__(self, worth: LooksUp) -> None:
        self._worth = worth
        self._asked: list[Candidate] = []
        self.left: list[str] = []
        self.absent: dict[str, str] = {}  # the rule that says so

    def judge(self, one: Candidate, said: Said = Said.NOT_ASKED) -> None:
        rule = decide(Case(one.passes, one.elsewhere, self._worth, said))
        match rule.verdict:
            case Verdict.ASK:
                self._asked.append(one)
            case Verdict.LEFT:
                self.left.append(one.property_id)
            case Verdict.ABSENT:
                self.absent[one.property_id] = rule.name
            case Verdict.MISSING:
                pass  # until the next complete pass

    def take_asked(self) -> list[Candidate]:
        asked, self._asked = self._asked, []
        return asked


async def _cases(db: Database, place: Place) -> AsyncIterator[list[Candidate]]:
    after = ""
    while True:
        async with db.connection() as conn:
            cases = await absence.candidates(conn, place, after=after, limit=CASES_PER_READ)
        if not cases:
            return
        yield cases
        after = cases[-1].property_id


async def _call_absent(db: Database, place: Place, rules: Mapping[str, str], done: Settled) -> None:
    """Call listings absent, each by its rule, or hold them all: what is held already counts with them, so that many
    cannot vanish by a few at a time while somebody looks.
    """
    if not rules:
        return
    async with db.connection() as conn:
        vanishing = len(rules) + await absence.count_held(conn, place.location_id)
        of = await absence.count_of_location(conn, place.location_id)
    too_many = too_many_at_once(vanishing, of)
    for chunk in _chunks(rules.items(), LISTINGS_PER_TRANSACTION):
        if too_many:
            done.held += await db.retrying(partial(_hold, place, dict(chunk), vanishing, of))
        else:
            done.absent += await db.retrying(partial(_gone, place, dict(chunk)))
    log.info("absence_decided", location=place.location, listings=len(rules), of=of, held=too_many)


async def _gone(place: Place, rules: Mapping[str, str], conn: Connection) -> int:
    missing = await _lock_missing(conn, place, rules)
    await absence.call(conn, place, "absent", {an_id: rules[an_id] for an_id in missing}, None)
    await events.append(conn, [Event("listing.gone", an_id) for an_id in missing])
    return len(missing)


async def _hold(place: Place, rules: Mapping[str, str], vanishing: int, of: int, conn: Connection) -> int:
    missing = await _lock_missing(conn, place, rules)
    if not missing:
        return 0
    hold_id, made = await absence.open_hold(conn, place, vanishing, of)
    await absence.call(conn, place, "held", {an_id: rules[an_id] for an_id in missing}, hold_id)
    if made:
        await events.append(conn, [Event("source.listings_held", source=place.source)])
    return len(missing)


async def _lock_missing(conn: Connection, place: Place, property_ids: Collection[str]) -> list[str]:
    await listings.lock(conn, dict.fromkeys(property_ids))
    return await absence.still_missing(conn, place.location_id, property_ids)


async def decide_hold(db: Database, hold_id: int, decision: Decision, by: str | None = None) -> int:
    """Carry out what a person decided of listings that are held: `released`, they are absent; `rejected`, they are
    there, and the passes that do not show them are counted anew. Return how many it was carried out of.

    Raises HoldNotFound, and HoldDecided where somebody has decided otherwise.
    """
    await db.retrying(partial(absence.decide_hold, hold_id=hold_id, decision=decision, by=by))
    return await _carry_out(db, hold_id, decision)


async def _carry_out(db: Database, hold_id: int, decision: Decision) -> int:
    done = 0
    while True:
        async with db.connection() as conn:
            held = await absence.held_by(conn, hold_id, limit=LISTINGS_PER_TRANSACTION)
        if not held:
            return done
        done += await db.retrying(partial(_carry_out_of, hold_id, decision, held))


async def _carry_out_of(hold_id: int, decision: Decision, property_ids: Sequence[str], conn: Connection) -> int:
    await listings.lock(conn, dict.fromkeys(property_ids))
    held = await absence.still_held(conn, hold_id, property_ids)
    if decision == "released":
        await absence.let_go(conn, held)
        await events.append(conn, [Event("listing.gone", an_id) for an_id in held])
    else:
        await absence.count_anew(conn, held)
        await absence.come_back(conn, held)
    return len(held)


async def end_pass(
    conn: Connection, pass_id: int, location: int, end: PassEnd, run_id: int
) -> tuple[PassEnd, list[Event]]:
    """End a pass; what it has shown that was absent or held is back, however the pass ended. Return how it did end; the
    caller, who holds the run's location, appends the events, last.
    """
    await runs.plan_whole_sets(conn)
    decided = await absence.decided_of_pass(conn, pass_id)
    await listings.lock(conn, dict.fromkeys(decided))
    ended = await runs.end_pass(conn, pass_id, location, end)
    return ended, returning(await absence.come_back(conn, decided), run_id)


async def shown_singly(conn: Connection, property_ids: Sequence[str]) -> list[str]:
    """Take note that listings are there which no pass showed: pushed, or looked up. Lock those about whose absence
    anything is noted, by id, before the caller locks others; return those that had been called absent, by id.
    """
    noted = await absence.noted_of(conn, property_ids)
    if not noted:
        return []
    await listings.lock(conn, dict.fromkeys(sorted(property_ids)))
    await absence.leave_all(conn, noted)
    return await absence.come_back(conn, noted)


def returning(property_ids: Sequence[str], run_id: int) -> list[Event]:
    return [Event("listing.returned", an_id, run_id=run_id) for an_id in property_ids]


def _chunks(every: Collection[T], size: int) -> Iterator[list[T]]:
    rest = iter(every)
    while chunk := list(islice(rest, size)):
        yield chunk
