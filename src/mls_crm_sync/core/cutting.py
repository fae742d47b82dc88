"""A record without the values of its volatile members: the bytes around them, told without splitting it.

Where the values stand is told in one of two ways. No IO.

`look` decodes the key and the volatile members and passes over the rest. Each value is found by its text, name and
value together. A text is no member, it may stand in another one; so what is cut stands right before the end of the
record, or right before another one that was cut, or its text stands in the record once: then it is the member itself.

`guess` decodes nothing: it takes what looks like the volatile members where they stood in the record before, and what
looks like the key. What it returns means something only if the listing of that key is stored with the same rest, which
`look` or a splitter has told. Then it is true: let A be guessed, and B be stored with the same rest. In B each cut is
the whole value of a member of the record itself. In A there stands a number, a plain text, a truth or a null in its
place, so both are in the same state of parsing after each cut: A is JSON, has the same members, and differs in the
values of these alone. And the key of B is the key of A.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

SEPARATOR = b"\x1f"  # no JSON has it unescaped

NEAR = 64
"""Bytes around the place where a value stood in the record before, counted from the end."""

PLANS = 16
"""A source's records begin in one way, or in a few."""

_values = msgspec.structs.astuple

_KEY = re.compile(rb'"ListingKey":("[!#-\[\]-~]+")')
_SCALAR = rb'("[ !#-\[\]-~]*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'

_UNTOLD: Sequence[bytes] = ()
"""The rest of a record in which the text of a volatile member stands twice."""


class Around(msgspec.Struct, frozen=True, gc=False):
    """A record, looked at around its volatile members."""

    key: msgspec.Raw | bytes
    clock: msgspec.Raw | bytes | None
    rest: Sequence[bytes]


class _Run(msgspec.Struct, frozen=True, gc=False):
    """Members that stand side by side: they are looked for together."""

    last: int  # the place of the last of them among the names
    pick: Callable[[Sequence[msgspec.Raw | None]], Any]  # their values, in order
    names: bytes  # a template: their names, and where their values go
    blank: bytes  # the same without values
    first: bytes  # what it begins with
    pattern: re.Pattern[bytes]  # the same with any scalars
    clock: int  # the group of it that is the clock's value; 0: none


class _Plan(msgspec.Struct):
    """How the members stand in records that begin alike."""

    runs: list[_Run]
    begins: list[int]  # where each of them began in the record before, counted from the record's end
    key: int  # where the key stood
    absent: int  # members that it does not have


class Cutter:
    """Cuts the values of these members out of records. What it remembers of one makes the next one quick; where the
    text of a member stands in a record twice, it may hang on that whether the record can be told.
    """

    def __init__(self, names: Sequence[str], clock: str) -> None:
        """`names`: the volatile members, the `clock` among them."""
        self._begins = [b'"' + name.encode() + b'":' for name in names]
        self._clock = 1 + names.index(clock)
        self._plans: dict[bytes, _Plan] = {}  # by the beginning of the record, its first name
        plain = [f"m{n}" for n in range(len(names) + 1)]
        record = msgspec.defstruct(
            "Volatile",
            [(plain[0], msgspec.Raw), *[(name, msgspec.Raw, None) for name in plain[1:]]],
            rename=dict(zip(plain, ["ListingKey", *names], strict=True)),
            gc=False,
        )
        self._decode = msgspec.json.Decoder(record).decode

    def look(self, data: bytes) -> Around | None:
        """Look at a record that does not hold the separator; None where a value is not spelled as usual, or its text
        stands there twice.

        Raises MsgspecError where it has no key, or is no JSON object.
        """
        slices = _values(self._decode(data))
        rest = self.rest(data, slices[1:])
        return None if rest is None else Around(slices[0], slices[self._clock], rest)

    def guess(self, data: bytes) -> Around | None:
        """Look at a record without decoding it, if one that begins so was looked at before: true of what is stored so.

        Raises as `look`, where none was.
        """
        plan = self._plans.get(data[: data.find(b":")])
        if plan is None:
            return self.look(data)
        key = _KEY.match(data, plan.key) or _KEY.search(data)
        if key is None:
            return None
        plan.key = key.start()
        pieces: list[bytes] = []
        begin, size, clock = 0, len(data), None
        for n, run in enumerate(plan.runs):
            at = _find(data, run.first, max(begin, size - plan.begins[n]), begin)
            found = run.pattern.match(data, at) if at >= 0 else None
            if found is None:
                return None
            pieces += (data[begin:at], run.blank)
            plan.begins[n] = size - at
            begin = found.end()
            if run.clock:
                clock = found[run.clock]
        pieces.append(data[begin:])
        return Around(key[1], clock, pieces)

    def rest(self, data: bytes, values: Sequence[msgspec.Raw | None]) -> Sequence[bytes] | None:
        """Return the record in pieces, without these values, a separator for each. `values` are in the order of the
        names; None as by `look`.
        """
        beginning = data[: data.find(b":")]
        plan = self._plans.get(beginning)
        rest = None if plan is None else self._cut(data, values, plan)
        if rest is None and (plan := self._planned(data, values)) is not None:
            if len(self._plans) == PLANS:
                self._plans.clear()
            self._plans[beginning] = plan
            rest = self._cut(data, values, plan)
        return rest or None

    def _planned(self, data: bytes, values: Sequence[msgspec.Raw | None]) -> _Plan | None:
        """Return how the members stand in this record; None where one cannot be found."""
        spans: list[tuple[int, int, int]] = []
        for n, (begins, value) in enumerate(zip(self._begins, values, strict=True)):
            if value is not None:
                text = begins + value
                at = data.rfind(text)
                if at < 0:
                    return None
                spans.append((at, at + len(text), n))
        runs: list[list[int]] = []
        end = -1
        for at, ends, n in sorted(spans):
            if at == end + 1:
                runs[-1].append(n)
            else:
                runs.append([n])
            end = ends
        key = max(0, data.find(b'"ListingKey":'))
        return _Plan([self._run(members) for members in runs], [0] * len(runs), key, len(values) - len(spans))

    def _run(self, members: Sequence[int]) -> _Run:
        names = [self._begins[n] for n in members]
        template = b",".join([name + b"%b" for name in names])
        clock = self._clock - 1
        return _Run(
            last=members[-1],
            pick=itemgetter(*members),
            names=template,
            blank=template % ((SEPARATOR,) * len(names)),
            first=names[0],
            pattern=re.compile(b",".join([re.escape(name) + _SCALAR for name in names])),
            clock=members.index(clock) + 1 if clock in members else 0,
        )

    def _cut(self, data: bytes, values: Sequence[msgspec.Raw | None], plan: _Plan) -> Sequence[bytes] | None:
        """Return the pieces of a record; None where it has other members, or in another order."""
        if plan.absent and values.count(None) != plan.absent:
            return None
        pieces: list[bytes] = []
        end = size = len(data)
        known = size - 1  # what ends here is a member of the record itself
        for n in reversed(range(len(plan.runs))):
            run = plan.runs[n]
            try:
                text = run.names % run.pick(values)
            except TypeError:  # one is absent
                return None
            at = known - len(text)
            is_known = at > 0 and data.startswith(text, at)
            if not is_known:
                at = _find(data, text, size - plan.begins[n], 0)
            if at < 0 or at + len(text) > end:
                return None
            is_known = is_known or data.count(self._begins[run.last] + values[run.last]) == 1  # type: ignore[operator]
            if not is_known or data[at - 1] not in b",{":  # behind anything else it may be part of a longer name
                return _UNTOLD
            pieces += (data[at + len(text) : end], run.blank)
            plan.begins[n] = size - at
            end, known = at, at - 1
        pieces.append(data[:end])
        return pieces[::-1]


def _find(data: bytes, text: bytes, at: int, begin: int) -> int:
    """Return where a text stands, -1: nowhere behind `begin`. Looked for first where it may be, and near that: to look
    through a whole record takes longer.
    """
    if at >= begin and data.startswith(text, at):
        return at
    near = data.find(text, max(begin, at - NEAR), max(begin, at) + NEAR + len(text))
    return near if near >= 0 else data.find(text, begin)
