"""The sources that somebody has set up; a secret is here as it was sealed, and can be opened by nobody here.

Rows: name, kind, settings (an object), sealed_secret (bytes or None), is_default, limits (an object or None),
request_delay (seconds or None), made_at, changed_at, open_until (UTC; until when its breaker leaves it alone, or None),
stopped_at (UTC; when it refused us, and is not asked any more, or None).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mls_crm_sync.core.errors import SourceExists, SourceNotFound

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)


async def lock(conn: Connection) -> None:
    """Keep others from changing sources until the transaction ends; readers go on."""
    await conn.execute(_SQL["lock"])


class Setup(NamedTuple):
    """What somebody says of a source."""

    settings: Mapping[str, Any]
    sealed_secret: bytes | None
    is_default: bool
    limits: Mapping[str, int] | None
    request_delay: float | None


async def insert(conn: Connection, name: str, kind: str, setup: Setup) -> None:
    """Raises SourceExists."""
    if setup.is_default:
        await conn.execute(_SQL["no_default"], name)
    if await conn.fetchval(_SQL["insert"], name, kind, *setup) is None:
        raise SourceExists(name)


async def update(conn: Connection, name: str, setup: Setup) -> None:
    if setup.is_default:
        await conn.execute(_SQL["no_default"], name)
    await conn.execute(_SQL["update"], name, *setup)


async def delete(conn: Connection, name: str) -> None:
    """Raises SourceNotFound."""
    if await conn.fetchval(_SQL["delete"], name) is None:
        raise SourceNotFound(name)


async def every(conn: Connection) -> list[Row]:
    """Return all, by name."""
    return await conn.fetch(_SQL["every"])


async def one(conn: Connection, name: str) -> Row:
    """Raises SourceNotFound."""
    if (row := await conn.fetchrow(_SQL["one"], name)) is None:
        raise SourceNotFound(name)
    return row


async def default(conn: Connection) -> str | None:
    name: str | None = await conn.fetchval(_SQL["default"])
    return name


async def sealed(conn: Connection) -> list[Row]:
    """Return name and sealed_secret of those that have one."""
    return await conn.fetch(_SQL["sealed"])
