"""What a run reads with: from the raw record of one listing to its normal form, or to what there is to say of it where
that cannot be. Nothing of the database is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from mls_crm_sync.core import records
from mls_crm_sync.core.changes import Decision, decide, is_older
from mls_crm_sync.core.errors import InvalidInput, RecordRejected
from mls_crm_sync.core.hashing import AsStored, Recogniser, Sighting, payload_digest, says_of
from mls_crm_sync.core.listing import Normalised, Normaliser, property_id, source_key_of
from mls_crm_sync.core.splitting import Members
from mls_crm_sync.core.values import BadValue, instant_of
from mls_crm_sync.sources.base import RawRecord
from mls_crm_sync.store import payloads
from mls_crm_sync.store.listings import ListingWrite, State, searched
from mls_crm_sync.store.quarantine import Broken

MAX_NAME = 200
"""Characters of a source's or location's name, and of an id that a push brings along."""

CLOCK_TOLERANCE = timedelta(days=1)
"""A ModificationTimestamp further ahead is wrong: believed, it would make every later revision an older one."""

NO_DIGEST = b""
"""Of a record that its bytes alone cannot tell: it is parsed each time."""


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """A record of a listing that nobody has stored, in the form in which it will be written. What it was parsed to is
    gone: a thousand parsed records at a time cost more than parsing the few again that somebody else stores first.
    """

    write: ListingWrite
    raw: RawRecord
    unknown: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def property_id(self) -> str:
        return self.write.property_id


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A record that was parsed."""

    property_id: str
    digest: bytes
    names: Collection[str]  # of its members
    facts: Normalised
    payload_digest: bytes
    notes: tuple[str, ...]
    position: int
    data: bytes
    payload: bytes  # what is kept of the data


class Reader:
    """What a run reads with: its source, the normaliser, and the recogniser made for both."""

    def __init__(
        self,
        source: str,
        normaliser: Normaliser,
        *,
        time_zone: ZoneInfo | None = None,
        own_ids: bool = False,
        now: datetime | None = None,
    ) -> None:
        """`own_ids`: records may bring a `property_id` of their own (a push); each is then parsed to see.

        `now`: when the reading begins, if not at this moment.
        """
        self.source = checked_name("source", source)
        self._own_ids = own_ids
        self.normaliser = normaliser
        self.volatile = normaliser.volatile
        self.time_zone = time_zone
        self._latest = (now or datetime.now(UTC)) + CLOCK_TOLERANCE
        self._recogniser = Recogniser(
            source=source, version=normaliser.version, volatile=self.volatile, time_zone=time_zone
        )
        self._plain = normaliser.plain_reader(time_zone)

    def sight(self, raw: RawRecord, stored: AsStored | None = None) -> Sighting | None:
        return None if self._own_ids else self._recogniser.sight(raw.data, stored)

    def split(self, raw: RawRecord, stored: AsStored | None = None) -> tuple[Sighting, Members] | None:
        return None if self._own_ids else self._recogniser.split(raw.data, stored)

    def may_say_what_is_stored(self, clock: datetime | None, state: State) -> bool:
        """What another normaliser stored is looked at again; an older revision is not taken for the stored one."""
        return state.norm_version == self.normaliser.version and not is_older(clock, state.modified_at)

    def believes(self, clock: datetime | None) -> bool:
        return clock is None or clock <= self._latest

    def take(
        self,
        raw: RawRecord,
        sighting: Sighting | None = None,
        members: Members | None = None,
        says: bytes | None = None,
    ) -> Incoming | Broken:
        """Return the record in normal form, or what there is to say of it where that cannot be.

        `sighting`, `members` and `says` are what its bytes have told already.
        """
        try:
            return self._parse(raw, sighting, members, says)
        except RecordRejected as rejected:
            return self._broken(raw, rejected)

    def _broken(self, raw: RawRecord, rejected: RecordRejected) -> Broken:
        broken = Broken(raw.position, rejected.reason, rejected.detail, raw.data, rejected.field)
        try:
            record = records.decode(raw.data).record
            broken = replace(broken, digest=payload_digest(records.encode(record), self.volatile))
            return replace(broken, source_key=source_key_of(record), modified_at=self._clock_of(record))
        except RecordRejected:
            return broken

    def _clock_of(self, record: Mapping[str, Any]) -> datetime | None:
        """The clock of a record that cannot be read as a whole, where it can be read and believed."""
        try:
            clock = instant_of(record.get("ModificationTimestamp"), self.time_zone)
        except BadValue:
            return None
        return clock if self.believes(clock) else None

    def id_taken(self, raw: RawRecord, own_id: str, key: str) -> Broken:
        """What there is to say of a record whose own id is another listing's."""
        rejected = RecordRejected(
            "id_taken", f"property_id {own_id!r} is the id of another listing", field="property_id"
        )
        digest = payload_digest(raw.data, self.volatile)
        return replace(self._broken(raw, rejected), source_key=key, digest=digest)

    def take_anew(self, raw: RawRecord) -> Incoming | Broken:
        return self.take(raw, self.sight(raw))

    def fresh(self, raw: RawRecord, incoming: Incoming) -> Fresh:
        """Return what is written of a listing that nobody has."""
        decision = decide(None, incoming.facts, self.normaliser)
        write = listing_write(incoming, decision, incoming.payload, incoming.payload_digest)
        return Fresh(write, raw, incoming.facts.unknown, incoming.notes)

    def _parse(
        self, raw: RawRecord, sighting: Sighting | None, members: Members | None, says: bytes | None
    ) -> Incoming:
        if sighting is not None and members is None:
            sighting, members = sighting.exactly() or (None, None)
        plainly = None
        if sighting is not None and members is not None:
            plainly = self._plainly(raw, sighting, members, says)
        return plainly or self._strictly(raw, sighting, says)

    def _plainly(self, raw: RawRecord, sighting: Sighting, members: Members, says: bytes | None) -> Incoming | None:
        """A record that is spelled as usual, without making a value of it; None where the strict way has to look."""
        plain = self._plain.read(raw.data, members) if self.believes(sighting.modified_at) else None
        if plain is None:
            return None
        facts = self.normaliser.of_plain(plain, source_key=sighting.source_key, modified_at=sighting.modified_at)
        if facts is None:
            return None
        return Incoming(
            property_id=sighting.property_id,
            digest=sighting.digest,
            names=members.every_name(),
            facts=facts,
            payload_digest=says or says_of(members),
            notes=(),
            position=raw.position,
            data=raw.data,
            payload=raw.data,
        )

    def _strictly(self, raw: RawRecord, sighting: Sighting | None, says: bytes | None) -> Incoming:
        decoded = records.decode(raw.data)
        own_id = _own_id(decoded.record) if self._own_ids else None
        facts = self.normaliser.normalise(decoded.record, time_zone=self.time_zone)
        if not self.believes(facts.modified_at):
            detail = (
                "ModificationTimestamp: more than a day in the future; is its time zone declared, and its clock right?"
            )
            raise RecordRejected("clock_ahead", detail, field="ModificationTimestamp")
        payload = raw.data
        if decoded.notes or own_id is not None:
            payload, says = records.encode(decoded.record), None
        elif sighting is not None:
            says = says or sighting.says()
        return Incoming(
            property_id=own_id or property_id(self.source, facts.source_key),
            digest=sighting.digest if sighting is not None else NO_DIGEST,
            names=tuple(decoded.record),
            facts=facts,
            payload_digest=says or payload_digest(payload, self.volatile),
            notes=decoded.notes + facts.notes,
            position=raw.position,
            data=raw.data,
            payload=payload,
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


def listing_write(incoming: Incoming, decision: Decision, payload: bytes, digest: bytes) -> ListingWrite:
    """Return what is written of a listing; `payload` is kept of it from now on, `digest` is that of the payload."""
    return ListingWrite(
        property_id=incoming.property_id,
        source_key=incoming.facts.source_key,
        digest=incoming.digest,
        payload_digest=digest,
        content_hash=decision.content_hash,
        modified_at=decision.modified_at,
        text=decision.text,
        searched=searched(decision.text),
        payload=payloads.pack(payload),
        changes=decision.changes,
    )
