"""Listings: their state, facts, payloads and history.

The row of `mls_state` is the listing's lock. Every writer takes the rows of its page in id order (`lock`, or `share`
for a reader that copies), before it looks at anything else of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

import asyncpg
import msgspec
import orjson

from mls_crm_sync.core.canonical import text_in
from mls_crm_sync.core.changes import Change, Stored
from mls_crm_sync.core.errors import ListingNotFound, RecordRejected
from mls_crm_sync.core.listing import normalise_facts

from . import payloads
from .arrays import array_of
from .database import Connection, Row, like
from .places import Linked
from .queries import load, narrowed

_SQL = load(__file__)
UPDATE_STATES = _SQL["update_states"]

SEARCHED = {
    "standard_status": "StandardStatus",
    "listing_id": "ListingId",
    "city": "City",
    "postal_code": "PostalCode",
}
"""The columns that lists are narrowed by, and the facts that they repeat."""

FEW = 10
"""Listings whose states are read and compared here: planning the statement that compares takes longer."""

SEARCHED_CHARACTERS = 255
"""Of a fact, in such a column: an entry of an index holds 2.7 kB, a text may have a hundred thousand characters."""

_STATE = (
    "property_id",
    "location_id",
    "digest",
    "payload_digest",
    "content_hash",
    "norm_version",
    "source_modified_at",
)


def searched(text: bytes) -> tuple[str | None, ...]:
    """Return the values of the columns that lists are narrowed by, of facts in canonical form."""
    return tuple([_beginning(text_in(text, name)) for name in SEARCHED.values()])


def _beginning(text: str | None) -> str | None:
    return text if text is None or len(text) <= SEARCHED_CHARACTERS else text[:SEARCHED_CHARACTERS]


class State(NamedTuple):
    """The narrow row of a listing; what recognition compares with. In the order of the columns that `_STATE` names."""

    property_id: str
    location_id: int
    digest: bytes
    payload_digest: bytes
    content_hash: bytes
    norm_version: str
    modified_at: datetime | None

    def is_as(self, location_id: int, digest: bytes, modified_at: datetime | None) -> bool:
        """Whether the listing is stored from this location with this digest and clock."""
        return (self.location_id, self.digest, self.modified_at) == (location_id, digest, modified_at)


class StoredListing(NamedTuple):
    """A listing read under its lock."""

    state: State
    facts: Stored
    last_changed_at: datetime
    packed: bytes | None  # its payload; unpacked in `facts` where another normaliser made them
    unreadable: RecordRejected | None = None  # why its payload, of another normaliser's, cannot be unpacked there


class ListingWrite(msgspec.Struct, frozen=True, gc=False):
    """A listing as it is to stand after the transaction. `text` is the canonical form of its facts, `searched` some of
    them, `payload` is packed; what is not written may be left out.
    """

    property_id: str
    source_key: str
    digest: bytes
    payload_digest: bytes
    content_hash: bytes
    modified_at: datetime | None
    text: bytes = b"{}"
    searched: tuple[Any, ...] = (None, None, None, None)
    payload: bytes = b""
    changes: tuple[Change, ...] = ()


async def read_states(conn: Connection, property_ids: Collection[str]) -> dict[str, State]:
    rows = await conn.fetch(_SQL["read_states"], list(property_ids))
    return {row[0]: State._make(row) for row in rows}


ListingState: TypeAlias = Literal["listed", "missing", "absent", "held"]

_NEVER = datetime.min.replace(tzinfo=UTC)  # the driver writes it as -infinity


async def differing_states(
    conn: Connection, location_id: int, sighted: Mapping[str, tuple[bytes, datetime | None]]
) -> dict[str, State | None]:
    """Return the states of the listings that are not stored with this digest, of 16 bytes, and clock, from this
    location. None for one that is not stored at all.
    """
    if len(sighted) <= FEW:
        states = await read_states(conn, sighted)
        found = {an_id: (states.get(an_id), one) for an_id, one in sighted.items()}
        return {an_id: s for an_id, (s, one) in found.items() if s is None or not s.is_as(location_id, *one)}
    digests, clocks = zip(*sighted.values(), strict=True)
    rows = await conn.fetch(_SQL["differing_states"], location_id, list(sighted), b"".join(digests), clocks)
    return {row[0]: None if row[1] is None else State(*row[1:]) for row in rows}


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_MICROSECOND = timedelta(microseconds=1)
_NO_CLOCK = (-(2**63)).to_bytes(8, "big", signed=True)


def stored_as(property_id: str, digest: bytes, clock: datetime | None) -> bytes:
    """Return a listing's id, a digest (16 bytes) and clock (8 bytes: microseconds since 2000) one behind the other."""
    micros = _NO_CLOCK if clock is None else ((clock - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)
    return property_id.encode() + digest + micros


class StoredAt(NamedTuple):
    """How the listings of a location are stored, each as by `stored_as`, up to an event."""

    seq: int
    by_digest: list[bytes]
    by_payload: list[bytes]  # the same with the payload's digest, of those in today's form


async def stored_at(conn: Connection, location_id: int, norm_version: str, *, most: int) -> StoredAt:
    """Read a location, none of it where it has more than `most` listings; `norm_version` is today's."""
    row = await conn.fetchrow(_SQL["stored_at"], location_id, most, norm_version)
    assert row is not None  # noqa: S101 - it selects one row
    return StoredAt(*row)


async def ids_by_source_key(conn: Connection, source: str, source_keys: Collection[str]) -> dict[str, str]:
    rows = await conn.fetch(_SQL["ids_by_source_key"], source, list(source_keys))
    return {row["source_key"]: row["property_id"] for row in rows}


async def keys_by_id(conn: Connection, property_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return whose listings these ids are: source and its key."""
    rows = await conn.fetch(_SQL["keys_by_id"], list(property_ids))
    return {row["property_id"]: (row["source"], row["source_key"]) for row in rows}


async def ids_by_any_source_key(
    conn: Connection, source: str | None, source_keys: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the listings with these keys, at one source or at any."""
    rows = await conn.fetch(_SQL["ids_by_any_source_key"], list(source_keys), source)
    return {row["source_key"]: row["property_ids"] for row in rows}


async def lock(conn: Connection, expected: Mapping[str, bytes | None]) -> dict[str, State]:
    """Lock listings, in id order; return the states of those whose digest is not the expected one (None: of all)."""
    if not expected:
        return {}
    rows = await conn.fetch(_SQL["lock_states"], list(expected), list(expected.values()))
    return {row[0]: State(*row) for row in rows}


async def share(conn: Connection, property_ids: Collection[str]) -> set[str]:
    """Keep every sync of these listings out until our commit; return the ids that exist."""
    return {row["property_id"] for row in await conn.fetch(_SQL["share_states"], list(property_ids))}


async def read_stored(conn: Connection, norm_version: str, property_ids: Collection[str]) -> dict[str, StoredListing]:
    """Return listings as they are stored; `norm_version` is today's."""
    if not property_ids:
        return {}
    rows = await conn.fetch(_SQL["read_stored"], list(property_ids))
    return {row["property_id"]: _stored(row, norm_version) for row in rows}


async def lock_stored(conn: Connection, norm_version: str, property_ids: Collection[str]) -> dict[str, StoredListing]:
    """Lock a few listings, in id order, and return them as they are stored; `norm_version` is today's."""
    sql = _SQL["lock_stored"].replace("(read_stored)", _SQL["read_stored"])
    rows = await conn.fetch(sql, list(property_ids))
    return {row["property_id"]: _stored(row, norm_version) for row in rows}


async def insert(
    conn: Connection, source: str, location_id: int, norm_version: str, listings: Sequence[ListingWrite]
) -> set[str] | None:
    """Insert new listings with their history left to `insert_changes`; return the ids that were really new.

    None when another transaction has just stored one of their keys under another id: then nothing was inserted.
    """
    if not listings:
        return set()
    try:
        async with conn.transaction():
            return await _copy(conn, source, location_id, norm_version, listings)
    except asyncpg.UniqueViolationError:  # seldom: somebody else stores one of them at this moment
        pass
    try:
        async with conn.transaction():
            return await _insert(conn, source, location_id, norm_version, listings)
    except asyncpg.UniqueViolationError:
        return None


async def _copy(
    conn: Connection, source: str, location_id: int, norm_version: str, listings: Sequence[ListingWrite]
) -> set[str]:
    """Insert listings that nobody has; an INSERT that lets others win costs two and a half times as much."""
    records = [
        (w.property_id, location_id, w.digest, w.payload_digest, w.content_hash, norm_version, w.modified_at)
        for w in listings
    ]
    await conn.copy_records_to_table("mls_state", columns=_STATE, records=records)
    await _copy_facts(conn, source, listings)
    return {w.property_id for w in listings}


async def _insert(
    conn: Connection, source: str, location_id: int, norm_version: str, listings: Sequence[ListingWrite]
) -> set[str]:
    rows = await conn.fetch(
        _SQL["insert_states"],
        [w.property_id for w in listings],
        [location_id] * len(listings),
        [w.digest for w in listings],
        [w.payload_digest for w in listings],
        [w.content_hash for w in listings],
        [norm_version] * len(listings),
        [w.modified_at for w in listings],
    )
    won = {row["property_id"] for row in rows}
    await _copy_facts(conn, source, [w for w in listings if w.property_id in won])
    return won


async def _copy_facts(conn: Connection, source: str, listings: Sequence[ListingWrite]) -> None:
    await conn.copy_records_to_table(
        "mls_properties",
        columns=("property_id", "source", "source_key", "fields", "payload", "payload_codec", *SEARCHED),
        records=[
            (w.property_id, source, w.source_key, w.text.decode(), w.payload, payloads.CODEC, *w.searched)
            for w in listings
        ],
    )


async def add_new_to_location(
    conn: Connection, location_id: int, property_ids: Collection[str], *, by_pass: bool = True
) -> None:
    """As `add_to_location`, of listings that this transaction has made: no location can have them yet, and nothing has
    to be looked for.
    """
    if property_ids:
        shown_at = None if by_pass else _NEVER
        await conn.execute(_SQL["insert_new_location_listings"], location_id, array_of([*property_ids]), shown_at)


async def add_to_location(
    conn: Connection, location_id: int, property_ids: Collection[str], *, by_pass: bool = True
) -> None:
    """Note that listings belong to a location, as a pass of it shows; `by_pass` false: by some other word."""
    if property_ids:
        shown_at = None if by_pass else _NEVER
        await conn.execute(_SQL["insert_location_listings"], location_id, list(property_ids), shown_at)


def state_columns(norm_version: str, listings: Sequence[ListingWrite]) -> Iterable[Any]:
    """What `UPDATE_STATES` takes: ids, the version, and the other columns of the narrow rows."""
    rows = ((w.digest, w.payload_digest, w.content_hash, w.modified_at) for w in listings)
    return [w.property_id for w in listings], norm_version, *zip(*rows, strict=True)


async def update_payloads(conn: Connection, listings: Sequence[ListingWrite]) -> None:
    if listings:
        ids, packed = [w.property_id for w in listings], [w.payload for w in listings]
        await conn.execute(_SQL["update_payloads"], ids, packed, payloads.CODEC)


class Outdated(NamedTuple):
    """A listing that is stored in the form of another normaliser."""

    property_id: str
    source_key: str


async def count_outdated(conn: Connection, norm_version: str) -> dict[str, int]:
    """Return how many listings another normaliser than today's has stored, by source; purged ones have no form."""
    return {row["source"]: row["count"] for row in await conn.fetch(_SQL["count_outdated"], norm_version)}


async def outdated(conn: Connection, norm_version: str, source: str, *, after: str, limit: int) -> list[Outdated]:
    """Return at most `limit` of a source's listings of another normaliser whose id is after `after`, by id."""
    return [Outdated(*row) for row in await conn.fetch(_SQL["outdated"], norm_version, source, after, limit)]


async def renew(conn: Connection, listings: Sequence[ListingWrite]) -> None:
    """Write the facts of locked listings in today's form: no news, so `last_changed_at` and the payload stay."""
    if listings:
        await conn.execute(
            _SQL["renew_listings"],
            [w.property_id for w in listings],
            [w.text.decode() for w in listings],
            *zip(*(w.searched for w in listings), strict=True),
        )


async def update_states(conn: Connection, norm_version: str, listings: Sequence[ListingWrite]) -> None:
    if listings:
        await conn.execute(_SQL["update_states"], *state_columns(norm_version, listings))


async def move_clocks(conn: Connection, clocks: Mapping[str, datetime]) -> None:
    """Move `source_modified_at` of locked listings forward, never back."""
    if clocks:
        await conn.execute(_SQL["move_clocks"], list(clocks), list(clocks.values()))


async def insert_changes(conn: Connection, run_id: int, changes: Sequence[tuple[str, Change]]) -> None:
    """Append history, in the order given; `changes` pairs a property_id with its change."""
    if changes:
        await conn.copy_records_to_table(
            "property_changes",
            columns=("property_id", "run_id", "type", "field_name", "previous_value", "new_value"),
            records=[(property_id, run_id, *change) for property_id, change in changes],
        )


async def get(conn: Connection, property_id: str) -> Row:
    """Return one listing with its links. Raises ListingNotFound."""
    row = await conn.fetchrow(_SQL["listing"], property_id)
    if row is None:
        raise ListingNotFound(property_id)
    return row


async def page(
    conn: Connection,
    *,
    source: str | None = None,
    status: str | None = None,
    city: str | None = None,
    postal_code: str | None = None,
    listing_id: str | None = None,
    linked: bool | None = None,
    state: ListingState | None = None,
    search: str | None = None,
    after: str = "",
    limit: int = 100,
) -> list[Row]:
    """Return at most `limit` listings whose id is after `after`, by id.

    `search` is looked for in the key, the MLS number and the address, whatever its case. `status` is StandardStatus in
    any of its spellings. `missing` are those among the listed ones that a complete pass did not show. Raises
    InvalidInput for a status that there is not.
    """
    given = {
        "source": source,
        "status": normalise_facts({"StandardStatus": status})["StandardStatus"] if status is not None else None,
        "city": _beginning(city),
        "postal_code": _beginning(postal_code),
        "listing_id": _beginning(listing_id),
        "linked": linked,
        "absence": "listed" if state == "missing" else state,
        "missing": None if state in {None, "absent", "held"} else state == "missing",
        "pattern": like(search),
        "after": after,
        "limit": limit,
    }
    sql, arguments = narrowed(_SQL["list_listings"], given)
    return await conn.fetch(sql, *arguments)


async def changes(conn: Connection, property_id: str, *, before: int = 2**63 - 1, limit: int = 50) -> list[Row]:
    """Return the newest changes of a listing whose id is before `before`, newest first."""
    return await conn.fetch(_SQL["listing_changes"], property_id, limit, before)


async def case_of(conn: Connection, property_id: str) -> tuple[str, Linked]:
    """Return a listing's source, and what that can be asked for it by. Raises ListingNotFound."""
    row = await conn.fetchrow(_SQL["case_of"], property_id)
    if row is None:
        raise ListingNotFound(property_id)
    source, *rest = row
    return source, Linked(*rest)


async def changes_of_run(conn: Connection, run_id: int, *, after: int = 0, limit: int = 100) -> list[Row]:
    """Return what a run changed after a change_id, oldest first; `crm_properties` says of each CRM property that is
    linked to the listing then whether the change is `applied` or `held_by_override`.
    """
    return await conn.fetch(_SQL["changes_of_run"], run_id, after, limit)


async def crm_changes_of_run(conn: Connection, run_id: int, *, limit: int = 100) -> list[Row]:
    """Return what a run changed, beside the CRM properties it reached, by CRM id."""
    return await conn.fetch(_SQL["crm_changes_of_run"], run_id, limit)


async def exists(conn: Connection, property_id: str) -> bool:
    return property_id in await read_states(conn, [property_id])


class PurgeRule(NamedTuple):
    """Which listings a rule names: all that it says has to hold. None is not said.

    `statuses` are StandardStatus as they are stored. `not_seen_for`: no pass has shown it for so long, and nothing has
    changed it; `absent_for`: it was called absent, with proof, at least so long ago.
    """

    source: str | None = None
    statuses: Sequence[str] | None = None
    not_seen_for: timedelta | None = None
    absent_for: timedelta | None = None


async def purgeable(
    conn: Connection, rule: PurgeRule, *, ids: Collection[str] | None = None, after: str = "", limit: int | None = None
) -> dict[str, int]:
    """Return which listings a rule names and how many CRM properties each has, by id; of `ids` alone where given."""
    given = {**rule._asdict(), "ids": list(ids) if ids is not None else None, "after": after, "limit": limit}
    sql, arguments = narrowed(_SQL["purgeable"], given)
    return {row["property_id"]: row["linked"] for row in await conn.fetch(sql, *arguments)}


async def count_purgeable(conn: Connection, rule: PurgeRule) -> list[Row]:
    """Return how many listings a rule names: rows of source, standard_status, absence_state, listings, linked."""
    query = _SQL["count_purgeable"].replace("(purgeable)", f"({_SQL['purgeable']})")
    sql, arguments = narrowed(query, {**rule._asdict(), "ids": None, "after": None, "limit": None})
    return await conn.fetch(sql, *arguments)


async def empty(conn: Connection, property_ids: Collection[str]) -> None:
    """Take the content of locked listings away: facts, payload, history. The rows and their links stay."""
    ids = list(property_ids)
    await conn.execute(_SQL["purge_listing"], ids)
    await conn.execute(_SQL["purge_state"], ids)
    await conn.execute(_SQL["purge_changes"], ids)


async def count_by_status(conn: Connection) -> dict[str, int]:
    """Return how many listings there are by StandardStatus, purged ones aside."""
    return {row["standard_status"]: row["count"] for row in await conn.fetch(_SQL["count_by_status"])}


def _stored(row: Row, norm_version: str) -> StoredListing:
    state, packed = State(*(row[name] for name in _STATE)), row["payload"]
    payload, unreadable = None, None
    if packed is not None and state.norm_version != norm_version:
        try:
            payload = payloads.unpack(packed)
        except RecordRejected as rejected:
            unreadable = rejected
    facts = Stored(
        fields=orjson.loads(row["text"]),
        content_hash=state.content_hash,
        norm_version=state.norm_version,
        modified_at=state.modified_at,
        payload=payload,
        purged=row["purged_at"] is not None,
    )
    return StoredListing(state, facts, row["last_changed_at"], packed, unreadable)
