"""The CRM's half of the reference model: import, edit, delete, overrides, and the status that a reader gets.

The CRM's own facts are read by today's field table, whatever table the listings are read by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from model.pieces import BAD, Form
from model.reference import Reference
from model.world import Crm, Refusal

OWN = {"address": "UnparsedAddress", "city": "City", "zip": "PostalCode", "ListPrice": "ListPrice"}
PLAIN = ("crm_status", "notes", "tags", "assigned_agent")
CUSTOM = ("region", "floor")


@dataclass(frozen=True)
class Row:
    """A row of an import: its text, the values that its plain columns must get, and the forms of its own facts."""

    line: int
    id: str
    cells: Mapping[str, str]
    plain: Mapping[str, Any]
    own: Mapping[str, Form]


@dataclass(frozen=True)
class Over:
    """An override: the value as it is given, and its form; None removes it."""

    given: Any
    form: Form
    by: str | None = None
    reason: str | None = None
    expires: datetime | None = None


@dataclass
class Imported:
    made: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[tuple[int, str, str]] = field(default_factory=list)


class Model(Reference):
    """The whole reference model."""

    def import_rows(self, platform: str, columns: Sequence[str], rows: Sequence[Row]) -> Imported:
        self.tick += 1
        done, seen = Imported(), set[str]()
        for row in rows:
            error = self._unfit(row, seen)
            if error is None:
                seen.add(row.id)
                error = self._import(platform, columns, row, done)
            if error is not None:
                done.errors.append((row.line, row.id, error))
        return done

    def _unfit(self, row: Row, seen: set[str]) -> str | None:
        wrong = not row.id or row.id in seen or any(form is BAD for form in row.own.values())
        return "invalid_input" if wrong else None

    def _import(self, platform: str, columns: Sequence[str], row: Row, done: Imported) -> str | None:
        crm = self.crm.get(row.id)
        if crm is None:
            crm = self.crm[row.id] = Crm(platform, created=self.tick, updated=self.tick)
            self._set_columns(crm, columns, row)
            done.made += 1
        elif crm.platform != platform:
            return "id_taken"
        elif self._set_columns(crm, columns, row):
            crm.version, crm.updated = crm.version + 1, self.tick
            done.changed += 1
        else:
            done.unchanged += 1
        return None

    def _set_columns(self, crm: Crm, columns: Sequence[str], row: Row) -> bool:
        """Set what the table brings, keep the rest; return whether anything is another than before."""
        before = (*(getattr(crm, name) for name in PLAIN), crm.own, crm.custom)
        for name in set(PLAIN) & set(columns):
            setattr(crm, name, row.plain[name])
        crm.own = _merged(crm.own, row.own)
        crm.custom = _merged(crm.custom, {name: row.cells[name] or None for name in CUSTOM if name in columns})
        return before != (*(getattr(crm, name) for name in PLAIN), crm.own, crm.custom)

    def edit(
        self,
        crm_id: str,
        values: Mapping[str, Any],
        own: Mapping[str, Form],
        overrides: Mapping[str, Over],
        *,
        version: int | None,
        now: datetime,
    ) -> int:
        """Return the new version. `values` are the CRM's columns as they must stand."""
        if any(form is BAD for form in (*own.values(), *(over.form for over in overrides.values()))):
            raise Refusal("invalid_input")
        if crm_id not in self.crm:
            raise Refusal("crm_property_not_found")
        crm = self.crm[crm_id]
        if version not in {None, crm.version}:
            raise Refusal("version_mismatch")
        self.tick += 1
        for name, value in values.items():
            setattr(crm, name, value)
        crm.own = _merged(crm.own, own)
        crm.overrides = _merged(crm.overrides, {name: over.form for name, over in overrides.items()})
        details = {name: _details(over, crm, name, now) for name, over in overrides.items()}
        crm.override_details = _merged(crm.override_details, details)
        crm.version, crm.updated = crm.version + 1, self.tick
        return crm.version

    def delete(self, crm_id: str) -> None:
        if crm_id not in self.crm:
            raise Refusal("crm_property_not_found")
        self.tick += 1
        listing = self.crm[crm_id].listing
        if listing is not None:
            self.tell("property.unlinked", crm_id, listing)
        self._close(crm_id)
        del self.crm[crm_id]

    def status_of(self, crm_id: str) -> str:
        """sync_status: the first that holds. Nothing here is ever stale."""
        crm = self.crm[crm_id]
        if crm.listing is None:
            return "not_linked"
        if self.listings[crm.listing].purged or crm.listing in self.absent:
            return "gone"
        active = self.active_overrides(crm)
        details = {name: crm.override_details[name] for name in active}
        if any("mls_value" in d and d["mls_value"] != crm.fields.get(n) for n, d in details.items()):
            return "conflict"
        return "overridden" if active else "synced"

    def active_overrides(self, crm: Crm) -> dict[str, Any]:
        """Those that have not expired; the years of expiry are far from today."""
        return {
            name: value
            for name, value in crm.overrides.items()
            if not crm.override_details[name].get("expires_at", "9999").startswith("20")
        }


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Member by member; None removes one."""
    return {name: value for name, value in {**before, **change}.items() if value is not None}


def _details(over: Over, crm: Crm, name: str, now: datetime) -> dict[str, Any] | None:
    """An override that was made before there was a link and a value of the MLS has none that could change."""
    if over.form is None:
        return None
    details = {"at": _text(now), "by": over.by, "reason": over.reason}
    if crm.listing is not None or name in crm.fields:
        details["mls_value"] = crm.fields.get(name)
    return details if over.expires is None else {**details, "expires_at": _text(over.expires)}


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
