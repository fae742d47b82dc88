"""What routes work with: the database, the normaliser and the clockwork of the service, kept on the app."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel, BeforeValidator

from mls_crm_sync.core.errors import (
    CrmPropertyNotFound,
    InvalidInput,
    ListingNotFound,
    PlatformNotFound,
    ScheduleNotFound,
)
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.core.schedule import DEFAULT_MINIMUM
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync.refresh import refresh
from mls_crm_sync.sync.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Service:
    """`work` is a pool of its own for long work (pushes, imports, retries), so that it never starves the readers."""

    db: Database
    work: Database
    normaliser: Normaliser
    stale_after: timedelta
    sealer: Sealer = field(default_factory=Sealer)
    minimum_interval: timedelta = DEFAULT_MINIMUM
    includes_worker: bool = False
    disclaimer: str = ""


async def _service(request: Request) -> Service:  # async: a plain one would go through a thread for each request
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]


async def _caller(request: Request) -> str:
    caller: str = request.state.caller
    return caller


Caller = Annotated[str, Depends(_caller)]
"""Who asks: `key 3`, or `local` in local mode."""


async def _scopes(request: Request) -> list[str]:
    scopes: list[str] = request.state.scopes
    return scopes


Scopes = Annotated[list[str], Depends(_scopes)]
"""What who asks may do."""


async def _if_match(
    request: Request, if_match: Annotated[str | None, Header(description="ETags that were read, or `*`.")] = None
) -> frozenset[int] | None:
    """Return the versions that If-Match names, None for all. What is no ETag of ours is one that nothing has.

    A weak one counts as the strong one: proxies that compress weaken them on the way, and content is no other for it.
    """
    if if_match is None:
        return None
    said = [one.strip() for one in ",".join(request.headers.getlist("if-match")).split(",")]
    tags = [_version_of(tag) for tag in said]
    return None if "*" in said else frozenset(tag for tag in tags if tag is not None)


def _version_of(etag: str) -> int | None:
    text = etag.removeprefix("W/")
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


IfMatch = Annotated[frozenset[int] | None, Depends(_if_match)]
ESCAPED_SLASH = "\U0010ffff"
"""Stands for `%2F` in a path until its id is read: no character, so no id has it (ids are printable)."""


def with_escaped_slashes(raw_path: bytes) -> str:
    """Return a path decoded, but for `%2F`: it belongs to an id and separates nothing."""
    return ESCAPED_SLASH.join(unquote(part) for part in re.split("%2[fF]", raw_path.decode("latin-1")))


def _whole_id(text: str) -> str:
    return text.replace(ESCAPED_SLASH, "/")


Id = Annotated[str, Path(description="Opaque text; a slash in it is sent as `%2F`."), BeforeValidator(_whole_id)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=1000)]


def known_crm_id(crm_id: str) -> str:
    """Ids are opaque: what cannot be one is simply not found. Raises CrmPropertyNotFound."""
    if "\x00" in crm_id:
        raise CrmPropertyNotFound(crm_id)
    return crm_id


def known_listing_id(property_id: str) -> str:
    """Raises ListingNotFound for what cannot be the id of one."""
    if "\x00" in property_id:
        raise ListingNotFound(property_id)
    return property_id


def known_job_id(job_id: str) -> str:
    """Raises ScheduleNotFound for what cannot be the id of one."""
    if "\x00" in job_id:
        raise ScheduleNotFound(job_id)
    return job_id


def known_platform(platform: str | None) -> str | None:
    """Raises PlatformNotFound for what cannot be the name of one."""
    if platform is not None and "\x00" in platform:
        raise PlatformNotFound(platform)
    return platform


def merged(body: BaseModel | None, **query: Any) -> dict[str, Any]:  # noqa: ANN401 - as the body's members are
    """Return the members that came in the body or as query parameters; None is not said. Raises InvalidInput where the
    two say different things of one member.
    """
    given: dict[str, Any] = body.model_dump(exclude_none=True) if body is not None else {}
    for name, value in query.items():
        if value is not None and given.setdefault(name, value) != value:
            raise InvalidInput(name, "the body says one thing and the query another")
    return given


def place_of(cursor: str | None) -> tuple[datetime, str] | None:
    """Return a cursor that is an instant and what comes after it there. Raises InvalidInput."""
    if cursor is None:
        return None
    at, _, rest = cursor.partition("~")
    try:
        found = datetime.fromisoformat(at)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not rest:
        raise InvalidInput("cursor", "is not one that this list gave")
    return found, rest


def cursor_of(at: datetime, rest: object) -> str:
    """Return the cursor that `place_of` reads."""
    return f"{at.isoformat()}~{rest}"


def number_of(cursor: str | None, otherwise: int) -> int:
    """Return a cursor that is a number. Raises InvalidInput."""
    if cursor is None:
        return otherwise
    if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > 18:
        raise InvalidInput("cursor", "is not one that this list gave")
    return int(cursor)


def refuse_nul(**filters: str | None) -> None:
    """PostgreSQL's text has no NUL, so nothing can be found by one. Raises InvalidInput."""
    for name, text in filters.items():
        if text is not None and "\x00" in text:
            raise InvalidInput(name, "must not contain NUL")


async def source_checked(here: Service, property_id: str) -> dict[str, Any]:
    """Ask a listing's source for it; return what an answer tells of that."""
    told = await refresh(here.work, here.sealer, here.normaliser, property_id)
    return {"source_checked_at": told.at, "source_answer": told.answer, "source_detail": told.detail}
