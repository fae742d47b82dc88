"""Making API keys: random, shown once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from mls_crm_sync.core.access import KEY_PREFIX, Scope, key_digest
from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.store import keys
from mls_crm_sync.store.database import Database

KEY_BYTES = 32
MAX_NAME = 100


async def create(db: Database, name: str, scopes: Sequence[str]) -> tuple[int, str]:
    """Make a key; return its id and the key itself, which is kept nowhere. Raises InvalidInput."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput("name", f"must be printable text of 1 to {MAX_NAME} characters")
    wrong = sorted(set(scopes) - set(Scope))
    if wrong or not scopes:
        raise InvalidInput("scopes", f"must be some of {', '.join(Scope)}")
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    async with db.transaction() as conn:
        key_id = await keys.insert(conn, name.strip(), key_digest(key), sorted(set(scopes)))
    return key_id, key


async def create_first(db: Database) -> str | None:
    """Make the admin key of a fresh installation; None where any key was ever made."""
    async with db.connection() as conn:
        if await keys.exist(conn):
            return None
    _, key = await create(db, "first", [Scope.ADMIN])
    return key


async def revoke(db: Database, key_id: int) -> None:
    """Raises KeyNotFound."""
    async with db.transaction() as conn:
        await keys.revoke(conn, key_id)
