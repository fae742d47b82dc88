"""The model finds faults: each of these, planted in SQL or in decision code, makes it fail within a bounded search.

A fault is a text put in another's place in a named query, or a function put over another. Both are checked: a text
that is no longer in its query, or a function that is no longer called, fails the test instead of making it void.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from mls_crm_sync.core import changes, hashing
from mls_crm_sync.core.changes import Change, ChangeType
from mls_crm_sync.core.listing import Normalised
from mls_crm_sync.store import changed, crm_properties, events, listings, quarantine, runs
from model.bench import a_bench
from model.compare import Discrepancy
from model.machine import explore

if TYPE_CHECKING:
    from conftest import Server

OPERATIONS = 6000
"""Ten times what the slowest of these has taken: which values are tried depends on the modules of ours that the process
has loaded by then, for their constants are tried too. A fault that is found ends its search."""
CONTROL = 1500
"""Where nothing is to be found, so that all of them are done."""

SEED = 20260301

COMES_TO = (
    *(f"change: {type_}" for type_ in ("new", "price", "status", "renormalised", "other")),
    *(f"status: {status}" for status in ("not_linked", "gone", "conflict", "overridden", "synced")),
    *(f"ingest: {count}" for count in ("recognised", "older", "quarantined", "renormalised", "crm_updated")),
    *(f"retry: {count}" for count in ("changed", "older", "quarantined", "crm_updated")),
    *("delete: done", "unlink: done", "purge: done", "edit: refused: version_mismatch", "sync one: done"),
)


@dataclass(frozen=True)
class Sql:
    """A text of a named query, and what a careless hand makes of it."""

    module: Any
    query: str
    was: str
    becomes: str

    def plant(self, patch: pytest.MonkeyPatch) -> Callable[[], bool]:
        text: str = self.module._SQL[self.query]
        assert text.count(self.was) == 1, f"{self.query} has changed: plant this fault anew"
        patch.setitem(self.module._SQL, self.query, text.replace(self.was, self.becomes))
        return lambda: True


@dataclass(frozen=True)
class Code:
    """A function and what stands in its place; `becomes` gets the original first."""

    module: Any
    name: str
    becomes: Callable[..., Any]

    def plant(self, patch: pytest.MonkeyPatch) -> Callable[[], bool]:
        original, calls = getattr(self.module, self.name), list[bool]()

        def faulty(*args: Any, **kwargs: Any) -> Any:
            calls.append(True)
            return self.becomes(original, *args, **kwargs)

        patch.setattr(self.module, self.name, faulty)
        return lambda: bool(calls)


def _never_older(_: object, incoming: datetime | None, stored: datetime | None) -> bool:
    return incoming is None and stored is None and False


def _older_or_as_old(_: object, incoming: datetime | None, stored: datetime | None) -> bool:
    return incoming is not None and stored is not None and incoming <= stored


def _absent_clears(_: object, stored: Mapping[str, Any], incoming: Normalised) -> dict[str, Any]:
    return {name: value for name, value in stored.items() if name in incoming.fields} | incoming.fields


def _empty_keeps(_: object, stored: Mapping[str, Any], incoming: Normalised) -> dict[str, Any]:
    return {**stored, **incoming.fields}


def _renormalised_is_news(original: Callable[..., Any], *args: Any) -> Any:
    before, found = original(*args)
    return before, tuple(Change(ChangeType.OTHER, c.field, c.previous, c.new) for c in found)


def _as_it_was_stored(_: object, stored: Any, *__: Any) -> Any:
    return stored.fields, ()


def _price_is_noise(original: Callable[..., Any], recogniser: Any, data: bytes, *known: Any, **how: Any) -> Any:
    return original(recogniser, re.sub(rb'("ListPrice": ?)("[^"]*"|[^,}]*)', rb"\g<1>0", data), *known, **how)


def _photos_are_noise(*_: object) -> bytes:
    return b"photos"


async def _backwards(original: Callable[..., Any], conn: Any, told: Sequence[Any]) -> None:
    await original(conn, told[::-1])


FAULTS: Mapping[str, Sql | Code] = {
    "bring_in_step copies internal fields": Sql(
        crm_properties, "stored_facts", "p.fields::jsonb - $2::text[] AS fields",
        "p.fields::jsonb - $2::text[] || p.fields::jsonb AS fields",
    ),
    "what changed is copied with internal fields": Sql(
        changed, "facts", "fields::jsonb - $21::text[] AS", "fields::jsonb - $21::text[] || fields::jsonb AS"
    ),
    "bring_in_step writes what does not differ": Sql(
        crm_properties, "bring_in_step", "AND o.fields IS DISTINCT FROM w.fields", ""
    ),
    "bring_in_step reaches one CRM property of each listing": Sql(
        crm_properties,
        "bring_in_step",
        "FROM o JOIN w",
        "FROM (SELECT DISTINCT ON (mls_property_id) * FROM o ORDER BY mls_property_id, id) AS o JOIN w",
    ),
    "older data is taken": Code(changes, "is_older", _never_older),
    "data of the same time is refused": Code(changes, "is_older", _older_or_as_old),
    "absent members are cleared": Code(changes, "overlay", _absent_clears),
    "empty members are kept": Code(changes, "overlay", _empty_keeps),
    "clocks do not move alone": Sql(listings, "move_clocks", "s.source_modified_at < i.modified_at", "false"),
    "a new field table makes market changes": Code(changes, "_in_todays_form", _renormalised_is_news),
    "what an older table stored is compared as it is": Code(changes, "_in_todays_form", _as_it_was_stored),
    "a moved link is not closed": Sql(crm_properties, "close_links", "unlinked_at IS NULL", "unlinked_at IS NULL AND false"),  # noqa: E501
    "unlinking forgets the frozen fields": Sql(crm_properties, "unlink", "CASE WHEN $2", "CASE WHEN true OR $2"),
    "an import clears notes that it does not bring": Sql(
        crm_properties, "upsert", "notes = CASE WHEN 'notes' = ANY ($9::text[]) THEN excluded.notes ELSE c.notes END",
        "notes = excluded.notes",
    ),
    "an import writes MLS fields": Sql(
        crm_properties, "upsert", "own = (c.own - $10::text[]) || excluded.own,\n    custom",
        "own = (c.own - $10::text[]) || excluded.own, fields = c.fields || excluded.own,\n    custom",
    ),
    "the digest does not see the price": Code(hashing.Recogniser, "sight", _price_is_noise),
    "the digest does not see photos": Code(hashing, "_media_without_noise", _photos_are_noise),
    "a purge leaves the CRM's copy": Sql(crm_properties, "empty_fields", "SET fields = '{}'", "SET fields = fields"),
    "a purge leaves the city": Sql(listings, "purge_listing", "city = NULL", "city = city"),
    "a changed city is not found": Sql(changed, "along", "city = i.city", "city = p.city"),
    "a purge leaves the clock": Sql(listings, "purge_state", ", source_modified_at = NULL", ""),
    "events in another order": Code(events, "append", _backwards),
    "an older copy closes what is newer": Sql(
        quarantine, "resolve_read", "q.source_modified_at <= s.source_modified_at", "true"
    ),
    "a listing seen again stays unseen": Sql(runs, "mark_shown_again", "ll.last_shown_at IS NOT NULL", "false"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_model_finds(
    fault: str,
    server_number: Callable[[int], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached = FAULTS[fault].plant(monkeypatch)

    with server_number(0).database() as dsn, a_bench(dsn) as bench:
        with pytest.raises(Discrepancy):
            explore(bench, operations=OPERATIONS, seed=SEED)
        print(f"{fault}: found by operation {bench.found_at}")  # noqa: T201 - by hand, with -s

    assert reached(), f"{fault}: what was planted is not in use"


def test_model_finds_nothing_where_nothing_is_planted(
    server_number: Callable[[int], Server],
) -> None:
    """The control: a model that fails anyway finds nothing, and neither does one that comes to nothing."""
    with server_number(0).database() as dsn, a_bench(dsn) as bench:
        explore(bench, operations=CONTROL, seed=SEED)

    assert bench.operations >= CONTROL
    assert not [what for what in COMES_TO if not bench.seen[what]]
    assert bench.seen["change: back_on_market"] + bench.seen["change: relisted"]
