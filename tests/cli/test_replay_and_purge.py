"""`replay` and `listings purge` as people and scripts use them: shown first, asked for, then done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from making import a_crm, a_link, a_listing, deliver, listing_row
from mls_crm_sync.core.fields import FIELDS
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database

pytestmark = pytest.mark.one_server

Run = Callable[..., subprocess.CompletedProcess[str]]
WITHOUT_CITY = Normaliser([f for f in FIELDS if f.name != "City"])


@pytest.fixture
def run(database_dsn: str) -> Run:
    """Return a runner of `mls-crm-sync`; `typed` is what a person types on a terminal, None where there is none."""
    environment = {**os.environ, "DATABASE_URL": database_dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}

    def run(*args: str, code: int = 0, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        ours, theirs = os.openpty()
        os.write(ours, (typed or "").encode())
        stdin = subprocess.DEVNULL if typed is None else theirs
        command = [sys.executable, "-m", "mls_crm_sync", *args]
        try:
            done = subprocess.run(command, env=environment, stdin=stdin, capture_output=True, text=True, check=False)
        finally:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done

    return run


def json_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_replay_shows_asks_and_does(db: Database, conn: Connection, run: Run) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"), normaliser=WITHOUT_CITY)
    await a_crm(db, "a")
    await a_link(db, "a")

    dry = run("replay", "--dry-run")
    assert "City\t2\t- -> New York (L" in dry.stdout
    assert "2 listings of an older field table: 2 would change" in dry.stdout
    assert "1 CRM property would follow - dry run, nothing was written" in dry.stdout
    refused = run("replay", typed="n\n", code=1)
    assert "City\t2" in refused.stdout
    assert "Bring 2 listings into today's form?" in refused.stderr
    assert "--yes" in run("replay", code=2).stderr
    assert (await listing_row(conn))["fields"].get("City") is None

    done = run("replay", typed="y\n")

    assert "2 changed" in done.stdout
    assert "(run 2)" in done.stdout
    assert (await listing_row(conn))["fields"]["City"] == "New York"
    assert "0 listings of an older field table" in run("replay", "--yes").stdout


async def test_replay_in_json_says_the_same_dry_and_done(db: Database, conn: Connection, run: Run) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"), normaliser=WITHOUT_CITY)
    await conn.execute("UPDATE mls_properties SET payload = 'damaged' WHERE source_key = 'L2'")

    city, dry = json_of(run("replay", "--dry-run", "--json"))
    same_city, done = json_of(run("replay", "--yes", "--json", code=1))

    example = {"listing_key": "L1", "previous": None, "new": "New York"}
    assert city == same_city == {"field": "City", "listings": 1, "examples": [example]}
    assert (dry.pop("dry_run"), done.pop("runs"), done.pop("seconds") > 0) == (True, [2], True)
    assert dry == done
    assert (dry["listings"], dry["changed"], dry["same"], dry["unreadable"]) == (2, 1, 0, 1)
    assert dry["unreadable_examples"][0]["reason"] == "damaged"


async def test_wrong_source_and_zone_are_the_command_lines_fault(db: Database, run: Run) -> None:
    await deliver(db, a_listing())

    assert "nobody" in run("replay", "--dry-run", "--source", "nobody", code=2).stderr
    assert "Atlantis" in run("replay", "--dry-run", "--time-zone", "Atlantis", code=2).stderr


async def test_purge_by_rule_shows_asks_and_does(db: Database, conn: Connection, run: Run) -> None:
    await deliver(db, a_listing("L1", StandardStatus="Closed"), a_listing("L2"))
    await a_crm(db, "a")
    await a_link(db, "a")
    rule = ("listings", "purge", "--source", "test-mls", "--status", "sold")

    dry = run(*rule, "--dry-run")
    assert "test-mls\tClosed\tlisted\t1\t1" in dry.stdout
    assert "1 listing and 1 CRM property would be emptied - dry run, nothing was written" in dry.stdout
    asked = run(*rule, typed="n\n", code=1)
    assert "Take the content of 1 listing away, and from 1 CRM property, for good?" in asked.stderr
    assert "--yes" in run(*rule, code=2).stderr
    assert (await listing_row(conn))["purged_at"] is None

    assert "purged 1 listing; 1 CRM property lost their facts" in run(*rule, typed="y\n").stdout

    assert (await listing_row(conn))["purged_at"] is not None
    assert (await listing_row(conn, "L2"))["purged_at"] is None
    assert json_of(run(*rule, "--yes", "--json")) == [{"listings_purged": 0, "crm_properties_emptied": 0}]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "say which"),
        (("L1", "--source", "test-mls"), "not both"),
        (("--not-seen-for", "long"), "90d"),
        (("--status", "For Sale"), "Withdrawn"),
    ],
)
def test_purge_that_is_not_said_exactly_is_refused(run: Run, args: tuple[str, ...], said: str) -> None:
    assert said in " ".join(run("listings", "purge", *args, "--yes", code=2).stderr.split())
