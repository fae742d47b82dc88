"""realtor.com, as it misbehaves, read by the real library: each fault is told as what it is, and nothing follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import psutil
import pytest

from faults.test_source_faults import at_once, told
from making import SOURCE, a_crm, a_link
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import OpenGate
from mls_crm_sync.sources.homeharvest.source import HomeHarvestSettings, HomeHarvestSource
from mls_crm_sync.sources.http import Limits
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import IngestResult
from mls_crm_sync.sync.passes import read_location
from mls_crm_sync.sync.reader import Reader
from sources.fault_server import send
from sources.realtor_site import SAN_DIEGO, Asked, Fault, RealtorSite, a_home

pytestmark = pytest.mark.one_server

KEYS = [f"1000000{n:03}" for n in range(450)]  # three pages of the library's
LINKED = (KEYS[0], KEYS[199], KEYS[200], KEYS[449])
READER = Reader(SOURCE, Normaliser())
SHORT = Limits(deadline=0.5, attempts=2)
QUICK = Limits(deadline=20, attempts=2)

POSITIONS: dict[str, Callable[[Asked], bool]] = {
    "location": lambda asked: asked.operation == "Search_suggestions",
    "first page": lambda asked: asked.operation == "GetHomeSearch" and asked.variables["offset"] == 0,
    "later page": lambda asked: asked.operation == "GetHomeSearch" and asked.variables["offset"] == 200,
}

FAULTS: dict[str, Fault] = {}
EXPECTED: dict[str, tuple[str | None, str | None, str | None]] = {}
"""Outcome by position; None: it cannot happen there."""


def fault(name: str, *expected: str | None) -> Callable[[Fault], Fault]:
    def keep(function: Fault) -> Fault:
        FAULTS[name] = function
        EXPECTED[name] = expected if len(expected) == 3 else (expected[0],) * 3
        return function

    return keep


def answers(name: str, *expected: str | None, status: int, body: bytes, kind: str = "application/json") -> None:
    async def answer(_: RealtorSite, writer: asyncio.StreamWriter, __: dict[str, Any]) -> bool:
        await send(writer, body, status=status, kind=kind)
        return True

    fault(name, *expected)(answer)


def changes(name: str, *expected: str | None) -> Callable[[Callable[[dict[str, Any]], Any]], None]:
    """A fault that is another answer under status 200."""

    def keep(change: Callable[[dict[str, Any]], Any]) -> None:
        async def answer(_: RealtorSite, writer: asyncio.StreamWriter, good: dict[str, Any]) -> bool:
            await send(writer, orjson.dumps(change(good)))
            return True

        fault(name, *expected)(answer)

    return keep


answers("429 in JSON", "rate_limited", status=429, body=b'{"message": "Too many requests"}')
answers("403", "refused", status=403, body=b'{"message": "Forbidden"}')
answers("HTML block page", "blocked", status=200, body=b"<html>Pardon our interruption</html>", kind="text/html")
answers("HTML block page under 403", "refused", status=403, body=b"<html>Blocked</html>", kind="text/html")
answers("500", "unavailable", status=500, body=b"{}")
answers("no JSON", "broken", status=200, body=b'{"data": {"homeSearch"')
answers("bad request", "broken", status=400, body=b'{"errors": [{"message": "Required parameter is missing"}]}')


@fault("stalls", "unavailable")
async def _stalls(_: RealtorSite, __: asyncio.StreamWriter, ___: dict[str, Any]) -> bool:
    await asyncio.sleep(60)
    return False


@fault("breaks off", "unavailable")
async def _breaks_off(_: RealtorSite, writer: asyncio.StreamWriter, good: dict[str, Any]) -> bool:
    body = orjson.dumps(good)
    await send(writer, body[: len(body) // 2], length=len(body))
    return False


@changes("GraphQL error", "broken")
def _error(_: dict[str, Any]) -> Any:
    return {"errors": [{"message": "Internal server error"}], "data": None}


@changes("null data", "broken")
def _null_data(good: dict[str, Any]) -> Any:
    return {"data": dict.fromkeys(good["data"])}


@changes("error beside the data", "broken")
def _error_beside(good: dict[str, Any]) -> Any:
    return good | {"errors": [{"message": "timed out", "path": ["homeSearch", "results"]}]}


@changes("error in one home", None, "unproven", "unproven")
def _error_in_one(good: dict[str, Any]) -> Any:
    results = good["data"]["homeSearch"]["results"]
    if results:
        results[0] = results[0] | {"description": None, "photos": []}
    path = ["homeSearch", "results", 0, "description"]
    return good | {"errors": [{"message": "timed out", "path": path}] if results else []}


@changes("knows no such place", "broken", None, None)
def _no_place(_: dict[str, Any]) -> Any:
    return {"data": {"search_suggestions": {"geo_results": []}}}


@changes("takes it for a place elsewhere", "broken", None, None)
def _elsewhere(good: dict[str, Any]) -> Any:
    good["data"]["search_suggestions"]["geo_results"][0]["geo"]["state_code"] = "TX"
    return good


@changes("page is short", None, "partial", "partial")
def _short(good: dict[str, Any]) -> Any:
    del good["data"]["homeSearch"]["results"][-1:]
    return good


@changes("page is empty", None, "partial", "partial")
def _empty(good: dict[str, Any]) -> Any:
    good["data"]["homeSearch"]["results"] = []
    return good


@changes("one home twice instead of another", None, "partial", "partial")
def _twice(good: dict[str, Any]) -> Any:
    results = good["data"]["homeSearch"]["results"]
    results[1:2] = results[:1]
    return good


@changes("announces another total from here on", None, "partial", "partial")
def _total(good: dict[str, Any]) -> Any:
    good["data"]["homeSearch"]["total"] += 1
    return good


@changes("no total", None, "broken", "broken")
def _no_total(good: dict[str, Any]) -> Any:
    del good["data"]["homeSearch"]["total"]
    return good


@changes("home that is no object", None, "unproven", "unproven")
def _no_object(good: dict[str, Any]) -> Any:
    results = good["data"]["homeSearch"]["results"]
    results[:1] = [None for _ in results[:1]]
    return good


@changes("home that is built otherwise", None, "unproven", "unproven")
def _built_otherwise(good: dict[str, Any]) -> Any:
    for home in good["data"]["homeSearch"]["results"][:1]:
        home["description"] = ["3 beds"]
    return good


@changes("price that is none", None, "unproven", "unproven")
def _odd_price(good: dict[str, Any]) -> Any:
    for home in good["data"]["homeSearch"]["results"][:1]:
        home["list_price"] = "on request"
    return good


# These are whole: the site showed all that it has.
@changes("fractional price per square foot", None, "complete", "complete")
def _fraction(good: dict[str, Any]) -> Any:
    for home in good["data"]["homeSearch"]["results"][:1]:
        home["price_per_sqft"] = 512.37
    return good


@changes("time stamps with an offset", None, "complete", "complete")
def _offset(good: dict[str, Any]) -> Any:
    for home in good["data"]["homeSearch"]["results"]:
        home["last_update_date"] = "2026-11-01T01:00:00-07:00"  # the same instant
        home["list_date"] = "2026-10-03T09:20:11-07:00"
    return good


@changes("shows nothing, and says so", None, "complete", None)
def _nothing(_: dict[str, Any]) -> Any:
    return {"data": {"homeSearch": {"count": 0, "total": 0, "results": []}}}


@pytest.fixture
async def site() -> AsyncIterator[RealtorSite]:
    async with RealtorSite.of(a_home(key) for key in KEYS).serving() as site:
        yield site


async def read(db: Database, site: RealtorSite, limits: Limits = QUICK) -> IngestResult:
    settings = HomeHarvestSettings(acknowledged=True, endpoint=site.endpoint)
    source = HomeHarvestSource(SOURCE, settings, None, OpenGate(), limits=limits, sleep=at_once)
    try:
        result = await read_location(db, READER, source, SAN_DIEGO)
    finally:
        await source.close()
    assert result is not None
    return result


CASES = [
    pytest.param((name, place, outcome), id=f"{name}-{place}")
    for name, outcomes in EXPECTED.items()
    for place, outcome in zip(POSITIONS, outcomes, strict=True)
    if outcome is not None
]


@pytest.mark.parametrize("case", CASES)
async def test_fault_is_told_as_what_it_is_and_nothing_follows_from_it(
    db: Database, conn: Connection, site: RealtorSite, case: tuple[str, str, str]
) -> None:
    name, place, outcome = case
    good = await read(db, site)
    assert (good.end.outcome, good.tally.new) == ("complete", 450), good.end
    for key in LINKED:
        await a_crm(db, f"crm-{key}", crm_status="active", notes="mine")
        await a_link(db, f"crm-{key}", key)
    before = await told(conn)
    site.fault, site.faulty = FAULTS[name], POSITIONS[place]
    for _ in range(2):  # so many complete passes in a row would ask for what they did not show
        result = await read(db, site, SHORT if name == "stalls" else QUICK)
        assert result.end.outcome == outcome, result.end
        assert result.end.evidence
        assert result.error is None or result.error.hint, "it says what to do"
    assert await told(conn) == before
    assert no_library_runs()

    site.fault = None
    again = await read(db, site)
    assert (again.end.outcome, again.tally.new, again.tally.changed) == ("complete", 0, 0)
    assert await told(conn) == before


def no_library_runs() -> bool:
    """Whether no process of the library's is left of this one."""
    return not [one for one in psutil.Process().children(recursive=True) if _is_the_library(one)]


def _is_the_library(process: psutil.Process) -> bool:
    try:
        return "mls_crm_sync.sources.homeharvest.child" in process.cmdline()
    except psutil.Error:
        return False
