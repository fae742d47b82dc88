"""Every answer that a test gets is held against the OpenAPI document: status, media type, members, error form.

So each test of the API is also one of its document. Members that the document does not have are refused as well, or a
leak would pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from jsonschema_rs import Draft202012Validator

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
PROBLEM = "application/problem+json"
ELSEWHERE = {404, 405, 413}
"""What an operation that is not in the document may answer: a path without a route, a route without the method, and a
body that is too large for anything."""


async def keeps_to_document(answer: httpx2.Response) -> None:
    """Hook of a client: fails the request whose answer is none of those documented."""
    body = await answer.aread()
    complaint = complaint_about(
        answer.request.method, answer.request.url.raw_path.partition(b"?")[0].decode("ascii"), answer, body
    )
    assert complaint is None, f"{answer.request.method} {answer.request.url}: {complaint}\n{body[:2000]!r}"


def complaint_about(method: str, path: str, answer: httpx2.Response, body: bytes) -> str | None:
    """What of an answer is not as the document says, or None. `path` as it was sent, escapes and all."""
    if not answer.headers.get("x-request-id"):
        return "no X-Request-Id"
    operation = _operation(method, path)
    if operation is None:
        if answer.status_code not in ELSEWHERE and path != "/api/openapi.json":
            return f"{answer.status_code} of an operation that is not documented"
        return None if answer.is_success or method == "HEAD" else _no_problem(answer, body)
    template, documented = operation
    if method == "HEAD":
        return "a body after HEAD" if body else None
    said = documented["responses"].get(str(answer.status_code))
    if said is None:
        return f"status {answer.status_code} is not documented; there are {', '.join(documented['responses'])}"
    wrong = _wrong_body(template, method, answer, said.get("content"), body)
    return wrong or (_no_problem(answer, body) if answer.is_error else None)


def _wrong_body(
    template: str, method: str, answer: httpx2.Response, content: dict[str, Any] | None, body: bytes
) -> str | None:
    if content is None:
        return "a body where none is documented" if body else None
    media_type = answer.headers.get("content-type")
    if media_type not in content:
        return f"media type {media_type}, documented {', '.join(content)}"
    errors = _validator(template, method.lower(), answer.status_code, media_type).iter_errors(json.loads(body))
    return "; ".join(f"{list(e.instance_path)}: {e.message}" for e in errors) or None


def _no_problem(answer: httpx2.Response, body: bytes) -> str | None:
    """RFC 9457, and the request's id inside as outside."""
    if answer.headers.get("content-type") != PROBLEM:
        return f"an error as {answer.headers.get('content-type')}"
    told = json.loads(body)
    if told["request_id"] != answer.headers["x-request-id"]:
        return "the request_id is not that of X-Request-Id"
    if told["status"] != answer.status_code or not re.fullmatch("[a-z_]+", told["code"]):
        return "status or code of the problem"
    return None


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The documented operation that a request is for: that of a fixed path before that of one with an id."""
    for template, pattern in _paths():
        if pattern.fullmatch(path):
            found = _document()["paths"][template].get("get" if method == "HEAD" else method.lower())
            return None if found is None else (template, found)
    return None


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    for schema in _objects(document["components"]["schemas"]):
        schema.setdefault("additionalProperties", False)
    return document


def _objects(schemas: Any) -> Iterator[dict[str, Any]]:
    """Every schema with members of its own."""
    found = [one for one in schemas.values() if isinstance(one.get("properties"), dict)]
    assert found
    yield from found


@cache
def _paths() -> list[tuple[str, re.Pattern[str]]]:
    templates = sorted(_document()["paths"], key=lambda path: (path.count("{"), path))
    return [(path, re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", path))))) for path in templates]


@cache
def _validator(template: str, method: str, status: int, media_type: str) -> Draft202012Validator:
    document = _document()
    schema = document["paths"][template][method]["responses"][str(status)]["content"][media_type]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)
