"""Sources: what can be set up, what is, and whether it can be read."""

from __future__ import annotations

from fastapi import APIRouter

from mls_crm_sync.core.errors import SourceNotFound
from mls_crm_sync.sources.registry import KINDS
from mls_crm_sync.sync import sources

from . import models
from .context import Here, Id
from .problems import responses
from .strict import StrictRoute

router = APIRouter(tags=["sources"], route_class=StrictRoute)


@router.get("/api/source-kinds", operation_id="list_source_kinds")
async def list_kinds() -> models.Page[models.SourceKind]:
    """What kinds there are, with the settings of each as a JSON Schema."""
    items = [
        models.SourceKind(
            kind=kind.name,
            title=kind.title,
            credential=kind.credential,
            settings=kind.settings.model_json_schema(),
        )
        for kind in KINDS.values()
    ]
    return models.Page(items=items, next_cursor=None)


@router.get("/api/sources", operation_id="list_sources")
async def list_sources(here: Here) -> models.Page[models.SourceView]:
    """All sources by name; never a secret."""
    found = await sources.every(here.db, here.sealer)
    return models.Page(items=[models.SourceView.of(one) for one in found], next_cursor=None)


@router.post("/api/sources", operation_id="add_source", status_code=201, responses=responses(409))
async def add_source(here: Here, body: models.SourceNew) -> models.SourceView:
    """Set a source up. Its secret is sealed and never shown again; the first source becomes the default."""
    added = await sources.add(
        here.db, here.sealer, body.name, body.kind, body.settings, secret=body.secret, default=body.default,
        limits=body.limits, request_delay=body.request_delay,
    )  # fmt: skip
    return models.SourceView.of(added)


@router.patch("/api/sources/{id}", operation_id="change_source", responses=responses(404))
async def change_source(here: Here, id: Id, body: models.SourceChange) -> models.SourceView:  # noqa: A002 # the path's word
    """Change the settings that are named (null: as its kind has it), the secret, or which one is the default."""
    changed = await sources.change(
        here.db, here.sealer, _known(id), settings=body.settings, secret=body.secret, default=body.default,
        limits=body.limits, request_delay=body.request_delay,
    )  # fmt: skip
    return models.SourceView.of(changed)


@router.delete("/api/sources/{id}", operation_id="remove_source", status_code=204, responses=responses(404))
async def remove_source(here: Here, id: Id) -> None:  # noqa: A002 # the path's word
    """Take it away. Its listings, their history and their links stay."""
    await sources.remove(here.db, _known(id))


@router.post("/api/sources/{id}/check", operation_id="check_source", responses=responses(404))
async def check_source(here: Here, id: Id) -> models.SourceCheck:  # noqa: A002 # the path's word
    """Let it look whether it could be read now; what it found is the answer, also where that is no."""
    found = await sources.check(here.work, here.sealer, _known(id), here.normaliser)
    return models.SourceCheck(ok=found.ok, detail=found.detail)


@router.post("/api/sources/{id}/resume", operation_id="resume_source", responses=responses(404))
async def resume_source(here: Here, id: Id) -> models.SourceView:  # noqa: A002 # the path's word
    """Let a source that refused us, and was not asked since, be asked again."""
    return models.SourceView.of(await sources.resume(here.db, here.sealer, _known(id)))


def _known(name: str) -> str:
    """Raises SourceNotFound for what cannot be the name of one."""
    if not name or "\x00" in name:
        raise SourceNotFound(name)
    return name
