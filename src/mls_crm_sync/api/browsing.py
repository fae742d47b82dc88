"""What people look at: how things stand, lists of properties, a property against its listing, and what changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from mls_crm_sync import __version__
from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.core.ownership import compare, effective
from mls_crm_sync.store import browsing, crm_properties
from mls_crm_sync.store.browsing import Happened, Touched
from mls_crm_sync.sync import overview

from . import models
from .context import (
    Caller,
    Cursor,
    Here,
    Id,
    Limit,
    Scopes,
    cursor_of,
    known_crm_id,
    number_of,
    place_of,
    refuse_nul,
)
from .problems import responses
from .strict import StrictRoute

router = APIRouter(tags=["browsing"], route_class=StrictRoute)
NEWEST = 2**63 - 1


@router.get("/api/me", operation_id="get_me")
async def get_me(caller: Caller, scopes: Scopes) -> models.Me:
    """Who asks, and what they may do."""
    return models.Me(caller=caller, local=caller == "local", scopes=sorted(scopes))


@router.get("/api/about", operation_id="get_about")
async def get_about(here: Here) -> models.About:
    """What the service is, and what it was started with."""
    return models.About(
        version=__version__,
        now=datetime.now(UTC),
        stale_after_seconds=round(here.stale_after.total_seconds()),
        minimum_interval_seconds=round(here.minimum_interval.total_seconds()),
        disclaimer=here.disclaimer,
    )


@router.get("/api/overview", operation_id="get_overview")
async def get_overview(here: Here) -> models.Overview:
    """How things stand: how fresh active properties are, what changed in a day, what needs somebody."""
    return models.Overview.of(await overview.look(here.db, here.sealer, here.stale_after), here.stale_after)


@router.get("/api/property-summaries", operation_id="list_property_summaries")
async def list_summaries(
    here: Here,
    platform: str | None = None,
    crm_status: str | None = None,
    standard_status: Annotated[str | None, Query(description="StandardStatus of the linked listing.")] = None,
    sync_status: Annotated[list[str] | None, Query(description="Any of these.", max_length=10)] = None,
    linked: bool | None = None,
    city: Annotated[str | None, Query(description="City, whatever its case.")] = None,
    q: Annotated[str | None, Query(description="Looked for in id, notes, address and MLS number.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.PropertySummaries:
    """CRM properties as a list shows them, the last touched first."""
    refuse_nul(platform=platform, crm_status=crm_status, standard_status=standard_status, city=city, q=q, cursor=cursor)
    place = place_of(cursor)
    async with here.db.connection() as conn:
        rows = await browsing.summaries(
            conn,
            stale_after=here.stale_after,
            platform=platform,
            crm_status=crm_status,
            standard_status=standard_status,
            linked=linked,
            city=city,
            search=q,
            sync_statuses=sync_status,
            before=Touched(*place) if place else None,
            limit=limit,
        )
    following = cursor_of(rows[-1]["touched_at"], rows[-1]["id"]) if len(rows) == limit else None
    total = rows[0]["total"] if rows else (0 if cursor is None else None)
    items = [models.PropertySummary.of(row) for row in rows]
    return models.PropertySummaries(items=items, next_cursor=following, total=total)


@router.get("/api/properties/{id}/compare", operation_id="compare_property", responses=responses(404))
async def compare_property(here: Here, id: Id) -> models.Comparison:  # noqa: A002 - the documented name
    """Every field of a CRM property: what the MLS says, what is the CRM's own, what a user set over it."""
    async with here.db.connection() as conn:
        row = await crm_properties.get(conn, known_crm_id(id), stale_after=here.stale_after)
        listing = row["mls_property_id"]
        changes = await browsing.last_changes(conn, listing) if listing is not None else {}
    own, fields, overrides = row["own"], row["fields"], row["overrides"]
    return models.Comparison(
        id=row["id"],
        version=row["version"],
        mls_property_id=listing,
        sync_status=row["sync_status"],
        frozen=listing is None and bool(fields),
        last_seen_at=row["last_seen_at"],
        synced_at=row["synced_at"],
        courtesy_of=effective(own, fields, overrides).get("ListOfficeName"),
        fields=models.compared(compare(own, fields, overrides), row["override_details"], changes),
    )


@router.get("/api/properties/{id}/history", operation_id="get_property_history", responses=responses(404))
async def get_history(
    here: Here,
    id: Id,  # noqa: A002 - the documented name
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.Happening]:
    """What happened to the facts of a CRM property, newest first: its links, and what changed while they held."""
    place = place_of(cursor)
    before = Happened(place[0], _number(place[1])) if place else None
    crm_id = known_crm_id(id)
    async with here.db.connection() as conn:
        await crm_properties.get(conn, crm_id, stale_after=here.stale_after)
        rows = await browsing.history(conn, crm_id, here.normaliser.unsynced, before=before, limit=limit)
    following = cursor_of(rows[-1]["at"], rows[-1]["place"]) if len(rows) == limit else None
    return models.Page(items=[models.Happening.of(row) for row in rows], next_cursor=following)


@router.get("/api/changes", operation_id="list_market_changes")
async def list_changes(
    here: Here,
    linked: Annotated[bool | None, Query(description="Of listings that a CRM property follows, or others.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.Page[models.MarketChange]:
    """What the market changed of listings, newest first; new listings are not among it."""
    async with here.db.connection() as conn:
        rows = await browsing.market_changes(conn, linked=linked, before=number_of(cursor, NEWEST), limit=limit)
    following = str(rows[-1]["change_id"]) if len(rows) == limit else None
    return models.Page(items=[models.MarketChange.of(row) for row in rows], next_cursor=following)


def _number(text: str) -> int:
    """Return what a cursor of a history ends with. Raises InvalidInput."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > NEWEST:
        raise InvalidInput("cursor", "is not one that this list gave")
    return int(text)
