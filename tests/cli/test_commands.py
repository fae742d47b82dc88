"""The commands as people and programs use them: real processes, real files, a real database."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer

from making import a_listing, id_of
from mls_crm_sync.cli.app import app

pytestmark = pytest.mark.one_server

Run = Callable[..., subprocess.CompletedProcess[str]]
INGEST = ("--source", "test-mls", "--location", "10001")


@pytest.fixture
def run(database_dsn: str, tmp_path: Path) -> Run:
    """Return a runner of `mls-crm-sync` on the test's own database, in a folder of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_dsn,
        "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1",
        "COLUMNS": "200",
    }

    def run(*args: object, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mls_crm_sync", *map(str, args)],
            env=environment, cwd=tmp_path, input=stdin, capture_output=True, check=False,
        )  # fmt: skip
        text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert done.returncode == code, text.stderr + text.stdout
        assert "Traceback" not in text.stderr
        return text

    return run


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout.splitlines()[-1]))


def json_lines(*records: object) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def write_csv(path: Path, *rows: Mapping[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_main_job_by_hand(run: Run, tmp_path: Path) -> None:
    (tmp_path / "day1.jsonl").write_bytes(json_lines(a_listing("L1"), a_listing("L2")))
    (tmp_path / "day2.jsonl.gz").write_bytes(
        gzip.compress(json_lines(a_listing("L1", ListPrice=450000), a_listing("L2")))
    )
    crm = write_csv(
        tmp_path / "crm.csv", {"id": "a", "notes": "mine", "address": "1 Main"}, {"id": "b", "notes": "", "address": ""}
    )
    links = write_csv(
        tmp_path / "links.csv", {"crm_id": "a", "listing_key": "L1"}, {"crm_id": "b", "listing_key": "L2"}
    )

    first = last_json(run("ingest", "day1.jsonl", *INGEST, "--json"))
    assert "2 made, 0 changed" in run("crm", "import", crm).stdout
    assert "2 linked (2 filled)" in run("link", "--file", links, "--source", "test-mls").stdout
    second = last_json(run("ingest", "day2.jsonl.gz", *INGEST, "--complete", "--json"))

    assert (first["read"], first["new"], first["changed"], first["quarantined"]) == (2, 2, 0, 0)
    assert (second["changed"], second["unchanged"], second["crm_updated"], second["changes"]) == (1, 1, 1, {"price": 1})
    shown = json.loads(run("crm", "show", "a", "--json").stdout)
    assert (shown["fields"]["ListPrice"], shown["notes"], shown["sync_status"]) == ("450000", "mine", "synced")
    listing = json.loads(run("listings", "show", id_of("L1"), "--json").stdout)
    assert len(listing["content_hash"]) == 64
    assert listing["crm_property_ids"] == ["a"]
    assert listing["changes"][0]["field_name"] == "ListPrice"
    status = json.loads(run("status", "--json").stdout)
    assert (status["out_of_step"], status["crm_properties"]) == (0, {"synced": 2})
    assert run("listings", "list", "--linked").stdout.count("MLS-L") == 2
    assert "no longer linked" in run("unlink", "a").stdout
    assert "not_linked" in run("crm", "list").stdout
    assert "2 linked properties" not in run("sync").stdout
    assert "in step already" in run("sync", "b").stdout


def test_listings_that_vanish_are_called_absent_or_held_and_say_why(run: Run, tmp_path: Path) -> None:
    everybody = [a_listing(f"L{n:02}") for n in range(30)]
    (tmp_path / "all.jsonl").write_bytes(json_lines(*everybody))
    (tmp_path / "some.jsonl").write_bytes(json_lines(*everybody[:29]))
    (tmp_path / "few.jsonl").write_bytes(json_lines(*everybody[:12]))
    run("ingest", "all.jsonl", *INGEST, "--complete")

    said = [run("ingest", "some.jsonl", *INGEST, "--complete").stderr for _ in range(3)]
    assert ["1 listing called absent" in err for err in said] == [False, False, True]
    assert "MLS-L29" in run("listings", "list", "--state", "absent").stdout
    shown = json.loads(run("listings", "show", id_of("L29"), "--json").stdout)
    assert (shown["absence_state"], shown["evidence"]["rule"]) == ("absent", "no_lookup")

    said = [run("ingest", "few.jsonl", *INGEST, "--complete").stderr for _ in range(3)]
    assert ["17 listings would vanish at once" in err for err in said] == [False, False, True]
    (hold,) = [json.loads(line) for line in run("absences", "holds", "--json").stdout.splitlines()]
    assert (hold["still_held"], hold["of"]) == (17, 29)
    assert "17 listings listed again" in run("absences", "reject", hold["hold_id"]).stdout
    assert "rejected already" in run("absences", "release", hold["hold_id"], code=1).stderr
    assert "absences holds" in run("absences", "release", 99, code=1).stderr
    assert run("listings", "list", "--state", "held", "--json").stdout == ""


def test_ingest_ends_with_one_line_of_json_with_every_number(run: Run) -> None:
    done = run("ingest", "-", *INGEST, "--json", stdin=json_lines(a_listing("L1"), {"nope": 1}))

    (line,) = done.stdout.splitlines()
    numbers = json.loads(line)
    assert numbers["read"] == numbers["new"] + numbers["changed"] + numbers["unchanged"] + numbers["quarantined"] == 2
    assert set(numbers) >= {"crm_updated", "changes", "seconds", "run_id", "status", "recognised", "recognised_share"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_run_of_which_nothing_could_be_read_fails_and_says_so(run: Run, tmp_path: Path, jobs: int) -> None:
    (tmp_path / "e.json").write_text('{"error": "unauthorized"}')

    done = run("ingest", "e.json", *INGEST, "--jobs", jobs, "--json", code=1)

    assert last_json(done)["status"] == "failed"
    assert "none of the records could be read" in done.stderr


def test_record_that_cannot_be_read_beside_good_ones_fails_nothing(run: Run) -> None:
    done = run("ingest", "-", *INGEST, "--json", stdin=json_lines(a_listing("L1"), {"error": "unauthorized"}))

    assert (last_json(done)["status"], last_json(done)["quarantined"]) == ("succeeded", 1)


def test_quarantine_shows_line_reason_and_payload_and_can_be_retried(run: Run) -> None:
    done = run("ingest", "-", *INGEST, stdin=json_lines(a_listing("L1"), a_listing("L2", ListPrice="a lot")))
    assert "quarantine list" in done.stderr

    listed = json.loads(run("quarantine", "list", "--json").stdout)
    assert (listed["position"], listed["reason"], listed["field_name"]) == (2, "bad_value", "ListPrice")
    assert json.loads(listed["payload"])["ListPrice"] == "a lot"
    shown = run("quarantine", "show", listed["quarantine_id"]).stdout
    assert '"ListPrice":"a lot"' in shown
    assert "bad_value" in shown
    assert json.loads(run("quarantine", "show", listed["quarantine_id"], "--json").stdout) == listed
    assert "no quarantined record" in run("quarantine", "show", 99, code=1).stderr
    assert "1 still broken" in run("quarantine", "retry", code=1).stdout
    assert "no quarantined record" in run("quarantine", "retry", 99, code=1).stderr


@pytest.mark.parametrize(
    ("name", "data", "reason", "stored"),
    [
        ("cut.json", b'[{"ListingKey": "L1"}, {"ListingKey": "L2"', "truncated", 1),
        (
            "cut.jsonl.gz",
            gzip.compress(json_lines(*(a_listing(f"L{n}") for n in range(3000))))[:-3000],
            "truncated",
            None,
        ),
        ("page.json", b"<html><body>Sign in</body></html>", "not_json", 0),
        ("empty.jsonl", b"", "empty", 0),
    ],
)
def test_broken_file_says_what_was_stored_and_why_it_ended(  # noqa: PLR0917 - the cases' columns
    run: Run, tmp_path: Path, name: str, data: bytes, reason: str, stored: int | None
) -> None:
    (tmp_path / name).write_bytes(data)

    done = run("ingest", name, *INGEST, "--json", code=1)

    numbers = last_json(done)
    assert reason in done.stderr
    assert numbers["status"] == ("partial" if numbers["new"] else "failed")
    assert numbers["new"] == stored if stored is not None else numbers["new"] > 0
    assert len(run("listings", "list", "--limit", 5000, "--json").stdout.splitlines()) == numbers["new"]


def test_missing_file_is_a_clear_error(run: Run) -> None:
    done = run("ingest", "nowhere.jsonl", *INGEST, code=1)

    assert "nowhere.jsonl" in done.stderr


def test_dry_run_prints_the_diff_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines(a_listing("L1")))
    changed, broken = a_listing("L1", ListPrice=450000), a_listing("L3", YearBuilt="old")
    (tmp_path / "b.jsonl").write_bytes(json_lines(changed, [], a_listing("L2"), broken))
    run("ingest", "a.jsonl", *INGEST)
    run("crm", "import", write_csv(tmp_path / "crm.csv", {"id": "a"}))
    run("link", "a", id_of("L1"))
    before = run("status", "--json").stdout

    done = run("ingest", "b.jsonl", *INGEST, "--dry-run", "--json")

    *changes, numbers = map(json.loads, done.stdout.splitlines())
    names = ("type", "position", "field", "previous", "new", "reason")
    assert [tuple(c.get(name) for name in names) for c in changes] == [
        ("price", None, "ListPrice", "500000", "450000", None),
        ("quarantined", 2, None, None, None, "not_an_object"),
        ("new", None, None, None, None, None),
        ("quarantined", 4, "YearBuilt", None, None, "bad_value"),
    ]
    assert (numbers["new"], numbers["changed"], numbers["quarantined"], numbers["crm_updated"]) == (1, 1, 2, 1)
    assert run("status", "--json").stdout == before
    told = run("ingest", "b.jsonl", *INGEST, "--dry-run")
    assert "ListPrice\t500000 -> 450000" in told.stdout
    assert "quarantined\tL3\tYearBuilt\tb.jsonl:4: bad_value: " in told.stdout
    assert "quarantine list" not in told.stderr, "nothing is there"


def test_several_files_are_one_run(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(json_lines(a_listing(name)))

    numbers = last_json(run("ingest", "a.jsonl", "b.jsonl", *INGEST, "--complete", "--json"))

    assert numbers["new"] == 2
    assert len(json.loads(run("status", "--json").stdout)["runs"]) == 1


def test_csv_with_a_column_map_is_read(run: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "l.csv", {"Nr": "L1", "Asking": "$450,000", "Town": "Bronx", "Seen": "2026-03-01T07:00:00"})
    (tmp_path / "map.toml").write_text(
        'time_zone = "America/New_York"\n'
        '[columns]\nNr = "ListingKey"\nAsking = "ListPrice"\nTown = "City"\nSeen = "ModificationTimestamp"\n'
    )

    run("ingest", "-", *INGEST, "--columns", "map.toml", "--format", "csv", stdin=(tmp_path / "l.csv").read_bytes())

    shown = json.loads(run("listings", "show", id_of("L1"), "--json").stdout)
    assert (shown["fields"], shown["source_modified_at"]) == (
        {"ListingKey": "L1", "ListPrice": "450000", "City": "Bronx"},
        "2026-03-01T12:00:00Z",
    )


def test_import_and_link_errors_are_told_by_line_and_the_rest_is_done(run: Run, tmp_path: Path) -> None:
    crm = write_csv(tmp_path / "crm.csv", {"id": "a", "notes": "x"}, {"id": "", "notes": "y"})
    with crm.open("a") as file:
        file.write("b\n")
    done = run("crm", "import", crm, "--json", code=1)
    assert [(e["line"], e["code"]) for e in json.loads(done.stdout)["errors"]] == [(3, "invalid_input"), (4, "cells")]
    assert "line 3" in done.stderr

    run("ingest", "-", *INGEST, stdin=json_lines(a_listing("L1")))
    links = write_csv(tmp_path / "l.csv", {"crm_id": "a", "listing_key": "L1"}, {"crm_id": "zz", "listing_key": "L1"})
    assert "1 linked" in run("link", "--file", links, code=1).stdout


def test_row_that_is_no_csv_is_an_error_of_its_own_and_the_rest_is_done(run: Run, tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text('id,address,notes\nd1,1 Main,ok\nd2,2 Main,"bad"x\nd3,3 Main,ok\n')
    (tmp_path / "links.csv").write_text('crm_id,listing_key\nd1,K1\nd2,"K1"x\nd3,K1\n')
    run("ingest", "-", *INGEST, stdin=json_lines(a_listing("K1")))

    made = last_json(run("crm", "import", "crm.csv", "--json", code=1))
    linked = last_json(run("link", "--file", "links.csv", "--json", code=1))

    assert (made["made"], [(e["line"], e["code"]) for e in made["errors"]]) == (2, [(3, "bad_csv")])
    assert (linked["linked"], [(e["line"], e["code"]) for e in linked["errors"]]) == (2, [(3, "bad_csv")])


def test_edit_and_override_by_hand(run: Run) -> None:
    run("ingest", "-", *INGEST, stdin=json_lines(a_listing("L1")))
    run("crm", "import", "/dev/stdin", stdin=b"id\na\n")
    run("link", "a", id_of("L1"))

    run("crm", "edit", "a", "--status", "active", "--override", "ListPrice=1", "--reason", "agreed", "--tag", "hot")
    shown = json.loads(run("crm", "show", "a", "--json").stdout)
    assert (shown["crm_status"], shown["overrides"], shown["tags"], shown["sync_status"]) == (
        "active",
        {"ListPrice": "1"},
        ["hot"],
        "overridden",
    )
    run("crm", "edit", "a", "--notes", "x", "--version", 1, code=1)
    run("crm", "edit", "a", "--own", "Nope=1", code=1)
    run("crm", "delete", "a")
    assert "no CRM property" in run("crm", "show", "a", code=1).stderr


def test_what_comes_from_outside_cannot_steer_a_terminal(run: Run) -> None:
    run("ingest", "-", *INGEST, stdin=json_lines(a_listing("L1", UnparsedAddress="1 \u001b[31mMain\u0007\nStreet")))

    assert "\x1b" not in run("listings", "list").stdout
    assert "\x1b" not in run("listings", "show", id_of("L1")).stdout


def test_errors_name_what_to_do(run: Run) -> None:
    assert "crm import" in run("link", "a", "b", code=1).stderr
    run("crm", "import", "/dev/stdin", stdin=b"id\na\n")
    assert "listings list" in run("link", "a", "b", code=1).stderr
    assert "--complete" in run("ingest", "--help").stdout
    run("ingest", "-", code=2)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("ingest", "-", *INGEST, "--time-zone", "Mars/Olympus"), "America/New_York"),
        (("ingest", "-", *INGEST, "--time-zone", "America"), "America/New_York"),
        (("quarantine", "retry", "--time-zone", "America"), "America/New_York"),
        (("ingest", "-", *INGEST, "--dry-run", "--location", ""), "--location"),
        (("ingest", "-", *INGEST, "--source", ""), "--source"),
        (("sync", "a", "--platform", "nosuch"), "--platform"),
        (("--log-level", "foo", "status"), "warning"),
    ],
)
def test_bad_value_of_an_option_is_the_command_lines_fault(run: Run, args: tuple[str, ...], told: str) -> None:
    assert told in run(*args, code=2).stderr


def test_closed_standard_streams_stop_nothing(database_dsn: str) -> None:
    environment = {**os.environ, "DATABASE_URL": database_dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}
    command = f"{sys.executable} -m mls_crm_sync"

    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"{command} status {closed}"], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, (closed, done.stderr)
    done = subprocess.run(["sh", "-c", f"{command} nosuch <&- >&- 2>&-"], env=environment, check=False)
    assert done.returncode == 2


def test_file_whose_name_is_no_text_is_read_like_any_other(run: Run, tmp_path: Path) -> None:
    name = os.fsdecode(b"day\xff.jsonl")
    (tmp_path / name).write_bytes(json_lines(a_listing("L1"), {"nope": 1}))

    numbers = last_json(run("ingest", name, *INGEST, "--json"))

    assert (numbers["new"], numbers["quarantined"]) == (1, 1)
    assert json.loads(run("quarantine", "list", "--json").stdout)["origin"] == "day\ufffd.jsonl"


def test_database_that_is_away_is_said_so() -> None:
    environment = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    done = subprocess.run(
        [sys.executable, "-m", "mls_crm_sync", "status"], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "database" in done.stderr


def test_every_command_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")

    missing = [name for name in _commands(typer.main.get_command(app)) if f"`{name}" not in text]
    assert missing == []


def _commands(command: Any, prefix: str = "") -> Iterator[str]:
    for name, sub in getattr(command, "commands", {}).items():
        if getattr(sub, "commands", None):
            yield from _commands(sub, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_filter_word_that_there_is_not_is_an_error(run: Run) -> None:
    for command, known in (
        (("crm", "list", "--sync-status", "lost"), "not_linked"),
        (("listings", "list", "--status", "lost"), "StandardStatus"),
    ):
        ended = run(*command, code=1)

        assert known in ended.stderr
