"""Listings that somebody hands us: the same ingest, without a file and without a pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mls_crm_sync.core import records
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store import listings, quarantine
from mls_crm_sync.store.database import Database, Row

from .ingest import IngestResult, ingest
from .recognise import Reader

LISTINGS_PER_PAGE = 500


@dataclass(frozen=True, slots=True)
class PushResult:
    """What came of a push: the run, the ids of the listings by the source's key, and the records set aside."""

    run: IngestResult
    ids: Mapping[str, str]
    quarantined: list[Row]


async def push(
    db: Database, normaliser: Normaliser, records_: Sequence[Mapping[str, Any]], *, source: str, location: str
) -> PushResult:
    """Ingest listings given as records; each may bring a `property_id` of its own."""
    reader = Reader(source, normaliser, own_ids=True)
    run = await ingest(db, reader, _pages(records_), location=location, kind="push")
    keys = {key.strip() for record in records_ if isinstance(key := record.get("ListingKey"), str)}
    async with db.connection() as conn:
        ids = await listings.ids_by_source_key(conn, source, keys)
        broken = await quarantine.of_run(conn, run.run_id) if run.tally.quarantined else []
    return PushResult(run, ids, broken)


async def _pages(records_: Sequence[Mapping[str, Any]]) -> AsyncIterator[Page]:
    for number, at in enumerate(range(0, len(records_), LISTINGS_PER_PAGE), start=1):
        chunk = records_[at : at + LISTINGS_PER_PAGE]
        raws = tuple(RawRecord(at + n, records.encode(record)) for n, record in enumerate(chunk, start=1))
        yield Page(number, raws, (), bytes_read=0, checkpoint={"page": number})
