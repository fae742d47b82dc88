"""Connections: what goes over them, what happens when they break, and what is tried again."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from mls_crm_sync.core.errors import SetupError, StoreUnavailable
from mls_crm_sync.store import database
from mls_crm_sync.store.database import Database, check_server, connect
from mls_crm_sync.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server
    from mls_crm_sync.store.database import Connection

COUNT = "SELECT count(*) FROM numbers"


@pytest.fixture
async def numbers(db: Database) -> Database:
    async with db.connection() as conn:
        await conn.execute("CREATE TABLE numbers (number int PRIMARY KEY, times int NOT NULL DEFAULT 0)")
        await conn.execute("INSERT INTO numbers VALUES (1), (2)")
    return db


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "FIRST_PAUSE", timedelta(0))


def raising(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '{state}'; END $$"


async def count(db: Database) -> int:
    async with db.connection() as conn:
        number: int = await conn.fetchval(COUNT)
        return number


async def test_jsonb_is_python_values_in_both_directions(conn: Connection) -> None:
    value = {"ListPrice": "1650000", "Rooms": [1, 2.5, None, True], "Remarks": 'naïve "é" \\ 漢'}

    assert await conn.fetchval("SELECT $1::jsonb", value) == value
    assert await conn.fetchval("SELECT $1::jsonb ->> 'Remarks'", value) == value["Remarks"]
    assert await conn.fetchval("SELECT $1::jsonb[]", [value, None, "text"]) == [value, None, "text"]


async def test_json_null_and_sql_null_stay_apart(conn: Connection) -> None:
    assert await conn.fetchval("SELECT jsonb_build_array($1::jsonb) = '[null]'::jsonb", None)
    assert await conn.fetchval("SELECT $1::jsonb IS NULL", None)
    assert await conn.fetchval("SELECT 'null'::jsonb") is None


async def test_sessions_are_in_utc_and_carry_our_name(conn: Connection) -> None:
    assert await conn.fetchval("SHOW timezone") == "UTC"
    assert await conn.fetchval("SHOW application_name") == "mls-crm-sync"
    now: datetime = await conn.fetchval("SELECT now()")
    assert now.utcoffset() == timedelta(0)


async def test_transaction_commits_at_its_end(numbers: Database) -> None:
    async with numbers.transaction() as conn:
        await conn.execute("INSERT INTO numbers VALUES (3)")

    assert await count(numbers) == 3


async def test_exception_rolls_the_transaction_back_and_passes_unchanged(numbers: Database) -> None:
    async def work(conn: Connection) -> None:
        await conn.execute("INSERT INTO numbers VALUES (3)")
        raise FileNotFoundError("a file, no socket")

    with pytest.raises(FileNotFoundError, match="a file, no socket"):
        await numbers.retrying(work)

    assert await count(numbers) == 2


async def test_broken_rule_of_the_database_passes_unchanged(numbers: Database) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        async with numbers.transaction() as conn:
            await conn.execute("INSERT INTO numbers VALUES (1)")


async def test_wrong_call_of_the_driver_is_not_taken_for_an_outage(db: Database) -> None:
    async with db.connection() as conn:
        released = conn

    with pytest.raises(asyncpg.InterfaceError, match="released back"), database.translated():
        await released.fetchval("SELECT 1")


def test_connection_that_was_lost_and_then_cannot_be_given_back_is_a_database_that_is_away() -> None:
    """The pool resets what it gets back: what the driver says to that stands in front of what really happened."""

    def use_and_give_back() -> None:
        try:
            raise asyncpg.InternalClientError("cannot switch to state 21; another operation (2) is in progress")
        finally:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")

    with pytest.raises(StoreUnavailable), database.translated():
        use_and_give_back()
    with pytest.raises(asyncpg.InterfaceError), database.translated():
        raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")


async def test_deadlock_is_repeated_until_both_are_done(numbers: Database) -> None:
    met = asyncio.Barrier(2)
    starts = []

    async def both_rows(conn: Connection, first: int, second: int) -> None:
        starts.append(first)
        await conn.execute("SET LOCAL deadlock_timeout = '20ms'")
        await conn.execute("UPDATE numbers SET times = times + 1 WHERE number = $1", first)
        if len(starts) <= 2:
            await met.wait()
        await conn.execute("UPDATE numbers SET times = times + 1 WHERE number = $1", second)

    await asyncio.gather(
        numbers.retrying(lambda conn: both_rows(conn, 1, 2)),
        numbers.retrying(lambda conn: both_rows(conn, 2, 1)),
    )

    assert len(starts) == 3
    async with numbers.connection() as conn:
        assert [row["times"] for row in await conn.fetch("SELECT times FROM numbers")] == [2, 2]


@pytest.mark.usefixtures("_no_pause")
async def test_serialization_failure_is_repeated_as_a_whole_transaction(numbers: Database) -> None:
    attempts = 0

    async def third_time_lucky(conn: Connection) -> str:
        nonlocal attempts
        attempts += 1
        await conn.execute("INSERT INTO numbers VALUES (3)")
        if attempts < 3:
            await conn.execute(raising("40001"))
        return "done"

    assert await numbers.retrying(third_time_lucky) == "done"
    assert attempts == 3
    assert await count(numbers) == 3


@pytest.mark.usefixtures("_no_pause")
async def test_five_repetitions_are_the_most(numbers: Database) -> None:
    attempts = 0

    async def never_lucky(conn: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await conn.execute(raising("40P01"))

    with pytest.raises(StoreUnavailable, match="made up"):
        await numbers.retrying(never_lucky)
    assert attempts == 6


@pytest.mark.parametrize("state", ["53100", "53300", "08006"])
async def test_other_failures_are_not_repeated(numbers: Database, state: str) -> None:
    attempts = 0

    async def work(conn: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await conn.execute(raising(state))

    with pytest.raises(StoreUnavailable):
        await numbers.retrying(work)
    assert attempts == 1


def test_pauses_grow_and_differ() -> None:
    shortest, longest = ([database._pause(retry) for _ in range(50)] for retry in (0, 4))

    assert len(set(longest)) > 1
    assert 0.005 <= min(shortest) <= max(shortest) <= 0.010
    assert 0.080 <= min(longest) <= max(longest) <= 0.160


async def test_connection_that_is_cut_off_is_an_outage_and_the_next_one_works(numbers: Database) -> None:
    async def cut_off(conn: Connection) -> None:
        await conn.execute("INSERT INTO numbers VALUES (3)")
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreUnavailable):
        await numbers.retrying(cut_off)
    assert await count(numbers) == 2


async def test_connection_that_died_while_idle_is_an_outage(numbers: Database) -> None:
    async def killed_from_outside(conn: Connection) -> None:
        async with numbers.connection() as other:
            await other.execute("SELECT pg_terminate_backend($1, 1000)", conn.get_server_pid())
        await asyncio.sleep(0.1)
        await conn.execute("INSERT INTO numbers VALUES (3)")

    with pytest.raises(StoreUnavailable):
        await numbers.retrying(killed_from_outside)
    assert await count(numbers) == 2


@pytest.mark.parametrize("how", ["a statement", "a transaction"])
async def test_connection_that_died_while_lent_is_an_outage(numbers: Database, how: str) -> None:
    async def idle_and_killed(conn: Connection) -> None:
        async with numbers.connection() as other:
            await other.execute("SELECT pg_terminate_backend($1, 1000)", conn.get_server_pid())
        await asyncio.sleep(0.1)
        async with conn.transaction() if how == "a transaction" else contextlib.nullcontext():
            await conn.execute("INSERT INTO numbers VALUES (3)")

    with pytest.raises(StoreUnavailable):
        async with numbers.connection() as conn:
            await idle_and_killed(conn)
    assert await count(numbers) == 2


async def test_pool_comes_back_after_a_restart_of_the_server(home: Path, pg_bin: Path | None) -> None:
    postgres = EmbeddedPostgres(home, pg_bin=pg_bin)
    async with Database.open(postgres.start()) as db:
        postgres.stop()
        with pytest.raises(StoreUnavailable):
            await db.retrying(lambda conn: conn.fetchval("SELECT 1"))
        postgres.start()

        assert await db.retrying(lambda conn: conn.fetchval("SELECT 1")) == 1
    postgres.stop()


async def test_exhausted_pool_is_an_outage(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT", timedelta(milliseconds=50))
    async with Database.open(database_dsn, max_size=1, allow_unsafe=True) as db, db.connection():
        with pytest.raises(StoreUnavailable):
            async with db.connection():
                pass


async def test_writer_who_was_not_lent_a_connection_leaves_its_turn_to_the_next(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT", timedelta(milliseconds=50))
    all_read, may_end = asyncio.Barrier(3), asyncio.Event()
    async with Database.open(database_dsn, max_size=3, allow_unsafe=True) as db:  # two first ones, one writer's turn

        async def reads() -> None:
            async with db.connection():
                await all_read.wait()
                await may_end.wait()

        async def writes() -> None:
            async with db.transaction():
                pass

        async with asyncio.TaskGroup() as readers:
            for _ in range(2):
                readers.create_task(reads())
            await all_read.wait()
            with pytest.raises(StoreUnavailable):
                await writes()
            may_end.set()
        await writes()


async def test_no_server_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await connect(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(StoreUnavailable):
        async with Database.open("postgresql://nobody@127.0.0.1:1/nothing"):
            pass


async def test_unknown_database_is_a_matter_of_setup(server: Server) -> None:
    with pytest.raises(SetupError, match="does not exist") as refused:
        await connect(server.dsn_of("missing"))
    assert refused.value.hint == "look at DATABASE_URL"


@pytest.mark.parametrize("off", ["fsync", "synchronous_commit"])
async def test_server_that_may_lose_committed_data_is_refused(
    database_dsn: str, off: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SetupError, match=off) as refused:
        async with Database.open(database_dsn):
            pass
    assert "MLS_CRM_SYNC_ALLOW_UNSAFE_DATABASE=1" in str(refused.value.hint)
    async with Database.open(database_dsn, allow_unsafe=True):
        assert "unsafe_database" in "".join(capsys.readouterr())


async def test_server_that_is_too_old_is_refused(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OLDEST_MAJOR", 99)

    with pytest.raises(SetupError, match="99 is the oldest that works"):
        await check_server(conn, allow_unsafe=True)


async def test_database_in_another_encoding_is_refused(server: Server) -> None:
    server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'" + server.libc)
    try:
        conn = await connect(server.dsn_of("latin"))
        with pytest.raises(SetupError, match="must be UTF8"):
            await check_server(conn, allow_unsafe=True)
        await conn.close()
    finally:
        server.execute("DROP DATABASE latin WITH (FORCE)")
