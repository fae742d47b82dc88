"""Bodies are read as strictly as records: UTF-8, no member twice, no NaN, bounded depth.

They are read before the framework looks: it makes a 400 of whatever goes wrong while it reads, be it a body that is too
large or a client that has gone.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Coroutine
from decimal import Decimal
from enum import Enum, auto
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mls_crm_sync.core import records
from mls_crm_sync.core.errors import InvalidInput, RecordRejected

SAYS_NOTHING = (b"", b"{}")
"""Bodies that a client may send where none is taken."""

LARGE = 100_000
"""Bytes; a body of more is decoded beside the requests that wait meanwhile."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Takes(Enum):
    """What body a route takes."""

    JSON = auto()
    OTHER = auto()
    NOTHING = auto()


class StrictRequest(Request):
    """A request whose JSON is decoded at most once, strictly."""

    _strictly: Any = None

    async def json(self) -> Any:  # noqa: ANN401 - what a request of starlette answers
        return self._strictly

    async def read(self, takes: Takes, exact: Collection[str]) -> None:
        """Raises InvalidInput for a body that is not what the route takes. Members of `exact` are kept exactly."""
        try:
            body = await self.body()
        except ClientDisconnect as error:  # nobody hears this; it is no fault of ours either
            raise HTTPException(400, "the client went away while it sent the body") from error
        if body and takes is Takes.JSON:
            _check_content_type(self.headers.get("content-type"))
            decode = partial(_decoded, body, exact)
            self._strictly = decode() if len(body) < LARGE else await asyncio.to_thread(decode)
        elif takes is Takes.NOTHING and body.strip() not in SAYS_NOTHING:
            raise InvalidInput("body", "none is taken here")


class StrictRoute(APIRoute):
    """A route whose body is read by StrictRequest."""

    exact = frozenset({"mls_property_id"})
    """Members that name what there is: without the characters that PostgreSQL cannot hold they would name another."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        takes = self._takes()

        async def strict(request: Request) -> Response:
            read = StrictRequest(request.scope, request.receive)
            if takes is not None:
                await read.read(takes, self.exact)
            return await handler(read)

        return strict

    def _takes(self) -> Takes | None:
        """What body the route takes; None where one is not looked at."""
        if self.body_field is not None:
            return Takes.JSON
        if (self.methods or set()) <= {"GET", "HEAD"}:
            return None
        return Takes.OTHER if "requestBody" in (self.openapi_extra or {}) else Takes.NOTHING


class ReferenceRoute(StrictRoute):
    """Whatever its body has names something."""

    exact = frozenset({"mls_property_id", "crm_property_id", "platform"})


def _check_content_type(content_type: str | None) -> None:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InvalidInput("Content-Type", f"must be application/json, is {kind or 'not there'!a}")


def _decoded(body: bytes, exact: Collection[str]) -> Any:  # noqa: ANN401 - any JSON value
    try:
        decoded = records.decode(body)
        return _named_exactly(decoded.record, json.loads(body), exact) if decoded.notes else decoded.record
    except RecordRejected as error:
        if error.reason == "not_an_object":  # another JSON value: the model says what belongs there
            return json.loads(body)
        raise InvalidInput("body", error.detail) from error


def _named_exactly(clean: dict[str, Any], sent: dict[str, Any], exact: Collection[str]) -> dict[str, Any]:
    """Put back what names something, with NUL for whatever cannot be stored: nothing has it in its name."""
    named = {name: value for name, value in sent.items() if name in exact and isinstance(value, str)}
    return clean | {name: _UNSTORABLE.sub("\x00", value) for name, value in named.items()}


def storable(member: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a free JSON value as jsonb takes it: numbers as floats or 64-bit integers. Raises InvalidInput."""
    if isinstance(value, Decimal):
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise InvalidInput(member, "a number out of range")
        return number
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise InvalidInput(member, "a number out of range")
    if isinstance(value, list):
        return [storable(member, item) for item in value]
    if isinstance(value, dict):
        return {name: storable(member, item) for name, item in value.items()}
    return value
