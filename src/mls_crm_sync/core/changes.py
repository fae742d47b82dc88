"""What changed: the diff of two normal forms, and the name each change has in the trade.

The diff is the truth, the hash is a shortcut. A change is typed by its field (`fields.py`) and, for StandardStatus,
by where the listing came from: a Pending, Hold or Withdrawn listing that is Active again is *back on market*; a
Closed, Expired or Canceled one that is Active again under the same key is *relisted*. No IO, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from itertools import compress
from operator import ne
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import orjson

from .listing import Normalised, Normaliser, overlay

_BACK_ON_MARKET_FROM = frozenset({"Pending", "Hold", "Withdrawn"})
_RELISTED_FROM = frozenset({"Closed", "Expired", "Canceled"})


class ChangeType(StrEnum):
    NEW = "new"
    PRICE = "price"
    STATUS = "status"
    BACK_ON_MARKET = "back_on_market"
    RELISTED = "relisted"
    RENORMALISED = "renormalised"
    OTHER = "other"


class Change(NamedTuple):
    """One field of one listing. None stands for "no value"; a NEW change has no field."""

    type: ChangeType
    field: str | None = None
    previous: Any = None
    new: Any = None


_IS_NEW = Change(ChangeType.NEW)


class Outcome(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"  # the same facts in other clothes
    OLDER = "older"  # a source revision before the stored one: nothing of it is taken


class Stored(NamedTuple):
    """What the database holds of a listing, read under its lock."""

    fields: Mapping[str, Any]
    content_hash: bytes
    norm_version: str
    modified_at: datetime | None
    payload: Mapping[str, Any] | None  # needed only where norm_version is not today's, and to overlay
    purged: bool = False


class Decision(msgspec.Struct, frozen=True, gc=False):
    outcome: Outcome
    text: bytes  # the fields after it, in canonical form
    content_hash: bytes
    modified_at: datetime | None
    changes: tuple[Change, ...]

    @property
    def fields(self) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = orjson.loads(self.text)
        return fields


def decide(
    stored: Stored | None, incoming: Normalised, normaliser: Normaliser, *, time_zone: ZoneInfo | None = None
) -> Decision:
    """Return what becomes of a listing when `incoming` arrives; pure, called under the listing's row lock.

    `time_zone` is the source's, for the stored payload where it has to be normalised again.
    """
    if stored is None or stored.purged:
        return _new(incoming)
    before, renormalised = _in_todays_form(stored, normaliser, time_zone)
    if is_older(incoming.modified_at, stored.modified_at):
        text, digest = normaliser.sealed(before)
        return Decision(Outcome.OLDER, text, digest, stored.modified_at, renormalised)
    after = overlay(before, incoming)
    changes = tuple(diff(before, after, normaliser))
    says_all = len(after) == len(incoming.fields)  # nothing is kept that the record does not say
    text, digest = (incoming.text, incoming.content_hash) if says_all else normaliser.sealed(after)
    return Decision(
        outcome=Outcome.CHANGED if changes else Outcome.UNCHANGED,
        text=text,
        content_hash=digest,
        modified_at=incoming.modified_at or stored.modified_at,
        changes=renormalised + changes,
    )


def renew(
    stored: Stored, normaliser: Normaliser, *, time_zone: ZoneInfo | None = None, refused: list[str] | None = None
) -> Decision:
    """Return what becomes of a listing by today's table alone: every change is `renormalised`. For `decide`, it is what
    stood there before. Pure.

    The names of the members whose values today's table refuses, and whose stored forms stay, are added to `refused`.
    """
    today, changes = _in_todays_form(stored, normaliser, time_zone, refused)
    text, digest = normaliser.sealed(today)
    return Decision(Outcome.UNCHANGED, text, digest, stored.modified_at, changes)


def diff(before: Mapping[str, Any], after: Mapping[str, Any], normaliser: Normaliser) -> Iterable[Change]:
    """Yield the changes between two normal forms, by field name."""
    differing = [*compress(after, map(ne, map(before.get, after), after.values()))]
    differing += [name for name in before if name not in after]
    for name in sorted(differing):
        previous, new = before.get(name), after.get(name)
        yield Change(_type_of(name, previous, new, normaliser), name, previous, new)


def _new(incoming: Normalised) -> Decision:
    return Decision(Outcome.NEW, incoming.text, incoming.content_hash, incoming.modified_at, (_IS_NEW,))


def _in_todays_form(
    stored: Stored, normaliser: Normaliser, time_zone: ZoneInfo | None, refused: list[str] | None = None
) -> tuple[Mapping[str, Any], tuple[Change, ...]]:
    """Bring what an older normaliser made into today's form, from the payload it was made of."""
    if stored.norm_version == normaliser.version or stored.payload is None:
        return stored.fields, ()
    today = normaliser.again(stored.payload, stored.fields, time_zone=time_zone, refused=refused)
    changes = (
        Change(ChangeType.RENORMALISED, name, stored.fields.get(name), today.get(name))
        for name in sorted(stored.fields.keys() | today.keys())
        if stored.fields.get(name) != today.get(name)
    )
    return today, tuple(changes)


def is_older(incoming: datetime | None, stored: datetime | None) -> bool:
    """Whether a source revision is before the stored one; without both clocks nobody can tell, and it is not."""
    return incoming is not None and stored is not None and incoming < stored


def _type_of(name: str, previous: Any, new: Any, normaliser: Normaliser) -> ChangeType:  # noqa: ANN401 - JSON values
    if name == "StandardStatus" and new == "Active":
        if previous in _BACK_ON_MARKET_FROM:
            return ChangeType.BACK_ON_MARKET
        if previous in _RELISTED_FROM:
            return ChangeType.RELISTED
    return ChangeType(normaliser.change_type(name))
