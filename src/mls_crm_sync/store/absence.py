"""Listings that are not shown any more: the cases, what was decided of each with its evidence, and what a person holds.

`mls_properties.absence_state` says in a word what a row of `absences` gives the reason for. "Missing" is no state: it
follows from `location_listings.missing_since`, so a listing that stays away costs no write a pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mls_crm_sync.core.errors import HoldDecided, HoldNotFound

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)

Decision = Literal["released", "rejected"]


class Place(NamedTuple):
    """A location with a complete pass that nothing has followed from yet: the newest one."""

    location_id: int
    source: str
    location: str
    pass_id: int


class Candidate(NamedTuple):
    """A listing that complete passes did not show. `passes`: how many in a row, up to the one that is settled."""

    property_id: str
    source_key: str
    postal_code: str | None
    address: str | None
    passes: int
    elsewhere: bool


async def unsettled(conn: Connection, source: str) -> list[Place]:
    return [Place(*row) for row in await conn.fetch(_SQL["unsettled"], source)]


async def settled(conn: Connection, place: Place) -> None:
    """Note that all follows that follows from the location's passes up to this one."""
    await conn.execute(_SQL["settled"], place.location_id, place.pass_id)


async def claim(conn: Connection, source: str) -> bool:
    """Take the right to settle a source's passes, for this session (`runs.release` gives it back); False when
    somebody else has it.
    """
    return bool(await conn.fetchval(_SQL["try_claim"], source))


async def candidates(conn: Connection, place: Place, *, after: str, limit: int) -> list[Candidate]:
    """Return at most `limit` cases whose id is after `after`, by id."""
    rows = await conn.fetch(_SQL["candidates"], place.location_id, place.pass_id, after, limit)
    return [Candidate(*row) for row in rows]


async def count_held(conn: Connection, location: int) -> int:
    return int(await conn.fetchval(_SQL["count_held"], location))


async def count_of_location(conn: Connection, location: int) -> int:
    return int(await conn.fetchval(_SQL["count_of_location"], location))


async def leave(conn: Connection, location: int, property_ids: Collection[str]) -> None:
    """They were seen by other means: what this location does not show of them counts no more until it shows them."""
    if property_ids:
        await conn.execute(_SQL["leave"], location, list(property_ids))


async def note_look_ups(conn: Connection, location: int, said: Mapping[str, str]) -> None:
    """Note what the source said of listings that it was asked for, in its words."""
    if said:
        await conn.execute(_SQL["note_look_ups"], location, list(said), list(said.values()))


async def still_missing(conn: Connection, location: int, property_ids: Collection[str]) -> list[str]:
    """Return those of some locked listings that nothing has shown since, by id."""
    return [row["property_id"] for row in await conn.fetch(_SQL["still_missing"], location, list(property_ids))]


async def call(
    conn: Connection, place: Place, state: Literal["absent", "held"], rules: Mapping[str, str], hold_id: int | None
) -> None:
    """Call locked listings absent, or held, each by the rule that said so."""
    if not rules:
        return
    await conn.execute(_SQL["set_state"], list(rules), state)
    evidence = (place.location_id, place.pass_id, hold_id, list(rules), list(rules.values()))
    await conn.execute(_SQL["keep_evidence"], *evidence)


async def open_hold(conn: Connection, place: Place, listings: int, of: int) -> tuple[int, bool]:
    """Return the location's open hold, made when there is none, and whether it was made now."""
    row = await conn.fetchrow(_SQL["open_hold"], place.location_id, place.pass_id, listings, of)
    assert row is not None  # noqa: S101 - inserted or updated
    return row["hold_id"], row["made"]


async def decide_hold(conn: Connection, hold_id: int, decision: Decision, by: str | None) -> None:
    """Note a person's decision. Raises HoldNotFound, and HoldDecided where it was decided otherwise."""
    row = await conn.fetchrow(_SQL["decide_hold"], hold_id, decision, by)
    if row is None:
        raise HoldNotFound(hold_id)
    if row["decision"] != decision:
        raise HoldDecided(hold_id, row["decision"])


async def half_decided(conn: Connection, source: str) -> list[tuple[int, Decision]]:
    """Return holds that were decided, but whose listings were not all told yet."""
    return [(row["hold_id"], row["decision"]) for row in await conn.fetch(_SQL["half_decided"], source)]


async def held_by(conn: Connection, hold_id: int, *, limit: int) -> list[str]:
    return [row["property_id"] for row in await conn.fetch(_SQL["held_by"], hold_id, limit)]


async def still_held(conn: Connection, hold_id: int, property_ids: Collection[str]) -> list[str]:
    return [row["property_id"] for row in await conn.fetch(_SQL["still_held"], hold_id, list(property_ids))]


async def let_go(conn: Connection, property_ids: Sequence[str]) -> None:
    """Call locked listings absent that were held, since a person released them."""
    await conn.execute(_SQL["set_state"], property_ids, "absent")
    await conn.execute(_SQL["add_to_evidence"], property_ids)


async def count_anew(conn: Connection, property_ids: Sequence[str]) -> None:
    """Begin to count the passes that do not show locked listings: a person said that they are there."""
    await conn.execute(_SQL["count_anew"], property_ids)


async def noted_of(conn: Connection, property_ids: Collection[str]) -> list[str]:
    """Return those of some listings that are absent, held, or not shown by a pass, by id."""
    return [row["property_id"] for row in await conn.fetch(_SQL["noted_of"], list(property_ids))]


async def decided_of_pass(conn: Connection, pass_id: int) -> list[str]:
    """Return those of the listings that a pass under way has shown that are absent or held, by id."""
    return [row["property_id"] for row in await conn.fetch(_SQL["decided_of_pass"], pass_id)]


async def come_back(conn: Connection, property_ids: Sequence[str]) -> list[str]:
    """Call locked listings listed again; return those that had been called absent, by id."""
    if not property_ids:
        return []
    back = await conn.fetch(_SQL["come_back"], property_ids)
    holds = {row["hold_id"] for row in await conn.fetch(_SQL["forget"], property_ids)} - {None}
    if holds:
        await conn.execute(_SQL["close_empty_holds"], sorted(holds))
    return sorted(row["property_id"] for row in back if row["was_absent"])


async def leave_all(conn: Connection, property_ids: Collection[str]) -> None:
    """Let every location that does not show some listings know that they were seen by other means."""
    if property_ids:
        await conn.execute(_SQL["leave_all"], list(property_ids))


async def evidence_of(conn: Connection, property_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return why listings are absent, held or missing, of those that are; instants as text with an offset."""
    return {row[0]: row[1] for row in await conn.fetch(_SQL["evidence"], list(property_ids))}


async def holds(conn: Connection, *, before: int = 2**62, decided: bool = False, limit: int = 100) -> list[Row]:
    """Return holds whose id is before `before`, newest first; with those that are decided where asked for."""
    return await conn.fetch(_SQL["holds"], before, decided, limit)
