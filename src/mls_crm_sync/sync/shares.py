"""A delivery read by several processes: each reads all of it and takes its share of the records.

Which share a record is of follows from its ListingKey: the records of a listing stay in their order. A key that is
written in an unusual way (escapes, white space, a number) is of the first share; where a delivery writes the key of one
listing in two ways, its records may be taken in another order, as those of two deliveries at a time are.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from zlib import crc32

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources.base import Page
from mls_crm_sync.store import runs
from mls_crm_sync.store.database import Connection, Database

from .tally import Tally

NOTED_EVERY = 2.0
"""Seconds between two notes of a run's counts while several processes read it. Of a run that is killed they may say
less than what was stored, never more.
"""

_NAME = b'"ListingKey"'
_KEY = re.compile(_NAME + rb' ?: ?"([!#-\[\]-~]+)"')


@dataclass(frozen=True, slots=True)
class Progress:
    tally: Tally
    bytes_read: int  # of the delivery as it lies there, compressed or not


@dataclass(frozen=True, slots=True)
class Part:
    """What a share came to. `error` is why the delivery could not be read to its end, or None; `short` why it cannot be
    all of the location, by its own word.
    """

    tally: Tally
    error: SourceBroken | None
    short: str = ""


class Share(NamedTuple):
    number: int  # from 0
    of: int

    async def pages(self, pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
        """Yield our records, gathered to pages as large as the delivery's: a page costs the same, large or small.

        A page that is whole is yielded at once: the next one may be long in coming. Raises SourceBroken after all that
        came before the damage.
        """
        gathered: list[Page] = []
        try:
            async for page in pages:
                if gathered and gathered[0].origin != page.origin:
                    yield _joined(gathered)
                    gathered = []
                gathered.append(self._of_page(page))
                if len(gathered) == self.of:
                    yield _joined(gathered)
                    gathered = []
        except SourceBroken:
            if gathered:
                yield _joined(gathered)
            raise
        if gathered:
            yield _joined(gathered)

    def _of_page(self, page: Page) -> Page:
        """Return the page with our records alone; what is no record at all is the first share's."""
        if self.of == 1:
            return page
        mine = tuple(raw for raw in page.records if _number_of(raw.data) % self.of == self.number)
        return replace(page, records=mine, rejected=page.rejected if self.number == 0 else ())


ALL = Share(0, 1)


def _number_of(record: bytes) -> int:
    key = _KEY.match(record, max(0, record.find(_NAME)))  # a look for one text is ten times as fast as a search
    return 0 if key is None else crc32(key[1])


def _joined(pages: Sequence[Page]) -> Page:
    """One page of several that follow each other; how far it goes is how far the last one went."""
    if len(pages) == 1:
        return pages[0]
    records = tuple(raw for page in pages for raw in page.records)
    return replace(pages[-1], records=records, rejected=tuple(one for page in pages for one in page.rejected))


class Together:
    """Sums up what the shares of a run have come to, and keeps the run's counts up to date."""

    def __init__(self, db: Database, held: runs.Hold, shares: int, progress: Callable[[Progress], None]) -> None:
        self._db = db
        self._held = held
        self._progress = progress
        self._heard = [Progress(Tally(), 0)] * shares
        self._noted = time.monotonic()

    async def hear(self, share: int, progress: Progress) -> None:
        self._heard[share] = progress
        total = sum_of(one.tally for one in self._heard)
        self._progress(Progress(total, min(one.bytes_read for one in self._heard)))
        if time.monotonic() >= self._noted + NOTED_EVERY:
            self._noted = time.monotonic()
            await self._db.retrying(lambda conn: self._note(conn, total))

    async def _note(self, conn: Connection, total: Tally) -> None:
        await runs.note_counts(conn, self._held.run_id, total.as_dict())


def sum_of(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
