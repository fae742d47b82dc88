"""What the tests of the file source read with: a whole source at once, and texts in blocks of any size."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources.base import Page, RawRecord, Rejected
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.sources.pieces import Piece

FIELDS = (
    "ListingKey",
    "ListingId",
    "ListPrice",
    "StandardStatus",
    "City",
    "PostalCode",
    "StateOrProvince",
    "UnparsedAddress",
    "PublicRemarks",
)


@dataclass
class Reading:
    """All that a source gave, and how it ended."""

    pages: list[Page] = field(default_factory=list)
    broken: SourceBroken | None = None

    @property
    def records(self) -> list[RawRecord]:
        return [record for page in self.pages for record in page.records]

    @property
    def rejected(self) -> list[Rejected]:
        return [rejected for page in self.pages for rejected in page.rejected]

    @property
    def data(self) -> list[bytes]:
        return [record.data for record in self.records]

    @property
    def reasons(self) -> list[str]:
        return [rejected.reason for rejected in self.rejected]

    @property
    def ended(self) -> str | None:
        return self.broken.reason if self.broken else None


async def read(source: FileReading) -> Reading:
    reading = Reading()
    try:
        async for page in source.pages():
            reading.pages.append(page)
    except SourceBroken as broken:
        reading.broken = broken
    return reading


def read_file(path: Path | str, **options: Any) -> Reading:
    return asyncio.run(read(FileReading(str(path), **{"field_names": FIELDS, **options})))


def read_content(folder: Path, name: str, content: bytes, **options: Any) -> Reading:
    """Read `content` as a file of that name; packed where the name ends in .gz."""
    path = folder / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return read_file(path, **options)


def in_blocks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def gathered(batches: Iterable[list[Piece]]) -> tuple[list[Piece], str | None]:
    """Return all pieces, and the reason of the damage that ended them."""
    pieces: list[Piece] = []
    try:
        for batch in batches:
            pieces += batch
    except SourceBroken as broken:
        return pieces, broken.reason
    return pieces, None
