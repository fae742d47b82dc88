"""CRM properties, and the documented endpoints that link them to listings."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from mls_crm_sync.core.errors import InvalidInput, SourceBroken
from mls_crm_sync.sources.table import Table, table_of
from mls_crm_sync.store import crm_properties, listings
from mls_crm_sync.store.crm_properties import ImportRow
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.crm import Edit, ImportSummary, Override
from mls_crm_sync.sync.links import RowError, whole_rows

from . import models
from .context import (
    Cursor,
    Here,
    Id,
    IfMatch,
    Limit,
    Service,
    known_crm_id,
    known_listing_id,
    merged,
    refuse_nul,
    source_checked,
)
from .problems import field_errors, responses
from .strict import StrictRoute, storable

router = APIRouter(prefix="/api/properties", tags=["CRM properties"], route_class=StrictRoute)


@router.get("", operation_id="list_properties")
async def list_properties(
    here: Here,
    platform: str | None = None,
    crm_status: str | None = None,
    sync_status: str | None = None,
    mls_property_id: str | None = None,
    q: Annotated[str | None, Query(description="Looked for in id, notes, address and MLS number.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.CrmProperty]:
    """List CRM properties by id."""
    refuse_nul(platform=platform, crm_status=crm_status, sync_status=sync_status, q=q, cursor=cursor)
    refuse_nul(mls_property_id=mls_property_id)
    async with here.db.connection() as conn:
        rows = await crm_properties.page(
            conn,
            stale_after=here.stale_after,
            platform=platform,
            crm_status=crm_status,
            sync_status=sync_status,
            property_id=mls_property_id,
            search=q,
            after=cursor or "",
            limit=limit,
        )
    following = rows[-1]["id"] if len(rows) == limit else None
    return models.Page(items=[models.CrmProperty.of(row) for row in rows], next_cursor=following)


@router.post("", operation_id="create_property", status_code=201, responses=responses(409))
async def create_property(here: Here, body: models.CrmPropertyNew, response: Response) -> models.CrmProperty:
    """Make a CRM property."""
    row = ImportRow(
        id=body.id if body.id is not None else f"crm_{secrets.token_hex(8)}",
        crm_status=body.crm_status,
        notes=body.notes,
        tags=tuple(body.tags),
        assigned_agent=body.assigned_agent,
        own=body.own,
        custom=storable("custom", body.custom),
    )
    await crm.create(here.db, body.platform, row)
    return await _read(here, row.id, response)


@router.post("/bulk", operation_id="bulk_upsert_properties")
async def bulk_upsert(here: Here, body: models.BulkUpsert) -> models.BulkResult:
    """Insert or update up to 10,000 CRM properties; each row has its own result, members left out are kept."""
    refused: list[RowError] = []
    summary = await crm.upsert_items(here.work, _bulk_rows(body.items, refused), platform=body.platform)
    result = _import_result(summary, [*refused, *summary.errors])
    results = [models.RowResult(row=r.line, id=r.id, result=r.result) for r in summary.rows or ()]
    results += [models.RowResult(row=e.row, id=e.id, result="error") for e in result.errors]
    return models.BulkResult(**dict(result), results=sorted(results, key=lambda r: r.row))


@router.post(
    "/import",
    operation_id="import_properties",
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def import_properties(
    here: Here,
    request: Request,
    platform: Annotated[str, Query(min_length=1, max_length=100)] = "default",
    dry_run: Annotated[bool | None, Query(description="Say what would come of it, and import nothing.")] = None,
) -> models.ImportResult:
    """Insert or update CRM properties from a CSV file with a header, as `crm import` does. A table that cannot be read
    to its end is refused, and nothing of it is imported. `row` is the line on which a row begins.
    """
    refuse_nul(platform=platform)
    sheet, rows, cut = await asyncio.to_thread(_read_csv, await request.body())
    summary = await crm.import_rows(here.work, sheet.header, rows, platform=platform, dry_run=bool(dry_run))
    return _import_result(summary, [*cut, *summary.errors])


@router.get("/{id}", operation_id="get_property", responses=responses(404))
async def get_property(here: Here, id: Id, response: Response) -> models.CrmProperty:  # noqa: A002 - the documented name
    """One CRM property."""
    return await _read(here, id, response)


@router.patch("/{id}", operation_id="edit_property", responses=responses(404, 412))
async def edit_property(
    here: Here,
    id: Id,  # noqa: A002 - the documented name
    body: models.CrmPropertyPatch,
    response: Response,
    if_match: IfMatch = None,
) -> models.CrmProperty:
    """Change what the CRM owns. With `version`, If-Match or both, refused when somebody changed it since."""
    given = body.model_dump(exclude_unset=True)
    values: dict[str, object] = {n: given[n] for n in ("crm_status", "notes", "assigned_agent") if n in given}
    values |= {name: given[name] or empty for name, empty in (("tags", []), ("custom", {})) if name in given}
    change = Edit(
        values=storable("custom", values),
        own=body.own,
        overrides={name: Override(value, reason=body.reason) for name, value in body.overrides.items()},
        version=body.version,
        versions=if_match,
    )
    await crm.edit(here.db, known_crm_id(id), change, now=datetime.now(UTC))
    return await _read(here, id, response)


@router.delete("/{id}", operation_id="delete_property", status_code=204, responses=responses(404, 412))
async def delete_property(here: Here, id: Id, if_match: IfMatch = None) -> None:  # noqa: A002 - the documented name
    """Delete a CRM property; its link ends with it. With If-Match, refused when somebody changed it since."""
    await crm.delete(here.db, known_crm_id(id), versions=if_match)


@router.post("/{id}/link-mls", operation_id="link_mls", responses=responses(404, 409))
async def link_mls(here: Here, id: Id, body: models.LinkRequest) -> models.LinkAnswer:  # noqa: A002 - the documented name
    """Link a CRM property to a listing and fill its fields at once. The same link again changes nothing."""
    target = known_listing_id(body.mls_property_id)
    result = await links.link(here.db, here.normaliser.unsynced, known_crm_id(id), target, move=body.move)
    message = "linked" if result.linked else "linked already"
    return models.LinkAnswer(
        message=message, id=id, mls_property_id=target, linked=result.linked, field_names=list(result.field_names)
    )


@router.delete("/{id}/unlink-mls", operation_id="unlink_mls", responses=responses(404, 409))
async def unlink_mls(
    here: Here,
    id: Id,  # noqa: A002 - the documented name
    body: models.UnlinkRequest | None = None,
    restore_own: Annotated[
        bool | None, Query(description="Give the CRM's own values back; else the MLS's stay.")
    ] = None,
) -> models.UnlinkAnswer:
    """Cut the link. The values stay frozen, or the CRM's own show again. Its member may come as a query parameter."""
    own = merged(body, restore_own=restore_own).get("restore_own", False)
    property_id = await links.unlink(here.db, known_crm_id(id), restore_own=own)
    return models.UnlinkAnswer(message="unlinked", id=id, mls_property_id=property_id, restored_own=own)


@router.get("/{id}/mls-data", operation_id="get_mls_data", responses=responses(404, 409))
async def get_mls_data(here: Here, id: Id) -> models.MlsData:  # noqa: A002 - the documented name
    """The listing that a CRM property is linked to."""
    async with here.db.connection() as conn:
        property_id = await crm_properties.linked_to(conn, known_crm_id(id))
        return models.MlsData.of(await listings.get(conn, property_id))


@router.post("/{id}/sync-from-mls", operation_id="sync_from_mls", responses=responses(404, 409))
async def sync_from_mls(
    here: Here,
    id: Id,  # noqa: A002 - the documented name
    body: models.SyncRequest | None = None,
    refresh: Annotated[bool | None, Query(description="Ask the listing's source for it first.")] = None,
) -> models.SyncAnswer:
    """Bring one CRM property in step with its listing; says which fields changed. With `refresh`, which may come as a
    query parameter, the listing is looked up at its source first.
    """
    crm_id = known_crm_id(id)
    if not merged(body, refresh=refresh).get("refresh", False):
        synced = await links.sync_crm_property(here.db, here.normaliser.unsynced, crm_id)
        async with here.db.connection() as conn:
            property_id = synced.property_id if synced else await crm_properties.linked_to(conn, crm_id)
        return _synced(id, property_id, list(synced.field_names) if synced else [], {})
    async with here.db.connection() as conn:
        property_id = await crm_properties.linked_to(conn, crm_id)
        before = await crm_properties.get(conn, crm_id, stale_after=here.stale_after)
    told = await source_checked(here, property_id)  # what it finds reaches the property at once
    await links.sync_crm_property(here.db, here.normaliser.unsynced, crm_id)
    async with here.db.connection() as conn:
        after = await crm_properties.get(conn, crm_id, stale_after=here.stale_after)
    was, now = before["fields"], after["fields"]
    return _synced(id, property_id, sorted(n for n in was.keys() | now.keys() if was.get(n) != now.get(n)), told)


def _synced(crm_id: str, property_id: str, names: list[str], told: Mapping[str, Any]) -> models.SyncAnswer:
    return models.SyncAnswer(
        message="brought in step" if names else "in step already",
        id=crm_id,
        mls_property_id=property_id,
        changed=bool(names),
        field_names=names,
        **told,
    )


async def _read(here: Service, crm_id: str, response: Response) -> models.CrmProperty:
    async with here.db.connection() as conn:
        row = await crm_properties.get(conn, known_crm_id(crm_id), stale_after=here.stale_after)
    response.headers["ETag"] = f'"{row["version"]}"'
    return models.CrmProperty.of(row)


def _read_csv(body: bytes) -> tuple[Table, list[tuple[int, Mapping[str, str]]], list[RowError]]:
    """Return the table, its whole rows with their lines, and the others. Read to its end before anything is imported:
    a request is refused whole. Raises InvalidInput.
    """
    cut: list[RowError] = []
    try:
        sheet = table_of(body, "the table")
        return sheet, list(whole_rows(sheet.rows, cut)), cut
    except SourceBroken as error:
        raise InvalidInput("body", error.detail) from error


def _bulk_rows(items: Sequence[object], refused: list[RowError]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the items that have the form, with their places from 1; note the others in `refused`."""
    for place, item in enumerate(items, start=1):
        try:
            yield place, _bulk_item(item)
        except InvalidInput as error:
            crm_id = item.get("id") if isinstance(item, dict) else None
            refused.append(RowError(place, crm_id if isinstance(crm_id, str) else "", error.code, str(error)))


def _bulk_item(item: object) -> dict[str, Any]:
    """Raises InvalidInput."""
    try:
        row = models.BulkItem.model_validate(item).model_dump(exclude_unset=True)
    except ValidationError as error:
        found = field_errors(error.errors())
        raise InvalidInput(found[0].field, "; ".join(one.reason for one in found[:3])) from error
    if "custom" in row:  # alone: a fact in `own` is read exactly, to its last decimal
        row["custom"] = storable("custom", row["custom"])
    return row


def _import_result(summary: ImportSummary, errors: list[RowError]) -> models.ImportResult:
    told = [models.RowProblem(row=e.line, id=e.id, code=e.code, detail=e.detail) for e in errors]
    return models.ImportResult(
        made=summary.made,
        changed=summary.changed,
        unchanged=summary.unchanged,
        errors=sorted(told, key=lambda e: e.row),
    )
