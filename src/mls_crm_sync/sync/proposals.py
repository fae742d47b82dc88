"""What people do with proposals: read, accept, dismiss. Only a person's word ever sets `crm_status`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from mls_crm_sync.core.errors import InvalidInput, NoProposal, VersionMismatch
from mls_crm_sync.core.proposals import ACTIVE, ENDED, suggested_status
from mls_crm_sync.store import crm_properties, proposals
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.store.proposals import Reason

from .crm import checked_column


@dataclass(frozen=True, slots=True)
class Accepted:
    """What `crm_status` became, and what the property's version is now."""

    crm_status: str
    version: int


async def page(
    db: Database,
    *,
    platform: str | None = None,
    reason: Reason | None = None,
    dismissed: bool = False,
    after: str = "",
    limit: int = 100,
) -> list[Row]:
    """Return proposals by the id of their CRM property; `core.proposals.suggested_status` says what to make of each."""
    async with db.connection() as conn:
        return await proposals.page(
            conn, ENDED, platform=platform, reason=reason, dismissed=dismissed, after=after, limit=limit
        )


async def accept(
    db: Database, crm_id: str, *, crm_status: str | None = None, versions: Collection[int] | None = None
) -> Accepted:
    """Set a CRM property's `crm_status` as is proposed, or to what the person says instead.

    Raises CrmPropertyNotFound, NoProposal (its listing came back, or somebody was quicker), VersionMismatch, and
    InvalidInput for a status that says nothing, or `active` again.
    """
    chosen = checked_column("crm_status", crm_status)
    if crm_status is not None and chosen in (None, ACTIVE):
        raise InvalidInput("crm_status", "to keep the property as it is, dismiss the proposal")
    return await db.retrying(partial(_accept, crm_id, chosen, versions))


async def dismiss(
    db: Database, crm_id: str, *, by: str, note: str | None = None, versions: Collection[int] | None = None
) -> int:
    """Keep the CRM property as it is: no proposal until the listing ends, or is called absent, another time. Return its
    version, which is the same.

    Raises CrmPropertyNotFound, NoProposal, VersionMismatch.
    """
    return await db.retrying(partial(_dismiss, crm_id, by, checked_column("notes", note), versions))


async def _accept(crm_id: str, crm_status: str | None, versions: Collection[int] | None, conn: Connection) -> Accepted:
    row, proposal = await _standing(conn, crm_id, versions)
    chosen = suggested_status(proposal["standard_status"]) if crm_status is None else crm_status
    return Accepted(chosen, await crm_properties.save_edit(conn, {**row, "crm_status": chosen}))


async def _dismiss(crm_id: str, by: str, note: str | None, versions: Collection[int] | None, conn: Connection) -> int:
    row, proposal = await _standing(conn, crm_id, versions)
    await proposals.dismiss(conn, proposal, note=note, by=by)
    return int(row["version"])


async def _standing(conn: Connection, crm_id: str, versions: Collection[int] | None) -> tuple[Row, Row]:
    """Lock a CRM property; return it and what is proposed of it, dismissed or not."""
    row = await crm_properties.lock_for_edit(conn, crm_id)
    if versions is not None and row["version"] not in versions:
        raise VersionMismatch(crm_id, versions, row["version"])
    found = await proposals.page(conn, ENDED, crm_id=crm_id, dismissed=True, limit=1)
    if not found:
        raise NoProposal(crm_id)
    return row, found[0]
