"""A delivery read by several processes: each looks through all of it and takes its share of the records.

Which share a record is of follows from its ListingKey: the records of a listing stay in their order. A key that is
written in an unusual way (escapes, white space, a number) is of the first share; where a delivery writes the key of one
listing in two ways, its records may be taken in another order, as those of two deliveries at a time are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.store import runs
from mls_crm_sync.store.database import Connection, Database

from .tally import Tally

NOTED_EVERY = 2.0
"""Seconds between two notes of a run's counts while several processes read it. Of a run that is killed they may say
less than what was stored, never more.
"""

_NAME = b'"ListingKey"'
_KEY = re.compile(_NAME + rb' ?: ?"([!#-\[\]-~]+)"')
_USUAL = re.compile(b"{" + _KEY.pattern)  # what most records begin with


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

    def takes(self, data: bytes, begin: int, end: int) -> bool:
        """Whether the record that stands there is ours; what is no record at all is the first share's."""
        key = _USUAL.match(data, begin, end)
        if key is None:
            at = data.find(_NAME, begin, end)  # a look for one text is ten times as fast as a search
            key = _KEY.match(data, at, end) if at >= 0 else None
        return (0 if key is None else crc32(key[1])) % self.of == self.number


ALL = Share(0, 1)


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
