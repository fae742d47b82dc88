"""Errors as problem+json (RFC 9457): the one place where a domain error gets its HTTP status.

{"type": "about:blank", "title": ..., "status": 404, "code": "listing_not_found", "detail": ..., "hint": ...,
 "request_id": ...}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from mls_crm_sync.core.errors import (
    AlreadyLinked,
    AlreadyRunning,
    Conflict,
    CrmPropertyExists,
    CrmPropertyNotFound,
    HoldNotFound,
    InvalidInput,
    KeyNotFound,
    ListingNotFound,
    NoProposal,
    NotFound,
    PlatformNotFound,
    QuarantineNotFound,
    Refused,
    RunLost,
    RunNotFound,
    ScheduleNotFound,
    SetupError,
    SourceBroken,
    SourceExists,
    SourceNotFound,
    StoreUnavailable,
    SyncError,
    VersionMismatch,
)

log = structlog.get_logger()

CONTENT_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[SyncError], int], ...] = (
    (NotFound, 404),
    (VersionMismatch, 412),
    (Conflict, 409),
    (InvalidInput, 422),
    (SourceBroken, 422),
    (Refused, 422),
    (RunLost, 409),
    (StoreUnavailable, 503),
    (SetupError, 503),
)
_HINTS: Mapping[type[SyncError], str] = {
    ListingNotFound: "create listings with POST /api/mls-properties; GET /api/mls-properties shows their ids",
    CrmPropertyNotFound: "create one with POST /api/properties; GET /api/properties shows their ids",
    CrmPropertyExists: "change it with PATCH, or send many at once to /api/properties/bulk, which inserts or updates",
    PlatformNotFound: "GET /api/properties shows the platform of each; leave it out to mean any",
    SourceNotFound: "GET /api/sources shows those that are set up, POST /api/sources sets one up",
    SourceExists: "PATCH /api/sources/{id} changes it",
    KeyNotFound: "GET /api/keys shows their ids, and which are revoked",
    ScheduleNotFound: "GET /api/scheduled-jobs shows their ids",
    RunNotFound: "GET /api/runs shows their ids",
    AlreadyRunning: "GET /api/runs shows how far it is, POST /api/runs/{run_id}/cancel ends it",
    NoProposal: "GET /api/proposals shows what is proposed now",
    HoldNotFound: "GET /api/absence-holds shows their ids",
    QuarantineNotFound: "GET /api/quarantine shows those that are open",
}
RETRY_AFTER_SECONDS = 2


class FieldError(BaseModel):
    """What is wrong with which member of a request."""

    field: str
    reason: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    hint: str | None = None
    errors: list[FieldError] | None = None


class NotReady(Problem):
    """The service cannot do its work yet, or not right now; `checks` says what is missing."""

    checks: dict[str, str]


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the errors a route may answer with; what every route may answer is added by `app`."""
    return {s: {"model": Problem, "description": HTTPStatus(s).phrase} for s in statuses}


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    request_id: str,
    hint: str | None = None,
    errors: Sequence[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = Problem(
        title=title,
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
        hint=hint,
        errors=list(errors) if errors is not None else None,
    )
    return answer(body, headers=headers)


def answer(body: Problem, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = body.model_dump(exclude_none=True)
    return JSONResponse(content, body.status, headers=dict(headers or {}), media_type=CONTENT_TYPE)


def install(app: FastAPI) -> None:
    app.add_exception_handler(SyncError, _of_domain)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)


def status_of(error: SyncError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def _of_domain(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SyncError)  # noqa: S101 - registered for this class
    status = status_of(error)
    log.log(logging.ERROR if status >= 500 else logging.INFO, "request_refused", code=error.code, status=status)
    errors = [FieldError(field=error.member, reason=error.detail)] if isinstance(error, InvalidInput) else None
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    detail = str(error)
    if isinstance(error, StoreUnavailable):
        detail = f"the database cannot be used right now; {_outcome(request)}"
        log.warning("store_unavailable", reason=str(error))
    return problem(
        status,
        error.code,
        error.title,
        detail,
        request_id=request.state.request_id,
        hint=_hint(error),
        errors=errors,
        headers=headers,
    )


def _hint(error: SyncError) -> str | None:
    """What the caller can do about it, by request: an error's own hint is for whoever has the command."""
    if isinstance(error, AlreadyLinked):
        path = f"/api/properties/{quote(error.crm_id, safe='')}"
        return f'to move it, say "move": true at POST {path}/link-mls, or DELETE {path}/unlink-mls first'
    return _HINTS.get(type(error), error.hint)


def _outcome(request: Request) -> str:
    """A commit whose answer was lost may have happened, and what is read after it fails alike: promise nothing."""
    reads = request.method in {"GET", "HEAD"}
    return "nothing was changed" if reads else "look whether the change was made before you ask for it again"


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    errors = field_errors(error.errors())
    detail = "; ".join(f"{e.field}: {e.reason}" for e in errors[:5])
    return problem(
        422, "invalid_input", "The request is not valid", detail, request_id=request.state.request_id, errors=errors
    )


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    request_id = request.state.request_id
    return problem(error.status_code, code, phrase, str(error.detail), request_id=request_id, headers=error.headers)


def field_errors(found: Sequence[Any]) -> list[FieldError]:
    """Return what a model's validation has found, in the caller's words."""
    return [FieldError(field=_place(e["loc"]), reason=_reason(e)) for e in found]


def _reason(error: Mapping[str, Any]) -> str:
    """What is wrong, in the words of whoever found it: of a body that is no JSON, the decoder's."""
    context = error.get("ctx") or {}
    return f"{error['msg']}: {context['error']}" if error["type"] == "json_invalid" else str(error["msg"])


def _place(location: Sequence[int | str]) -> str:
    """`body.listings.0.ListPrice` without the "body"; the whole body is called so."""
    inner = location[1:] if location and location[0] in {"body", "query", "path", "header"} else location
    return ".".join(map(str, inner)) or "body"
