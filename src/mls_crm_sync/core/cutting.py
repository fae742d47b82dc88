"""A record without the values of its volatile members: the bytes around them, told without splitting it.

Only the key and the volatile members are decoded; the rest is passed over. Where each value stands is then looked for
by its text, name and value together, first where it stood in the record before. No IO.

Why that is exact, although a text is found and no member: let two records have the same rest, the second one without a
member that stands twice (what is stored has none). Every cut is of one whole value behind its name, so both are in the
same state of parsing after each cut. Either a cut is the member itself in both, and only what is volatile differs. Or
the same text stood somewhere else before; then the member itself is uncut in the rest, in both with the same value,
which is the text that was cut: the records are equal to the byte.
"""

from __future__ import annotations

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


class Around(msgspec.Struct, frozen=True, gc=False):
    """A record, looked at around its volatile members."""

    key: msgspec.Raw
    clock: msgspec.Raw | None
    rest: Sequence[bytes]


class _Run(msgspec.Struct, frozen=True, gc=False):
    """Members that stand side by side: they are looked for together."""

    pick: Callable[[Sequence[msgspec.Raw | None]], Any]  # their values, in order
    names: bytes  # a template: their names, and where their values go
    blank: bytes  # the same without values


class _Plan(msgspec.Struct):
    """How the members stand in records that begin alike."""

    runs: list[_Run]
    from_end: list[int]  # where each of them ended in the record before
    absent: int  # members that it does not have


class Cutter:
    """Cuts the values of these members out of records. What it remembers of one only makes the next one quick."""

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
        """Look at a record that does not hold the separator; None where a value is not spelled as usual.

        Raises MsgspecError where it has no key, or is no JSON object.
        """
        slices = _values(self._decode(data))
        rest = self.rest(data, slices[1:])
        return None if rest is None else Around(slices[0], slices[self._clock], rest)

    def rest(self, data: bytes, values: Sequence[msgspec.Raw | None]) -> Sequence[bytes] | None:
        """Return the record in pieces, without these values, a separator for each. `values` are in the order of the
        names; None where one cannot be found as it is usually spelled.
        """
        beginning = data[: data.find(b":")]
        plan = self._plans.get(beginning)
        rest = None if plan is None else _cut(data, values, plan)
        if rest is None and (plan := self._planned(data, values)) is not None:
            if len(self._plans) == PLANS:
                self._plans.clear()
            self._plans[beginning] = plan
            rest = _cut(data, values, plan)
        return rest

    def _planned(self, data: bytes, values: Sequence[msgspec.Raw | None]) -> _Plan | None:
        """Return how the members stand in this record; None where one cannot be found."""
        spans: list[tuple[int, int, int]] = []
        for n, (begins, value) in enumerate(zip(self._begins, values, strict=True)):
            if value is not None:
                text = begins + value
                at = data.find(text)
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
        found = [_run([self._begins[n] for n in members], itemgetter(*members)) for members in runs]
        return _Plan(found, [0] * len(runs), len(values) - len(spans))


def _run(names: Sequence[bytes], pick: Callable[[Sequence[msgspec.Raw | None]], Any]) -> _Run:
    template = b",".join([name + b"%b" for name in names])
    return _Run(pick, template, template % ((SEPARATOR,) * len(names)))


def _cut(data: bytes, values: Sequence[msgspec.Raw | None], plan: _Plan) -> list[bytes] | None:
    if plan.absent and values.count(None) != plan.absent:
        return None
    pieces: list[bytes] = []
    begin, size = 0, len(data)
    for n, run in enumerate(plan.runs):
        try:
            text = run.names % run.pick(values)
        except TypeError:  # one is absent
            return None
        at = size - plan.from_end[n] - len(text)
        if at < begin or not data.startswith(text, at):
            at = data.find(text, max(begin, at - NEAR))
            if at < 0:
                at = data.find(text, begin)
                if at < 0:
                    return None
        pieces += (data[begin:at], run.blank)
        begin = at + len(text)
        plan.from_end[n] = size - begin
    pieces.append(data[begin:])
    return pieces
