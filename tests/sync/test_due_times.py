"""Every due time of a schedule is accounted for once: by a run, or by a row that says why there is none."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from making import a_crm
from mls_crm_sync.core import schedule as cron
from mls_crm_sync.core.errors import InvalidInput, ScheduleNotFound, SetupError, VersionMismatch
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import rescrape, schedules, sources
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


async def a_schedule(conn: Connection, job_id: str = "j", expression: str = "0 * * * *", **columns: Any) -> str:
    """A schedule of one location whose due times begin after START."""
    schedule = cron.schedule_of(expression, columns.get("timezone", "UTC"))
    given = {
        "scheduled_job_id": job_id, "kind": "locations", "name": job_id, "cron_expression": expression,
        "locations": ["11216"], "next_run_at": cron.next_run(schedule, START), **columns,
    }  # fmt: skip
    names = ", ".join(given)
    values = ", ".join(f"${n}" for n in range(1, len(given) + 1))
    await conn.execute(f"INSERT INTO scheduled_jobs ({names}) VALUES ({values})", *given.values())
    return job_id


@pytest.fixture
async def source(db: Database) -> None:
    await sources.add(db, Sealer(), "mls", "folder", {"path": "/nowhere"})


async def accounts(conn: Connection, job_id: str = "j") -> list[tuple[Any, ...]]:
    """Return (status, reason, first, last, how many) of what was made of the due times, in their order."""
    rows = await conn.fetch(
        "SELECT status, reason, scheduled_for, last_due_at, due_times FROM scraping_jobs"
        " WHERE scheduled_job_id = $1 AND scheduled_for IS NOT NULL ORDER BY scheduled_for",
        job_id,
    )
    return [tuple(row) for row in rows]


async def end_runs(conn: Connection) -> None:
    """As if workers had read them."""
    await conn.execute("UPDATE scraping_job_locations SET status = 'succeeded' WHERE status = 'queued'")
    await conn.execute(
        "UPDATE scraping_jobs SET status = 'succeeded', started_at = clock_timestamp(), finished_at = clock_timestamp()"
        " WHERE status = 'queued'"
    )


@pytest.mark.usefixtures("source")
async def test_each_due_time_becomes_a_run(db: Database, conn: Connection) -> None:
    await a_schedule(conn)
    assert await schedules.tick(db, at=START + HOUR - MINUTE) == 0
    for hour in (1, 2):
        assert await schedules.tick(db, at=START + hour * HOUR) == 1
        assert await schedules.tick(db, at=START + hour * HOUR + MINUTE) == 0
        await end_runs(conn)
    first, second = START + HOUR, START + 2 * HOUR
    assert await accounts(conn) == [("succeeded", None, first, first, 1), ("succeeded", None, second, second, 1)]


@pytest.mark.usefixtures("source")
async def test_after_downtime_the_latest_runs_and_the_earlier_share_a_row(db: Database, conn: Connection) -> None:
    await a_schedule(conn)
    await schedules.tick(db, at=START + 5 * HOUR + 59 * MINUTE)
    assert await accounts(conn) == [
        ("missed", "downtime", START + HOUR, START + 4 * HOUR, 4),
        ("queued", None, START + 5 * HOUR, START + 5 * HOUR, 1),
    ]


@pytest.mark.usefixtures("source")
async def test_run_that_outlasts_its_interval_skips_the_next(db: Database, conn: Connection) -> None:
    await a_schedule(conn)
    for hour in range(1, 5):
        await schedules.tick(db, at=START + hour * HOUR)
    assert await accounts(conn) == [
        ("queued", None, START + HOUR, START + HOUR, 1),
        ("skipped", "overlap", START + 2 * HOUR, START + 4 * HOUR, 3),
    ]


@pytest.mark.usefixtures("source")
async def test_pause_with_an_end_skips_until_then(db: Database, conn: Connection) -> None:
    await a_schedule(conn, paused_at=START, paused_by="Dana", paused_until=START + 3 * HOUR)
    await schedules.tick(db, at=START + HOUR)
    await schedules.tick(db, at=START + 5 * HOUR)
    assert await accounts(conn) == [
        ("skipped", "paused", START + HOUR, START + 2 * HOUR, 2),
        ("missed", "downtime", START + 3 * HOUR, START + 4 * HOUR, 2),
        ("queued", None, START + 5 * HOUR, START + 5 * HOUR, 1),
    ]
    assert await conn.fetchval("SELECT paused_by FROM scheduled_jobs") is None


@pytest.mark.usefixtures("source")
async def test_pause_without_an_end_goes_on_until_it_is_resumed(db: Database, conn: Connection) -> None:
    await a_schedule(conn, paused_at=START)
    await schedules.tick(db, at=START + 30 * HOUR)
    assert await accounts(conn) == [("skipped", "paused", START + HOUR, START + 30 * HOUR, 30)]
    view = await schedules.view(db, "j")
    assert (view.job["status"], view.next_run_at) == ("active", None)


async def test_nothing_to_read_is_a_reason(db: Database, conn: Connection) -> None:
    await a_schedule(conn)
    await a_schedule(conn, "active", kind="active_properties", locations=[])
    await schedules.tick(db, at=START + HOUR)
    assert await accounts(conn) == [("skipped", "no_source", START + HOUR, START + HOUR, 1)]
    assert await accounts(conn, "active") == [("skipped", "nothing_active", START + HOUR, START + HOUR, 1)]
    await a_crm(db, "c1", crm_status="active", zip="11216")
    await schedules.tick(db, at=START + 2 * HOUR)
    assert (await accounts(conn, "active"))[-1][:2] == ("skipped", "no_source")


@pytest.mark.usefixtures("source")
async def test_bad_row_stops_no_other_and_says_why(db: Database, conn: Connection) -> None:
    await a_schedule(conn, "a")
    await a_schedule(conn, "b")
    await conn.execute("UPDATE scheduled_jobs SET cron_expression = '61 * * * *' WHERE scheduled_job_id = 'a'")
    assert await schedules.tick(db, at=START + HOUR) == 1
    assert len(await accounts(conn, "b")) == 1
    assert "minute" in await conn.fetchval("SELECT problem FROM scheduled_jobs WHERE scheduled_job_id = 'a'")
    await schedules.edit(db, "a", {"cron_expression": "0 * * * *"}, by="Dana")
    assert await conn.fetchval("SELECT problem FROM scheduled_jobs WHERE scheduled_job_id = 'a'") is None


@pytest.mark.usefixtures("source")
async def test_of_many_schedulers_one_makes_the_run(db: Database, conn: Connection) -> None:
    for n in range(10):
        await a_schedule(conn, f"j{n}")
    for hour in range(1, 4):
        done = await asyncio.gather(*(schedules.tick(db, at=START + hour * HOUR) for _ in range(5)))
        assert sum(done) == 10
        await end_runs(conn)
    assert await conn.fetchval("SELECT count(*) FROM scraping_jobs") == 30
    assert await conn.fetchval("SELECT count(*) FROM scraping_job_locations") == 30


CRONS = (
    "*/5 * * * *", "0 * * * *", "30 * * * *", "0 */2 * * *", "0 */4 * * *", "0 */6 * * *", "0 */12 * * *", "0 2 * * *",
    "30 2 * * *", "15 1 * * *", "0 6 * * *", "0 18 * * MON-FRI", "*/15 9-17 * * *", "7,37 * * * *", "0 0 1 * *",
    "45 23 L * *", "0 1,2,3 * * *", "10 4 * * SUN", "0 12 1,15 * *", "*/20 */3 * * *",
)  # fmt: skip
ZONES = ("UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kolkata", "America/Los_Angeles")


@pytest.mark.usefixtures("source")
async def test_sixty_days_of_twenty_schedules_account_for_every_due_time(db: Database, conn: Connection) -> None:
    """Over the American and the European change of clocks, with pauses and time without anybody; seen from the rows."""
    seed = int(os.environ.get("DUE_TIMES_SEED", random.randrange(2**32)))
    print(f"DUE_TIMES_SEED={seed}")  # noqa: T201 - shown when the test fails, to replay it
    rng = random.Random(seed)
    days = int(os.environ.get("DUE_TIMES_DAYS", "60"))
    jobs = {}
    for n, expression in enumerate(CRONS):
        zone = ZONES[n % len(ZONES)]
        jobs[await a_schedule(conn, f"j{n}", expression, timezone=zone)] = cron.schedule_of(expression, zone)
    at, end = START, START + timedelta(days=days)
    while at < end:
        at = min(end, at + (timedelta(hours=rng.uniform(1, 60)) if rng.random() < 0.02 else _awake(jobs, at, rng)))
        await schedules.tick(db, at=at)
        if rng.random() < 0.7:
            await end_runs(conn)

    total = 0
    for job_id, schedule in jobs.items():
        told = await _told(conn, job_id, schedule)
        due = cron.next_runs(schedule, START, 1 + 12 * 24 * days)
        wanted = Counter(one for one in due if one <= at)
        assert told == wanted, job_id
        total += wanted.total()
    assert total > 10 * days


def _awake(jobs: Mapping[str, cron.Schedule], at: datetime, rng: random.Random) -> timedelta:
    """As long as it is until something falls due, and up to a minute more; a scheduler looks each minute."""
    due = min(next_run for one in jobs.values() if (next_run := cron.next_run(one, at)) is not None)
    return due - at + timedelta(seconds=rng.uniform(0, 60))


async def _told(conn: Connection, job_id: str, schedule: cron.Schedule) -> Counter[datetime]:
    """Return every due time that a row of a schedule accounts for; a shared row says how many it stands for."""
    told: Counter[datetime] = Counter()
    for status, reason, first, last, times in await accounts(conn, job_id):
        assert (reason is None) == (status in {"queued", "succeeded"})
        of_row = [first, *cron.next_runs(schedule, first, times - 1)]
        assert of_row[-1] == last
        told.update(of_row)
    return told


# -- the schedule of active properties, and what people change -------------------------------------------------------


async def test_first_start_makes_the_schedule(db: Database) -> None:
    await schedules.ensure_active_properties(db, "'0 */2 * * *'")
    view = await schedules.view(db, ACTIVE_PROPERTIES)
    job = view.job
    assert (job["name"], job["status"], job["cron_expression"], job["timezone"]) == (
        "Active Properties Re-scraping", "active", "0 */2 * * *", "UTC",
    )  # fmt: skip
    assert (job["listing_limit"], job["request_delay"], job["priority"]) == (1000, 2.0, "normal")
    assert view.activity["run_count"] == 0
    assert view.activity["last_run_at"] is None
    assert view.next_run_at is not None


async def test_variable_counts_until_a_person_edits(db: Database) -> None:
    async def now_is() -> str:
        job: Mapping[str, Any] = (await schedules.view(db, ACTIVE_PROPERTIES)).job
        return str(job["cron_expression"])

    await schedules.ensure_active_properties(db, None)
    await schedules.ensure_active_properties(db, "0 */4 * * *")
    assert await now_is() == "0 */4 * * *"
    await schedules.edit(db, ACTIVE_PROPERTIES, {"limit": 5}, by="Dana")
    await schedules.ensure_active_properties(db, "0 */6 * * *")
    assert await now_is() == "0 */6 * * *", "a limit says nothing of when it runs"
    await schedules.edit(db, ACTIVE_PROPERTIES, {"cron_expression": "0 2 * * *"}, by="Dana")
    with capture_logs() as logs:
        await schedules.ensure_active_properties(db, "0 */12 * * *")
    assert await now_is() == "0 2 * * *"
    assert [line["event"] for line in logs] == ["frequency_overridden"]


@pytest.mark.parametrize("frequency", ["61 * * * *", "0 * * *", "0 0 30 2 *", "* * * * *"])
async def test_variable_that_cannot_be_stops_the_start(db: Database, frequency: str) -> None:
    with pytest.raises(SetupError, match="ACTIVE_PROPERTIES_SCRAPING_FREQUENCY"):
        await schedules.ensure_active_properties(db, frequency)


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"cron_expression": "0 * * * * *"}, "cron_expression"),
        ({"cron_expression": "0 25 * * *"}, "cron_expression"),
        ({"cron_expression": "0 0 30 2 *"}, "cron_expression"),
        ({"cron_expression": "*/4 * * * *"}, "cron_expression"),
        ({"timezone": "Nowhere/X"}, "timezone"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"limit": True}, "limit"),
        ({"request_delay": -0.1}, "request_delay"),
        ({"request_delay": 60.1}, "request_delay"),
        ({"request_delay": float("nan")}, "request_delay"),
        ({"priority": "urgent"}, "priority"),
        ({"filters": {"town": ["X"]}}, "filters.town"),
        ({"filters": {"city": "X"}}, "filters.city"),
        ({"filters": {"min_list_price": "5", "max_list_price": "4"}}, "filters.max_list_price"),
        ({"filters": {"standard_status": ["Gone"]}}, "filters.standard_status"),
        ({"filters": {"max_age_days": -1}}, "filters.max_age_days"),
        ({"source": "nobody"}, "source"),
        ({"locations": ["11216"]}, "locations"),
    ],
)
async def test_what_cannot_be_is_refused_by_member(db: Database, changes: dict[str, Any], member: str) -> None:
    await schedules.ensure_active_properties(db, None)
    before = (await schedules.view(db, ACTIVE_PROPERTIES)).job
    with pytest.raises(InvalidInput) as refused:
        await schedules.edit(db, ACTIVE_PROPERTIES, changes, by="Dana")
    assert refused.value.member == member
    assert (await schedules.view(db, ACTIVE_PROPERTIES)).job == before


async def test_every_change_is_kept_with_who(db: Database, conn: Connection) -> None:
    await schedules.edit(db, ACTIVE_PROPERTIES, {"limit": 10, "priority": "high"}, by="Dana", versions={1})
    with pytest.raises(VersionMismatch):
        await schedules.edit(db, ACTIVE_PROPERTIES, {"limit": 11}, by="Eve", versions={1})
    await schedules.toggle(db, ACTIVE_PROPERTIES, enabled=False, by="Eve")
    rows = await conn.fetch("SELECT version, edited_by, changes FROM scheduled_job_edits ORDER BY edit_id")
    assert [tuple(row)[:2] for row in rows] == [(2, "Dana"), (3, "Eve")]
    assert rows[0]["changes"] == {"listing_limit": [1000, 10], "priority": ["normal", "high"]}
    assert rows[1]["changes"]["status"] == ["active", "inactive"]
    view = await schedules.view(db, ACTIVE_PROPERTIES)
    assert (view.job["status"], view.next_run_at, view.job["version"]) == ("inactive", None, 3)
    assert (await schedules.toggle(db, ACTIVE_PROPERTIES, enabled=True, by="Eve")).next_run_at is not None


async def test_what_was_due_before_an_edit_is_accounted_for(db: Database, conn: Connection) -> None:
    await schedules.ensure_active_properties(db, None)
    past = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await conn.execute("UPDATE scheduled_jobs SET next_run_at = $1", past - HOUR)
    await schedules.toggle(db, ACTIVE_PROPERTIES, enabled=False, by="Dana")
    assert [row[:3] for row in await accounts(conn, ACTIVE_PROPERTIES)] == [
        ("missed", "downtime", past - HOUR), ("skipped", "nothing_active", past),
    ]  # fmt: skip


async def test_inactive_schedule_has_no_due_times(db: Database, conn: Connection) -> None:
    await a_schedule(conn, status="inactive", next_run_at=None)
    assert await schedules.tick(db, at=START + 100 * HOUR) == 0
    assert await accounts(conn) == []


@pytest.mark.usefixtures("source")
async def test_schedules_of_fixed_locations(db: Database, conn: Connection) -> None:
    made = await schedules.create(
        db, {"name": "Brooklyn at night", "locations": ["11217", "11216"], "cron_expression": "0 2 * * *"}, by="Dana"
    )
    job_id = made.job["scheduled_job_id"]
    run_id = await rescrape.run_now(db, job_id, actor="Dana")
    assert await conn.fetchval("SELECT count(*) FROM scraping_job_locations WHERE run_id = $1", run_id) == 2
    with pytest.raises(InvalidInput):
        await schedules.edit(db, job_id, {"locations": []}, by="Dana")
    await schedules.remove(db, job_id)
    with pytest.raises(ScheduleNotFound):
        await schedules.view(db, job_id)
    with pytest.raises(InvalidInput):
        await schedules.remove(db, ACTIVE_PROPERTIES)
