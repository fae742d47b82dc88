"""The embedded PostgreSQL: a real server in a folder of ours, up from its first owner to its last.

Any number of processes may own it at once. What holds the count is a shared `flock` per owner, which the
kernel takes back even from a process that was killed. What tells whether a server lives are processes at work
in the data folder, not the pid in `postmaster.pid`, which may be a zombie's or somebody else's by now.

    home/postgres.lock     exclusive while one process starts or stops the server
    home/postgres.users    shared by every owner
    home/pg18/             the cluster, named by its major version, owned by the account that runs it
    home/pgbin-*/          copy of the programs, only where that account cannot execute the installed ones

It listens on a unix socket in a 0700 folder and nowhere else. It refuses data of another major version.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import struct
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import psutil

from mls_crm_sync.core.errors import SetupError, StoreUnavailable
from mls_crm_sync.store import account, binaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mls_crm_sync.store.binaries import Outcome

ROLE = "mls_crm_sync"
START_TIMEOUT = timedelta(minutes=10)  # recovery after a crash replays up to max_wal_size
STOP_TIMEOUT = timedelta(minutes=1)
ORPHAN_GRACE = timedelta(seconds=15)  # backends watch a pipe to the postmaster: they leave when it dies
POLL = timedelta(milliseconds=20)
LOG_LIMIT = 10 * 1024 * 1024  # bytes; the log is set aside at the next start
PORT = 5432  # only part of the socket's name
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""What any server answers before it knows who is asking (PostgreSQL's protocol, "SSL Session Encryption")."""

# Written to postgresql.conf once, at initdb, for a small machine with two cores; yours to edit afterwards.
TUNING = {
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "60",
    "wal_compression": "off",  # pglz took three quarters of a changed listing's time, for a quarter of its log
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",  # SSD
    "jit": "off",  # compiling costs more than our statements take
    "max_parallel_workers_per_gather": "0",  # a container's 64 MB of /dev/shm fail parallel hash joins
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """One owner's hold on the server of `home`. Blocking calls: in async code use a thread.

    `options` are server settings over ours, given to the server when this owner is the one that starts it.
    """

    def __init__(self, home: Path, *, pg_bin: Path | None = None, options: Mapping[str, str] | None = None) -> None:
        self.bin_dir = binaries.find(pg_bin)
        self.major = binaries.Programs(self.bin_dir).major()
        if self.major < binaries.OLDEST_MAJOR:
            oldest = binaries.OLDEST_MAJOR
            raise SetupError(f"{self.bin_dir} is PostgreSQL {self.major}; {oldest} is the oldest that works")
        self.home = home.expanduser().resolve()
        self._options = dict(options or {})
        self._programs = binaries.Programs(self.bin_dir)
        self._hold: IO[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.home / f"pg{self.major}"

    @property
    def sockets(self) -> Path:
        """The folder of the unix socket: short, for its path must not pass 103 bytes."""
        temporary = Path("/tmp")  # noqa: S108 # whose the folder is gets checked
        base = Path("/run") if os.geteuid() == 0 and Path("/run").is_dir() else temporary
        return base / f"mls-crm-sync-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]}"

    @property
    def dsn(self) -> str:
        return f"postgresql://{ROLE}@/postgres?host={quote(str(self.sockets), safe='')}"

    def start(self) -> str:
        """Return the DSN of a server that accepts connections: one that runs already, or a new one.

        Raises SetupError when the installation is at fault, StoreUnavailable for a server stuck half-way.
        """
        if self._hold is None:
            try:
                self._hold = self._taken()
            except OSError as error:
                mine = "MLS_CRM_SYNC_HOME names a folder of your own"
                reason = (error.strerror or str(error)).lower()
                raise SetupError(f"{reason}: {error.filename}", hint=mine) from error
        return self.dsn

    def stop(self) -> bool:
        """Give up the hold. True when nobody else has one and the server was therefore stopped."""
        if self._hold is None:
            return False
        with self._exclusive(), self._hold as hold:
            self._hold = None
            try:
                fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._shut_down()
            return True

    # The steps of start, under the exclusive lock.

    def _taken(self) -> IO[bytes]:
        account.make_home(self.home)
        with self._exclusive():
            who = account.account_for(self.data)
            if who is not None:
                account.require_way(self.home, who)
            self._programs = binaries.reachable(binaries.Programs(self.bin_dir, who), self.home)
            self._ensure_cluster()
            self._ensure_running()
            hold = _open_lock(self.home / "postgres.users")
            fcntl.flock(hold, fcntl.LOCK_SH)
            return hold

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with _open_lock(self.home / "postgres.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _ensure_cluster(self) -> None:
        if (self.data / "PG_VERSION").exists():
            self._require_major(self.data)
            return
        for other in sorted(self.home.glob("pg[0-9][0-9]")):
            self._require_major(other)
        self._initialise()

    def _require_major(self, data: Path) -> None:
        try:
            major = int((data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return
        if major != self.major:
            raise SetupError(
                f"{data} holds data of PostgreSQL {major}; the programs are PostgreSQL {self.major}",
                hint="carry it over with `mls-crm-sync db backup FILE`, run by the release before this one "
                f"or with MLS_CRM_SYNC_PG_BIN naming the bin folder of a PostgreSQL {major}; "
                f"then `mv {data} {data}.old` and, by this release, `mls-crm-sync db restore FILE`",
            )

    def _initialise(self) -> None:
        """Make the cluster aside and rename it: a process killed in the middle must not leave half of one."""
        for left_over in self.home.glob("initdb-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.home))
        account.give(new, self._programs.account)
        locale = ["--locale=C.UTF-8", "--encoding=UTF8"]
        if self.major >= 17:
            locale.append("--locale-provider=builtin")  # the order of text stays when the machine's libc changes
        access = [f"--username={ROLE}", "--auth-local=trust", "--auth-host=reject"]
        self._require(self._programs.run("initdb", f"--pgdata={new}", *access, *locale), "initdb")
        with (new / "postgresql.conf").open("a") as conf:
            conf.write("\n# mls-crm-sync\n")
            conf.writelines(f"{key} = '{value}'\n" for key, value in TUNING.items())
        new.rename(self.data)

    def _ensure_running(self) -> None:
        if self._is_up():
            if self._socket.exists():
                return
            self._pg_ctl_stop()  # a cleaner of temporary files took the socket: nobody can reach this server
        self._clear_stale()
        account.make_private(self.sockets, self._programs.account)
        self._set_log_aside()
        self._launch()

    def _launch(self) -> None:
        fixed = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
        }
        options = " ".join(f"-c {key}='{value}'" for key, value in (fixed | self._options).items())
        wait = ["-w", "-t", str(int(START_TIMEOUT.total_seconds()))]
        where = ["-D", str(self.data), "-l", str(self._log)]
        said = self._programs.run("pg_ctl", "start", *where, *wait, "-o", options)
        self._require(said, "the embedded PostgreSQL")

    def _require(self, outcome: Outcome, what: str) -> None:
        if outcome.code:
            said = f"{what} did not start:\n{outcome.text}\n{self._log_tail()}".rstrip()
            raise SetupError(said, hint=f"the whole log is {self._log}")

    # What lives, and what is left of what does not.

    def _is_up(self) -> bool:
        """Wait while a server comes or goes. True when one accepts connections, False when none lives."""
        begun = time.monotonic()
        while living := self._residents():
            pid, ready = self._lock_file()
            waited = timedelta(seconds=time.monotonic() - begun)
            if pid in living and ready and not self._hangs_up():
                return True
            if waited > START_TIMEOUT:
                raise StoreUnavailable(f"the embedded PostgreSQL in {self.data} is neither up nor down")
            if pid not in living and waited > ORPHAN_GRACE:
                _kill(living.values())
            time.sleep(POLL.total_seconds())
        return False

    def _hangs_up(self) -> bool:
        """Whether the server turns us away: a killed one is among the living for a moment more. A missing socket is
        the caller's business.
        """
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ORPHAN_GRACE.total_seconds())
            try:
                client.connect(str(self._socket))
                client.sendall(SSL_REQUEST)
                return not client.recv(1)
            except (FileNotFoundError, TimeoutError):
                return False
            except OSError:
                return True

    def _residents(self) -> dict[int, psutil.Process]:
        """Return the live processes of this cluster, by pid: they work in the data folder."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name() in {"postgres", "pg_ctl"} and _is_resident(process, str(self.data)):
                    found[process.pid] = process
        return found

    def _lock_file(self) -> tuple[int | None, bool]:
        """Return the pid that `postmaster.pid` names, and whether it is said to accept connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), len(lines) > 7 and lines[7].strip() == "ready"
        except (OSError, ValueError, IndexError):
            return None, False

    def _clear_stale(self) -> None:
        """Remove the lock file of the dead. PostgreSQL would not start where its pid is somebody else's by
        now.
        """
        before = self._lock_file()
        if self._residents() or self._lock_file() != before:
            return
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _shut_down(self) -> None:
        if self._is_up():
            self._pg_ctl_stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.sockets)

    def _pg_ctl_stop(self) -> None:
        wait = ["-w", "-t", str(int(STOP_TIMEOUT.total_seconds()))]
        said = self._programs.run("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", *wait)
        if said.code and self._residents():
            raise StoreUnavailable(f"the embedded PostgreSQL does not stop: {said.text}")

    # Folders and files.

    @property
    def _socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{PORT}"

    @property
    def _log(self) -> Path:
        return self.data / "log"

    def _set_log_aside(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._log.stat().st_size > LOG_LIMIT:
                self._log.rename(self._log.with_name("log.1"))

    def _log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def _is_resident(process: psutil.Process, data: str) -> bool:
    """Tell whether it works in the data folder, or is about to: before its chdir only argv names it.

    Raises psutil.Error for a zombie, which has neither.
    """
    return process.cwd() == data or data in process.cmdline()


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _open_lock(path: Path) -> IO[bytes]:
    """Open for ourselves alone: whoever may open a file may also hold up everybody who locks it."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+", buffering=0)
