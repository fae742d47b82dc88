"""A request that comes twice with the same Idempotency-Key has one effect, and gets the same answer.

A client whose connection broke does not know whether its POST was done; with a key it may simply send it again. Kept
for seven days, for each caller apart. Only answers that tell of an effect (2xx) are kept: a refusal (4xx) changed
nothing, and may be another one the next time. A 5xx leaves open what was done, so its key stays taken for some minutes.
Plain ASGI, inside the size limit: the body is read whole before its route sees it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mls_crm_sync.core.errors import StoreUnavailable
from mls_crm_sync.store import answers
from mls_crm_sync.store.answers import Answer, Kept
from mls_crm_sync.store.database import Connection, Database

from .problems import CONTENT_TYPE, problem

log = structlog.get_logger()

HEADER = "Idempotency-Key"
MAX_KEY = 200
METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
SHOWN_ONCE = frozenset({("POST", "/api/keys")})
"""Their answers hold what is stored nowhere; that they were given is kept, what they said is not."""
_KEPT_HEADERS = ("content-type", "etag", "location")


class Idempotency:
    """Does a request once for each key of a caller."""

    def __init__(self, app: ASGIApp, *, db: Database) -> None:
        self._app = app
        self._db = db

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "http" and scope["method"] in METHODS and "caller" in scope["state"]
        key = Headers(scope=scope).get(HEADER) if changes else None
        if key is None:
            await self._app(scope, receive, send)
        elif not key.isascii() or not key.isprintable() or not 0 < len(key) <= MAX_KEY:
            await _bad_key(scope)(scope, receive, send)
        else:
            await self._once(key, scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is None:
            return
        caller = scope["state"]["caller"]
        fingerprint = _fingerprint(scope, body)
        try:
            async with self._db.connection() as conn:
                kept = await answers.begin(conn, caller, key, fingerprint)
        except StoreUnavailable as error:
            log.warning("store_unavailable", reason=str(error))
            await _away(scope)(scope, receive, send)
            return
        if kept is not None:
            await _again(kept, fingerprint, scope)(scope, receive, send)
            return
        await self._do(caller, key, body, scope, send)

    async def _do(self, caller: str, key: str, body: bytes, scope: Scope, send: Send) -> None:
        answer = _Answer(send)
        try:
            await self._app(scope, _replayed(body), answer.take)
        finally:
            with suppress(StoreUnavailable):  # then the key stays taken until its request counts as dead
                async with self._db.connection() as conn:
                    await _note(conn, caller, key, scope, answer)
        await answer.send()


async def _note(conn: Connection, caller: str, key: str, scope: Scope, answer: _Answer) -> None:
    if 400 <= answer.status < 500:
        await answers.forget(conn, caller, key)
    elif not 200 <= answer.status < 400:  # what was done is open: the key stays taken
        await answers.keep_status(conn, caller, key, max(answer.status, 500))
    elif _is_shown_once(scope):
        await answers.keep_status(conn, caller, key, answer.status)
    else:
        await answers.keep(conn, caller, key, answer.whole(), content=not _is_purge(scope))


def document(operation: dict[str, Any]) -> None:
    """Add the header and what it may lead to to an operation of the OpenAPI document."""
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[ -~]+$"}
    about = "A request sent again with the same key within seven days has one effect and gets the same answer."
    header = {"name": HEADER, "in": "header", "required": False, "schema": schema, "description": about}
    operation.setdefault("parameters", []).append(header)
    refusal = {"schema": {"$ref": "#/components/schemas/Problem"}}
    operation["responses"].setdefault("409", {"description": "Conflict", "content": {CONTENT_TYPE: refusal}})


class _Answer:
    """Holds an answer back until it is kept: what the client has seen must be what it gets again."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: list[Message] = []
        self.status = 0

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self._messages.append(message)

    def whole(self) -> Answer:
        headers = Headers(raw=self._messages[0]["headers"])
        kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
        return Answer(self.status, kept, b"".join(m.get("body", b"") for m in self._messages))

    async def send(self) -> None:
        for message in self._messages:
            await self._send(message)


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when the client has gone away while sending it."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _fingerprint(scope: Scope, body: bytes) -> bytes:
    path = scope.get("raw_path") or scope["path"].encode()
    if_match = Headers(scope=scope).getlist("if-match")
    parts = [scope["method"].encode(), path, scope["query_string"], body, *(one.encode("latin-1") for one in if_match)]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def _is_shown_once(scope: Scope) -> bool:
    return (scope["method"], scope["path"]) in SHOWN_ONCE


def _is_purge(scope: Scope) -> bool:
    """Its own answer tells how much went, and of no listing's content."""
    path: str = scope["path"]
    if scope["method"] == "POST":
        return path == "/api/mls-properties/purge"
    return scope["method"] == "DELETE" and path.startswith("/api/mls-properties/")


def _again(kept: Kept, fingerprint: bytes, scope: Scope) -> Response:
    if kept.answer is not None and kept.fingerprint == fingerprint:
        return _replay(kept.answer)
    code, title, detail, hint = _REFUSALS[_why_not(kept, fingerprint, scope)]
    headers = {"Retry-After": "1"} if code == "request_in_progress" else None
    return problem(409, code, title, detail, request_id=scope["state"]["request_id"], hint=hint, headers=headers)


def _why_not(kept: Kept, fingerprint: bytes, scope: Scope) -> str:
    if kept.fingerprint != fingerprint:
        return "reused"
    if kept.status is None:
        return "under way"
    if kept.status >= 500:
        return "unknown"
    return "shown once" if _is_shown_once(scope) else "purged"


_REFUSALS = {
    "reused": (
        "idempotency_key_reused",
        "The Idempotency-Key was used for another request",
        "a key stands for one request: the same method, path, body and If-Match",
        "send a new key with a new request",
    ),
    "under way": (
        "request_in_progress",
        "The request with this Idempotency-Key has no answer yet",
        "it is under way, or its process ended before it could say how it went",
        "ask again in a moment; five minutes after it began the same request is done anew",
    ),
    "unknown": (
        "outcome_unknown",
        "It is not known whether the request with this Idempotency-Key was done",
        "it ended with an error of the service, and may have been done before that",
        "look whether it was done; five minutes after it began the same request is done anew",
    ),
    "shown once": (
        "answer_not_kept",
        "The request was done; its answer is not kept",
        "the API key was made, and shown once, in the first answer",
        "if it was lost: GET /api/keys shows the key's id, DELETE /api/keys/{key_id} revokes it; then make another",
    ),
    "purged": (
        "answer_purged",
        "The request was done; its answer is no longer kept",
        "a listing was purged since, and with it the answers that may have told of it",
        "it needs no repeating; read what it has made",
    ),
}
"""Why the first answer cannot be given again: code, title, detail, hint."""


def _replay(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    headers = MutableHeaders(raw=response.raw_headers)
    headers.update(answer.headers)
    headers["Idempotency-Replayed"] = "true"
    return response


def _bad_key(scope: Scope) -> JSONResponse:
    return problem(
        422,
        "invalid_input",
        "The request is not valid",
        f"{HEADER}: must be printable ASCII of 1 to {MAX_KEY} characters",
        request_id=scope["state"]["request_id"],
    )


def _away(scope: Scope) -> JSONResponse:
    return problem(
        503,
        StoreUnavailable.code,
        "The database cannot be used right now",
        "the Idempotency-Key could not be looked up; nothing was changed",
        request_id=scope["state"]["request_id"],
        headers={"Retry-After": "2"},
    )
