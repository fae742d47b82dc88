"""Listings: what the MLS says, its changes, and listings that are pushed."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from mls_crm_sync.core.errors import InvalidInput, ListingNotFound
from mls_crm_sync.core.listing import normalise_facts
from mls_crm_sync.store import absence, crm_properties, listings
from mls_crm_sync.store.listings import ListingState
from mls_crm_sync.sync.purge import Purged, purge, purge_all, rule, would_purge
from mls_crm_sync.sync.push import push

from . import models
from .context import Cursor, Here, Id, Limit, known_listing_id, number_of, refuse_nul
from .problems import responses
from .strict import StrictRoute

router = APIRouter(prefix="/api/mls-properties", tags=["listings"], route_class=StrictRoute)
NEWEST = 2**63 - 1


@router.get("", operation_id="list_mls_properties")
async def list_listings(
    here: Here,
    source: str | None = None,
    status: Annotated[str | None, Query(description="StandardStatus")] = None,
    city: str | None = None,
    zip: Annotated[str | None, Query(description="PostalCode")] = None,  # noqa: A002 - the word people use
    mls_number: Annotated[str | None, Query(description="ListingId")] = None,
    linked: bool | None = None,
    state: Annotated[ListingState | None, Query(description="Whether it is shown still, with evidence.")] = None,
    q: Annotated[str | None, Query(description="Looked for in key, MLS number and address.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.ListingSummary]:
    """List listings by id."""
    refuse_nul(source=source, status=status, city=city, zip=zip, mls_number=mls_number, q=q, cursor=cursor)
    async with here.db.connection() as conn:
        rows = await listings.page(
            conn,
            source=source,
            status=_status(status),
            city=_composed(city),
            postal_code=_composed(zip),
            listing_id=_composed(mls_number),
            linked=linked,
            state=state,
            search=_composed(q),
            after=cursor or "",
            limit=limit,
        )
        why = await absence.evidence_of(conn, [row["property_id"] for row in rows])
    following = rows[-1]["property_id"] if len(rows) == limit else None
    items = [models.ListingSummary.of(row, why.get(row["property_id"])) for row in rows]
    return models.Page(items=items, next_cursor=following)


@router.post("", operation_id="push_mls_properties")
async def push_listings(here: Here, body: models.Push) -> models.PushResult:
    """Take listings in through the same ingest as any source; linked CRM properties follow at once."""
    result = await push(here.work, here.normaliser, body.listings, source=body.source, location=body.location)
    tally = result.run.tally
    errors = [models.RowProblem(row=e.line, id=e.id, code=e.code, detail=e.detail) for e in result.quarantined]
    return models.PushResult(
        run_id=result.run.run_id,
        read=tally.read,
        new=tally.new,
        changed=tally.changed,
        unchanged=tally.unchanged,
        quarantined=tally.quarantined,
        crm_updated=tally.crm_updated,
        changes=dict(tally.changes),
        items=[models.PushedListing(listing_key=k, property_id=p) for k, p in sorted(result.ids.items())],
        errors=errors,
    )


@router.post("/purge", operation_id="purge_mls_properties")
async def purge_listings(here: Here, body: models.PurgeRequest) -> models.PurgeAllAnswer:
    """Take the content of all listings that a rule names away, or say how many there are; tombstones and links stay."""
    refuse_nul(source=body.source)
    asked = rule(
        source=body.source,
        statuses=body.status,
        not_seen_for=_days(body.not_seen_for_days),
        absent_for=_days(body.absent_for_days),
    )
    counts = [models.PurgeCount.model_construct(**row) for row in await would_purge(here.work, asked)]
    done = Purged() if body.dry_run else await purge_all(here.work, asked)
    message = "dry run, nothing was purged" if body.dry_run else "purged"
    return models.PurgeAllAnswer(
        message=message, counts=counts, listings_purged=done.listings, crm_properties_emptied=done.crm_properties
    )


@router.get("/{id}", operation_id="get_mls_property", responses=responses(404))
async def get_listing(here: Here, id: Id) -> models.Listing:  # noqa: A002 - as the other door says
    """One listing."""
    async with here.db.connection() as conn:
        row = await listings.get(conn, known_listing_id(id))
        why = await absence.evidence_of(conn, [id])
    return models.Listing.of(row, why.get(id))


@router.get("/{id}/changes", operation_id="list_mls_property_changes", responses=responses(404))
async def list_changes(here: Here, id: Id, limit: Limit = 100, cursor: Cursor = None) -> models.Page[models.Change]:  # noqa: A002 - as the other door says
    """What changed of a listing, newest first."""
    before = number_of(cursor, NEWEST)
    async with here.db.connection() as conn:
        if not await listings.exists(conn, known_listing_id(id)):
            raise ListingNotFound(id)
        rows = await listings.changes(conn, id, before=before, limit=limit)
    following = str(rows[-1]["change_id"]) if len(rows) == limit else None
    return models.Page(items=[models.Change.of(row) for row in rows], next_cursor=following)


@router.get("/{id}/crm-properties", operation_id="list_crm_properties_of_listing", responses=responses(404))
async def list_linked(here: Here, id: Id, limit: Limit = 100, cursor: Cursor = None) -> models.Page[models.CrmProperty]:  # noqa: A002 - as the other door says
    """The CRM properties linked to a listing, by id."""
    refuse_nul(cursor=cursor)
    async with here.db.connection() as conn:
        if not await listings.exists(conn, known_listing_id(id)):
            raise ListingNotFound(id)
        rows = await crm_properties.page(
            conn, stale_after=here.stale_after, property_id=id, after=cursor or "", limit=limit
        )
    following = rows[-1]["id"] if len(rows) == limit else None
    return models.Page(items=[models.CrmProperty.of(row) for row in rows], next_cursor=following)


@router.delete("/{id}", operation_id="purge_mls_property", responses=responses(404))
async def purge_listing(here: Here, id: Id) -> models.PurgeAnswer:  # noqa: A002 - as the other door says
    """Take a listing's content away, here and in the CRM; a content-free tombstone and the links stay."""
    emptied = await purge(here.db, known_listing_id(id))
    return models.PurgeAnswer(message="purged", property_id=id, crm_properties_emptied=emptied)


def _days(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(days=number)


def _status(status: str | None) -> str | None:
    """Raises InvalidInput in the words of the caller, who asked for no `StandardStatus`."""
    try:
        return None if status is None else normalise_facts({"StandardStatus": status})["StandardStatus"]
    except InvalidInput as error:
        raise InvalidInput("status", error.detail) from error


def _composed(text: str | None) -> str | None:
    """Facts are kept in NFC, so what is looked for in them is: a caller may spell é in two characters."""
    return None if text is None else unicodedata.normalize("NFC", text)
