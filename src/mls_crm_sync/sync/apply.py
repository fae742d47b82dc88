"""The one transaction: listings, history, CRM rows and events, written together or not at all.

Lock order, the same for every writer: the run's location (held by the caller), listings by id, CRM rows by id, the
event lock (taken by the caller, last). Everything here may run again from its start: after a deadlock in the same
process, after a kill in the next one; a record that is already in is then unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mls_crm_sync.core.changes import Change, ChangeType, Decision, Outcome, decide, is_older
from mls_crm_sync.core.hashing import payload_digest
from mls_crm_sync.core.listing import overlay_payload
from mls_crm_sync.store import crm_properties, listings
from mls_crm_sync.store.crm_properties import Synced
from mls_crm_sync.store.database import Connection
from mls_crm_sync.store.events import Event
from mls_crm_sync.store.listings import ListingWrite, State, StoredListing, pack_payload

from .recognise import Incoming, Known, Reader
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Applied:
    """What a transaction did; void when it is rolled back. The caller appends the events, last."""

    tally: Tally
    events: list[Event]


@dataclass(slots=True)
class _Writes:
    """The listings of one transaction, by what is written of them."""

    full: list[ListingWrite] = field(default_factory=list)  # facts, payload, history
    payloads: list[ListingWrite] = field(default_factory=list)  # the same facts, more beside them
    states: list[ListingWrite] = field(default_factory=list)  # every listing whose narrow row moves


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

    async def apply(
        self, incoming: Sequence[Incoming], clocks: Sequence[Known] = (), *, not_after: datetime | None = None
    ) -> Applied:
        """Take records in. `not_after`: they are of that time; listings that changed since are left alone."""
        ordered = sorted(incoming, key=lambda i: i.property_id)
        await self._insert_new(ordered)
        made = {w.property_id for w in self._new}
        rest = [i for i in ordered if i.property_id not in made]
        await listings.lock(self._conn, [i.property_id for i in rest] + [c.property_id for c in clocks])
        states = await listings.read_states(self._conn, [i.property_id for i in rest] + [c.property_id for c in clocks])
        rest += await self._move_clocks(clocks, states)
        await self._decide(rest, states, not_after)
        synced = await self._write()
        return Applied(self._tally, [*self._listing_events(), *self._property_events(synced)])

    async def _insert_new(self, ordered: Sequence[Incoming]) -> None:
        """Insert what nobody has; who loses the race to insert is decided like the rest, under the winner's row."""
        states = await listings.read_states(self._conn, [i.property_id for i in ordered])
        candidates = [i for i in ordered if i.property_id not in states]
        decisions = [decide(None, i.facts, self._reader.normaliser) for i in candidates]
        writes = [_write(i, d, i.record, i.payload_digest) for i, d in zip(candidates, decisions, strict=True)]
        won = await listings.insert(self._conn, self._reader.source, self._location_id, self._version, writes)
        for i, decision, write in zip(candidates, decisions, writes, strict=True):
            if write.property_id in won:
                self._new.append(write)
                self._tally.add(tally_of(i, decision))

    async def _move_clocks(self, clocks: Sequence[Known], states: dict[str, State]) -> list[Incoming]:
        """Move the clocks of records that still are what is stored; return the others, parsed, to be decided."""
        held = [c for c in clocks if states[c.property_id].digest == c.digest]
        await listings.move_clocks(self._conn, {c.property_id: c.clock for c in held if c.clock is not None})
        self._tally.add(Tally(read=len(held), unchanged=len(held), recognised=len(held)))
        return [self._reader.parse(c.raw, c.digest) for c in clocks if states[c.property_id].digest != c.digest]

    async def _decide(self, rest: Sequence[Incoming], states: dict[str, State], not_after: datetime | None) -> None:
        known = [i for i in rest if self._is_stored_already(i, states[i.property_id])]
        told = {i.property_id for i in known}
        for i in known:
            self._refresh(i, states[i.property_id])
        stored = await listings.read_stored(self._conn, [i.property_id for i in rest if i.property_id not in told])
        for i in rest:
            if i.property_id in stored:
                self._decide_one(i, stored[i.property_id], not_after)

    def _is_stored_already(self, incoming: Incoming, state: State) -> bool:
        """The same facts and the same payload, in other clothes: the narrow row alone tells. Older revisions do not."""
        return (
            not is_older(incoming.facts.modified_at, state.modified_at)
            and state.norm_version == self._version
            and state.content_hash == incoming.content_hash
            and state.payload_digest == incoming.payload_digest
        )

    def _refresh(self, incoming: Incoming, state: State) -> None:
        """Remember these clothes too, so that they are known by their bytes next time."""
        self._tally.add(_with_names(Tally(read=1, unchanged=1), incoming))
        modified_at = max(filter(None, (incoming.facts.modified_at, state.modified_at)), default=None)
        if incoming.digest != state.digest or modified_at != state.modified_at:
            self._writes.states.append(
                ListingWrite(
                    property_id=incoming.property_id,
                    source_key=incoming.facts.source_key,
                    digest=incoming.digest,
                    payload_digest=state.payload_digest,
                    content_hash=state.content_hash,
                    modified_at=modified_at,
                )
            )

    def _decide_one(self, incoming: Incoming, stored: StoredListing, not_after: datetime | None) -> None:
        if not_after is not None and not stored.facts.purged and stored.last_changed_at > not_after:
            self._tally.add(_with_names(Tally(read=1, unchanged=1, superseded=1), incoming))
            return
        decision = decide(stored.facts, incoming.facts, self._reader.normaliser, time_zone=self._reader.time_zone)
        self._tally.add(tally_of(incoming, decision))
        if decision.outcome is Outcome.OLDER:
            self._keep(incoming, stored, decision)
            return
        payload = overlay_payload(stored.facts.payload or {}, incoming.record)
        write = _write(incoming, decision, payload, payload_digest(payload, self._reader.volatile))
        self._writes.states.append(write)
        if decision.changes:
            self._writes.full.append(write)
        elif write.payload_digest != stored.state.payload_digest:
            self._writes.payloads.append(write)

    def _keep(self, incoming: Incoming, stored: StoredListing, decision: Decision) -> None:
        """An older revision changes nothing; but what an older normaliser left is brought up to date all the same."""
        if stored.state.norm_version == self._version:
            return
        write = ListingWrite(
            property_id=incoming.property_id,
            source_key=incoming.facts.source_key,
            digest=stored.state.digest,
            payload_digest=stored.state.payload_digest,
            content_hash=decision.content_hash,
            modified_at=stored.state.modified_at,
            fields=decision.fields,
            payload=pack_payload(stored.facts.payload or {}),
            changes=decision.changes,
        )
        self._writes.states.append(write)
        if decision.changes:
            self._writes.full.append(write)

    async def _write(self) -> list[Synced]:
        conn, writes = self._conn, self._writes
        await listings.update(conn, writes.full)
        await listings.update_payloads(conn, writes.payloads)
        await listings.update_states(conn, self._version, writes.states)
        history = [(w.property_id, change) for w in self._changed() for change in w.changes]
        await listings.insert_changes(conn, self._run_id, history)
        synced = await crm_properties.bring_in_step(
            conn, [w.property_id for w in writes.full], self._reader.normaliser.unsynced
        )
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
                change_types=types[s.property_id],
            )


def tally_of(incoming: Incoming, decision: Decision) -> Tally:
    """Return what one decided record adds to the counts, CRM rows aside."""
    outcome = decision.outcome
    tally = Tally(
        read=1,
        new=int(outcome is Outcome.NEW),
        changed=int(outcome is Outcome.CHANGED),
        unchanged=int(outcome in (Outcome.UNCHANGED, Outcome.OLDER)),
        older=int(outcome is Outcome.OLDER),
        renormalised=int(any(c.type is ChangeType.RENORMALISED for c in decision.changes)),
    )
    tally.changes.update(_types(decision.changes))
    return _with_names(tally, incoming)


def _with_names(tally: Tally, incoming: Incoming) -> Tally:
    tally.unknown_members.update(incoming.facts.unknown)
    tally.notes.update(incoming.notes)
    return tally


def _write(incoming: Incoming, decision: Decision, payload: Mapping[str, Any], digest: bytes) -> ListingWrite:
    return ListingWrite(
        property_id=incoming.property_id,
        source_key=incoming.facts.source_key,
        digest=incoming.digest,
        payload_digest=digest,
        content_hash=decision.content_hash,
        modified_at=decision.modified_at,
        fields=decision.fields,
        payload=pack_payload(payload),
        changes=decision.changes,
    )


def _names(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(sorted({c.field for c in changes if c.field is not None}))


def _types(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(sorted({c.type.value for c in changes}))
