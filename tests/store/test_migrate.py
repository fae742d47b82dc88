"""Migrations: each once, whole, in order, and never over a database that has another history."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import asyncpg
import pytest

from mls_crm_sync.core.errors import SetupError
from mls_crm_sync.store import migrate
from mls_crm_sync.store.database import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mls_crm_sync.store.database import Connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two migrations that belong together."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int); INSERT INTO first VALUES (1);")
    (tmp_path / "0002_second.sql").write_text("ALTER TABLE first ADD name text DEFAULT 'x; -- y';")
    (tmp_path / "notes.txt").write_text("no migration")
    return tmp_path


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[Connection]:
    """Return a connection to an empty database."""
    conn = await connect(empty_dsn)
    yield conn
    conn.terminate()


async def tables(conn: Connection) -> list[str]:
    rows = await conn.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY relname")
    return [row["relname"] for row in rows]


async def test_files_are_applied_in_order_and_only_once(empty: Connection, folder: Path) -> None:
    assert await migrate.migrate(empty, folder=folder) == ["0001_first", "0002_second"]
    assert await migrate.migrate(empty, folder=folder) == []

    assert await empty.fetchval("SELECT name FROM first") == "x; -- y"


async def test_new_file_is_applied_to_a_database_that_has_the_others(empty: Connection, folder: Path) -> None:
    await migrate.migrate(empty, folder=folder)
    (folder / "0003_third.sql").write_text("CREATE TABLE third ()")

    assert await migrate.migrate(empty, folder=folder) == ["0003_third"]


async def test_failing_file_leaves_nothing_of_itself_and_all_before_it(empty: Connection, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("CREATE TABLE third (); SELECT nonsense;")

    with pytest.raises(SetupError, match="0003_third failed, nothing of it was applied"):
        await migrate.migrate(empty, folder=folder)
    assert await tables(empty) == ["first", "schema_migrations"]
    (folder / "0003_third.sql").write_text("CREATE TABLE third ()")
    assert await migrate.migrate(empty, folder=folder) == ["0003_third"]


async def test_edited_file_is_refused_and_nothing_is_applied(empty: Connection, folder: Path) -> None:
    await migrate.migrate(empty, folder=folder)
    (folder / "0001_first.sql").write_text("CREATE TABLE first (id bigint)")
    (folder / "0003_third.sql").write_text("CREATE TABLE third ()")

    with pytest.raises(SetupError, match="0001_first was edited"):
        await migrate.migrate(empty, folder=folder)
    assert "third" not in await tables(empty)


async def test_newer_database_is_refused_and_nothing_is_applied(empty: Connection, folder: Path) -> None:
    await migrate.migrate(empty, folder=folder)
    (folder / "0002_second.sql").unlink()
    (folder / "0003_third.sql").write_text("CREATE TABLE third ()")

    with pytest.raises(SetupError, match="newer than this mls-crm-sync: it has 0002_second"):
        await migrate.migrate(empty, folder=folder)
    with pytest.raises(SetupError, match="newer"):
        await migrate.check(empty, folder=folder)
    assert "third" not in await tables(empty)


async def test_many_at_once_apply_each_file_once(empty_dsn: str, folder: Path) -> None:
    (folder / "0001_first.sql").write_text("SELECT pg_sleep(0.2); CREATE TABLE first (id int)")
    conns = await asyncio.gather(*(connect(empty_dsn) for _ in range(4)))

    done = await asyncio.gather(*(migrate.migrate(conn, folder=folder) for conn in conns))

    assert sorted(name for names in done for name in names) == ["0001_first", "0002_second"]
    await asyncio.gather(*(conn.close() for conn in conns))


async def test_migrator_that_died_holds_nobody_up(empty: Connection, empty_dsn: str, folder: Path) -> None:
    dead = await connect(empty_dsn)
    await dead.execute("BEGIN")
    await dead.execute("SELECT pg_advisory_xact_lock($1)", migrate.LOCK)
    dead.terminate()

    async with asyncio.timeout(10):
        assert await migrate.migrate(empty, folder=folder) == ["0001_first", "0002_second"]


async def test_check_names_what_is_missing_and_the_command(empty: Connection, folder: Path) -> None:
    with pytest.raises(SetupError, match="lacks 0001_first, 0002_second") as refused:
        await migrate.check(empty, folder=folder)
    assert refused.value.hint == "run `mls-crm-sync db migrate`"

    await migrate.migrate(empty, folder=folder)
    await migrate.check(empty, folder=folder)


async def test_outage_in_a_migration_is_not_blamed_on_its_file(empty: Connection, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await migrate.migrate(empty, folder=folder)


async def test_shipped_migrations_fit_an_empty_database(empty: Connection) -> None:
    assert await migrate.migrate(empty) == [one.name for one in migrate.migrations()]
    await migrate.check(empty)


async def test_facts_that_were_jsonb_are_kept(empty: Connection, tmp_path: Path) -> None:
    for path in sorted(migrate.FOLDER.glob("000[123]_*.sql")):
        shutil.copy(path, tmp_path)
    await migrate.migrate(empty, folder=tmp_path)
    await empty.execute(
        "INSERT INTO mls_properties (property_id, source, source_key, fields, first_seen_at, last_changed_at)"
        """ VALUES ('p', 's', 'k', '{"City": "Cañon", "ListPrice": "5", "ListingId": "7"}', now(), now())"""
    )

    await migrate.migrate(empty)

    row = await empty.fetchrow("SELECT fields::json, city, listing_id, postal_code FROM mls_properties")
    assert row is not None
    facts = {"City": "Cañon", "ListPrice": "5", "ListingId": "7"}
    assert tuple(row) == (facts, "Cañon", "7", None)


async def test_kept_answers_that_show_a_key_lose_it_and_the_others_stay(empty: Connection, tmp_path: Path) -> None:
    for path in sorted(migrate.FOLDER.glob("000[1-5]_*.sql")):
        shutil.copy(path, tmp_path)
    await migrate.migrate(empty, folder=tmp_path)
    await empty.execute(
        """INSERT INTO kept_answers (caller, key, fingerprint, status, headers, body) VALUES
           ('c', 'a key was made', '', 201, '{"content-type": "application/json"}', 'secret'),
           ('c', 'a property was made', '', 201, '{"etag": "1"}', 'kept'),
           ('c', 'a link was made', '', 200, '{}', 'kept'),
           ('c', 'under way', '', NULL, NULL, NULL)"""
    )

    await migrate.migrate(empty)

    rows = await empty.fetch("SELECT key, status, body FROM kept_answers ORDER BY key")
    assert [tuple(row) for row in rows] == [
        ("a key was made", 201, None), ("a link was made", 200, b"kept"), ("a property was made", 201, b"kept"),
        ("under way", None, None),
    ]  # fmt: skip


async def test_shipped_migrations_are_numbered_without_gap_or_repeat() -> None:
    numbers = [int(one.name.split("_")[0]) for one in migrate.migrations()]

    assert numbers == list(range(1, len(numbers) + 1))
