"""What the tests of the service ask with: walks over lists, refusals, bodies as they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2

JSON = {"Content-Type": "application/json"}


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem that an answer is; that it is one in form, the contract has seen."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    return body


def refused_member(answer: httpx2.Response, *members: str) -> None:
    """The answer is 422 and names what is wrong in the caller's words."""
    body = refused(answer, 422, "invalid_input")
    assert tuple(error["field"] for error in body["errors"]) == members, body


async def done(answer: httpx2.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def pages(http: httpx2.AsyncClient, path: str, **query: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the items of each page, to the end of the list."""
    while True:
        page = await done(await http.get(path, params=query))
        assert page.keys() == {"items", "next_cursor"}
        yield page["items"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


async def items(http: httpx2.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    return [item async for page in pages(http, path, **query) for item in page]


async def ids(http: httpx2.AsyncClient, path: str, **query: Any) -> list[str]:
    """Return the ids of a list of CRM properties or listings, in its order."""
    return [item.get("id") or item["property_id"] for item in await items(http, path, **query)]
