"""The manifest of a folder: what its sender says of each delivery, so that a file can be known to be whole.

`manifest.json`, beside the deliveries:

    {"deliveries": [{"file": "11216.jsonl.gz", "records": 1203,
                     "sha256": "9f86d0...", "delivered_at": "2026-11-26T06:00:00Z"}]}

`records` is needed, the rest is not. A file that the manifest does not name is read all the same, and proves nothing.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mls_crm_sync.core.errors import SourceBroken

NAME = "manifest.json"
MAX_BYTES = 20 * 1024 * 1024


class Entry(BaseModel):
    """What the sender says of one file. `sha256` is of the file as it lies there, packed or not."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: Annotated[str, Field(min_length=1)]
    records: Annotated[int, Field(ge=0, strict=True)]
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    delivered_at: datetime | None = None


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    deliveries: list[Entry]


def entry_of(folder: Path, file: str) -> Entry | None:
    """Return what the folder's manifest says of a file; None where there is no manifest, or it does not name it.

    Raises SourceBroken for a manifest that cannot be read: what it would have said is not known.
    """
    path = folder / NAME
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceBroken("unreadable", f"{NAME} cannot be read: {error.strerror}", hint=_HINT) from error
    if len(content) > MAX_BYTES:
        raise SourceBroken("too_large", f"{NAME} is larger than {MAX_BYTES // 1024**2} MB", hint=_HINT)
    try:
        said = [entry for entry in _Manifest.model_validate_json(content).deliveries if entry.file == file]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole of it"
        raise SourceBroken("bad_manifest", f"{NAME}: {where}: {first['msg']}", hint=_HINT) from error
    if len(said) > 1:
        raise SourceBroken("bad_manifest", f"{NAME} names {file!r} {len(said)} times", hint=_HINT)
    return said[0] if said else None


_HINT = "mend it, or take it away: without it the files are read, and prove nothing; docs/sources.md shows its form"
