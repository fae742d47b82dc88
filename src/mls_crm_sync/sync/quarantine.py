"""Trying quarantined records again, by the same ingest that refused them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from zoneinfo import ZoneInfo

from mls_crm_sync.core.errors import QuarantineNotFound
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store import quarantine
from mls_crm_sync.store.database import Database, Row

from .ingest import ingest
from .push import PUSHED
from .reader import Reader
from .tally import Tally

RECORDS_PER_PAGE = 200


@dataclass(frozen=True, slots=True)
class RetrySummary:
    """`tried = resolved + still broken`; what was cut short, or never was a record, cannot be tried."""

    tried: int
    resolved: int
    cut_short: int
    tally: Tally


async def retry(
    db: Database,
    normaliser: Normaliser,
    ids: Sequence[int] | None = None,
    *,
    source: str | None = None,
    time_zone: ZoneInfo | None = None,
) -> RetrySummary:
    """Ingest open quarantined records again: the given ones, or all (of one source).

    A listing that has changed since its record was set aside is left as it is: the record is from before that.
    Raises QuarantineNotFound for an id that is not open.
    """
    async with db.connection() as conn:
        rows = await quarantine.to_retry(conn, source=source, ids=ids)
    missing = set(ids or ()) - {row["quarantine_id"] for row in rows}
    if missing:
        raise QuarantineNotFound(min(missing))
    whole = [row for row in rows if row["is_record"] and not row["truncated"]]
    total, resolved = Tally(), 0
    for (of_source, location, _, origin), group in groupby(whole, key=_of_one_run):
        chunk = list(group)
        result = await ingest(
            db,
            Reader(of_source, normaliser, time_zone=time_zone, own_ids=origin == PUSHED),
            _pages(db, [row["quarantine_id"] for row in chunk]),
            location=location,
            kind="retry",
            not_after=min(row["last_at"] for row in chunk),
        )
        total.add(result.tally)
        async with db.transaction() as conn:
            resolved += await quarantine.resolve_but(conn, [row["quarantine_id"] for row in chunk], result.run_id)
    return RetrySummary(len(whole), resolved, len(rows) - len(whole), total)


def _of_one_run(row: Row) -> tuple[str, str, int, str]:
    return row["source"], row["location"], row["run_id"], row["origin"]


async def _pages(db: Database, ids: Sequence[int]) -> AsyncIterator[Page]:
    for number, at in enumerate(range(0, len(ids), RECORDS_PER_PAGE), start=1):
        async with db.connection() as conn:
            found = await quarantine.payloads(conn, ids[at : at + RECORDS_PER_PAGE])
        records = tuple(RawRecord(position, data) for position, data in found)
        yield Page(number, records, (), bytes_read=0, checkpoint={"page": number}, origin="quarantine")
