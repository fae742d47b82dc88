"""What watches and mends, over HTTP: quarantine, events, statistics, keys, and whether the service is there."""

from __future__ import annotations

import random
from typing import Any

import httpx2
import orjson
import pytest
import zstandard

from api.asking import done, items, pages, refused, refused_member
from api.conftest import an_app, served
from making import a_listing
from mls_crm_sync.core.access import Scope
from mls_crm_sync.core.errors import StoreUnavailable
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.keys import create


async def push(http: httpx2.AsyncClient, *listings: dict[str, Any], source: str = "push") -> dict[str, Any]:
    body = {"listings": list(listings), "source": source}
    result: dict[str, Any] = await done(await http.post("/api/mls-properties", json=body))
    return result


# -- quarantine -------------------------------------------------------------------------------------------------------


async def test_quarantine_is_listed_by_id_source_and_page(http: httpx2.AsyncClient) -> None:
    await push(http, *[a_listing(f"L{n}", ListPrice=f"no {n}") for n in range(5)])
    await push(http, a_listing("H", ListPrice="no h"), source="hub")

    every = await items(http, "/api/quarantine", limit=2)

    assert sorted(q["position"] for q in every[:5]) == [1, 2, 3, 4, 5]
    assert every[5]["source"] == "hub"
    assert [q["quarantine_id"] for q in every] == sorted({q["quarantine_id"] for q in every})
    first = next(q for q in every if '"no 0"' in q["payload"])
    assert first.items() >= {
        "source": "push", "location": "*", "reason": "bad_value", "field_name": "ListPrice", "position": 1, "times": 1,
        "truncated": False,
    }.items()  # fmt: skip
    assert [q["position"] for q in await items(http, "/api/quarantine", source="hub")] == [1]
    assert await items(http, "/api/quarantine", source="nobody") == []
    refused_member(await http.get("/api/quarantine", params={"source": "\x00"}), "source")
    for cursor in ("x", "-1", "9" * 19):
        refused_member(await http.get("/api/quarantine", params={"cursor": cursor}), "cursor")


async def test_page_of_large_records_ends_before_it_is_too_large(http: httpx2.AsyncClient) -> None:
    large = [a_listing(f"L{n}", ListPrice=f"no {n}", PublicRemarks="x" * 900_000) for n in range(10)]
    await push(http, *large, a_listing("S", ListPrice="no s"))

    sizes, seen = [], []
    async for page in pages(http, "/api/quarantine", limit=1000):
        sizes.append(sum(len(q["payload"]) for q in page))
        seen += [q["quarantine_id"] for q in page]

    assert len(seen) == len(set(seen)) == 11
    assert len(sizes) == 3
    assert max(sizes) <= 4_000_000


async def test_same_broken_record_again_is_counted_not_repeated(http: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await push(http, a_listing(ListPrice="much"))

    assert [q["times"] for q in await items(http, "/api/quarantine")] == [3]


async def test_retry_takes_what_can_be_read_now(http: httpx2.AsyncClient, conn: Connection) -> None:
    """A record can be read later when our rules have been mended; here it is the kept bytes that are."""
    await push(http, a_listing("B", ListPrice="many"))
    await push(http, a_listing("C", ListPrice="much"))
    first, second = [q["quarantine_id"] for q in await items(http, "/api/quarantine")]
    mended = zstandard.compress(orjson.dumps(a_listing("B")))
    await conn.execute("UPDATE quarantined_records SET payload = $1 WHERE quarantine_id = $2", mended, first)

    some = await done(await http.post("/api/quarantine/retry", json={"ids": [second]}))
    assert some == {"tried": 1, "resolved": 0, "still_broken": 1, "cut_short": 0}
    assert await done(await http.post("/api/quarantine/retry", json={"ids": []})) == dict.fromkeys(some, 0)
    every = await done(await http.post("/api/quarantine/retry"))

    assert every == {"tried": 2, "resolved": 1, "still_broken": 1, "cut_short": 0}
    assert [(q["quarantine_id"], q["times"]) for q in await items(http, "/api/quarantine")] == [(second, 3)]
    assert await conn.fetchval("SELECT count(*) FROM mls_properties WHERE source_key = 'B'") == 1
    refused(await http.post("/api/quarantine/retry", json={"ids": [second, first]}), 404, "quarantine_not_found")


async def test_retried_push_keeps_to_the_id_it_brings(http: httpx2.AsyncClient, conn: Connection) -> None:
    await push(http, a_listing("RA") | {"property_id": "own1"}, source="rt")
    assert (await push(http, a_listing("RB") | {"property_id": "own1"}, source="rt"))["quarantined"] == 1
    (aside,) = [q["quarantine_id"] for q in await items(http, "/api/quarantine")]

    for body in ({"ids": [aside]}, {}):
        again = await done(await http.post("/api/quarantine/retry", json=body))
        assert again == {"tried": 1, "resolved": 0, "still_broken": 1, "cut_short": 0}
    assert await conn.fetch("SELECT property_id FROM mls_properties WHERE source_key = 'RB'") == []

    mended = zstandard.compress(orjson.dumps(a_listing("RB") | {"property_id": "own2"}))
    await conn.execute("UPDATE quarantined_records SET payload = $1", mended)
    assert (await done(await http.post("/api/quarantine/retry")))["resolved"] == 1
    listing = await done(await http.get("/api/mls-properties/own2"))
    assert (listing["listing_key"], "property_id" in listing["fields"]) == ("RB", False)


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"ids": [2**63]}, "ids.0"),
        ({"ids": [1, "2"]}, "ids.1"),
        ({"ids": [True]}, "ids.0"),
        ({"ids": 1}, "ids"),
        ({"source": "x"}, "source"),
    ],
)
async def test_retry_that_has_not_the_form_is_refused(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str
) -> None:
    refused_member(await http.post("/api/quarantine/retry", json=body), member)


# -- events -----------------------------------------------------------------------------------------------------------


async def some_events(http: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """A listing comes, is linked, changes its price, is unlinked and purged: the types in this order."""
    await push(http, a_listing() | {"property_id": "l"})
    await done(await http.post("/api/properties", json={"id": "a", "notes": "secret note"}), 201)
    await done(await http.post("/api/properties/a/link-mls", json={"mls_property_id": "l"}))
    await push(http, a_listing(ListPrice=123456))
    await done(await http.delete("/api/properties/a/unlink-mls"))
    await done(await http.delete("/api/mls-properties/l"))
    return await items(http, "/api/events")


async def test_events_come_in_order_and_tell_names_not_values(http: httpx2.AsyncClient) -> None:
    told = await some_events(http)

    assert [e["type"] for e in told] == [
        "listing.changed", "property.linked", "property.synced", "listing.changed", "property.synced",
        "property.unlinked", "listing.purged",
    ]  # fmt: skip
    assert [e["seq"] for e in told] == sorted({e["seq"] for e in told})
    price, synced = told[3:5]
    assert (price["property_id"], price["field_names"], price["change_types"]) == ("l", ["ListPrice"], ["price"])
    assert (synced["crm_property_id"], synced["platform"], synced["field_names"]) == ("a", "default", ["ListPrice"])
    assert "123456" not in str(told)
    assert "secret" not in str(told)


async def test_events_go_on_after_any_of_them(http: httpx2.AsyncClient) -> None:
    told = await some_events(http)
    seqs = [e["seq"] for e in told]

    for at, seq in enumerate(seqs):
        for query in ({"after": seq}, {"cursor": seq}, {"after": 0, "cursor": seq}):
            page = await done(await http.get("/api/events", params=query))
            assert [e["seq"] for e in page["items"]] == seqs[at + 1 :], query
    assert [len(page) async for page in pages(http, "/api/events", limit=3)] == [3, 3, 1, 0]


async def test_reader_that_comes_back_with_its_cursor_misses_nothing(http: httpx2.AsyncClient) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    dice = random.Random(seed)
    seen: list[str] = []
    cursor = "0"
    for number in range(12):
        await push(http, *[a_listing(f"L{number}-{n}") for n in range(dice.randrange(4) + 1)])
        for _ in range(dice.randrange(3)):
            page = await done(await http.get("/api/events", params={"after": cursor, "limit": dice.randrange(1, 6)}))
            seen += [e["property_id"] for e in page["items"]]
            cursor = page["next_cursor"] or cursor
    seen += [e["property_id"] for e in await items(http, "/api/events", after=cursor)]

    assert seen == [e["property_id"] for e in await items(http, "/api/events")]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ({"after": "x"}, "after"),
        ({"after": "-1"}, "after"),
        ({"after": "9" * 19}, "after"),
        ({"after": "1\x00"}, "after"),
        ({"cursor": "\u0661"}, "cursor"),
        ({"limit": 0}, "limit"),
    ],
)
async def test_place_that_is_none_is_refused_by_name(
    http: httpx2.AsyncClient, query: dict[str, Any], member: str
) -> None:
    refused_member(await http.get("/api/events", params=query), member)


# -- statistics and readiness -----------------------------------------------------------------------------------------


async def test_statistics_count_what_is_there(http: httpx2.AsyncClient) -> None:
    assert await done(await http.get("/api/stats")) == {
        "listings": {}, "crm_properties": {}, "quarantined": 0, "proposals": 0, "runs": [],
    }  # fmt: skip
    await push(
        http,
        a_listing("L1") | {"property_id": "l"},
        a_listing("L2", StandardStatus="Closed"),
        a_listing("L3", StandardStatus=None),
        a_listing("L4", ListPrice="much"),
    )
    for crm_id in "abc":
        await done(await http.post("/api/properties", json={"id": crm_id}), 201)
    await done(await http.post("/api/properties/a/link-mls", json={"mls_property_id": "l"}))

    stats = await done(await http.get("/api/stats"))

    assert stats["listings"] == {"Active": 1, "Closed": 1, "unknown": 1}
    assert stats["crm_properties"] == {"not_linked": 2, "synced": 1}
    assert stats["quarantined"] == 1
    assert [(run["kind"], run["source"], run["status"]) for run in stats["runs"]] == [("push", "push", "succeeded")]
    assert stats["runs"][0]["counts"].items() >= {"read": 4, "new": 3, "quarantined": 1}.items()


async def test_health_and_readiness(http: httpx2.AsyncClient, conn: Connection) -> None:
    assert await done(await http.get("/health")) == {"status": "ok"}
    assert await done(await http.get("/ready")) == {
        "status": "ready", "checks": {"database": "ok", "migrations": "ok"}, "sources_left_to_others": 0,
        "workers": 0, "worker_included": False,
    }  # fmt: skip

    await conn.execute("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)")

    answer = await http.get("/ready")
    behind = refused(answer, 503, "not_ready")
    assert behind["checks"] == {"database": "ok", "migrations": "SetupError"}
    assert int(answer.headers["Retry-After"]) > 0


async def test_service_whose_database_is_away_is_alive_and_not_ready(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a PostgreSQL that was stopped ends up here is shown in faults/test_postgres_restarts.py."""

    async def away(*_: object) -> None:
        raise StoreUnavailable("the server has gone")

    monkeypatch.setattr("mls_crm_sync.store.migrate.check", away)
    answer = await http.get("/ready")

    body = refused(answer, 503, "store_unavailable")
    assert body["checks"] == {"database": "unavailable", "migrations": "unknown"}
    assert int(answer.headers["Retry-After"]) > 0
    assert (await http.get("/health")).status_code == 200


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_key_is_shown_once_works_at_once_and_is_revoked_at_once(db: Database) -> None:
    admin = {"Authorization": f"Bearer {(await create(db, 'admin', [Scope.ADMIN]))[1]}"}
    async with served(an_app(db, local_mode=False)) as http:
        body = {"name": " reader ", "scopes": ["read", "read", "run"]}
        made = await done(await http.post("/api/keys", json=body, headers=admin), 201)
        assert (made["name"], made["scopes"]) == ("reader", ["read", "run"])
        mine = {"Authorization": f"bearer {made['key']}"}

        assert (await http.get("/api/properties", headers=mine)).status_code == 200
        refused(await http.post("/api/properties", json={}, headers=mine), 403, "wrong_scope")
        refused(await http.get("/api/keys", headers=mine), 403, "wrong_scope")
        listed = await http.get("/api/keys", headers=admin)
        assert made["key"] not in listed.text
        assert listed.json()["next_cursor"] is None
        assert [(k["name"], k["revoked_at"]) for k in listed.json()["items"]] == [("admin", None), ("reader", None)]
        assert listed.json()["items"][1].keys() == {"key_id", "name", "scopes", "created_at", "revoked_at"}

        assert (await http.delete(f"/api/keys/{made['key_id']}", headers=admin)).status_code == 204

        refused(await http.get("/api/properties", headers=mine), 401, "bad_key")
        refused(await http.delete(f"/api/keys/{made['key_id']}", headers=admin), 404, "key_not_found")
        assert (await done(await http.get("/api/keys", headers=admin)))["items"][1]["revoked_at"].endswith("Z")


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": " ", "scopes": ["read"]}, "name"),
        ({"name": "a\nb", "scopes": ["read"]}, "name"),
        ({"name": "x" * 101, "scopes": ["read"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes.0"),
        ({"name": "a", "scopes": "read"}, "scopes"),
        ({"name": "a", "scopes": ["read"], "key": "mine"}, "key"),
    ],
)
async def test_key_that_has_not_the_form_is_refused(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str
) -> None:
    refused_member(await http.post("/api/keys", json=body), member)

    assert (await done(await http.get("/api/keys")))["items"] == []


@pytest.mark.parametrize("key_id", ["0", "999", "-1", "abc", "1.0", "9" * 30, "\u0661"])
async def test_unknown_key_is_404(http: httpx2.AsyncClient, key_id: str) -> None:
    refused(await http.delete(f"/api/keys/{key_id}"), 404, "key_not_found")


# -- every route ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/properties", "/api/mls-properties", "/api/quarantine", "/api/events", "/api/keys"]
)
async def test_every_empty_list_has_the_one_form(http: httpx2.AsyncClient, path: str) -> None:
    assert await done(await http.get(path)) == {"items": [], "next_cursor": None}


async def test_what_there_is_not_is_a_problem_too(http: httpx2.AsyncClient) -> None:
    refused(await http.get("/nowhere"), 404, "not_found")
    refused(await http.get("/api/properties/a/b/c"), 404, "not_found")
    answer = await http.put("/api/properties", json={})
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] in {"GET", "POST", "GET, POST", "POST, GET"}


async def test_slash_too_many_is_404_and_no_redirect(http: httpx2.AsyncClient) -> None:
    refused(await http.get("/api/properties/"), 404, "not_found")
