"""What the examples of a test share: an event loop, a database that is emptied between them, the product's normalisers."""  # noqa: E501

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeVar

import structlog

from mls_crm_sync.core.fields import FIELDS, Field, Kind
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Connection, Database, connect
from model.compare import Hashes
from model.pieces import TABLES, TODAY, Table

T = TypeVar("T")


@dataclass
class Bench:
    """What the examples of a test share: a loop, a database that is emptied between them, and what was counted."""

    runner: asyncio.Runner
    db: Database
    conn: Connection
    tables: Sequence[str]  # of the database
    hashes: Hashes = field(default_factory=Hashes)
    operations: int = 0
    seen: Counter[str] = field(default_factory=Counter)  # what the search has come to, so that it can't look at nothing
    found_at: int | None = None  # the operation after which model and database differed for the first time
    normalisers: Mapping[str, Normaliser] = field(
        default_factory=lambda: {n: normaliser_of(t) for n, t in TABLES.items()}
    )

    def run(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            return await work

        return self.runner.run(main())

    def empty(self) -> None:
        self.run(self.conn.execute(f"TRUNCATE {', '.join(self.tables)} RESTART IDENTITY CASCADE"))


@contextlib.contextmanager
def a_bench(dsn: str) -> Iterator[Bench]:
    with asyncio.Runner() as runner, _silence():
        opened = Database.open(dsn, max_size=3, allow_unsafe=True)
        db, conn = runner.run(opened.__aenter__()), runner.run(connect(dsn))
        try:
            names = runner.run(conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
            yield Bench(runner, db, conn, [n["tablename"] for n in names if n["tablename"] != "schema_migrations"])
        finally:
            runner.run(conn.close())
            runner.run(opened.__aexit__(None, None, None))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """A hundred thousand runs have nothing to say that a failure would need."""

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop])
    try:
        yield
    finally:
        structlog.configure(**before)


def normaliser_of(table: Table) -> Normaliser:
    """The product's normaliser of a table of the model: today's field table with the differences."""
    fields = [_field(known, table) for known in FIELDS if known.name not in TODAY.kinds or table.known(known.name)]
    names = {f.name for f in FIELDS}
    fields += [Field(n, Kind(kind), "local", n) for n, kind in table.kinds.items() if n not in names]
    return Normaliser(fields)


def _field(known: Field, table: Table) -> Field:
    name = known.name
    if name not in table.kinds or known.volatile:
        return known
    if table.volatile(name):
        return replace(known, hashed=False, synced=False, volatile=True)
    return replace(known, kind=Kind(table.kinds[name]), synced=name not in table.unsynced)
