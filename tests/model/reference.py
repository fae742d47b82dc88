"""The reference model: what every verb of the product must do, in dictionaries.

Written from DESIGN.md and not from the product's code, of which it imports nothing. What is modelled: recognition,
normal forms (known by construction, see `pieces.py`), overlay of absent and cleared members, older revisions, types of
changes, history, events and their order, the copy to the CRM, ownership by column, links with their dates, overrides,
import, purge, quarantine and its retry, passes, what they last showed and whom they prove gone, a change of the field
table.

What is not: time (staleness, expiry by the clock), look-ups, runs that are killed or meet others, unreadable files,
transactions of more than 500 listings, payloads too large to keep. Other tests look at those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from model.deliveries import Record, rewritten
from model.link_side import LinkSide
from model.pieces import BAD, Piece, Table
from model.world import History, Listing, Place, Refusal, SetAside, Told, differing, hash_of

_BACK = {"Pending": "back_on_market", "Hold": "back_on_market", "Withdrawn": "back_on_market"}
_AGAIN = {"Closed": "relisted", "Expired": "relisted", "Canceled": "relisted"}


@dataclass
class Counts:
    """What a run must report. Of a listing that comes twice in a page, recognition by bytes is left open."""

    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    recognised: int = 0
    perhaps_recognised: int = 0
    older: int = 0
    superseded: int = 0
    renormalised: int = 0
    crm_updated: int = 0
    changes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                self.changes.update(value)
            else:
                setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Run:
    number: int
    place: Place
    table: Table
    counts: Counts
    as_of: int | None = None  # of a retry: when its records were set aside
    shown: set[str] = field(default_factory=set)  # listings whose records could be read, or were known unread


@dataclass(frozen=True)
class Ended:
    status: str
    outcome: str  # of the pass
    counts: Counts


@dataclass
class _Changes:
    """What becomes of one listing in a transaction."""

    rows: list[History] = field(default_factory=list)
    looked_at: bool = False  # by a table that it was not stored by
    of_the_past: bool = False  # an older revision came, or one that was superseded


class Reference(LinkSide):
    """The verbs. A method changes the state, or raises Refusal and changes nothing."""

    # -- listings come in

    def ingest(
        self, table: Table, place: Place, pages: Sequence[Sequence[tuple[int, Record]]], *, complete: bool
    ) -> Ended:
        run = self._start(table, place)
        self._read(run, pages)
        counts = run.counts
        unread = counts.quarantined
        outcome = "complete" if complete and not unread else "unproven"
        if run.shown:
            self._end_pass(place, run, complete=outcome == "complete")
        return Ended("failed" if unread and unread == counts.read else "succeeded", outcome, counts)

    def retry(self, table: Table, chosen: Sequence[SetAside]) -> tuple[int, int, Counts]:
        """Try records again; return how many were tried, how many resolved, and the counts of all runs together."""
        total, resolved = Counts(), 0
        for (place, _), group in groupby(sorted(chosen, key=_origin), key=lambda q: (q.place, q.run)):
            rows = list(group)
            run = self._start(table, place, min(q.last for q in rows))
            self._read(run, [[(q.position, q.record) for q in rows]])
            total.add(run.counts)
            self.tick += 1
            for row in rows:
                if row.tried_by != run.number:
                    row.resolved = self.tick
                    resolved += 1
        return len(chosen), resolved, total

    def _start(self, table: Table, place: Place, as_of: int | None = None) -> Run:
        self.runs += 1
        return Run(self.runs, place, table, Counts(), as_of)

    def _read(self, run: Run, pages: Sequence[Sequence[tuple[int, Record]]]) -> None:
        before = len(self.history)
        for page in pages:
            twice = {key for key, n in Counter(r.id for _, r in page if r.wrong(run.table) is None).items() if n > 1}
            for batch in _batches(page):
                self._transaction(run, batch, twice)
        types = {(h.listing, h.type) for h in self.history[before:]}
        run.counts.changes = Counter(type_ for _, type_ in types)

    def _transaction(self, run: Run, batch: Sequence[tuple[int, Record]], twice: set[str]) -> None:
        self.tick += 1
        decided: dict[str, _Changes] = {}
        broken: list[tuple[int, Record]] = []
        for position, record in batch:
            run.counts.read += 1
            if record.wrong(run.table) is not None and not self._says_what_is_stored(run.table, record):
                broken.append((position, record))
            else:
                decided[record.id] = self._take(run, record, twice)
                self.shown.setdefault((run.place, record.id), None)
                run.shown.add(record.id)
        self._close_set_aside(run, {listing for listing, changes in decided.items() if not changes.of_the_past})
        self._set_aside(run, broken)
        self._tell_of(run, decided)

    def _close_set_aside(self, run: Run, read: set[str]) -> None:
        """A listing that can be read again needs nobody's help, unless what was set aside is newer than it is now; a
        retry reads what is old, and says nothing of it.
        """
        for row in self.set_aside:
            listing = row.record.whose
            if run.as_of is None and row.resolved is None and row.run != run.number and listing in read:
                stored = self.listings[str(listing)].clock
                if row.clock is None or stored is None or row.clock <= stored:
                    row.resolved = self.tick

    def _tell_of(self, run: Run, decided: Mapping[str, _Changes]) -> None:
        """History and events: listings by id, then CRM properties by id."""
        for listing, changes in sorted(decided.items()):
            self.history += changes.rows
            market = [row for row in changes.rows if row.type != "renormalised"]
            if market:
                self.events.append(
                    Told("listing.changed", listing, None, None, run.number, _fields(market), _types(market))
                )
        touched = [listing for listing, changes in decided.items() if changes.rows or changes.looked_at]
        for crm_id, names in self.bring_in_step(self.crm_of(touched), run.table):
            run.counts.crm_updated += 1
            row = self.crm[crm_id]
            listing = str(row.listing)
            types = _types(decided[listing].rows)
            self.events.append(Told("property.synced", listing, crm_id, row.platform, run.number, names, types))

    def _set_aside(self, run: Run, broken: Sequence[tuple[int, Record]]) -> None:
        """The same from the same place is one open row, whose latest coming counts; a retry leaves it as old."""
        run.counts.quarantined += len(broken)
        alike: list[tuple[int, Record]] = []
        for position, record in broken:
            alike = [(p, r) for p, r in alike if r.says(run.table) != record.says(run.table)] + [(position, record)]
        for position, record in alike:
            says, trouble = record.says(run.table), record.wrong(run.table)
            assert trouble is not None
            for row in self.set_aside:
                if row.resolved is None and row.place == run.place and row.says == says:
                    row.times += 1
                    row.trouble = trouble
                    if run.as_of is None:
                        row.record, row.run, row.position, row.last = record, run.number, position, self.tick
                        row.clock = max(filter(None, (row.clock, record.believed_clock)), default=None)
                    else:
                        row.tried_by = run.number
                    break
            else:
                if run.as_of is None:
                    now = self.tick
                    clock = record.believed_clock
                    self.set_aside.append(
                        SetAside(run.place, record, says, trouble, run.number, position, now, now, clock)
                    )

    def _take(self, run: Run, record: Record, twice: set[str]) -> _Changes:
        listing = self.listings.get(record.id)
        if listing is None or listing.purged:
            return self._fill(run, record, listing)
        clothes = record.clothes(run.table)
        worn = clothes is not None and clothes == listing.clothes and listing.table == run.table.name
        if worn or self._says_what_is_stored(run.table, record):
            run.counts.unchanged += 1
            if record.id in twice:
                run.counts.perhaps_recognised += 1
            else:
                run.counts.recognised += 1
            listing.clock = max(filter(None, (listing.clock, record.clock)), default=None)
            return _Changes()
        if not _is_older(listing, record) and self._says_the_same(run.table, listing, record):
            run.counts.unchanged += 1
            listing.clothes = clothes
            listing.clock = max(filter(None, (listing.clock, record.clock)), default=None)
            return _Changes()
        if run.as_of is not None and listing.changed > run.as_of:
            run.counts.unchanged += 1
            run.counts.superseded += 1
            return _Changes(of_the_past=True)
        return self._decide(run, listing, record)

    def _says_what_is_stored(self, table: Table, record: Record) -> bool:
        """Another spelling of what is stored by this table: not looked at, even where a table of before let it in. A
        listing whose clothes nobody knows is looked at.
        """
        listing = self.listings.get(record.id) if record.can_be_sighted(table) else None
        if listing is None or listing.clothes is None or listing.table != table.name or _is_older(listing, record):
            return False
        return record.essence(table) == listing.essence

    def _fill(self, run: Run, record: Record, purged: Listing | None) -> _Changes:
        run.counts.new += 1
        table = run.table
        fields = _read(table, record.pieces)
        self.listings[record.id] = Listing(
            source=record.source,
            key=record.key,
            home=purged.home if purged else run.place,
            fields=fields,
            payload=dict(record.pieces),
            essence=record.kept(table),
            clothes=record.clothes(table),
            table=table.name,
            clock=record.clock,
            hash=hash_of(fields),
            first_seen=purged.first_seen if purged else self.tick,
            changed=self.tick,
        )
        return _Changes([History(record.id, run.number, "new", None, None, None)])

    def _says_the_same(self, table: Table, listing: Listing, record: Record) -> bool:
        """Nothing that is kept would move: the same members, only order and spelling of JSON. A value that this table
        refuses, and one before it let in, is among them.
        """
        return listing.table == table.name and record.kept(table) == listing.essence

    def _decide(self, run: Run, listing: Listing, record: Record) -> _Changes:
        table, counts = run.table, run.counts
        before = dict(listing.fields)
        changes = _Changes(looked_at=listing.table != table.name)
        if changes.looked_at:
            before = _again(table, listing)
            changes.rows = self._rows(run, record.id, listing.fields, before, renormalised=True)
            counts.renormalised += bool(changes.rows)
        if _is_older(listing, record):
            changes.of_the_past = True
            listing.clothes = None if changes.looked_at else listing.clothes
            counts.unchanged += 1
            counts.older += 1
            after = before
        else:
            after = _overlay(table, before, record.pieces)
            market = self._rows(run, record.id, before, after, renormalised=False)
            changes.rows += market
            counts.changed += bool(market)
            counts.unchanged += not market
            self._keep_payload(table, listing, record, changed=bool(changes.rows))
            listing.clothes = record.clothes(table)
            listing.clock = record.clock or listing.clock
        listing.fields, listing.hash, listing.table = after, hash_of(after), table.name
        if any(row.type != "renormalised" for row in changes.rows):
            listing.changed = self.tick
        return changes

    def _keep_payload(self, table: Table, listing: Listing, record: Record, *, changed: bool) -> None:
        """What is volatile alone does not renew the payload."""
        overlaid = {**listing.payload, **record.pieces}
        says_all = record.pieces.keys() >= listing.payload.keys()
        essence = record.kept(table) if says_all else rewritten(table, overlaid)
        if changed or essence != listing.essence:
            listing.payload, listing.essence = overlaid, essence

    def _rows(
        self, run: Run, listing: str, before: Mapping[str, object], after: Mapping[str, object], *, renormalised: bool
    ) -> list[History]:
        return [
            History(
                listing,
                run.number,
                "renormalised" if renormalised else _type(run.table, name, before.get(name), after.get(name)),
                name,
                before.get(name),
                after.get(name),
            )
            for name in differing(before, after)
        ]

    def _end_pass(self, place: Place, run: Run, *, complete: bool) -> None:
        newest, shown = self.last_pass.get(place), run.shown
        for (at, listing), last in self.shown.items():
            if at != place or listing in shown:
                continue
            if last is None and newest is not None:
                self.shown[at, listing] = newest
            if complete and (at, listing) not in self.left:
                self.missing.setdefault((at, listing), run.number)
        for listing in sorted(shown):
            self.shown[place, listing] = None
            self.missing.pop((place, listing), None)
            self.left.discard((place, listing))
            if listing in self.absent:
                self.absent.remove(listing)
                self.events.append(Told("listing.returned", listing, run=run.number))
        self.last_pass[place] = (newest or 0) + 1
        self.began[place, self.last_pass[place]] = run.number
        if complete:
            self.complete.setdefault(place, []).append(run.number)
            self._settle(place)

    def _settle(self, place: Place) -> None:
        """Nobody can be asked here: what three complete passes in a row did not show is gone."""
        for (at, listing), since in sorted(self.missing.items(), key=lambda item: item[0][1]):
            if at != place or listing in self.absent or self.listings[listing].purged:
                continue
            if self._shown_elsewhere(listing, place, since):
                del self.missing[place, listing]
                self.left.add((place, listing))
            elif sum(1 for number in self.complete[place] if number >= since) >= 3:
                self.absent.add(listing)
                self.events.append(Told("listing.gone", listing))

    def _shown_elsewhere(self, listing: str, place: Place, since: int) -> bool:
        for (at, one), last in self.shown.items():
            number = self.last_pass.get(at) if last is None else last
            if one == listing and at != place and number is not None and self.began[at, number] > since:
                return True
        return False

    # -- a listing is purged

    def purge(self, listing: str) -> int:
        if listing not in self.listings:
            raise Refusal("listing_not_found")
        self.tick += 1
        row = self.listings[listing]
        row.fields, row.payload, row.essence, row.clothes, row.clock = {}, {}, None, None, None
        row.hash, row.purged = "", True
        self.set_aside = [kept for kept in self.set_aside if kept.record.whose != listing]
        self.events.append(Told("listing.purged", listing))
        emptied = 0
        for crm_id in self.crm_of([listing]):
            crm = self.crm[crm_id]
            if crm.fields or crm.override_details:
                if crm.fields:
                    emptied += 1
                    self.tell("property.synced", crm_id, listing, tuple(sorted(crm.fields)))
                crm.fields, crm.hash, crm.synced = {}, None, self.tick
                for details in crm.override_details.values():
                    details.pop("mls_value", None)
        return emptied


def _is_older(listing: Listing, record: Record) -> bool:
    return record.clock is not None and listing.clock is not None and record.clock < listing.clock


def _batches(page: Iterable[tuple[int, Record]]) -> Iterator[list[tuple[int, Record]]]:
    """A transaction holds each listing once: a record of one that is in already begins the next."""
    batch, ids = list[tuple[int, Record]](), set[str]()
    for position, record in page:
        if record.whose in ids:
            yield batch
            batch, ids = [], set()
        if record.whose is not None:
            ids.add(record.whose)
        batch.append((position, record))
    yield batch


def _origin(row: SetAside) -> tuple[Place, int, int, int]:
    """Records are tried again run by run, in the order in which they were delivered."""
    return row.place, row.run, row.last, row.position


def _read(table: Table, pieces: Mapping[str, Piece]) -> dict[str, object]:
    """The facts that a record says by this table."""
    forms = {name: table.form(name, piece) for name, piece in pieces.items() if table.kept(name)}
    return {name: form for name, form in forms.items() if form is not None}


def _overlay(table: Table, before: Mapping[str, object], pieces: Mapping[str, Piece]) -> dict[str, object]:
    """What the record says; of what it does not mention, what was there."""
    said = {name for name in pieces if table.kept(name)}
    return {name: value for name, value in before.items() if name not in said} | _read(table, pieces)


def _again(table: Table, listing: Listing) -> dict[str, object]:
    """The stored listing as this table reads its payload; a value that it refuses keeps its stored form."""
    forms = {name: table.form(name, piece) for name, piece in listing.payload.items() if table.kept(name)}
    found = {name: listing.fields.get(name) if form is BAD else form for name, form in forms.items()}
    return {name: form for name, form in found.items() if form is not None}


def _type(table: Table, name: str, previous: object, new: object) -> str:
    if name == "StandardStatus" and new == "Active":
        return (_BACK | _AGAIN).get(str(previous), "status")
    return table.type_of(name)


def _fields(rows: Iterable[History]) -> tuple[str, ...]:
    return tuple(sorted({row.field for row in rows if row.field is not None}))


def _types(rows: Iterable[History]) -> tuple[str, ...]:
    return tuple(sorted({row.type for row in rows}))
