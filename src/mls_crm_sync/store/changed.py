"""What is written of listings that changed: all of it, and what follows from it in the CRM, in one statement."""

from __future__ import annotations

from collections.abc import Sequence

from mls_crm_sync.core.changes import Change, ChangeType

from . import crm_properties, listings, payloads
from .crm_properties import Synced
from .database import Connection, json_text
from .listings import UPDATE_STATES, ListingWrite
from .queries import load

_SQL = load(__file__)

FEW_CHANGES = 10
"""Up to so many, history goes along with the statement: a COPY of its own takes longer to begin than it saves."""


async def write(
    conn: Connection,
    run_id: int,
    norm_version: str,
    writes: Sequence[ListingWrite],
    *,
    changes: Sequence[tuple[str, Change]],
    unsynced: Sequence[str],
) -> list[Synced]:
    """Write locked listings, and history as by `listings.insert_changes`, and bring the CRM properties linked to them
    in step, as by `crm_properties.bring_in_step`. `last_changed_at` moves where the market has changed something.
    """
    along = changes if writes and len(changes) <= FEW_CHANGES else ()
    synced: list[Synced] = []
    if writes:
        rows = await conn.fetch(
            crm_properties.in_step(_SQL["facts"], along=_SQL["along"].replace("(update_states)", f"({UPDATE_STATES})")),
            *listings.state_columns(norm_version, writes),
            run_id,
            [property_id for property_id, _ in along],
            [change.type for _, change in along],
            [change.field for _, change in along],
            [json_text(change.previous) for _, change in along],
            [json_text(change.new) for _, change in along],
            payloads.CODEC,
            [w.text.decode() for w in writes],
            [w.payload for w in writes],
            [any(c.type is not ChangeType.RENORMALISED for c in w.changes) for w in writes],
            *zip(*(w.searched for w in writes), strict=True),
            list(unsynced),
        )
        synced = crm_properties.synced(rows)
    if not along:
        await listings.insert_changes(conn, run_id, changes)
    return synced
