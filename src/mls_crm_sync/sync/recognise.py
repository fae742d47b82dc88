"""From the raw records of a page to what has to be looked at.

Most of a re-read is known by its bytes and costs nothing more. The rest is parsed and brought into normal form; what
cannot be is set aside with its reason. Reads the database without locks: whatever follows from stored state here is
looked at again under the listing's lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from mls_crm_sync.core import records
from mls_crm_sync.core.errors import InvalidInput, RecordRejected
from mls_crm_sync.core.hashing import Recogniser, Sighting, content_hash, payload_digest
from mls_crm_sync.core.listing import Normalised, Normaliser, property_id
from mls_crm_sync.sources.base import RawRecord
from mls_crm_sync.store import listings
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.listings import State
from mls_crm_sync.store.quarantine import Broken

from .tally import Tally

MAX_NAME = 200
"""Characters of a source's or location's name, and of an id that a push brings along."""

NO_DIGEST = b""
"""Of a record that its bytes alone cannot tell: it is parsed each time."""


@dataclass(frozen=True, slots=True)
class Known:
    """A record told by its bytes. `clock` is its ModificationTimestamp where that alone is newer."""

    property_id: str
    digest: bytes
    clock: datetime | None
    elsewhere: bool  # the listing is mostly read from another location
    raw: RawRecord


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record that was parsed."""

    property_id: str
    digest: bytes
    record: Mapping[str, Any]
    facts: Normalised
    content_hash: bytes  # of this record alone, before it is laid over what is stored
    payload_digest: bytes
    notes: tuple[str, ...]
    position: int
    data: bytes


@dataclass(slots=True)
class Batch:
    """Records that follow each other in a page, each listing at most once, sorted by what they need."""

    shown: list[str] = field(default_factory=list)  # every listing of the batch
    elsewhere: list[str] = field(default_factory=list)  # those that this location may not have shown before
    clocks: list[Known] = field(default_factory=list)
    incoming: list[Incoming] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)  # of what needs nothing more


class Reader:
    """What a run reads with: its source, the normaliser, and the recogniser made for both."""

    def __init__(
        self, source: str, normaliser: Normaliser, *, time_zone: ZoneInfo | None = None, own_ids: bool = False
    ) -> None:
        """`own_ids`: records may bring a `property_id` of their own (a push); each is then parsed to see."""
        self.source = checked_name("source", source)
        self._own_ids = own_ids
        self.normaliser = normaliser
        self.volatile = frozenset(normaliser.volatile)
        self.time_zone = time_zone
        self._recogniser = Recogniser(
            source=source, version=normaliser.version, volatile=self.volatile, time_zone=time_zone
        )

    def sight(self, raw: RawRecord) -> Sighting | None:
        return None if self._own_ids else self._recogniser.sight(raw.data)

    def parse(self, raw: RawRecord, digest: bytes = NO_DIGEST) -> Incoming:
        """Return the record in normal form. Raises RecordRejected."""
        decoded = records.decode(raw.data)
        own_id = _own_id(decoded.record) if self._own_ids else None
        facts = self.normaliser.normalise(decoded.record, time_zone=self.time_zone)
        return Incoming(
            property_id=own_id or property_id(self.source, facts.source_key),
            digest=digest,
            record=decoded.record,
            facts=facts,
            content_hash=content_hash(self.normaliser.hashed(facts.fields)),
            payload_digest=payload_digest(decoded.record, self.volatile),
            notes=decoded.notes + facts.notes,
            position=raw.position,
            data=raw.data,
        )


def checked_name(member: str, name: str) -> str:
    """Return the name of a source or location. Raises InvalidInput: it is kept for good, and shown."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(member, f"must be printable text of 1 to {MAX_NAME} characters")
    return name


def _own_id(record: dict[str, Any]) -> str | None:
    """Take the record's own id out of it: it is ours, no fact of the listing. Raises RecordRejected."""
    own_id = record.pop("property_id", None)
    if own_id is None:
        return None
    if not isinstance(own_id, str) or not own_id.strip() or len(own_id) > MAX_NAME or not own_id.isprintable():
        detail = f"property_id must be printable text of 1 to {MAX_NAME} characters"
        raise RecordRejected("bad_value", detail, field="property_id")
    return own_id


async def recognise(db: Database, reader: Reader, location_id: int, raws: Iterable[RawRecord]) -> AsyncIterator[Batch]:
    """Yield the records in order, sorted by what they need, in batches that hold each listing at most once.

    A batch is looked up when it is asked for, so that a listing that comes again is compared with what the batch
    before has made of it: write each one before asking for the next.
    """
    for group in _groups(reader, raws):
        async with db.connection() as conn:
            ids = {one.property_id for _, one in group if not isinstance(one, Broken)}
            states = await listings.read_states(conn, ids)
            told = [_tell(reader, raw, one, states, location_id) for raw, one in group]
            told = await _with_stored_ids(conn, reader.source, told, states)
        yield _batch(told)


def _groups(
    reader: Reader, raws: Iterable[RawRecord]
) -> Iterator[list[tuple[RawRecord, Sighting | Incoming | Broken]]]:
    """Yield runs of records without a listing in common; what its bytes cannot tell is parsed to know whose it is."""
    group: list[tuple[RawRecord, Sighting | Incoming | Broken]] = []
    ids: set[str] = set()
    for raw in raws:
        one = reader.sight(raw) or _parsed(reader, raw, NO_DIGEST)
        whose = _ids_of(reader.source, one)
        if whose & ids:
            yield group
            group, ids = [], set()
        ids |= whose
        group.append((raw, one))
    yield group


def _ids_of(source: str, one: Sighting | Incoming | Broken) -> set[str]:
    """The id of a record's listing; also the one its key would give it, where it brought one of its own."""
    if isinstance(one, Broken):
        return set()
    if isinstance(one, Incoming):
        return {one.property_id, property_id(source, one.facts.source_key)}
    return {one.property_id}


def _parsed(reader: Reader, raw: RawRecord, digest: bytes) -> Incoming | Broken:
    try:
        return reader.parse(raw, digest)
    except RecordRejected as rejected:
        return Broken(raw.position, rejected.reason, rejected.detail, raw.data, rejected.field)


def _tell(
    reader: Reader,
    raw: RawRecord,
    one: Sighting | Incoming | Broken,
    states: Mapping[str, State],
    location_id: int,
) -> Known | Incoming | Broken:
    """Tell by its bytes what can be told, and parse the rest."""
    if not isinstance(one, Sighting):
        return one
    state = states.get(one.property_id)
    if state is None or state.digest != one.digest:
        return _parsed(reader, raw, one.digest)
    clock = one.modified_at if _is_newer(one.modified_at, state.modified_at) else None
    return Known(one.property_id, one.digest, clock, state.location_id != location_id, raw)


async def _with_stored_ids(
    conn: Connection, source: str, told: Sequence[Known | Incoming | Broken], states: Mapping[str, State]
) -> list[Known | Incoming | Broken]:
    """A listing that was pushed may have brought an id of its own: its later records belong to that id.

    The id is the first record's for good: another one that a later record brings is passed over.
    """
    unknown = [t for t in told if isinstance(t, Incoming) and t.property_id not in states]
    if not unknown:
        return list(told)
    ids = await listings.ids_by_source_key(conn, source, {t.facts.source_key for t in unknown})
    taken = await listings.keys_by_id(conn, {t.property_id for t in unknown})
    return [_under_stored_id(t, source, ids, taken) if isinstance(t, Incoming) else t for t in told]


def _under_stored_id(
    incoming: Incoming, source: str, ids: Mapping[str, str], taken: Mapping[str, tuple[str, str]]
) -> Incoming | Broken:
    key = incoming.facts.source_key
    if key in ids:
        return replace(incoming, property_id=ids[key])
    if taken.get(incoming.property_id, (source, key)) != (source, key):
        detail = f"property_id {incoming.property_id!r} is the id of another listing"
        return Broken(incoming.position, "id_taken", detail, incoming.data, "property_id")
    return incoming


def _batch(told: Iterable[Known | Incoming | Broken]) -> Batch:
    batch = Batch()
    for one in told:
        _sort_in(batch, one)
    return batch


def _sort_in(batch: Batch, one: Known | Incoming | Broken) -> None:
    if isinstance(one, Broken):
        batch.broken.append(one)
        return
    batch.shown.append(one.property_id)
    if isinstance(one, Incoming):
        batch.incoming.append(one)
        batch.elsewhere.append(one.property_id)
        return
    if one.elsewhere:
        batch.elsewhere.append(one.property_id)
    if one.clock is not None:
        batch.clocks.append(one)
    else:
        batch.tally.read += 1
        batch.tally.unchanged += 1
        batch.tally.recognised += 1


def _is_newer(incoming: datetime | None, stored: datetime | None) -> bool:
    return incoming is not None and (stored is None or stored < incoming)
