"""The one transaction: listings, history, CRM rows and events, written together or not at all.

Lock order, the same for every writer: the run's location (held by the caller), listings by id, CRM rows by id, the
event lock (taken by the caller, last). Everything here may run again from its start: after a deadlock in the same
process, after a kill in the next one; a record that is already in is then unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

import structlog
from msgspec.structs import replace

from mls_crm_sync.core import records
from mls_crm_sync.core.changes import Change, ChangeType, Decision, Outcome, decide, is_older
from mls_crm_sync.core.hashing import payload_digest
from mls_crm_sync.core.listing import overlay_payload
from mls_crm_sync.store import changed, crm_properties, listings, payloads
from mls_crm_sync.store.crm_properties import Synced
from mls_crm_sync.store.database import Connection
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.listings import ListingWrite, State, StoredListing, searched
from mls_crm_sync.store.quarantine import Broken

from .reader import NO_DIGEST, Fresh, Incoming, Reader, listing_write
from .recognise import Known
from .tally import Tally

log = structlog.get_logger()

NONE_LOCKED: Mapping[str, StoredListing] = {}


@dataclass(frozen=True, slots=True)
class Applied:
    """What a transaction did; void when it is rolled back. The caller appends the events, last."""

    tally: Tally
    new: frozenset[str]  # listings that it made
    events: list[Event]
    older: frozenset[str]  # listings of which an older revision came, or one that was superseded
    broken: list[Broken]


@dataclass(slots=True)
class _Writes:
    """The listings of one transaction, by what is written of them."""

    full: list[ListingWrite] = field(default_factory=list)  # all of it: facts, payload, narrow row, history
    payloads: list[ListingWrite] = field(default_factory=list)  # the same facts, more beside them
    states: list[ListingWrite] = field(default_factory=list)  # the others whose narrow row moves
    renewed: list[str] = field(default_factory=list)  # listings that another normaliser had stored


class Transaction:
    """Applies records to listings whose locks it takes; one object a try."""

    def __init__(self, conn: Connection, reader: Reader, *, run_id: int, location_id: int) -> None:
        self._conn = conn
        self._reader = reader
        self._run_id = run_id
        self._location_id = location_id
        self._version = reader.normaliser.version
        self._tally = Tally()
        self._writes = _Writes()
        self._new: list[ListingWrite] = []
        self._older: set[str] = set()
        self._broken: list[Broken] = []

    async def apply(
        self,
        incoming: Sequence[Incoming],
        known: Sequence[Known] = (),
        *,
        fresh: Sequence[Fresh] = (),
        locked: Mapping[str, StoredListing] = NONE_LOCKED,
        not_after: datetime | None = None,
    ) -> Applied:
        """Take records in. `locked`: listings that this transaction has locked already, by id. `not_after`: the records
        are of that time; listings that changed since are left alone.
        """
        late = await self._insert(sorted(fresh, key=attrgetter("property_id")))
        rest = sorted([*incoming, *late], key=attrgetter("property_id"))
        expected = dict.fromkeys((i.property_id for i in rest), None) | {k.property_id: k.digest for k in known}
        states = await listings.lock(self._conn, {i: digest for i, digest in expected.items() if i not in locked})
        states |= {i.property_id: locked[i.property_id].state for i in rest if i.property_id in locked}
        rest += await self._note_known(known, states)
        await self._decide(rest, states, locked, not_after)
        synced = await self._write()
        told = [*self._listing_events(), *self._property_events(synced)]
        new = frozenset([w.property_id for w in self._new])
        return Applied(self._tally, new, told, frozenset(self._older), self._broken)

    async def _insert(self, fresh: Sequence[Fresh]) -> list[Incoming]:
        """Insert what nobody has; return those that somebody else stored first, parsed, to be decided like the rest."""
        elsewhere: dict[str, str] = {}
        while (won := await self._insert_new([f for f in fresh if f.write.source_key not in elsewhere])) is None:
            keys = {f.write.source_key for f in fresh}
            found = await listings.ids_by_source_key(self._conn, self._reader.source, keys)
            if found == elsewhere:  # refused again for a listing that nobody has: never to be tried for ever
                raise RuntimeError("a new listing is refused, and none that is stored tells why")
            elsewhere = found
        self._new += [f.write for f in fresh if f.property_id in won]
        late = [f for f in fresh if f.property_id not in won]
        owners = await listings.keys_by_id(self._conn, {f.property_id for f in late}) if late else {}
        return [one for f in late if (one := self._taken_late(f, elsewhere, owners)) is not None]

    async def _insert_new(self, fresh: Sequence[Fresh]) -> set[str] | None:
        writes = [f.write for f in fresh]
        won = await listings.insert(self._conn, self._reader.source, self._location_id, self._version, writes)
        for f in fresh:
            if won is not None and f.property_id in won:
                count_new(self._tally, f)
        return won

    def _taken_late(
        self, fresh: Fresh, elsewhere: Mapping[str, str], owners: Mapping[str, tuple[str, str]]
    ) -> Incoming | None:
        """A listing that was stored since it was looked at: under the same id, under another one, or not this one."""
        key = fresh.write.source_key
        if key not in elsewhere and owners[fresh.property_id] != (self._reader.source, key):
            self._broken.append(self._reader.id_taken(fresh.raw, fresh.property_id, key))
            return None
        taken = self._reader.take_anew(fresh.raw)
        if not isinstance(taken, Incoming):
            self._broken.append(taken)
            return None
        return replace(taken, property_id=elsewhere.get(key, fresh.property_id))

    async def _note_known(self, known: Sequence[Known], states: dict[str, State]) -> list[Incoming]:
        """Move the clocks of records of which the same is stored still; return the others, parsed, to be decided.
        `states` lacks the first kind.
        """
        same = [one for one in known if one.property_id not in states]
        await listings.move_clocks(self._conn, {one.property_id: one.clock for one in same if one.clock is not None})
        self._tally.told(len(same))
        others: list[Incoming] = []
        for one in known:
            if one.property_id in states:
                taken = self._reader.take_anew(one.raw)
                if isinstance(taken, Incoming):
                    others.append(taken)
                else:
                    self._broken.append(taken)
        return others

    def _dress(self, property_id: str, digest: bytes, clock: datetime | None, state: State) -> None:
        """Remember these clothes too, so that they are known by their bytes next time."""
        modified_at = max(filter(None, (clock, state.modified_at)), default=None)
        if digest != state.digest or modified_at != state.modified_at:
            self._writes.states.append(
                ListingWrite(
                    property_id=property_id,
                    source_key="",
                    digest=digest,
                    payload_digest=state.payload_digest,
                    content_hash=state.content_hash,
                    modified_at=modified_at,
                )
            )

    async def _decide(
        self,
        rest: Sequence[Incoming],
        states: Mapping[str, State],
        locked: Mapping[str, StoredListing],
        not_after: datetime | None,
    ) -> None:
        known = [i for i in rest if self._is_stored_already(i, states[i.property_id])]
        told = {i.property_id for i in known}
        for i in known:
            self._unchanged(i)
            self._dress(i.property_id, i.digest, i.facts.modified_at, states[i.property_id])
        asked = [i.property_id for i in rest if i.property_id not in told and i.property_id not in locked]
        stored = {**locked, **await listings.read_stored(self._conn, self._version, asked)}
        for i in rest:
            if i.property_id not in told:
                self._decide_one(i, stored[i.property_id], not_after)

    def _unchanged(self, incoming: Incoming) -> None:
        self._tally.read += 1
        self._tally.unchanged += 1
        self._tally.name(incoming.facts.unknown, incoming.notes)

    def _is_stored_already(self, incoming: Incoming, state: State) -> bool:
        """The same facts and the same payload, in other clothes: the narrow row alone tells. Older revisions do not."""
        return (
            not is_older(incoming.facts.modified_at, state.modified_at)
            and state.norm_version == self._version
            and state.content_hash == incoming.facts.content_hash
            and state.payload_digest == incoming.payload_digest
        )

    def _decide_one(self, incoming: Incoming, stored: StoredListing, not_after: datetime | None) -> None:
        if not_after is not None and not stored.facts.purged and stored.last_changed_at > not_after:
            self._unchanged(incoming)
            self._tally.superseded += 1
            self._older.add(incoming.property_id)
            return
        if stored.state.norm_version != self._version:
            self._writes.renewed.append(incoming.property_id)
        decision = decide(stored.facts, incoming.facts, self._reader.normaliser, time_zone=self._reader.time_zone)
        count(self._tally, incoming, decision)
        if decision.outcome is Outcome.OLDER:
            self._older.add(incoming.property_id)
            self._keep(incoming, stored, decision)
            return
        clock = incoming.facts.modified_at
        if decision.outcome is Outcome.CHANGED and clock is not None and clock == stored.state.modified_at:
            log.info("same_time_other_content", property_id=incoming.property_id, run_id=self._run_id)
        write = listing_write(incoming, decision, *self._overlaid(incoming, stored.packed))
        if decision.changes:
            self._writes.full.append(write)
            return
        self._writes.states.append(write)
        if write.payload_digest != stored.state.payload_digest or stored.unreadable is not None:
            self._writes.payloads.append(write)

    def _overlaid(self, incoming: Incoming, packed: bytes | None) -> tuple[bytes, bytes]:
        """Return the payload that is kept from now on, and its digest."""
        if packed is None or set(incoming.names).issuperset(payloads.names(packed)):
            return incoming.payload, incoming.payload_digest
        payload = records.encode(overlay_payload(payloads.unpack(packed), records.decode(incoming.payload).record))
        return payload, payload_digest(payload, self._reader.volatile)

    def _keep(self, incoming: Incoming, stored: StoredListing, decision: Decision) -> None:
        """An older revision changes nothing; but what an older normaliser left is brought up to date all the same."""
        if stored.state.norm_version == self._version or stored.unreadable is not None:
            return
        write = ListingWrite(
            property_id=incoming.property_id,
            source_key=incoming.facts.source_key,
            digest=NO_DIGEST,  # the stored one is of the older normaliser, which may come back
            payload_digest=stored.state.payload_digest,
            content_hash=decision.content_hash,
            modified_at=stored.state.modified_at,
            text=decision.text,
            searched=searched(decision.text),
            payload=payloads.pack(records.encode(stored.facts.payload or {})),
            changes=decision.changes,
        )
        (self._writes.full if decision.changes else self._writes.states).append(write)

    async def _write(self) -> list[Synced]:
        conn, writes = self._conn, self._writes
        history = [(w.property_id, change) for w in self._changed() for change in w.changes]
        unsynced = self._reader.normaliser.unsynced
        full = {w.property_id for w in writes.full}
        others = sorted(set(writes.renewed) - full)  # what is copied of the same facts may be another part of them
        if others:
            await crm_properties.lock_linked(conn, sorted(full.union(others)))
        synced = await changed.write(conn, self._run_id, self._version, writes.full, changes=history, unsynced=unsynced)
        await listings.update_payloads(conn, writes.payloads)
        await listings.update_states(conn, self._version, writes.states)
        if others:
            synced += await crm_properties.bring_in_step(conn, others, unsynced)
            synced.sort(key=attrgetter("crm_id"))
        self._tally.crm_updated += len(synced)
        return synced

    def _changed(self) -> list[ListingWrite]:
        return sorted([*self._new, *self._writes.full], key=lambda w: w.property_id)

    def _listing_events(self) -> Iterable[Event]:
        for write in self._changed():
            market = [c for c in write.changes if c.type is not ChangeType.RENORMALISED]
            if market:
                yield Event(
                    "listing.changed",
                    property_id=write.property_id,
                    run_id=self._run_id,
                    field_names=_names(market),
                    change_types=_types(market),
                )

    def _property_events(self, synced: Iterable[Synced]) -> Iterable[Event]:
        types = {w.property_id: _types(w.changes) for w in self._writes.full}
        for s in synced:
            yield Event(
                "property.synced",
                property_id=s.property_id,
                crm_property_id=s.crm_id,
                platform=s.platform,
                run_id=self._run_id,
                field_names=s.field_names,
                change_types=types.get(s.property_id, ()),
            )


def count_new(tally: Tally, fresh: Fresh) -> None:
    tally.read += 1
    tally.new += 1
    tally.changes[ChangeType.NEW.value] += 1
    tally.name(fresh.unknown, fresh.notes)


def count(tally: Tally, incoming: Incoming, decision: Decision) -> None:
    """Add one decided record to the counts, CRM rows aside."""
    outcome = decision.outcome
    tally.read += 1
    tally.new += outcome is Outcome.NEW
    tally.changed += outcome is Outcome.CHANGED
    tally.unchanged += outcome in (Outcome.UNCHANGED, Outcome.OLDER)
    tally.older += outcome is Outcome.OLDER
    tally.renormalised += any(c.type is ChangeType.RENORMALISED for c in decision.changes)
    tally.changes.update(_types(decision.changes))
    tally.name(incoming.facts.unknown, incoming.notes)


def _names(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(sorted({c.field for c in changes if c.field is not None}))


def _types(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(sorted({c.type.value for c in changes}))
