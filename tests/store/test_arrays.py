"""An array arrives as it was, whatever stands in it."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mls_crm_sync.store.arrays import array_of
from mls_crm_sync.store.database import Connection

ELEMENTS = (
    st.none() | st.sampled_from(["NULL", "null", "", " ", "a", '","', '"', "\\", ",", "{}"]) | st.text(max_size=5)
)


@given(st.lists(ELEMENTS.filter(lambda text: text is None or "\0" not in text), max_size=6))
@example(["a", "b"])
@example(['a","b', "c"])
@example(['a"', "b"])
@example([None])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_array_arrives_as_it_was(conn: Connection, texts: list[str | None]) -> None:
    encodable = [text if text is None else text.encode(errors="ignore").decode() for text in texts]

    assert await conn.fetchval("SELECT $1::text::text[]", array_of(encodable)) == encodable
