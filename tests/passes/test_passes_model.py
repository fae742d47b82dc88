"""Whatever a source shows, breaks off, says or hides, in whatever order: a listing is called gone exactly when it is.

Hypothesis draws histories; each is played on the product, over real PostgreSQL, and on the reference, and everything is
compared after each step. Sizes and replay, by environment:

    PASSES_STEPS  how many steps at least (default 600)
    PASSES_SEED   the seed that a failure prints; without it a new one each time
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from making import a_listing
from mls_crm_sync.core import absence as table
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import absence as store
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import absence
from mls_crm_sync.sync.passes import read_location
from mls_crm_sync.sync.push import push
from mls_crm_sync.sync.reader import Reader
from passes.reference import Reading, Reference
from passes.world import PAGE, Ends, Killed, World, WorldSource

if TYPE_CHECKING:
    from conftest import Server

STEPS = int(os.environ.get("PASSES_STEPS", "600"))
SEED = int(os.environ.get("PASSES_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
LENGTH = 60
LOCATIONS = ("north", "south")
KEYS = tuple(f"L{n:02}" for n in range(36))
NORMALISER = Normaliser()

keys = st.sampled_from(KEYS)
locations = st.sampled_from(LOCATIONS)
faults = st.sampled_from(("none",) * 6 + ("error", "cap", "unproven", "broken record", "kill"))
look_ups = st.sampled_from(("answers", "answers", "answers", "fails", "unreadable", "kill"))

passes = st.tuples(st.just("pass"), locations, faults, st.integers(0, 3), look_ups)
steps = st.one_of(
    *[passes] * 8,
    st.tuples(st.just("appear"), st.sets(keys, min_size=8, max_size=30), locations),
    st.tuples(st.just("vanish"), st.sets(keys, min_size=1, max_size=3)),
    st.tuples(st.just("vanish"), st.sets(keys, min_size=12, max_size=36)),
    st.tuples(st.just("move"), st.sets(keys, min_size=1, max_size=4), locations),
    st.tuples(st.just("sell"), st.sets(keys, min_size=1, max_size=4)),
    st.tuples(st.just("push"), keys, locations),
    st.tuples(st.just("decide"), st.booleans()),
    st.tuples(st.just("storm"), locations, look_ups, st.sampled_from((True, False, None))),
)
histories = st.tuples(
    st.sampled_from(("directly", "in_delivery", "never")), st.lists(steps, min_size=LENGTH, max_size=LENGTH)
)


@dataclass
class Bench:
    """A database in a loop of its own; each history has a source of its own in it."""

    db: Database
    loop: asyncio.Runner
    steps: int = 0
    histories: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def play(self, looks_up: Literal["directly", "in_delivery", "never"], history: Sequence[tuple[Any, ...]]) -> None:
        self.histories += 1
        play = Play(self.db, f"world-{self.histories}", looks_up)
        for step in [("appear", set(KEYS[:26]), "north"), ("appear", set(KEYS[26:]), "south"), *history]:
            self.loop.run(play.do(*step))
            self.steps += 1
        self.seen += play.seen


@contextlib.contextmanager
def a_bench(dsn: str) -> Iterator[Bench]:
    with asyncio.Runner() as loop:
        opened = Database.open(dsn, allow_unsafe=True)
        db = loop.run(opened.__aenter__())
        try:
            yield Bench(db, loop)
        finally:
            loop.run(opened.__aexit__(None, None, None))


class Play:
    """One history, on the product and on the reference."""

    def __init__(self, db: Database, name: str, looks_up: Literal["directly", "in_delivery", "never"]) -> None:
        self.seen: Counter[str] = Counter()
        self._db = db
        self._name = name
        self._reader = Reader(name, NORMALISER)
        self._world = World()
        self._ends = Ends()
        self._source = WorldSource(self._world, self._ends, looks_up)
        self._reference = Reference(looks_up)

    async def do(self, kind: str, *arguments: Any) -> None:
        await getattr(self, f"_{kind}")(*arguments)
        await self._compare((kind, *arguments))

    # -- the world moves

    async def _appear(self, keys: set[str], location: str) -> None:
        self._world.shown_at.update(dict.fromkeys(sorted(keys), location))

    async def _vanish(self, keys: set[str]) -> None:
        for key in keys:
            self._world.shown_at.pop(key, None)

    async def _move(self, keys: set[str], location: str) -> None:
        self._world.shown_at.update({key: location for key in keys if self._world.shown_at.get(key)})

    async def _sell(self, keys: set[str]) -> None:
        self._world.shown_at.update({key: None for key in keys if key in self._world.shown_at})

    # -- we look at it

    async def _pass(self, location: str, fault: Any, behind: int, look_up: Any) -> None:
        self._ends.fault, self._ends.behind, self._ends.look_up = fault, behind, look_up
        reading = self._reference.begin(location)
        after = max(reading.shown, default="")
        keys = [key for key in self._world.at(location) if key > after]
        try:
            await read_location(self._db, self._reader, self._source, location)
        except Killed:
            self.seen["killed"] += 1
            if fault == "kill" and behind < -(-len(keys) // PAGE):  # the page that was being written is in, or not
                self._reference.show(reading, await self._written())
                self._reference.killed(reading)
                return
        self._refer(reading, keys)

    async def _written(self) -> list[str]:
        async with self._db.connection() as conn:
            rows = await conn.fetch(
                """SELECT p.source_key FROM scraping_jobs AS r JOIN location_passes AS lp USING (run_id)
                   JOIN pass_shown AS s USING (pass_id) JOIN mls_properties AS p ON p.property_id = s.key
                   WHERE r.source = $1 AND r.status = 'running'""",
                self._name,
            )
        return [row[0] for row in rows]

    def _refer(self, reading: Reading, keys: list[str]) -> None:
        ends, pages = self._ends, -(-len(keys) // PAGE)
        stops = ends.fault in {"error", "cap"} and ends.behind < pages
        self._reference.show(reading, keys[: ends.behind * PAGE] if stops else keys)
        unread = ends.fault == "broken record" and ends.behind < pages
        complete = not stops and not unread and ends.fault != "unproven"
        self._reference.end(reading, complete=complete)
        if complete:
            self.seen["complete"] += 1
            killed, readable = ends.look_up == "kill", ends.look_up != "unreadable"
            self._reference.settle(self._answers(), killed_when_asked=killed, readable=readable)

    def _answers(self) -> dict[str, bool | None]:
        if self._ends.look_up == "fails":
            return dict.fromkeys(KEYS)
        if self._reference.looks_up == "directly":
            return {key: key in self._world.shown_at for key in KEYS}
        return {key: self._world.shown_at.get(key) is not None for key in KEYS}

    async def _push(self, key: str, location: str) -> None:
        record = {**a_listing(key), "ListPrice": self._world.price}
        await push(self._db, NORMALISER, [record], source=self._name, location=location)
        self._reference.push(key, location)

    async def _decide(self, release: bool) -> None:  # noqa: FBT001 - as it is drawn
        async with self._db.connection() as conn:
            open_ = [h for h in await store.holds(conn) if h["source"] == self._name]
        for hold in open_:
            await absence.decide_hold(self._db, hold["hold_id"], "released" if release else "rejected")
            self._reference.decide(hold["location"], release=release)
            self.seen["released" if release else "rejected"] += 1

    async def _storm(self, location: str, look_up: Any, release: bool | None) -> None:  # noqa: FBT001 - as it is drawn
        """Nearly all of a location vanishes, three passes say so, and perhaps a person decides."""
        await self._appear(set(KEYS[:20]), location)
        await self.do("pass", location, "none", 0, look_up)
        await self._vanish(set(KEYS[:20]))
        for _ in range(3):
            await self.do("pass", location, "none", 0, look_up)
        if release is not None:
            await self._decide(release)

    # -- and compare

    async def _compare(self, step: object) -> None:
        async with self._db.connection() as conn:
            states = await conn.fetch(
                "SELECT source_key, absence_state, a.evidence IS NOT NULL AS proven FROM mls_properties AS p"
                " LEFT JOIN absences AS a USING (property_id) WHERE source = $1",
                self._name,
            )
            counts = await conn.fetch(
                """SELECT l.name, p.source_key, count(c.pass_id) AS passes, ll.left_at IS NOT NULL AS away
                   FROM location_listings AS ll JOIN locations AS l USING (location_id)
                   JOIN mls_properties AS p USING (property_id)
                   LEFT JOIN location_passes AS c
                     ON c.location_id = ll.location_id AND c.outcome = 'complete' AND c.pass_id >= ll.missing_since
                   WHERE l.source = $1 GROUP BY 1, 2, 4""",
                self._name,
            )
            told = await conn.fetch(
                "SELECT e.type, p.source_key FROM events AS e JOIN mls_properties AS p USING (property_id)"
                " WHERE p.source = $1 AND e.type IN ('listing.gone', 'listing.returned') ORDER BY e.seq",
                self._name,
            )
            holds = {h["location"]: h["still_held"] for h in await store.holds(conn) if h["source"] == self._name}
        reference = self._reference
        assert {row[0]: row[1] for row in states} == reference.state, step
        assert {row[0] for row in states if row[2]} == {k for k, s in reference.state.items() if s != "listed"}, step
        expected = {key: (len(here.absent_from), here.gone_elsewhere) for key, here in reference.at.items()}
        assert {(row[0], row[1]): (row[2], row[3]) for row in counts} == expected, step
        assert sorted(map(tuple, told)) == sorted(reference.told), step
        assert holds == reference.holds(), step
        self.seen["absent"] = sum(1 for kind, _ in reference.told if kind == "listing.gone")
        self.seen["returned"] = len(reference.told) - self.seen["absent"]
        self.seen["held"] += bool(holds)


def explore(bench: Bench, wanted: int) -> None:
    examples = -(-wanted // LENGTH)

    @seed(SEED)
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def play(drawn: tuple[Any, list[tuple[Any, ...]]]) -> None:
        bench.play(*drawn)

    try:
        play()
    except BaseException as error:
        error.add_note(f"again: PASSES_SEED={SEED} PASSES_STEPS={wanted}")
        raise


def test_nothing_is_called_gone_but_by_the_rules(server_number: Callable[[int], Server]) -> None:
    with server_number(0).database() as dsn, a_bench(dsn) as bench:
        explore(bench, STEPS)

    print(f"{bench.steps:,} steps, seed {SEED}: {dict(bench.seen)}")  # noqa: T201 - by hand, with -s
    assert bench.steps >= STEPS
    missed = {"complete", "killed", "absent", "returned", "held", "released", "rejected"} - set(+bench.seen)
    assert not missed, f"this history never got to {missed}"


EVERY_RULE = [
    ("pass", "north", "none", 0, "answers"),
    ("pass", "south", "none", 0, "answers"),
    ("sell", {"L00", "L01"}),
    ("vanish", {"L02"}),
    ("move", {"L03"}, "south"),
    ("pass", "south", "none", 0, "answers"),
    *[("pass", "north", "none", 0, "unreadable")] * 2,
    *[("pass", "north", "none", 0, "fails")] * 2,
    ("move", {"L04", "L05"}, "south"),
    ("pass", "north", "none", 0, "answers"),
    ("pass", "south", "none", 0, "answers"),
    *[("pass", "north", "none", 0, "fails")] * 3,
    ("vanish", {"L06", "L07"}),
    *[("pass", "north", "none", 0, "fails")] * 4,
    *[("pass", "north", "none", 0, "answers")] * 3,
]
"""A history in which every rule of the table decides something, for one kind of source or another."""


def play_every_rule(bench: Bench) -> None:
    bench.play("directly", EVERY_RULE)
    bench.play("in_delivery", EVERY_RULE)
    bench.play("never", EVERY_RULE)


def test_history_with_every_rule_is_as_the_reference_says(server_number: Callable[[int], Server]) -> None:
    with server_number(0).database() as dsn, a_bench(dsn) as bench:
        play_every_rule(bench)


@pytest.mark.parametrize("rule", [rule.name for rule in table.RULES])
def test_each_rule_of_the_table_is_needed(
    rule: str, server_number: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "RULES", tuple(one for one in table.RULES if one.name != rule))

    wrong = (AssertionError, StopIteration, RuntimeError)
    with server_number(1).database() as dsn, a_bench(dsn) as bench, pytest.raises(wrong):
        play_every_rule(bench)


def test_the_brake_is_needed(server_number: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absence, "too_many_at_once", lambda vanishing, of: False)  # noqa: ARG005 - as it is called

    with server_number(0).database() as dsn, a_bench(dsn) as bench, pytest.raises(AssertionError):
        bench.play("never", [("storm", "north", "answers", True)])
