"""Secrets of sources, sealed before they reach the database: whoever has the database alone has none of them.

The key comes from the environment or a key file that every worker is given. Several keys, one a line: the first one
seals, and each of them opens, so a key is changed by putting a new one before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mls_crm_sync.core.errors import SecretSealed, SetupError


class Sealer:
    """Seals and opens with the keys of this process, which may be none."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Raises SetupError for what is no key; it never says what stood there."""
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        except ValueError as error:
            raise SetupError("a line of the secret key is no key", hint=NEW_KEY) from error

    def seal(self, source: str, secret: str) -> bytes:
        """Raises SetupError where this process has no key."""
        if self._fernet is None:
            raise SetupError("there is no key to seal a secret with", hint=NEW_KEY)
        return self._fernet.encrypt(orjson.dumps([source, secret]))

    def open(self, source: str, sealed: bytes) -> str:
        """Return a source's secret. Raises SecretSealed where none of our keys opens it, or it is another source's."""
        try:
            if self._fernet is None:
                raise SecretSealed(source)
            whose, secret = orjson.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise SecretSealed(source) from None
        if whose != source:
            raise SecretSealed(source)
        return str(secret)

    def opens(self, source: str, sealed: bytes) -> bool:
        try:
            self.open(source, sealed)
        except SecretSealed:
            return False
        return True


def new_key() -> str:
    """Return a new random key, as the key file has it."""
    return Fernet.generate_key().decode()


NEW_KEY = (
    "`mls-crm-sync sources new-key > FILE` makes one; give it to every process with MLS_CRM_SYNC_SECRET_KEY_FILE=FILE"
)
