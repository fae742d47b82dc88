"""The naughty strings by every way in that `test_naughty_text` leaves: many at once, from a file, in queries and paths.

What is stored is read back as its normal form, or the answer is 4xx; never a 5xx, and nothing is altered otherwise.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from api.asking import JSON, done, ids, items
from api.test_naughty_text import MADE_UP, normal, storable
from making import a_listing
from mls_crm_sync.store.database import Connection

pytestmark = pytest.mark.one_server

TEXT_FIELDS = (
    "UnparsedAddress",
    "City",
    "PublicRemarks",
    "ListAgentFullName",
    "MlsStatus",
    "PropertyType",
    "Directions",
)
FREE = 450  # of the some 500 strings are text that an id or a name may be; should fewer get through, the test is blind


@pytest.fixture(scope="module")
def naughty(shared: Path) -> list[str]:
    """Each string once, but for those that are the same once what cannot be stored is taken out."""
    strings = json.loads((shared / "suites" / "blns.json").read_text(encoding="utf-8"))
    assert len(strings) > 500
    return list({storable(text): text for text in [*strings, *MADE_UP]}.values())


async def posted(http: httpx2.AsyncClient, path: str, body: Any) -> Any:
    """Lone surrogates go as escapes, as any client may write them."""
    return await done(await http.post(path, content=json.dumps(body).encode(), headers=JSON))


def sent(text: str) -> str:
    """As a query or a path can carry it: a lone surrogate has no UTF-8."""
    return text.encode("utf-8", "ignore").decode()


def is_id(text: str, length: int = 200) -> bool:
    return 0 < len(text) <= length and text.isprintable()


async def test_many_at_once(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    rows = [
        {
            "id": f"p{n}", "crm_status": text, "notes": text, "tags": [text, f"{text}2"], "assigned_agent": text,
            "custom": {f"k{text}": text, "l": [[text], {"d": text}]}, "own": dict.fromkeys(TEXT_FIELDS, text),
        }
        for n, text in enumerate(naughty)
    ]  # fmt: skip
    result = await posted(http, "/api/properties/bulk", {"items": rows})
    assert (result["made"], result["errors"]) == (len(naughty), [])

    got = {row["id"]: row for row in await items(http, "/api/properties", limit=100)}

    for n, text in enumerate(naughty):
        row, bare, fact = got[f"p{n}"], storable(text) or "", normal(text)
        assert (row["crm_status"], row["notes"], row["assigned_agent"]) == (storable(text),) * 3
        assert row["tags"] == list(dict.fromkeys(tag for tag in (bare.strip(), f"{bare}2".strip()) if tag))
        assert row["custom"] == {f"k{bare}": bare, "l": [[bare], {"d": bare}]}
        assert row["own"] == (dict.fromkeys(TEXT_FIELDS, fact) if fact is not None else {})
    again = await posted(http, "/api/properties/bulk", {"items": rows})
    assert again["unchanged"] == len(naughty)


async def test_ids_of_many_at_once(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    rows = [{"id": text} for text in naughty]

    result = await posted(http, "/api/properties/bulk", {"items": rows})

    good = {bare for row in rows if is_id(bare := storable(row["id"]) or "")}
    assert len(good) > FREE
    assert set(await ids(http, "/api/properties", limit=1000)) == good
    assert result["made"] == len(good) == len(rows) - len(result["errors"])
    for row in rows:  # each is what its walk goes on after
        cursor = sent(row["id"])
        answer = await http.get("/api/properties", params={"cursor": cursor, "limit": 1})
        after = sorted(one for one in good if one.encode() > cursor.encode())
        if "\x00" in cursor:
            assert answer.status_code == 422
        else:
            found = [item["id"] for item in (await done(answer))["items"]]
            assert found == sorted(after, key=str.encode)[:1]


async def test_from_a_file(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "notes", "assigned_agent", "address", "Own Column"])
    texts = [sent(text) for text in naughty]
    writer.writerows([f"p{n}", *[text] * 4] for n, text in enumerate(texts))

    content = out.getvalue().encode()
    answer = await http.post("/api/properties/import", content=content, headers={"Content-Type": "text/csv"})

    assert ((await done(answer))["made"], answer.json()["errors"]) == (len(texts), [])
    got = {row["id"]: row for row in await items(http, "/api/properties", limit=100)}
    for n, text in enumerate(texts):
        row = got[f"p{n}"]
        assert (row["notes"], row["assigned_agent"]) == (storable(text),) * 2
        assert row["own"] == ({"UnparsedAddress": normal(text)} if normal(text) is not None else {})
        assert row["custom"] == ({"Own Column": storable(text)} if storable(text) is not None else {})


async def test_ids_and_columns_of_a_file(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    for text in map(sent, naughty):
        out = io.StringIO()
        csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["id", text], [text, "v"]])
        answer = await http.post(
            "/api/properties/import", content=out.getvalue().encode(), headers={"Content-Type": "text/csv"}
        )
        if answer.status_code == 422:  # a column that is a second `id`, or is none
            continue
        result = await done(answer)
        assert result["made"] == (1 if is_id(text.strip()) else 0), text
        assert result["made"] + len(result["errors"]) == 1
    made = await ids(http, "/api/properties", limit=1000)
    assert len(made) > FREE
    assert set(made) <= {sent(text).strip() for text in naughty}


async def test_pushed_in_one(http: httpx2.AsyncClient, conn: Connection, naughty: list[str]) -> None:
    """As values, as keys, as ids and as members that we do not know."""
    listings = [
        a_listing(f"L{n}", **dict.fromkeys(TEXT_FIELDS, text), Cooling=[text, "Central"], X_Local=text)
        | {f"X{text}": 1}
        for n, text in enumerate(naughty)
    ]
    pushed = await posted(http, "/api/mls-properties", {"listings": listings})
    assert (pushed["new"], pushed["errors"]) == (len(naughty), [])
    got = {row["listing_key"]: row["fields"] for row in await items(http, "/api/mls-properties", limit=100)}
    for n, text in enumerate(naughty):
        assert {name: got[f"L{n}"].get(name) for name in TEXT_FIELDS} == dict.fromkeys(TEXT_FIELDS, normal(text))
        assert got[f"L{n}"]["Cooling"] == sorted({"Central"} | ({normal(text) or "Central"}))
    assert (await posted(http, "/api/mls-properties", {"listings": listings}))["unchanged"] == len(naughty)

    keyed = [a_listing(text) for text in naughty]
    result = await posted(http, "/api/mls-properties", {"listings": keyed, "source": "keys"})
    keys = {key for text in naughty if (key := normal(text)) is not None and len(key) <= 255}
    rows = await conn.fetch("SELECT source_key FROM mls_properties WHERE source = 'keys'")
    assert {row["source_key"] for row in rows} == keys
    assert result["new"] == len(keys)
    assert {error["code"] for error in result["errors"]} == {"missing_key", "bad_value"}


async def test_ids_of_listings_by_path(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    listings = [a_listing(f"L{n}") | {"property_id": text} for n, text in enumerate(naughty)]
    result = await posted(http, "/api/mls-properties", {"listings": listings})
    good = {bare for text in naughty if is_id(bare := storable(text) or "") and bare.strip()}
    assert result["new"] == len(good) > FREE

    await posted_property(http, "p")
    for text in map(sent, naughty):
        status = 200 if text in good else 404
        path = f"/api/mls-properties/{quote(text, safe='')}"
        if not text.strip("."):  # "", "." and "..": of these a client makes another path
            continue
        for below in ("", "/changes", "/crm-properties"):
            answer = await http.get(path + below)
            assert answer.status_code == status, (text, answer.text[:300])
        if status == 200:
            assert (await http.get(path)).json()["property_id"] == text
            link = {"mls_property_id": text, "move": True}
            assert (await posted(http, "/api/properties/p/link-mls", link))["mls_property_id"] == text
            assert (await posted(http, "/sync-property", {"mls_property_id": text}))["crm_properties_updated"] == 1


async def posted_property(http: httpx2.AsyncClient, crm_id: str) -> None:
    assert (await http.post("/api/properties", json={"id": crm_id})).status_code == 201


@pytest.mark.slow
async def test_ids_of_crm_properties_by_path_and_query(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    await posted(http, "/api/mls-properties", {"listings": [a_listing("L") | {"property_id": "l"}]})
    for text in map(sent, naughty):
        if not text.strip("."):
            continue
        made = await http.post("/api/properties", json={"id": text})
        there = made.status_code == 201
        assert there or made.status_code in {409, 422}, made.text
        path = f"/api/properties/{quote(text, safe='')}"
        pair = {"mls_property_id": "l", "crm_property_id": text}
        found = 200 if there else 404
        calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("GET", path, {}),
            ("PATCH", path, {"json": {"notes": "n"}}),
            ("POST", f"{path}/link-mls", {"json": {"mls_property_id": "l"}}),
            ("GET", f"{path}/mls-data", {}),
            ("POST", f"{path}/sync-from-mls", {}),
            ("DELETE", f"{path}/unlink-mls", {}),
            ("POST", "/crm-property-reference", {"json": pair}),
            ("DELETE", "/crm-property-reference", {"params": pair}),
            ("DELETE", path, {}),
        )
        for method, where, said in calls:
            answer = await http.request(method, where, **said)
            good = 204 if found == 200 and (method, where) == ("DELETE", path) else found
            assert answer.status_code == good or (not there and answer.status_code == 422), (text, method, answer.text)
    assert await items(http, "/api/properties") == []


@pytest.mark.slow
async def test_in_every_query(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    """Each finds what has it, and nothing else breaks."""
    rows = [{"id": f"p{n}", "notes": text, "crm_status": text} for n, text in enumerate(naughty)]
    await posted(http, "/api/properties/bulk", {"items": rows})
    listings = [
        a_listing(f"L{n}", City=text, ListingId=text) | {"property_id": f"l{n}"} for n, text in enumerate(naughty)
    ]
    await posted(http, "/api/mls-properties", {"listings": listings})

    for n, text in enumerate(map(sent, naughty)):
        refused = "\x00" in text
        for path, name, has in (
            ("/api/properties", "q", storable(text)),
            ("/api/properties", "crm_status", storable(text)),
            ("/api/properties", "platform", None),
            ("/api/properties", "mls_property_id", None),
            ("/api/mls-properties", "q", normal(text) if normal(text) == text else None),
            ("/api/mls-properties", "city", normal(text) if normal(text) == text else None),
            ("/api/mls-properties", "mls_number", normal(text) if normal(text) == text else None),
            ("/api/mls-properties", "zip", None),
            ("/api/mls-properties", "source", None),
            ("/api/quarantine", "source", None),
        ):
            answer = await http.get(path, params={name: text, "limit": 1000})
            assert answer.status_code == (422 if refused else 200), (path, name, text, answer.text[:300])
            if has is not None and not refused:
                found = {item.get("id") or item["property_id"] for item in answer.json()["items"]}
                assert f"{'p' if path == '/api/properties' else 'l'}{n}" in found, (path, name, text)
        for path, name in (
            ("/api/properties", "sync_status"),
            ("/api/mls-properties", "status"),
            ("/api/mls-properties", "linked"),
            ("/api/events", "after"),
            ("/api/events", "cursor"),
            ("/api/quarantine", "cursor"),
            ("/api/mls-properties", "cursor"),
            ("/api/mls-properties", "limit"),
        ):
            answer = await http.get(path, params={name: text})
            assert answer.status_code in {200, 422}, (path, name, text, answer.text[:300])


@pytest.mark.slow
async def test_names_of_platforms_sources_and_keys(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    named = 0
    for n, text in enumerate(naughty):
        bare = storable(text) or ""
        good = bool(bare.strip()) and is_id(bare, 100)
        named += good
        for path, body, made in (
            ("/api/properties", {"id": f"p{n}", "platform": text}, 201),
            ("/api/properties/bulk", {"items": [{"id": f"p{n}"}], "platform": text}, 200),
            ("/api/mls-properties", {"source": text, "listings": [a_listing("L")]}, 200),
            ("/api/mls-properties", {"location": text, "listings": [a_listing("L")]}, 200),
            ("/api/keys", {"name": text, "scopes": ["read"]}, 201),
        ):
            answer = await http.post(path, content=json.dumps(body).encode(), headers=JSON)
            assert answer.status_code == (made if good else 422), (path, text, answer.text[:300])
        if good:
            assert (await done(await http.get(f"/api/properties/p{n}")))["platform"] == bare
            assert await ids(http, "/api/properties", platform=bare) == [f"p{n}"]
            assert len(await items(http, "/api/mls-properties", source=bare)) == 1
            assert (await posted(http, "/api/properties/bulk", {"items": [{"id": f"p{n}"}], "platform": text})) == {
                "made": 0, "changed": 0, "unchanged": 1, "errors": [],
                "results": [{"row": 1, "id": f"p{n}", "result": "unchanged"}],
            }  # fmt: skip
    assert named > FREE
    keys = [key["name"] for key in (await done(await http.get("/api/keys")))["items"]]
    assert len(keys) == named
    assert set(keys) == {(storable(t) or "").strip() for t in naughty if is_id(storable(t) or "", 100)} - {""}


async def test_reasons_of_overrides(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    await posted_property(http, "p")
    for text in naughty:
        body = {"overrides": dict.fromkeys(TEXT_FIELDS, text), "reason": text}
        answer = await http.patch("/api/properties/p", content=json.dumps(body).encode(), headers=JSON)
        got, fact = await done(answer), normal(text)
        assert got["overrides"] == (dict.fromkeys(TEXT_FIELDS, fact) if fact is not None else {})
        if fact is not None:
            assert {d["reason"] for d in got["override_details"].values()} == {storable(text)}
