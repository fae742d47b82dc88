"""Listings that somebody hands us: the same ingest, without a file and without a pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mls_crm_sync.core import records
from mls_crm_sync.core.errors import RecordRejected
from mls_crm_sync.core.listing import Normaliser, source_key_of
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store import listings, quarantine
from mls_crm_sync.store.database import Database, Row

from .ingest import IngestResult, ingest
from .links import RowError
from .reader import Reader

LISTINGS_PER_PAGE = 500
PUSHED = "push"
"""The origin of records that may bring an id of their own."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """What came of a push: the run, the ids of the listings by the source's key, and the records set aside, each by its
    place, from 1, with its listing's key where it has one.
    """

    run: IngestResult
    ids: Mapping[str, str]
    quarantined: list[RowError]


async def push(
    db: Database, normaliser: Normaliser, records_: Sequence[Mapping[str, Any]], *, source: str, location: str
) -> PushResult:
    """Ingest listings given as records; each may bring a `property_id` of its own."""
    reader = Reader(source, normaliser, own_ids=True)
    run = await ingest(db, reader, _pages(records_), location=location, kind="push")
    keys = {key for record in records_ if (key := _key_of(record)) is not None}
    async with db.connection() as conn:
        ids = await listings.ids_by_source_key(conn, source, keys)
        broken = await quarantine.of_run(conn, run.run_id, limit=len(records_)) if run.tally.quarantined else []
    return PushResult(run, ids, _by_place(broken, records_, run.tally.quarantined))


def _by_place(broken: Sequence[Row], records_: Sequence[Mapping[str, Any]], count: int) -> list[RowError]:
    """The quarantine keeps one of several records that are the same; each is told of here."""
    places = {row["position"]: [row["position"]] for row in broken}
    if len(broken) < count:
        wanted = {records.encode(records_[place - 1]): place for place in places}
        for place, record in enumerate(records_, start=1):
            same = wanted.get(records.encode(record), place)
            if same != place:
                places[same].append(place)
    told = [
        RowError(place, row["source_key"] or "", row["reason"], row["detail"])
        for row in broken
        for place in places[row["position"]]
    ]
    return sorted(told, key=lambda error: error.line)


def _key_of(record: Mapping[str, Any]) -> str | None:
    try:
        return source_key_of(record)
    except RecordRejected:
        return None


async def _pages(records_: Sequence[Mapping[str, Any]]) -> AsyncIterator[Page]:
    for number, at in enumerate(range(0, len(records_), LISTINGS_PER_PAGE), start=1):
        chunk = records_[at : at + LISTINGS_PER_PAGE]
        raws = tuple(RawRecord(at + n, records.encode(record)) for n, record in enumerate(chunk, start=1))
        yield Page(number, raws, (), bytes_read=0, checkpoint={"page": number}, origin=PUSHED)
