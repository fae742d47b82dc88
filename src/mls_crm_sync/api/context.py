"""What routes work with: the database, the normaliser and the clockwork of the service, kept on the app."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Database


@dataclass(frozen=True, slots=True)
class Service:
    """`work` is a pool of its own for long work (pushes, imports, retries), so that it never starves the readers."""

    db: Database
    work: Database
    normaliser: Normaliser
    stale_after: timedelta


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]
Id = Annotated[str, Path(description="Opaque text.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=1000)]


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
