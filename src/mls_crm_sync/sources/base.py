"""What every source keeps to: it turns the world into pages of raw records, and says how its pass ended.

Records are handed on as they were delivered, neither parsed nor judged: most of a re-read is known by
its bytes. A source decides nothing about listings and knows no database. `SourceBroken` is how a pass
ends that could not be read on; whatever was read before the damage has been handed out by then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

Checkpoint: TypeAlias = Mapping[str, int | str]
"""JSON-able; only the source that made it knows what it means."""


class RawRecord(NamedTuple):
    """One record as it was delivered: the JSON text of one object, UTF-8, unparsed and possibly broken.

    `position` is where people find it again: the physical line where it starts (JSON Lines, CSV),
    or its ordinal from 1 (JSON array).
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
    origin: str = ""  # the file, or what else the delivery calls itself
    short: str = ""  # why all this cannot be all of the location, by the delivery's own word; said once, last


@dataclass(frozen=True, slots=True)
class PassOutcome:
    """How a pass ended. `evidence` says how that is known.

    complete   the source knows that it showed all of the location
    unproven   read to its end, but nobody has said that this is all of the location
    broken     could not be read to its end
    """

    kind: Literal["complete", "unproven", "broken"]
    evidence: str


class Source(Protocol):
    """Where listings come from. An instance is good for one pass."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def total_bytes(self) -> int | None:
        """What `Page.bytes_read` will come to, or None where nobody knows beforehand."""

    @property
    def outcome(self) -> PassOutcome | None:
        """None until the pages have come to their end."""

    def pages(self) -> AsyncGenerator[Page, None]:
        """Read the pages in order, each record once; close it (`aclosing`) to stop early.

        Raises SourceBroken after the last page before the damage.
        """
