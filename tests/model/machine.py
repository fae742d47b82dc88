"""The state machine: draws operations, does each in the model and in the product, and compares all there is.

The product is driven through its verbs (`sync/`) on a real database; the model never sees it. One operation is one
rule: a delivery of one to six records in one or several pages, a link, an edit, an import, a purge, and so on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch
from zoneinfo import ZoneInfo

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mls_crm_sync.core.errors import Refused
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync import ingest as ingesting
from mls_crm_sync.sync import quarantine as quarantine_verbs
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.purge import purge
from mls_crm_sync.sync.reader import Reader
from mls_crm_sync.sync.tally import Tally
from model import crm_requests
from model.bench import Bench
from model.compare import Comparison, Discrepancy, pairs, same
from model.crm_side import CUSTOM, OWN, PLAIN, Model, Over, Row
from model.deliveries import KEYS, MOODS, SOURCES, ZONES, Author, Record
from model.pieces import TABLES, TODAY
from model.reference import Counts
from model.world import Place, Refusal, SetAside

T = TypeVar("T")
EXAMPLE = 50  # steps; the database is emptied after them
LOCATIONS = ("10001", "10002")
CRM_IDS = ("c1", "c2", "c3", "c4", "c5", "c6")
PLATFORMS = ("default", "default", "default", "other-crm")
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

seeds = st.integers(0, 2**20)
picks = st.integers(0, 59)
records = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(MOODS), seeds), min_size=1, max_size=6)
sources = st.sampled_from(SOURCES)
locations = st.sampled_from(LOCATIONS)


class Machine(RuleBasedStateMachine):
    """One example."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        bench.empty()
        self._model = Model()
        self._author = Author()
        self._table = TODAY
        versions = {name: normaliser.version for name, normaliser in bench.normalisers.items()}
        self._comparison = Comparison(bench.conn, bench.hashes, versions)

    def teardown(self) -> None:
        if self._bench.operations:
            self._bench.run(self._comparison.check_payloads(self._model, TABLES))

    # -- one step

    def _step(self, expect: Callable[[], object], act: Callable[[], Awaitable[object]], what: str) -> None:
        """Do it in the model and in the product, compare what they answer, then all there is."""
        self._bench.operations += 1
        try:
            expected = _expected(expect)
            same(f"{what}: answer", expected, self._bench.run(_answer(act)))
            self._note(what, expected)
            self._bench.run(self._comparison.check(self._model, self._table))
        except Discrepancy:
            self._bench.found_at = self._bench.found_at or self._bench.operations
            raise

    def _note(self, what: str, expected: object) -> None:
        seen = self._bench.seen
        seen.update(f"change: {row.type}" for row in self._model.history)
        seen.update(f"event: {told.type}" for told in self._model.events)
        seen.update(f"status: {self._model.status_of(crm_id)}" for crm_id in self._model.crm)
        seen[f"{what}: {expected if str(expected).startswith('refused') else 'done'}"] += 1

    def _note_counts(self, what: str, counts: Counts) -> None:
        self._bench.seen.update({f"{what}: {name}": n for name, n in vars(counts).items() if isinstance(n, int)})

    @property
    def _normaliser(self) -> Normaliser:
        return self._bench.normalisers[self._table.name]

    def _reader(self, source: str) -> Reader:
        return Reader(source, self._normaliser, time_zone=_zone(source))

    # -- listings come in

    def _deliver(self, place: Place, written: Sequence[Record], size: int, *, complete: bool) -> None:
        numbered = list(enumerate(written, start=1))
        sheets = [numbered[at : at + size] for at in range(0, len(numbered), size)]
        expected: list[Any] = []

        def expect() -> object:
            ended = self._model.ingest(self._table, place, sheets, complete=complete)
            expected.append(ended)
            return ended.status

        async def act() -> object:
            with patch.object(ingesting, "FEW", 3):  # so that pages of both kinds come
                result = await ingest(
                    self._bench.db, self._reader(place.source), _pages(sheets), location=place.name, complete=complete
                )
            compare_counts(expected[0].counts, result.tally)
            self._note_counts("ingest", expected[0].counts)
            await self._compare_run(result, expected[0].outcome)
            return result.status

        self._step(expect, act, "ingest")

    async def _compare_run(self, result: IngestResult, outcome: str) -> None:
        row = await self._bench.conn.fetchrow(
            """SELECT j.run_id, j.status, j.kind, p.outcome, j.counts
               FROM scraping_jobs AS j JOIN location_passes AS p USING (run_id) ORDER BY run_id DESC LIMIT 1"""
        )
        expected = (self._model.runs, result.status, "ingest", outcome, result.tally.as_dict())
        same("the run's row", expected, tuple(row or ()))

    def _write(self, source: str, drawn: Sequence[tuple[str, str, int]]) -> list[Record]:
        return [self._author.write(source, key, mood, seed) for key, mood, seed in drawn]

    @initialize(seed=seeds)
    def something_to_begin_with(self, seed: int) -> None:
        for number, source in enumerate(SOURCES):
            written = self._write(source, [(key, "fresh", seed + n) for n, key in enumerate(KEYS[number:])])
            self._deliver(Place(source, LOCATIONS[0]), written, 6, complete=True)
        rows = [
            crm_requests.row(Random(seed + line), line, CRM_IDS[line - 2], [*PLAIN, "city"]) for line in range(2, 6)
        ]
        self._import("default", [*PLAIN, "city"], rows)
        for crm_id in CRM_IDS[:4]:
            self._link(crm_id, self._pick_listing(seed + ord(crm_id[1])), move=False)

    @rule(source=sources, location=locations, drawn=records, complete=st.booleans())
    def deliver_page(self, source: str, location: str, drawn: list[tuple[str, str, int]], complete: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        self._deliver(Place(source, location), self._write(source, drawn), 6, complete=complete)

    @rule(source=sources, location=locations, drawn=records, size=st.integers(1, 3))
    def deliver_pages(self, source: str, location: str, drawn: list[tuple[str, str, int]], size: int) -> None:
        self._deliver(Place(source, location), self._write(source, drawn), size, complete=False)

    @rule(source=sources, mood=st.sampled_from(MOODS), pick=picks, seed=seeds)
    def deliver_one(self, source: str, mood: str, pick: int, seed: int) -> None:
        written = self._write(source, [(KEYS[pick % len(KEYS)], mood, seed)])
        self._deliver(Place(source, LOCATIONS[0]), written, 1, complete=False)

    @rule(
        source=sources,
        key=st.sampled_from(KEYS),
        moods=st.lists(st.sampled_from(MOODS), min_size=2, max_size=4),
        seed=seeds,
    )
    def deliver_the_same_key_again_and_again(self, source: str, key: str, moods: list[str], seed: int) -> None:
        written = self._write(source, [(key, mood, seed + n) for n, mood in enumerate(moods)])
        self._deliver(Place(source, LOCATIONS[1]), written, 6, complete=False)

    @rule(source=sources, location=locations, mood=st.sampled_from(("same", "noise", "changed")), seed=seeds)
    def deliver_everything_again(self, source: str, location: str, mood: str, seed: int) -> None:
        written = self._write(source, [(key, mood, seed + n) for n, key in enumerate(KEYS)])
        self._deliver(Place(source, location), written, 6, complete=True)

    @rule(name=st.sampled_from(sorted(TABLES)), source=sources, drawn=records)
    def change_the_field_table(self, name: str, source: str, drawn: list[tuple[str, str, int]]) -> None:
        self._table = TABLES[name]
        self._deliver(Place(source, LOCATIONS[0]), self._write(source, drawn), 6, complete=False)

    @rule(
        crm_id=st.sampled_from(CRM_IDS),
        mood=st.sampled_from(("changed", "sold", "sold", "cleared", "older")),
        seed=seeds,
    )
    def change_what_is_linked(self, crm_id: str, mood: str, seed: int) -> None:
        self._change_what_is_linked(crm_id, mood, seed)

    def _change_what_is_linked(self, crm_id: str, mood: str, seed: int) -> None:
        listing = self._model.listings.get(str(getattr(self._model.crm.get(crm_id), "listing", None)))
        if listing is not None:
            written = self._write(listing.source, [(listing.key, mood, seed)])
            self._deliver(listing.home, written, 1, complete=False)

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds)
    def reprice_under_an_override(self, crm_id: str, seed: int) -> None:
        rng = Random(seed)
        self._edit(rng, crm_id, {}, {}, {"ListPrice": crm_requests.override(rng, "ListPrice")})
        self._change_what_is_linked(crm_id, "repriced", seed)

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds)
    def take_off_the_market_and_bring_back(self, crm_id: str, seed: int) -> None:
        self._change_what_is_linked(crm_id, "away", seed)
        self._change_what_is_linked(crm_id, "back", seed)

    @rule(name=st.sampled_from(sorted(TABLES)), source=sources, drawn=records, between=st.booleans())
    def upgrade_to_what_can_read_them(
        self,
        name: str,
        source: str,
        drawn: list[tuple[str, str, int]],
        between: bool,  # noqa: FBT001 - hypothesis passes by name
    ) -> None:
        self._table = TABLES["stricter"]
        self._deliver(Place(source, LOCATIONS[0]), self._write(source, drawn), 6, complete=False)
        self._table = TABLES[name]
        if between:
            self._deliver(Place(source, LOCATIONS[1]), self._write(source, drawn[:1]), 6, complete=False)
        self._retry(source)

    @rule(source=sources)
    def try_quarantined_records_again(self, source: str) -> None:
        self._retry(source)

    def _retry(self, source: str) -> None:
        numbers = _one_of_each_listing(self._model.set_aside, source)
        chosen = [self._model.set_aside[n] for n in numbers]
        ids = [self._comparison.quarantine_ids[n] for n in numbers]
        expected: list[Counts] = []

        def expect() -> object:
            tried, resolved, counts = self._model.retry(self._table, chosen)
            expected.append(counts)
            return tried, resolved

        async def act() -> object:
            zone = _zone(source)
            done = await quarantine_verbs.retry(self._bench.db, self._normaliser, ids, time_zone=zone)
            compare_counts(expected[0], done.tally)
            self._note_counts("retry", expected[0])
            return done.tried, done.resolved

        self._step(expect, act, "retry")

    @rule(pick=picks)
    def purge(self, pick: int) -> None:
        listing = self._pick_listing(pick, unknown=pick < 4)
        self._step(lambda: self._model.purge(listing), lambda: purge(self._bench.db, listing), "purge")

    # -- links

    def _pick_listing(self, pick: int, *, unknown: bool = False) -> str:
        known = sorted(self._model.listings)
        return known[pick % len(known)] if known and not unknown else "no-such-listing"

    def _link(self, crm_id: str, listing: str, *, move: bool) -> None:
        unsynced = self._normaliser.unsynced

        async def act() -> object:
            done = await links.link(self._bench.db, unsynced, crm_id, listing, move=move)
            return done.linked, done.field_names

        self._step(lambda: self._model.link(self._table, crm_id, listing, move=move), act, "link")

    @rule(crm_id=st.sampled_from(CRM_IDS), pick=picks, move=st.booleans())
    def link(self, crm_id: str, pick: int, move: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        self._link(crm_id, self._pick_listing(pick, unknown=pick < 2), move=move)

    @rule(rows=st.lists(st.tuples(st.sampled_from(CRM_IDS), st.sampled_from((*KEYS, "nobody")), picks), min_size=1, max_size=4),  # noqa: E501
          source=st.sampled_from((None, *SOURCES)))  # fmt: skip
    def link_by_file(self, rows: list[tuple[str, str, int]], source: str | None) -> None:
        by_key = [(line, crm_id, None if pick % 2 else self._pick_listing(pick), key if pick % 2 else None)
                  for line, (crm_id, key, pick) in enumerate(rows, start=2)]  # fmt: skip

        async def act() -> object:
            asked = [LinkRow(line, crm_id, listing, key) for line, crm_id, listing, key in by_key]
            done = await links.link_rows(self._bench.db, self._normaliser.unsynced, asked, source=source)
            errors = [(e.line, e.id, e.code) for e in done.errors]
            return done.linked, done.unchanged, done.filled, errors

        self._step(lambda: self._model.link_file(self._table, source, by_key), act, "link file")

    @rule(crm_id=st.sampled_from(CRM_IDS), restore_own=st.booleans())
    def unlink(self, crm_id: str, restore_own: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        verb = partial(links.unlink, self._bench.db, crm_id, restore_own=restore_own)
        self._step(lambda: self._model.unlink(crm_id, restore_own=restore_own), verb, "unlink")

    # -- syncing by hand

    def _drift(self, crm_id: str, seed: int) -> None:
        """Somebody writes over a field of a linked CRM property; the sync that follows must mend it."""
        crm = self._model.crm.get(crm_id)
        if crm is None or crm.listing is None:
            return
        name = ("ListPrice", "PrivateRemarks", "Nonsense")[seed % 3]
        self._model.drift(crm_id, name)
        sql = """UPDATE crm_properties SET fields = fields || jsonb_build_object($2::text, 'drifted') WHERE id = $1"""
        self._bench.run(self._bench.conn.execute(sql, crm_id, name))

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds, drift=st.booleans())
    def sync_one(self, crm_id: str, seed: int, drift: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        if drift:
            self._drift(crm_id, seed)

        async def act() -> object:
            done = await links.sync_crm_property(self._bench.db, self._normaliser.unsynced, crm_id)
            return done.field_names if done else None

        self._step(lambda: self._model.sync_one(self._table, crm_id), act, "sync one")

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds)
    def sync_the_listing_of(self, crm_id: str, seed: int) -> None:
        self._drift(crm_id, seed)
        listing = getattr(self._model.crm.get(crm_id), "listing", None) or "no-such-listing"

        async def act() -> object:
            done = await links.sync_listing(self._bench.db, self._normaliser.unsynced, listing)
            return done.properties, pairs(done.changed)

        self._step(lambda: self._model.sync_listing(self._table, listing), act, "sync listing")

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds)
    def sync_all(self, crm_id: str, seed: int) -> None:
        self._drift(crm_id, seed)

        async def act() -> object:
            done = await links.sync_all(self._bench.db, self._normaliser.unsynced)
            return done.properties, pairs(done.changed)

        self._step(lambda: self._model.sync_all(self._table), act, "sync all")

    # -- the CRM's own doing

    def _import(self, platform: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        def expect() -> object:
            done = self._model.import_rows(platform, columns, rows)
            return done.made, done.changed, done.unchanged, done.errors

        async def act() -> object:
            lines = [(row.line, {"id": row.id, **row.cells}) for row in rows]
            done = await crm.import_rows(self._bench.db, ["id", *columns], lines, platform=platform)
            return done.made, done.changed, done.unchanged, [(e.line, e.id, e.code) for e in done.errors]

        self._step(expect, act, "import")

    @rule(
        platform=st.sampled_from(PLATFORMS),
        ids=st.lists(st.sampled_from((*CRM_IDS, "")), min_size=1, max_size=4),
        seed=seeds,
    )
    def import_crm_properties(self, platform: str, ids: list[str], seed: int) -> None:
        rng = Random(seed)
        columns = [name for name in (*PLAIN, *OWN, *CUSTOM) if rng.random() < 0.4]
        self._import(
            platform,
            columns,
            [crm_requests.row(rng, line, crm_id, columns) for line, crm_id in enumerate(ids, start=2)],
        )

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds)
    def edit(self, crm_id: str, seed: int) -> None:
        rng = Random(seed)
        values = {name: value for name, value in crm_requests.columns(rng).items() if rng.random() < 0.3}
        own = {
            name: crm_requests.given(rng, name) for name in ("City", "ListPrice", "PublicRemarks") if rng.random() < 0.3
        }
        self._edit(rng, crm_id, values, own, {})

    @rule(crm_id=st.sampled_from(CRM_IDS), seed=seeds)
    def override(self, crm_id: str, seed: int) -> None:
        rng = Random(seed)
        names = rng.sample(("ListPrice", "StandardStatus", "City", "BedroomsTotal", "PublicRemarks"), rng.randint(1, 2))
        self._edit(rng, crm_id, {}, {}, {name: crm_requests.override(rng, name) for name in names})

    def _edit(
        self,
        rng: Random,
        crm_id: str,
        values: Mapping[str, Any],
        own: Mapping[str, tuple[Any, Any]],
        overrides: Mapping[str, Over],
    ) -> None:
        known = self._model.crm.get(crm_id)
        version = rng.choice((None, None, known.version if known else 1, 99))
        change = crm.Edit(
            values=values,
            own={name: given for name, (given, _) in own.items()},
            overrides={n: crm.Override(o.given, o.by, o.reason, o.expires) for n, o in overrides.items()},
            version=version,
        )
        forms = {name: form for name, (_, form) in own.items()}
        self._step(
            lambda: self._model.edit(crm_id, values, forms, overrides, version=version, now=NOW),
            lambda: crm.edit(self._bench.db, crm_id, change, now=NOW),
            "edit",
        )

    @precondition(lambda self: len(self._model.crm) > len(CRM_IDS) // 2)
    @rule(crm_id=st.sampled_from(CRM_IDS))
    def delete(self, crm_id: str) -> None:
        self._step(lambda: self._model.delete(crm_id), lambda: crm.delete(self._bench.db, crm_id), "delete")


def _one_of_each_listing(rows: Sequence[SetAside], source: str) -> list[int]:
    """Records to try again: the newest of each listing, and of each run those that were set aside together.

    Which of several records of a listing wins, and in how many runs they are tried, is not modelled.
    """
    chosen: dict[str, int] = {}
    together: dict[tuple[Place, int], int] = {}
    for number, row in reversed(list(enumerate(rows))):
        open_here = row.resolved is None and row.place.source == source
        if open_here and together.setdefault((row.place, row.run), row.last) == row.last:
            chosen.setdefault(row.record.id, number)
    return sorted(chosen.values())


def compare_counts(expected: Counts, tally: Tally) -> None:
    found = tally.as_dict()
    names = ("read", "new", "changed", "unchanged", "quarantined", "superseded", "renormalised", "crm_updated")
    same("tally", {n: getattr(expected, n) for n in names}, {n: found[n] for n in names})
    same("tally: changes", dict(expected.changes), found["changes"])
    same("tally adds up", found["read"], found["new"] + found["changed"] + found["unchanged"] + found["quarantined"])
    for name in ("recognised", "older"):
        least, number = getattr(expected, name), found[name]
        most = least + expected.perhaps_recognised
        same(f"tally: {number} {name}, from {least} to {most}", True, least <= number <= most)  # noqa: FBT003


def _expected(expect: Callable[[], object]) -> object:
    try:
        return expect()
    except Refusal as refusal:
        return f"refused: {refusal.code}"


async def _answer(act: Callable[[], Awaitable[object]]) -> object:
    try:
        return await act()
    except Refused as refused:
        return f"refused: {refused.code}"


async def _pages(sheets: Sequence[Sequence[tuple[int, Record]]]) -> AsyncIterator[Page]:
    for number, sheet in enumerate(sheets, start=1):
        raws = tuple(RawRecord(position, record.data) for position, record in sheet)
        yield Page(number, raws, (), bytes_read=0, checkpoint={"page": number})


def _zone(source: str) -> ZoneInfo | None:
    name = ZONES[source]
    return ZoneInfo(name) if name else None


def explore(bench: Bench, *, operations: int, seed: int, shrink: bool = False) -> None:
    """Do at least so many operations, in examples of EXAMPLE steps. Raises Discrepancy with the steps that led there."""  # noqa: E501

    def machine() -> Machine:
        return Machine(bench)

    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    while (missing := operations - bench.operations) > 0:
        size = settings(
            max_examples=-(-missing // EXAMPLE),
            stateful_step_count=EXAMPLE,
            phases=phases,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),  # an operation takes as long as a database takes
        )
        run_state_machine_as_test(hypothesis.seed(seed + bench.operations)(machine), settings=size)  # type: ignore[arg-type]  # a factory, as its documentation allows
