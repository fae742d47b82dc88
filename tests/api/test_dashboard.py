"""The dashboard beside the API: its pages for browsers, its files, and a word on how to build it where it is not."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from api.asking import refused
from api.conftest import an_app, running
from mls_crm_sync.api import dashboard
from mls_crm_sync.store.database import Database

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build of the dashboard, small."""
    ui = tmp_path / "ui"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<!doctype html><title>built</title>")
    (ui / "assets" / "index-abc.js").write_text("export {};" * 500)
    (ui / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("not to be served")
    monkeypatch.setattr(dashboard, "BUILT", ui)
    return ui


@pytest.fixture
async def browser(db: Database) -> AsyncIterator[httpx2.AsyncClient]:
    """Asks for pages; a service that wants keys, for the dashboard is open all the same."""
    async with (
        running(an_app(db, local_mode=False)) as (_, port),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=BROWSER) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/", "/properties", "/properties/a%2Fb", "/runs/3?tab=log", "/index.html"])
async def test_every_page_is_the_page(built: Path, browser: httpx2.AsyncClient, path: str) -> None:
    answer = await browser.get(path)

    assert (answer.status_code, answer.text) == (200, (built / "index.html").read_text())
    assert answer.headers["Cache-Control"] == "no-cache"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_assets_are_kept_for_good_and_packed(built: Path, browser: httpx2.AsyncClient) -> None:
    async with browser.stream("GET", "/assets/index-abc.js", headers={"Accept-Encoding": "gzip"}) as answer:
        sent = b"".join([part async for part in answer.aiter_raw()])

    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert gzip.decompress(sent) == (built / "assets" / "index-abc.js").read_bytes()
    icon = await browser.get("/favicon.svg")
    assert (icon.headers["Content-Type"], icon.headers["Cache-Control"]) == ("image/svg+xml", "no-cache")


@pytest.mark.parametrize("path", ["/assets/nowhere.js", "/api/nowhere", "/api/"])
async def test_what_is_no_page_is_not_found(built: Path, browser: httpx2.AsyncClient, path: str) -> None:  # noqa: ARG001 - it is built
    refused(await browser.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/../secret", "/%2e%2e/secret", "/assets/..%2f..%2fsecret", "/assets/%00", "//secret"]
)
async def test_nothing_outside_is_served(built: Path, browser: httpx2.AsyncClient, path: str) -> None:  # noqa: ARG001 - it is built
    answer = await browser.get(path)

    assert "not to be served" not in answer.text
    assert answer.status_code in {200, 404}


async def test_who_takes_no_page_gets_the_answer_of_the_api(built: Path, browser: httpx2.AsyncClient) -> None:  # noqa: ARG001 - it is built
    refused(await browser.get("/properties", headers={"Accept": "*/*"}), 404, "not_found")
    refused(await browser.post("/properties"), 404, "not_found")
    refused(await browser.get("/crm-property-reference"), 405, "method_not_allowed")
    refused(await browser.get("/active-properties-config"), 401, "no_key")
    assert (await browser.get("/health")).json() == {"status": "ok"}


async def test_without_a_build_a_page_says_how(
    tmp_path: Path, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "BUILT", tmp_path / "none")
    answer = await browser.get("/")

    assert answer.status_code == 404
    assert "make dashboard" in answer.text
    assert (await browser.get("/health")).status_code == 200
