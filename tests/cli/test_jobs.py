"""`ingest --jobs`: several real processes end where one would have ended, whatever becomes of one of them."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import psutil
import pytest

from making import a_listing
from mls_crm_sync.cli.session import on_a_loop
from mls_crm_sync.cli.shares import Shares, Work
from mls_crm_sync.core.errors import ShareFailed, SourceBroken
from mls_crm_sync.settings import Settings
from mls_crm_sync.sources.base import Page
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.store.database import connect
from mls_crm_sync.store.runs import Hold
from mls_crm_sync.sync.shares import Share
from mls_crm_sync.wiring import open_database

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.one_server

INGEST = ("--source", "test-mls", "--location", "10001", "--complete")
STATE = (
    "SELECT property_id, source_key, fields::text, payload, standard_status FROM mls_properties",
    "SELECT property_id, digest, payload_digest, content_hash, source_modified_at FROM mls_state",
    "SELECT id, fields, synced_hash, notes FROM crm_properties",
    "SELECT property_id, type, field_name, previous_value, new_value FROM property_changes",
    "SELECT type, property_id, crm_property_id, field_names, change_types FROM events",
    "SELECT property_id, last_shown_at IS NULL FROM location_listings",
    "SELECT reason, payload, times FROM quarantined_records",
    "SELECT outcome, shown FROM location_passes",
    "SELECT status, counts - 'seconds' FROM scraping_jobs",
)


class Cli:
    """The commands on a database, in a folder."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.folder = dsn, folder

    def start(self, *args: object) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "DATABASE_URL": self.dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "mls_crm_sync", *map(str, args)],
            env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *args: object, code: int = 0) -> tuple[str, str]:
        process = self.start(*args)
        try:
            said, errors = (text.decode() for text in process.communicate(timeout=120))
        finally:
            process.kill()
            process.wait()
        assert process.returncode == code, errors + said
        assert "Traceback" not in errors
        return said, errors

    def state(self) -> list[Counter[str]]:
        async def read() -> list[Counter[str]]:
            conn = await connect(self.dsn)
            try:
                return [Counter(map(repr, await conn.fetch(query))) for query in STATE]
            finally:
                await conn.close()

        return asyncio.run(read())

    def wait_for_listings(self) -> None:
        """Wait until an ingest has stored some."""

        async def wait() -> None:
            conn = await connect(self.dsn)
            try:
                async with asyncio.timeout(30):
                    while not await conn.fetchval("SELECT EXISTS (SELECT FROM mls_state)"):  # noqa: ASYNC110 # of others
                        await asyncio.sleep(0.01)
            finally:
                await conn.close()

        asyncio.run(wait())


@pytest.fixture
def cli(database_dsn: str, tmp_path: Path) -> Cli:
    return Cli(database_dsn, tmp_path)


def write(path: Path, *records: object) -> Path:
    lines = [record if isinstance(record, bytes) else orjson.dumps(record) for record in records]
    text = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def days(folder: Path, count: int) -> tuple[Path, Path]:
    """Two deliveries: the second has changes, a listing that comes three times, and what cannot be read."""
    first = [a_listing(f"L{n}") for n in range(count)]
    second = [a_listing(f"L{n}", ListPrice=400_000 + n if n % 3 == 0 else 500_000) for n in range(count)]
    again = [a_listing("L7", ListPrice=price) for price in (1, 2, 3)]
    broken = [b"{", b"[]", a_listing("L1", ListPrice="a lot"), a_listing("odd key"), {"no": "key"}]
    return write(folder / "day1.jsonl", *first), write(folder / "day2.jsonl.gz", *second, *again, *broken)


def tell(cli: Cli, *, jobs: int, count: int) -> None:
    first, second = days(cli.folder, count)
    crm = "id,notes\n" + "".join(f"c{n},mine\n" for n in range(0, count, 2))
    links = "crm_id,listing_key\n" + "".join(f"c{n},L{n}\n" for n in range(0, count, 2))
    (cli.folder / "crm.csv").write_text(crm)
    (cli.folder / "links.csv").write_text(links)
    cli.run("ingest", first, *INGEST, "--jobs", jobs)
    cli.run("crm", "import", "crm.csv")
    cli.run("link", "--file", "links.csv", "--source", "test-mls")
    cli.run("ingest", second, *INGEST, "--jobs", jobs)
    cli.run("ingest", second, *INGEST, "--jobs", jobs)


def test_several_processes_end_where_one_ends(cli: Cli, server: Server) -> None:
    tell(cli, jobs=3, count=2_500)
    with server.database() as dsn:
        alone = Cli(dsn, cli.folder)
        tell(alone, jobs=1, count=2_500)
        expected = alone.state()

    for query, together, one in zip(STATE, cli.state(), expected, strict=True):
        assert together == one, query


def test_result_is_worded_as_that_of_one(cli: Cli) -> None:
    first, _ = days(cli.folder, 30)

    said, _ = cli.run("ingest", first, *INGEST, "--jobs", 2, "--json")

    numbers = json.loads(said)
    assert (numbers["read"], numbers["new"], numbers["status"]) == (30, 30, "succeeded")


def test_delivery_that_breaks_off_is_partial(cli: Cli) -> None:
    _, second = days(cli.folder, 2_500)
    second.write_bytes(second.read_bytes()[:-3_000])

    _, errors = cli.run("ingest", second, *INGEST, "--jobs", 2, code=1)

    assert "cannot be read to its end" in errors
    assert "fetch the file again" in errors, "the hint comes along"
    runs, passes = cli.state()[-1], cli.state()[-2]
    assert [run for run in runs if "'partial'" in run], runs
    assert [one for one in passes if "'broken'" in one], passes


def test_share_that_cannot_begin_says_why_and_no_run_is_made(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = days(cli.folder, 3)
    broken = cli.folder / "sitecustomize.py"  # what every Python started from now on runs first
    broken.write_text(
        "import sys\n"
        "if any('shares' in a for a in sys.orig_argv):\n"
        "    import mls_crm_sync.wiring as w\n"
        "    from mls_crm_sync.core.errors import StoreUnavailable\n"
        "    def none(*a, **k): raise StoreUnavailable('no connection is left')\n"
        "    w.open_database = none\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(cli.folder), os.environ.get("PYTHONPATH")))))

    _, errors = cli.run("ingest", first, *INGEST, "--jobs", 2, code=1)

    assert "no connection is left" in errors
    assert not cli.state()[-1]


@pytest.mark.parametrize(
    ("more", "about"),
    [
        (("-",), "standard input"),
        (("/dev/stdin",), "on the disk"),
        (("pipe",), "on the disk"),
        (("day1.jsonl", "--dry-run"), "dry run"),
        (("day1.jsonl", "--source", ""), "--source"),
    ],
)
def test_what_one_process_alone_can_do_is_refused(cli: Cli, more: tuple[str, ...], about: str) -> None:
    days(cli.folder, 3)
    os.mkfifo(cli.folder / "pipe")

    _, errors = cli.run("ingest", *INGEST, *more, "--jobs", 2, code=2)

    assert about in errors


@pytest.mark.parametrize("jobs", [1, 2])
def test_answer_that_goes_on_elsewhere_is_no_complete_pass(cli: Cli, jobs: int) -> None:
    pages = [{"value": [a_listing(f"L{n}")], "@odata.nextLink": "https://mls.test/Property?$skip=1"} for n in (1, 2)]
    for n, page in enumerate([*pages, {"value": [a_listing("L3")]}], start=1):
        (cli.folder / f"{n}.json").write_bytes(orjson.dumps(page))

    _, alone = cli.run("ingest", "1.json", *INGEST, "--jobs", jobs)
    assert "@odata.nextLink" in alone
    assert list(cli.state()[-2]) == ["<Record outcome='unproven' shown=1>"]

    _, together = cli.run("ingest", "1.json", "2.json", "3.json", *INGEST, "--jobs", jobs)
    assert "@odata.nextLink" not in together
    assert "<Record outcome='complete' shown=3>" in cli.state()[-2]


def test_bad_delivery_is_named_before_a_run_is_made(cli: Cli) -> None:
    _, errors = cli.run("ingest", "missing.jsonl", *INGEST, "--jobs", 2, code=1)

    assert "missing.jsonl" in errors


@pytest.mark.parametrize("seed", range(3))
def test_killed_share_fails_the_run_and_the_next_one_ends_it_all(cli: Cli, seed: int) -> None:
    rng = random.Random(seed)
    first, _ = days(cli.folder, 20_000)
    process = cli.start("ingest", first, *INGEST, "--jobs", 2)
    shares = started_shares(process, 2)
    if seed:  # otherwise while they are starting
        cli.wait_for_listings()
        time.sleep(rng.uniform(0, 0.3))
    rng.choice(shares).kill()

    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert b"could not read its share" in errors
    assert b"run the same ingest again" in errors
    assert not [share for share in shares if share.is_running()]
    cli.run("ingest", first, *INGEST, "--jobs", 2)
    state = cli.state()
    assert sum(state[0].values()) == sum(state[1].values()) == sum(state[3].values()) == 20_000
    assert sum(state[4].values()) == 20_000, "one event each"


def test_share_that_ended_before_the_run_was_made_fails_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen once on a busy machine: nothing may be told any more to a process known to be gone."""
    first, _ = days(cli.folder, 3)
    monkeypatch.setenv("DATABASE_URL", cli.dsn)
    monkeypatch.setenv("MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE", "1")

    async def read() -> None:
        async with open_database(Settings(), max_size=1) as db, Shares(Work([str(first)], "test-mls"), 1) as shares:
            (share,) = [one for one in psutil.Process().children() if "mls_crm_sync.cli.shares" in one.cmdline()]
            share.kill()
            await asyncio.sleep(0.5)  # until the loop has seen its pipes close
            await shares.read(db, Hold(1, 1, 1, "ingest", 1), lambda _: None)

    with pytest.raises(ShareFailed, match="ended with -9"):
        on_a_loop(read())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_shares_end_with_the_process_of_the_run(cli: Cli, how: signal.Signals) -> None:
    first, _ = days(cli.folder, 20_000)
    process = cli.start("ingest", first, *INGEST, "--jobs", 2)
    shares = started_shares(process, 2)
    cli.wait_for_listings()
    process.send_signal(how)
    process.communicate(timeout=60)

    psutil.wait_procs(shares, timeout=15)

    assert not [share for share in shares if share.is_running()]
    assert process.returncode != 0
    cli.run("ingest", first, *INGEST, "--jobs", 2)
    state = cli.state()
    assert sum(state[0].values()) == sum(state[4].values()) == 20_000
    assert len(state[-1]) == 2
    assert not [run for run in state[-1] if "'running'" in run]


def started_shares(process: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    """Wait until the run's process has its others."""
    until = time.monotonic() + 30
    while len(found := psutil.Process(process.pid).children()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


DELIVERED = [a_listing(f"L{n % 50}", ListPrice=n) for n in range(200)]
AS_LINES = [orjson.dumps(record) for record in DELIVERED]


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("file_format", ["jsonl", "json", "csv"])
@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_each_record_is_of_one_share_and_of_its_listings(
    of: int, file_format: str, tmp_path: Path, *, breaks: bool
) -> None:
    """Whatever the delivery's format and blocks are, and where it breaks off."""
    path = tmp_path / f"delivery.{file_format}"
    if file_format == "csv":
        rows = "".join(f"{record['ListingKey']},{record['ListPrice']}\r\n" for record in DELIVERED)
        whole = f"ListingKey,ListPrice\r\n{rows}".encode()
        broken = whole + b'L1,"2'
    elif file_format == "json":
        inside = b",".join([*AS_LINES[:90], b"17", *AS_LINES[90:]])
        whole, broken = b"[" + inside + b"]", b"[" + inside + b","
    else:
        whole = b"\r\n".join([*AS_LINES[:90], b"", b"17", *AS_LINES[90:], b""])
        broken = whole + AS_LINES[0][:-9]
    path.write_bytes(broken if breaks else whole)

    async def read(share: Share) -> list[Page]:
        pages: list[Page] = []
        reading = FileReading(
            str(path), field_names=("ListingKey", "ListPrice"), page_size=20, block_bytes=700, takes=share.takes
        )
        with pytest.raises(SourceBroken) if breaks else nullcontext():
            async for page in reading.pages():
                pages.append(page)  # noqa: PERF401 - those before it breaks, too
        return pages

    parts = [asyncio.run(read(Share(number, of))) for number in range(of)]

    read_by = [[raw for page in part for raw in page.records] for part in parts]
    prices = [[int(orjson.loads(raw.data)["ListPrice"]) for raw in raws] for raws in read_by]
    assert sorted(itertools.chain(*prices)) == list(range(200))
    assert all(mine == sorted(mine) for mine in prices), "in their order"
    if file_format != "csv":
        assert sum(len(page.rejected) for part in parts for page in part) == 1
        assert sum(len(page.rejected) for page in parts[0]) == 1
    alone = asyncio.run(read(Share(0, 1)))
    assert {*itertools.chain(*read_by)} == {raw for page in alone for raw in page.records}, "each at its place"
    keys = [{orjson.loads(raw.data)["ListingKey"] for raw in raws} for raws in read_by]
    assert sum(map(len, keys)) == 50
    assert all(keys), "none is idle"
    assert all(len(part) == -(-sum(len(p.records) + len(p.rejected) for p in part) // 20) for part in parts), (
        "few pages"
    )
