"""Bodies are read as strictly as records: UTF-8, no member twice, no NaN, bounded depth."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from mls_crm_sync.core import records
from mls_crm_sync.core.errors import InvalidInput, RecordRejected


class StrictRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 - what a request of starlette answers
        body = await self.body()
        try:
            return records.decode(body).record
        except RecordRejected as error:
            if error.reason == "not_an_object":  # another JSON value: the model says what belongs there
                return json.loads(body)
            raise json.JSONDecodeError(error.detail, "", 0) from error  # the framework makes it the usual 422


class StrictRoute(APIRoute):
    """A route whose body is read by StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


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
