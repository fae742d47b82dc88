"""A pass over a location of a source: read to its end, with the source's own proof of how it ended.

The source says how its pass ended; the database knows which listings the pass showed, over restarts too. What follows
from a complete pass is in `absence.py`; here the source is asked for listings that the table wants looked up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

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

from .absence import LookUp, Told
from .ingest import IngestResult, ingest, ingest_by, proven, read_share
from .recognise import Reader
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


@dataclass(slots=True)
class _Pass:
    """One pass of a source over a location, from its run to its proof."""

    db: Database
    reader: Reader
    source: Source
    location: str
    progress: Callable[[Progress], None]
    reading: Reading = field(init=False)
    delivery: str | None = None
    read_in: int | None = None  # the newest complete pass that read the same delivery
    members: set[str] | None = field(default_factory=set)

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
        async with aclosing(self.reading.pages()) as pages, aclosing(self._noted(pages)) as noted:
            return [await read_share(self.db, self.reader, noted, held, progress=self.progress)]

    async def _noted(self, pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
        """Note which members the records have, as they pass."""
        async for page in pages:
            if self.members is not None:
                for raw in page.records:
                    self.members.update(_members_of(raw))
            yield page

    def end(self, tally: Tally, _: str) -> PassEnd:
        """Return how the pass ended, by the source's word; the same delivery once more proves nothing new."""
        outcome = self.reading.outcome
        if outcome is None:
            return PassEnd("partial", "the source did not say how it ended", self.delivery)
        if outcome.kind != "complete":
            return PassEnd(outcome.kind, outcome.evidence, self.delivery)
        if self.read_in is not None:
            return PassEnd("unproven", SAME_DELIVERY.format(self.read_in), self.delivery)
        members = sorted(self.members) if self.members is not None and tally.read else None
        return proven(tally, outcome.evidence)._replace(delivery=self.delivery, members=members)


def _members_of(raw: RawRecord) -> Sequence[str]:
    try:
        return list(_NAMES.decode(raw.data))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()  # the reader sets it aside


def look_up_of(db: Database, reader: Reader, source: Source) -> LookUp:
    """Return how a source is asked for single listings; what it finds is taken in as a run of its own."""

    async def ask(place: Place, cases: Sequence[Candidate]) -> Mapping[str, Told]:
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
        if found:
            await ingest(db, reader, _page_of(found), location=place.location, kind="look_up")
        return told

    return LookUp(LooksUp(source.looks_up), ask)


def _is_of(record: RawRecord, source_key: str) -> bool:
    """Whether a record is the listing that was asked for; one that cannot be read is nobody's."""
    try:
        return source_key_of(records.decode(record.data).record) == source_key
    except RecordRejected:
        return False


async def _page_of(found: Sequence[RawRecord]) -> AsyncIterator[Page]:
    yield Page(1, tuple(found), (), bytes_read=0, checkpoint={"page": 1}, origin="look-up")
