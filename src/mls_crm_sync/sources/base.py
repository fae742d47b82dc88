"""What every source keeps to: it turns the world into pages of raw records, and says how its pass ended.

Records are handed on as they were delivered, neither parsed nor judged: most of a re-read is known by
its bytes. A source decides nothing about listings and knows no database.

    Source     where listings come from, as somebody set it up: it checks itself, lists what it can, begins readings,
               and looks single listings up, or says that it cannot
    Reading    one pass over one location: its pages, and, at their end, how it ended

`SourceBroken` and what is below it in the error tree is how a pass ends that could not be read on; whatever was read
before the damage has been handed out by then. tests/sources/test_contract.py holds every registered source to this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec

Checkpoint: TypeAlias = Mapping[str, int | str]
"""JSON-able; only the source that made it knows what it means."""


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as it was delivered: the JSON text of one object, UTF-8, unparsed and possibly broken.

    `position` is where people find it again: the physical line where it starts (JSON Lines, CSV),
    or its ordinal from 1 (JSON array, pages of a service).
    """

    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """A piece of the delivery that is not even a record. `reason` is a stable word, `detail` for people."""

    position: int
    reason: str
    detail: str
    data: bytes  # what stood there, cut where it was too long


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in the order of the delivery.

    `bytes_read` counts the input as it lies there, compressed or not, from its beginning; it may run
    ahead of the page by what is being looked at. `checkpoint` says that all up to here was handed out.
    """

    number: int  # from 1
    records: tuple[RawRecord, ...]
    rejected: tuple[Rejected, ...]
    bytes_read: int
    checkpoint: Checkpoint
    origin: str = ""  # the file, the address, or what else the delivery calls itself
    short: str = ""  # why all this cannot be all of the location, by the delivery's own word; said once, last


Ending: TypeAlias = Literal[
    "complete", "unproven", "partial", "capped", "blocked", "refused", "rate_limited", "unavailable", "broken"
]


@dataclass(frozen=True, slots=True)
class PassOutcome:
    """How a pass ended. `evidence` says how that is known.

    complete      the source knows that it showed all of the location
    unproven      read to its end, but nobody has said that this is all of the location
    partial       it ended before its end: a page was missing, or the count that was announced was not reached
    capped        the source, or our own limit, ends before the location does
    blocked       an answer that is none of the source's: a block page, a log-in page
    refused       the source does not let us in (401, 403)
    rate_limited  the source asks us to slow down, longer than we wait (429)
    unavailable   no answer, or none in time (5xx, connection, deadline)
    broken        an answer that cannot be read to its end
    """

    kind: Ending
    evidence: str


class Reading(Protocol):
    """One pass over a location. An instance is good for one pass."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def total_bytes(self) -> int | None:
        """What `Page.bytes_read` will come to, or None where nobody knows beforehand."""

    @property
    def delivery(self) -> str | None:
        """What the delivery can be told by: read again, it is no second pass. None: each reading asks anew."""

    @property
    def outcome(self) -> PassOutcome | None:
        """None until the pages have come to their end."""

    def pages(self) -> AsyncGenerator[Page, None]:
        """Read the pages in order, each record once; close it (`aclosing`) to stop early.

        Raises SourceBroken, or what stands below it, after the last page before the damage.
        """


@dataclass(frozen=True, slots=True)
class Wanted:
    """A listing that is asked for by itself: by its key, or where a source has other means, by its address."""

    source_key: str
    address: str | None = None
    postal_code: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The source has the listing, and this is what it says of it now."""

    record: RawRecord


@dataclass(frozen=True, slots=True)
class NotThere:
    """The source says of itself that it does not have the listing. `evidence` is how it said so."""

    evidence: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The source did not say: it failed, or it cannot tell."""

    reason: str


Answer: TypeAlias = Found | NotThere | Unknown

LooksUp: TypeAlias = Literal["directly", "in_delivery", "never"]
"""directly: its NotThere is proof. in_delivery: it finds what lies there, and knows nothing of the rest. never: it
cannot."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a source found when it looked at itself. `detail` says what to do where it is not `ok`."""

    ok: bool
    detail: str


class Source(Protocol):
    """Where listings come from, as somebody set it up."""

    @property
    def reads(self) -> Literal["location", "feed"]:
        """By location, each for itself, or as one feed: a single location `*`."""

    @property
    def looks_up(self) -> LooksUp: ...

    async def check(self) -> Check:
        """Look whether it could be read now. Never raises for what the world does."""

    async def locations(self) -> Sequence[str] | None:
        """What it can read, sorted, or None where it cannot say. Raises SourceBroken."""

    def read(self, location: str, checkpoint: Checkpoint | None = None) -> Reading:
        """Begin a pass, or go on with one behind a checkpoint of its own. Reading is what raises."""

    async def look_up(self, wanted: Sequence[Wanted]) -> Mapping[str, Answer]:
        """Ask for single listings; an answer for each key. What the world does is `Unknown`, never an error."""

    async def close(self) -> None:
        """Give back what it holds."""


class Request(Protocol):
    """A request that was let through. Tell it what became of it, before the block ends."""

    def count(self, size: int) -> None:
        """So many bytes of the answer were received, as they came."""

    def answered(self) -> None:
        """The source did what it was asked."""

    def refused(self) -> None:
        """The source does not let us in."""

    def limited(self, retry_after: float | None) -> None:
        """The source asked us to slow down; `retry_after` in seconds, where it said."""

    def failed(self) -> None:
        """The source did not do what it was asked: 5xx, no connection, no answer in time."""


class Gate(Protocol):
    """Lets requests to one source through, one by one, at the pace that all processes have together."""

    def request(self) -> AbstractAsyncContextManager[Request]:
        """Wait for our turn. Raises RateLimited or SourceUnavailable where that would be too long."""


class OpenGate:
    """Lets everything through at once: for files, and for what is not worth a budget."""

    def request(self) -> AbstractAsyncContextManager[Request]:
        return _Free()


class _Free:
    async def __aenter__(self) -> Request:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def count(self, size: int) -> None:
        pass

    def answered(self) -> None:
        pass

    def refused(self) -> None:
        pass

    def limited(self, retry_after: float | None) -> None:
        pass

    def failed(self) -> None:
        pass
