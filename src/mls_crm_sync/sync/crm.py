"""What the CRM says of its own properties: import, edit, delete. No MLS value is written here.

An import or an edit sets what it names and keeps the rest. A row that is not valid is reported and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from mls_crm_sync.core.errors import CrmPropertyExists, IdTaken, InvalidInput, SourceBroken, VersionMismatch
from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.listing import normalise_facts
from mls_crm_sync.sources.column_map import ALIASES, simple
from mls_crm_sync.store import crm_properties, events
from mls_crm_sync.store.crm_properties import Columns, ImportRow
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event

from .links import ROWS_PER_TRANSACTION, RowError
from .reader import checked_name

T = TypeVar("T")

OWN_COLUMNS: Mapping[str, str] = {
    "address": "UnparsedAddress",
    "unit": "UnitNumber",
    "city": "City",
    "state": "StateOrProvince",
    "zip": "PostalCode",
    "mls_number": "ListingId",
}
"""What people call the facts of a property, and their RESO names; RESO names themselves are understood as well, and the
other usual names of these facts (`column_map.ALIASES`), but no more: a CRM's `price` or `status` may be its own."""

PLAIN_COLUMNS = ("crm_status", "notes", "tags", "assigned_agent")
MAX_ID_LENGTH = 200
GIVE_WAY_EVERY = 100
"""Rows that are checked at a stretch: 5,000 of them stopped every other request for 300 ms."""

_EXACT = (
    {name: name for name in ("id", *PLAIN_COLUMNS)}
    | dict(OWN_COLUMNS)
    | {n: n for n, f in BY_NAME.items() if not f.volatile}
)
_SIMILAR = {simple(column): name for column, name in _EXACT.items()}


@dataclass(frozen=True, slots=True)
class RowDone:
    """A row that was taken: `result` is `made`, `changed` or `unchanged`."""

    line: int
    id: str
    result: str


@dataclass(slots=True)
class ImportSummary:
    """What came of an import. `made + changed + unchanged + len(errors)` is the number of rows."""

    made: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[RowError] = field(default_factory=list)
    rows: list[RowDone] | None = None  # what became of each row that has no error, where somebody asks for that
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
    None removes a field. `version` is the one the caller has read, `versions` are several of which one has to be there;
    both have to hold, and None overwrites whatever is there.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)
    version: int | None = None
    versions: Collection[int] | None = None


async def import_rows(
    db: Database,
    header: Sequence[str],
    rows: Iterable[tuple[int, Mapping[str, str]]],
    *,
    platform: str = "default",
    dry_run: bool = False,
) -> ImportSummary:
    """Insert or update CRM properties from the rows of a table, some hundred a transaction. A dry run does the same and
    takes each transaction back.

    `rows` are (line, text by column name). A column of the table is set for every row, empty cells empty it; columns
    that the table does not have are kept. Raises InvalidInput when the table has no `id` column, or two for one thing.
    """
    checked_name("platform", platform)
    sheet = _Sheet(header)
    summary = ImportSummary(custom_columns=sheet.columns.custom)
    chunk: dict[str, tuple[int, ImportRow]] = {}
    for line, row in _valid(rows, sheet, summary):
        chunk[row.id] = (line, row)
        if len(chunk) == ROWS_PER_TRANSACTION:
            await _import_chunk(db, platform, sheet.columns, chunk, summary, dry_run=dry_run)
            chunk = {}
    await _import_chunk(db, platform, sheet.columns, chunk, summary, dry_run=dry_run)
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
    checked = replace(
        row,
        id=_checked_id(row.id, set()),
        crm_status=_text(row.crm_status),
        notes=_text(row.notes),
        tags=_unique(row.tags),
        assigned_agent=_text(row.assigned_agent),
        own=_present(normalise_facts(row.own)),
    )
    async with db.transaction() as conn:
        if not await crm_properties.insert(conn, platform, checked):
            raise CrmPropertyExists(row.id)


async def upsert_items(
    db: Database, items: Iterable[tuple[int, Mapping[str, Any]]], *, platform: str = "default"
) -> ImportSummary:
    """Insert or update CRM properties given as (place, dictionary); members that an item lacks are kept.

    An item has `id`, and any of `crm_status, notes, tags, assigned_agent, custom, own`; a null empties. Tells of each
    row what became of it, by place.
    """
    summary = ImportSummary(rows=[])
    seen: set[str] = set()
    groups: dict[Columns, dict[str, tuple[int, ImportRow]]] = {}
    for place, item in items:
        if place % GIVE_WAY_EVERY == 0:
            await asyncio.sleep(0)
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
    values = {name: checked_column(name, value) for name, value in change.values.items()}
    own = normalise_facts(change.own)
    overrides = normalise_facts({name: o.value for name, o in change.overrides.items()})
    checked = _CheckedEdit(change, values, own, overrides, now)
    return await db.retrying(partial(_edit, crm_id, checked))


async def delete(db: Database, crm_id: str, *, versions: Collection[int] | None = None) -> None:
    """Delete a CRM property; its link ends with it. Raises CrmPropertyNotFound, and VersionMismatch unless it is at one
    of `versions`.
    """
    await db.retrying(partial(_delete, crm_id, versions))


class _Sheet:
    """The columns of a table, and how a row of it becomes an ImportRow."""

    def __init__(self, header: Sequence[str]) -> None:
        column_of = _columns_by_name(header)
        if "id" not in column_of:
            raise InvalidInput("id", "the file has no column of this name; it holds the CRM's own id of each property")
        self._id = column_of["id"]
        self._plain = {name: column_of[name] for name in PLAIN_COLUMNS if name in column_of}
        self._own = {name: column for name, column in column_of.items() if name in BY_NAME}
        custom = tuple(column for column in header if column not in column_of.values())
        self.columns = Columns(tuple(self._plain), tuple(self._own), custom)

    def read(self, line: int, cells: Mapping[str, str], seen: set[str], summary: ImportSummary) -> ImportRow | None:
        """Return the row, or None after noting what is wrong with it."""
        crm_id = cells[self._id].strip()
        try:
            return self._row(_checked_id(crm_id, seen), cells)
        except InvalidInput as error:
            summary.errors.append(RowError(line, crm_id, error.code, str(error)))
            return None

    def _row(self, crm_id: str, cells: Mapping[str, str]) -> ImportRow:
        own = normalise_facts({name: cells[column] for name, column in self._own.items()})
        plain = {name: cells[column] for name, column in self._plain.items()}
        return ImportRow(
            id=crm_id,
            crm_status=_text(plain.get("crm_status")),
            notes=_text(plain.get("notes")),
            tags=_tags(plain.get("tags")),
            assigned_agent=_text(plain.get("assigned_agent")),
            own=_present(own),
            custom={c: text for c in self.columns.custom if (text := _text(cells[c])) is not None},
        )


def _columns_by_name(header: Sequence[str]) -> dict[str, str]:
    """Return which column holds what we know, by our name; of two the one that says it more plainly.

    Raises InvalidInput for two that say it as plainly: one of them would be lost.
    """
    found: dict[str, tuple[int, str]] = {}
    for column in header:
        rank, name = _claim(column)
        if name is None:
            continue
        held = found.get(name)
        if held is not None and held[0] == rank:
            raise InvalidInput(column, f"the columns {held[1]!r} and {column!r} are both {name}; leave one of them out")
        if held is None or rank < held[0]:
            found[name] = rank, column
    return {name: column for name, (_, column) in found.items()}


def _claim(column: str) -> tuple[int, str | None]:
    """Return what a column holds, and how plainly it says so (less is plainer); None for what is the CRM's own."""
    key = simple(column)
    alias = ALIASES.get(key)
    if column in _EXACT:
        return 0, _EXACT[column]
    if key in _SIMILAR:
        return 1, _SIMILAR[key]
    return 2, alias if alias in OWN_COLUMNS.values() else None


async def _import_chunk(
    db: Database,
    platform: str,
    columns: Columns,
    chunk: Mapping[str, tuple[int, ImportRow]],
    summary: ImportSummary,
    *,
    dry_run: bool = False,
) -> None:
    if not chunk:
        return
    rows = [row for _, row in chunk.values()]
    work = partial(_upsert, platform, columns, rows)
    made, changed, held_by = await db.retrying(partial(_taken_back, work) if dry_run else work)
    summary.made += len(made)
    summary.changed += len(changed)
    for crm_id, owner in held_by.items():
        error = IdTaken(crm_id, owner)
        summary.errors.append(RowError(chunk[crm_id][0], crm_id, error.code, str(error)))
    summary.unchanged += len(chunk) - len(made) - len(changed) - len(held_by)
    if summary.rows is not None:
        done = {crm_id: line for crm_id, (line, _) in chunk.items() if crm_id not in held_by}
        summary.rows += [RowDone(line, crm_id, _result(crm_id, made, changed)) for crm_id, line in done.items()]


async def _taken_back(work: Callable[[Connection], Awaitable[T]], conn: Connection) -> T:
    """Do it, and leave nothing of it; return what came of it."""
    undo = conn.transaction()
    await undo.start()
    try:
        return await work(conn)
    finally:
        await undo.rollback()


def _result(crm_id: str, made: Collection[str], changed: Collection[str]) -> str:
    if crm_id in made:
        return "made"
    return "changed" if crm_id in changed else "unchanged"


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
    if edit.asked.version is not None:
        _check_version(row, {edit.asked.version})
    _check_version(row, edit.asked.versions)
    details = {
        name: _details(edit.asked.overrides[name], _mls_value(row, name), edit.now) if value is not None else None
        for name, value in edit.overrides.items()
    }
    row |= edit.values
    row["own"] = _merged(row["own"], edit.own)
    row["overrides"] = _merged(row["overrides"], edit.overrides)
    row["override_details"] = _merged(row["override_details"], details)
    return await crm_properties.save_edit(conn, row)


def _check_version(row: Mapping[str, Any], versions: Collection[int] | None) -> None:
    if versions is not None and row["version"] not in versions:
        raise VersionMismatch(row["id"], versions, row["version"])


async def _delete(crm_id: str, versions: Collection[int] | None, conn: Connection) -> None:
    row = await crm_properties.lock_for_edit(conn, crm_id)
    _check_version(dict(row), versions)
    await crm_properties.delete(conn, crm_id)
    if row["mls_property_id"] is not None:
        await events.append(conn, [Event("property.unlinked", row["mls_property_id"], crm_id, row["platform"])])


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


def _mls_value(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the MLS says now; nothing where it was never asked, so that the first link makes no conflict."""
    if row["mls_property_id"] is None and name not in row["fields"]:
        return {}
    return {"mls_value": row["fields"].get(name)}


def _details(override: Override, mls_value: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Who, when, why, until when, and what the MLS said then: what a conflict is told by."""
    at = _instant(now.replace(microsecond=0))
    details = {**mls_value, "at": at, "by": override.by, "reason": override.reason}
    if override.expires_at is not None:
        details["expires_at"] = _instant(override.expires_at)
    return details


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return _present({**before, **change})


def checked_column(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
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
