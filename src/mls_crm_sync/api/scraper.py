"""The documented endpoints of the scraper's side: references between listings and CRM properties, sync by hand.

The same verbs as the CRM's side: two doors, one meaning.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.sync import links

from . import models
from .context import Here, known_crm_id, known_listing_id, known_platform, merged, source_checked
from .problems import responses
from .strict import ReferenceRoute

router = APIRouter(tags=["references"], route_class=ReferenceRoute)


@router.post("/crm-property-reference", operation_id="add_crm_property_reference", responses=responses(404, 409))
async def add_reference(here: Here, body: models.ReferenceRequest) -> models.ReferenceAnswer:
    """Link a CRM property to a listing. An omitted platform means any; a wrong one is 404."""
    crm_id, property_id = known_crm_id(body.crm_property_id), known_listing_id(body.mls_property_id)
    where = known_platform(body.platform)
    result = await links.link(here.db, here.normaliser.unsynced, crm_id, property_id, platform=where)
    message = "reference added" if result.linked else "reference was there already"
    return models.ReferenceAnswer(
        message=message, mls_property_id=property_id, crm_property_id=crm_id, platform=result.platform
    )


@router.delete("/crm-property-reference", operation_id="remove_crm_property_reference", responses=responses(404))
async def remove_reference(
    here: Here,
    body: models.ReferenceRemoval | None = None,
    mls_property_id: Annotated[str | None, Query()] = None,
    crm_property_id: Annotated[str | None, Query()] = None,
    platform: Annotated[str | None, Query()] = None,
) -> models.ReferenceAnswer:
    """Cut the link between these two; members may come as query parameters. The values stay frozen."""
    given = merged(body, mls_property_id=mls_property_id, crm_property_id=crm_property_id, platform=platform)
    for needed in ("mls_property_id", "crm_property_id"):
        if needed not in given:
            raise InvalidInput(needed, "is needed, in the body or as a query parameter")
    crm_id, property_id = known_crm_id(given["crm_property_id"]), known_listing_id(given["mls_property_id"])
    where = known_platform(given.get("platform"))
    found = await links.remove_reference(here.db, crm_id, property_id, platform=where)
    return models.ReferenceAnswer(
        message="reference removed", mls_property_id=property_id, crm_property_id=crm_id, platform=found
    )


@router.post("/sync-property", operation_id="sync_property", responses=responses(404))
async def sync_property(
    here: Here,
    body: models.SyncPropertyRequest | None = None,
    mls_property_id: Annotated[str | None, Query()] = None,
    platform: Annotated[str | None, Query()] = None,
    refresh: Annotated[bool | None, Query(description="Ask the listing's source for it first.")] = None,
) -> models.SyncPropertyAnswer:
    """Bring the CRM properties of one listing, or without one all linked properties, in step. With `refresh` the
    listing is looked up at its source first.
    """
    given = merged(body, mls_property_id=mls_property_id, platform=platform, refresh=refresh)
    asked = given.get("refresh", False)
    property_id, where = given.get("mls_property_id"), known_platform(given.get("platform"))
    unsynced = here.normaliser.unsynced
    told: dict[str, Any] = {}
    if property_id is None and asked:
        raise InvalidInput(
            "refresh", "needs mls_property_id; POST /api/active-properties/run reads all that are active"
        )
    if property_id is None:
        summary = await links.sync_all(here.work, unsynced, platform=where)
    else:
        told = await source_checked(here, known_listing_id(property_id)) if asked else {}
        summary = await links.sync_listing(here.db, unsynced, known_listing_id(property_id), platform=where)
    changed = len(summary.changed)
    return models.SyncPropertyAnswer(
        success=True,
        message=f"{summary.properties} in step, {changed} of them only now",
        mls_property_id=property_id,
        crm_properties_updated=summary.properties,
        changed=changed,
        **told,
    )
