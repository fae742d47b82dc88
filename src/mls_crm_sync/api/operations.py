"""What watches and mends: quarantine, events, statistics, keys, health."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from mls_crm_sync.core.errors import InvalidInput, KeyNotFound, StoreUnavailable
from mls_crm_sync.core.proposals import ENDED
from mls_crm_sync.store import crm_properties, events, keys, listings, migrate, proposals, quarantine, runs, workers
from mls_crm_sync.sync import keys as key_verbs
from mls_crm_sync.sync.quarantine import retry
from mls_crm_sync.sync.sources import sealed_away

from . import models, problems
from .context import Cursor, Here, Limit, number_of, refuse_nul
from .problems import responses
from .strict import StrictRoute

router = APIRouter(tags=["operations"], route_class=StrictRoute)
QUARANTINE_PAGE = 4_000_000
"""Bytes of records in one page of quarantine; a thousand of the largest would be a gigabyte."""


@router.get("/health", operation_id="health")
async def health() -> models.Health:
    """The process answers. Says nothing about the database: see /ready."""
    return models.Health(status="ok")


@router.get("/ready", operation_id="ready", response_model=models.Ready, responses={503: {"model": problems.NotReady}})
async def ready(here: Here, request: Request) -> models.Ready | Response:
    """Asks the database for an answer, and whether it is up to date; 503 until both hold."""
    checks = {"database": "ok", "migrations": "ok"}
    left = seen = 0
    try:
        async with here.db.connection() as conn:
            await migrate.check(conn)
            seen = len(await workers.living(conn))
        left = len(await sealed_away(here.db, here.sealer))
    except StoreUnavailable:
        checks = {"database": "unavailable", "migrations": "unknown"}
    except Exception as error:  # noqa: BLE001 - whatever it is, this service is not ready
        checks["migrations"] = type(error).__name__
    if all(check == "ok" for check in checks.values()):
        return models.Ready(
            status="ready",
            checks=checks,
            sources_left_to_others=left,
            workers=seen,
            worker_included=here.includes_worker,
        )
    away = checks["database"] != "ok"
    body = problems.NotReady(
        title="The service is not ready",
        status=503,
        code=StoreUnavailable.code if away else "not_ready",
        detail="the database does not answer" if away else "the database has not the form that this release needs",
        hint=None if away else "`mls-crm-sync db migrate` on the service's machine brings it up to date",
        request_id=request.state.request_id,
        checks=checks,
    )
    return problems.answer(body, headers={"Retry-After": str(problems.RETRY_AFTER_SECONDS)})


@router.get("/api/quarantine", operation_id="list_quarantine")
async def list_quarantine(
    here: Here, source: str | None = None, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.Quarantined]:
    """Records that could not be read, with their reason and bytes, by id. A page may end before `limit`, at some
    megabytes.
    """
    refuse_nul(source=source)
    after = number_of(cursor, 0)
    async with here.db.connection() as conn:
        found, more = await quarantine.page_within(conn, QUARANTINE_PAGE, source=source, after=after, limit=limit)
    same = [name for name in models.Quarantined.model_fields if name != "payload"]
    items = [
        models.Quarantined.model_construct(
            **{name: row[name] for name in same}, payload=payload.decode("utf-8", "replace")
        )
        for row, payload in found
    ]
    return models.Page(items=items, next_cursor=str(found[-1][0]["quarantine_id"]) if more else None)


@router.post("/api/quarantine/retry", operation_id="retry_quarantine", responses=responses(404))
async def retry_quarantine(here: Here, body: models.RetryRequest | None = None) -> models.RetryAnswer:
    """Try open records again: the named ones, or all."""
    summary = await retry(here.work, here.normaliser, body.ids if body else None)
    return models.RetryAnswer(
        tried=summary.tried,
        resolved=summary.resolved,
        still_broken=summary.tried - summary.resolved,
        cut_short=summary.cut_short,
    )


@router.get("/api/events", operation_id="list_events")
async def list_events(
    here: Here, after: str | None = None, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.EventView]:
    """Events after a sequence number, in commit order. `next_cursor` is the last one's, to come back with later."""
    seq = number_of(cursor, _seq(after))
    async with here.db.connection() as conn:
        rows = await events.after(conn, seq, limit=limit)
    following = str(rows[-1]["seq"]) if rows else None
    return models.Page(items=[models.EventView.of(row) for row in rows], next_cursor=following)


def _seq(after: str | None) -> int:
    try:
        return number_of(after, 0)
    except InvalidInput as error:
        raise InvalidInput("after", "is not the `seq` of an event") from error


@router.get("/api/stats", operation_id="get_stats")
async def get_stats(here: Here) -> models.Stats:
    """How many listings and CRM properties in which state, and how the last runs ended."""
    async with here.db.connection() as conn:
        return models.Stats(
            listings=await listings.count_by_status(conn),
            crm_properties=await crm_properties.count_by_status(conn, stale_after=here.stale_after),
            quarantined=await quarantine.count_open(conn),
            proposals=await proposals.count_open(conn, ENDED),
            runs=[models.RunView.of(row) for row in await runs.newest(conn)],
        )


@router.get("/api/keys", operation_id="list_keys")
async def list_keys(here: Here) -> models.Page[models.KeyView]:
    """All keys, the revoked ones too; never the keys themselves."""
    async with here.db.connection() as conn:
        return models.Page(items=[models.KeyView.of(row) for row in await keys.every(conn)], next_cursor=None)


@router.post("/api/keys", operation_id="create_key", status_code=201)
async def create_key(here: Here, body: models.KeyNew) -> models.KeyMade:
    """Make a key; it is shown this once."""
    key_id, key = await key_verbs.create(here.db, body.name, body.scopes)
    return models.KeyMade(key_id=key_id, name=body.name.strip(), scopes=sorted(set(body.scopes)), key=key)


@router.delete("/api/keys/{key_id}", operation_id="revoke_key", status_code=204, responses=responses(404))
async def revoke_key(here: Here, key_id: str) -> None:
    """Revoke a key at once and for good."""
    if not (key_id.isascii() and key_id.isdigit()) or len(key_id) > 18:
        raise KeyNotFound(key_id)
    await key_verbs.revoke(here.db, int(key_id))
