"""A pass over a location of a source: read to its end, with the source's own proof of how it ended.

The source says how its pass ended; the database knows which listings the pass showed, over restarts too. What follows
from a complete pass is in `absence.py`; here the source is asked for listings that the table wants looked up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from mls_crm_sync.core import records
from mls_crm_sync.core.absence import LooksUp, Said
from mls_crm_sync.core.errors import RecordRejected
from mls_crm_sync.core.listing import source_key_of
from mls_crm_sync.sources.base import Found, NotThere, Page, RawRecord, Reading, Source, Unknown, Wanted
from mls_crm_sync.store import runs
from mls_crm_sync.store.absence import Candidate, Place
from mls_crm_sync.store.database import Database
from mls_crm_sync.store.runs import PassEnd

from . import absence
from .absence import ASKED_AT_ONCE, LookUp, Told
from .finishing import LINKED_LISTINGS
from .ingest import IngestResult, end_unread, ingest, ingest_by, ingest_held, proven, read_share
from .reader import Reader
from .shares import Part, Progress
from .tally import Tally

SAME_DELIVERY = "it was read before, in pass {}"
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def read_location(
    db: Database,
    reader: Reader,
    source: Source,
    location: str,
    *,
    kind: runs.RunKind = "manual",
    progress: Callable[[Progress], None] = lambda _: None,
) -> IngestResult | None:
    """Read a location of a source to its end; None where its newest delivery is the one that was read last.

    Goes on with the run of an earlier process that went away in the middle. Raises what `ingest` raises; how the world
    ended a pass stands in the result.
    """
    one = _Pass(db, reader, source, location, progress=progress)
    if await one.begin(source.read(location)):
        return None
    return await ingest_by(
        db, reader.source, location, one.read, proof=one.end, look_up=look_up_of(db, reader, source), kind=kind,
        resume=True,
    )  # fmt: skip


async def read_taken(
    db: Database,
    reader: Reader,
    source: Source,
    location: str,
    held: runs.Hold,
    *,
    limit: int,
    progress: Callable[[Progress], None] = lambda _: None,
) -> IngestResult:
    """Read a location for a run that workers share, at most `limit` records of it; go on where another worker was.

    Raises RunLost where it was given away or cancelled meanwhile, StoreUnavailable; how the world ended the pass stands
    in the result.
    """
    one = _Pass(db, reader, source, location, progress=progress, limit=limit)
    if held.begun is None and await one.begin(source.read(location)):
        return await end_unread(db, held, "same_delivery", one.end(Tally(), ""))
    result = await ingest_held(db, held, one.read, proof=one.end)
    if result.end.outcome == "complete":
        result.settled = await absence.settle(db, reader.source, look_up_of(db, reader, source))
    return result


@dataclass(slots=True)
class _Pass:
    """One pass of a source over a location, from its run to its proof."""

    db: Database
    reader: Reader
    source: Source
    location: str
    progress: Callable[[Progress], None]
    limit: int | None = None  # records, over all processes that read the pass
    reading: Reading = field(init=False)
    delivery: str | None = None
    read_in: int | None = None  # the newest complete pass that read the same delivery
    members: set[str] | None = field(default_factory=set)
    capped: bool = False

    async def begin(self, reading: Reading) -> bool:
        """Take a reading for this pass; return whether the newest complete pass of the location read the same."""
        self.reading = reading
        self.delivery = await asyncio.to_thread(lambda: reading.delivery)
        newest, self.read_in = False, None
        if self.delivery is not None:
            async with self.db.connection() as conn:
                newest, self.read_in = await runs.deliveries(conn, self.reader.source, self.location, self.delivery)
        return newest

    async def read(self, held: runs.Hold) -> list[Part]:
        if held.begun:
            self.members = None  # nobody looked at what came before
            await self.begin(self.source.read(self.location, held.begun.checkpoint))
        left = None if self.limit is None else self.limit - (held.begun.counts.get("read", 0) if held.begun else 0)
        async with aclosing(self.reading.pages()) as pages, aclosing(self._noted(pages, left)) as noted:
            return [await read_share(self.db, self.reader, noted, held, progress=self.progress)]

    async def _noted(self, pages: AsyncIterator[Page], left: int | None) -> AsyncGenerator[Page, None]:
        """Let at most `left` records through, and note which members they have, as they pass."""
        async for page in pages:
            size = len(page.records) + len(page.rejected)
            if left is not None and size > left:
                self.capped = True
                if left:
                    yield _cut(page, left)
                return
            left = None if left is None else left - size
            if self.members is not None:
                for raw in page.records:
                    self.members.update(_members_of(raw))
            yield page

    def end(self, tally: Tally, _: str) -> PassEnd:
        """Return how the pass ended, by the source's word; the same delivery once more proves nothing new."""
        if self.capped:
            return PassEnd("capped", f"the limit of {self.limit:,} listings was reached", self.delivery)
        outcome = self.reading.outcome
        if outcome is None and self.read_in is not None:
            return PassEnd("unproven", SAME_DELIVERY.format(self.read_in), self.delivery)
        if outcome is None:
            return PassEnd("partial", "the source did not say how it ended", self.delivery)
        if outcome.kind != "complete":
            return PassEnd(outcome.kind, outcome.evidence, self.delivery)
        if self.read_in is not None:
            return PassEnd("unproven", SAME_DELIVERY.format(self.read_in), self.delivery)
        members = sorted(self.members) if self.members is not None and tally.read else None
        return proven(tally, outcome.evidence)._replace(delivery=self.delivery, members=members)


def _cut(page: Page, left: int) -> Page:
    return replace(page, records=page.records[:left], rejected=page.rejected[: max(0, left - len(page.records))])


def _members_of(raw: RawRecord) -> Sequence[str]:
    try:
        return list(_NAMES.decode(raw.data))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()  # the reader sets it aside


def look_up_of(db: Database, reader: Reader, source: Source) -> LookUp:
    """Return how a source is asked for single listings; what it finds is taken in as a run of its own."""

    async def ask(place: Place, cases: Sequence[Candidate]) -> Mapping[str, Told]:
        told, found = await _asked(source, cases)
        if found:
            await ingest(db, reader, _page_of(found), location=place.location, kind="look_up")
        return told

    return LookUp(LooksUp(source.looks_up), ask)


async def look_up_taken(
    db: Database,
    reader: Reader,
    source: Source,
    held: runs.Hold,
    wanted: Sequence[Case],
) -> IngestResult:
    """Ask a source for linked listings that no pass of a run showed; take in what it has. Raises as `read_taken`."""
    if source.looks_up == "never":
        never = PassEnd("unproven", "the source cannot be asked for single listings")
        return await end_unread(db, held, "not_asked", never)
    said: Counter[Said] = Counter()

    async def pages() -> AsyncGenerator[Page, None]:
        for number, at in enumerate(range(0, len(wanted), ASKED_AT_ONCE), start=1):
            told, found = await _asked(source, wanted[at : at + ASKED_AT_ONCE])
            said.update(one.said for one in told.values())
            yield Page(number, tuple(found), (), bytes_read=0, checkpoint={"page": number}, origin="look-up")

    async def read(held: runs.Hold) -> list[Part]:
        async with aclosing(pages()) as asked:
            return [await read_share(db, reader, asked, held)]

    def end(_: Tally, __: str) -> PassEnd:
        counts = (said[Said.FOUND], said[Said.NOT_THERE], said[Said.UNKNOWN])
        return PassEnd("unproven", "{:,} found, {:,} not there, {:,} unknown".format(*counts))

    return await ingest_held(db, held, read, proof=end)


async def look_up_one(db: Database, reader: Reader, source: Source, case: Case) -> Told:
    """Ask a source for one listing, and take in what it has. Raises as `ingest` does."""
    told, found = await _asked(source, [case])
    if found:
        await ingest(db, reader, _page_of(found), location=LINKED_LISTINGS, kind="look_up")
    return told[case.property_id]


class Case(Protocol):
    """A listing that is asked for: a case of absence, or one that is linked."""

    @property
    def property_id(self) -> str: ...
    @property
    def source_key(self) -> str: ...
    @property
    def address(self) -> str | None: ...
    @property
    def postal_code(self) -> str | None: ...


async def _asked(source: Source, cases: Sequence[Case]) -> tuple[dict[str, Told], list[RawRecord]]:
    """Ask a source for listings; return what it said of each, by property_id, and the records that it has."""
    answers = await source.look_up([Wanted(c.source_key, c.address, c.postal_code) for c in cases])
    told: dict[str, Told] = {}
    found: list[RawRecord] = []
    for case in cases:
        match answers.get(case.source_key, Unknown("the source did not answer")):
            case Found(record) if _is_of(record, case.source_key):
                found.append(RawRecord(len(found) + 1, record.data))
                told[case.property_id] = Told(Said.FOUND, "the source has it")
            case Found():
                told[case.property_id] = Told(Said.UNKNOWN, "the source answered with another listing")
            case NotThere(evidence):
                told[case.property_id] = Told(Said.NOT_THERE, evidence)
            case Unknown(reason):
                told[case.property_id] = Told(Said.UNKNOWN, reason)
    return told, found


def _is_of(record: RawRecord, source_key: str) -> bool:
    """Whether a record is the listing that was asked for; one that cannot be read is nobody's."""
    try:
        return source_key_of(records.decode(record.data).record) == source_key
    except RecordRejected:
        return False


async def _page_of(found: Sequence[RawRecord]) -> AsyncIterator[Page]:
    yield Page(1, tuple(found), (), bytes_read=0, checkpoint={"page": 1}, origin="look-up")
