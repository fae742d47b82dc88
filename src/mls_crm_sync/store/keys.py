"""API keys: kept as their SHA-256, never shown again."""

from __future__ import annotations

from collections.abc import Sequence

from mls_crm_sync.core.errors import KeyNotFound

from .database import Connection, Row
from .queries import load

_SQL = load(__file__)


async def insert(conn: Connection, name: str, digest: bytes, scopes: Sequence[str]) -> int:
    key_id: int = await conn.fetchval(_SQL["insert"], name, digest, list(scopes))
    return key_id


async def find(conn: Connection, digest: bytes) -> Row | None:
    """Return the key with this digest (key_id, name, scopes), or None when there is none or it was revoked."""
    return await conn.fetchrow(_SQL["find"], digest)


async def every(conn: Connection) -> list[Row]:
    return await conn.fetch(_SQL["list"])


async def revoke(conn: Connection, key_id: int) -> None:
    """Raises KeyNotFound, also for a key that was revoked before."""
    if await conn.fetchval(_SQL["revoke"], key_id) is None:
        raise KeyNotFound(key_id)


async def exist(conn: Connection) -> bool:
    """Whether any key was ever made."""
    return bool(await conn.fetchval(_SQL["any"]))
