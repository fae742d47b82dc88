"""What a caller hears when the service itself fails: a problem, as everything else, with its id and its headers."""

from __future__ import annotations

import asyncio
import logging

import httpx2
import pytest

from api.asking import refused
from api.conftest import an_app, running
from mls_crm_sync.core.errors import RunLost, SetupError
from mls_crm_sync.store.database import Database

PAGE = "mls_crm_sync.store.crm_properties.page"


async def answer_when(db: Database, error: Exception, monkeypatch: pytest.MonkeyPatch) -> httpx2.Response:
    """Ask for a list that fails so. Not over the client of the other tests: what is asked here is in no document."""

    async def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(PAGE, fails)
    async with running(an_app(db)) as (_, port), httpx2.AsyncClient() as http:
        return await http.get(f"http://127.0.0.1:{port}/api/properties")


def has_all_headers(answer: httpx2.Response) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_fault_of_the_service_is_a_problem_with_every_header_and_tells_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await answer_when(db, RuntimeError("secret"), monkeypatch)

    refused(answer, 500, "internal")
    has_all_headers(answer)
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("error", "status", "code"), [(SetupError("nothing fits"), 503, "setup"), (RunLost(7), 409, "run_lost")]
)
async def test_what_somebody_else_has_to_mend_is_no_fault_of_the_service(
    db: Database, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    answer = await answer_when(db, error, monkeypatch)

    refused(answer, status, code)
    has_all_headers(answer)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_request_that_is_broken_off_by_a_stop_is_told_so(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def takes_for_ever(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(PAGE, takes_for_ever)
    caplog.set_level(logging.CRITICAL, "uvicorn.error")
    async with running(an_app(db), grace=1) as (server, port), httpx2.AsyncClient(timeout=20) as http:
        asking = asyncio.create_task(http.get(f"http://127.0.0.1:{port}/api/properties"))
        await begun.wait()
        server.should_exit = True
        answer = await asking

    refused(answer, 503, "stopping")
    has_all_headers(answer)
    assert int(answer.headers["retry-after"]) > 0
