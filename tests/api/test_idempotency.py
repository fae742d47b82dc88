"""A request that comes twice with the same Idempotency-Key has one effect and gets the same answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import zstandard

from api.asking import refused
from api.conftest import an_app, served
from mls_crm_sync.core.access import Scope
from mls_crm_sync.core.errors import StoreUnavailable
from mls_crm_sync.store import answers, payloads
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.keys import create

NEW = {"crm_status": "active", "notes": "mine"}


def with_key(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def crm_count(conn: Connection) -> int:
    count: int = await conn.fetchval("SELECT count(*) FROM crm_properties")
    return count


async def test_same_request_again_has_one_effect_and_the_same_answer(
    http: httpx2.AsyncClient, conn: Connection
) -> None:
    first = await http.post("/api/properties", json=NEW, headers=with_key("k1"))
    again = await http.post("/api/properties", json=NEW, headers=with_key("k1"))

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert await crm_count(conn) == 1


async def test_without_a_key_every_request_counts(http: httpx2.AsyncClient, conn: Connection) -> None:
    for _ in range(2):
        assert (await http.post("/api/properties", json=NEW)).status_code == 201
    assert await crm_count(conn) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/api/properties", NEW | {"notes": "other"}), ("PATCH", "/api/properties/x", {"notes": "n"})],
)
async def test_key_of_another_request_is_refused(
    http: httpx2.AsyncClient, conn: Connection, method: str, path: str, body: dict[str, Any]
) -> None:
    await http.post("/api/properties", json=NEW, headers=with_key("k1"))

    answer = await http.request(method, path, json=body, headers=with_key("k1"))

    refused(answer, 409, "idempotency_key_reused")
    assert await crm_count(conn) == 1


async def test_refusal_is_not_kept_since_it_had_no_effect(http: httpx2.AsyncClient) -> None:
    body = {"notes": "later"}
    assert (await http.patch("/api/properties/a", json=body, headers=with_key("k1"))).status_code == 404
    await http.post("/api/properties", json={"id": "a"})

    assert (await http.patch("/api/properties/a", json=body, headers=with_key("k1"))).status_code == 200


async def test_two_at_once_have_one_effect(http: httpx2.AsyncClient, conn: Connection) -> None:
    requests = [http.post("/api/properties", json=NEW, headers=with_key("k1")) for _ in range(8)]
    statuses = [response.status_code for response in await asyncio.gather(*requests)]

    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert await crm_count(conn) == 1


async def test_request_under_way_is_said_so_until_its_process_counts_as_dead(
    http: httpx2.AsyncClient, conn: Connection
) -> None:
    await http.post("/api/properties", json=NEW, headers=with_key("k1"))
    await conn.execute("UPDATE kept_answers SET status = NULL, headers = NULL, body = NULL")

    waiting = await http.post("/api/properties", json=NEW, headers=with_key("k1"))
    assert (waiting.status_code, waiting.json()["code"]) == (409, "request_in_progress")
    assert waiting.headers["Retry-After"] == "1"

    await conn.execute(
        "UPDATE kept_answers SET started_at = now() - $1::interval", answers.TAKEN_FOR_DEAD_AFTER + timedelta(seconds=1)
    )
    assert (await http.post("/api/properties", json=NEW, headers=with_key("k1"))).status_code == 201


async def test_key_is_forgotten_after_seven_days(http: httpx2.AsyncClient, conn: Connection) -> None:
    await http.post("/api/properties", json=NEW, headers=with_key("k1"))
    await http.post("/api/properties", json=NEW, headers=with_key("k2"))
    await conn.execute("UPDATE kept_answers SET started_at = now() - $1::interval", answers.KEPT_FOR * 1.01)

    await http.post("/api/properties", json=NEW | {"notes": "other"}, headers=with_key("k1"))

    assert await crm_count(conn) == 3
    assert [row["key"] for row in await conn.fetch("SELECT key FROM kept_answers")] == ["k1"]


async def test_callers_do_not_see_each_others_keys(db: Database, conn: Connection) -> None:
    keys = [(await create(db, name, [Scope.WRITE_CRM]))[1] for name in ("one", "two")]
    async with served(an_app(db, local_mode=False)) as client:
        for key in keys:
            headers = with_key("k1") | {"Authorization": f"Bearer {key}"}
            answer = await client.post("/api/properties", json=NEW, headers=headers)
            assert "Idempotency-Replayed" not in answer.headers
    assert await crm_count(conn) == 2


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\tbed"])
async def test_key_that_is_none_is_refused(http: httpx2.AsyncClient, key: str) -> None:
    answer = await http.post("/api/properties", json=NEW, headers=with_key(key))

    refused(answer, 422, "invalid_input")


async def test_purge_leaves_no_content_in_kept_answers_and_the_one_effect(
    http: httpx2.AsyncClient, conn: Connection
) -> None:
    listing = {"source": "s", "location": "l", "listings": [{"ListingKey": "L1", "PublicRemarks": "marker"}]}
    pushed = (await http.post("/api/mls-properties", json=listing)).json()
    await http.post("/api/properties", json=NEW | {"id": "a"})
    link = {"mls_property_id": pushed["items"][0]["property_id"]}
    for _ in range(2):
        linked = await http.post("/api/properties/a/link-mls", json=link, headers=with_key("k1"))
        assert linked.status_code == 200

    await http.delete(f"/api/mls-properties/{link['mls_property_id']}")

    again = await http.post("/api/properties/a/link-mls", json=link, headers=with_key("k1"))
    assert (again.status_code, again.json()["code"]) == (409, "answer_purged")
    kept = await conn.fetchrow("SELECT headers, body, status FROM kept_answers")
    assert tuple(kept or ()) == (None, None, 200)


async def test_answer_on_its_way_during_a_purge_is_not_kept(http: httpx2.AsyncClient, conn: Connection) -> None:
    listing = {"listings": [{"ListingKey": "L1", "PublicRemarks": "marker"}]}
    (item,) = (await http.post("/api/mls-properties", json=listing)).json()["items"]
    assert await answers.begin(conn, "local", "k1", b"f") is None

    purged = await http.delete(f"/api/mls-properties/{item['property_id']}", headers=with_key("k2"))
    await answers.keep(conn, "local", "k1", answers.Answer(200, {"etag": "marker"}, b"marker"))

    assert b"marker" not in await everything_stored(conn)
    assert await answers.begin(conn, "local", "k1", b"f") == answers.Kept(b"f", 200)
    again = await http.delete(f"/api/mls-properties/{item['property_id']}", headers=with_key("k2"))
    assert (again.status_code, again.content) == (200, purged.content)  # its own answer has no content


async def test_request_that_begins_during_a_purge_waits_for_it(conn: Connection, db: Database) -> None:
    """A request that begins while a purge is about to commit would read, and answer with, what is going."""
    async with db.transaction() as purging:
        await answers.empty(purging)
        beginning = asyncio.create_task(answers.begin(conn, "local", "k1", b"f"))
        await asyncio.sleep(0.2)
        assert not beginning.done()

    assert await beginning is None


async def test_error_of_the_service_leaves_the_outcome_unknown_and_says_so(
    http: httpx2.AsyncClient, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr("mls_crm_sync.sync.crm.create", broken)
        assert (await http.post("/api/properties", json=NEW, headers=with_key("k1"))).status_code == 503

    told = refused(await http.post("/api/properties", json=NEW, headers=with_key("k1")), 409, "outcome_unknown")
    assert "look whether" in told["hint"]
    await conn.execute(
        "UPDATE kept_answers SET started_at = now() - $1::interval", answers.TAKEN_FOR_DEAD_AFTER + timedelta(seconds=1)
    )
    assert (await http.post("/api/properties", json=NEW, headers=with_key("k1"))).status_code == 201


async def test_another_if_match_is_another_request(http: httpx2.AsyncClient) -> None:
    await http.post("/api/properties", json={"id": "a"})
    first = await http.patch("/api/properties/a", json={"notes": "n"}, headers=with_key("k1") | {"If-Match": '"1"'})
    assert first.status_code == 200

    other = await http.patch("/api/properties/a", json={"notes": "n"}, headers=with_key("k1") | {"If-Match": '"2"'})

    refused(other, 409, "idempotency_key_reused")


async def test_answer_without_a_body_is_kept_too(http: httpx2.AsyncClient) -> None:
    await http.post("/api/properties", json={"id": "a"})

    codes = [(await http.delete("/api/properties/a", headers=with_key("k1"))).status_code for _ in range(2)]

    assert codes == [204, 204]


async def everything_stored(conn: Connection) -> bytes:
    """Every column of every table, packed ones as they are and unpacked."""
    found = b""
    for (table,) in await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        for row in await conn.fetch(f'SELECT * FROM "{table}"'):
            found += b"\n".join(map(_bytes_of, row.values()))
    return found


def _bytes_of(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    return payloads.unpacked(value) if value.startswith(zstandard.FRAME_HEADER) else value


async def test_key_that_was_made_is_stored_nowhere_and_not_shown_again(
    http: httpx2.AsyncClient, conn: Connection
) -> None:
    body = {"name": "crm", "scopes": ["admin"]}
    made = await http.post("/api/keys", json=body, headers=with_key("k1"))
    await http.post("/api/properties", json={"notes": "to be found"}, headers=with_key("k2"))

    stored = await everything_stored(conn)
    assert stored.count(b"to be found") == 2  # in its row, and in its answer: what is packed is looked into
    assert made.json()["key"].encode() not in stored

    again = await http.post("/api/keys", json=body, headers=with_key("k1"))
    told = refused(again, 409, "answer_not_kept")
    assert "shown once" in told["detail"]
    assert "DELETE /api/keys/{key_id}" in told["hint"]
    assert len((await http.get("/api/keys")).json()["items"]) == 1
    assert await conn.fetchval("SELECT status FROM kept_answers WHERE key = 'k1'") == 201
    other = await http.post("/api/keys", json=body | {"name": "x"}, headers=with_key("k1"))
    refused(other, 409, "idempotency_key_reused")
