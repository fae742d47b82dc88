"""CRM properties, and the documented endpoints that link them to listings."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from mls_crm_sync.core.errors import CrmPropertyNotFound, InvalidInput
from mls_crm_sync.store import crm_properties, listings
from mls_crm_sync.store.crm_properties import ImportRow
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.crm import Edit, ImportSummary, Override
from mls_crm_sync.sync.links import RowError

from . import models
from .context import Cursor, Here, Id, Limit, Service, refuse_nul
from .problems import responses
from .strict import StrictRoute, storable

router = APIRouter(prefix="/api/properties", tags=["CRM properties"], route_class=StrictRoute)
IfMatch = Annotated[str | None, Header(description="The version that was read, as the ETag gave it.")]


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
async def bulk_upsert(here: Here, body: models.BulkUpsert) -> models.ImportResult:
    """Insert or update up to 10,000 CRM properties; each row has its own result, members left out are kept."""
    items = [storable("items", item.model_dump(exclude_unset=True)) for item in body.items]
    summary = await crm.upsert_items(here.work, items, platform=body.platform)
    return _import_result(summary, summary.errors)


@router.post(
    "/import",
    operation_id="import_properties",
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def import_properties(
    here: Here, request: Request, platform: Annotated[str, Query(min_length=1, max_length=100)] = "default"
) -> models.ImportResult:
    """Insert or update CRM properties from a CSV file with a header; columns as `crm import` takes them."""
    refuse_nul(platform=platform)
    try:
        text = (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("body", f"byte {error.start} is not UTF-8") from error
    header, rows, cut = _csv_rows(text)
    summary = await crm.import_rows(here.work, header, rows, platform=platform)
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
    """Change what the CRM owns. With `version`, or If-Match, refused when somebody changed it since."""
    given = body.model_dump(exclude_unset=True)
    values: dict[str, object] = {n: given[n] for n in ("crm_status", "notes", "assigned_agent") if n in given}
    values |= {name: given[name] or empty for name, empty in (("tags", []), ("custom", {})) if name in given}
    change = Edit(
        values=storable("custom", values),
        own=given.get("own") or {},
        overrides={name: Override(value, reason=body.reason) for name, value in (given.get("overrides") or {}).items()},
        version=_version(if_match, body.version),
    )
    await crm.edit(here.db, _known(id), change, now=datetime.now(UTC))
    return await _read(here, id, response)


@router.delete("/{id}", operation_id="delete_property", status_code=204, responses=responses(404))
async def delete_property(here: Here, id: Id) -> None:  # noqa: A002 - the documented name
    """Delete a CRM property; its link ends with it."""
    await crm.delete(here.db, _known(id))


@router.post("/{id}/link-mls", operation_id="link_mls", responses=responses(404, 409))
async def link_mls(here: Here, id: Id, body: models.LinkRequest) -> models.LinkAnswer:  # noqa: A002 - the documented name
    """Link a CRM property to a listing and fill its fields at once. The same link again changes nothing."""
    target = body.mls_property_id
    result = await links.link(here.db, here.normaliser.unsynced, _known(id), target, move=body.move)
    message = "linked" if result.linked else "linked already"
    return models.LinkAnswer(
        message=message, id=id, mls_property_id=target, linked=result.linked, field_names=list(result.field_names)
    )


@router.delete("/{id}/unlink-mls", operation_id="unlink_mls", responses=responses(404, 409))
async def unlink_mls(
    here: Here,
    id: Id,  # noqa: A002 - the documented name
    restore_own: Annotated[bool, Query(description="Give the CRM's own values back; else the MLS's stay.")] = False,  # noqa: FBT002 - a query parameter
) -> models.UnlinkAnswer:
    """Cut the link. The values stay frozen, or the CRM's own show again."""
    property_id = await links.unlink(here.db, _known(id), restore_own=restore_own)
    return models.UnlinkAnswer(message="unlinked", id=id, mls_property_id=property_id, restored_own=restore_own)


@router.get("/{id}/mls-data", operation_id="get_mls_data", responses=responses(404, 409))
async def get_mls_data(here: Here, id: Id) -> models.MlsData:  # noqa: A002 - the documented name
    """The listing that a CRM property is linked to."""
    async with here.db.connection() as conn:
        property_id = await crm_properties.linked_to(conn, _known(id))
        return models.MlsData.of(await listings.get(conn, property_id))


@router.post("/{id}/sync-from-mls", operation_id="sync_from_mls", responses=responses(404, 409))
async def sync_from_mls(here: Here, id: Id) -> models.SyncAnswer:  # noqa: A002 - the documented name
    """Bring one CRM property in step with its listing; says which fields changed."""
    crm_id = _known(id)
    synced = await links.sync_crm_property(here.db, here.normaliser.unsynced, crm_id)
    async with here.db.connection() as conn:
        property_id = synced.property_id if synced else await crm_properties.linked_to(conn, crm_id)
    names = list(synced.field_names) if synced else []
    message = "brought in step" if synced else "in step already"
    return models.SyncAnswer(
        message=message, id=id, mls_property_id=property_id, changed=synced is not None, field_names=names
    )


async def _read(here: Service, crm_id: str, response: Response) -> models.CrmProperty:
    async with here.db.connection() as conn:
        row = await crm_properties.get(conn, _known(crm_id), stale_after=here.stale_after)
    response.headers["ETag"] = f'"{row["version"]}"'
    return models.CrmProperty.of(row)


def _known(crm_id: str) -> str:
    """Ids are opaque: what cannot be one is simply not found."""
    if "\x00" in crm_id:
        raise CrmPropertyNotFound(crm_id)
    return crm_id


def _version(if_match: str | None, version: int | None) -> int | None:
    """Raises InvalidInput for an If-Match that is no ETag of ours."""
    if if_match is None or if_match == "*":
        return version
    text = if_match.removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise InvalidInput("If-Match", "is no ETag of a CRM property")
    return int(text)


def _csv_rows(text: str) -> tuple[list[str], Iterator[tuple[int, Mapping[str, str]]], list[RowError]]:
    """Return the header, the whole rows with their lines, and the others. Raises InvalidInput."""
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    cut: list[RowError] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise InvalidInput("body", f"line {reader.line_num}: {error}") from error
    if len(set(header)) != len(header):
        raise InvalidInput("body", "the header names a column twice")
    for line, cells in rows:
        if len(cells) != len(header):
            cut.append(RowError(line, "", "cells", "the row has another number of cells than the header"))
    whole = ((line, dict(zip(header, cells, strict=True))) for line, cells in rows if len(cells) == len(header))
    return header, whole, cut


def _import_result(summary: ImportSummary, errors: list[RowError]) -> models.ImportResult:
    told = [models.RowProblem(row=e.line, id=e.id, code=e.code, detail=e.detail) for e in errors]
    return models.ImportResult(
        made=summary.made,
        changed=summary.changed,
        unchanged=summary.unchanged,
        errors=sorted(told, key=lambda e: e.row),
    )
