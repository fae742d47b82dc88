"""Active CRM properties whose listing is over: what is proposed, and what a person makes of it."""

from __future__ import annotations

from fastapi import APIRouter

from mls_crm_sync.core.proposals import ACTIVE
from mls_crm_sync.store.proposals import Reason
from mls_crm_sync.sync import proposals

from . import models
from .context import Caller, Cursor, Here, Id, IfMatch, Limit, known_crm_id, refuse_nul
from .problems import responses
from .strict import StrictRoute

router = APIRouter(prefix="/api/proposals", tags=["CRM properties"], route_class=StrictRoute)


@router.get("", operation_id="list_proposals")
async def list_proposals(
    here: Here,
    platform: str | None = None,
    reason: Reason | None = None,
    dismissed: bool = False,  # noqa: FBT002 - a query member
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.Proposal]:
    """Active CRM properties whose listing is over or absent, by id; with `dismissed` those that were dismissed too."""
    refuse_nul(platform=platform, cursor=cursor)
    rows = await proposals.page(
        here.db, platform=platform, reason=reason, dismissed=dismissed, after=cursor or "", limit=limit
    )
    following = rows[-1]["crm_property_id"] if len(rows) == limit else None
    return models.Page(items=[models.Proposal.of(row) for row in rows], next_cursor=following)


@router.post("/{id}/accept", operation_id="accept_proposal", responses=responses(404, 409, 412))
async def accept(
    here: Here,
    id: Id,  # noqa: A002 - the CRM property's
    body: models.ProposalAcceptance | None = None,
    if_match: IfMatch = None,
) -> models.ProposalAnswer:
    """Set `crm_status` as is suggested, or to what the body says. With If-Match, refused when somebody changed the CRM
    property since.
    """
    asked = body.crm_status if body else None
    done = await proposals.accept(here.db, known_crm_id(id), crm_status=asked, versions=if_match)
    return models.ProposalAnswer(
        message="accepted", crm_property_id=id, crm_status=done.crm_status, version=done.version
    )


@router.post("/{id}/dismiss", operation_id="dismiss_proposal", responses=responses(404, 409, 412))
async def dismiss(
    here: Here,
    id: Id,  # noqa: A002 - the CRM property's
    caller: Caller,
    body: models.ProposalDismissal | None = None,
    if_match: IfMatch = None,
) -> models.ProposalAnswer:
    """Keep the property active: nothing is proposed of it until its listing ends, or is called absent, another time."""
    note = body.note if body else None
    version = await proposals.dismiss(here.db, known_crm_id(id), by=caller, note=note, versions=if_match)
    return models.ProposalAnswer(message="dismissed", crm_property_id=id, crm_status=ACTIVE, version=version)
