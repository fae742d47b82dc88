"""Records as a source delivers them: each a variation of what was delivered under its key before.

A `Record` knows its bytes, what it says (pieces), and what is wrong with it, by construction. `Author` writes them:
the same again, noise only, another spelling, real changes, absent and cleared members, older revisions, clocks that
moved alone or are missing, and records that nobody can read. Randomness comes in as a seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random
from typing import NamedTuple

from model import pieces
from model.pieces import BAD, Piece, Table

ZONES: Mapping[str, str | None] = {"plain-mls": None, "zoned-mls": "America/New_York"}
"""The sources, and the zone that each has declared for its local times."""

SOURCES = tuple(ZONES)
KEYS = ("A", "B", "C", "7", "K 1")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LOCAL = timedelta(hours=-5)  # of the zone above from November to March
LOCAL_HOURS = 24 * 60

FAR = datetime(2999, 1, 1, tzinfo=UTC)
"""A clock that nobody believes."""

_NO_TIMES = ('"yesterday"', "1767225600", '"2026-03-06"', '"20260306T000000Z"', '"2026-W10-5T00:00:00Z"')

MOODS = (
    "same", "same", "noise", "noise", "noise", "respelled", "reordered", "changed", "changed", "changed", "sold", "cleared",  # noqa: E501
    "shorter", "older", "older", "clock", "timeless", "unknown", "again", "fresh", "refused", "garbage", "ahead",
)  # fmt: skip


class Trouble(NamedTuple):
    """Why a record is set aside."""

    reason: str
    field: str | None


@dataclass(frozen=True)
class Record:
    """One record. `clock` is what its ModificationTimestamp says; `trouble` is set where the bytes are no record."""

    source: str
    key: str
    members: tuple[tuple[str, Piece], ...]  # all of them, in order
    clock: datetime | None = None
    spaced: bool = False
    trouble: Trouble | None = None
    text: str | None = None  # instead of the members, where there is trouble

    @cached_property
    def data(self) -> bytes:
        if self.text is not None:
            return self.text.encode()
        colon, comma = (": ", ", ") if self.spaced else (":", ",")
        return ("{" + comma.join(f'"{name}"{colon}{piece.raw}' for name, piece in self.members) + "}").encode()

    @property
    def id(self) -> str:
        return hashlib.sha256(f"v1\0{self.source}\0{self.key}".encode()).hexdigest()[:32]

    @cached_property
    def pieces(self) -> dict[str, Piece]:
        return dict(self.members)

    def wrong(self, table: Table) -> Trouble | None:
        """What this table has against the record."""
        if self.trouble is not None:
            return self.trouble
        for name, piece in self.members:
            if table.kept(name) and table.form(name, piece) is BAD:
                return Trouble("bad_value", name)
        if self.pieces.get("ModificationTimestamp", pieces.plain("ModificationTimestamp", "null", None)).form is BAD:
            return Trouble("bad_value", "ModificationTimestamp")
        if self.clock is not None and self.clock >= FAR:
            return Trouble("clock_ahead", "ModificationTimestamp")
        return None

    @property
    def whose(self) -> str | None:
        """The listing that the record names, if it can be read that far."""
        return self.id if self.trouble is None else None

    @property
    def believed_clock(self) -> datetime | None:
        """What its clock says, where anybody believes it."""
        return self.clock if self.trouble is None and self.clock != FAR else None

    def says(self, table: Table) -> object:
        """Tells it from another record that is set aside; noise does not count where it can be told from the rest."""
        if self.trouble is not None and self.trouble.reason != "missing_key":
            return self.data
        return {name: piece.rewritten for name, piece in self.members if not table.volatile(name)}

    def clothes(self, table: Table) -> object:
        """What recognition by bytes compares first, or None where the bytes alone do not tell."""
        if not self._plain():
            return None
        moves = {name for name, _ in self.members if table.volatile(name)}
        if self.spaced and moves:  # their values are looked for in the usual spelling
            return table.name, {name: piece.raw for name, piece in self.members if name not in moves}
        return table.name, self.spaced, tuple((n, None if n in moves else piece.raw) for n, piece in self.members)

    def essence(self, table: Table) -> Mapping[str, object]:
        """What it compares then."""
        return {name: piece.essence for name, piece in self.members if not table.volatile(name)}

    def kept(self, table: Table) -> Mapping[str, object]:
        """The same of what is kept of it: a record is written again where something had to be taken out."""
        if any("\\u0000" in piece.raw for _, piece in self.members):
            return rewritten(table, self.pieces)
        return self.essence(table)

    def can_be_sighted(self, table: Table) -> bool:
        """Whether its key and clock can be told by its bytes."""
        wrong = self.wrong(table)
        return self.trouble is None and self._plain() and (wrong is None or wrong.field != "ModificationTimestamp")

    def _plain(self) -> bool:
        stamp = self.pieces.get("ModificationTimestamp")
        told = stamp is None or stamp.raw == "null" or stamp.form is not None
        return told and self.pieces["ListingKey"].raw == f'"{self.key}"' and self.key.isalnum()


def rewritten(table: Table, members: Mapping[str, Piece]) -> Mapping[str, object]:
    """The essence of a payload that was put together."""
    return {name: piece.rewritten for name, piece in members.items() if not table.volatile(name)}


class Author:
    """Writes records, and remembers what it wrote."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], list[Record]] = {}
        self._hours = 100

    def write(self, source: str, key: str, mood: str, seed: int) -> Record:
        rng = Random(seed)
        self._hours += 1
        written = self._written.setdefault((source, key), [])
        if not written or mood == "fresh":
            record = self._fresh(rng, source, key)
        elif mood == "again":
            record = rng.choice(written)
        else:
            record = getattr(self, f"_{mood}")(rng, written[-1])
        if record.trouble is None:
            written[:] = [*written[-5:], record]
        return record

    def _fresh(self, rng: Random, source: str, key: str) -> Record:
        names = rng.sample(pieces.NAMES, rng.randint(len(pieces.NAMES) // 2, len(pieces.NAMES)))
        members = {"ListingKey": pieces.plain("ListingKey", _spelled_key(rng, key), key)}
        members |= {name: pieces.some(rng, name) for name in names}
        return self._clocked(rng, Record(source, key, tuple(members.items())), self._hours)

    def _same(self, _: Random, last: Record) -> Record:
        return last

    def _noise(self, rng: Random, last: Record) -> Record:
        members = {name: pieces.redressed(rng, p) if name == "Media" else p for name, p in last.members}
        members |= {name: pieces.some(rng, name) for name in pieces.NOISY if name in members or rng.random() < 0.2}
        noisy = replace(last, members=tuple(members.items()), spaced=rng.random() < 0.3)
        return self._clocked(rng, noisy, self._hours) if rng.random() < 0.5 else noisy

    def _respelled(self, rng: Random, last: Record) -> Record:
        members = tuple((name, pieces.respelled(rng, name, piece)) for name, piece in last.members)
        return replace(last, members=members)

    def _reordered(self, rng: Random, last: Record) -> Record:
        return replace(last, members=tuple(rng.sample(last.members, len(last.members))))

    def _changed(self, rng: Random, last: Record) -> Record:
        names = rng.sample((*pieces.ORDINARY, "Media"), rng.randint(1, 3))
        changed = self._with(last, {name: pieces.some(rng, name) for name in names})
        return changed if rng.random() < 0.3 else self._clocked(rng, changed, self._hours)

    def _sold(self, rng: Random, last: Record) -> Record:
        new = self._with(last, {name: pieces.some(rng, name) for name in ("StandardStatus", "MlsStatus")})
        return self._clocked(rng, new, self._hours)

    def _repriced(self, rng: Random, last: Record) -> Record:
        return self._clocked(rng, self._with(last, {"ListPrice": pieces.some(rng, "ListPrice")}), self._hours)

    def _away(self, rng: Random, last: Record) -> Record:
        return self._in_status(rng, last, ("Pending", "Hold", "Withdrawn", "Closed", "Expired", "Canceled"))

    def _back(self, rng: Random, last: Record) -> Record:
        return self._in_status(rng, last, ("Active",))

    def _in_status(self, rng: Random, last: Record, statuses: tuple[str, ...]) -> Record:
        status = rng.choice(statuses)
        piece = pieces.plain("StandardStatus", f'"{status}"', status)
        return self._clocked(rng, self._with(last, {"StandardStatus": piece}), self._hours)

    def _cleared(self, rng: Random, last: Record) -> Record:
        names = rng.sample((*pieces.ORDINARY, "Media"), rng.randint(1, 3))
        return self._with(last, {name: pieces.empty(rng, name) for name in names})

    def _shorter(self, rng: Random, last: Record) -> Record:
        gone = set(rng.sample(pieces.NAMES, rng.randint(1, 6)))
        return replace(last, members=tuple((n, p) for n, p in last.members if n not in gone))

    def _older(self, rng: Random, last: Record) -> Record:
        return self._clocked(rng, self._changed(rng, last), rng.randint(0, self._hours))

    def _clock(self, rng: Random, last: Record) -> Record:
        return self._clocked(rng, last, rng.choice((self._hours, rng.randint(0, self._hours))))

    def _timeless(self, rng: Random, last: Record) -> Record:
        changed = self._changed(rng, last) if rng.random() < 0.7 else last
        raw = rng.choice((None, "null", '""'))
        stamp = {} if raw is None else {"ModificationTimestamp": pieces.plain("ModificationTimestamp", raw, None)}
        return self._with(_without(changed, "ModificationTimestamp"), stamp)

    def _unknown(self, rng: Random, last: Record) -> Record:
        return self._with(last, {"X_Local": pieces.some(rng, "X_Local")})

    def _refused(self, rng: Random, last: Record) -> Record:
        if rng.random() < 0.2:
            stamp = pieces.plain("ModificationTimestamp", rng.choice(_NO_TIMES), BAD)
            return self._with(last, {"ModificationTimestamp": stamp})
        return self._with(last, dict([pieces.refused(rng)]))

    def _garbage(self, rng: Random, last: Record) -> Record:
        if rng.random() < 0.4:
            nobody = pieces.plain("ListingKey", rng.choice(("null", '""', '" "')), None)
            nameless = (
                _without(last, "ListingKey") if rng.random() < 0.5 else replace(last, members=(("ListingKey", nobody),))
            )
            return replace(nameless, trouble=Trouble("missing_key", "ListingKey"), text=nameless.data.decode())
        text, reason = rng.choice(
            (
                (last.data.decode()[:-2], "not_json"),
                (f"[{rng.randint(1, 3)}]", "not_an_object"),
                ('{"X_Local":1,"City":"x","City":"y"}', "duplicate_member"),
            )
        )
        return replace(last, trouble=Trouble(reason, None), text=text)

    def _ahead(self, rng: Random, last: Record) -> Record:
        changed = last if rng.random() < 0.5 else self._changed(rng, last)
        stamp = pieces.plain("ModificationTimestamp", f'"{FAR:%Y-%m-%dT%H:%M:%SZ}"', FAR)
        return self._with(changed, {"ModificationTimestamp": stamp})

    def _with(self, record: Record, members: Mapping[str, Piece]) -> Record:
        changed = replace(record, members=tuple({**dict(record.members), **members}.items()))
        stamp = changed.pieces.get("ModificationTimestamp")
        at = stamp.form if stamp is not None and stamp.form is not BAD else None
        return replace(changed, clock=at)

    def _clocked(self, rng: Random, record: Record, hours: int) -> Record:
        at = BEGIN + timedelta(hours=hours)
        local = at + LOCAL
        ways = [f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S+00:00}", f"{local:%Y-%m-%dT%H:%M:%S.000-05:00}"]
        if ZONES[record.source] is not None and hours < LOCAL_HOURS:
            ways += [f"{local:%Y-%m-%dT%H:%M:%S}"] * 2
        raw = f'"{rng.choice(ways)}"'
        return self._with(record, {"ModificationTimestamp": pieces.plain("ModificationTimestamp", raw, at)})


def _without(record: Record, name: str) -> Record:
    return replace(record, members=tuple((n, p) for n, p in record.members if n != name))


def _spelled_key(rng: Random, key: str) -> str:
    return key if key.isdigit() and rng.random() < 0.3 else f'"{key}"'
