"""When is a listing gone: the decision table, and the brake for many at once.

Nothing here follows from an error, a time-out, a cap or a short page: only complete passes count, and a case is made of
what several of them in a row did not show. Pure: no IO, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

PASSES_TO_ASK = 2
"""Complete passes in a row that did not show a listing, before the source is asked for it directly."""
PASSES_WITHOUT_ANSWER = 3
"""... before it is called absent where the source cannot be asked, or has only its deliveries to look into."""

FEWEST_HELD = 10
HELD_SHARE = 5
"""One in so many of a location's listings, and no fewer than `FEWEST_HELD` ..."""
MANY = 50
MANY_SHARE = 50
"""... or more than `MANY`, and more than one in so many: then a person decides."""


class Said(StrEnum):
    """What the source said when it was asked for the listing itself."""

    NOT_ASKED = "not_asked"
    FOUND = "found"
    NOT_THERE = "not_there"
    UNKNOWN = "unknown"


class LooksUp(StrEnum):
    """What the source's answers are worth; see `sources.base.LooksUp`."""

    DIRECTLY = "directly"
    IN_DELIVERY = "in_delivery"
    NEVER = "never"


class Verdict(StrEnum):
    LEFT = "left"  # seen by other means: it is none of this location's any more
    MISSING = "missing"  # wait for the next complete pass
    ASK = "ask"  # look it up, and decide again
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a listing at a location that used to show it."""

    passes: int  # complete ones in a row that did not show it
    elsewhere: bool  # something else has shown it since the first of them began
    looks_up: LooksUp
    said: Said = Said.NOT_ASKED


class Rule(NamedTuple):
    """One line of the table. `name` is the word that evidence carries."""

    name: str
    holds: Callable[[Case], bool]
    verdict: Verdict


RULES: Sequence[Rule] = (
    Rule("elsewhere", lambda c: c.elsewhere, Verdict.LEFT),
    Rule("found", lambda c: c.said is Said.FOUND, Verdict.LEFT),
    Rule("once", lambda c: c.passes < PASSES_TO_ASK, Verdict.MISSING),
    Rule("look_up", lambda c: c.said is Said.NOT_THERE and c.looks_up is LooksUp.DIRECTLY, Verdict.ABSENT),
    Rule("unasked", lambda c: c.said is Said.NOT_ASKED and c.looks_up is not LooksUp.NEVER, Verdict.ASK),
    Rule("unsure", lambda c: c.looks_up is LooksUp.DIRECTLY, Verdict.MISSING),  # asked again after the next pass
    Rule("waiting", lambda c: c.passes < PASSES_WITHOUT_ANSWER, Verdict.MISSING),
    Rule("no_lookup", lambda _: True, Verdict.ABSENT),
)
"""The first that holds decides."""


def decide(case: Case) -> Rule:
    """Return the rule that decides a case; the last one holds for all."""
    return next(rule for rule in RULES if rule.holds(case))


def too_many_at_once(vanishing: int, of: int) -> bool:
    """Whether a person has to decide: so many of a location's `of` listings would be called absent together."""
    share = vanishing >= FEWEST_HELD and vanishing * HELD_SHARE > of
    return share or (vanishing > MANY and vanishing * MANY_SHARE > of)
