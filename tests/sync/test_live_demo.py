"""The sample that goes on: what its service says next reaches the CRM by a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from making import a_crm, id_of, out_of_step
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.demo.generator import write_sample
from mls_crm_sync.demo.live import CHANGES, Live
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import links, schedules
from sync.test_rescrape import run_now


async def test_what_the_market_changes_arrives(
    db: Database, conn: Connection, database_dsn: str, tmp_path: Path
) -> None:
    sample = write_sample(tmp_path / "sample", listings=60, crm_properties=1)
    mls = Live(sample.second)
    async with mls.serving() as address:
        await mls.set_up(db, "demo", address)
        await it_arrives(mls, db, conn, database_dsn)


async def it_arrives(mls: Live, db: Database, conn: Connection, database_dsn: str) -> None:
    await schedules.ensure_active_properties(db, None)
    for zip_code in ("06501", "06502", "06503"):
        await a_crm(db, zip_code, crm_status="active", zip=zip_code)
    await a_crm(db, "linked")
    assert (await run_now(db, database_dsn))["status"] == "succeeded"

    changed = mls.change(datetime.now(UTC))
    rows = [links.LinkRow(0, "linked", property_id=id_of(changed[0], "demo"))]
    assert (await links.link_rows(db, Normaliser().unsynced, rows)).linked == 1
    run = await run_now(db, database_dsn)

    assert run["counts"]["changed"] == len(set(changed)) == CHANGES
    assert run["counts"]["crm_updated"] == 1
    assert await out_of_step(conn) == []
