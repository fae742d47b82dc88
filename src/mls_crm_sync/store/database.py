"""Connections to PostgreSQL by asyncpg: the pool, transactions that are repeated, and what its errors mean.

Here, and nowhere else, an error of the driver becomes one of ours: `StoreUnavailable` for a database that is
away, full or busy, `SetupError` for one that a person has to mend first. Every other error passes unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import orjson
import structlog

from mls_crm_sync.core.errors import InvalidInput, SetupError, StoreUnavailable
from mls_crm_sync.store.binaries import OLDEST_MAJOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    # A connection, whether it is of a pool or not: what functions of the store take first.
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

Row: TypeAlias = asyncpg.Record
"""A row as a query gives it: by name, `keys()`, `items()`; made for readers, where a dataclass would only copy it."""

T = TypeVar("T")
log = structlog.get_logger()

RETRIES = 5
FIRST_PAUSE = timedelta(milliseconds=10)  # doubled with each retry, and halved at random
CONNECT_TIMEOUT = timedelta(seconds=10)
SECONDS_KEPT = 5
"""Connections of a pool that only those get who hold one already; half of a small pool."""
ACQUIRE_TIMEOUT = timedelta(seconds=30)
SESSION = {"application_name": "mls-crm-sync", "timezone": "UTC"}

_REPEATABLE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.OperatorInterventionError,  # shut down, crashed, starting up, statement cancelled
    asyncpg.ReadOnlySQLTransactionError,  # a replica, after a fail-over
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,  # what the driver rarely makes of a connection that breaks: "cannot switch to state"
    ConnectionError,
    *_REPEATABLE,
)
_MISCONFIGURED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_UNSTORABLE = (
    asyncpg.CharacterNotInRepertoireError,  # NUL in text
    asyncpg.UntranslatableCharacterError,  # NUL in JSON
    asyncpg.exceptions.DataError,  # what the driver cannot encode: a lone surrogate, a number out of range
)
# asyncpg reports a connection that died while idle by the class it also uses for wrong calls.
_CLOSED = ("connection is closed", "connection was closed", "pool is closed", "pool is closing")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver says about a database that is away, full, busy or not ours into our own errors."""
    try:
        yield
    except _MISCONFIGURED as error:
        raise SetupError(f"the database refuses us: {error}", hint="look at DATABASE_URL") from error
    except asyncpg.InsufficientPrivilegeError as error:
        hint = "its owner can say: GRANT CREATE ON SCHEMA public TO the user of DATABASE_URL"
        raise SetupError(f"the database refuses us: {error}", hint=hint) from error
    except _UNSTORABLE as error:
        raise InvalidInput("a value", f"cannot be stored: {error}") from error
    except _AWAY as error:
        raise StoreUnavailable(_reason(error)) from error
    except asyncpg.InterfaceError as error:
        if any(words in str(error) for words in _CLOSED) or _came_of_a_loss(error):
            raise StoreUnavailable(_reason(error)) from error
        raise


def _came_of_a_loss(error: BaseException) -> bool:
    """Whether a connection was lost first: giving it back to the pool then fails once more, in other words."""
    before = error.__context__
    return before is not None and (isinstance(before, _AWAY) or _came_of_a_loss(before))


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    """Also translate what only a connection attempt may mean that way: no socket, no such host, no answer."""
    with translated():
        try:
            yield
        except (OSError, TimeoutError) as error:
            raise StoreUnavailable(_reason(error)) from error
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise SetupError(f"the address of the database: {error}", hint="look at DATABASE_URL") from error


def _is_lost(conn: Connection) -> bool:
    """Whether a connection that is still lent has broken: the driver took it back by itself."""
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:
        return True


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__


async def connect(dsn: str) -> Connection:
    """Open one connection of its own, set up like the pool's; the caller closes it."""
    with _connecting():
        conn = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT.total_seconds(), server_settings=SESSION)
        await _set_up(conn)
        return conn


async def _set_up(conn: Connection) -> None:
    """Let jsonb be Python values in both directions, in binary: a version byte, then the text. Text that is read as
    json comes as a Python value, too.
    """
    await conn.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )
    await conn.set_type_codec("json", schema="pg_catalog", format="binary", encoder=orjson.dumps, decoder=orjson.loads)


async def _leave(conn: Connection) -> None:
    """Reset nothing; the driver itself ends what may be left of a transaction."""


def _encode_jsonb(value: object) -> bytes:
    return b"\x01" + orjson.dumps(value)


def json_text(value: object) -> str | None:
    """A value as JSON text for a text[] that the query casts; None is SQL's null.

    The driver takes a list in a jsonb[] for another dimension of the array, so what may be a list goes as text.
    """
    return None if value is None else orjson.dumps(value).decode()


def like(text: str | None) -> str | None:
    """The ILIKE pattern that finds a text as it stands anywhere; None finds everything."""
    return None if text is None else "%" + re.sub(r"([%_\\])", r"\\\1", text) + "%"


def _decode_jsonb(data: bytes) -> Any:  # noqa: ANN401 # any JSON value
    return orjson.loads(data[1:])


async def now(conn: Connection) -> datetime:
    """Return what the database's clock says, UTC: the one clock that all processes share."""
    at: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return at


async def check_server(conn: Connection, *, allow_unsafe: bool = False) -> None:
    """Raise SetupError for a server that is too old, not UTF-8, or may lose what it said was committed.

    With `allow_unsafe` the last is logged instead.
    """
    version, encoding, fsync, synchronous = await conn.fetchrow(  # type: ignore[misc] # one row, always
        "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),"
        " current_setting('fsync'), current_setting('synchronous_commit')"
    )
    if version < OLDEST_MAJOR:
        raise SetupError(f"the server is PostgreSQL {version}; {OLDEST_MAJOR} is the oldest that works")
    if encoding != "UTF8":
        raise SetupError(f"the database's encoding is {encoding}, it must be UTF8")
    off = [name for name, value in (("fsync", fsync), ("synchronous_commit", synchronous)) if value == "off"]
    if off and not allow_unsafe:
        raise SetupError(
            f"{' and '.join(off)} of the database is off: a crash would lose committed data",
            hint="switch it on, or say MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE=1 for a throw-away database",
        )
    if off:
        log.warning("unsafe_database", off=off)


class Database:
    """A pool of connections. Open it with `Database.open`.

    A run keeps one connection for its life and takes others beside it. Were all lent as first ones, ten pushes at once
    would each wait for a second that none of them gives back: so some are kept for those who hold one already.
    Writers wait for each other's locks. Were all connections lent to writers, readers would wait with them: so only a
    third of them is, and the other writers wait here, where it costs nobody anything.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        most = pool.get_max_size()
        self._first = asyncio.Semaphore(most - min(SECONDS_KEPT, most // 2))
        self._writers = asyncio.Semaphore(max(1, most // 3))
        self._holds: ContextVar[bool] = ContextVar("holds", default=False)  # a connection; known to tasks begun since

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        dsn: str,
        *,
        max_size: int = 10,
        allow_unsafe: bool = False,
        statement_timeout: timedelta = timedelta(0),
        idle_timeout: timedelta = timedelta(0),
    ) -> AsyncIterator[Database]:
        """Open a pool on a server that passes `check_server`; close it at the end. Migrates nothing.

        A statement that takes longer than `statement_timeout` is cancelled, a transaction in which nothing is asked for
        longer than `idle_timeout` is rolled back with its session; zero means never. No session is reset when
        it comes back, which would be half of a reader's way to the database: whoever leaves something in one, as a run
        its lock, takes it out again.
        """
        limits = {"statement_timeout": statement_timeout, "idle_in_transaction_session_timeout": idle_timeout}
        timeouts = {name: str(int(limit.total_seconds() * 1000)) for name, limit in limits.items()}
        with _connecting():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=0,  # one that the driver opens by itself fails with a traceback when the server is away
                max_size=max_size,
                init=_set_up,
                reset=_leave,
                server_settings=SESSION | timeouts,
                timeout=CONNECT_TIMEOUT.total_seconds(),
            )
        try:
            database = cls(pool)
            async with database.connection() as conn:
                await check_server(conn, allow_unsafe=allow_unsafe)
            yield database
        finally:
            await _close(pool)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection without a transaction: each statement commits by itself."""
        async with self._lent() as conn:
            yield conn

    @contextlib.asynccontextmanager
    async def _lent(self, *, writes: bool = False) -> AsyncIterator[Connection]:
        with translated():
            is_first = not self._holds.get()
            turns = ((self._writers, self._first) if writes else (self._first,)) if is_first else ()
            conn = await self._borrowed(turns)
            self._holds.set(True)
            try:
                yield conn
            except asyncpg.InterfaceError as error:
                if _is_lost(conn):
                    raise StoreUnavailable(_reason(error)) from error
                raise
            finally:
                if is_first:
                    self._holds.set(False)
                try:
                    await self._pool.release(conn)
                finally:
                    for turn in turns:
                        turn.release()

    async def _borrowed(self, turns: Sequence[asyncio.Semaphore]) -> PoolConnectionProxy[asyncpg.Record]:
        """Wait until a connection may be lent, and take it. Who holds one already has no turn to wait for, or both
        would wait.
        """
        taken: list[asyncio.Semaphore] = []
        try:
            with _connecting():
                async with asyncio.timeout(ACQUIRE_TIMEOUT.total_seconds()):
                    for turn in turns:
                        await turn.acquire()
                        taken.append(turn)
                    return await self._pool.acquire()
        except BaseException:
            for turn in taken:
                turn.release()
            raise

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a READ COMMITTED transaction: an exception rolls it back.

        StoreUnavailable out of the commit itself leaves open whether it happened.
        """
        async with self._lent(writes=True) as conn, conn.transaction():
            yield conn

    async def retrying(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction and return what it returns; after a deadlock or a serialization failure
        run it again from its beginning, at most five times. All it did in the database is gone by then.
        """
        for retry in range(RETRIES):
            try:
                async with self.transaction() as conn:
                    return await work(conn)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, _REPEATABLE):
                    raise
                log.info("transaction_repeated", retry=retry + 1, reason=type(error.__cause__).__name__)
            await asyncio.sleep(_pause(retry))
        async with self.transaction() as conn:
            return await work(conn)


def _pause(retry: int) -> float:
    """Return seconds: random, so that two transactions that met once do not meet again."""
    longest: float = FIRST_PAUSE.total_seconds() * 2**retry
    return random.uniform(longest / 2, longest)  # noqa: S311 # jitter, no secret


async def _close(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Close in good order, or after five seconds without."""
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except TimeoutError:
        pool.terminate()
