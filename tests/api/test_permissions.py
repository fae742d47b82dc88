"""Deny by default: every route against the permission table, and who gets local mode."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
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


def test_every_route_is_in_the_documentation_with_its_scope() -> None:
    told = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")

    for (method, path), scope in ROWS:
        assert f"| `{method} {path}` | {f'`{scope}`' if scope else 'open'} |" in told, (method, path)


async def test_every_route_answers_every_kind_of_caller_as_the_table_says(
    db: Database, locked: httpx2.AsyncClient
) -> None:
    made = {scope: (await keys.create(db, scope, [scope]))[1] for scope in Scope}
    revoked_id, revoked = await keys.create(db, "revoked", ["admin"])
    await keys.revoke(db, revoked_id)
    for place, needed in ROWS:
        method, where = of_table(*place)
        expected: dict[str | None, set[int]] = {None: {401}, "mcs_wrong": {401}, revoked: {401}}
        expected |= {key: ({403} if needed and not allows([scope], needed) else set()) for scope, key in made.items()}
        for key, statuses in expected.items():
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            answer = await locked.request(method, where, headers=headers)
            if needed is None:
                assert answer.status_code in {200, 503}, place
            elif statuses:
                assert answer.status_code in statuses, (place, key)
            else:
                assert answer.status_code not in {401, 403}, (place, answer.text)
                assert answer.status_code < 500, (place, answer.text)


async def test_key_is_asked_for_by_header_and_command(locked: httpx2.AsyncClient) -> None:
    for (method, path), needed in ROWS:
        if needed is not None:
            body = (await locked.request(*of_table(method, path))).json()
            assert "Authorization: Bearer" in body["detail"]
            assert f"mls-crm-sync keys create NAME --scope {needed}`" in body["hint"]


def of_table(method: str, path: str) -> tuple[str, str]:
    """A request for a route of the table, with ids that are nobody's."""
    return method, path.replace("{id}", "zz").replace("{key_id}", "999")


NOT_FROM_HERE: list[list[tuple[str, str]]] = [
    [("Host", host)]
    for host in (
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil@localhost", "localhost@evil.example",
        "localhost/x", "localhost#x", "localhost:80:80", "[::1%evil.com]", "[::1]evil", "127.0.0.1\\x", "10.0.0.1", "",
    )
] + [
    [(name, "127.0.0.1")]
    for name in (
        "Forwarded", "Forwarded-For", "Via", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP",
        "CF-Connecting-IP", "CF-Ray", "X-Envoy-External-Address", "X-Original-Host", "X-Original-Forwarded-For",
        "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
        "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Prefix", "x-FORWARDED-whatever",
    )
] + [
    [("Origin", "http://evil.example")],
    [("Origin", "null")],
    [("Origin", "https://localhost")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "same-site")],
    [("Host", "localhost"), ("Host", "evil.example")],
    [("Host", "localhost"), ("Origin", "http://localhost"), ("Origin", "http://evil.example")],
    [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
]  # fmt: skip


@pytest.mark.parametrize("headers", NOT_FROM_HERE, ids=str)
async def test_request_from_elsewhere_has_no_local_mode(
    http: httpx2.AsyncClient, headers: list[tuple[str, str]]
) -> None:
    """Of a Host that is none, or twice there, the server may also make a 400 of its own."""
    assert await status_of(http, "GET", "/api/properties", headers) in {400, 401}


async def status_of(http: httpx2.AsyncClient, method: str, path: str, headers: list[tuple[str, str]]) -> int:
    """Ask over a bare connection, which sends what it is told to send."""
    host, port = http.base_url.host, http.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    sent = headers if any(name == "Host" for name, _ in headers) else [("Host", f"{host}:{port}"), *headers]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent), "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


@pytest.mark.parametrize(
    "headers", [NOT_FROM_HERE[0], [("X-Forwarded-For", "127.0.0.1")], [("Origin", "http://evil.example")]], ids=str
)
async def test_no_route_but_the_open_ones_takes_a_request_from_elsewhere(
    http: httpx2.AsyncClient, headers: list[tuple[str, str]]
) -> None:
    for place, needed in ROWS:
        status = await status_of(http, *of_table(*place), headers)
        assert status == (401 if needed else 200), place


async def test_every_route_takes_a_request_from_this_machine(http: httpx2.AsyncClient) -> None:
    for place, _ in ROWS:
        status = await status_of(http, *of_table(*place), [])
        assert status not in {401, 403}, place
        assert status < 500, place


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "LocalHost", "127.0.0.1", "127.9.9.9:1", "[::1]:8080"])
async def test_names_of_this_machine_have_local_mode(http: httpx2.AsyncClient, host: str) -> None:
    assert await status_of(http, "GET", "/api/properties", [("Host", host)]) == 200
    own = [("Host", host), ("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin")]
    assert await status_of(http, "GET", "/api/properties", own) == 200


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


async def test_head_is_get_without_the_body(http: httpx2.AsyncClient, locked: httpx2.AsyncClient) -> None:
    await http.post("/api/properties", json={"id": "a"})
    for path in ("/health", "/ready", "/api/properties", "/api/properties/a", "/api/properties/b", "/api/keys"):
        got, head = await http.get(path), await http.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        for name in ("content-type", "content-length", "etag"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)
    assert (await http.head("/crm-property-reference")).status_code == 405
    assert (await locked.head("/api/properties")).status_code == 401


@pytest.mark.parametrize("path", ["/api/properties/bulk", "/api/properties/import", "/api/mls-properties"])
async def test_only_what_takes_many_takes_a_large_body(http: httpx2.AsyncClient, path: str) -> None:
    large = b" " * 1_100_000

    for method in ("PATCH", "DELETE", "PUT"):
        assert (await http.request(method, path, content=large)).status_code == 413, method
    assert (await http.post(path, content=large)).status_code == 422


async def test_body_that_is_too_large_is_413(http: httpx2.AsyncClient) -> None:
    large: Any = {"notes": "x" * 1_100_000}
    answer = await http.post("/api/properties", json=large)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
