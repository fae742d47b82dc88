"""A source's side of the world, as the model of passes moves it: listings that appear, move, are sold and vanish."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

from making import a_listing
from mls_crm_sync.core.errors import SourceUnavailable
from mls_crm_sync.sources.base import (
    Answer,
    Check,
    Checkpoint,
    Found,
    LooksUp,
    NotThere,
    Page,
    PassOutcome,
    RawRecord,
    Unknown,
    Wanted,
)

PAGE = 4


class Killed(BaseException):
    """The process is gone: nothing of it can be done any more."""


@dataclass
class World:
    """What the source has: where each listing is shown, or that it is known but shown nowhere (sold)."""

    shown_at: dict[str, str | None] = field(default_factory=dict)
    price: int = 500_000

    def at(self, location: str) -> list[str]:
        return sorted(key for key, place in self.shown_at.items() if place == location)

    def record(self, key: str) -> bytes:
        status = "Closed" if self.shown_at[key] is None else "Active"
        return orjson.dumps(a_listing(key, StandardStatus=status, MlsStatus=status, ListPrice=self.price))


@dataclass
class Ends:
    """How the next readings and look-ups end: by themselves, or by a fault behind so many pages."""

    fault: Literal["none", "error", "cap", "unproven", "broken record", "kill"] = "none"
    behind: int = 0  # pages
    look_up: Literal["answers", "fails", "unreadable", "kill"] = "answers"


class WorldSource:
    """Reads the world by location in the order of keys, and goes on behind the last key."""

    reads: Literal["location", "feed"] = "location"

    def __init__(self, world: World, ends: Ends, looks_up: LooksUp) -> None:
        self.looks_up: LooksUp = looks_up
        self.shown: list[str] = []  # by the newest reading
        self._world = world
        self._ends = ends

    async def check(self) -> Check:
        return Check(ok=True, detail="")

    async def locations(self) -> Sequence[str] | None:
        return None

    def read(self, location: str, checkpoint: Checkpoint | None = None) -> WorldReading:
        after = str(checkpoint["after"]) if checkpoint else ""
        keys = [key for key in self._world.at(location) if key > after]
        return WorldReading(self._world, self._ends, keys)

    async def look_up(self, wanted: Sequence[Wanted]) -> Mapping[str, Answer]:
        if self._ends.look_up == "kill":
            raise Killed
        return {one.source_key: self._answer(one.source_key) for one in wanted}

    def _answer(self, key: str) -> Answer:
        if self._ends.look_up == "fails":
            return Unknown("no answer")
        if key not in self._world.shown_at:
            return NotThere("404") if self.looks_up == "directly" else Unknown("it lies in no delivery")
        if self.looks_up == "in_delivery" and self._world.shown_at[key] is None:
            return Unknown("it lies in no delivery")
        record = self._world.record(key)
        if self._ends.look_up == "unreadable":
            record = orjson.dumps(orjson.loads(record) | {"ListPrice": {}})
        return Found(RawRecord(1, record))

    async def close(self) -> None:
        pass


class WorldReading:
    name = "the world"
    total_bytes = None

    def __init__(self, world: World, ends: Ends, keys: Sequence[str]) -> None:
        self._world = world
        self._ends = ends
        self._keys = keys
        self.delivery: str | None = None
        self.outcome: PassOutcome | None = None

    async def pages(self) -> AsyncGenerator[Page, None]:
        ends = self._ends
        for number, at in enumerate(range(0, len(self._keys), PAGE)):
            if number == ends.behind and ends.fault in {"error", "kill", "cap"}:
                self._end_early()
                return
            keys = self._keys[at : at + PAGE]
            records = [self._world.record(key) for key in keys]
            if ends.fault == "broken record" and number == ends.behind:
                records.append(b'{"ListingKey": "broken", "ListPrice": {}}')
            raws = tuple(RawRecord(n, data) for n, data in enumerate(records, start=1))
            yield Page(number + 1, raws, (), bytes_read=0, checkpoint={"after": keys[-1]})
        self.outcome = PassOutcome("unproven" if ends.fault == "unproven" else "complete", "read to its end")

    def _end_early(self) -> None:
        if self._ends.fault == "kill":
            raise Killed
        if self._ends.fault == "cap":
            self.outcome = PassOutcome("capped", "the limit was reached")
            return
        self.outcome = PassOutcome("unavailable", "no answer")
        raise SourceUnavailable("no_answer", "no answer")
