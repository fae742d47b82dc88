"""`mls-crm-sync demo` as `make run` runs it: the tour, the sample really served, README.md's requests on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from mls_crm_sync.demo.tour import SOURCE

pytestmark = pytest.mark.one_server

REPOSITORY = Path(__file__).resolve().parents[2]
USUAL = "127.0.0.1:8080"
DEADLINE = 120  # seconds; the first start makes a cluster


@dataclass
class Demo:
    """A served demo: what it said, and where it is."""

    process: subprocess.Popen[bytes]
    log: Path
    where: str = ""
    home: Path = field(default_factory=Path)

    @property
    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def requests(self) -> list[str]:
        return [line for line in self.said if line.startswith("curl ")]

    def wait(self) -> None:
        """Wait for the last line that it says before it serves."""
        deadline = time.monotonic() + DEADLINE
        while len(self.requests) < 3:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        (url,) = (line for line in self.said if line.startswith("http://"))
        self.where = url.removeprefix("http://")

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def postmasters(home: Path) -> list[psutil.Process]:
    """Return the PostgreSQL servers that live in this folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == "postgres" and home in Path(process.cwd()).parents:
                found.append(process)
    return found


@contextlib.contextmanager
def started(home: Path, *args: str) -> Iterator[Demo]:
    """Start a demo in a folder of its own; a database that the environment names must not be touched."""
    home.mkdir(mode=0o711)
    log = home / "said"
    environment = {
        **os.environ,
        "MLS_CRM_SYNC_HOME": str(home / "data"),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mls_crm_sync", "demo", *args], env=environment, stdout=file, stderr=file
        )
    try:
        yield Demo(process, log, home=home / "data" / "demo")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        assert postmasters(home) == []


@pytest.fixture
def demo(home: Path) -> Iterator[Demo]:
    with started(home) as demo:
        demo.wait()
        yield demo


def requests_of_readme() -> list[str]:
    return [line for line in (REPOSITORY / "README.md").read_text().splitlines() if line.startswith("curl ")]


def sent_by_curl(line: str) -> Any:
    done = subprocess.run(
        ["sh", "-c", line + " --fail --silent --show-error"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def sent_by_us(line: str) -> Any:
    """Do what curl would, for where it is not installed. An option that is not known here fails."""
    command, *words = shlex.split(line)
    assert command == "curl"
    method, headers, body, urls = "", {}, None, []
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = words.pop(0)
        else:
            assert not word.startswith("-"), word
            urls.append(word)
    (url,) = urls
    answer = httpx2.request(
        method or ("GET" if body is None else "POST"), f"http://{url}", headers=headers, content=body, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("send", [sent_by_curl, sent_by_us])
def test_requests_of_readme_work_when_pasted(demo: Demo, send: Any) -> None:
    if send is sent_by_curl and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line.replace(USUAL, demo.where) for line in requests_of_readme()]
    assert demo.requests == lines

    data, synced, listed = (send(line) for line in lines)

    (named,) = re.findall(r"/api/properties/([^/]+)/mls-data", lines[0])
    assert named in data["crm_property_ids"]
    assert data["source"] == SOURCE
    assert data["property_id"] in lines[1]
    assert (synced["mls_property_id"], synced["crm_properties_updated"], synced["changed"]) == (
        data["property_id"],
        len(data["crm_property_ids"]),
        0,
    )
    assert len(listed["items"]) == 3
    assert {(item["linked"], item["fields"]["StandardStatus"]) for item in listed["items"]} == {(1, "Pending")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_served_demo_ends_in_good_order(demo: Demo, number: signal.Signals) -> None:
    if signal.getsignal(number) is signal.SIG_IGN and number == signal.SIGHUP:
        pytest.skip("whoever started the tests said nohup, and the demo heeds it")
    assert len(postmasters(demo.home)) >= 1

    assert demo.stop(number) == 0

    assert "Traceback" not in demo.log.read_text()
    assert "Aborted" not in demo.log.read_text()
    assert postmasters(demo.home) == []


def _take_the_usual_port(stack: contextlib.ExitStack) -> None:
    """Another test's demo there is soon gone; a service that stays is as good as ours."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        except OSError:
            time.sleep(0.1)
        else:
            return


def test_demo_takes_the_next_free_port_and_says_so(home: Path) -> None:
    with contextlib.ExitStack() as stack:
        _take_the_usual_port(stack)
        with started(home) as demo:
            demo.wait()
            port = int(demo.where.rpartition(":")[2])
            assert port > 8080
            assert f"port 8080 is taken; this is port {port}" in demo.said
            assert httpx2.get(f"http://{demo.where}/ready", trust_env=False).status_code == 200


def test_demo_shows_what_changed_and_why(demo: Demo) -> None:
    text = demo.log.read_text()

    assert "305 read, 5 new, 16 changed" in text
    assert "out of step with their listing, counted: 0" in text
    assert "the CRM's own values: byte for byte as before" in text
    assert "admin key" not in text


def test_demo_that_is_not_served_ends(home: Path) -> None:
    with started(home, "--no-serve") as demo:
        assert demo.process.wait(DEADLINE) == 0

        assert demo.requests == []
        assert "byte for byte as before" in demo.log.read_text()


def test_readme_is_short_and_has_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()

    assert len(text.split()) <= 500
    assert re.findall(r"^make .*$", text, re.MULTILINE) == ["make run", "make test"]
