"""What a page has shown is kept as it was shown, whatever the ids look like."""

from __future__ import annotations

import pytest

from mls_crm_sync.store import runs
from mls_crm_sync.store.database import Connection

HASH, OTHER = "0123456789abcdef" * 2, "f" * 32


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [HASH],
        [HASH, OTHER],
        ["own"],
        [HASH, "own", OTHER],
        [HASH.upper()],
        [f"{HASH},{OTHER}"],
        [f"{HASH},{OTHER}", HASH],
        [HASH[:15], HASH[16:], OTHER],
        ['"', "{}", "null", "a,b", "é"],
        [f"{HASH[:8]}-{HASH[8:12]}-{HASH[12:16]}-{HASH[16:20]}-{HASH[20:]}"],
    ],
)
@pytest.mark.parametrize("alone", [True, False])
async def test_ids_come_back_as_they_were_shown(conn: Connection, keys: list[str], *, alone: bool) -> None:
    held = await runs.start(conn, "ingest", "test-mls", "*")
    if alone:
        await runs.advance(conn, held, page=1, keys=keys, checkpoint={}, counts={})
    else:
        await runs.show(conn, held, page=1, keys=keys)

    shown = await conn.fetch("SELECT key FROM pass_shown WHERE pass_id = $1", held.pass_id)

    assert sorted(row["key"] for row in shown) == sorted(keys)
