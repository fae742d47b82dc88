"""Real PostgreSQL for every test that asks for one: the embedded 18 and, where it is installed, Debian's.

    conn           a connection to a database of the test's own, migrated
    db             a `Database` on it
    database_dsn   its address; for tests that start processes
    empty_dsn      address of an empty database, not migrated
    server         the server itself, and `both_servers` for what goes from one to the other
    server_number  one of them, for what takes too long to be done on each
    pg_bin         the programs of each, for tests that start servers of their own below `home`

Each such test runs once per server; one that is marked `one_server` on one of them, always the same. The servers are
started by our own launcher, shared by all workers of pytest-xdist, and gone at the end. `shared` is the folder of real
deliveries beside the checkout.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4
from zlib import crc32

import asyncpg
import psutil
import pytest

from mls_crm_sync.store.database import Connection, Database, connect
from mls_crm_sync.store.embedded import EmbeddedPostgres
from mls_crm_sync.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
DEBIAN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
RUN = pytest.StashKey[Path]()

# A test's data need not survive a crash of the machine; the product's own server keeps both on.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "max_wal_size": "512MB",
}
ROOM = 3 * 1024**3  # bytes for two servers, their logs and the largest tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg",
        choices=["embedded", "debian", "all"],
        help="which PostgreSQL the tests run on; default: all that are installed, in CI all",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all workers share; the controller hands its path down."""
    handed_down = getattr(config, "workerinput", {}).get("run")
    config.stash[RUN] = Path(handed_down) if handed_down else _new_run_folder()


def _new_run_folder() -> Path:
    """Make it in memory where there is room: a test's own database costs 15 ms there, up to 400 on a disk."""
    memory = Path("/dev/shm")  # noqa: S108 # mkdtemp makes the name
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    folder = Path(tempfile.mkdtemp(prefix="mls-crm-sync-tests-", dir=memory if roomy else None))
    folder.chmod(0o711)  # root's servers run under an account that has to pass through
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["run"] = str(node.config.stash[RUN])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[RUN], ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = _servers(metafunc.config)
    if metafunc.definition.get_closest_marker("one_server"):
        names = [names[crc32(metafunc.definition.nodeid.encode()) % len(names)]]
    for fixture in {"server", "pg_bin"} & set(metafunc.fixturenames):
        metafunc.parametrize(fixture, names, indirect=True, scope="session")


def _servers(config: pytest.Config) -> list[str]:
    asked = config.getoption("--pg")
    if asked is None:
        return ["embedded", "debian"] if DEBIAN or IN_CI else ["embedded"]
    return ["embedded", "debian"] if asked == "all" else [asked]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("shared") and not SHARED.is_dir():
        reason = f"the real deliveries are not there: {SHARED}"
        if IN_CI:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real deliveries; the test is skipped where there is none, and fails in CI."""
    return SHARED


class Server:
    """One PostgreSQL of the test run, with a loop in a thread for what has to be done between tests."""

    def __init__(self, name: str, run: Path) -> None:
        self.name = name
        self.postgres = EmbeddedPostgres(run / name, pg_bin=_bin_of(name), options=FAST)
        self.dsn = self.postgres.start()
        self.bin_dir = self.postgres.bin_dir
        self.major = self.postgres.major
        self.libc = " LOCALE_PROVIDER libc"  # for databases with a locale of their own
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._admin: Connection = self._wait(connect(self.dsn))
        self._numbers = itertools.count()
        self._make_template(run / f"{name}.template")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=120)

    def execute(self, sql: str) -> None:
        """Run one statement in the server's own database, as superuser."""
        self._wait(self._admin.execute(sql))

    def dsn_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    def _make_template(self, made: Path) -> None:
        with made.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                self.execute("DROP DATABASE IF EXISTS migrated")
                self.execute("CREATE DATABASE migrated")
                self._wait(_migrate(self.dsn_of("migrated")))
                made.touch()

    @contextlib.contextmanager
    def database(self, *, template: str = "migrated") -> Iterator[str]:
        """Lend the address of a new database; it is dropped at the end, whoever is still connected."""
        name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(self._numbers)}_{uuid4().hex[:8]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.dsn_of(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self._wait(self._admin.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.postgres.stop()


async def _migrate(dsn: str) -> None:
    conn = await connect(dsn)
    try:
        await migrate(conn)
    finally:
        await conn.close()


def _bin_of(name: str) -> Path | None:
    if name == "embedded":
        return None
    if DEBIAN is None:
        pytest.fail("Debian's PostgreSQL is not installed: apt-get install postgresql", pytrace=False)
    return DEBIAN


@pytest.fixture(scope="session")
def _started() -> Iterator[dict[str, Server]]:
    """Keep both servers for the whole session, whatever order the tests come in."""
    started: dict[str, Server] = {}
    yield started
    for one in started.values():
        one.close()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, _started: dict[str, Server]) -> Server:
    name: str = request.param
    if name not in _started:
        _started[name] = Server(name, request.config.stash[RUN])
    return _started[name]


@pytest.fixture(scope="session")
def server_number(request: pytest.FixtureRequest, _started: dict[str, Server]) -> Callable[[int], Server]:
    """Return one of the servers that are asked for; numbers beyond their count begin again. For what takes long."""
    names = _servers(request.config)

    def numbered(number: int) -> Server:
        name = names[number % len(names)]
        if name not in _started:
            _started[name] = Server(name, request.config.stash[RUN])
        return _started[name]

    return numbered


@pytest.fixture(scope="session")
def both_servers(request: pytest.FixtureRequest, _started: dict[str, Server]) -> dict[str, Server]:
    """Return the servers by name. The test is skipped where only one of them is asked for or installed."""
    names = _servers(request.config)
    if len(names) < 2:
        pytest.skip(f"goes from one PostgreSQL to another; here is only {names[0]}")
    for name in names:
        if name not in _started:
            _started[name] = Server(name, request.config.stash[RUN])
    return _started


@pytest.fixture(scope="session")
def pg_bin(request: pytest.FixtureRequest) -> Path | None:
    return _bin_of(request.param)


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a path for an embedded server of the test's own. Whatever is left of the server is stopped."""
    folder = request.config.stash[RUN] / f"home-{uuid4().hex[:12]}"
    yield folder
    for data in folder.glob("pg[0-9][0-9]"):
        _stop_server_in(data)
        sockets = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
        for base in (Path("/run"), Path("/tmp")):  # noqa: S108 # where the launcher puts them
            shutil.rmtree(base / f"mls-crm-sync-{sockets}", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _stop_server_in(data: Path) -> None:
    """End it in order where it can be: a killed postmaster leaves shared memory to the next one."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        postmaster = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        if postmaster.cwd() == str(data):
            postmaster.send_signal(signal.SIGINT)
            postmaster.wait(10)


@pytest.fixture
def database_dsn(server: Server) -> Iterator[str]:
    with server.database() as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(server: Server) -> Iterator[str]:
    with server.database(template="template0") as dsn:
        yield dsn


@pytest.fixture
async def conn(database_dsn: str) -> AsyncIterator[Connection]:
    connection = await connect(database_dsn)
    yield connection
    with contextlib.suppress(asyncpg.InterfaceError):
        await connection.close(timeout=5)


@pytest.fixture
async def db(database_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(database_dsn, allow_unsafe=True) as database:
        yield database
