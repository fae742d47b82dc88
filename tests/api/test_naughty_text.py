"""The naughty strings through every text member: stored and returned as their normal form, or 422; never a 5xx."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from making import a_listing

pytestmark = pytest.mark.one_server

MADE_UP = (
    "\x00", "a\x00b", "\ud800", "a\udfffb", "Cafe\u0301", " padded ", "\r\n", "x" * 300, "\u202e\u2066", "%00", "\x7f",
    "a/b",
)  # fmt: skip


@pytest.fixture(scope="module")
def naughty(shared: Path) -> list[str]:
    strings = json.loads((shared / "suites" / "blns.json").read_text(encoding="utf-8"))
    assert len(strings) > 400
    return [*strings, *MADE_UP]


def storable(text: str) -> str | None:
    """Text as the CRM gave it, but for what PostgreSQL cannot hold."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode() or None


def normal(text: str) -> str | None:
    """A fact: composed, with bare line feeds, and without space at its ends."""
    bare = unicodedata.normalize("NFC", storable(text) or "")
    return bare.replace("\r\n", "\n").replace("\r", "\n").strip() or None


async def send(http: httpx2.AsyncClient, method: str, path: str, body: Any) -> httpx2.Response:
    """Send JSON as any client may write it: lone surrogates as escapes."""
    headers = {"Content-Type": "application/json"}
    answer = await http.request(method, path, content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code < 500, (method, path, body, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"]
    return answer


async def test_text_of_a_crm_property(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    for number, text in enumerate(naughty):
        body = {
            "id": f"p{number}", "crm_status": text, "notes": text, "tags": [text], "assigned_agent": text,
            "custom": {"k": text, f"x{text}": {"deep": [text]}},
            "own": {"UnparsedAddress": text, "PublicRemarks": text},
        }  # fmt: skip
        made = await send(http, "POST", "/api/properties", body)
        assert made.status_code == 201, (text, made.text)

        got = (await http.get(f"/api/properties/p{number}")).json()
        assert (got["crm_status"], got["notes"], got["assigned_agent"]) == (storable(text),) * 3
        assert got["tags"] == [tag for tag in [(storable(text) or "").strip()] if tag]
        bare = storable(text) or ""
        assert got["custom"] == {"k": bare, f"x{bare}": {"deep": [bare]}}
        facts = {name: form for name in ("UnparsedAddress", "PublicRemarks") if (form := normal(text)) is not None}
        assert got["own"] == facts
        found = await http.get("/api/properties", params={"q": text.encode("utf-8", "ignore").decode(), "limit": 1})
        assert found.status_code in {200, 422}


async def test_text_of_an_edit_and_its_overrides(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    await http.post("/api/properties", json={"id": "p"})
    for text in naughty:
        edit = {"notes": text, "own": {"City": text}, "overrides": {"PublicRemarks": text}, "reason": text}
        assert (await send(http, "PATCH", "/api/properties/p", edit)).status_code == 200

        got = (await http.get("/api/properties/p")).json()
        assert (got["notes"], got["own"].get("City")) == (storable(text), normal(text))
        assert got["overrides"].get("PublicRemarks") == normal(text)


async def test_ids_and_names(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    kept = 0
    for text in naughty:
        made = await send(http, "POST", "/api/properties", {"id": text})
        assert made.status_code in {201, 409, 422}
        if made.status_code == 201:
            kept += 1
            crm_id = storable(text) or ""
            assert made.json()["id"] == crm_id
            if crm_id not in {".", ".."}:  # clients take these out of a path
                got = await http.get(f"/api/properties/{quote(crm_id, safe='')}")
                assert (got.status_code, got.json().get("id")) == (200, crm_id)
        assert (await send(http, "POST", "/api/properties", {"platform": text})).status_code in {201, 422}
        link = {"mls_property_id": text, "crm_property_id": text}
        assert (await send(http, "POST", "/crm-property-reference", link)).status_code in {404, 422}
        assert (await send(http, "POST", "/sync-property", {"platform": text})).status_code in {200, 404, 422}
        assert (await send(http, "POST", "/api/keys", {"name": text, "scopes": ["read"]})).status_code in {201, 422}
    assert kept > 300


async def test_text_of_a_pushed_listing(http: httpx2.AsyncClient, naughty: list[str]) -> None:
    for number, text in enumerate(naughty):
        record = a_listing(f"L{number}", PublicRemarks=text, City=text, X_Local=text, Cooling=[text]) | {
            f"X_{storable(text) or ''}": 1
        }
        pushed = (await send(http, "POST", "/api/mls-properties", {"listings": [record]})).json()
        assert (pushed["new"], pushed["quarantined"]) == (1, 0), (text, pushed)
        got = (await http.get(f"/api/mls-properties/{pushed['items'][0]['property_id']}")).json()["fields"]
        assert (got.get("PublicRemarks"), got.get("City")) == (normal(text), normal(text))
        assert got.get("Cooling") == ([normal(text)] if normal(text) else None)
    for text in naughty:
        for body in (
            {"source": text, "listings": [a_listing("L")]},
            {"location": text, "listings": [a_listing("L")]},
            {"listings": [a_listing(text)]},
            {"listings": [a_listing("L") | {"property_id": text}]},
        ):
            assert (await send(http, "POST", "/api/mls-properties", body)).status_code in {200, 422}
