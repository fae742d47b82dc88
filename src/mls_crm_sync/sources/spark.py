"""Spark's shape of a listing: its facts stand in `StandardFields`, beside `Id`, `ResourceUri` and others.

The record that comes out has the members of `StandardFields` and, after them, the item's other members. A
member of the item whose name is also one of `StandardFields` goes under `Spark`, so that none is lost.
Values keep their bytes; a name that stands twice stays twice, for the parser to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from .json_text import split_members

FACTS = "StandardFields"
CLASHES = "Spark"


def flattened(item: bytes) -> bytes:
    """Return the item as one flat record; an item of another shape, or a broken one, as it is."""
    members = split_members(item) or []
    facts = [value for name, value in members if name == FACTS]
    inner = split_members(facts[0]) if len(facts) == 1 else None
    if inner is None:
        return item
    taken = {name for name, _ in inner}
    others = [(name, value) for name, value in members if name != FACTS]
    flat = inner + [(name, value) for name, value in others if name not in taken]
    if clashes := [(name, value) for name, value in others if name in taken]:
        flat.append((_free_name({name for name, _ in flat}), _joined(clashes)))
    return _joined(flat)


def _free_name(taken: set[str]) -> str:
    name = CLASHES
    while name in taken:
        name += "_"
    return name


def _joined(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(orjson.dumps(name) + b":" + value for name, value in members) + b"}"
