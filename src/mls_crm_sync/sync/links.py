"""Linking, unlinking and syncing by hand.

Linking shares the listing's lock in a statement of its own before it copies, so that no ingest of that listing can
commit between the copy and ours; then it locks the CRM row; then it copies with the very statement that ingest uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mls_crm_sync.core.errors import (
    AlreadyLinked,
    AmbiguousListingKey,
    CrmPropertyNotFound,
    ListingNotFound,
    NotLinked,
    PlatformNotFound,
    ReferenceNotFound,
    Refused,
    SourceBroken,
)
from mls_crm_sync.sources.table import TableRow
from mls_crm_sync.store import crm_properties, events, listings
from mls_crm_sync.store.crm_properties import LinkTarget, Synced
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.store.events import Event

ROWS_PER_TRANSACTION = 500


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One row of a link file: the CRM property, and its listing by id or by the source's key."""

    line: int
    crm_id: str
    property_id: str | None = None
    listing_key: str | None = None


@dataclass(frozen=True, slots=True)
class RowError:
    line: int
    id: str
    code: str
    detail: str


@dataclass(slots=True)
class LinkSummary:
    """What came of a link file. `linked + unchanged + len(errors)` is the number of rows."""

    linked: int = 0
    unchanged: int = 0
    filled: int = 0  # CRM properties whose fields differed and were brought in step
    errors: list[RowError] = field(default_factory=list)
    broken: SourceBroken | None = None  # why the rows came to an end too early; what came before is linked


@dataclass(frozen=True, slots=True)
class LinkResult:
    linked: bool  # False: the same link stood already
    platform: str
    field_names: tuple[str, ...]  # the fields that linking filled or changed


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """What a sync by hand found: the properties brought or found in step, and those of them that differed."""

    properties: int
    changed: tuple[Synced, ...]


@dataclass(slots=True)
class _Linked:
    """The outcome of one transaction: each CRM id is in exactly one of the first three."""

    links: dict[str, str] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    refused: dict[str, Refused] = field(default_factory=dict)
    synced: list[Synced] = field(default_factory=list)
    platforms: dict[str, str] = field(default_factory=dict)


def whole_rows(rows: Iterable[TableRow], cut: list[RowError]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the rows that have a cell for each column; note the others in `cut`."""
    for row in rows:
        if row.trouble is not None:
            cut.append(RowError(row.line, "", "bad_csv", row.trouble))
        elif row.cells is None:
            cut.append(RowError(row.line, "", "cells", "the row has another number of cells than the header"))
        else:
            yield row.line, row.cells


async def link(
    db: Database,
    unsynced: Sequence[str],
    crm_id: str,
    property_id: str,
    *,
    move: bool = False,
    platform: str | None = None,
) -> LinkResult:
    """Link a CRM property to a listing and fill its fields at once. The same link again changes nothing.

    `unsynced` are the fields that do not go to the CRM (`Normaliser.unsynced`). `platform` None means any. Raises
    CrmPropertyNotFound (also for a property of another platform), ListingNotFound, and AlreadyLinked unless `move`.
    """
    done = await db.retrying(partial(_link_many, {crm_id: property_id}, unsynced, move, platform))
    if crm_id in done.refused:
        raise done.refused[crm_id]
    names = next((s.field_names for s in done.synced), ())
    return LinkResult(crm_id in done.links, done.platforms[crm_id], names)


async def link_rows(
    db: Database,
    unsynced: Sequence[str],
    rows: Iterable[LinkRow],
    *,
    source: str | None = None,
    move: bool = False,
) -> LinkSummary:
    """Link what can be linked, some hundred a transaction; the rest is reported by line, and stays as it is.

    `source` is whose `listing_key`s they are; None means any, as long as the key names one listing.
    """
    summary = LinkSummary()
    chunk: dict[str, LinkRow] = {}
    for row in _until_broken(rows, summary):
        if row.crm_id in chunk or len(chunk) == ROWS_PER_TRANSACTION:
            await _link_chunk(db, unsynced, chunk, source, summary, move=move)
            chunk = {}
        chunk[row.crm_id] = row
    await _link_chunk(db, unsynced, chunk, source, summary, move=move)
    return summary


def _until_broken(rows: Iterable[LinkRow], summary: LinkSummary) -> Iterator[LinkRow]:
    """Yield the rows that can be asked about; note the others, and the end where the file breaks."""
    try:
        for row in rows:
            if any("\0" in (text or "") for text in (row.crm_id, row.property_id, row.listing_key)):
                summary.errors.append(RowError(row.line, row.crm_id, "invalid_input", "a NUL is in none of our ids"))
            else:
                yield row
    except SourceBroken as error:
        summary.broken = error


async def unlink(db: Database, crm_id: str, *, restore_own: bool = False) -> str:
    """Cut a link; return the id of the listing it went to. The fields stay frozen, or give way to `own`.

    Raises CrmPropertyNotFound, NotLinked.
    """
    return await db.retrying(partial(_unlink, crm_id, restore_own))


async def remove_reference(db: Database, crm_id: str, property_id: str, *, platform: str | None = None) -> str:
    """Cut the link between these two; return the property's platform. The fields stay frozen.

    Raises CrmPropertyNotFound (also for a property of another platform), ListingNotFound, and ReferenceNotFound where
    they are not linked to each other.
    """
    return await db.retrying(partial(_remove_reference, crm_id, property_id, platform))


async def sync_crm_property(db: Database, unsynced: Sequence[str], crm_id: str) -> Synced | None:
    """Bring one CRM property in step with its listing; return what differed, or None when it was in step.

    Raises CrmPropertyNotFound, NotLinked.
    """
    return await db.retrying(partial(_sync_one, crm_id, unsynced))


async def sync_listing(
    db: Database, unsynced: Sequence[str], property_id: str, *, platform: str | None = None
) -> SyncSummary:
    """Bring the CRM properties of one listing in step; `platform` counts those of one CRM alone.

    Raises ListingNotFound, and PlatformNotFound where no CRM property at all is of that platform.
    """
    await _check_platform(db, platform)
    return await db.retrying(partial(_sync_listings, [property_id], unsynced, platform))


async def sync_all(db: Database, unsynced: Sequence[str], *, platform: str | None = None) -> SyncSummary:
    """Bring every linked CRM property in step, some hundred listings a transaction.

    Raises PlatformNotFound where no CRM property is of that platform.
    """
    await _check_platform(db, platform)
    properties, changed, after = 0, list[Synced](), ""
    while True:
        async with db.connection() as conn:
            ids = await crm_properties.linked_listing_ids(
                conn, after=after, platform=platform, limit=ROWS_PER_TRANSACTION
            )
        if not ids:
            break
        part = await db.retrying(partial(_sync_listings, ids, unsynced, platform))
        properties += part.properties
        changed += part.changed
        after = ids[-1]
    return SyncSummary(properties, tuple(changed))


async def _check_platform(db: Database, platform: str | None) -> None:
    """Before anything is done: raises PlatformNotFound."""
    if platform is None:
        return
    async with db.connection() as conn:
        if not await crm_properties.has_platform(conn, platform):
            raise PlatformNotFound(platform)


async def _link_chunk(
    db: Database,
    unsynced: Sequence[str],
    chunk: Mapping[str, LinkRow],
    source: str | None,
    summary: LinkSummary,
    *,
    move: bool,
) -> None:
    if not chunk:
        return
    async with db.connection() as conn:
        wanted, refused = await _resolve(conn, chunk, source)
    done = await db.retrying(partial(_link_many, wanted, unsynced, move, None))
    summary.linked += len(done.links)
    summary.unchanged += len(done.unchanged)
    summary.filled += len(done.synced)
    for crm_id, error in sorted((refused | done.refused).items(), key=lambda item: chunk[item[0]].line):
        summary.errors.append(RowError(chunk[crm_id].line, crm_id, error.code, str(error)))


async def _resolve(
    conn: Connection, chunk: Mapping[str, LinkRow], source: str | None
) -> tuple[dict[str, str], dict[str, Refused]]:
    """Return the listing id of each row, and the rows whose key names none or several."""
    keys = {row.listing_key for row in chunk.values() if row.listing_key is not None}
    ids = await listings.ids_by_any_source_key(conn, source, keys) if keys else {}
    wanted: dict[str, str] = {}
    refused: dict[str, Refused] = {}
    for crm_id, row in chunk.items():
        found = [row.property_id or ""] if row.listing_key is None else ids.get(row.listing_key, [])
        if len(found) == 1:
            wanted[crm_id] = found[0]
        elif found:
            refused[crm_id] = AmbiguousListingKey(row.listing_key or "")
        else:
            refused[crm_id] = ListingNotFound(row.listing_key or "", key="key")
    return wanted, refused


async def _link_many(
    wanted: Mapping[str, str],
    unsynced: Sequence[str],
    move: bool,  # noqa: FBT001 - bound by partial
    platform: str | None,
    conn: Connection,
) -> _Linked:
    existing = await listings.share(conn, set(wanted.values()))
    targets = await crm_properties.lock(conn, wanted)
    done = _Linked(platforms={crm_id: target.platform for crm_id, target in targets.items()})
    for crm_id, property_id in wanted.items():
        target = targets.get(crm_id)
        if target is None or (platform is not None and target.platform != platform):
            done.refused[crm_id] = CrmPropertyNotFound(crm_id)
        elif property_id not in existing:
            done.refused[crm_id] = ListingNotFound(property_id)
        elif target.property_id == property_id:
            done.unchanged.add(crm_id)
        elif target.property_id is not None and not move:
            done.refused[crm_id] = AlreadyLinked(crm_id, target.property_id)
        else:
            done.links[crm_id] = property_id
    await crm_properties.set_links(conn, done.links)
    done.synced = await crm_properties.bring_in_step_only(conn, done.links, unsynced)
    await events.append(conn, [*_link_events(done.links, targets), *map(synced_event, done.synced)])
    return done


def _link_events(linked: Mapping[str, str], before: Mapping[str, LinkTarget]) -> Iterator[Event]:
    """A property that was moved has left a listing, and those who follow that one are told so."""
    for crm_id, property_id in sorted(linked.items()):
        platform, left = before[crm_id].platform, before[crm_id].property_id
        if left is not None:
            yield Event("property.unlinked", left, crm_id, platform)
        yield Event("property.linked", property_id, crm_id, platform)


async def _unlink(crm_id: str, restore_own: bool, conn: Connection) -> str:  # noqa: FBT001 - bound by partial
    target = await _linked_target(conn, crm_id)
    await crm_properties.unlink(conn, crm_id, restore_own=restore_own)
    await events.append(conn, [Event("property.unlinked", target.property_id, crm_id, target.platform)])
    return target.property_id


async def _remove_reference(crm_id: str, property_id: str, platform: str | None, conn: Connection) -> str:
    target = (await crm_properties.lock(conn, [crm_id])).get(crm_id)
    if target is None or (platform is not None and target.platform != platform):
        raise CrmPropertyNotFound(crm_id)
    if not await listings.exists(conn, property_id):
        raise ListingNotFound(property_id)
    if target.property_id != property_id:
        raise ReferenceNotFound(crm_id, property_id)
    await _unlink(crm_id, False, conn)  # noqa: FBT003 - freezes the fields
    return target.platform


@dataclass(frozen=True, slots=True)
class _Target:
    platform: str
    property_id: str


async def _linked_target(conn: Connection, crm_id: str) -> _Target:
    target = (await crm_properties.lock(conn, [crm_id])).get(crm_id)
    if target is None:
        raise CrmPropertyNotFound(crm_id)
    if target.property_id is None:
        raise NotLinked(crm_id)
    return _Target(target.platform, target.property_id)


async def _sync_one(crm_id: str, unsynced: Sequence[str], conn: Connection) -> Synced | None:
    property_id = await crm_properties.linked_to(conn, crm_id)
    await listings.share(conn, [property_id])
    target = await _linked_target(conn, crm_id)
    if target.property_id != property_id:  # moved meanwhile, and filled by that
        return None
    synced = await crm_properties.bring_in_step_only(conn, {crm_id: property_id}, unsynced)
    await events.append(conn, [synced_event(s) for s in synced])
    return next(iter(synced), None)


async def _sync_listings(
    property_ids: Sequence[str], unsynced: Sequence[str], platform: str | None, conn: Connection
) -> SyncSummary:
    existing = await listings.share(conn, property_ids)
    if len(property_ids) == 1 and not existing:
        raise ListingNotFound(property_ids[0])
    synced = await crm_properties.bring_in_step(conn, property_ids, unsynced)
    properties = await crm_properties.count_linked(conn, property_ids, platform)
    await events.append(conn, [synced_event(s) for s in synced])
    return SyncSummary(properties, tuple(s for s in synced if platform is None or s.platform == platform))


def synced_event(synced: Synced) -> Event:
    """A CRM property brought in step by a link or by hand, not by a change of its listing."""
    return Event("property.synced", synced.property_id, synced.crm_id, synced.platform, field_names=synced.field_names)
