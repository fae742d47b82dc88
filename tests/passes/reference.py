"""When a listing is gone, in plain Python and other words than the product's: what each step must come to.

Written from the design: two complete passes in a row that did not show it, then the source's own word; three where it
has none to give; held where many would vanish at once; back as soon as anything shows it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Membership:
    """A listing at a location that has shown it."""

    shown_last: int = 0  # when the newest pass that showed it began
    absent_from: list[int] = field(default_factory=list)  # complete passes since, by when they began
    gone_elsewhere: bool = False


@dataclass
class Reading:
    """A pass that a process has begun, and not ended."""

    location: str
    began: int
    shown: set[str]


class Reference:
    def __init__(self, looks_up: Literal["directly", "in_delivery", "never"]) -> None:
        self.looks_up = looks_up
        self.now = 0
        self.state: dict[str, str] = {}
        self.at: dict[tuple[str, str], Membership] = {}
        self.left_over: Reading | None = None  # of a process that was killed
        self.unsettled: list[str] = []  # locations, in the order in which they were first seen
        self.known_locations: list[str] = []
        self.held_by: dict[str, str] = {}  # which location's hold
        self.decided: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []

    # -- what passes do

    def begin(self, location: str) -> Reading:
        """Begin to read a location, or go on where a process that was killed was; what another left is ended."""
        self.now += 1
        if location not in self.known_locations:
            self.known_locations.append(location)
        left, self.left_over = self.left_over, None
        if left is not None and left.location == location and left.shown:
            return left
        if left is not None:
            self._fold(left, complete=False)
        return Reading(location, self.now, set())

    def show(self, reading: Reading, keys: list[str]) -> None:
        reading.shown.update(keys)
        for key in keys:
            self.state.setdefault(key, "listed")
            self.at.setdefault((reading.location, key), Membership(shown_last=reading.began))

    def killed(self, reading: Reading) -> None:
        self.left_over = reading

    def end(self, reading: Reading, *, complete: bool) -> None:
        self._fold(reading, complete=complete)
        if complete and reading.location not in self.unsettled:
            self.unsettled.append(reading.location)

    def _fold(self, reading: Reading, *, complete: bool) -> None:
        for (location, key), here in self.at.items():
            if location != reading.location:
                continue
            if key in reading.shown:
                here.shown_last, here.absent_from, here.gone_elsewhere = reading.began, [], False
            elif complete and not here.gone_elsewhere:
                here.absent_from.append(reading.began)
        for key in sorted(reading.shown):
            self._is_there(key)

    def push(self, key: str, location: str) -> None:
        self.now += 1
        left, self.left_over = self.left_over, None
        if left is not None:
            self._fold(left, complete=False)
        if location not in self.known_locations:
            self.known_locations.append(location)
        self._seen_singly(key)
        self.at.setdefault((location, key), Membership())

    def _seen_singly(self, key: str) -> None:
        self.state.setdefault(key, "listed")
        for (_, one), here in self.at.items():
            if one == key and here.absent_from:
                here.absent_from, here.gone_elsewhere = [], True
        self._is_there(key)

    def _is_there(self, key: str) -> None:
        if self.state[key] == "absent":
            self.told.append(("listing.returned", key))
        self.state[key] = "listed"
        self.held_by.pop(key, None)

    # -- what follows

    def settle(self, answers: dict[str, bool | None], *, killed_when_asked: bool, readable: bool) -> bool:
        """Let follow what follows. `answers`: whether the source has it, None: it does not say; `readable`: what it has
        can be taken in. False when the process was killed on the way.
        """
        for location in sorted(self.unsettled, key=self.known_locations.index):
            asked, vanishing, leaving = self._unasked(location)
            if asked and killed_when_asked:
                return False
            for here in leaving:
                here.absent_from, here.gone_elsewhere = [], True
            for key in asked:
                here = self.at[location, key]
                if answers[key]:
                    here.absent_from, here.gone_elsewhere = [], True
                    if readable:
                        self._seen_singly(key)
                elif self.looks_up == "directly":
                    if answers[key] is False:
                        vanishing.append(key)
                elif len(here.absent_from) >= 3:
                    vanishing.append(key)
            self._vanish(location, sorted(vanishing))
            self.unsettled.remove(location)
        return True

    def _unasked(self, location: str) -> tuple[list[str], list[str], list[Membership]]:
        """Return whom the source is asked for, who vanishes without (it cannot be asked), and who is elsewhere."""
        asked, vanishing, leaving = [], [], []
        for (at, key), here in self.at.items():
            passes = len(here.absent_from)
            if at != location or not passes or self.state[key] != "listed":
                continue
            if self._shown_elsewhere_since(key, location, here.absent_from[0]):
                leaving.append(here)
            elif passes >= 2 and self.looks_up != "never":
                asked.append(key)
            elif passes >= 3:
                vanishing.append(key)
        return asked, vanishing, leaving

    def _shown_elsewhere_since(self, key: str, location: str, began: int) -> bool:
        return any(here.shown_last > began for (at, one), here in self.at.items() if one == key and at != location)

    def _vanish(self, location: str, keys: list[str]) -> None:
        if not keys:
            return
        held = sum(1 for where in self.held_by.values() if where == location)
        of = sum(
            1 for (at, key), here in self.at.items()
            if at == location and not here.gone_elsewhere and (not here.absent_from or self.state[key] != "absent")
        )  # fmt: skip
        vanishing = len(keys) + held
        too_many = (vanishing >= 10 and vanishing > of / 5) or (vanishing > 50 and vanishing > of / 50)
        for key in keys:
            self.state[key] = "held" if too_many else "absent"
            if too_many:
                self.held_by[key] = location
            else:
                self.told.append(("listing.gone", key))

    # -- what a person does

    def decide(self, location: str, *, release: bool) -> None:
        for key in sorted(key for key, where in self.held_by.items() if where == location):
            del self.held_by[key]
            if release:
                self.state[key] = "absent"
                self.told.append(("listing.gone", key))
            else:
                self.state[key] = "listed"
                self.at[location, key].absent_from = []

    def holds(self) -> dict[str, int]:
        counts: dict[str, int] = defaultdict(int)
        for location in self.held_by.values():
            counts[location] += 1
        return dict(counts)
