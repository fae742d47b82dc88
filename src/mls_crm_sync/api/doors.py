"""What every request passes before it reaches a route: its id, its size, its permission.

Plain ASGI, so that nothing of the body is read before the caller may send it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mls_crm_sync.core import access
from mls_crm_sync.core.errors import StoreUnavailable
from mls_crm_sync.store import keys
from mls_crm_sync.store.database import Database

from .context import with_escaped_slashes
from .permissions import PERMISSIONS, is_local
from .problems import problem

log = structlog.get_logger()

MAX_BODY = 1_000_000
MAX_BULK_BODY = 64_000_000
BULK = frozenset({
    ("POST", "/api/properties/bulk"), ("POST", "/api/properties/import"), ("POST", "/api/mls-properties"),
})  # fmt: skip
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class RequestIds:
    """Gives each request an id and its answer the security headers; answers for whatever has failed inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _prepared(scope)
        answer = _WithHeaders(send, scope["state"]["request_id"])
        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:  # told to stop, and the time for requests under way is over
            if not answer.begun:
                await _stopped(scope)(scope, receive, answer)
            raise
        except Exception as error:
            log.exception("unexpected_error", kind=type(error).__name__, path=scope["path"])
            if answer.begun:  # the server breaks it off
                raise
            await _bug(scope)(scope, receive, answer)


class _WithHeaders:
    """Sends an answer with the headers that all have."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _prepared(scope: Scope) -> Scope:
    """Return the scope with the request's id. HEAD is asked as GET: the server, which keeps its own, sends no body."""
    request_id = secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    path = with_escaped_slashes(scope["raw_path"]) if b"%2" in scope.get("raw_path", b"") else scope["path"]
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, "method": method, "path": path, "state": {**scope.get("state", {}), "request_id": request_id}}


class Guard:
    """Lets a request through to its route when the permission table and its key, or local mode, allow it."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[Route], db: Database, local_mode: bool) -> None:
        self._app = app
        self._routes = routes
        self._db = db
        self._local_mode = local_mode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> JSONResponse | None:
        found = self._route(scope)
        if found is None:  # no such path, or not this method: the router says so, and tells nobody anything
            return None
        needed = PERMISSIONS.get(found, access.Scope.ADMIN)
        if needed is None:
            return None
        headers = Headers(scope=scope)
        bearer = _bearer(headers)
        if bearer is not None:
            return await self._refusal_of_key(scope, bearer, needed)
        if not self._is_local(scope, headers):
            return _no_key(scope, needed)
        scope["state"] |= {"caller": "local", "scopes": [access.Scope.ADMIN]}
        return None

    async def _refusal_of_key(self, scope: Scope, bearer: str, needed: access.Scope) -> JSONResponse | None:
        try:
            async with self._db.connection() as conn:
                key = await keys.find(conn, access.key_digest(bearer))
        except StoreUnavailable as error:
            log.warning("store_unavailable", reason=str(error))
            return _away(scope)
        if key is None:
            return _bad_key(scope)
        scope["state"] |= {"caller": f"key {key['key_id']}", "scopes": list(key["scopes"])}
        return None if access.allows(key["scopes"], needed) else _wrong_scope(scope, needed, key["scopes"])

    def _route(self, scope: Scope) -> tuple[str, str] | None:
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return scope["method"], route.path
        return None

    def _is_local(self, scope: Scope, headers: Headers) -> bool:
        client = scope["client"][0] if scope.get("client") else None
        return self._local_mode and is_local(client, headers.items())


class BodyLimit:
    """Refuses a body that is too large, by its length where it says one, while it is read otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_BULK_BODY if (scope["method"], scope["path"]) in BULK else MAX_BODY
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdigit() or int(said) > limit:
            await _too_large(scope, limit)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise BodyTooLarge(limit)
            return message

        try:
            await self._app(scope, counted, send)
        except BodyTooLarge:
            await _too_large(scope, limit)(scope, receive, send)


class BodyTooLarge(Exception):
    """The body went past its limit while it was read."""


def _bearer(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _no_key(scope: Scope, needed: access.Scope) -> JSONResponse:
    return problem(
        401,
        "no_key",
        "An API key is needed",
        "send it as the header `Authorization: Bearer KEY`",
        request_id=scope["state"]["request_id"],
        hint=f"`mls-crm-sync keys create NAME --scope {needed}` makes one on the service's machine",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _bad_key(scope: Scope) -> JSONResponse:
    return problem(
        401,
        "bad_key",
        "The API key is not valid",
        "there is no such key, or it was revoked",
        request_id=scope["state"]["request_id"],
        hint="`mls-crm-sync keys list` shows which keys are in force",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _wrong_scope(scope: Scope, needed: access.Scope, held: Collection[str]) -> JSONResponse:
    return problem(
        403,
        "wrong_scope",
        "The API key may not do this",
        f"this needs the scope {needed}; the key has {', '.join(sorted(held))}",
        request_id=scope["state"]["request_id"],
    )


def _away(scope: Scope) -> JSONResponse:
    return problem(
        503,
        StoreUnavailable.code,
        "The database cannot be used right now",
        "the key could not be looked up; nothing was changed",
        request_id=scope["state"]["request_id"],
        headers={"Retry-After": "2"},
    )


def _stopped(scope: Scope) -> JSONResponse:
    return problem(
        503,
        "stopping",
        "The service is being stopped",
        "the request was broken off; look whether it was done before you ask for it again",
        request_id=scope["state"]["request_id"],
        headers={"Retry-After": "10", "Connection": "close"},
    )


def _bug(scope: Scope) -> JSONResponse:
    return problem(
        500,
        "internal",
        "Something went wrong",
        "this is a fault of the service; its log has more under the request_id",
        request_id=scope["state"]["request_id"],
    )


def _too_large(scope: Scope, limit: int) -> JSONResponse:
    return problem(
        413,
        "too_large",
        "The body is too large",
        f"at most {limit:,} bytes are taken here",
        request_id=scope["state"]["request_id"],
        headers={"Connection": "close"},
    )
