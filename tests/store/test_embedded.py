"""The launcher, with real servers, real kills and real accounts."""
# ruff: noqa: ASYNC220, ASYNC240 # a test has its event loop to itself

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from mls_crm_sync.core.errors import SetupError
from mls_crm_sync.store import binaries
from mls_crm_sync.store.database import connect
from mls_crm_sync.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(binaries.__file__).parents[2]
SITE_PACKAGES = {path for path in map(Path, sys.path) if path.name in {"site-packages", "dist-packages"}}
IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root runs PostgreSQL as somebody else")

# Holds the server until its stdin ends, then says whether it stopped it.
OWNER = """
import sys
from pathlib import Path
from mls_crm_sync.store.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), pg_bin=Path(sys.argv[2]))
print(postgres.start(), flush=True)
sys.stdin.read()
print(postgres.stop(), flush=True)
"""


class Owner:
    """Another process that holds the server; `dsn` is there once it runs."""

    def __init__(self, home: Path, pg_bin: Path | None, *, python: str = sys.executable, **how: Any) -> None:
        self.process = subprocess.Popen(
            [python, "-c", OWNER, str(home), str(binaries.find(pg_bin))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={
                "PYTHONPATH": os.pathsep.join(map(str, [SOURCE, *SITE_PACKAGES])),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            **how,
        )
        assert self.process.stdout
        self.dsn = self.process.stdout.readline().strip()

    def leave(self) -> bool:
        """Return what its stop said: whether it was the last owner."""
        said, _ = self.process.communicate(timeout=60)
        return str(said).strip() == "True"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def postgres(home: Path, pg_bin: Path | None) -> Iterator[EmbeddedPostgres]:
    """Return a launcher that has not started anything yet."""
    launcher = EmbeddedPostgres(home, pg_bin=pg_bin)
    yield launcher
    launcher.stop()


async def ask(dsn: str, sql: str) -> Any:
    conn = await connect(dsn)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


def python_for(account: dict[str, Any]) -> str:
    """Return a Python of our version that the account may execute: ours, unless it is in root's home."""
    ours = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", ours], cwd="/", check=False, **account).returncode == 0:
                return python
    pytest.skip("there is no Python of our version that an ordinary user may execute")


def lives(pid: int) -> bool:
    """A zombie is dead, whatever the pid says: not every container has somebody who buries them."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def postmaster(launcher: EmbeddedPostgres) -> int:
    return int((launcher.data / "postmaster.pid").read_text().splitlines()[0])


async def test_first_start_makes_a_cluster_that_keeps_what_it_commits(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()

    assert await ask(dsn, "SHOW fsync") == "on"
    assert await ask(dsn, "SHOW synchronous_commit") == "on"
    assert await ask(dsn, "SHOW full_page_writes") == "on"
    assert await ask(dsn, "SHOW server_encoding") == "UTF8"


async def test_nobody_but_the_owner_can_reach_the_server(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()

    assert await ask(dsn, "SHOW listen_addresses") == ""
    assert stat.S_IMODE(postgres.sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((postgres.home / "postgres.lock").stat().st_mode) == 0o600


async def test_text_sorts_by_code_point_on_every_server(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()

    assert await ask(dsn, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,A,é,a,B}'::text[]) x") == "ABabé"
    assert await ask(dsn, "SELECT lower('É')") == "é"


async def test_data_survives_a_stop_and_a_start(postgres: EmbeddedPostgres) -> None:
    await ask(postgres.start(), "CREATE TABLE kept AS SELECT 7 AS number")
    assert postgres.stop()

    assert await ask(postgres.start(), "SELECT number FROM kept") == 7


def test_stop_leaves_no_process_and_no_socket_folder(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid = postmaster(postgres)

    assert postgres.stop()
    assert not lives(pid)
    assert not postgres.sockets.exists()


def test_stop_without_start_stops_nothing(postgres: EmbeddedPostgres, home: Path, pg_bin: Path | None) -> None:
    owner = Owner(home, pg_bin)

    assert not postgres.stop()
    assert owner.leave()


def test_starting_twice_is_one_hold(postgres: EmbeddedPostgres) -> None:
    assert postgres.start() == postgres.start()
    assert postgres.stop()


async def test_two_owners_share_the_server_and_the_last_one_stops_it(
    postgres: EmbeddedPostgres, home: Path, pg_bin: Path | None
) -> None:
    owner = Owner(home, pg_bin)
    dsn = postgres.start()

    assert dsn == owner.dsn
    assert not owner.leave()
    assert await ask(dsn, "SELECT 1") == 1
    assert postgres.stop()


async def test_owner_killed_and_next_start_adopts_the_server(
    postgres: EmbeddedPostgres, home: Path, pg_bin: Path | None
) -> None:
    owner = Owner(home, pg_bin)
    before = postmaster(postgres)
    owner.kill()

    assert await ask(postgres.start(), "SELECT 1") == 1
    assert postmaster(postgres) == before
    assert postgres.stop(), "the dead owner still counts"


async def test_postmaster_killed_and_next_start_has_all_that_was_committed(
    postgres: EmbeddedPostgres, home: Path, pg_bin: Path | None
) -> None:
    owner = Owner(home, pg_bin)
    await ask(owner.dsn, "CREATE TABLE kept AS SELECT 7 AS number")
    idle = await connect(owner.dsn)  # a backend that has to notice by itself
    os.kill(postmaster(postgres), signal.SIGKILL)

    assert await ask(postgres.start(), "SELECT number FROM kept") == 7
    idle.terminate()
    assert not owner.leave()
    assert postgres.stop()


async def test_start_waits_while_a_dying_server_hangs_up(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    there = EmbeddedPostgres(postgres.home, pg_bin=postgres.bin_dir)
    aside = there._socket.with_name("aside")
    there._socket.rename(aside)
    with socket.socket(socket.AF_UNIX) as dying, ThreadPoolExecutor(1) as pool:
        dying.bind(str(there._socket))
        dying.listen()
        dying.settimeout(10)
        started = pool.submit(there.start)
        for _ in range(2):
            caller, _ = dying.accept()
            caller.close()
        assert not started.done()
        aside.rename(there._socket)

    assert await ask(started.result(timeout=60), "SELECT 1") == 1
    assert not there.stop()


def test_postmaster_killed_and_stop_ends_in_order(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    os.kill(postmaster(postgres), signal.SIGKILL)

    assert postgres.stop()
    assert not postgres._residents()
    postgres.start()  # takes over the shared memory that the killed one left


async def test_four_cold_starts_at_once_share_one_server(home: Path, pg_bin: Path | None) -> None:
    with ThreadPoolExecutor(4) as pool:
        owners = list(pool.map(lambda _: Owner(home, pg_bin), range(4)))

    assert len({owner.dsn for owner in owners}) == 1
    assert await ask(owners[0].dsn, "SELECT 1") == 1
    assert [owner.leave() for owner in owners] == [False, False, False, True]


@pytest.mark.parametrize("taken_by", ["another process", "a zombie", "nobody"])
async def test_stale_pid_file_is_cleared_whoever_has_its_pid_now(postgres: EmbeddedPostgres, taken_by: str) -> None:
    postgres.start()
    text = (postgres.data / "postmaster.pid").read_text()
    dead = text.splitlines()[0]
    postgres.stop()
    other = subprocess.Popen(["true"] if taken_by == "a zombie" else ["sleep", "60"])
    pid = dead if taken_by == "nobody" else str(other.pid)
    (postgres.data / "postmaster.pid").write_text(text.replace(dead, pid, 1))

    assert await ask(postgres.start(), "SELECT 1") == 1
    other.kill()
    other.wait()


async def test_half_written_pid_file_is_cleared(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    (postgres.data / "postmaster.pid").write_text("")

    assert await ask(postgres.start(), "SELECT 1") == 1


async def test_half_made_cluster_is_thrown_away(postgres: EmbeddedPostgres, home: Path) -> None:
    half = home / "initdb-killed"
    half.mkdir(parents=True)
    home.chmod(0o755)
    (half / "PG_VERSION").write_text(f"{postgres.major}\n")

    assert await ask(postgres.start(), "SELECT 1") == 1
    assert not half.exists()


async def test_lost_socket_makes_the_next_start_begin_anew(
    postgres: EmbeddedPostgres, home: Path, pg_bin: Path | None
) -> None:
    owner = Owner(home, pg_bin)
    shutil.rmtree(postgres.sockets)

    assert await ask(postgres.start(), "SELECT 1") == 1
    owner.kill()


@pytest.mark.parametrize("folder", ["pg14", "own"])
def test_data_of_another_major_version_is_refused_with_the_way_out(
    postgres: EmbeddedPostgres, home: Path, folder: str
) -> None:
    data = postgres.data if folder == "own" else home / folder
    data.mkdir(parents=True)
    home.chmod(0o755)
    (data / "PG_VERSION").write_text("14\n")

    with pytest.raises(SetupError, match="PostgreSQL 14") as refused:
        postgres.start()
    assert "mls-crm-sync db backup FILE" in str(refused.value.hint)
    assert f"mv {data} {data}.old" in str(refused.value.hint)
    assert "mls-crm-sync db restore FILE" in str(refused.value.hint)


async def test_data_of_another_major_version_set_aside_is_in_nobodys_way(
    postgres: EmbeddedPostgres, home: Path
) -> None:
    (home / "pg14.old").mkdir(parents=True)
    home.chmod(0o755)
    (home / "pg14.old" / "PG_VERSION").write_text("14\n")

    assert await ask(postgres.start(), "SELECT 1") == 1


@pytest.mark.parametrize("trap", ["symlink", "file", "open to all"])
def test_socket_folder_that_somebody_else_prepared_is_refused(
    postgres: EmbeddedPostgres, tmp_path: Path, trap: str
) -> None:
    place = postgres.sockets
    if trap == "symlink":
        place.symlink_to(tmp_path)
    elif trap == "file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    try:
        with pytest.raises(SetupError, match=f"{place} is not a private folder of ours"):
            postgres.start()
    finally:
        place.rmdir() if trap == "open to all" else place.unlink()


@as_root
def test_socket_folder_of_another_account_is_refused(postgres: EmbeddedPostgres) -> None:
    postgres.sockets.mkdir(mode=0o700)
    os.chown(postgres.sockets, 12345, 12345)
    try:
        with pytest.raises(SetupError, match="not a private folder of ours"):
            postgres.start()
    finally:
        postgres.sockets.rmdir()


def test_server_that_cannot_start_says_why(home: Path, pg_bin: Path | None) -> None:
    launcher = EmbeddedPostgres(home, pg_bin=pg_bin, options={"shared_buffers": "many"})

    with pytest.raises(SetupError, match='invalid value for parameter "shared_buffers"') as refused:
        launcher.start()
    assert str(launcher.data / "log") in str(refused.value.hint)
    assert not launcher.stop()


def test_large_log_is_set_aside_at_the_next_start(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    os.truncate(postgres.data / "log", 11 * 1024 * 1024)
    postgres.start()

    assert (postgres.data / "log.1").stat().st_size > 10 * 1024 * 1024
    assert (postgres.data / "log").stat().st_size < 1024 * 1024


@as_root
async def test_root_runs_it_under_an_account_without_rights(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()

    assert psutil.Process(postmaster(postgres)).uids().effective != 0
    assert postgres.data.stat().st_uid == psutil.Process(postmaster(postgres)).uids().effective
    assert await ask(dsn, "SELECT pg_backend_pid() > 0")


@as_root
async def test_ordinary_user_runs_it_as_himself(home: Path, pg_bin: Path | None) -> None:
    nobody = pwd.getpwnam("nobody")
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    owner = Owner(home, pg_bin, python=python_for(account), **account)
    server = psutil.Process(postmaster(EmbeddedPostgres(home, pg_bin=pg_bin)))

    assert server.uids().effective == nobody.pw_uid
    assert await ask(owner.dsn, "SELECT 1") == 1
    assert owner.leave()
    assert not lives(server.pid)


@as_root
async def test_programs_that_the_account_cannot_reach_are_copied_and_nothing_is_opened(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = binaries.find().parents[1]
    private = tmp_path / "private"
    for part in (installed, installed.with_name(installed.name + ".libs")):
        shutil.copytree(part, private / part.name, symlinks=True)
    for path in (private, *private.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(binaries, "find", lambda _=None: private / installed.name / "pginstall" / "bin")
    launcher = EmbeddedPostgres(home)

    assert await ask(launcher.start(), "SELECT 1") == 1
    assert psutil.Process(postmaster(launcher)).exe().startswith(str(home / "pgbin-"))
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (private, *private.rglob("*"))} == {0}
    assert launcher.stop()


@as_root
def test_strict_umask_of_root_is_in_nobodys_way(home: Path, pg_bin: Path | None) -> None:
    before = os.umask(0o077)
    try:
        launcher = EmbeddedPostgres(home / "deeper" / "still", pg_bin=pg_bin)
        launcher.start()
    finally:
        os.umask(before)
    assert launcher.stop()


@as_root
def test_home_that_the_account_cannot_reach_is_refused_by_name(home: Path, pg_bin: Path | None) -> None:
    home.mkdir(mode=0o700)

    with pytest.raises(SetupError, match=f"may not enter {home}"):
        EmbeddedPostgres(home / "deeper", pg_bin=pg_bin).start()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_folder_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no `postgres`"):
        EmbeddedPostgres(tmp_path / "home", pg_bin=tmp_path)


def test_programs_older_than_15_are_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n")
    (tmp_path / "postgres").chmod(0o755)

    with pytest.raises(SetupError, match="PostgreSQL 14; 15 is the oldest"):
        EmbeddedPostgres(tmp_path / "home", pg_bin=tmp_path)
