"""Recognising a listing by the bytes of its record, without parsing them: two digests, the quick one first.

A record is split into the raw slices of its members; those that do not count are put aside, the others stand in order
of their names. The quick digest is of these bytes. Where it differs, `says` leaves out what sources move without
changing anything: the order of lists, the signatures and clocks of media, the tail of a binary float. Neither is the
truth about what changed: that is `changes.diff`, of normal forms. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec
import xxhash
from msgspec.structs import replace

from .cutting import SEPARATOR
from .listing import property_id
from .splitting import Members, Splitter, members_of
from .values import MAX_PLACES, plain

_MEDIA_CLOCKS = ("ModificationTimestamp", "MediaModificationTimestamp")
_MEDIA_CLOCK_VALUES = tuple(f'"{name}":{space}"'.encode() for name in _MEDIA_CLOCKS for space in ("", " "))
_MEDIA_URL = b'"MediaURL":"'
_MEDIA_URL_VALUES = (_MEDIA_URL, b'"MediaURL": "')
_QUERY = re.compile(rb'\?[^"]*')
# No more than the normaliser takes: `fromisoformat` alone also reads dates, week dates and times without punctuation.
_PLAIN_INSTANT = re.compile(
    rb'"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})?)"'
)
_PLAIN_KEY = re.compile(rb"[!#-\[\]-~]+")  # printable ASCII without space, quote, backslash: its own normal form
# Whole slices. Of texts alone, none nested, without escapes: there `","` stands between two of them and nowhere else.
_LIST_OF_TEXTS = re.compile(rb'\x1f\["([^"\x1f\\\[\]{}]*","[^\x1f\\\[\]{}]*)"\](?=\x1f)')
_LONG_DIGITS = re.compile(rb"\.[0-9]{%d}" % (MAX_PLACES + 1))  # seldom there, and found in a third of the time
_LONG_FRACTION = re.compile(rb"-?[0-9]{1,19}\.[0-9]{%d,60}" % (MAX_PLACES + 1))

_xxh = xxhash.xxh3_128

UNTOLD = bytes(16)
"""The digest of no record."""

PATIENCE = 16
"""Glances in a row that told nothing; from then on one record of so many has one."""

STRANGERS = 3
"""Records in a row that begin in another way than usual: from then on that is usual."""


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """What the raw bytes of a record say without being parsed.

    Of most records nothing more is asked; the slices of a thousand of them, kept in case, would fill every cache. So a
    record of which more is asked later is split again.
    """

    property_id: str
    digest: bytes  # of the bytes of what counts, 16 bytes; another spelling of it is another digest. UNTOLD: not taken
    modified_at: datetime | None  # aware, UTC
    source_key: str
    data: bytes
    recogniser: Recogniser
    said: bytes | None = None  # what `says` returns, of a record that was looked for and not found

    def exactly(self) -> tuple[Sighting, Members] | None:
        """Return the same by all members of the record, and these: a glance takes a volatile member that no record of
        the source had before for one that counts. None when the record must be parsed to tell: a glance does not look
        at the names of other members, which may be no text.
        """
        return self.recogniser.split(self.data)

    def says(self) -> bytes:
        """See `payload_digest`."""
        if self.said is not None:
            return self.said
        seen = self.exactly()
        return _xxh(self.data).digest() if seen is None else says_of(seen[1])


class AsStored(Protocol):
    """What listings are stored as, asked by digest and clock, or by what a record says and its clock."""

    def holds(self, one: Sighting) -> bool: ...

    def holds_what_it_says(self, one: Sighting, said: bytes) -> bool: ...


class Recogniser:
    """Takes the digest of raw records of one source.

    `version` is the normaliser's: a new field table makes every digest differ, so that every listing is looked at
    again. `volatile` names the members that do not count.
    """

    def __init__(
        self, *, source: str, version: str, volatile: Iterable[str], time_zone: ZoneInfo | None = None
    ) -> None:
        self._source = source
        self._zone = time_zone
        seed = f"{version}\x1f{time_zone.key if time_zone else ''}\x1f"
        self._seed, self._seed_around = seed.encode(), f"{seed}alone\x1f".encode()
        self._splitter = Splitter(volatile)
        self._usual = _Usual()

    def sight(self, data: bytes, stored: AsStored | None = None) -> Sighting | None:
        """Return what can be told from the bytes of one record, or None when it must be parsed to tell.

        None also for whatever is not an object with a plain ListingKey: the strict path decides what is wrong.
        `stored`: of what is not stored, neither so nor in other words, is told at once what it says.
        """
        if self._usual.is_worth_a_glance(data):
            one = self._glance(data, stored)
            if one is not None:
                self._usual.was_known()
                return one
        seen = self.split(data, stored)
        if seen is None:
            return None
        self._usual.see(data)
        return seen[0]

    def split(self, data: bytes, stored: AsStored | None = None) -> tuple[Sighting, Members] | None:
        """Return the same with the members of the record, for whoever will need them."""
        if SEPARATOR in data:
            return None
        try:
            split = self._splitter.split(data)
        except (msgspec.MsgspecError, KeyError, ValueError, RecursionError):
            return None
        members = split.members
        one = self._sighted(data, split.key, split.clock, UNTOLD)
        if one is None:
            return None
        said = None
        if stored is not None:  # that is asked first: whoever looks did not know it at a glance
            said = says_of(members)
            if stored.holds_what_it_says(one, said):
                return one, members
        rest = members.around(data)
        one = replace(one, digest=self._digest(rest) if rest else _digest(members, self._seed))
        if stored is not None and not stored.holds(one):
            one = replace(one, said=said)
        return one, members

    def _glance(self, data: bytes, stored: AsStored | None) -> Sighting | None:
        """Sight a record without splitting it, by the bytes around what is volatile; if it is stored so, where that can
        be asked: then nothing of it has to be decoded.
        """
        if SEPARATOR in data:
            return None
        cutter = self._splitter.cutter
        try:
            around = cutter.look(data) if stored is None else cutter.guess(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if around is None:
            return None
        one = self._sighted(data, around.key, around.clock, self._digest(around.rest))
        return one if one is None or stored is None or stored.holds(one) else None

    def _digest(self, rest: Iterable[bytes]) -> bytes:
        digest = _xxh(self._seed_around)
        for piece in rest:
            digest.update(piece)
        return digest.digest()

    def _sighted(
        self, data: bytes, key: msgspec.Raw | bytes, clock: msgspec.Raw | bytes | None, digest: bytes
    ) -> Sighting | None:
        quoted = bytes(key)
        text = quoted[1:-1]
        if quoted[:1] != b'"' or not (text.isalnum() or _PLAIN_KEY.fullmatch(text)):
            return None
        try:
            modified_at = None if clock is None else self._instant(clock)
        except (ValueError, OverflowError):
            return None
        source_key = text.decode("ascii")
        an_id = property_id(self._source, source_key)
        return Sighting(an_id, digest, modified_at, source_key, data, self)

    def _instant(self, raw: msgspec.Raw | bytes) -> datetime | None:
        """Raise ValueError for what only the normaliser may judge."""
        match = _PLAIN_INSTANT.fullmatch(raw)
        if match is None:
            if bytes(raw) == b"null":
                return None
            raise ValueError(bytes(raw))
        instant = datetime.fromisoformat(match[1].decode("ascii"))
        if instant.tzinfo is UTC:
            return instant
        if instant.tzinfo is None:
            if self._zone is None:
                raise ValueError(match[1])
            instant = instant.replace(tzinfo=self._zone)
        return instant.astimezone(UTC)


class _Usual:
    """Tells which records are worth a glance: those that begin as most of a source's do, as long as glances tell."""

    def __init__(self) -> None:
        self._beginning: bytes | None = None
        self._other = b""
        self._others = 0  # in a row that began so
        self._misses = 0  # in a row
        self._skipped = 0

    def is_worth_a_glance(self, data: bytes) -> bool:
        if self._beginning is None or not data.startswith(self._beginning):
            return False
        if self._misses < PATIENCE:
            self._misses += 1
            return True
        self._skipped = (self._skipped + 1) % PATIENCE
        return not self._skipped

    def was_known(self) -> None:
        self._others = self._misses = 0

    def see(self, data: bytes) -> None:
        """See a record at which a glance has told nothing."""
        if self._beginning is not None and data.startswith(self._beginning):
            return
        beginning = data[: data.find(b":") + 1]
        self._others = self._others + 1 if beginning == self._other else 1
        self._other = beginning
        if self._beginning is None or self._others == STRANGERS:
            self._beginning = beginning


def _digest(members: Members, seed: bytes) -> bytes:
    digest = _xxh(seed)
    digest.update(members.names)
    digest.update(members.values)
    if members.media is not None:
        digest.update(members.media)
    return digest.digest()


def says_of(members: Members) -> bytes:
    """See `payload_digest`."""
    values = _LIST_OF_TEXTS.sub(_sorted_list, members.values)
    if _LONG_DIGITS.search(values):
        values = _without_tails(values)
    digest = _xxh(members.names)
    digest.update(values)
    if members.media is not None:
        digest.update(_media_without_noise(bytes(members.media)))
    return digest.digest()


def payload_digest(data: bytes, volatile: Iterable[str]) -> bytes:
    """Digest of what the JSON of a record says, 16 bytes: the order of members and of lists of texts, the signatures,
    clocks and order of media, the tail of a binary float and volatile members do not count. Unknown members do.

    Whatever else is spelled in another way counts as said in another way. What cannot be split is told by its bytes.
    """
    try:
        if SEPARATOR not in data:
            return says_of(members_of(data, volatile))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return _xxh(data).digest()


def _sorted_list(texts: re.Match[bytes]) -> bytes:
    return b'\x1f["' + b'","'.join(sorted(texts[1].split(b'","'))) + b'"]'


def _without_tails(values: bytes) -> bytes:
    """Bring numbers to what they were before arithmetic with binary floats: no measure has more than eight places."""
    pieces: list[bytes] = []
    done = 0
    for digits in _LONG_DIGITS.finditer(values):
        begin, end = values.rfind(SEPARATOR, 0, digits.start()) + 1, values.find(SEPARATOR, digits.end())
        if _LONG_FRACTION.fullmatch(values, begin, end):
            pieces += (values[done:begin], _rounded(values[begin:end]))
            done = end
    return b"".join([*pieces, values[done:]])


def _rounded(number: bytes) -> bytes:
    whole, _, places = number.partition(b".")
    kept = places[:MAX_PLACES].rstrip(b"0")
    if kept and places[MAX_PLACES : MAX_PLACES + 1] < b"5":  # as a tail usually is
        return whole + b"." + kept
    text = plain(round(Decimal(number.decode("ascii")), MAX_PLACES))
    return (text if "." in text else text + ".0").encode("ascii")


def _media_without_noise(media: bytes) -> bytes:
    """The media list without its clocks and the queries of its URLs (signed ones: the same photo, another signature),
    in an order of its own: RESO orders media by Order, not by place.

    What is spelled in an unusual way (white space, escapes) is left as it is: it counts as another spelling, no more.
    """
    if b'ModificationTimestamp"' in media:
        for value in _MEDIA_CLOCK_VALUES:
            first, *others = media.split(value)
            media = value.join([first, *map(_without_text, others)])
    if b"?" in media:
        media = _without_queries(media)
    return b"},{".join(sorted(media.removeprefix(b"[{").removesuffix(b"}]").split(b"},{")))


def _without_queries(media: bytes) -> bytes:
    """Cut at the question marks where each stands in a URL, which is the usual case; they may stand in any text."""
    pieces = _QUERY.split(media)
    for piece in pieces[:-1]:
        if piece.rfind(_MEDIA_URL) + len(_MEDIA_URL) - 1 != piece.rfind(b'"'):
            break
    else:
        return b"".join(pieces)
    for value in _MEDIA_URL_VALUES:
        first, *others = media.split(value)
        media = value.join([first, *map(_without_query, others)])
    return media


def _without_query(url_and_rest: bytes) -> bytes:
    """Of what begins with a URL: without its query."""
    end = url_and_rest.find(b'"')
    query = url_and_rest.find(b"?", 0, end)
    return url_and_rest if query < 0 else url_and_rest[:query] + url_and_rest[end:]


def _without_text(text_and_rest: bytes) -> bytes:
    """Of what begins with a text: without it, unless an escape in it makes its end uncertain."""
    end = text_and_rest.find(b'"')
    return text_and_rest if b"\\" in text_and_rest[:end] else text_and_rest[end:]
