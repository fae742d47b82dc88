"""The documented requests and their good answers, by every caller that may send them: without a key on a developer's
machine, with a key of the very scope that each needs, and with an admin's. Sample bodies as they are documented.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from api.conftest import an_app, served
from making import a_listing
from mls_crm_sync.core.access import Scope
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync.keys import create

LISTING = {"mls_property_id": "abc123def456"}
REFERENCE = {"mls_property_id": "abc123def456", "crm_property_id": "p1"}
ADDED = {**REFERENCE, "platform": "default"}
IN_STEP = {"success": True, "crm_properties_updated": 1, "changed": 0}
LINK, READ = Scope.WRITE_LINKS, Scope.READ


@dataclass(frozen=True)
class Documented:
    """A request, the scope it needs, and members of its answer; the values that are None are only there."""

    scope: Scope
    method: str
    path: str
    body: dict[str, Any] | None = None
    query: dict[str, str] = dataclasses.field(default_factory=dict)
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)


SEQUENCE = (
    Documented(LINK, "POST", "/api/properties/p1/link-mls", LISTING, answer=LISTING),
    Documented(LINK, "POST", "/api/properties/p1/link-mls", LISTING, answer=LISTING),
    Documented(
        READ, "GET", "/api/properties/p1/mls-data",
        answer={"property_id": "abc123def456", "content_hash": None, "crm_property_ids": ["p1"], "fields": None},
    ),
    Documented(LINK, "POST", "/api/properties/p1/sync-from-mls", answer={"changed": False, "field_names": []}),
    Documented(LINK, "POST", "/sync-property", LISTING, answer={**IN_STEP, **LISTING, "message": None}),
    Documented(LINK, "POST", "/sync-property", {**LISTING, "platform": "default"}, answer=IN_STEP),
    Documented(LINK, "POST", "/sync-property", {"platform": "default"}, answer=IN_STEP),
    Documented(LINK, "POST", "/sync-property", {}, answer=IN_STEP),
    Documented(LINK, "POST", "/sync-property", answer=IN_STEP),
    Documented(LINK, "POST", "/sync-property", query=LISTING, answer=IN_STEP),
    Documented(LINK, "DELETE", "/api/properties/p1/unlink-mls", answer={"message": None}),
    Documented(LINK, "POST", "/api/properties/p1/link-mls", LISTING, answer=LISTING),
    Documented(LINK, "DELETE", "/api/properties/p1/unlink-mls", query={"restore_own": "true"}),
    Documented(LINK, "POST", "/crm-property-reference", REFERENCE, answer={**ADDED, "message": None}),
    Documented(LINK, "POST", "/crm-property-reference", ADDED, answer={**ADDED, "message": None}),
    Documented(LINK, "DELETE", "/crm-property-reference", REFERENCE, answer={**ADDED, "message": None}),
    Documented(LINK, "POST", "/crm-property-reference", REFERENCE, answer=ADDED),
    Documented(LINK, "DELETE", "/crm-property-reference", query=ADDED, answer={**ADDED, "message": None}),
)  # fmt: skip


@pytest.fixture
async def ready(db: Database) -> Database:
    """The listing and the CRM property of the documented bodies."""
    async with served(an_app(db)) as http:
        listings = [a_listing() | {"property_id": "abc123def456"}]
        assert (await http.post("/api/mls-properties", json={"listings": listings})).json()["new"] == 1
        assert (await http.post("/api/properties", json={"id": "p1"})).status_code == 201
    return db


@pytest.fixture(params=["local", "right scope", "admin"])
async def headers_of(ready: Database, request: pytest.FixtureRequest) -> AsyncIterator[tuple[httpx2.AsyncClient, Any]]:
    """A client, and the headers with which this caller sends a request that needs a scope."""
    kind: str = request.param
    made = {scope: (await create(ready, scope, [scope]))[1] for scope in Scope}

    def headers(scope: Scope) -> dict[str, str]:
        if kind == "local":
            return {}
        return {"Authorization": f"Bearer {made[scope if kind == 'right scope' else Scope.ADMIN]}"}

    async with served(an_app(ready, local_mode=kind == "local")) as http:
        yield http, headers


async def asked(http: httpx2.AsyncClient, one: Documented, headers: dict[str, str]) -> httpx2.Response:
    return await http.request(one.method, one.path, params=one.query or None, json=one.body, headers=headers)


async def test_every_documented_request_has_its_good_answer(headers_of: tuple[httpx2.AsyncClient, Any]) -> None:
    http, headers = headers_of
    for one in SEQUENCE:
        answer = await asked(http, one, headers(one.scope))

        assert answer.status_code == 200, (one, answer.text)
        got = answer.json()
        assert got.keys() >= one.answer.keys(), one
        for name, value in one.answer.items():
            assert got[name] == value if value is not None else got[name], (one, name)


async def test_no_documented_request_is_done_without_its_key(ready: Database) -> None:
    reader = {"Authorization": f"Bearer {(await create(ready, 'r', [READ]))[1]}"}
    async with served(an_app(ready, local_mode=False)) as http:
        for one in SEQUENCE:
            refusal = await asked(http, one, {})
            assert (refusal.status_code, refusal.json()["code"]) == (401, "no_key"), one
            read = await asked(http, one, reader)
            assert read.json()["code"] == ("not_linked" if one.scope is READ else "wrong_scope"), one
