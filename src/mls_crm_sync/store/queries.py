"""Named SQL: each `.sql` file holds queries under `-- name:` lines, read once, next to the module that runs them.

    -- name: lock_listings
    -- Takes the row locks of a page, in the one order that all writers keep.
    SELECT ...

The manner is procrastinate's: SQL that wants to be read as SQL stays SQL.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(module_file: str) -> dict[str, str]:
    """Return the queries of the `.sql` file beside `module_file`, by name, comments left in for the server's log."""
    path = Path(module_file).with_suffix(".sql")
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    queries = {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    if len(queries) != len(parts) // 2:
        raise ValueError(f"{path.name} names a query twice")
    return queries
