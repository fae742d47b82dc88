"""Sources by the HTTP API: set up, changed, checked, taken away; a secret goes in and never comes out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import Field

from api.asking import done, items, refused, refused_member
from api.conftest import served
from mls_crm_sync.api.app import create_app
from mls_crm_sync.api.context import Service
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import Source
from mls_crm_sync.sources.kinds import Kind, Opening, Settings
from mls_crm_sync.sources.registry import KINDS
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import sources
from mls_crm_sync.sync.budgets import DatabaseGate
from mls_crm_sync.sync.sealing import Sealer, new_key

SECRET = "s3cr3t-canary"  # noqa: S105 # looked for where it must not be


async def test_source_is_set_up_changed_checked_and_taken_away(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    body: dict[str, Any] = {"name": "a/b", "kind": "folder", "settings": {"path": str(tmp_path)}}
    made = await done(await http.post("/api/sources", json=body), 201)
    assert made.items() >= (body | {"is_default": True, "has_secret": False, "secret_readable": None}).items()
    refused(await http.post("/api/sources", json=body), 409, "source_exists")
    assert await items(http, "/api/sources") == [made]

    path = "/api/sources/a%2Fb"
    assert (await done(await http.post(f"{path}/check")))["ok"] is False
    (tmp_path / "1.jsonl").write_text("{}", encoding="utf-8")
    assert (await done(await http.post(f"{path}/check")))["ok"] is True
    changed = await done(await http.patch(path, json={"settings": {"time_zone": "America/New_York"}, "default": False}))
    assert changed["settings"] == {"path": str(tmp_path), "time_zone": "America/New_York"}
    assert changed["is_default"] is False
    assert (await http.delete(path)).status_code == 204
    for method, where in (("PATCH", path), ("DELETE", path), ("POST", f"{path}/check")):
        answer = await http.request(method, where, json={} if method == "PATCH" else None)
        assert "/api/sources" in refused(answer, 404, "source_not_found")["hint"]


async def test_source_that_refused_us_is_shown_and_resumed(http: httpx2.AsyncClient, db: Database) -> None:
    settings = {"acknowledged": True, "endpoint": "http://127.0.0.1:9/graphql"}
    made = await done(
        await http.post("/api/sources", json={"name": "realtor", "kind": "homeharvest", "settings": settings}), 201
    )
    assert made["stopped_at"] is None
    gate = DatabaseGate(db, "realtor", {}, stops=True)
    async with gate.request() as request:
        request.refused()
    (shown,) = await items(http, "/api/sources")
    assert shown["stopped_at"] is not None
    told = await items(http, "/api/events")
    assert [(one["type"], one["source"]) for one in told] == [("source.stopped", "realtor")]
    assert "sources resume realtor" in (await done(await http.post("/api/sources/realtor/check")))["detail"]
    assert (await done(await http.post("/api/sources/realtor/resume")))["stopped_at"] is None
    refused(await http.post("/api/sources/nobody/resume"), 404, "source_not_found")


async def test_wrong_member_is_named(http: httpx2.AsyncClient) -> None:
    body = {"name": "x", "kind": "folder", "settings": {"path": "/x"}}
    refused_member(await http.post("/api/sources", json=body | {"kind": "wish"}), "kind")
    refused_member(await http.post("/api/sources", json=body | {"settings": {"path": 7}}), "settings.path")
    refused_member(await http.post("/api/sources", json=body | {"secret": "x"}), "secret")
    refused_member(await http.post("/api/sources", json=body | {"default": "no"}), "default")
    assert await items(http, "/api/sources") == []


async def test_kinds_say_their_settings(http: httpx2.AsyncClient) -> None:
    kinds = {kind["kind"]: kind for kind in await items(http, "/api/source-kinds")}
    assert kinds.keys() == KINDS.keys()
    assert kinds["folder"]["settings"]["required"] == ["path"]


class _Token(Settings):
    url: str = Field(min_length=1)


def _opens(_: Opening) -> Source:
    raise AssertionError("nobody opens it")


async def test_secret_goes_in_and_a_service_without_its_key_says_so(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "KINDS", {"token": Kind("token", "For a test", _Token, _opens, credential="needed")})
    body = {"name": "t", "kind": "token", "settings": {"url": "http://x"}, "secret": SECRET}

    def service(*keys: str) -> Service:
        return Service(db, db, Normaliser(), timedelta(hours=12), Sealer(keys))

    async with served(create_app(service(new_key()), local_mode=True)) as http:
        made = await http.post("/api/sources", json=body)
        assert (await done(made, 201))["secret_readable"] is True
        listed = await http.get("/api/sources")
        assert SECRET not in made.text + listed.text
        assert (await done(await http.get("/ready")))["sources_left_to_others"] == 0
    async with served(create_app(service(), local_mode=True)) as http:
        ready = await done(await http.get("/ready"))
        assert (ready["status"], ready["sources_left_to_others"]) == ("ready", 1)
        assert [source["secret_readable"] for source in await items(http, "/api/sources")] == [False]
        refused(await http.post("/api/sources/t/check"), 503, "secret_sealed")
        problem = refused(await http.post("/api/sources", json=body | {"name": "u"}), 503, "setup")
        assert SECRET not in str(problem)
