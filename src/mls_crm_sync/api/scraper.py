"""The documented endpoints of the scraper's side: references between listings and CRM properties, sync by hand.

The same verbs as the CRM's side: two doors, one meaning.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.sync import links

from . import models
from .context import Here, refuse_nul
from .problems import responses
from .strict import StrictRoute

router = APIRouter(tags=["references"], route_class=StrictRoute)


@router.post("/crm-property-reference", operation_id="add_crm_property_reference", responses=responses(404, 409))
async def add_reference(here: Here, body: models.ReferenceRequest) -> models.ReferenceAnswer:
    """Link a CRM property to a listing. An omitted platform means any; a wrong one is 404."""
    result = await links.link(
        here.db, here.normaliser.unsynced, body.crm_property_id, body.mls_property_id, platform=body.platform
    )
    message = "reference added" if result.linked else "reference was there already"
    return models.ReferenceAnswer(
        message=message,
        mls_property_id=body.mls_property_id,
        crm_property_id=body.crm_property_id,
        platform=result.platform,
    )


@router.delete("/crm-property-reference", operation_id="remove_crm_property_reference", responses=responses(404))
async def remove_reference(
    here: Here,
    body: models.ReferenceRequest | None = None,
    mls_property_id: Annotated[str | None, Query()] = None,
    crm_property_id: Annotated[str | None, Query()] = None,
    platform: Annotated[str | None, Query()] = None,
) -> models.ReferenceAnswer:
    """Cut the link between these two; members may come as query parameters. The values stay frozen."""
    refuse_nul(mls_property_id=mls_property_id, crm_property_id=crm_property_id, platform=platform)
    property_id = body.mls_property_id if body else mls_property_id
    crm_id = body.crm_property_id if body else crm_property_id
    if property_id is None or crm_id is None:
        missing = "mls_property_id" if property_id is None else "crm_property_id"
        raise InvalidInput(missing, "is needed, in the body or as a query parameter")
    where = body.platform if body else platform
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
) -> models.SyncPropertyAnswer:
    """Bring the CRM properties of one listing, or without one all linked properties, in step."""
    refuse_nul(mls_property_id=mls_property_id, platform=platform)
    property_id = body.mls_property_id if body and body.mls_property_id is not None else mls_property_id
    where = body.platform if body and body.platform is not None else platform
    unsynced = here.normaliser.unsynced
    if property_id is None:
        summary = await links.sync_all(here.work, unsynced, platform=where)
    else:
        summary = await links.sync_listing(here.db, unsynced, property_id, platform=where)
    changed = len(summary.changed)
    return models.SyncPropertyAnswer(
        success=True,
        message=f"{summary.properties} in step, {changed} of them only now",
        mls_property_id=property_id,
        crm_properties_updated=summary.properties,
        changed=changed,
    )
