"""The canonical form of facts, and its hash.

One encoder makes it, here: two of them would not agree on every number. What `plain.py` takes over from a record are
bytes that this encoder would write again. No IO.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
_MIDDLE = "M"

HASH_VERSION = b"1\n"
"""Goes into every content hash; a new number makes every listing rehash, quietly."""


def canonical(fields: Mapping[str, Any]) -> bytes:
    """Facts in normal form as JSON: members sorted by name, compact, UTF-8. What is stored, and what is hashed."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def canonical_value(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """One value as it stands in the canonical form."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def text_in(text: bytes, name: str) -> str | None:
    """The value of one top-level text member of a canonical form, or None; nothing else of it is parsed.

    A quote in a text is escaped, so the name between quotes stands nowhere but before its value, and what stands before
    it tells that from a member of media. Members are in the order of their names: it is looked for from the nearer end.
    """
    inner, first = _begins(name)
    at = text.rfind(inner) if name > _MIDDLE else text.find(inner)
    if at < 0 and not text.startswith(first):
        return None
    begin = max(at, 0) + len(inner)
    if not text.startswith(b'"', begin):
        return None
    end = text.index(b'"', begin + 1)
    value = text[begin + 1 : end]
    if b"\\" not in value:
        return value.decode()
    escaped = _TEXT.match(text, begin)
    assert escaped is not None  # noqa: S101 - it is JSON
    return str(orjson.loads(escaped[0]))


@lru_cache(maxsize=64)
def _begins(name: str) -> tuple[bytes, bytes]:
    """How a member begins that stands behind another one, and the first one."""
    return b',"%b":' % name.encode(), b'{"%b":' % name.encode()


def hash_of(text: bytes) -> bytes:
    """sha256 over the canonical form of the hashed facts. 32 bytes; shown as hex."""
    return hashlib.sha256(HASH_VERSION + text).digest()


def content_hash(hashed_fields: Mapping[str, Any]) -> bytes:
    return hash_of(canonical(hashed_fields))
