"""Listings that would vanish many at once: what is held, and what a person decides."""

from __future__ import annotations

from fastapi import APIRouter

from mls_crm_sync.core.errors import HoldNotFound
from mls_crm_sync.store import absence as store
from mls_crm_sync.sync.absence import decide_hold

from . import models
from .context import Caller, Cursor, Here, Limit, number_of
from .problems import responses
from .strict import StrictRoute

router = APIRouter(prefix="/api/absence-holds", tags=["listings"], route_class=StrictRoute)
NEWEST = 2**62
LARGEST = 2**63 - 1


@router.get("", operation_id="list_absence_holds")
async def list_holds(
    here: Here,
    decided: bool = False,  # noqa: FBT002 - a query member
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.AbsenceHold]:
    """Holds that wait for a person, newest first; with `decided` those that are decided as well."""
    before = number_of(cursor, NEWEST)
    async with here.db.connection() as conn:
        rows = await store.holds(conn, before=before, decided=decided, limit=limit)
    following = str(rows[-1]["hold_id"]) if len(rows) == limit else None
    return models.Page(items=[models.AbsenceHold.model_construct(**row) for row in rows], next_cursor=following)


@router.post("/{hold_id}/release", operation_id="release_absence_hold", responses=responses(404, 409))
async def release(here: Here, hold_id: int, caller: Caller) -> models.HoldAnswer:
    """The listings are gone: call them absent."""
    return await _decided(here, hold_id, "released", caller)


@router.post("/{hold_id}/reject", operation_id="reject_absence_hold", responses=responses(404, 409))
async def reject(here: Here, hold_id: int, caller: Caller) -> models.HoldAnswer:
    """The listings are there: passes that do not show them are counted anew."""
    return await _decided(here, hold_id, "rejected", caller)


async def _decided(here: Here, hold_id: int, decision: store.Decision, by: str) -> models.HoldAnswer:
    if not 0 < hold_id <= LARGEST:
        raise HoldNotFound(hold_id)
    listings = await decide_hold(here.work, hold_id, decision, by)
    return models.HoldAnswer(message=decision, hold_id=hold_id, listings=listings)
