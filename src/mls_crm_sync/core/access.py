"""Who may do what: the scopes of an API key. No IO."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from enum import StrEnum

KEY_PREFIX = "mcs_"
"""Of every key, so that a scanner finds one that has leaked."""


class Scope(StrEnum):
    READ = "read"
    WRITE_CRM = "write:crm"  # CRM properties: create, edit, delete, import
    WRITE_LINKS = "write:links"  # link, unlink, sync by hand
    WRITE_CONFIG = "write:config"  # schedules, sources
    RUN = "run"  # start work: push listings, retry, scrape
    ADMIN = "admin"  # everything, keys and purges included


def allows(held: Collection[str], needed: Scope) -> bool:
    """Whether a key with these scopes may do what needs `needed`. A key that may write may also read."""
    return Scope.ADMIN in held or needed in held or (needed is Scope.READ and bool(held))


def key_digest(key: str) -> bytes:
    """SHA-256 of a key, 32 bytes: what is stored and looked up."""
    return hashlib.sha256(key.encode()).digest()
