"""Who owns which value of a CRM property: the CRM (`own`), the MLS (`fields`), or a user (`overrides`). No IO.

Ownership is by column, so nothing here ever merges what two owners wrote: it only says what a reader gets, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Owner(StrEnum):
    CRM = "crm"
    MLS = "mls"
    OVERRIDE = "override"


class State(StrEnum):
    """How what the owners of a field say of it stands to each other."""

    SAME = "same"  # the reader gets what the MLS says; the CRM says the same or nothing
    DIFFERS = "differs"  # the reader gets what the MLS says; the CRM's own value is another
    OVERRIDDEN = "overridden"  # a user's value over the MLS
    CONFLICT = "conflict"  # the same, and the MLS has changed its mind since
    CRM_ONLY = "crm_only"  # the MLS says nothing


@dataclass(frozen=True, slots=True)
class Effective:
    """One field as the reader gets it. `hidden` holds what the other owners say, by owner."""

    value: Any
    owner: Owner
    hidden: Mapping[Owner, Any]


def effective(own: Mapping[str, Any], fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the reader gets: own, over it the MLS, over both the overrides that hold now."""
    return {**own, **fields, **overrides}


def compare(own: Mapping[str, Any], fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Effective]:
    """Return every field with its value, its owner and what stands behind it, sorted by name."""
    layers = ((Owner.OVERRIDE, overrides), (Owner.MLS, fields), (Owner.CRM, own))
    names = sorted(own.keys() | fields.keys() | overrides.keys())
    return {name: _topmost(name, layers) for name in names}


def _topmost(name: str, layers: tuple[tuple[Owner, Mapping[str, Any]], ...]) -> Effective:
    (owner, value), *behind = [(owner, layer[name]) for owner, layer in layers if name in layer]
    return Effective(value, owner, dict(behind))


def state_of(field: Effective, detail: Mapping[str, Any]) -> State:
    """Return how a compared field stands; `detail` is what is known of its override (`mls_value`: what the MLS said
    when it was made; one from before there was a link has none, and cannot be in conflict).
    """
    if field.owner is Owner.OVERRIDE:
        moved = "mls_value" in detail and detail["mls_value"] != field.hidden.get(Owner.MLS)
        return State.CONFLICT if moved else State.OVERRIDDEN
    if field.owner is Owner.CRM:
        return State.CRM_ONLY
    return State.DIFFERS if field.hidden.get(Owner.CRM, field.value) != field.value else State.SAME
