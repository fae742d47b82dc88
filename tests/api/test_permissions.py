"""Deny by default: every route against the permission table, and who gets local mode."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from mls_crm_sync.api.app import create_app, routes
from mls_crm_sync.api.context import Service
from mls_crm_sync.api.permissions import PERMISSIONS
from mls_crm_sync.core.access import Scope, allows
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import keys

ROWS = sorted(PERMISSIONS.items(), key=str)


async def test_every_route_has_a_row_and_every_row_a_route(db: Database) -> None:
    service = Service(db, db, Normaliser(), timedelta(hours=12))
    found = {
        (m, r.path) for r in routes(create_app(service, local_mode=True)) for m in (r.methods or ()) if m != "HEAD"
    }

    assert found == set(PERMISSIONS)


async def test_every_route_answers_every_kind_of_caller_as_the_table_says(
    db: Database, locked: httpx2.AsyncClient
) -> None:
    made = {scope: (await keys.create(db, scope, [scope]))[1] for scope in Scope}
    revoked_id, revoked = await keys.create(db, "revoked", ["admin"])
    await keys.revoke(db, revoked_id)
    for (method, path), needed in ROWS:
        where = path.replace("{id}", "zz").replace("{key_id}", "999")
        expected: dict[str | None, set[int]] = {None: {401}, "mcs_wrong": {401}, revoked: {401}}
        expected |= {key: ({403} if needed and not allows([scope], needed) else set()) for scope, key in made.items()}
        for key, statuses in expected.items():
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            answer = await locked.request(method, where, headers=headers)
            if needed is None:
                assert answer.status_code in {200, 503}, (method, path)
            elif statuses:
                assert answer.status_code in statuses, (method, path, key)
            else:
                assert answer.status_code not in {401, 403} and answer.status_code < 500, (method, path, answer.text)  # noqa: PT018


async def test_key_is_asked_for_by_header_and_command(locked: httpx2.AsyncClient) -> None:
    body = (await locked.get("/api/properties")).json()

    assert "Authorization: Bearer" in body["detail"]
    assert "mls-crm-sync keys create" in body["hint"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "evil.example"}, 401),
        ({"Host": "127.0.0.1.evil.example"}, 401),
        ({"Origin": "http://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"Forwarded": "for=127.0.0.1"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"X-Real-IP": "127.0.0.1"}, 401),
    ],
)
async def test_local_mode_is_for_this_machine_alone(
    http: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await http.get("/api/properties", headers=headers)).status_code == status


async def test_own_origin_has_local_mode(http: httpx2.AsyncClient) -> None:
    origin = str(http.base_url).rstrip("/")

    assert (await http.get("/api/properties", headers={"Origin": origin})).status_code == 200


async def test_keys_are_stored_as_digests_and_shown_once(http: httpx2.AsyncClient, conn: Connection) -> None:
    made = (await http.post("/api/keys", json={"name": "crm", "scopes": ["read"]})).json()
    key = made["key"]

    assert key.startswith("mcs_")
    assert key not in (await http.get("/api/keys")).text
    assert key not in str([dict(row) for row in await conn.fetch("SELECT * FROM api_keys")])
    assert (await http.delete(f"/api/keys/{made['key_id']}")).status_code == 204
    assert (await http.delete(f"/api/keys/{made['key_id']}")).status_code == 404


async def test_every_answer_carries_security_headers_and_a_request_id(http: httpx2.AsyncClient) -> None:
    for path in ("/health", "/nowhere", "/api/properties/zz", "/api/properties"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]


async def test_body_that_is_too_large_is_413(http: httpx2.AsyncClient) -> None:
    large: Any = {"notes": "x" * 1_100_000}
    answer = await http.post("/api/properties", json=large)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
