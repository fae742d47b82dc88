"""Named SQL: each `.sql` file holds queries under `-- name:` lines, read once, next to the module that runs them.

    -- name: lock_listings
    -- Takes the row locks of a page, in the one order that all writers keep.
    SELECT ...

A query with optional filters names its parameters, and each filter stands in a line of its own behind its name in
brackets; `narrowed` leaves out the lines of filters that nobody asked for, so that the planner sees only what counts:

    SELECT ... WHERE p.property_id > :after
    /*city*/ AND p.city = :city
    LIMIT :limit

The manner is procrastinate's: SQL that wants to be read as SQL stays SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILTER = re.compile(r"^\s*/\*(\w+)\*/.*\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(module_file: str) -> dict[str, str]:
    """Return the queries of the `.sql` file beside `module_file`, by name, comments left in for the server's log."""
    path = Path(module_file).with_suffix(".sql")
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    queries = {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    if len(queries) != len(parts) // 2:
        raise ValueError(f"{path.name} names a query twice")
    return queries


def narrowed(sql: str, given: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return a query without the filters whose value is None, and its arguments in the order of their numbers."""
    kept = _FILTER.sub(lambda line: line[0] if given[line[1]] is not None else "", sql)
    names = list(dict.fromkeys(_PARAMETER.findall(kept)))
    return _PARAMETER.sub(lambda name: f"${names.index(name[1]) + 1}", kept), [given[name] for name in names]
