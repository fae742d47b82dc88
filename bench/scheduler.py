"""S6: the minute's look at what falls due, and where active CRM properties are, over many rows.

    python bench/scheduler.py [--properties 1000000] [--schedules 100000] [--smoke]

A million CRM properties, three in ten of them active, half of those linked, in 5,000 ZIPs (skewed: most are in few of
them), facts of 1.5 kB; a hundred thousand schedules beside them. Beside our statements, in the same run: a plain SELECT
DISTINCT, and every active property fetched to Python, as the system before did. It is checked that all three find the
same places, and that each tick accounts for what was due.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from mls_crm_sync import logs, wiring
from mls_crm_sync.settings import Settings
from mls_crm_sync.store import places
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import rescrape, schedules, sources
from mls_crm_sync.sync.rescrape import ACTIVE_PROPERTIES
from mls_crm_sync.sync.sealing import Sealer

FACTS = "repeat('x', 1300)"
TICK, PLACES = 5.0, 30.0  # milliseconds that are asked for


async def fill(conn: Connection, properties: int, schedules_: int) -> None:
    await conn.execute(
        "INSERT INTO mls_properties (property_id, source, source_key, fields, first_seen_at, last_changed_at)"
        " SELECT 'l' || n, 'mls', 'k' || n, '{}', now(), now() FROM generate_series(1, 1000) AS n"
    )
    await conn.execute(
        f"""INSERT INTO crm_properties (id, crm_status, own, fields, mls_property_id)
            SELECT lpad(n::text, 9, '0'), CASE WHEN random() < 0.3 THEN 'active' ELSE 'lead' END,
                   jsonb_build_object('City', 'Town' || z / 5, 'StateOrProvince', 'NY', 'PostalCode', zip),
                   CASE WHEN linked THEN jsonb_build_object('PostalCode', zip, 'PublicRemarks', {FACTS})
                        ELSE '{{}}' END,
                   CASE WHEN linked THEN 'l' || 1 + n % 1000 END
            FROM (SELECT n, floor(5000 * power(random(), 2))::int AS z, n % 2 = 0 AS linked
                  FROM generate_series(1, $1::int) AS n) AS q, lpad(z::text, 5, '0') AS zip""",  # noqa: S608 - no outside text
        properties,
        timeout=3600,
    )
    await conn.execute(
        "INSERT INTO scheduled_jobs (scheduled_job_id, kind, name, cron_expression, locations, next_run_at)"
        " SELECT 'j' || n, 'locations', 'j' || n, '0 * * * *', '{00001}', now() + n * interval '1 second'"
        " FROM generate_series(3600, 3600 + $1::int) AS n",
        schedules_,
        timeout=600,
    )
    await conn.execute("VACUUM (ANALYZE) crm_properties", timeout=3600)
    await conn.execute("VACUUM (ANALYZE) scheduled_jobs", timeout=3600)


async def median(label: str, work: Callable[[], Awaitable[object]], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - began) * 1000)
    middle = statistics.median(taken)
    print(f"{label:66} {middle:9.2f} ms   (slowest {max(taken):9.2f})", flush=True)
    return middle


async def measure(db: Database, properties: int, schedules_: int) -> bool:
    async with db.connection() as conn:
        began = time.perf_counter()
        await fill(conn, properties, schedules_)
        print(f"{properties:,} CRM properties, {schedules_:,} schedules, filled in {time.perf_counter() - began:.0f} s")
    await sources.add(db, Sealer(), "mls", "folder", {"path": "/nowhere"})
    await schedules.ensure_active_properties(db, None)

    async with db.connection() as conn:

        async def ours() -> list[places.Group]:
            return await places.active(conn)

        async def distinct() -> object:
            return await conn.fetch(
                "SELECT DISTINCT mls_source, coalesce(fields ->> 'PostalCode', own ->> 'PostalCode')"
                " FROM crm_properties WHERE crm_status = 'active'"
            )

        async def fetched() -> object:
            rows = await conn.fetch("SELECT own, fields FROM crm_properties WHERE crm_status = 'active'")
            return {(row["own"] | row["fields"])["PostalCode"] for row in rows}

        asked = await median("active locations: by its index", ours, 15)
        await median("active locations: SELECT DISTINCT", distinct, 3)
        await median("active locations: every active property to Python", fetched, 1)
        found = {(group.source, group.place) for group in await ours()}
        assert found == {tuple(row) for row in await distinct()}, "all find the same"  # type: ignore[attr-defined] # rows
        print(f"{len(found):,} places at a source")

    nothing = await median("tick: nothing is due", lambda: schedules.tick(db, at=datetime.now(UTC)), 25)
    run_id = await rescrape.run_now(db, ACTIVE_PROPERTIES, actor="bench")
    due = (await schedules.view(db, ACTIVE_PROPERTIES)).job["next_run_at"]

    async def overlapping() -> None:
        nonlocal due
        assert await schedules.tick(db, at=due) == 1
        due += timedelta(hours=1)

    # Each look is an hour after the one before; the other schedules stay ahead of it.
    async with db.connection() as conn:
        await conn.execute(
            "UPDATE scheduled_jobs SET next_run_at = next_run_at + interval '1 year' WHERE kind = 'locations'"
        )
        await conn.execute("VACUUM (ANALYZE) scheduled_jobs")
    one = await median("tick: one is due, its run before has not ended", overlapping, 25)
    async with db.connection() as conn:
        skipped = await conn.fetchval("SELECT sum(due_times) FROM scraping_jobs WHERE reason = 'overlap'")
        assert skipped == 25, "each due time is accounted for"
    await rescrape.cancel(db, run_id, actor="bench")

    async def made() -> None:
        nonlocal due
        assert await schedules.tick(db, at=due) == 1
        due += timedelta(hours=1)
        async with db.connection() as conn:
            made_id = await conn.fetchval("SELECT max(run_id) FROM scraping_jobs WHERE status = 'queued'")
        await rescrape.cancel(db, made_id, actor="bench")

    await median("tick: one is due, its run is made (and cancelled again)", made, 3)
    return nothing <= TICK and one <= TICK and asked <= PLACES


async def run(settings: Settings, properties: int, schedules_: int) -> bool:
    async with wiring.open_database(settings) as db:
        return await measure(db, properties, schedules_)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--properties", type=int, default=1_000_000)
    asked.add_argument("--schedules", type=int, default=100_000)
    asked.add_argument("--smoke", action="store_true", help="10,000 and 1,000: does it still run and hold?")
    args = asked.parse_args()
    logs.configure("error")
    size = (10_000, 1_000) if args.smoke else (args.properties, args.schedules)
    with tempfile.TemporaryDirectory(prefix="mls-crm-sync-scheduler-") as home:
        Path(home).chmod(0o711)
        settings = Settings(home=Path(home) / "data", database_url=os.environ.get("BENCH_DATABASE_URL"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            good = runner.run(run(settings, *size))
    print(f"asked: a tick in {TICK:g} ms, active locations in {PLACES:g} ms: {'met' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
