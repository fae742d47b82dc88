"""What came of the records a run read, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

MAX_NAMES = 200
OTHERS = "(others)"


@dataclass(slots=True)
class Tally:
    """Counts of records. `read = new + changed + unchanged + quarantined`, for every page."""

    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    recognised: int = 0  # of the unchanged: told by their bytes, nothing was parsed
    older: int = 0  # of the unchanged: an earlier revision than the stored one
    superseded: int = 0  # of the unchanged: a retried record whose listing has changed since it was quarantined
    renormalised: int = 0  # listings whose stored form was brought up to date
    crm_updated: int = 0
    changes: Counter[str] = field(default_factory=Counter)  # listings by type of change, each once per type
    unknown_members: Counter[str] = field(default_factory=Counter)  # kept in the payload, not in the field table
    notes: Counter[str] = field(default_factory=Counter)  # what normalising had to mend

    def add(self, other: Tally) -> None:
        for name in _NUMBERS:
            if theirs := getattr(other, name):
                setattr(self, name, getattr(self, name) + theirs)
        for name in _COUNTERS:
            _update(getattr(self, name), getattr(other, name))

    def told(self, records: int) -> None:
        """Count records that their bytes told to say what is stored."""
        self.read += records
        self.unchanged += records
        self.recognised += records

    def set_aside(self, records: int) -> None:
        """Count records that could not be read."""
        self.read += records
        self.quarantined += records

    def name(self, unknown_members: Collection[str], notes: Collection[str]) -> None:
        """Count what one record brought that the field table does not know, and what had to be mended in it."""
        for counter, names in ((self.unknown_members, unknown_members), (self.notes, notes)):
            if len(counter) + len(names) <= MAX_NAMES:
                counter.update(names)
                continue
            for name in names:
                counter[name if name in counter or len(counter) < MAX_NAMES else OTHERS] += 1

    def plus(self, other: Tally) -> Tally:
        counters = {name: getattr(self, name).copy() for name in _COUNTERS}
        total = replace(self, **counters)
        total.add(other)
        return total

    @classmethod
    def of_dict(cls, counts: Mapping[str, Any]) -> Self:
        """Return what `as_dict` was made of."""
        tally = cls()
        for name, value in counts.items():
            setattr(tally, name, Counter(value) if isinstance(value, dict) else value)
        return tally

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them, names of members and types sorted."""
        values = ((name, getattr(self, name)) for name in _NAMES)
        return {name: dict(sorted(v.items())) if isinstance(v, Counter) else v for name, v in values}


def _update(counter: Counter[str], more: Counter[str]) -> None:
    """Count names, new ones only up to a bound: a source with ever new member names must not grow a run."""
    for name, times in more.items():
        counter[name if name in counter or len(counter) < MAX_NAMES else OTHERS] += times


_NAMES = tuple(f.name for f in fields(Tally))
_COUNTERS = ("changes", "unknown_members", "notes")
_NUMBERS = tuple(name for name in _NAMES if name not in _COUNTERS)
