"""The documented configuration of re-scraping, exactly, and what stands beside it; good and bad."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.asking import done, items, refused, refused_member
from making import a_crm, a_listing
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store import workers
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import schedules, sources
from mls_crm_sync.sync.sealing import Sealer
from mls_crm_sync.sync.work import Work

CONFIG = "/active-properties-config"
JOB = "active_properties_rescraping"


@pytest.fixture
async def first_start(db: Database) -> None:
    await schedules.ensure_active_properties(db, None)


async def test_before_it_exists(http: httpx2.AsyncClient) -> None:
    assert await done(await http.get(CONFIG)) == {
        "exists": False, "message": "active properties are not re-scraped yet; PUT makes the schedule",
    }  # fmt: skip
    refused(await http.post(f"{CONFIG}/toggle", json={"enabled": True}), 404, "schedule_not_found")


@pytest.mark.usefixtures("first_start")
async def test_at_first_start(http: httpx2.AsyncClient) -> None:
    answer = await http.get(CONFIG)
    body = await done(answer)
    job = body["job"]
    assert body.keys() == {"exists", "job"}
    assert body["exists"] is True
    assert {name: job[name] for name in ("scheduled_job_id", "name", "status", "cron_expression", "timezone")} == {
        "scheduled_job_id": JOB, "name": "Active Properties Re-scraping", "status": "active",
        "cron_expression": "0 * * * *", "timezone": "UTC",
    }  # fmt: skip
    assert (job["limit"], job["priority"], job["request_delay"], job["run_count"]) == (1000, "normal", 2.0, 0)
    assert job["last_run_at"] is None
    next_run = datetime.fromisoformat(job["next_run_at"])
    assert next_run.minute == 0
    assert timedelta(0) < next_run - datetime.now(UTC) <= timedelta(hours=1)
    assert (job["activity"], job["health"], job["paused"]) == ("idle", None, False)
    assert answer.headers["etag"] == f'"{job["version"]}"'


DOCUMENTED = (
    "0 * * * *", "0 */2 * * *", "0 */4 * * *", "0 */6 * * *", "0 */12 * * *", "0 2 * * *", "0 6 * * *", "0 12 * * *",
    "0 18 * * *",
)  # fmt: skip


@pytest.mark.parametrize("expression", DOCUMENTED)
async def test_documented_crons_as_they_stand(http: httpx2.AsyncClient, expression: str) -> None:
    body = await done(await http.put(CONFIG, json={"cron_expression": expression}))
    assert body["exists"] is True
    assert body["updated_fields"] == ["cron_expression"]
    assert body["job"]["cron_expression"] == expression
    assert (await done(await http.get(CONFIG)))["job"] == body["job"]
    told = await done(await http.get("/api/schedule/preview", params={"cron": expression}))
    assert (told["valid"], told["error"], len(told["next_runs"])) == (True, None, 5)


@pytest.mark.usefixtures("first_start")
async def test_all_members_at_once(http: httpx2.AsyncClient) -> None:
    given = {
        "cron_expression": "30 */2 * * *", "limit": 500, "request_delay": 1.5, "priority": "high",
        "timezone": "America/New_York", "filters": {"city": ["Brooklyn"], "min_list_price": 500000},
    }  # fmt: skip
    body = await done(await http.put(CONFIG, json=given))
    assert body["updated_fields"] == sorted(given)
    assert body["job"].items() >= {**given, "filters": {"city": ["brooklyn"], "min_list_price": "500000"}}.items()
    (edit,) = (await done(await http.get(f"/api/scheduled-jobs/{JOB}/edits")))["items"]
    assert (edit["edited_by"], edit["version"], edit["changes"]["priority"]) == ("local", 2, ["normal", "high"])


@pytest.mark.parametrize(
    ("body", "member", "reason"),
    [
        ({"cron_expression": "0 * * *"}, "cron_expression", "has 4 fields"),
        ({"cron_expression": "0 0 * * * *"}, "cron_expression", "has 6 fields"),
        ({"cron_expression": "60 * * * *"}, "cron_expression", "minute: '60'"),
        ({"cron_expression": "0 24 * * *"}, "cron_expression", "hour: '24'"),
        ({"cron_expression": "0 0 30 2 *"}, "cron_expression", "never comes"),
        ({"cron_expression": "0 0 29 2 *", "timezone": "UTC"}, "cron_expression", "within a year"),
        ({"cron_expression": "* * * * *"}, "cron_expression", "too often"),
        ({"cron_expression": "0,2 * * * *"}, "cron_expression", "every 2 minutes"),
        ({"cron_expression": ""}, "cron_expression", "has 0 fields"),
        ({"cron_expression": 5}, "cron_expression", "string"),
        ({"cron_expression": None}, "cron_expression", "string"),
        ({"limit": 0}, "limit", "1 to 10,000"),
        ({"limit": 10001}, "limit", "1 to 10,000"),
        ({"limit": "5"}, "limit", "integer"),
        ({"limit": 5.5}, "limit", "integer"),
        ({"limit": True}, "limit", "integer"),
        ({"request_delay": -1}, "request_delay", "0 to 60"),
        ({"request_delay": 61}, "request_delay", "0 to 60"),
        ({"request_delay": "1"}, "request_delay", "number"),
        ({"priority": "urgent"}, "priority", "low, normal, high, immediate"),
        ({"timezone": "Mars/Base"}, "timezone", "America/New_York"),
        ({"filters": {"town": ["x"]}}, "filters.town", "unknown"),
        ({"name": "x"}, "name", ""),
    ],
)
@pytest.mark.usefixtures("first_start")
async def test_what_cannot_be_is_422_with_member_and_reason(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str, reason: str
) -> None:
    before = await done(await http.get(CONFIG))
    answer = await http.put(CONFIG, json=body)
    refused_member(answer, member)
    assert reason in answer.text
    assert await done(await http.get(CONFIG)) == before


@pytest.mark.usefixtures("first_start")
async def test_two_people_at_once(http: httpx2.AsyncClient) -> None:
    etag = (await http.get(CONFIG)).headers["etag"]
    said = await asyncio.gather(*(http.put(CONFIG, json={"limit": n}, headers={"If-Match": etag}) for n in range(1, 6)))
    assert sorted(answer.status_code for answer in said) == [200, 412, 412, 412, 412]
    refused(next(answer for answer in said if answer.is_error), 412, "version_mismatch")
    await done(await http.put(CONFIG, json={"limit": 7}))
    refused(
        await http.post(f"{CONFIG}/toggle", json={"enabled": False}, headers={"If-Match": etag}),
        412,
        "version_mismatch",
    )


@pytest.mark.usefixtures("first_start")
async def test_toggle(http: httpx2.AsyncClient) -> None:
    off = await done(await http.post(f"{CONFIG}/toggle", json={"enabled": False}))
    assert (off["exists"], off["job"]["status"], off["job"]["next_run_at"]) == (True, "inactive", None)
    on = await done(await http.post(f"{CONFIG}/toggle", json={"enabled": True}))
    assert on["job"]["status"] == "active"
    assert on["job"]["next_run_at"] is not None
    for bad in ({"enabled": "yes"}, {"enabled": 1}, {"enabled": None}):
        refused_member(await http.post(f"{CONFIG}/toggle", json=bad), "enabled")
    refused(await http.post(f"{CONFIG}/toggle", json={}), 422, "invalid_input")


@pytest.mark.usefixtures("first_start")
async def test_pause_keeps_it_active(http: httpx2.AsyncClient) -> None:
    path = f"/api/scheduled-jobs/{JOB}"
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    paused = await done(await http.post(f"{path}/pause", json={"until": until.isoformat()}))
    assert (paused["status"], paused["paused"], paused["paused_by"]) == ("active", True, "local")
    assert datetime.fromisoformat(paused["paused_until"]) == until
    assert datetime.fromisoformat(paused["next_run_at"]) >= until
    assert (await done(await http.get(CONFIG)))["job"]["paused_until"] == paused["paused_until"]
    resumed = await done(await http.post(f"{path}/resume"))
    assert (resumed["paused"], resumed["paused_until"]) == (False, None)
    assert (await done(await http.post(f"{path}/pause")))["next_run_at"] is None
    refused_member(await http.post(f"{path}/pause", json={"until": "2020-01-01T00:00:00Z"}), "until")
    refused_member(await http.post(f"{path}/pause", json={"until": "2999-01-01T00:00:00"}), "until")


@pytest.mark.parametrize(
    ("cron", "tz", "field"),
    [
        ("0 25 * * *", "UTC", "hour"), ("61 0 * * *", "UTC", "minute"), ("0 0 32 * *", "UTC", "day"),
        ("0 0 * 13 *", "UTC", "month"), ("0 0 * * 8", "UTC", "weekday"), ("0 0", "UTC", "expression"),
        ("* * * * *", "UTC", "expression"), ("0 * * * *", "Nowhere", "timezone"),
    ],
)  # fmt: skip
async def test_preview_names_the_field(http: httpx2.AsyncClient, cron: str, tz: str, field: str) -> None:
    told = await done(await http.get("/api/schedule/preview", params={"cron": cron, "tz": tz}))
    assert (told["valid"], told["error"]["field"], told["next_runs"]) == (False, field, [])


async def test_preview_tells_of_daylight_saving(http: httpx2.AsyncClient) -> None:
    query: dict[str, str | int] = {"cron": "30 2 * * *", "tz": "America/New_York", "n": 3}
    told = await done(await http.get("/api/schedule/preview", params=query))
    assert told["runs_per_day"] == 1.0
    assert all(run["local"][11:16] in {"02:30", "03:00"} for run in told["next_runs"])
    assert sum("moves to 03:00" in note for note in told["daylight_saving"]) == 1
    refused_member(await http.get("/api/schedule/preview", params={**query, "n": 0}), "n")
    refused_member(await http.get("/api/schedule/preview"), "cron")


async def a_source(db: Database, tmp_path: Path, *zips: str) -> None:
    for one in zips:
        lines = json.dumps(a_listing(f"L{one}", PostalCode=one))
        (tmp_path / f"{one}.jsonl").write_text(lines, encoding="utf-8")
    await sources.add(db, Sealer(), "mls", "folder", {"path": str(tmp_path)})


async def work_off(db: Database) -> None:
    """As a worker does, one location after the other."""
    work = Work(db, Normaliser(), Sealer())
    async with db.connection() as conn:
        worker_id = await workers.enrol(conn, "here", 1, "0")
    while True:
        async with db.transaction() as conn:
            taken = await workers.claim(conn, worker_id)
        if taken is None:
            return
        await work.do(taken)


@pytest.mark.usefixtures("first_start")
async def test_run_now_and_all_that_is_told_of_it(http: httpx2.AsyncClient, db: Database, tmp_path: Path) -> None:
    await a_source(db, tmp_path, "11216")
    for zip_code in ("11216", "11299"):
        await a_crm(db, zip_code, crm_status="active", zip=zip_code)
    made = await done(await http.post("/api/active-properties/run"), 202)
    again = refused(await http.post("/api/active-properties/run"), 409, "already_running")
    assert str(made["run_id"]) in again["detail"]
    waiting = await done(await http.get(f"/api/runs/{made['run_id']}"))
    assert (waiting["status"], waiting["trigger"], waiting["actor"], waiting["locations"]) == (
        "queued",
        "manual",
        "local",
        2,
    )
    assert (await done(await http.get(CONFIG)))["job"]["activity"] == "queued"

    await work_off(db)

    run = await done(await http.get(f"/api/runs/{made['run_id']}"))
    assert (run["status"], run["finished_locations"], run["failed_locations"]) == ("partial", 2, 1)
    assert run["counts"]["new"] == 1
    assert run["config"]["limit"] == 1000
    failed, read = await items(http, f"/api/runs/{run['run_id']}/locations", limit=1)
    if failed["status"] != "failed":
        failed, read = read, failed
    assert (read["location"], read["outcome"], read["error"]) == ("11216", "unproven", None)
    assert (failed["location"], failed["error"]["code"]) == ("11299", "unknown_location")
    (error,) = await items(http, f"/api/runs/{run['run_id']}/errors")
    assert (error["code"], error["locations"], error["examples"]) == ("unknown_location", 1, ["11299"])
    (change,) = await items(http, f"/api/runs/{run['run_id']}/changes")
    assert (change["type"], change["listing_key"], change["crm_properties"]) == ("new", "L11216", {})
    log = [line["message"] for line in await items(http, f"/api/runs/{run['run_id']}/log")]
    assert log[0].startswith("made (manual by local), 2 locations")
    assert log[-1].startswith("partial")
    job = (await done(await http.get(CONFIG)))["job"]
    assert (job["run_count"], job["activity"], job["health"]) == (1, "idle", "partial")
    assert job["last_run_at"] == run["started_at"]

    retried = await done(await http.post(f"/api/runs/{run['run_id']}/retry-failed"), 202)
    assert (await done(await http.get(f"/api/runs/{retried['run_id']}")))["locations"] == 1
    assert (await done(await http.post(f"/api/runs/{retried['run_id']}/cancel")))["message"] == "cancelled"
    refused(await http.post(f"/api/runs/{retried['run_id']}/cancel"), 409, "run_ended")
    refused(await http.post(f"/api/runs/{retried['run_id']}/retry-failed"), 409, "nothing_failed")
    listed = await items(http, "/api/runs", scheduled_job_id=JOB, limit=1)
    assert [one["run_id"] for one in listed] == [retried["run_id"], run["run_id"]]
    assert [one["run_id"] for one in await items(http, "/api/runs", status="partial")] == [run["run_id"]]
    for path in ("", "/locations", "/changes", "/errors", "/log"):
        refused(await http.get(f"/api/runs/999{path}"), 404, "run_not_found")


async def test_override_holds_a_change(http: httpx2.AsyncClient, db: Database, tmp_path: Path) -> None:
    await a_source(db, tmp_path, "11216")
    await schedules.ensure_active_properties(db, None)
    await a_crm(db, "c1", "c2", crm_status="active", zip="11216")
    await http.post("/api/active-properties/run")
    await work_off(db)
    (listing,) = await items(http, "/api/mls-properties")
    for crm_id in ("c1", "c2"):
        await http.post(f"/api/properties/{crm_id}/link-mls", json={"mls_property_id": listing["property_id"]})
    await done(await http.patch("/api/properties/c1", json={"overrides": {"ListPrice": "1"}}))
    changed = a_listing("L11216", PostalCode="11216", ListPrice=9, ModificationTimestamp="2026-03-02T12:00:00Z")
    (tmp_path / "11216.jsonl").write_text(json.dumps(changed), encoding="utf-8")
    run_id = (await done(await http.post("/api/active-properties/run"), 202))["run_id"]
    await work_off(db)
    (change,) = await items(http, f"/api/runs/{run_id}/changes")
    assert (change["field_name"], change["previous_value"], change["new_value"]) == ("ListPrice", "500000", "9")
    assert change["crm_properties"] == {"c1": "held_by_override", "c2": "applied"}


@pytest.mark.usefixtures("first_start")
async def test_why_there_is_no_run(http: httpx2.AsyncClient, db: Database) -> None:
    refused(await http.post("/api/active-properties/run"), 409, "nothing_active")
    await a_crm(db, "c1", crm_status="active")
    refused(await http.post("/api/active-properties/run"), 409, "no_location")
    await a_crm(db, "c2", crm_status="active", zip="11216")
    refused(await http.post("/api/active-properties/run"), 409, "no_source")


async def test_selection_says_what_would_be_read(http: httpx2.AsyncClient, db: Database, tmp_path: Path) -> None:
    await a_source(db, tmp_path)
    await schedules.ensure_active_properties(db, None)
    await a_crm(db, "a", "b", crm_status="active", zip="11216")
    await a_crm(db, "c", crm_status="active")
    path = f"/api/scheduled-jobs/{JOB}/selection"
    told = await done(await http.post(path))
    assert told == {
        "locations": 1, "properties": 2, "left_out": {"no_location": {"properties": 1, "examples": ["c"]}},
        "examples": [{"source": "mls", "location": "11216"}],
    }  # fmt: skip
    other = await done(await http.post(path, json={"filters": {"city": ["Nowhere"]}}))
    assert (other["locations"], other["left_out"]) == (0, None)
    refused_member(await http.post(path, json={"filters": {"town": []}}), "filters.town")


async def test_schedules_beside_it(http: httpx2.AsyncClient, db: Database, tmp_path: Path) -> None:
    await a_source(db, tmp_path, "11216")
    given = {"name": "Brooklyn at night", "cron_expression": "0 2 * * *", "locations": ["11216"], "timezone": "UTC"}
    made = await done(await http.post("/api/scheduled-jobs", json=given), 201)
    path = f"/api/scheduled-jobs/{made['scheduled_job_id']}"
    assert made.items() >= {**given, "kind": "locations", "status": "active", "version": 1}.items()
    assert [one["scheduled_job_id"] for one in await items(http, "/api/scheduled-jobs")] == [made["scheduled_job_id"]]
    edited = await done(await http.patch(path, json={"limit": 5}, headers={"If-Match": '"1"'}))
    assert (edited["limit"], edited["version"]) == (5, 2)
    refused(await http.patch(path, json={"limit": 6}, headers={"If-Match": '"1"'}), 412, "version_mismatch")
    assert (await done(await http.post(f"{path}/toggle", json={"enabled": False})))["status"] == "inactive"
    assert (await done(await http.post(f"{path}/run"), 202))["run_id"] > 0
    assert (await http.delete(path)).status_code == 204
    refused(await http.get(path), 404, "schedule_not_found")
    refused(await http.get("/api/scheduled-jobs/%00"), 404, "schedule_not_found")
    await schedules.ensure_active_properties(db, None)
    refused_member(await http.delete(f"/api/scheduled-jobs/{JOB}"), "scheduled_job_id")
    refused_member(await http.post("/api/scheduled-jobs", json={**given, "source": "nobody"}), "source")


async def test_workers_that_are_seen(http: httpx2.AsyncClient, conn: Connection) -> None:
    await workers.enrol(conn, "here", 7, "1.0")
    gone = await workers.enrol(conn, "gone", 8, "1.0")
    await conn.execute("UPDATE workers SET seen_at = now() - interval '1 minute' WHERE worker_id = $1", gone)
    (seen,) = await items(http, "/api/workers")
    assert (seen["host"], seen["pid"], seen["locations"]) == ("here", 7, 0)
    assert (await done(await http.get("/ready")))["workers"] == 1
