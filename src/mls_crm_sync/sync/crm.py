"""What the CRM says of its own properties: import, edit, delete. No MLS value is written here.

An import or an edit sets what it names and keeps the rest. A row that is not valid is reported and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from mls_crm_sync.core.errors import CrmPropertyExists, IdTaken, InvalidInput, SourceBroken, VersionMismatch
from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.listing import normalise_facts
from mls_crm_sync.store import crm_properties, events
from mls_crm_sync.store.crm_properties import Columns, ImportRow
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event

from .links import ROWS_PER_TRANSACTION, RowError
from .recognise import checked_name

OWN_COLUMNS: Mapping[str, str] = {
    "address": "UnparsedAddress",
    "unit": "UnitNumber",
    "city": "City",
    "state": "StateOrProvince",
    "zip": "PostalCode",
    "mls_number": "ListingId",
}
"""What people call the facts of a property, and their RESO names; RESO names themselves are understood as well."""

PLAIN_COLUMNS = ("crm_status", "notes", "tags", "assigned_agent")
MAX_ID_LENGTH = 200


@dataclass(slots=True)
class ImportSummary:
    """What came of an import. `made + changed + unchanged + len(errors)` is the number of rows."""

    made: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[RowError] = field(default_factory=list)
    broken: SourceBroken | None = None  # why the rows came to an end too early; what came before is imported
    custom_columns: tuple[str, ...] = ()  # columns that are neither ours nor RESO's: kept in `custom`


@dataclass(frozen=True, slots=True)
class Override:
    """A user's value over the MLS. `value` None removes it. `expires_at` is aware."""

    value: Any
    by: str | None = None
    reason: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A change by the CRM. `values` holds the CRM's columns to set; `own` and `overrides` are merged by field name,
    None removes a field. `version` is the one the caller has read; None overwrites whatever is there.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)
    version: int | None = None


async def import_rows(
    db: Database,
    header: Sequence[str],
    rows: Iterable[tuple[int, Mapping[str, str]]],
    *,
    platform: str = "default",
) -> ImportSummary:
    """Insert or update CRM properties from the rows of a table, some hundred a transaction.

    `rows` are (line, text by column name). A column of the table is set for every row, empty cells empty it; columns
    that the table does not have are kept. Raises InvalidInput when the table has no `id` column.
    """
    if "id" not in header:
        raise InvalidInput("id", "the file has no column of this name; it holds the CRM's own id of each property")
    checked_name("platform", platform)
    sheet = _Sheet(header)
    summary = ImportSummary(custom_columns=sheet.columns.custom)
    chunk: dict[str, tuple[int, ImportRow]] = {}
    for line, row in _valid(rows, sheet, summary):
        chunk[row.id] = (line, row)
        if len(chunk) == ROWS_PER_TRANSACTION:
            await _import_chunk(db, platform, sheet.columns, chunk, summary)
            chunk = {}
    await _import_chunk(db, platform, sheet.columns, chunk, summary)
    summary.errors.sort(key=lambda e: e.line)
    return summary


def _valid(
    rows: Iterable[tuple[int, Mapping[str, str]]], sheet: _Sheet, summary: ImportSummary
) -> Iterator[tuple[int, ImportRow]]:
    """Yield the rows that can be imported; note the others, and the end where the file breaks."""
    seen: set[str] = set()
    try:
        for line, cells in rows:
            row = sheet.read(line, cells, seen, summary)
            if row is not None:
                seen.add(row.id)
                yield line, row
    except SourceBroken as error:
        summary.broken = error


async def create(db: Database, platform: str, row: ImportRow) -> None:
    """Make one CRM property; its `own` takes its normal form. Raises CrmPropertyExists, InvalidInput."""
    checked = replace(row, id=_checked_id(row.id, set()), own=_present(normalise_facts(row.own)))
    async with db.transaction() as conn:
        if not await crm_properties.insert(conn, platform, checked):
            raise CrmPropertyExists(row.id)


async def upsert_items(db: Database, items: Sequence[Mapping[str, Any]], *, platform: str = "default") -> ImportSummary:
    """Insert or update CRM properties given as dictionaries; members that an item lacks are kept.

    An item has `id`, and any of `crm_status, notes, tags, assigned_agent, custom, own`; a null empties. Errors carry
    the item's place, from 1.
    """
    summary = ImportSummary()
    seen: set[str] = set()
    groups: dict[Columns, dict[str, tuple[int, ImportRow]]] = {}
    for place, item in enumerate(items, start=1):
        try:
            columns, row = _item_row(item, seen)
        except InvalidInput as error:
            summary.errors.append(RowError(place, str(item.get("id", "")), error.code, str(error)))
            continue
        seen.add(row.id)
        groups.setdefault(columns, {})[row.id] = (place, row)
    for columns, rows in groups.items():
        every = list(rows.items())
        for at in range(0, len(every), ROWS_PER_TRANSACTION):
            await _import_chunk(db, platform, columns, dict(every[at : at + ROWS_PER_TRANSACTION]), summary)
    summary.errors.sort(key=lambda e: e.line)
    return summary


async def edit(db: Database, crm_id: str, change: Edit, *, now: datetime) -> int:
    """Apply a change by the CRM; return the property's new version.

    Raises CrmPropertyNotFound, VersionMismatch, InvalidInput (an unknown or computed field, a value that is none).
    """
    values = {name: _checked(name, value) for name, value in change.values.items()}
    own = normalise_facts(change.own)
    overrides = normalise_facts({name: o.value for name, o in change.overrides.items()})
    checked = _CheckedEdit(change, values, own, overrides, now)
    return await db.retrying(partial(_edit, crm_id, checked))


async def delete(db: Database, crm_id: str) -> None:
    """Delete a CRM property; its link ends with it. Raises CrmPropertyNotFound."""
    await db.retrying(partial(_delete, crm_id))


class _Sheet:
    """The columns of a table, and how a row of it becomes an ImportRow."""

    def __init__(self, header: Sequence[str]) -> None:
        self._own = {c: OWN_COLUMNS.get(c, c) for c in header if c in OWN_COLUMNS or c in BY_NAME}
        plain = tuple(c for c in header if c in PLAIN_COLUMNS)
        custom = tuple(c for c in header if c not in self._own and c not in plain and c != "id")
        self.columns = Columns(plain, tuple(self._own.values()), custom)

    def read(self, line: int, cells: Mapping[str, str], seen: set[str], summary: ImportSummary) -> ImportRow | None:
        """Return the row, or None after noting what is wrong with it."""
        crm_id = cells["id"].strip()
        try:
            return self._row(_checked_id(crm_id, seen), cells)
        except InvalidInput as error:
            summary.errors.append(RowError(line, crm_id, error.code, str(error)))
            return None

    def _row(self, crm_id: str, cells: Mapping[str, str]) -> ImportRow:
        own = normalise_facts({name: cells[column] for column, name in self._own.items()})
        return ImportRow(
            id=crm_id,
            crm_status=_text(cells.get("crm_status")),
            notes=_text(cells.get("notes")),
            tags=_tags(cells.get("tags")),
            assigned_agent=_text(cells.get("assigned_agent")),
            own=_present(own),
            custom={c: text for c in self.columns.custom if (text := _text(cells[c])) is not None},
        )


async def _import_chunk(
    db: Database,
    platform: str,
    columns: Columns,
    chunk: Mapping[str, tuple[int, ImportRow]],
    summary: ImportSummary,
) -> None:
    if not chunk:
        return
    rows = [row for _, row in chunk.values()]
    made, changed, held_by = await db.retrying(partial(_upsert, platform, columns, rows))
    summary.made += len(made)
    summary.changed += len(changed)
    for crm_id, owner in held_by.items():
        error = IdTaken(crm_id, owner)
        summary.errors.append(RowError(chunk[crm_id][0], crm_id, error.code, str(error)))
    summary.unchanged += len(chunk) - len(made) - len(changed) - len(held_by)


async def _upsert(
    platform: str, columns: Columns, rows: Sequence[ImportRow], conn: Connection
) -> tuple[set[str], set[str], dict[str, str]]:
    """Return the ids made, the ids changed, and the ids held by other platforms with their names."""
    made, changed = await crm_properties.upsert(conn, platform, columns, rows)
    rest = [row.id for row in rows if row.id not in made and row.id not in changed]
    owners = await crm_properties.platforms(conn, rest) if rest else {}
    return made, changed, {crm_id: owner for crm_id, owner in owners.items() if owner != platform}


@dataclass(frozen=True, slots=True)
class _CheckedEdit:
    """An edit whose values have their normal form; None removes a member."""

    asked: Edit
    values: Mapping[str, Any]
    own: Mapping[str, Any]
    overrides: Mapping[str, Any]
    now: datetime


async def _edit(crm_id: str, edit: _CheckedEdit, conn: Connection) -> int:
    row = dict(await crm_properties.lock_for_edit(conn, crm_id))
    if edit.asked.version is not None and edit.asked.version != row["version"]:
        raise VersionMismatch(crm_id, edit.asked.version, row["version"])
    details = {
        name: _details(edit.asked.overrides[name], row["fields"].get(name), edit.now) if value is not None else None
        for name, value in edit.overrides.items()
    }
    row |= edit.values
    row["own"] = _merged(row["own"], edit.own)
    row["overrides"] = _merged(row["overrides"], edit.overrides)
    row["override_details"] = _merged(row["override_details"], details)
    return await crm_properties.save_edit(conn, row)


async def _delete(crm_id: str, conn: Connection) -> None:
    target = (await crm_properties.lock(conn, [crm_id])).get(crm_id)
    await crm_properties.delete(conn, crm_id)
    if target is not None and target.property_id is not None:
        await events.append(conn, [Event("property.unlinked", target.property_id, crm_id, target.platform)])


def _item_row(item: Mapping[str, Any], seen: set[str]) -> tuple[Columns, ImportRow]:
    """Return which columns an item brings, and the row it makes."""
    own, custom = item.get("own") or {}, item.get("custom") or {}
    plain = tuple(name for name in PLAIN_COLUMNS if name in item)
    row = ImportRow(
        id=_checked_id(item["id"], seen),
        crm_status=_text(item.get("crm_status")),
        notes=_text(item.get("notes")),
        tags=_unique(item.get("tags") or ()),
        assigned_agent=_text(item.get("assigned_agent")),
        own=_present(normalise_facts(own)),
        custom=_present(custom),
    )
    return Columns(plain, tuple(own), tuple(custom)), row


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _details(override: Override, mls_value: Any, now: datetime) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Who, when, why, until when, and what the MLS said then: what a conflict is told by."""
    details = {"mls_value": mls_value, "at": _instant(now), "by": override.by, "reason": override.reason}
    if override.expires_at is not None:
        details["expires_at"] = _instant(override.expires_at)
    return details


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return _present({**before, **change})


def _checked(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a CRM column as it is stored. Raises InvalidInput."""
    if name == "tags":
        return list(_unique(value))
    if name == "custom" and isinstance(value, Mapping):
        return dict(value)
    if name in ("crm_status", "notes", "assigned_agent") and (value is None or isinstance(value, str)):
        return _text(value)
    known = ", ".join((*PLAIN_COLUMNS, "custom"))
    raise InvalidInput(name, f"not a column of a CRM property that can be set to this; there are {known}")


def _checked_id(crm_id: str, seen: set[str]) -> str:
    if not crm_id:
        raise InvalidInput("id", "is empty")
    if crm_id in seen:
        raise InvalidInput("id", "an earlier line of this file has the same id")
    if len(crm_id) > MAX_ID_LENGTH or not crm_id.isprintable():
        raise InvalidInput("id", f"must be printable text of at most {MAX_ID_LENGTH} characters")
    return crm_id


def _text(value: str | None) -> str | None:
    """Text as the CRM gave it, but for what PostgreSQL cannot hold; empty is none."""
    if value is None:
        return None
    clean = value.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8")
    return clean or None


def _tags(cell: str | None) -> tuple[str, ...]:
    """Tags of a cell: separated by semicolons, or by commas where there is none."""
    if not cell:
        return ()
    return _unique(cell.split(";" if ";" in cell else ","))


def _unique(tags: Iterable[str]) -> tuple[str, ...]:
    clean = (text.strip() for tag in tags if (text := _text(tag)))
    return tuple(dict.fromkeys(tag for tag in clean if tag))


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
