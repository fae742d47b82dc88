"""What the CRM asks for: rows of an import, values of an edit, overrides; each beside the form that must be stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from model import pieces
from model.crm_side import CUSTOM, OWN, PLAIN, Over, Row


def columns(rng: Random) -> dict[str, Any]:
    """The CRM's columns as they must stand; imports and edits give them in forms of their own."""
    return {
        "crm_status": rng.choice((None, "active", "sold")),
        "notes": rng.choice((None, "mine", "=SUM(A1)", " two\nlines ")),
        "tags": rng.choice(([], ["hot"], ["hot", "new"])),
        "assigned_agent": rng.choice((None, "Dana", "Zoë")),
        "custom": rng.choice(({}, {"region": "North"}, {"floor": 3, "deep": {"a": [1]}})),
    }


def row(rng: Random, line: int, crm_id: str, brought: Sequence[str]) -> Row:
    plain = columns(rng)
    cells = {name: plain[name] or "" for name in brought if name in PLAIN and name != "tags"}
    if "tags" in brought:
        cells["tags"] = rng.choice(("; ", ",")).join(plain["tags"])
    own: dict[str, Any] = {}
    for column in set(brought) & set(OWN):
        cells[column], own[OWN[column]] = _cell(rng, column)
    cells |= {name: rng.choice(("", "North", "3")) for name in CUSTOM if name in brought}
    return Row(line, crm_id, cells, plain, own)


def _cell(rng: Random, column: str) -> tuple[str, Any]:
    if rng.random() < 0.2:
        return "", None
    if column == "address":
        return rng.choice((("1 Main St", "1 Main St"), (" 969 64Th   Street ", "969 64Th   Street")))
    if column == "ListPrice" and rng.random() < 0.2:
        return "a lot", pieces.BAD
    return pieces.quoted(rng, OWN[column])


def given(rng: Random, name: str) -> tuple[Any, Any]:
    """A value as an API gets it, beside its form; None removes."""
    if rng.random() < 0.2:
        return None, None
    if rng.random() < 0.05:
        return ["nonsense", 1], pieces.BAD
    piece = pieces.some(rng, name)
    return json.loads(piece.raw, parse_float=Decimal), piece.form


def override(rng: Random, name: str) -> Over:
    value, form = given(rng, name)
    expires = rng.choice((None, None, datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)))
    return Over(value, form, rng.choice((None, "dana")), rng.choice((None, "agreed")), expires)
