"""Records as they are usually spelled, from the bytes of their members to the canonical text of their facts.

Most members are spelled as their normal form is: text without escapes, whole numbers, true and false. Their bytes are
taken over; the others go the strict way one by one (`values.py`), and what comes often is remembered. For the members
that a source delivers a function is generated from the field table: no value is made, no kind is looked up.

This is a short cut, not a second truth: it answers only where the strict way (`records.py`, `listing.py`) would answer
the same, and None wherever something is unusual, wrong or worth a note. The tests hold the two against each other. No
IO.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter, lt
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from . import records
from .canonical import canonical_value
from .errors import RecordRejected
from .fields import Field, Kind
from .splitting import Layout, Members
from .values import INT_RANGE, LIMITS, MAX_TEXT, BadValue, Context, are_distinct_normal_texts, normal

REMEMBERED = 512
"""Spellings of one field; a source has the same few statuses, dates and lists again and again. Of all fields together
at most some 15 MB.
"""
REMEMBERED_BYTES = 256

PATIENCE = 3
"""Records of a layout before a function is generated for it, which takes as long as a hundred records: the first
records of a source may each bring a new member, and with it a new layout.
"""

_EMPTY = (b"", b"null", b'""', b"[]")
_IS_TEXT = re.compile(rb'"[!#-\[\]-~](?:[ !#-\[\]-~]{0,%d}[!#-\[\]-~])?"' % (MAX_TEXT - 2)).fullmatch
_IS_WHOLE = re.compile(rb"0|-?[1-9][0-9]{0,13}").fullmatch
_IS_FRACTION = re.compile(rb"(?:0|-?[1-9][0-9]{0,13})\.[0-9]{1,8}").fullmatch


class Plain(msgspec.Struct, frozen=True, gc=False):
    """The facts of one record."""

    text: bytes  # in canonical form
    cleared: frozenset[str]  # known members that are there and empty
    unknown: tuple[str, ...]  # members that the field table does not have


class _Unusual(Exception):
    """The strict way has to look at this record"""


_Add: TypeAlias = Callable[[bytes], None]
_Strictly: TypeAlias = Callable[[int, bytes], bytes]
_Take: TypeAlias = Callable[[list[bytes], bytes | None, _Add, Callable[[str], None], _Strictly], None]


class PlainReader:
    """Reads the records of one source; one object a source, since it remembers spellings."""

    def __init__(self, fields: Mapping[str, Field], time_zone: ZoneInfo | None = None) -> None:
        self._fields = fields
        self._zone = time_zone
        self._spellings: dict[str, dict[bytes, bytes]] = {}
        self._layout: Layout | None = None  # the newest: a source's layouts only grow, and each is large
        self._seen = 0
        self._compiled: _Compiled | None = None

    def read(self, data: bytes, members: Members) -> Plain | None:
        """Return the facts of a record that was split into `members`, or None where the strict way has to look."""
        if members.layout is None:
            return None
        if members.layout is not self._layout:
            self._layout, self._seen, self._compiled = members.layout, 0, None
        if self._compiled is None:
            self._seen += 1
            if self._seen < PATIENCE:
                return None
            self._compiled = _Compiled(members.layout, self._fields, self._spellings)
        try:
            return self._compiled.read(data, members, self._zone)
        except _Unusual:
            return None


class _Compiled:
    """For the members of one layout."""

    def __init__(self, layout: Layout, fields: Mapping[str, Field], spellings: dict[str, dict[bytes, bytes]]) -> None:
        self._layout = layout
        self._fields = fields
        self._spellings = spellings
        self._known = [(n, name) for n, name in enumerate(layout.counted) if name in fields]
        self._unknown = [(n, name) for n, name in enumerate(layout.counted) if name not in fields]
        self._take = self._generated()

    def read(self, data: bytes, members: Members, zone: ZoneInfo | None) -> Plain:
        parts = members.counted(self._layout)
        if not self._layout.is_all(data, members, parts):
            raise _Unusual
        others = members.others(self._layout)
        unknown = tuple([name for n, name in self._unknown if parts[n]])
        _check_kept([*[parts[n] for n, _ in self._unknown if parts[n]], *filter(None, others)])
        forms: list[bytes] = []
        cleared: list[str] = []
        context = Context(zone)

        def strictly(number: int, part: bytes) -> bytes:
            name = "Media" if number < 0 else self._layout.counted[number]
            if not part:
                return b""
            form = self._form(name, part, context)
            if not form:
                cleared.append(name)
            return form

        media = None if members.media is None else bytes(members.media)
        self._take(parts, media, forms.append, cleared.append, strictly)
        text = b"".join(forms)
        return Plain(b"{" + text[1:] + b"}", frozenset(cleared), unknown)

    def _form(self, name: str, part: bytes, context: Context) -> bytes:
        """Return `,"Name":` and the normal form of a member's value; nothing where it clears."""
        if part in _EMPTY:
            return b""
        field = self._fields[name]
        if field.kind in _TEXTS and _is_clean(part):
            return self._remember(name, part, _prefix(name) + part)
        context.field = name
        try:
            decoded = records.decode(b'{"":' + part + b"}")
            value = normal(field, decoded.record[""], context)
        except (RecordRejected, BadValue):
            raise _Unusual from None
        if decoded.notes or context.notes:
            raise _Unusual
        return b"" if value is None else self._remember(name, part, _prefix(name) + canonical_value(value))

    def _remember(self, name: str, part: bytes, form: bytes) -> bytes:
        spellings = self._spellings.get(name)
        if spellings is not None and len(spellings) < REMEMBERED and len(part) <= REMEMBERED_BYTES:
            spellings[part] = form
        return form

    def _generated(self) -> _Take:
        """Write the function that takes the known members in the order of their names."""
        scope: dict[str, Any] = {
            "IS_TEXT": _IS_TEXT,
            "IS_WHOLE": _IS_WHOLE,
            "IS_FRACTION": _IS_FRACTION,
            "QUOTE": b'"',
            "NULL": b"null",
            "media_of": _usual_media,
            "are_tidy": _are_tidy,
        }
        lines = ["def take(parts, media, add, clear, strictly):"]
        texts = [number for number, name in self._known if self._fields[name].kind in _TEXTS]
        lines += [f"    tidy = are_tidy([{', '.join(f'parts[{number}]' for number in texts)}])"]
        known = [(name, number) for number, name in self._known]
        if "Media" in self._fields:
            known = sorted([*known, ("Media", -1)])
        for name, number in known:
            scope[f"P{number}" if number >= 0 else "PM"] = _prefix(name)
            lines += self._lines(self._fields[name], number, scope)
        exec("\n".join(lines), scope)  # noqa: S102 - of our own text: numbers, and names of the field table
        take: _Take = scope["take"]
        return take

    def _lines(self, field: Field, number: int, scope: dict[str, Any]) -> list[str]:
        if field.kind is Kind.MEDIA:
            if number >= 0:
                return [f"    add(strictly({number}, parts[{number}]))"]
            return [
                "    if media is not None:",
                "        form = media_of(media)",
                "        add(strictly(-1, media) if form is None else PM + form)",
            ]
        begin = f"    p = parts[{number}]"
        clears = f"    elif p == NULL: clear({field.name!r})"
        if field.kind in _TEXTS:
            return [
                begin,
                f"    if p[:1] == QUOTE if tidy else IS_TEXT(p): add(P{number} + p)",
                clears,
                *self._remembered(field.name, number, scope),
            ]
        if field.kind in _NUMBERS:
            bounds = _BOUNDS.get(field.kind, "")
            return [
                begin,
                f"    if IS_WHOLE(p){bounds}: add(P{number} + QUOTE + p + QUOTE)",
                f"    elif IS_FRACTION(p){bounds}: add(P{number} + QUOTE + p.rstrip(b'0').rstrip(b'.') + QUOTE)",
                clears,
                *self._remembered(field.name, number, scope),
            ]
        first, *rest = self._remembered(field.name, number, scope)
        return [begin, clears.replace("elif", "if"), first, *rest]

    def _remembered(self, name: str, number: int, scope: dict[str, Any]) -> list[str]:
        """Else look among what was remembered, then go the strict way."""
        scope[f"S{number}"] = self._spellings.setdefault(name, {}).get
        return [f"    else: add(S{number}(p) or strictly({number}, p))"]


_TEXTS = frozenset({Kind.TEXT, Kind.POSTAL_CODE})
_NUMBERS = frozenset({Kind.MONEY, Kind.DECIMAL, Kind.LATITUDE, Kind.LONGITUDE})
_BOUNDS = {kind: f" and abs(float(p)) < {limit}" for kind, limit in LIMITS.items()}
_BOUNDS[Kind.MONEY] = " and p[0] != 45"  # a minus


def _prefix(name: str) -> bytes:
    return b"," + canonical_value(name) + b":"


def _are_tidy(parts: list[bytes]) -> bool:
    """Whether all texts among these are their own normal form, told of all at once: most records' are."""
    texts = [part for part in parts if part[:1] == b'"']
    first = bytes(map(_FIRST, texts))  # behind the quote, which is the other one of an empty text
    if b'"' in first or b" " in first or b" " in bytes(map(_LAST, texts)):
        return False
    every = b"".join(texts)
    odd = every.translate(None, _SAFE)
    if odd != b'"' * (2 * len(texts)):
        try:
            letters = odd.decode().replace('"', "")
        except UnicodeDecodeError:
            return False
        if "\\" in letters or not letters.isprintable() or max(letters, default="\\") > _LAST_WHOLE:
            return False
    return len(every) <= MAX_TEXT


_FIRST, _LAST = itemgetter(1), itemgetter(-2)
_SAFE = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))
_LAST_WHOLE = "\u02ff"  # up to here no letter is put together with the one before it


def _is_clean(part: bytes) -> bool:
    """Whether text is its own normal form, in whatever script."""
    if b"\\" in part or part[:1] != b'"':
        return False
    try:
        text = part[1:-1].decode()
    except UnicodeDecodeError:
        return False
    return (
        0 < len(text) <= MAX_TEXT and text.isprintable() and unicodedata.is_normalized("NFC", text)
        and text == text.strip()
    )  # fmt: skip


def _check_kept(parts: Sequence[bytes]) -> None:
    """Members that are only kept in the payload: is there anything in them that is not kept as it is?"""
    every = b"[" + b",".join(parts) + b"]"
    try:
        usual = b"\\" not in every and every.count(b"{") + every.count(b"[") < records.MAX_DEPTH
        if usual and _encode(_decode(every)) == every:  # what gives the same bytes again has lost nothing
            return
        if records.decode(b'{"":' + every + b"}").notes:
            raise _Unusual
    except (RecordRejected, msgspec.MsgspecError, ValueError, RecursionError):
        raise _Unusual from None


def _usual_media(media: bytes) -> bytes | None:
    """The normal form of media in the usual spelling, items alike, in any order. None for the strict way."""
    if b"\\" in media:
        return None
    try:
        items = _items(tuple(_slices(media[1 : media.find(b"}") + 1])))(media)
        ours = _ours(media)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not items or _encode(items) != media:  # has it lost nothing?
        return None
    orders = [item.Order for item in ours]
    if not all(map(lt, orders, orders[1:])):
        if len({*orders}) != len(orders):
            return None
        ours.sort(key=attrgetter("Order"))
    keys, categories = [item.MediaKey for item in ours], {item.MediaCategory for item in ours}
    if not are_distinct_normal_texts(keys) or not are_distinct_normal_texts([*categories]):
        return None
    return _encode(ours)  # numbers apart, the two encoders agree on what is left in here


_Order = Annotated[int, msgspec.Meta(ge=INT_RANGE.start, lt=INT_RANGE.stop)]
_Scalar = str | bool | None | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]


@lru_cache(maxsize=256)
def _items(names: tuple[str, ...]) -> Callable[[bytes], list[Any]]:
    """Return a decoder of lists of objects that have exactly these members, in this order."""
    ours = {"MediaKey": str, "Order": _Order, "MediaCategory": str}
    plain = [name if name in ours else f"m{n}" for n, name in enumerate(names)]
    members = [(here, ours.get(name, _Scalar)) for here, name in zip(plain, names, strict=True)]
    renamed = dict(zip(plain, names, strict=True))
    item = msgspec.defstruct("Item", members, rename=renamed, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(list[item]).decode  # type: ignore[valid-type]


class _Ours(msgspec.Struct, gc=False):
    """What the normal form has of an item, in its order."""

    MediaCategory: str
    MediaKey: str
    Order: _Order


_ours = msgspec.json.Decoder(list[_Ours]).decode
_slices = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
