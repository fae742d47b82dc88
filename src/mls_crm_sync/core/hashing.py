"""Recognising a listing: the quick digest of raw bytes, and the content hash of normal forms.

Two tiers. The digest is taken over the raw slices of a record without its volatile parts; nothing is parsed into
Python values. Equal digest: unchanged, and the record costs nothing more. The content hash is taken over the
canonical form of the hashed facts; two listings with equal hashed facts hash equally, whatever source spelling or
member order they came in. Neither is the truth about what changed: that is `changes.diff`. No IO.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson
import xxhash

from .listing import property_id

HASH_VERSION = b"1\n"
"""Goes into every content hash; a new number makes every listing rehash, quietly."""

_MEDIA_NOISE = re.compile(
    rb'("MediaURL"\s*+:\s*+"(?:[^"?\\]|\\.)*+)\?(?:[^"\\]|\\.)*+'  # signed URLs: the same photo, another query string
    rb'|("(?:Media)?ModificationTimestamp"\s*+:\s*+")[^"\\]*+'
)
_MEDIA_CLOCKS = frozenset({"ModificationTimestamp", "MediaModificationTimestamp"})
_PLAIN_KEY = re.compile(rb'"([!#-\[\]-~]+)"')  # printable ASCII without space, quote, backslash: its own normal form

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_sorted_json = msgspec.json.Encoder(order="sorted").encode
_xxh = xxhash.xxh3_128_digest


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the raw bytes of a record say without being parsed."""

    property_id: str
    digest: bytes
    modified_at: datetime | None  # aware, UTC


class Recogniser:
    """Takes the digest of raw records of one source.

    `version` is the normaliser's: a new field table makes every digest differ, so that every listing is looked at
    again. `volatile` names the members that do not count.
    """

    def __init__(
        self, *, source: str, version: str, volatile: Iterable[str], time_zone: ZoneInfo | None = None
    ) -> None:
        self._source = source
        self._volatile = tuple(volatile)
        self._zone = time_zone
        self._seed = f"{version}\x1f{time_zone.key if time_zone else ''}\x1f".encode()

    def sight(self, data: bytes) -> Sighting | None:
        """Return what can be told from the bytes of one record, or None when it must be parsed to tell.

        None also for whatever is not an object with a plain ListingKey: the strict path decides what is wrong.
        """
        try:
            members = _members(data)
            key = _PLAIN_KEY.fullmatch(bytes(members["ListingKey"]))
            modified_at = self._instant(members.get("ModificationTimestamp"))
            if key is None:
                return None
            digest = self._digest(members)
        except (msgspec.MsgspecError, KeyError, ValueError, OverflowError, RecursionError):
            return None
        return Sighting(property_id(self._source, key[1].decode("ascii")), digest, modified_at)

    def _digest(self, members: dict[str, msgspec.Raw]) -> bytes:
        for name in self._volatile:
            members.pop(name, None)
        media = members.pop("Media", None)
        parts = [self._seed, ",".join(members).encode(), *members.values()]
        if media is not None:
            parts.append(_media_slice(media))
        return _xxh(b"\x1f".join(parts))

    def _instant(self, raw: msgspec.Raw | None) -> datetime | None:
        """Raise ValueError for what only the normaliser may judge."""
        if raw is None or bytes(raw) == b"null":
            return None
        text = bytes(raw)
        if not (text.startswith(b'"') and text.endswith(b'"')):
            raise ValueError(text)
        instant = datetime.fromisoformat(text[1:-1].decode("ascii"))
        if instant.tzinfo is None:
            if self._zone is None:
                raise ValueError(text)
            instant = instant.replace(tzinfo=self._zone)
        return instant.astimezone(UTC)


def _media_slice(raw: msgspec.Raw) -> bytes:
    """The media list without URL queries and in an order of its own: RESO orders media by Order, not by place."""
    data = bytes(raw)
    if not data.startswith(b"["):
        return data
    return b"\x1e".join(sorted(bytes(item) for item in _items(_MEDIA_NOISE.sub(rb"\1\2", data))))


def content_hash(hashed_fields: Mapping[str, Any]) -> bytes:
    """sha256 over the canonical form: members sorted by name, compact, UTF-8. 32 bytes; shown as hex."""
    return hashlib.sha256(HASH_VERSION + orjson.dumps(hashed_fields, option=orjson.OPT_SORT_KEYS)).digest()


def payload_digest(record: Mapping[str, Any], volatile: frozenset[str]) -> bytes:
    """Digest of a parsed record, 16 bytes: member order, list order and volatile members do not count.

    Tells whether the stored payload says anything else than this record; unknown members count.
    """
    kept = {name: _unordered(value) for name, value in record.items() if name not in volatile}
    return _xxh(_sorted_json(kept))


def _unordered(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(value, list):
        return value
    return sorted(_sorted_json(_quiet(item) if isinstance(item, dict) else item) for item in value)


def _quiet(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of a list without what is volatile in media; the parsed counterpart of `_MEDIA_NOISE`."""
    kept = {name: value for name, value in item.items() if name not in _MEDIA_CLOCKS}
    url = kept.get("MediaURL")
    if isinstance(url, str):
        kept["MediaURL"] = url.partition("?")[0]
    return kept
