"""A listing in normal form: what a record says of it, and what remains when that is laid over what is known.

Absent is not null: a member that a record does not have keeps its stored value; null, empty text or an empty list
clears it. No IO.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgspec
import orjson

from .canonical import canonical, content_hash, hash_of
from .errors import InvalidInput, RecordRejected
from .fields import BY_NAME, FIELDS, ChangeKind, Field, table_fingerprint
from .plain import Plain, PlainReader
from .values import MAX_TEXT, BadValue, Context, clean_text, instant_of, normal, normal_of

RULES_VERSION = 1
"""Raised when a rule of `values.py` changes what a stored value would be."""

MAX_KEY = 255
"""Characters of a ListingKey, as RESO has it."""


class Normalised(msgspec.Struct, frozen=True, dict=True):
    """What one record says."""

    source_key: str
    text: bytes  # normal forms of the known, non-volatile members that carry a value, in canonical form
    cleared: frozenset[str]  # known, non-volatile members that are there and empty
    modified_at: datetime | None  # ModificationTimestamp, aware, UTC
    unknown: tuple[str, ...]  # members that the field table does not have
    notes: tuple[str, ...]
    content_hash: bytes  # of this record alone, before it is laid over what is stored

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The normal forms by name; for many a record nobody asks."""
        fields: dict[str, Any] = orjson.loads(self.text)
        return fields


def _not_known(value: Any, context: Context) -> NoReturn:  # noqa: ANN401 - any JSON value
    """Stands for the reader of a member that the field table does not have."""
    raise NotImplementedError(value, context.field)


class Normaliser:
    """Brings records into the normal form of a field table. `version` names the table and the rules."""

    def __init__(self, fields: Sequence[Field] = FIELDS) -> None:
        self._fields: Mapping[str, Field] = {field.name: field for field in fields}
        self._readers = {f.name: (None if f.volatile else normal_of(f.kind)) for f in fields}
        self._unhashed = frozenset(f.name for f in fields if not f.hashed and not f.volatile)
        self.version = f"{RULES_VERSION}.{table_fingerprint(fields)}"
        self.volatile = tuple(f.name for f in fields if f.volatile)
        self.unsynced = tuple(f.name for f in fields if not f.synced and not f.volatile)

    def normalise(self, record: Mapping[str, Any], *, time_zone: ZoneInfo | None = None) -> Normalised:
        """Raises RecordRejected: `missing_key`, or `bad_value` with the field's name."""
        context = Context(time_zone)
        key = source_key_of(record)
        fields: dict[str, Any] = {}
        cleared: list[str] = []
        unknown: list[str] = []
        reader_of = self._readers.get
        try:
            for name, value in record.items():
                read = reader_of(name, _not_known)
                if (  # most of what there is
                    read is clean_text and value.__class__ is str
                    and value.isascii() and value.isprintable() and len(value) <= MAX_TEXT
                ):  # fmt: skip
                    if text := value.strip():
                        fields[name] = text
                    else:
                        cleared.append(name)
                    continue
                if read is None:
                    continue
                if read is _not_known:
                    unknown.append(name)
                    continue
                context.field = name
                form = None if value is None or value == [] else read(value, context)
                if form is None:
                    cleared.append(name)
                else:
                    fields[name] = form
        except BadValue as error:
            raise RecordRejected("bad_value", f"{context.field}: {error}", field=context.field) from error
        modified_at = _modified_at(record, time_zone)
        canonical_text, digest = self.sealed(fields)
        notes = tuple(context.notes)
        return Normalised(key, canonical_text, frozenset(cleared), modified_at, tuple(unknown), notes, digest)

    def of_plain(self, plain: Plain, *, source_key: str, modified_at: datetime | None) -> Normalised | None:
        """Return the same of a record that was read by a plain reader; None where the strict way has to look at it."""
        if len(source_key) > MAX_KEY:
            return None
        digest = content_hash(self.hashed(orjson.loads(plain.text))) if self._unhashed else hash_of(plain.text)
        return Normalised(source_key, plain.text, plain.cleared, modified_at, plain.unknown, (), digest)

    def plain_reader(self, time_zone: ZoneInfo | None = None) -> PlainReader:
        """Return what reads records of one source; local times are of `time_zone`."""
        return PlainReader({name: f for name, f in self._fields.items() if not f.volatile}, time_zone)

    def again(
        self,
        payload: Mapping[str, Any],
        stored: Mapping[str, Any],
        *,
        time_zone: ZoneInfo | None = None,
        refused: list[str] | None = None,
    ) -> dict[str, Any]:
        """Return the facts of a stored payload by this table; a value that it refuses keeps its `stored` form.

        The names of the members whose values it refuses are added to `refused`.
        """
        context = Context(time_zone)
        fields: dict[str, Any] = {}
        for name, value in payload.items():
            field = self._fields.get(name)
            if field is None or field.volatile:
                continue
            try:
                form = _normal(field, value, context)
            except RecordRejected:
                form = stored.get(name)
                if refused is not None:
                    refused.append(name)
            if form is not None:
                fields[name] = form
        return fields

    def sealed(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return the canonical form of facts, and their content hash."""
        text = canonical(fields)
        return text, content_hash(self.hashed(fields)) if self._unhashed else hash_of(text)

    def hashed(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The facts whose change is a change of the listing."""
        if not self._unhashed:
            return fields
        return {name: value for name, value in fields.items() if name not in self._unhashed}

    def change_type(self, name: str) -> ChangeKind:
        """What a change of this field is called; a field that is no longer in the table is `other`."""
        field = self._fields.get(name)
        return field.change if field else "other"


def overlay(stored: Mapping[str, Any], incoming: Normalised) -> dict[str, Any]:
    """Lay what a record says over what is stored: absent keeps, empty clears."""
    if incoming.cleared.isdisjoint(stored):
        return {**stored, **incoming.fields}
    kept = {name: value for name, value in stored.items() if name not in incoming.cleared}
    return kept | incoming.fields


def overlay_payload(stored: Mapping[str, Any], incoming: Mapping[str, Any]) -> dict[str, Any]:
    """The same for raw members: the incoming record wins, what it lacks stays; so a replay gives the stored fields."""
    return {**stored, **incoming}


def source_key_of(record: Mapping[str, Any]) -> str:
    """Return the source's own key of a record. Raises RecordRejected."""
    context = Context()
    context.field = "ListingKey"
    try:
        key = clean_text(record.get("ListingKey"), context)
    except BadValue as error:
        raise RecordRejected("bad_value", f"ListingKey: {error}", field="ListingKey") from error
    if key is None:
        detail = "no ListingKey; in a CSV, name the column that identifies a listing with --columns"
        raise RecordRejected("missing_key", detail, field="ListingKey")
    if len(key) > MAX_KEY:
        raise RecordRejected("bad_value", f"ListingKey: longer than {MAX_KEY} characters", field="ListingKey")
    return key


def property_id(source: str, source_key: str) -> str:
    """Our id of a listing: 32 hex digits, the same for the same source and key for good."""
    return hashlib.sha256(f"v1\0{source}\0{source_key}".encode()).digest()[:16].hex()


def normalise_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bring facts that a person or a CRM gave (`own`, `overrides`) into the form of a listing's; None is empty.

    Raises InvalidInput that names the member: not in the field table, volatile, or none of its kind.
    """
    return {name: _fact(name, value) for name, value in values.items()}


def _fact(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    field = BY_NAME.get(name)
    if field is None:
        raise InvalidInput(name, "is not a field of the RESO Data Dictionary that we know; see docs/fields.md")
    if field.volatile:
        raise InvalidInput(name, "is computed or a clock of the source; it cannot be set")
    try:
        return normal(field, value, Context())
    except BadValue as error:
        raise InvalidInput(name, str(error)) from error


def _normal(field: Field, value: Any, context: Context) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return normal(field, value, context)
    except BadValue as error:
        raise RecordRejected("bad_value", f"{field.name}: {error}", field=field.name) from error


def _modified_at(record: Mapping[str, Any], time_zone: ZoneInfo | None) -> datetime | None:
    """The one clock that is read: it orders revisions, so a broken one cannot be passed over."""
    try:
        return instant_of(record.get("ModificationTimestamp"), time_zone)
    except BadValue as error:
        detail = f"ModificationTimestamp: {error}"
        raise RecordRejected("bad_value", detail, field="ModificationTimestamp") from error
