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

import msgspec
from msgspec.structs import replace

from .cutting import SEPARATOR, Cutter

MAX_MEMBERS = 2000
"""Names that one source's records may have between them before each record is split by itself."""

DECODERS = 8
"""Orders of members, each told by the member that a record begins with; a source has one, or a few."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_as_they_came = msgspec.structs.astuple


class Members(msgspec.Struct, frozen=True, gc=False):
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

    def around(self, data: bytes) -> Sequence[bytes] | None:
        """Return the record without the values of its volatile members, as a `Cutter` does."""
        if self.layout is None:
            return None
        slices = self.slices
        return self.layout.cutter.rest(data, [slices[n] for n in self.layout.others])

    def counted(self, layout: Layout) -> list[bytes]:
        """Return the slices of the layout's members that count, media aside; nothing where one is absent."""
        if self.names is layout.names_counted:
            return self.values.split(SEPARATOR)[1:-1]
        return [b"" if part is None else bytes(part) for part in self.slices[: len(layout.counted)]]

    def others(self, layout: Layout) -> list[bytes]:
        """Return the slices of the others, media aside."""
        return [b"" if self.slices[n] is None else bytes(self.slices[n]) for n in layout.others]  # type: ignore[arg-type]


class Split(msgspec.Struct, frozen=True, gc=False):
    key: msgspec.Raw
    clock: msgspec.Raw | None
    members: Members


class Splitter:
    """Splits the records of one source, and learns its members."""

    def __init__(self, volatile: Iterable[str]) -> None:
        self._volatile = frozenset(volatile)
        self._layout = _layout(frozenset(), self._volatile)

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

    @property
    def cutter(self) -> Cutter:
        """Return what looks at a record without splitting it, for the members that were seen so far."""
        return self._layout.cutter

    def _learned(self, members: Iterable[str]) -> bool:
        """Take members in that no record had before; False where there would be too many, or one is too strange."""
        names = self._layout.names.union(members)
        if len(names) > MAX_MEMBERS:
            return False
        with suppress(ValueError):
            self._layout = _layout(names, self._volatile)
            return True
        return False


class _Decoder:
    """A splitter for records whose members come in this order: each is looked for behind the one before."""

    def __init__(self, names: Iterable[str], order: Sequence[str]) -> None:
        as_they_come = list(dict.fromkeys(names))
        plain = [f"m{n}" for n in range(len(as_they_come))]
        record = msgspec.defstruct(
            "Members",
            [(name, msgspec.Raw, None) for name in plain],
            rename=dict(zip(plain, as_they_come, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        self.decode = msgspec.json.Decoder(record).decode
        self.in_our_order = itemgetter(*map(as_they_come.index, order))


class Layout:
    """The members that the records of a source have been seen to have, and a splitter compiled for them.

    Raises ValueError where a name is too strange for it.
    """

    def __init__(self, names: frozenset[str], volatile: frozenset[str]) -> None:
        self.names = names
        self.counted = sorted({*names, "ListingKey"} - volatile - {"Media"})
        self.names_counted = ",".join(self.counted).encode()
        self._volatile = volatile
        others = sorted({*names, "Media", "ModificationTimestamp"}.difference(self.counted))
        self.order = [*self.counted, *others]
        moving = [name for name in others if name != "Media"]
        self.others = [self.order.index(name) for name in moving]
        self.cutter = Cutter(moving, "ModificationTimestamp")
        self._counted = len(self.counted)
        self.tail = range(self._counted, len(self.order))
        self._sizes = [len(name.encode()) + 4 for name in self.order]
        self._size_of_counted = sum(self._sizes[: self._counted]) - self._counted - 1  # separators stand between values
        self._key, self._clock, self._media = map(
            self.order.index, ("ListingKey", "ModificationTimestamp", "Media")
        )  # fmt: skip
        self._decoders: dict[bytes, _Decoder] = {}  # by the beginning of a record, its first name
        self._decoder = _Decoder(self.order, self.order)

    def split(self, data: bytes) -> Split:
        """Return key, clock, and the rest of a record. Raises KeyError where it has no key, ValidationError where it
        has a member that is none of ours.
        """
        decoder = self._decoders.get(data[: data.find(b":")]) or self._decoder_for(data)
        slices = decoder.in_our_order(_as_they_came(decoder.decode(data)))
        try:
            values = SEPARATOR.join((b"", *slices[: self._counted], b""))
        except TypeError:  # one is missing
            present = zip(self.order, slices, strict=True)
            members = {name: value for name, value in present if value is not None}
            split = _split_of(members, self._volatile)
            return replace(split, members=replace(split.members, layout=self, slices=slices))
        every = Members(self.names_counted, values, slices[self._media], self, slices)
        return Split(slices[self._key], slices[self._clock], every)

    def _decoder_for(self, data: bytes) -> _Decoder:
        if len(self._decoders) == DECODERS:
            return self._decoder
        decoder = _Decoder([*filter(self.names.__contains__, _members(data)), *self.order], self.order)
        self._decoders[data[: data.find(b":")]] = decoder
        return decoder

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
