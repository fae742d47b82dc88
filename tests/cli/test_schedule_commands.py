"""Schedules, runs, proposals and workers as people use them: real processes on a real database."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.test_commands import Run, json_lines, last_json, write_csv
from cli.test_commands import run as run  # noqa: PLC0414 # the fixture
from cli.test_serve import environment as environment  # noqa: PLC0414 # the fixture
from cli.test_serve import serving
from making import a_listing

pytestmark = pytest.mark.one_server

DEADLINE = 60.0


def an_mls(run: Run, folder: Path, *listings: dict[str, object]) -> None:
    """Set a folder up as the source, with one location."""
    folder.mkdir(exist_ok=True)
    (folder / "11216.jsonl").write_bytes(json_lines(*listings))
    said = {"deliveries": [{"file": "11216.jsonl", "records": len(listings)}]}
    (folder / "manifest.json").write_text(json.dumps(said), encoding="utf-8")
    if "mls" not in run("sources", "list").stdout:
        run("sources", "add", "mls", "--kind", "folder", "--set", f"path={folder}")


def the_crm(run: Run, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "crm_status": "active", "zip": "11216", "city": "Brooklyn", "state": "NY"},
        {"id": "b", "crm_status": "active", "zip": "", "city": "", "state": ""},
    ]
    run("crm", "import", write_csv(tmp_path / "crm.csv", *rows))


def test_schedule_is_shown_changed_and_previewed(run: Run, tmp_path: Path) -> None:
    assert "0 * * * *" in run("schedule", "show").stdout
    changed = run("schedule", "set", "--cron", "30 */2 * * *", "--timezone", "America/New_York", "--limit", "50").stdout
    assert "30 */2 * * *" in changed
    assert "America/New_York" in changed
    told = last_json(run("schedule", "show", "--json"))
    assert (told["listing_limit"], told["version"], told["run_count"]) == (50, 2, 0)
    run("schedule", "set", "--filter", "city=Brooklyn", "--filter", "min_list_price=5", "--priority", "high")
    assert last_json(run("schedule", "list", "--json"))["filters"] == {"city": ["brooklyn"], "min_list_price": "5"}
    run("schedule", "set", "--filter", "none")
    assert "hour: '25'" in run("schedule", "set", "--cron", "0 25 * * *", code=1).stderr
    assert "say what to change" in run("schedule", "set", code=2).stderr
    assert "paused_by" in run("schedule", "pause", "--until", "2999-01-01T00:00:00Z").stdout
    assert "no instant" in " ".join(run("schedule", "pause", "--until", "tomorrow", code=2).stderr.split())
    assert "paused_by" not in run("schedule", "resume").stdout
    assert "inactive" in run("schedule", "off").stdout
    assert "next_run_at\t20" in run("schedule", "on").stdout

    preview = run("schedule", "preview", "30 2 * * *", "--timezone", "America/New_York", "-n", "2")
    assert len(preview.stdout.splitlines()) == 3
    assert "moves to 03:00" in preview.stderr
    assert "5 minutes" in run("schedule", "preview", "* * * * *", code=1).stderr

    an_mls(run, tmp_path / "mls", a_listing("A"))
    more = ("--limit", "10000", "--request-delay", "5")
    made = run("schedule", "add", "At night", "--cron", "0 2 * * *", "--location", "11216", *more).stdout
    job_id = made.splitlines()[0].strip()
    assert "locations" in made
    told = last_json(run("schedule", "show", job_id, "--json"))
    assert (told["listing_limit"], told["request_delay"]) == (10_000, 5.0)
    assert "its runs stay" in run("schedule", "remove", job_id).stdout
    assert "schedule list" in run("schedule", "show", job_id, code=1).stderr


def test_run_is_made_read_by_a_worker_and_told(run: Run, database_dsn: str, tmp_path: Path) -> None:
    an_mls(run, tmp_path / "mls", a_listing("A", PostalCode="11216"))
    assert "no CRM property is selected" in run("schedule", "run", code=1).stderr
    the_crm(run, tmp_path)
    selection = run("schedule", "selection")
    assert "1 CRM property in 1 location" in selection.stdout
    assert "no_location: 1, as b" in selection.stderr
    assert "run 1 waits for a worker" in run("schedule", "run").stdout
    assert "has not ended yet" in run("schedule", "run", code=1).stderr

    environment = {**os.environ, "DATABASE_URL": database_dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}
    worker = subprocess.Popen([sys.executable, "-m", "mls_crm_sync", "worker"], env=environment)
    try:
        until(lambda: last_json(run("runs", "list", "--json"))["status"] == "succeeded")
        assert len(run("workers", "--json").stdout.splitlines()) == 1
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert run("workers", "--json").stdout == ""

    shown = run("runs", "show", "1").stdout
    assert "complete" in shown
    assert "manifest.json announces 1 records" in shown
    assert '"no_location"' in shown
    log = run("runs", "log", "1").stdout
    assert "left out, no_location: 1 CRM properties" in log
    assert log.splitlines()[-1].endswith("succeeded")
    assert last_json(run("runs", "list", "--json"))["counts"]["new"] == 1
    assert run("runs", "list", "--problems", "--json").stdout == ""
    assert "nothing_failed" not in run("runs", "retry-failed", "1", code=1).stdout
    assert "is succeeded" in run("runs", "cancel", "1", code=1).stderr
    assert "runs list" in run("runs", "show", "99", code=1).stderr

    waits = re.search(r"run (\d+) waits", run("schedule", "run").stdout)
    assert waits is not None  # its number is 3 where the worker has met the full hour, and made one by itself
    assert "cancelled" in run("runs", "cancel", waits[1]).stdout
    assert last_json(run("runs", "list", "--problems", "--json"))["run_id"] == int(waits[1])


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_listing_that_is_over_is_proposed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").write_bytes(json_lines(a_listing("A", StandardStatus="Closed")))
    run("ingest", "day.jsonl", "--source", "test-mls", "--location", "10001")
    run("crm", "import", write_csv(tmp_path / "crm.csv", *({"id": i, "crm_status": "active"} for i in "ab")))
    listing = run("listings", "list", "--json").stdout
    for crm_id in "ab":
        run("link", crm_id, json.loads(listing)["property_id"])
    assert "active properties whose listing is over: 2" in run("status").stdout
    proposed = [json.loads(line) for line in run("proposals", "list", "--json").stdout.splitlines()]
    assert [(p["crm_property_id"], p["reason"], p["suggested_crm_status"]) for p in proposed] == [
        ("a", "ended", "closed"), ("b", "ended", "closed"),
    ]  # fmt: skip
    assert "crm_status sold" in run("proposals", "accept", "a", "--status", "sold").stdout
    assert "b stays active" in run("proposals", "dismiss", "b", "--note", "ours").stdout
    assert run("proposals", "list", "--json").stdout == ""
    assert "ours" in run("proposals", "list", "--dismissed").stdout
    assert "proposals list" in run("proposals", "accept", "a", code=1).stderr


def test_service_brings_a_worker_along_and_takes_it_away(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    an_mls(run, tmp_path / "mls", a_listing("A", PostalCode="11216"))
    the_crm(run, tmp_path)
    with serving(environment, tmp_path / "log") as (http, _):
        until(lambda: http.get("/ready").json()["workers"] == 1)
        assert http.get("/ready").json()["worker_included"] is True
        (worker,) = http.get("/api/workers").json()["items"]
        run_id = http.post("/api/active-properties/run").json()["run_id"]
        until(lambda: http.get(f"/api/runs/{run_id}").json()["status"] == "succeeded")

        os.kill(worker["pid"], signal.SIGKILL)  # another one takes its place
        until(lambda: worker["pid"] not in [one["pid"] for one in http.get("/api/workers").json()["items"]])
        until(lambda: len(http.get("/api/workers").json()["items"]) == 1)
        (other,) = http.get("/api/workers").json()["items"]
    assert not psutil.pid_exists(other["pid"])


def test_service_without_a_worker_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    with serving(environment, tmp_path / "log", "--no-worker") as (http, _):
        said = http.get("/ready").json()
        assert (said["workers"], said["worker_included"]) == (0, False)


@pytest.mark.parametrize("frequency", ["61 * * * *", "0 0 30 2 *", "hourly"])
def test_variable_that_cannot_be_stops_the_start(environment: dict[str, str], frequency: str) -> None:
    with_it = {**environment, "ACTIVE_PROPERTIES_SCRAPING_FREQUENCY": frequency}
    for command in ("serve", "worker"):
        done = subprocess.run(
            [sys.executable, "-m", "mls_crm_sync", command],
            env=with_it,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode not in {0, None}
        assert "ACTIVE_PROPERTIES_SCRAPING_FREQUENCY" in done.stderr
        assert "Traceback" not in done.stderr
