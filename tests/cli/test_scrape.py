"""Setting a source up and reading it, as a broker's administrator does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.test_commands import Run, json_lines, last_json
from cli.test_commands import run as run  # noqa: PLC0414 # the fixture
from making import a_listing
from sources.realtor_site import RealtorSite, a_home, forbidden

pytestmark = pytest.mark.one_server


def test_folder_is_set_up_checked_and_read(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mls"
    folder.mkdir()
    assert "no source is the default one" in run("scrape", code=1).stderr
    assert run("sources", "add", "nyc", "--kind", "folder", "--set", f"path={folder}").stdout == (
        "added nyc, the default source\n"
    )
    assert "put one there" in run("sources", "check", code=1).stdout
    assert "lists no location" in run("scrape", code=2).stderr

    (folder / "11216.jsonl").write_bytes(json_lines(a_listing("A"), a_listing("B")))
    (folder / "11217.json").write_bytes(b'[{"ListingKey": "C"}, {"Lis')
    (folder / "manifest.json").write_text('{"deliveries": [{"file": "11216.jsonl", "records": 2}]}', encoding="utf-8")
    assert run("sources", "check", "nyc").stdout == "ok: locations: 2, 1 of them with a count in manifest.json\n"

    both = run("scrape", code=1)
    assert both.stdout.startswith("11216: complete (manifest.json announces 2 records, and as many were read)\n")
    assert "11217: broken" in both.stdout
    assert "The delivery cannot be read to its end" in both.stderr
    again = run("scrape", "--source", "nyc", "--location", "11216")
    assert again.stdout == "11216: the newest delivery was read before\n"
    as_json = last_json(run("scrape", "--location", "11217", "--json", code=1))
    assert (as_json["location"], as_json["outcome"], as_json["read"]) == ("11217", "broken", 1)
    missing = run("scrape", "--location", "99999", code=1)
    assert "unknown_location" in missing.stderr

    (listed,) = [json.loads(line) for line in run("sources", "list", "--json").stdout.splitlines()]
    assert (listed["name"], listed["settings"], listed["has_secret"]) == ("nyc", {"path": str(folder)}, False)
    run("sources", "change", "nyc", "--set", "time_zone=America/New_York")
    assert "America/New_York" in run("sources", "list").stdout
    assert "A" in run("listings", "list").stdout
    assert "its listings stay" in run("sources", "remove", "nyc").stdout
    assert run("sources", "list", "--json").stdout == ""


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("sources", "add", "x", "--kind", "wish"), 1, "file, folder"),
        (("sources", "add", "x", "--kind", "folder"), 1, "settings.path"),
        (("sources", "add", "x", "--kind", "folder", "--set", "path"), 2, "SETTING=VALUE"),
        (("sources", "add", "x", "--kind", "folder", "--set", "path=here"), 1, "absolute path"),
        (("sources", "add", "x", "--kind", "folder", "--set", "path=/x", "--secret-file", "none"), 2, "cannot be read"),
        (("sources", "remove", "x"), 1, "sources list"),
        (("sources", "check", "x"), 1, "sources list"),
        (("scrape", "--source", "x", "--location", "1"), 1, "sources list"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(run: Run, args: tuple[str, ...], code: int, told: str) -> None:
    assert told in " ".join(run(*args, code=code).stderr.replace("│", " ").split())


def test_key_is_printed_alone_and_kinds_say_their_settings(run: Run) -> None:
    assert len(run("sources", "new-key").stdout.strip()) == 44
    kinds = run("sources", "kinds").stdout
    assert "folder" in kinds
    assert "path" in kinds


def test_website_is_set_up_acknowledged_read_and_resumed_after_a_refusal(run: Run) -> None:
    site = RealtorSite.of(a_home(f"{n:010}") for n in range(250))
    with site.serving_in_a_thread():
        named = ("--source", "homeharvest", "--location", "San Diego, CA")
        quick = ("--limit", "second=1000", "--request-delay", "0")
        where = ("--set", f"endpoint={site.endpoint}")
        run("sources", "add", "homeharvest", "--kind", "homeharvest", *where, *quick)
        off = run("scrape", *named, code=1)
        assert "sources change homeharvest --set acknowledged=true" in " ".join(off.stderr.replace("│", " ").split())
        assert site.asked == []
        run("sources", "change", "homeharvest", "--set", "acknowledged=true")
        assert run("sources", "check", "homeharvest").stdout.startswith("ok: the website answers")
        assert "name one" in run("scrape", "--source", "homeharvest", code=2).stderr

        read = run("scrape", *named).stdout
        assert read.startswith("San Diego, CA: complete (for_sale in San Diego, CA: 250 announced, as many different")
        assert last_json(run("scrape", *named, "--json"))["unchanged"] == 250

        site.fault = forbidden
        assert "does not let us in (HTTP 403)" in run("scrape", *named, code=1).stderr
        site.fault = None
        stopped = " ".join(run("scrape", *named, code=1).stderr.replace("│", " ").split())
        assert "sources resume homeharvest" in stopped
        (listed,) = [json.loads(line) for line in run("sources", "list", "--json").stdout.splitlines()]
        assert listed["stopped_at"]
        assert run("sources", "resume", "homeharvest").stdout == "homeharvest may be asked again\n"
        assert run("scrape", *named).stdout.startswith("San Diego, CA: complete")
