"""A record, split into the raw slices of its members; nothing of it is parsed.

The splitter is compiled for the members that a source has been seen to deliver: a struct of raw slices that refuses any
other member, a third faster than a dictionary of slices, sorted each time. A new member makes a new splitter. What is
volatile is put aside. No IO.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import msgspec

MAX_MEMBERS = 2000
"""Names that one source's records may have between them before each record is split by itself."""

SEPARATOR = b"\x1f"  # no JSON has it unescaped

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_as_they_came = msgspec.structs.astuple


class Members(NamedTuple):
    """A record, split: those of its members that count, and all slices in the order of its layout, if it has one."""

    names: bytes  # in order
    values: bytes  # their slices in the same order, each between two separators
    media: msgspec.Raw | None
    layout: Layout | None = None
    slices: Sequence[msgspec.Raw | None] = ()

    def every_name(self) -> Collection[str]:
        """Return the names of all members of a record that has a layout."""
        assert self.layout is not None  # noqa: S101 - so said
        if self.names is self.layout.names_counted and all(self.slices[n] is not None for n in self.layout.tail):
            return self.layout.order
        return [name for name, part in zip(self.layout.order, self.slices, strict=True) if part is not None]

    def counted(self, layout: Layout) -> list[bytes]:
        """Return the slices of the layout's members that count, media aside; nothing where one is absent."""
        if self.names is layout.names_counted:
            return self.values.split(SEPARATOR)[1:-1]
        return [b"" if part is None else bytes(part) for part in self.slices[: len(layout.counted)]]

    def others(self, layout: Layout) -> list[bytes]:
        """Return the slices of the others, media aside."""
        return [b"" if self.slices[n] is None else bytes(self.slices[n]) for n in layout.others]  # type: ignore[arg-type]


class Split(NamedTuple):
    key: msgspec.Raw
    clock: msgspec.Raw | None
    members: Members


class Splitter:
    """Splits the records of one source, and learns its members."""

    def __init__(self, volatile: Iterable[str]) -> None:
        self._volatile = frozenset(volatile)
        self._layout = _layout((), self._volatile)

    def split(self, data: bytes) -> Split:
        """Return a record that does not hold the separator, split.

        Raises KeyError where it has no key, MsgspecError where it is no JSON object.
        """
        try:
            return self._layout.split(data)
        except msgspec.ValidationError:
            members = _members(data)
        if self._learned(members):
            return self._layout.split(data)
        return _split_of(members, self._volatile)

    def _learned(self, members: Iterable[str]) -> bool:
        """Take members in that no record had before; False where there would be too many, or one is too strange."""
        known = self._layout.names
        names = (*known, *[name for name in members if name not in known])
        if len(names) > MAX_MEMBERS:
            return False
        with suppress(ValueError):
            self._layout = _layout(names, self._volatile)
            return True
        return False


class Layout:
    """The members that the records of a source have been seen to have, and a splitter compiled for them.

    A third faster than a dictionary of slices, sorted each time. `names` are in the order in which a record had them:
    the decoder looks for each member behind the one before, which is another third. Raises ValueError where a name is
    too strange for it.
    """

    def __init__(self, names: Sequence[str], volatile: frozenset[str]) -> None:
        self.names = dict.fromkeys(names)
        self.counted = sorted({*names, "ListingKey"} - volatile - {"Media"})
        self.names_counted = ",".join(self.counted).encode()
        self._volatile = volatile
        others = sorted({*names, "Media", "ModificationTimestamp"}.difference(self.counted))
        self.order = [*self.counted, *others]
        self.others = [n for n, name in enumerate(self.order) if name in others and name != "Media"]
        self._counted = len(self.counted)
        self.tail = range(self._counted, len(self.order))
        self._sizes = [len(name.encode()) + 4 for name in self.order]
        self._size_of_counted = sum(self._sizes[: self._counted]) - self._counted - 1  # separators stand between values
        self._key, self._clock, self._media = map(
            self.order.index, ("ListingKey", "ModificationTimestamp", "Media")
        )  # fmt: skip
        as_they_come = [*self.names, *[name for name in self.order if name not in self.names]]
        plain = [f"m{n}" for n in range(len(as_they_come))]
        record = msgspec.defstruct(
            "Members",
            [(name, msgspec.Raw, None) for name in plain],
            rename=dict(zip(plain, as_they_come, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        self._decode = msgspec.json.Decoder(record).decode
        self._in_our_order = itemgetter(*map(as_they_come.index, self.order))

    def split(self, data: bytes) -> Split:
        """Return key, clock, and the rest of a record. Raises KeyError where it has no key, ValidationError where it
        has a member that is none of ours.
        """
        slices = self._in_our_order(_as_they_came(self._decode(data)))
        try:
            values = SEPARATOR.join((b"", *slices[: self._counted], b""))
        except TypeError:  # one is missing
            present = zip(self.order, slices, strict=True)
            members = {name: value for name, value in present if value is not None}
            split = _split_of(members, self._volatile)
            return split._replace(members=split.members._replace(layout=self, slices=slices))
        every = Members(self.names_counted, values, slices[self._media], self, slices)
        return Split(slices[self._key], slices[self._clock], every)

    def is_all(self, data: bytes, members: Members, parts: Sequence[bytes]) -> bool:
        """Whether a record is nothing but these members, each once, without white space between them.

        Members take at least their slices, their names with two quotes, a colon and a comma: what is as long as that
        has nothing besides.
        """
        if members.names is self.names_counted:
            size = len(members.values) + self._size_of_counted
        else:
            size = sum([len(part) + self._sizes[n] for n, part in enumerate(parts) if part])
        for n in self.tail:
            part = members.slices[n]
            if part is not None:
                size += len(part) + self._sizes[n]
        return len(data) == size + 1


_layout = lru_cache(maxsize=64)(Layout)


def members_of(data: bytes, volatile: Iterable[str]) -> Members:
    """Return the members of a record by themselves. Raises MsgspecError where it is no JSON object."""
    return _rest_of(_members(data), frozenset(volatile))


def _split_of(members: Mapping[str, msgspec.Raw], volatile: frozenset[str]) -> Split:
    return Split(members["ListingKey"], members.get("ModificationTimestamp"), _rest_of(members, volatile))


def _rest_of(members: Mapping[str, msgspec.Raw], volatile: frozenset[str]) -> Members:
    counted = sorted(members.keys() - volatile - {"Media"})
    values = SEPARATOR.join((b"", *(members[name] for name in counted), b""))
    return Members(",".join(counted).encode(), values, members.get("Media"))
