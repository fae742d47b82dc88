"""The service under load: `mls-crm-sync serve` as a process of its own, asked over HTTP/1.1 on loopback.

    python bench/load.py [--listings N] [--rate N] [--seconds N] [--mixed | --reads] [--profile FOLDER] [--smoke]

Mixed: `--rate` requests a second of ten kinds, for `--seconds`, while `mls-crm-sync ingest` changes every listing
again and again in another process. The times of arrival are fixed beforehand and latency counts from them, so that a
service that stalls is charged with all that waits meanwhile (no coordinated omission).
Reads: GET /api/properties/{id} over some keep-alive connections, each asking again as soon as it is answered.

Every answer has to have the status that is due to it. At the end each linked CRM property equals its listing and each
note is the last one that was acknowledged: it cannot measure nothing. The generator shares the machine with what it
measures, so it is a bare asyncio protocol that looks at no more of an answer than it needs; what it, the service, the
ingest and PostgreSQL cost is printed too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import fastapi
import orjson
import uvicorn
import uvloop

import workload
from cost import Cost, postmaster
from mls_crm_sync import __version__, logs, wiring
from mls_crm_sync.core.listing import Normaliser, property_id
from mls_crm_sync.settings import Settings
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store import crm_properties
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.ingest import ingest
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.reader import Reader

SOURCE, LOCATION = "bench", "*"
PAGE = 1000
SPARE = 500
"""CRM properties that are linked and unlinked under load: many, so that one's link is done when its unlink is due."""
EVENTS = "GET events"
MOST_CONNECTIONS = 400
START_SECONDS, ANSWER_SECONDS = 30, 60
DELIVERIES = 14
P99_AIM, READS_AIM = 0.100, 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, written out before its time."""

    kind: str
    data: bytes
    then: Callable[[bytes], None] | None = None  # is given the body of a good answer


@dataclass(slots=True)
class Seen:
    """What came back: seconds by kind, and each status that was not the due one."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[tuple[str, int]] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)  # of the generator itself

    def note(self, asked: Asked, status: int, body: bytes, seconds: float) -> None:
        self.seconds[asked.kind].append(seconds)
        if status != 200:
            self.wrong[asked.kind, status] += 1
            if len(self.samples) < 5:
                self.samples.append(f"{asked.kind}: {status} {body[:300].decode(errors='replace')}")
        elif asked.then is not None:
            asked.then(body)


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request under way at most."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._data = b""
        self._body_at = 0
        self._end = -1
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's only look like it

    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        if self._end < 0:
            head_end = self._data.find(b"\r\n\r\n")
            if head_end < 0:
                return
            length = _LENGTH.search(self._data, 0, head_end)
            assert length is not None, self._data[:200]
            self._body_at = head_end + 4
            self._end = self._body_at + int(length[1])
        if len(self._data) >= self._end and self._answer is not None and not self._answer.done():
            self._answer.set_result((int(self._data[9:12]), self._data[self._body_at : self._end]))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the service closed the connection"))

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._data, self._end = b"", -1
        self._transport.write(data)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Client:
    """Connections to one address: the idle one that was used last is taken first, a new one where none is idle."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)
        self.opened = 0

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        async with self._slots:
            conn = self._idle.pop() if self._idle else None
            while conn is not None and conn.closed:  # idle for so long that the service gave it up
                conn = self._idle.pop() if self._idle else None
            conn = conn or await self.connect()
            answer = await conn.ask(data)
            self._idle.append(conn)
            return answer

    async def connect(self) -> Connection:
        self.opened += 1
        _, conn = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        return conn

    def close(self) -> None:
        for conn in self._idle:
            conn.close()


class Mix:
    """Writes the requests of a run, from a seed: which one comes when, of what, and what it should leave behind."""

    SHARES = (
        ("GET property", 39),
        ("GET properties, filtered", 8),
        ("GET listings, filtered", 5),
        ("GET mls-data", 12),
        (EVENTS, 7),
        ("PATCH notes", 13),
        ("POST sync-property", 5),
        ("POST link", 4),
        ("DELETE unlink", 4),
        ("POST push of one", 3),
    )

    def __init__(self, host: str, count: int, linked: Sequence[int], spare: Sequence[str], searches: int) -> None:
        self._host = host
        self._count = count
        self._shares = [*self.SHARES, ("GET properties, searched", searches)]
        self._linked = linked
        self._rng = random.Random(workload.SEED)
        self._spare = {name: itertools.cycle(spare) for name in ("POST link", "DELETE unlink")}
        self._patched = itertools.cycle(self._rng.sample(linked, len(linked)))
        self._numbers = itertools.count(1)
        self._seq = 0
        self.notes: dict[str, str] = {}  # acknowledged, by CRM id

    def plan(self, total: int) -> list[str]:
        """Return the kinds in order; a link's unlink follows half of the spare ones later, once it is surely done."""
        kinds = [kind for kind, share in self._shares for _ in range(share)]
        drawn = self._rng.choices(kinds, k=total)
        links_made, behind = 0, SPARE // 4
        for at, kind in enumerate(drawn):
            if kind in self._spare:
                drawn[at] = "POST link" if links_made < behind or self._rng.random() < 0.5 else "DELETE unlink"
                links_made += 1 if drawn[at] == "POST link" else -1
                if links_made > SPARE // 2:
                    drawn[at], links_made = "DELETE unlink", links_made - 2
        return drawn

    def make(self, kind: str) -> Asked:
        verb = kind.partition(" ")[0]
        number = self._rng.choice(self._linked)
        if verb == "GET":
            return self._asked(kind, verb, self._path(kind, number), then=self._follow if kind == EVENTS else None)
        return self._write(kind, verb, number)

    def _path(self, kind: str, number: int) -> str:
        match kind:
            case "GET property":
                return f"/api/properties/c{number}"
            case "GET properties, filtered":
                query = self._rng.choice(("crm_status=open", "sync_status=synced", f"mls_property_id={_id(number)}"))
                return f"/api/properties?{query}&limit=20&cursor=c{self._rng.randrange(self._count)}"
            case "GET properties, searched":
                return f"/api/properties?q={7_000_000 + number}&limit=20"
            case "GET listings, filtered":
                query = self._rng.choice(("status=Active", "city=Salem", f"mls_number={7_000_000 + number}"))
                return f"/api/mls-properties?{query}&limit=20"
            case "GET mls-data":
                return f"/api/properties/c{number}/mls-data"
            case _:
                return f"/api/events?after={self._seq}&limit=100"

    def _write(self, kind: str, verb: str, number: int) -> Asked:
        """Every writer has its own CRM properties in turn, so that what it is answered says what is stored."""
        serial = next(self._numbers)
        match kind:
            case "PATCH notes":
                crm_id, text = f"c{next(self._patched)}", f"called owner, {serial} times"
                then = self._acknowledged(crm_id, text)
                return self._asked(kind, verb, f"/api/properties/{crm_id}", {"notes": text}, then=then)
            case "POST sync-property":
                return self._asked(kind, verb, "/sync-property", {"mls_property_id": _id(number)})
            case "POST link":
                body = {"mls_property_id": _id(self._rng.randrange(self._count))}
                return self._asked(kind, verb, f"/api/properties/{next(self._spare[kind])}/link-mls", body)
            case "DELETE unlink":
                return self._asked(kind, verb, f"/api/properties/{next(self._spare[kind])}/unlink-mls")
            case _:
                record = workload.listing(self._rng.randrange(self._count))
                record |= {
                    "ListPrice": 77_000 + serial,
                    "ModificationTimestamp": f"2025-01-01T{serial // 3600 % 24:02d}:{serial // 60 % 60:02d}:00Z",
                }
                pushed = {"source": SOURCE, "location": "pushed", "listings": [record]}
                return self._asked(kind, verb, "/api/mls-properties", pushed)

    def _acknowledged(self, crm_id: str, text: str) -> Callable[[bytes], None]:
        def then(_: bytes) -> None:
            self.notes[crm_id] = text

        return then

    def _follow(self, body: bytes) -> None:
        found = _CURSOR.search(body)
        if found is not None:
            self._seq = max(self._seq, int(found[1]))

    def _asked(
        self, kind: str, verb: str, path: str, body: object = None, *, then: Callable[[bytes], None] | None = None
    ) -> Asked:
        content = orjson.dumps(body) if body is not None else b""
        head = f"{verb} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        return Asked(kind, head.encode() + b"\r\n" + content, then)


_CURSOR = re.compile(rb'"next_cursor":"(\d+)"')


def _id(number: int) -> str:
    return property_id(SOURCE, workload.key(number))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--listings", type=int, default=20_000)
    asked.add_argument("--rate", type=int, default=300, help="mixed requests a second")
    asked.add_argument("--seconds", type=float, default=60)
    asked.add_argument("--searches", type=int, default=0, help="of 100 mixed requests; each reads all CRM properties")
    asked.add_argument("--connections", type=int, default=16, help="of the reads")
    asked.add_argument("--mixed", action="store_true", help="the mixed load alone")
    asked.add_argument("--reads", action="store_true", help="the reads alone")
    asked.add_argument("--profile", type=Path, metavar="FOLDER", help="run the service under cProfile; slower")
    asked.add_argument(
        "--smoke", action="store_true", help="1,000 listings, a few seconds: does it still run and hold?"
    )
    args = asked.parse_args()
    if args.smoke:
        args.listings, args.rate, args.seconds = 1_000, 50, 3
    logs.configure("error")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # so that what was started ends too
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-load-") as folder:
        Path(folder).chmod(0o711)  # root's server runs under an account that has to pass through
        settings = Settings(home=Path(folder) / "home", database_url=os.environ.get("BENCH_DATABASE_URL"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(settings, Path(folder), args))


async def measure(settings: Settings, folder: Path, args: argparse.Namespace) -> None:
    async with wiring.database_server(settings) as server:
        own = Settings(home=settings.home, database_url=server.dsn)
        async with wiring.open_database(own) as db:
            async with db.connection() as conn:
                version = await conn.fetchval("SHOW server_version")
            linked, spare = await fill(db, args.listings)
            print(f"{args.listings:,} listings, {len(linked):,} CRM properties linked, {SPARE} to link; mls-crm-sync "
                  f"{__version__}, Python {platform.python_version()}, PostgreSQL {version}, asyncpg "
                  f"{asyncpg.__version__}, FastAPI {fastapi.__version__}, uvicorn {uvicorn.__version__}, "
                  f"{os.cpu_count()} cores", flush=True)  # fmt: skip
        if not args.mixed:
            await reads(server.dsn, folder, linked, args)
        if not args.reads:
            await mixed(server.dsn, folder, linked, spare, args)


async def fill(db: Database, count: int) -> tuple[list[int], list[str]]:
    """Load the listings, link a CRM property to every second one, and make some without a link; return both."""
    reader = Reader(SOURCE, Normaliser())
    await ingest(db, reader, _pages(workload.delivery(count)), location=LOCATION, complete=True)
    numbers = list(range(0, count, 2))
    spare = [f"s{n}" for n in range(SPARE)]
    made = [*(f"c{n}" for n in numbers), *spare]
    rows = [(n, {"id": crm_id, "crm_status": ("open", "won", "lost")[n % 3]}) for n, crm_id in enumerate(made)]
    await crm.import_rows(db, ["id", "crm_status"], rows)
    wanted = [LinkRow(n, f"c{n}", listing_key=workload.key(n)) for n in numbers]
    summary = await links.link_rows(db, Normaliser().unsynced, wanted, source=SOURCE)
    assert summary.linked == len(wanted), summary.errors[:3]
    async with db.connection() as conn:
        await conn.execute("VACUUM ANALYZE")  # what autovacuum would have done to a database that has lived a while
    return numbers, spare


async def _pages(records: Iterator[bytes]) -> AsyncIterator[Page]:
    for number in itertools.count(1):
        chunk = list(itertools.islice(records, PAGE))
        if not chunk:
            return
        raws = tuple(RawRecord(number * PAGE + n, data) for n, data in enumerate(chunk))
        yield Page(number, raws, (), bytes_read=0, checkpoint={"page": number})


async def reads(dsn: str, folder: Path, linked: Sequence[int], args: argparse.Namespace) -> None:
    """Ask for one CRM property after the other over each connection; print how many a second that makes."""
    with service(dsn, folder, args.profile, "reads") as (process, host, port):
        client, seen, rng = Client(host, port), Seen(), random.Random(workload.SEED)
        data = [_get(f"{host}:{port}", f"/api/properties/c{n}") for n in rng.sample(linked, min(2_000, len(linked)))]

        async def ask_on(until: float) -> None:
            conn = await client.connect()
            while time.perf_counter() < until:
                asked = rng.choice(data)
                began = time.perf_counter()
                seen.note(asked, *await conn.ask(asked.data), time.perf_counter() - began)
            conn.close()

        async with asyncio.TaskGroup() as warming:
            for _ in range(args.connections):
                warming.create_task(ask_on(time.perf_counter() + min(2, args.seconds / 3)))
        seen, server = Seen(), await postmaster(dsn)
        cost, length = Cost({"service": process.pid, "generator": os.getpid()}, server), min(20, args.seconds)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as asking:
            for _ in range(args.connections):
                asking.create_task(ask_on(began + length))
        seconds = time.perf_counter() - began
        rate = sum(map(len, seen.seconds.values())) / seconds
        print(f"\nreads: {rate:,.0f} a second over {args.connections} connections for {seconds:.0f} s "
              f"(aim {READS_AIM:,}: {_met(rate >= READS_AIM)})")  # fmt: skip
        report(seen, cost.since(seconds))


def _get(host: str, path: str) -> Asked:
    return Asked("GET property", f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


async def mixed(dsn: str, folder: Path, linked: Sequence[int], spare: Sequence[str], args: argparse.Namespace) -> None:
    """Ask on time, whatever the answers do, while an ingest changes every listing; print the latencies."""
    files = deliveries(folder, args.listings)
    with service(dsn, folder, args.profile, "mixed") as (process, host, port):
        client, seen = Client(host, port), Seen()
        mix = Mix(f"{host}:{port}", args.listings, linked, spare, args.searches)
        requests = [mix.make(kind) for kind in mix.plan(int(args.rate * args.seconds))]
        await client.ask(_get(host, "/health").data)
        async with _events(dsn) as bulk_changed:
            with bulk(dsn, files, folder) as loader:
                while not await bulk_changed():
                    assert loader.poll() is None, "the bulk ingest ended before it began to change anything"
                    await asyncio.sleep(0.05)
                server, before = await postmaster(dsn), await bulk_changed()
                pids = {"service": process.pid, "ingest": loader.pid, "generator": os.getpid()}
                cost = Cost(pids, server)
                began = time.perf_counter()
                await on_time(client, requests, seen, args.rate, mix)
                seconds = time.perf_counter() - began
                assert loader.poll() is None, "the bulk ingest ended before the load did"
                changed = await bulk_changed() - before
                spent = cost.since(seconds)
        client.close()
        latencies = [s for each in seen.seconds.values() for s in each]
        p99 = _at(latencies, 0.99)
        print(f"\nmixed: {args.rate} a second for {args.seconds:.0f} s over up to {client.opened} connections, during "
              f"an ingest that changed {changed / seconds:,.0f} listings a second; p99 {p99 * 1000:,.1f} ms (aim "
              f"{P99_AIM * 1000:.0f}: {_met(p99 <= P99_AIM)})")  # fmt: skip
        report(seen, spent)
        assert changed, "the bulk ingest changed nothing"
    await check_end(dsn, mix)


async def on_time(client: Client, requests: Sequence[Asked], seen: Seen, rate: int, mix: Mix) -> None:
    """Send each request at its time. A reader of events asks for what came after its last answer."""
    began = time.perf_counter() + 0.1

    async def ask(asked: Asked, due: float) -> None:
        seen.lateness.append(time.perf_counter() - due)
        try:
            status, body = await asyncio.wait_for(client.ask(asked.data), ANSWER_SECONDS)
        except (TimeoutError, ConnectionError) as error:
            status, body = 0, repr(error).encode()
        seen.note(asked, status, body, time.perf_counter() - due)

    async with asyncio.TaskGroup() as asking:
        for number, asked in enumerate(requests):
            due = began + number / rate
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            one = mix.make(asked.kind) if asked.kind == EVENTS else asked
            asking.create_task(ask(one, due))


async def check_end(dsn: str, mix: Mix) -> None:
    async with Database.open(dsn, max_size=1) as db, db.connection() as conn:
        assert await crm_properties.count_out_of_step(conn, Normaliser().unsynced) == 0
        rows = await conn.fetch("SELECT id, notes FROM crm_properties WHERE id = ANY ($1::text[])", list(mix.notes))
        assert {row["id"]: row["notes"] for row in rows} == mix.notes, "an acknowledged note is not there"
        print(f"in step; all {len(mix.notes):,} acknowledged notes are there")


# The processes.


def _environment(dsn: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": dsn}


@contextlib.contextmanager
def _started(command: Sequence[str], dsn: str, errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Lend a process; nothing of it is left afterwards."""
    with errors.open("wb") as out:
        process = subprocess.Popen(command, env=_environment(dsn), stdout=subprocess.DEVNULL, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def service(
    dsn: str, folder: Path, profile: Path | None, name: str
) -> Iterator[tuple[subprocess.Popen[bytes], str, int]]:
    """Lend a service on a free port, with its address."""
    errors = folder / f"{name}.serve"
    profiled = ["-m", "cProfile", "-o", str(profile / f"{name}.prof")] if profile else []
    command = [sys.executable, *profiled, "-m", "mls_crm_sync", "serve", "--no-worker", "--port", "0"]
    with _started(command, dsn, errors) as process:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"^(http://\S+)$", errors.read_text(), re.MULTILINE)):
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, "the service does not say where it listens"
            time.sleep(0.05)
        where = urlsplit(found[1])
        yield process, where.hostname or "", where.port or 0
        assert process.poll() is None, errors.read_text()


def bulk(dsn: str, files: Sequence[Path], folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Lend an ingest of all the deliveries, one after the other; it is told to stop when the load is over."""
    place = ("--source", SOURCE, "--location", LOCATION, "--json")
    command = [sys.executable, "-m", "mls_crm_sync", "ingest", *map(str, files), *place]
    return _started(command, dsn, folder / "ingest.errors")


def deliveries(folder: Path, count: int) -> list[Path]:
    files = [folder / f"day{day}.jsonl" for day in range(1, DELIVERIES + 1)]
    for day, file in enumerate(files, start=1):
        with file.open("wb") as out:
            out.writelines(record + b"\n" for record in workload.delivery(count, day=day, changed=1.0))
    os.sync()  # or writing them back would be measured
    return files


@contextlib.asynccontextmanager
async def _events(dsn: str) -> AsyncIterator[Callable[[], asyncio.Future[int]]]:
    """Lend a way to ask how many changes of listings the newest ingest has told."""
    conn = await asyncpg.connect(dsn)
    try:
        last = await conn.fetchval("SELECT coalesce(max(run_id), 0) FROM scraping_jobs WHERE kind = 'ingest'")
        query = (
            "SELECT count(*) FROM events JOIN scraping_jobs AS j USING (run_id)"
            " WHERE events.type = 'listing.changed' AND j.kind = 'ingest' AND j.run_id > $1"
        )
        yield lambda: asyncio.ensure_future(conn.fetchval(query, last))
    finally:
        await conn.close()


def report(seen: Seen, cost: str) -> None:
    print(f"{'':26}{'requests':>10}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'5xx':>6}{'other':>7}")
    everything = [s for each in seen.seconds.values() for s in each]
    for kind, seconds in [*seen.seconds.items(), ("all", everything)]:
        failed = sum(n for (k, s), n in seen.wrong.items() if s >= 500 and kind in {k, "all"})
        other = sum(n for (k, s), n in seen.wrong.items() if s < 500 and kind in {k, "all"})
        row = (_at(seconds, 0.5), _at(seconds, 0.99), max(seconds))
        print(f"{kind:26}{len(seconds):10,}" + "".join(f"{s * 1000:10,.1f}" for s in row) + f"{failed:6}{other:7}")
    if seen.lateness:
        print(f"the generator was late by {_at(seen.lateness, 0.99) * 1000:.1f} ms (p99); that counts as the service's")
    print(cost, flush=True)
    assert not seen.wrong, f"{dict(seen.wrong)}: {seen.samples}"


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _met(yes: bool) -> str:  # noqa: FBT001 - a word for a truth
    return "met" if yes else "MISSED"


if __name__ == "__main__":
    main()
