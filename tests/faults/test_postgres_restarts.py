"""A PostgreSQL that is stopped and started again under load: the service says 503 meanwhile, and loses nothing.

The service is a real process, the server a real one of the test's own, stopped in turn by `fast` (sessions are ended)
and `immediate` (as in a crash; the next start recovers). Proved: each answer comes soon and is a success or the
documented 503, never anything else; while the server is away everything but /health is 503; afterwards the same process
serves again within ten seconds; what was acknowledged is there; and its pools hold what they always held.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from faults.own_postgres import Postgres
from mls_crm_sync.store.database import connect

WAYS = ("fast", "immediate", "fast", "immediate", "fast")
AWAY = 0.8  # seconds without a server
STEADY = 0.6  # seconds of load that nothing disturbs, after each return
SOON = 5.0  # seconds within which every request is answered
BACK = 10.0  # seconds after its start within which everything works again
POOLS = 30  # connections: twenty for short requests, ten for long work
PAUSE = 0.01  # seconds a client waits between two requests

Checked = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Answer:
    began: float
    ended: float
    what: str
    status: int


@dataclass(slots=True)
class Clients:
    """The load: each client has its own records, so that what it was told last is what has to be there."""

    http: httpx2.AsyncClient
    answers: list[Answer] = field(default_factory=list)
    tried: dict[str, Any] = field(default_factory=dict)
    acknowledged: dict[str, Any] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    stopping: bool = False

    async def ask(self, what: str, method: str, path: str, body: object = None) -> httpx2.Response | None:
        """Return a good answer, or None after the documented 503; anything else fails the test."""
        began = time.monotonic()
        response = await self.http.request(method, path, json=body)
        self.answers.append(Answer(began, time.monotonic(), what, response.status_code))
        assert response.status_code in {200, 201, 503}, (what, response.status_code, response.text)
        if response.status_code == 503:
            _check_unavailable(what, response)
            return None
        return response

    async def counts(self, crm_id: str) -> None:
        """Count up in the notes; a number that was acknowledged is there, and none that was never sent."""
        path, number = f"/api/properties/{crm_id}", self.tried.get(crm_id, 0) + 1
        self.tried[crm_id] = number
        if await self.ask("patch", "PATCH", path, {"notes": str(number)}) is not None:
            self.acknowledged[crm_id] = number

    async def pushes(self, key: str) -> None:
        price = self.tried.get(key, 100_000) + 1
        self.tried[key] = price
        body = {"source": "own", "listings": [a_record(key, price)]}
        answer = await self.ask("push", "POST", "/api/mls-properties", body)
        if answer is not None:
            assert answer.json()["quarantined"] == 0, answer.text
            self.acknowledged[key] = price

    async def links(self, crm_id: str, ids: list[str]) -> None:
        target = ids[(ids.index(self.tried[crm_id]) + 1) % len(ids)] if crm_id in self.tried else ids[0]
        before, self.tried[crm_id] = self.tried.get(crm_id), target
        body = {"mls_property_id": target, "move": True}
        if await self.ask("link", "POST", f"/api/properties/{crm_id}/link-mls", body) is not None:
            self.acknowledged[crm_id] = target
        elif self.acknowledged.get(crm_id) == before:
            self.acknowledged.pop(crm_id, None)  # it is linked to the one or to the other: the next answer will tell

    async def makes(self) -> None:
        crm_id = f"made{self.tried.get('made', 0)}"
        self.tried["made"] = self.tried.get("made", 0) + 1
        if await self.ask("create", "POST", "/api/properties", {"id": crm_id}) is not None:
            self.made.append(crm_id)

    async def reads(self, crm_id: str) -> None:
        told = self.acknowledged.get(crm_id, 0)
        answer = await self.ask("read", "GET", f"/api/properties/{crm_id}")
        if answer is not None:
            assert int(answer.json()["notes"] or 0) >= told, "a reader saw less than had been acknowledged"

    async def lists(self) -> None:
        await self.ask("list", "GET", "/api/properties?limit=5")

    async def looks(self) -> None:
        await self.ask("ready", "GET", "/ready")
        health = await self.http.get("/health")
        assert (health.status_code, health.json()) == (200, {"status": "ok"}), "it says that the process answers"

    async def repeat(self, one: Checked) -> None:
        while not self.stopping:
            await one()
            await asyncio.sleep(PAUSE)


def _check_unavailable(what: str, response: httpx2.Response) -> None:
    body = response.json()
    if what == "ready":
        assert body["checks"] == {"database": "unavailable", "migrations": "unknown"}, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert (body["status"], body["code"]) == (503, "store_unavailable")
    assert body["request_id"] == response.headers["x-request-id"]
    promised = "nothing was changed" in body["detail"]
    assert what == "ready" or promised == (response.request.method == "GET"), (
        "a commit whose answer was lost may have happened"
    )


def a_record(key: str, price: int) -> dict[str, Any]:
    """A later revision for each price."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=price)
    return {
        "ListingKey": key,
        "ListPrice": price,
        "StandardStatus": "Active",
        "ModificationTimestamp": at.isoformat().replace("+00:00", "Z"),
    }


@contextlib.contextmanager
def a_service(dsn: str, errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Lend the service as a process; nothing of it is left afterwards."""
    environment = {**os.environ, "DATABASE_URL": dsn}
    command = [sys.executable, "-m", "mls_crm_sync", "serve", "--no-worker", "--port", "0"]
    with errors.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=out)
    try:
        yield process
    except BaseException as error:
        error.add_note(f"the service said, last:\n{said(errors)[-8000:]}")
        raise
    finally:
        process.kill()
        process.wait()


def said(errors: Path) -> str:
    return errors.read_text()


async def address(process: subprocess.Popen[bytes], errors: Path) -> str:
    """Return where the service listens, once it has said so."""
    async with asyncio.timeout(30):
        while not (found := re.search(r"^(http://\S+)$", said(errors), re.MULTILINE)):
            assert process.poll() is None, said(errors)
            await asyncio.sleep(0.02)
    return found[1]


@contextlib.asynccontextmanager
async def loaded(clients: Clients, ids: list[str]) -> AsyncIterator[asyncio.TaskGroup]:
    """Keep the load up; what fails in a client fails the test."""
    async with asyncio.TaskGroup() as load:
        for one in (
            *(lambda c=c: clients.counts(c) for c in ("c0", "c1", "c2", "c3")),
            *(lambda c=c: clients.reads(c) for c in ("c0", "c1", "c2")),
            *(lambda k=k: clients.pushes(k) for k in ("L0", "L1")),
            *(lambda c=c: clients.links(c, ids) for c in ("l0", "l1")),
            clients.makes,
            clients.lists,
            clients.looks,
        ):
            load.create_task(clients.repeat(one))
        try:
            yield load
        finally:
            clients.stopping = True


async def until_all_work(clients: Clients, since: float) -> None:
    """Wait until every kind of request has succeeded after `since`."""
    kinds = {"patch", "read", "push", "link", "create", "list", "ready"}
    while True:
        good = {a.what for a in clients.answers if a.began >= since and a.status < 300}
        if good == kinds:
            return
        waited = time.monotonic() - since
        assert waited < BACK, f"{kinds - good} still fail after {waited:.1f} s"
        await asyncio.sleep(0.05)


async def one_restart(postgres: Postgres, clients: Clients, way: str) -> None:
    await asyncio.to_thread(postgres.stop, way)
    gone = time.monotonic()
    await asyncio.sleep(AWAY)
    starting = time.monotonic()
    await asyncio.to_thread(postgres.start)
    await until_all_work(clients, time.monotonic())
    settled = time.monotonic()
    await asyncio.sleep(STEADY)

    meanwhile = [a for a in clients.answers if a.began > gone and a.ended < starting]
    assert {a.status for a in meanwhile} == {503}, f"{way}: {Counter((a.what, a.status) for a in meanwhile)}"
    assert {a.what for a in meanwhile} == {"patch", "read", "push", "link", "create", "list", "ready"}
    later = Counter((a.what, a.status) for a in clients.answers if a.began > settled and a.status >= 300)
    assert not later, f"after {way}, with everything working again: {later}"


async def connections(dsn: str) -> dict[str, int]:
    """Return how many sessions the service has, by their state."""
    conn = await connect(dsn)
    try:
        rows = await conn.fetch(
            "SELECT state, count(*) FROM pg_stat_activity"
            " WHERE application_name = 'mls-crm-sync' AND pid <> pg_backend_pid() GROUP BY state"
        )
    finally:
        await conn.close()
    return {row["state"]: row["count"] for row in rows}


async def check_stored(clients: Clients) -> None:
    """Whatever was acknowledged is there; what was answered by 503 may be."""
    stored: dict[str, Any] = {}
    for crm_id in ("c0", "c1", "c2", "c3", "l0", "l1", *clients.made):
        answer = await clients.ask("read", "GET", f"/api/properties/{crm_id}")
        assert answer is not None
        stored[crm_id] = answer.json()
    for crm_id in ("c0", "c1", "c2", "c3"):
        number = int(stored[crm_id]["notes"])
        assert clients.acknowledged[crm_id] <= number <= clients.tried[crm_id], f"{crm_id}: an edit was lost"
    for crm_id in ("l0", "l1"):
        linked = stored[crm_id]["mls_property_id"]
        assert linked in {clients.acknowledged.get(crm_id, linked), clients.tried[crm_id]}, f"{crm_id}: a link was lost"
        listing = await clients.ask("read", "GET", f"/api/mls-properties/{linked}")
        assert listing is not None
        assert stored[crm_id]["fields"]["ListPrice"] == listing.json()["fields"]["ListPrice"], "it is in step"
    for key in ("L0", "L1"):
        listing = await clients.ask("read", "GET", f"/api/mls-properties/{clients.tried[f'id of {key}']}")
        assert listing is not None
        price = int(listing.json()["fields"]["ListPrice"])
        assert clients.acknowledged[key] <= price <= clients.tried[key], f"{key}: a push was lost"


async def prepared(clients: Clients) -> list[str]:
    """Make what the load works on; return the ids of the listings."""
    for key in ("L0", "L1"):
        await clients.pushes(key)
    pushed = {"source": "own", "listings": [a_record("L0", 100_001), a_record("L1", 100_001)]}
    answer = await clients.ask("push", "POST", "/api/mls-properties", pushed)
    assert answer is not None
    ids = {item["listing_key"]: item["property_id"] for item in answer.json()["items"]}
    clients.tried |= {f"id of {key}": property_id for key, property_id in ids.items()}
    items = [{"id": crm_id} for crm_id in ("c0", "c1", "c2", "c3", "l0", "l1")]
    await clients.ask("create", "POST", "/api/properties/bulk", {"items": items})
    return list(ids.values())


@pytest.mark.slow
async def test_restarts_of_postgresql_lose_nothing_and_are_answered_by_503(
    home: Path, pg_bin: Path | None, tmp_path: Path
) -> None:
    postgres = Postgres(home, pg_bin)
    errors = tmp_path / "errors"
    with contextlib.closing(postgres), a_service(postgres.dsn, errors) as process:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=await address(process, errors), timeout=SOON, limits=limits, trust_env=False
        ) as http:
            clients = Clients(http)
            ids = await prepared(clients)
            files: list[int] = []
            async with loaded(clients, ids):
                await until_all_work(clients, time.monotonic())
                for way in WAYS:
                    await one_restart(postgres, clients, way)
                    files.append(psutil.Process(process.pid).num_fds())
                    assert sum((await connections(postgres.dsn)).values()) <= POOLS

            assert process.poll() is None, said(errors)
            assert max(a.ended - a.began for a in clients.answers) < SOON
            assert max(files) <= files[0] + POOLS, f"{files}: open files grow with the restarts"
            await check_stored(clients)
            await check_pools(clients, postgres.dsn)
            check_log(clients, errors)

            await asyncio.to_thread(postgres.stop, "immediate")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 20) == 0, "it ends in good order without its database too"


async def check_pools(clients: Clients, dsn: str) -> None:
    """More requests at once than either pool has connections: what had leaked would be missing now."""
    many = [clients.ask("read", "GET", "/api/properties/c0") for _ in range(POOLS * 2)]
    many += [clients.ask("push", "POST", "/api/mls-properties", _a_push(n)) for n in range(POOLS)]
    assert None not in await asyncio.gather(*many)
    states = await connections(dsn)
    assert set(states) <= {"idle"}, states
    assert states["idle"] <= POOLS


def _a_push(number: int) -> dict[str, Any]:
    return {"source": "own", "location": f"place {number}", "listings": [a_record(f"P{number}", 100_000)]}


def check_log(clients: Clients, errors: Path) -> None:
    """An outage is a warning a request, not a traceback."""
    log = said(errors)
    assert "Traceback" not in log
    assert "unexpected_error" not in log
    assert "store_unavailable" in log
    counted: dict[str, Counter[int]] = defaultdict(Counter)
    for answer in clients.answers:
        counted[answer.what][answer.status] += 1
    for what, statuses in counted.items():
        assert statuses[503] > 0, f"{what} was never asked while the server was away"
        assert sum(n for status, n in statuses.items() if status < 300) > 20, f"{what}: {statuses}"


async def test_service_without_its_database_says_so_and_ends(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with a_service(f"postgresql://nobody@/nothing?host={tmp_path}", errors) as process:
        code = await asyncio.to_thread(process.wait, 30)

    assert code == 1
    assert said(errors).startswith("The database cannot be used right now: ")
    assert len(said(errors).splitlines()) == 1, "no traceback"
