"""A listing in normal form: what a record says of it, and what remains when that is laid over what is known.

Absent is not null: a member that a record does not have keeps its stored value; null, empty text or an empty list
clears it. No IO.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from .errors import InvalidInput, RecordRejected
from .fields import BY_NAME, FIELDS, ChangeKind, Field, table_fingerprint
from .values import BadValue, Context, clean_text, instant_of, normal

RULES_VERSION = 1
"""Raised when a rule of `values.py` changes what a stored value would be."""

MAX_KEY = 255
"""Characters of a ListingKey, as RESO has it."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """What one record says."""

    source_key: str
    fields: dict[str, Any]  # normal forms of the known, non-volatile members that carry a value
    cleared: frozenset[str]  # known, non-volatile members that are there and empty
    modified_at: datetime | None  # ModificationTimestamp, aware, UTC
    unknown: tuple[str, ...]  # members that the field table does not have
    notes: tuple[str, ...]


class Normaliser:
    """Brings records into the normal form of a field table. `version` names the table and the rules."""

    def __init__(self, fields: Sequence[Field] = FIELDS) -> None:
        self._fields: Mapping[str, Field] = {field.name: field for field in fields}
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
        for name, value in record.items():
            field = self._fields.get(name)
            if field is None:
                unknown.append(name)
            elif not field.volatile:
                form = _normal(field, value, context)
                if form is None:
                    cleared.append(name)
                else:
                    fields[name] = form
        modified_at = _modified_at(record, time_zone)
        return Normalised(key, fields, frozenset(cleared), modified_at, tuple(unknown), tuple(context.notes))

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
    return hashlib.sha256(f"v1\0{source}\0{source_key}".encode()).hexdigest()[:32]


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
