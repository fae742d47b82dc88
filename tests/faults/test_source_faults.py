"""A source that misbehaves: each fault ends its pass as what it is, and no listing is called anything because of it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

from making import SOURCE, a_crm, a_link, a_listing, event_log, id_of
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources.base import NotThere, OpenGate, Request, Unknown, Wanted
from mls_crm_sync.sources.fake import FakeSettings, FakeSource
from mls_crm_sync.sources.http import Limits, retry_after
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync.ingest import IngestResult
from mls_crm_sync.sync.passes import read_location
from mls_crm_sync.sync.reader import Reader
from sources.fault_server import FAULTS, FaultServer

pytestmark = pytest.mark.one_server

PLACE = "10001"
KEYS = [f"L{n:02}" for n in range(30)]
LINKED = ("L00", "L09", "L10", "L15", "L20", "L29")
MEMORY = 50 * 1024 * 1024
SECRET = "s3cr3t-canary"  # noqa: S105 # looked for where it must not be
QUICK = Limits(deadline=20, attempts=2)
SHORT = Limits(deadline=0.2, attempts=2)
SLOW = {"slow drip", "stalls"}
READER = Reader(SOURCE, Normaliser())

POSITIONS = {"first": 0, "middle": 1, "last": 2}
EXPECTED: dict[str, str | tuple[str, str, str]] = {
    "401": "refused",
    "403": "refused",
    "403 in HTML": "refused",
    "404": "broken",
    "429 with Retry-After": "rate_limited",
    "429 with a date": "rate_limited",
    "429 without Retry-After": "rate_limited",
    "500": "unavailable",
    "503": "unavailable",
    "HTML with status 200": "blocked",
    "HTML that calls itself JSON": "broken",
    "plain text": "blocked",
    "no body": "broken",
    "null": "broken",
    "list instead of an object": "broken",
    "GraphQL error in a 200": "broken",
    "redirect to somebody else": "blocked",
    "redirect loop": "broken",
    "reset": "unavailable",
    "half a response": "unavailable",
    "slow drip": "unavailable",
    "stalls": "unavailable",
    "gzip bomb": "broken",
    "300 MB page": "broken",
    "cut gzip": "unavailable",
    "damaged gzip": "broken",
    "JSON cut at a row's end": "broken",
    "JSON cut in a row": "broken",
    "empty page": "partial",
    "empty page that goes on": ("partial", "partial", "partial"),
    "ends early": "partial",
    "links to itself": "broken",
    "links to the first page": "broken",
    "links to somebody else": "blocked",
    "same page twice": "partial",
    "overlapping page": "partial",
    "one listing twice instead of another": "partial",
    "listing moves between pages": "partial",
    "no count": "broken",
    "count is text": "broken",
    "value is null": "broken",
    "value stands twice": "broken",
    "NaN": "broken",
    "bytes that are no UTF-8": "broken",
    "record that cannot be read": "unproven",
    "record that is no object": "unproven",
    "capped": "capped",
    # These are whole: the source showed all that it has, and that proves what it proves.
    "older data": "complete",
    "drift": "complete",
    "time stamps without a zone": "unproven",
    "announces one more": "partial",
    "announces another count from here on": "partial",
}


async def at_once(_: float) -> None:
    """A sleep of the virtual kind."""


@pytest.fixture
async def world() -> AsyncIterator[FaultServer]:
    async with FaultServer({key: a_listing(key) for key in KEYS}).serving() as world:
        yield world


@contextmanager
def memory() -> Iterator[list[int]]:
    """Lend the bytes of memory of this process, as often as they can be had: first what it had before."""
    gc.collect()
    process, seen, stop = psutil.Process(), [], threading.Event()
    seen.append(process.memory_info().rss)

    def look() -> None:
        while not stop.wait(0.005):
            seen.append(process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def a_source(world: FaultServer, limits: Limits = QUICK, gate: Any = None) -> FakeSource:
    settings = FakeSettings(url=world.address, page_size=world.page_size)
    return FakeSource(SOURCE, settings, SECRET, gate or OpenGate(), limits=limits, sleep=at_once)


async def read(db: Database, world: FaultServer, limits: Limits = QUICK) -> IngestResult:
    source = a_source(world, limits)
    try:
        result = await read_location(db, READER, source, PLACE)
    finally:
        await source.close()
    assert result is not None
    return result


async def told(conn: Connection) -> dict[str, Any]:
    """Return all that is said of listings and CRM properties."""
    tables = {
        "listings": "SELECT property_id, fields::text, absence_state, last_changed_at FROM mls_properties ORDER BY 1",
        "crm": "SELECT p::text FROM crm_properties p ORDER BY id",
        "history": "SELECT count(*) FROM property_changes",
        "absences": "SELECT count(*) FROM absences",
        "holds": "SELECT count(*) FROM absence_holds",
        "events": "SELECT type, property_id FROM events WHERE type <> 'source.drift' ORDER BY seq",
    }
    return {name: [tuple(row) for row in await conn.fetch(query)] for name, query in tables.items()}


def test_every_fault_has_its_expectation() -> None:
    assert EXPECTED.keys() == FAULTS.keys()
    assert len(FAULTS) >= 30


@pytest.mark.parametrize("fault", sorted(EXPECTED))
async def test_fault_is_told_as_what_it_is_and_nothing_follows_from_it(
    db: Database, conn: Connection, world: FaultServer, fault: str
) -> None:
    good = await read(db, world)
    assert (good.end.outcome, good.tally.new) == ("complete", 30)
    for key in LINKED:
        await a_crm(db, f"crm-{key}", crm_status="active", notes="mine")
        await a_link(db, f"crm-{key}", key)
    before = await told(conn)
    world.fault = fault
    expected = EXPECTED[fault]
    with memory() as seen:
        for place, world.at in POSITIONS.items():
            for _ in range(3):
                result = await read(db, world, SHORT if fault in SLOW else QUICK)
                wanted = expected if isinstance(expected, str) else expected[world.at]
                assert result.end.outcome == wanted, (place, result.end)
                assert result.end.evidence
                assert SECRET not in f"{result.end} {result.error} {result.error and result.error.hint}"
                if result.error is not None:
                    assert result.error.hint, "it says what to do"
    assert await told(conn) == before
    assert max(seen) - seen[0] <= MEMORY, f"{(max(seen) - seen[0]) / 1024**2:.0f} MB"

    world.fault = ""
    again = await read(db, world)
    assert (again.end.outcome, again.tally.new, again.tally.changed) == ("complete", 0, 0)
    assert await told(conn) == before


async def test_listing_that_has_left_is_called_gone_by_the_same_way(
    db: Database, conn: Connection, world: FaultServer
) -> None:
    """What the faults must not bring about is not out of reach."""
    await read(db, world)
    del world.listings["L15"]
    await read(db, world)
    result = await read(db, world)
    assert result.settled.absent == 1
    (row,) = await conn.fetch("SELECT property_id, evidence FROM absences")
    assert row["property_id"] == id_of("L15")
    assert "404" in str(row["evidence"])
    assert (await event_log(conn, ("listing.gone",)))[-1][0] == "listing.gone"


async def test_look_up_takes_only_the_services_own_word_for_not_there(world: FaultServer) -> None:
    source = a_source(world)
    assert isinstance((await source.look_up([Wanted("nobody's")]))["nobody's"], NotThere)
    await source.close()

    async def anybody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"message": "no route"}'
        head = f"HTTP/1.1 404 X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(anybody, "127.0.0.1", 0) as other:
        host, port = other.sockets[0].getsockname()[:2]
        away = FakeSource(SOURCE, FakeSettings(url=f"http://{host}:{port}"), None, OpenGate(), sleep=at_once)
        assert isinstance((await away.look_up([Wanted("L01")]))["L01"], Unknown)
        await away.close()


async def test_secret_goes_to_the_source_alone(world: FaultServer) -> None:
    async with FaultServer({}).serving() as stranger:
        world.fault, world.at = "redirect to somebody else", 0
        source = a_source(world)
        with pytest.raises(Exception, match="somebody else"):
            await source.client.get(source.client.url("listings?page=0"))
        with pytest.raises(Exception, match="somebody else"):
            source.client.url(f"{stranger.address}/x")
        await source.close()
    assert stranger.requests == []
    assert {headers["authorization"] for _, headers in world.requests} == {f"Bearer {SECRET}"}
    assert SECRET not in " ".join(target for target, _ in world.requests)


class CountingGate(OpenGate):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.bytes = 0

    def request(self) -> Any:
        gate = self

        class Counting:
            async def __aenter__(self) -> Request:
                return self

            async def __aexit__(self, *_: object) -> None:
                pass

            def count(self, size: int) -> None:
                gate.bytes += size

            def answered(self) -> None:
                gate.told.append("answered")

            def refused(self) -> None:
                gate.told.append("refused")

            def limited(self, retry_after: float | None) -> None:
                gate.told.append(f"limited {retry_after}")

            def failed(self) -> None:
                gate.told.append("failed")

        return Counting()


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        ("429 with Retry-After", ["limited 7.0"] * 6),
        ("503", ["failed"] * 2),
        ("reset", ["failed"] * 2),
        ("403", ["refused"]),
        ("", ["answered"]),
    ],
)
async def test_gate_hears_of_every_request(world: FaultServer, fault: str, heard: list[str]) -> None:
    gate = CountingGate()
    source = a_source(world, gate=gate)
    world.fault = fault
    url = source.client.url("listings?page=0")
    if fault:
        with pytest.raises(Exception, match=SOURCE):
            await source.client.get(url)
    else:
        assert len((await source.client.get(url)).body) == gate.bytes
    await source.close()
    assert gate.told == heard


NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("120", 120), (" 5 ", 5), ("0", 0), ("-1", None), ("1.5", None), ("soon", None), ("9" * 40, None),
        ("Thu, 26 Nov 2026 12:01:40 GMT", 100), ("Thu, 26 Nov 2026 11:00:00 GMT", 0), ("", None), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds
