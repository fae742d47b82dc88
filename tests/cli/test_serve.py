"""`mls-crm-sync serve` and `keys`: who gets in, and what of a key is seen or kept where."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from mls_crm_sync.store.database import Connection

pytestmark = pytest.mark.one_server

DEADLINE = 60  # seconds
KEY = re.compile(r"mcs_[\w-]{43}")


@pytest.fixture
def environment(database_dsn: str) -> dict[str, str]:
    """Return the surroundings of a process that works on the test's own database."""
    ours = {"DATABASE_URL": database_dsn, "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE": "1"}
    return {**os.environ, **ours}


def run(environment: dict[str, str], *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mls_crm_sync", *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@contextlib.contextmanager
def serving(environment: dict[str, str], log: Path, *args: str) -> Iterator[tuple[httpx2.Client, str]]:
    """Serve until the block ends; lend a client, always of 127.0.0.1, and what the service said at its start."""
    with log.open("wb") as file:
        command = [sys.executable, "-m", "mls_crm_sync", "serve", "--port", "0", *args]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + DEADLINE
        while " from this machine" not in log.read_text() and " needs a key" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        said = log.read_text()
        port = re.findall(r"^http://\S+:(\d+)$", said, re.MULTILINE)[0]
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client, said
    finally:
        process.terminate()
        assert process.wait(60) == 0


async def test_made_key_stands_alone_on_standard_output_works_and_is_revoked(
    environment: dict[str, str], conn: Connection, tmp_path: Path
) -> None:
    made = run(environment, "keys", "create", "crm", "--scope", "read", "--scope", "write:crm")
    key = made.stdout.removesuffix("\n")
    assert KEY.fullmatch(key)
    assert key not in made.stderr
    stored = await conn.fetch("SELECT key_id, name, digest, scopes FROM api_keys")
    assert [(r["name"], r["digest"], r["scopes"]) for r in stored] == [
        ("crm", hashlib.sha256(key.encode()).digest(), ["read", "write:crm"])
    ]
    listed = run(environment, "keys", "list", "--json").stdout
    assert (json.loads(listed)["name"], json.loads(listed)["revoked_at"]) == ("crm", None)
    assert key not in listed + run(environment, "keys", "list").stdout

    mine = {"Authorization": f"Bearer {key}"}
    with serving(environment, tmp_path / "log", "--require-key") as (http, said):
        assert "admin key" not in said  # there is a key already
        assert http.get("/api/properties", headers=mine).status_code == 200
        assert http.post("/api/mls-properties", json={"listings": [{}]}, headers=mine).status_code == 403
        number = str(json.loads(listed)["key_id"])
        assert f"revoked key {number}" in run(environment, "keys", "revoke", number).stdout
        assert http.get("/api/properties", headers=mine).json()["code"] == "bad_key"
    assert json.loads(run(environment, "keys", "list", "--json").stdout)["revoked_at"] is not None
    assert "no API key in force" in run(environment, "keys", "revoke", number, code=1).stderr
    assert "no API key in force" in run(environment, "keys", "revoke", "999", code=1).stderr
    assert "scopes" in run(environment, "keys", "create", "x", "--scope", "root", code=1).stderr


@pytest.mark.parametrize(
    ("args", "status"),
    [
        ((), 200),
        (("--host", "localhost"), 200),
        (("--require-key",), 401),
        (("--host", "0.0.0.0"), 401),  # noqa: S104 - that this ends local mode is what is shown
        (("--host", "localhost", "--require-key"), 401),
    ],
)
def test_only_loopback_without_require_key_asks_for_no_key(
    environment: dict[str, str], tmp_path: Path, args: tuple[str, ...], status: int
) -> None:
    with serving(environment, tmp_path / "log", *args) as (http, said):
        answer = http.get("/api/properties")
        assert answer.status_code == status
        assert http.get("/health").status_code == 200
        assert ("every request needs a key" in said) == (status == 401)
        (admin,) = KEY.findall(said)
        assert http.get("/api/keys", headers={"Authorization": f"Bearer {admin}"}).status_code == 200
        if status == 401:
            told = answer.json()
            assert "Authorization: Bearer KEY" in told["detail"]
            assert "mls-crm-sync keys create NAME --scope read" in told["hint"]


async def test_admin_key_is_shown_at_the_first_start_alone_and_kept_as_its_digest(
    environment: dict[str, str], conn: Connection, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with serving(environment, log, "--require-key") as (_, said):
        (admin,) = KEY.findall(said)
    assert KEY.findall(log.read_text()) == [admin]

    with serving(environment, log, "--require-key") as (http, said):
        assert KEY.findall(said) == []
        assert http.get("/api/keys", headers={"Authorization": f"Bearer {admin}"}).status_code == 200

    rows = await conn.fetch("SELECT * FROM api_keys")
    assert [(row["digest"], row["scopes"]) for row in rows] == [(hashlib.sha256(admin.encode()).digest(), ["admin"])]
    assert admin not in str([dict(row) for row in rows])


def test_worker_beside_a_service_ends_in_good_order_while_its_input_is_open(environment: dict[str, str]) -> None:
    """Its thread still waits for the input to close: the interpreter must not stumble over it."""
    command = [sys.executable, "-m", "mls_crm_sync", "worker", "--beside"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stderr is not None
        said = ""
        while "SIGTERM ends it" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.terminate()
        said += process.stderr.read()
        assert process.wait(DEADLINE) == 0, said
    assert "Fatal" not in said


def test_worker_beside_a_service_ends_when_its_input_does(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "mls_crm_sync", "worker", "--beside"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE) == 0
