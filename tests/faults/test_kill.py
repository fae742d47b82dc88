"""An ingest that dies and is started again ends where it would have ended: no event twice, none missing.

The processes are real ones, the data are the real deliveries with 3,000 CRM properties linked. They die by SIGKILL
while starting, between pages, in the middle of transactions and at the very end; by a database that ends their
sessions; and one is paused, given up for dead, and wakes again. Proved after each: listings, states, CRM rows, links,
history and events are those of a run that nobody disturbed, what the CRM owns is byte for byte what it was, and the
dead runs are known as what they were. KILL_SEED replays the moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connecting import connected
from making import out_of_step
from mls_crm_sync.store import crm_properties
from mls_crm_sync.store.database import Connection

KILLS_DAY_ONE, KILLS_DAY_TWO, KILLS_PER_DATABASE = 10, 20, 5
PAGES = 20  # of either day
START = 0.5  # seconds until an ingest has made its run, about
PAGE = 0.05  # seconds a page takes, about
PLACE = ("--source", "nyc", "--location", "New York, NY", "--complete")

STATE = {
    "listings": "SELECT property_id, source_key, fields, payload, purged_at FROM mls_properties",
    "states": "SELECT property_id, digest, payload_digest, content_hash, norm_version, source_modified_at"
    " FROM mls_state",
    "crm": "SELECT id, platform, crm_status, notes, tags, assigned_agent, custom, own, fields, overrides,"
    " override_details, mls_property_id, synced_hash, version FROM crm_properties",
    "links": "SELECT crm_id, property_id, unlinked_at IS NULL FROM property_links",
    "events in order": "SELECT property_id, array_agg(ROW (type, crm_property_id, platform, field_names,"
    " change_types)::text ORDER BY seq) FROM events WHERE type <> 'listing.gone' GROUP BY property_id",
    "history in order": "SELECT property_id, array_agg(ROW (type, field_name, previous_value, new_value)::text"
    " ORDER BY change_id) FROM property_changes GROUP BY property_id",
    "members": "SELECT property_id, last_shown_at IS NULL FROM location_listings",
}
"""What has to be the same in the end: all but times, run ids and numbers. Who is gone: see `assert_gone_by_rule`."""

GONE = 93  # of day 1, on day 2

OTHERS = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
LOOK = f"""
    SELECT (SELECT count(*) FROM scraping_jobs WHERE run_id > $1) AS runs,
           (SELECT count(*) FROM scraping_jobs WHERE run_id > $1 AND status = 'running') AS running,
           (SELECT count(*) FROM pass_pages JOIN location_passes USING (pass_id) WHERE run_id > $1) AS pages,
           (SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND backend_xid IS NOT NULL) AS writing"""
"""How far the run after another one has come, and whether it has a transaction open that has written or locked."""


@dataclass(frozen=True, slots=True)
class Moment:
    """`delay` seconds after so many pages (None: after the start), and after a transaction was seen if so wished."""

    pages: int | None
    writing: bool
    delay: float


def moments(rng: random.Random, count: int) -> list[Moment]:
    """Of ten: two while starting, two at the very end, three after some page, three inside a transaction."""
    drawn = []
    for number in range(count):
        page, kind = rng.randrange(PAGES), number % 10
        if kind < 2:
            drawn.append(Moment(None, writing=False, delay=rng.uniform(0, START)))
        elif kind < 4:
            drawn.append(Moment(PAGES, writing=kind == 3, delay=rng.uniform(0, PAGE / 4)))
        elif kind < 7:
            drawn.append(Moment(page, writing=False, delay=rng.uniform(0, PAGE)))
        else:
            drawn.append(Moment(page, writing=True, delay=rng.uniform(0, PAGE / 10)))
    rng.shuffle(drawn)
    return drawn


@dataclass(frozen=True, slots=True)
class Story:
    """The commands of one test database."""

    dsn: str
    data: Path

    def start(self, *args: object) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "DATABASE_URL": self.dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}
        command = [sys.executable, "-m", "mls_crm_sync", *map(str, args)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    @contextlib.contextmanager
    def started(self, *args: object) -> Iterator[subprocess.Popen[bytes]]:
        """Lend a process; nothing of it is left afterwards."""
        process = self.start(*args)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(self, *args: object, code: int = 0) -> None:
        """Run a command to its end."""
        with self.started(*args) as process:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == code, errors.decode()

    def ingest(self, day: int) -> tuple[object, ...]:
        return ("ingest", self.data / f"nyc_listings_day{day}.jsonl.gz", *PLACE)

    def link(self) -> None:
        """Import the CRM and link it; 14 of its properties have a listing only after day 2."""
        self.run("crm", "import", self.data / "crm_properties.csv")
        self.run("link", "--file", self.data / "crm_truth.csv", "--source", "nyc", code=1)


async def end_state(dsn: str) -> dict[str, list[str]]:
    async with connected(dsn) as conn:
        return {name: sorted(map(repr, await conn.fetch(query))) for name, query in STATE.items()}


async def owned(dsn: str) -> str | None:
    async with connected(dsn) as conn:
        return await crm_properties.owned_digest(conn)


def differing(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> list[str]:
    """Return the tables that differ, with a row each that one has more often than the other."""
    rows = {n: [*(Counter(found[n]) - Counter(wanted[n])), *(Counter(wanted[n]) - Counter(found[n]))] for n in STATE}
    return [f"{name}: {more[:1]}" for name, more in rows.items() if more]


async def reached(eye: Connection, process: subprocess.Popen[bytes], moment: Moment, last_run: int) -> bool:
    """Wait for the moment; False when the process has ended by then."""
    while moment.pages is not None and process.poll() is None:
        seen = await eye.fetchrow(LOOK, last_run)
        assert seen is not None
        if seen["pages"] >= moment.pages and seen["runs"] and (seen["writing"] or not moment.writing):
            break
        await asyncio.sleep(0.001)
    await asyncio.sleep(moment.delay)
    return process.poll() is None


async def until(eye: Connection, condition: str) -> None:
    """Wait until an SQL condition holds."""
    async with asyncio.timeout(60):
        while True:
            if await eye.fetchval(f"SELECT {condition}"):
                return
            await asyncio.sleep(0.005)


async def alone(eye: Connection) -> None:
    """Wait until the server has noticed that its clients are gone."""
    await until(eye, f"NOT EXISTS (SELECT FROM pg_stat_activity WHERE {OTHERS})")


async def last_run_of(eye: Connection) -> int:
    return int(await eye.fetchval("SELECT coalesce(max(run_id), 0) FROM scraping_jobs"))


async def phase(eye: Connection, last_run: int) -> str:
    seen = await eye.fetchrow(LOOK, last_run)
    assert seen is not None
    if not seen["runs"]:
        return "starting"
    if not seen["running"]:
        return "leaving"
    return "in a transaction" if seen["writing"] else "between transactions"


async def killed(story: Story, day: int, moment: Moment) -> tuple[str, int] | None:
    """Kill an ingest at a moment: return what it was at, and how many runs it left behind; None when it had ended."""
    async with connected(story.dsn) as eye:
        last_run = await last_run_of(eye)
        with story.started(*story.ingest(day)) as process:
            if not await reached(eye, process, moment, last_run):
                assert process.returncode == 0, process.communicate()[1].decode()
                return None
            process.send_signal(signal.SIGSTOP)  # so that what is looked at is what is struck
            struck = await phase(eye, last_run)
            process.send_signal(signal.SIGKILL)
        await alone(eye)
        left = await eye.fetchval(
            "SELECT count(*) FROM scraping_jobs WHERE run_id > $1 AND status = 'running'", last_run
        )
        return struck, int(left)


async def killed_often(story: Story, day: int, plan: list[Moment], struck: Counter[str]) -> int:
    """Kill by plan; return how many runs were left behind. A moment that came too late is drawn again, sooner."""
    left = 0
    for moment in plan:
        now = moment
        while (found := await killed(story, day, now)) is None:
            now = Moment(now.pages and now.pages // 2, now.writing, now.delay / 2)
        struck[found[0]] += 1
        left += found[1]
    return left


async def assert_whole(dsn: str, *, abandoned: int, otherwise: int = 0) -> None:
    """Every linked property is as its listing, and every run that died is known as what it was."""
    async with connected(dsn) as conn:
        assert await out_of_step(conn) == []
        ends = await conn.fetch("SELECT status, error_code, count(*) FROM scraping_jobs GROUP BY 1, 2")
        found = {(row["status"], row["error_code"]): row["count"] for row in ends}
        assert found.pop(("succeeded", None)) >= 1
        assert found.pop(("failed", "abandoned"), 0) == abandoned
        assert sum(found.values()) == otherwise, found
        assert await conn.fetchval("SELECT count(*) FROM scraping_job_locations WHERE status = 'running'") == 0
        assert await conn.fetchval("SELECT count(*) FROM location_passes WHERE ended_at IS NULL") == 0
        passes = await conn.fetchval("SELECT count(*) FROM location_passes WHERE outcome = 'abandoned'")
        assert passes == abandoned
        assert await conn.fetchval("SELECT count(*) FROM pass_pages") == 0
        await assert_gone_by_rule(conn)


async def assert_gone_by_rule(conn: Connection) -> None:
    """Each ingest of day 2 that came to its end, killed right after or not, is a complete pass: three call it gone."""
    passes = await conn.fetchval(
        "SELECT count(*) FROM location_passes WHERE outcome = 'complete'"
        " AND pass_id >= (SELECT min(missing_since) FROM location_listings)"
    )
    assert passes >= 1
    gone = GONE if passes >= 3 else 0
    assert await conn.fetchval("SELECT count(*) FROM mls_properties WHERE absence_state <> 'listed'") == gone
    assert await conn.fetchval("SELECT count(*) FROM absences WHERE evidence ->> 'passes' >= '3'") == gone
    assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'listing.gone'") == gone
    assert (
        await conn.fetchval("SELECT count(*) FROM location_passes WHERE settled_at IS NULL AND outcome = 'complete'")
        == 0
    )


@dataclass(frozen=True, slots=True)
class Told:
    """The undisturbed story: a database before day 2, to copy, and how it all ends."""

    template: str
    owned: str | None
    wanted: dict[str, list[str]]


@pytest.fixture(scope="module")
def told(server: Any, shared: Path) -> Iterator[Told]:
    if server.name != "embedded":
        pytest.skip("half the time for the same statements; the concurrency tests run on both servers")
    with server.database() as dsn:
        story = Story(dsn, shared / "data")
        story.run(*story.ingest(1))
        story.link()
        before, template = asyncio.run(owned(dsn)), dsn.rsplit("/", 1)[1].split("?")[0]
        with server.database(template=template) as whole:
            Story(whole, story.data).run(*story.ingest(2))
            wanted = asyncio.run(end_state(whole))
            assert asyncio.run(owned(whole)) == before
        yield Told(template, before, wanted)


@pytest.mark.slow
async def test_ingest_killed_at_thirty_moments_ends_as_if_nothing_had_happened(
    server: Any, shared: Path, told: Told
) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(10**6)))
    print(f"KILL_SEED={seed}")  # noqa: T201 - replays it
    rng, struck, left = random.Random(seed), Counter[str](), 0
    for plan in _parts(moments(rng, KILLS_DAY_ONE)):
        with server.database() as dsn:
            story = Story(dsn, shared / "data")
            abandoned = await killed_often(story, 1, plan, struck)
            story.run(*story.ingest(1))
            story.link()
            story.run(*story.ingest(2))
            assert differing(await end_state(dsn), told.wanted) == []
            await assert_whole(dsn, abandoned=abandoned)
            left += abandoned
    for plan in _parts(moments(rng, KILLS_DAY_TWO)):
        with server.database(template=told.template) as dsn:
            story = Story(dsn, shared / "data")
            abandoned = await killed_often(story, 2, plan, struck)
            story.run(*story.ingest(2))
            assert differing(await end_state(dsn), told.wanted) == []
            assert await owned(dsn) == told.owned
            await assert_whole(dsn, abandoned=abandoned)
            left += abandoned

    print(f"killed {dict(struck)}; {left} runs were left behind")  # noqa: T201 - what the test was worth
    assert struck.total() == KILLS_DAY_ONE + KILLS_DAY_TWO
    assert struck["in a transaction"] >= 5
    assert struck["starting"] >= 1
    assert left >= 15


def _parts(plan: list[Moment]) -> Iterator[list[Moment]]:
    return (plan[at : at + KILLS_PER_DATABASE] for at in range(0, len(plan), KILLS_PER_DATABASE))


async def test_ingest_whose_database_goes_away_says_so_and_can_be_started_again(
    server: Any, shared: Path, told: Told
) -> None:
    """At six moments, the sessions of the ingest are ended by the server, whatever they are at."""
    seed = int(os.environ.get("KILL_SEED", random.randrange(10**6)))
    print(f"KILL_SEED={seed}")  # noqa: T201 - replays it
    rng = random.Random(seed)
    with server.database(template=told.template) as dsn:
        story = Story(dsn, shared / "data")
        survived = 0
        for number in range(6):
            moment = Moment(rng.randrange(PAGES // 2), writing=number % 2 == 0, delay=rng.uniform(0, PAGE / 10))
            survived += await _cut_off(story, moment)
        story.run(*story.ingest(2))

        assert differing(await end_state(dsn), told.wanted) == []
        assert await owned(dsn) == told.owned
        async with connected(dsn) as conn:
            codes = [
                row["error_code"] for row in await conn.fetch("SELECT error_code FROM scraping_jobs ORDER BY run_id")
            ]
        assert codes[0] is codes[-1] is None, "day 1, and day 2 in the end"
        assert codes[1:-1].count(None) == survived < 6
        assert set(codes[1:-1]) <= {"store_unavailable", "abandoned", None}
        abandoned = codes.count("abandoned")
        await assert_whole(dsn, abandoned=abandoned, otherwise=6 - abandoned - survived)


async def _cut_off(story: Story, moment: Moment) -> bool:
    """End the sessions of an ingest at a moment. It says why it ends, unless it was asking nothing just then: then it
    goes on with new sessions. Return whether it did.
    """
    async with connected(story.dsn) as eye:
        last_run = await last_run_of(eye)
        with story.started(*story.ingest(2)) as process:
            assert await reached(eye, process, moment, last_run)
            await eye.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
            _, errors = process.communicate(timeout=60)
            assert b"Traceback" not in errors
            if process.returncode == 0:
                return True
            assert process.returncode == 1, errors.decode()
            assert b"The database cannot be used right now" in errors
            return False


async def test_ingest_that_wakes_after_its_run_was_given_up_writes_nothing_more(
    server: Any, shared: Path, told: Told
) -> None:
    """Paused, its sessions ended by the server, its run ended by the next ingest; then it goes on."""
    with server.database(template=told.template) as dsn:
        story = Story(dsn, shared / "data")
        async with connected(dsn) as eye:
            with story.started(*story.ingest(2)) as zombie:
                await _paused_in_a_transaction(eye, zombie)
                await eye.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
                await alone(eye)
                story.run(*story.ingest(2))
                before = await _runs(eye)
                zombie.send_signal(signal.SIGCONT)
                _, errors = zombie.communicate(timeout=60)
                assert zombie.returncode == 1, errors.decode()
                assert b"Traceback" not in errors

            assert await _runs(eye) == before
        assert differing(await end_state(dsn), told.wanted) == []
        await assert_whole(dsn, abandoned=1)


async def _paused_in_a_transaction(eye: Connection, process: subprocess.Popen[bytes]) -> None:
    """Pause day 2 with locks held that whoever reads the same has to wait for."""
    last_run = await last_run_of(eye)
    while True:
        assert await reached(eye, process, Moment(2, writing=True, delay=0), last_run)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)  # what the server was at ends
        seen = await eye.fetchrow(LOOK, last_run)
        assert seen is not None
        if seen["writing"] and await _locked_listings(eye):
            return
        process.send_signal(signal.SIGCONT)


async def _locked_listings(eye: Connection) -> int:
    """Count listings that have changed on day 2 and whose rows nobody can lock right now."""
    return int(
        await eye.fetchval(
            "SELECT (SELECT count(*) FROM mls_state)"
            " - (SELECT count(*) FROM (SELECT FROM mls_state FOR NO KEY UPDATE SKIP LOCKED) AS free)"
        )
    )


async def _runs(eye: Connection) -> list[str]:
    tables = ("scraping_jobs", "scraping_job_locations", "location_passes")
    return [repr(row) for table in tables for row in await eye.fetch(f"SELECT * FROM {table} AS t ORDER BY t::text")]
