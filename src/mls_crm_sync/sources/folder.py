"""Deliveries that lie in a folder, one file for each location, or in a single file.

The name of a file is its location: `11216.jsonl.gz`, `Brooklyn, NY.csv`. Several deliveries of a location are told
apart by a stamp behind an @ (`11216@2026-11-26.jsonl`); the newest is read: the one with the greatest stamp where each
has one, else the one that was written last. Names that begin with a dot or end with .part or .tmp are left alone.

Complete is a delivery whose manifest (manifest.py) announces as many records as were read. The same bytes read once
more are the same delivery.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from pydantic import AfterValidator

from mls_crm_sync.core.errors import InvalidInput, SourceBroken
from mls_crm_sync.core.fields import BY_NAME

from .base import Answer, Check, Checkpoint, Found, LooksUp, Page, PassOutcome, RawRecord, Unknown, Wanted
from .column_map import ColumnMap, load_column_map
from .delivery import printable
from .file import FileReading
from .kinds import Kind, Opening, Settings
from .manifest import NAME as MANIFEST
from .manifest import Entry, entry_of

PACKED = (".gz", ".gzip")
FORMATS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
UNFINISHED = (".part", ".tmp", ".partial", ".crdownload")
NOT_IN_A_DELIVERY = "it lies in none of the deliveries"


def _absolute(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("must be an absolute path, as every process sees it")
    return text


Place = Annotated[str, AfterValidator(_absolute)]


class FolderSettings(Settings):
    """Where the deliveries lie."""

    path: Place
    columns: Place | None = None  # a TOML file that names the columns of a CSV


class FileSettings(FolderSettings):
    """One file, and what it holds."""

    location: str = "*"


class _Key(msgspec.Struct):
    ListingKey: Any = None


_key_of = msgspec.json.Decoder(_Key).decode


@dataclass(frozen=True, slots=True)
class _Lying:
    """A file as it lies there."""

    path: Path
    stamp: str | None
    written: tuple[int, int, int]  # ns since 1970, size, inode: whether it is still the same

    def order(self) -> tuple[int, str]:
        return self.written[0], self.path.name


class Identity(NamedTuple):
    """What a delivery can be told by, and what its sender says of it."""

    delivery: str
    sha256: str
    said: Entry | None


class FolderSource:
    """The newest delivery of each location in a folder."""

    reads: Literal["location", "feed"] = "location"
    looks_up: LooksUp = "in_delivery"

    def __init__(self, settings: FolderSettings) -> None:
        self._folder = Path(settings.path)
        self._columns = settings.columns
        self._hashed: dict[tuple[Path, tuple[int, int, int]], str] = {}

    async def check(self) -> Check:
        """Look whether there are deliveries, and whether what is said of them can be read."""
        try:
            newest = await asyncio.to_thread(self._newest)
            await asyncio.to_thread(self._column_map)
            said = [await asyncio.to_thread(entry_of, one.path.parent, one.path.name) for one in newest.values()]
        except (SourceBroken, InvalidInput) as error:
            return Check(ok=False, detail=f"{error}; {error.hint}" if error.hint else str(error))
        proven = sum(entry is not None for entry in said)
        if not newest:
            return Check(ok=False, detail=f"no delivery lies in {printable(str(self._folder))}; put one there")
        how = f"locations: {len(newest)}, {proven} of them with a count in {MANIFEST}"
        return Check(ok=True, detail=how if proven else f"{how}: without one no pass is complete, and nothing is gone")

    async def locations(self) -> Sequence[str]:
        return sorted(await asyncio.to_thread(self._newest))

    def read(self, location: str, checkpoint: Checkpoint | None = None) -> FolderReading:
        return FolderReading(self, location, checkpoint)

    async def look_up(self, wanted: Sequence[Wanted]) -> Mapping[str, Answer]:
        """Search all newest deliveries; what lies in none of them may still be there."""
        left = {one.source_key for one in wanted}
        answers: dict[str, Answer] = {}
        unread = ""
        try:
            for location in await self.locations():
                reading = self.open(await asyncio.to_thread(self.lying, location))
                async with aclosing(reading.pages()) as pages:
                    async for page in pages:
                        for key, record in _records_of(page, left):
                            answers[key] = Found(record)
                            left.discard(key)
                if not left:
                    break
        except (SourceBroken, InvalidInput) as error:
            unread = f"a delivery cannot be read: {error}"
        return answers | {key: Unknown(unread or NOT_IN_A_DELIVERY) for key in left}

    async def close(self) -> None:
        """Nothing is held."""

    def lying(self, location: str) -> _Lying:
        """Return the newest delivery of a location. Raises SourceBroken."""
        found = self._newest().get(location)
        if found is None:
            raise SourceBroken(
                "unknown_location",
                f"no delivery of {location!r} lies in {printable(str(self._folder))}",
                hint="its file is called as the location, then .json, .jsonl or .csv",
            )
        return found

    def identify(self, one: _Lying) -> Identity:
        """Return what a delivery is told by: its bytes, and when its sender says it was made. Raises SourceBroken."""
        said = entry_of(one.path.parent, one.path.name)
        place = (one.path, one.written)
        if place not in self._hashed:
            self._hashed = {place: _sha256(one.path)}  # of the one that is being read; the others come anew
        delivery = sha256 = self._hashed[place]
        if said is not None and said.delivered_at is not None:
            delivery = f"{sha256} {said.delivered_at.isoformat()}"
        return Identity(delivery, sha256, said)

    def open(self, one: _Lying) -> FileReading:
        return FileReading(str(one.path), columns=self._column_map(), field_names=BY_NAME)

    def _newest(self) -> dict[str, _Lying]:
        by_location: dict[str, list[_Lying]] = {}
        for location, one in self._files():
            by_location.setdefault(location, []).append(one)
        return {location: _newest_of(files) for location, files in by_location.items()}

    def _files(self) -> Iterator[tuple[str, _Lying]]:
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    named = _location_of(entry.name)
                    if named is None or not entry.is_file():
                        continue
                    with suppress(FileNotFoundError):  # taken away since
                        yield named[0], _lying(Path(entry.path), named[1])
        except OSError as error:
            raise _unreachable(self._folder, error) from error

    def _column_map(self) -> ColumnMap | None:
        return load_column_map(Path(self._columns)) if self._columns else None


class FileSource(FolderSource):
    """One file as a source: whoever delivers puts the newest in its place."""

    def __init__(self, settings: FileSettings) -> None:
        super().__init__(settings)
        self._file = Path(settings.path)
        self._location = settings.location
        self.reads = "feed" if settings.location == "*" else "location"

    async def locations(self) -> Sequence[str]:
        return [self._location]

    def _files(self) -> Iterator[tuple[str, _Lying]]:
        try:
            yield self._location, _lying(self._file, None)
        except OSError as error:
            raise _unreachable(self._file, error) from error


class FolderReading:
    """One pass over the newest delivery of a location."""

    total_bytes: int | None = None

    def __init__(self, source: FolderSource, location: str, checkpoint: Checkpoint | None) -> None:
        self._source = source
        self._location = location
        self._checkpoint = checkpoint
        self._one: _Lying | None = None
        self.outcome: PassOutcome | None = None

    @property
    def name(self) -> str:
        return printable(self._one.path.name) if self._one else self._location

    @property
    def delivery(self) -> str | None:
        """Reads the whole file for it; None where it cannot be read, which `pages` will say."""
        try:
            return self._source.identify(self._lying()).delivery
        except SourceBroken:
            return None

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Read the file from its beginning; pages that a checkpoint of the same delivery has behind it are passed over.

        Raises SourceBroken.
        """
        try:
            async for page in self._pages():
                yield page
        except SourceBroken as broken:
            self.outcome = PassOutcome(broken.outcome, broken.detail)
            raise

    async def _pages(self) -> AsyncGenerator[Page, None]:
        one = await asyncio.to_thread(self._lying)
        identity = await asyncio.to_thread(self._source.identify, one)
        begun = self._checkpoint or {}
        another = begun.get("delivery", identity.delivery) != identity.delivery
        behind = 0 if another else int(begun.get("page", 0))
        reading = self._source.open(one)
        self.total_bytes = reading.total_bytes
        pieces = 0
        async with aclosing(reading.pages()) as pages:
            async for page in pages:
                pieces += len(page.records) + len(page.rejected)
                if page.number > behind:
                    yield replace(page, checkpoint={**page.checkpoint, "delivery": identity.delivery})
        self.outcome = await asyncio.to_thread(self._judged, one, identity, pieces, reading)
        if another:
            told = "a newer delivery lay there when the pass went on: it showed something of both"
            self.outcome = PassOutcome("unproven", told)

    def _judged(self, one: _Lying, identity: Identity, pieces: int, reading: FileReading) -> PassOutcome:
        """How the pass ended. Only the manifest's count proves anything, of a file that was there all along."""
        try:
            now = _lying(one.path, one.stamp)
        except OSError:
            now = None
        if now != one:
            return PassOutcome("unproven", "the file was changed while it was read")
        said, outcome = identity.said, reading.outcome
        if said is None or outcome is None or not reading.whole:
            return outcome or PassOutcome("unproven", "nobody said how it ended")
        if said.sha256 is not None and said.sha256.lower() != identity.sha256:
            return PassOutcome("partial", f"{MANIFEST} names another SHA-256 than the file has")
        if said.records != pieces:
            return PassOutcome("partial", f"{MANIFEST} announces {said.records:,} records, the file has {pieces:,}")
        return PassOutcome("complete", f"{MANIFEST} announces {said.records:,} records, and as many were read")

    def _lying(self) -> _Lying:
        """Return the file of this pass, the same one however often it is asked for."""
        if self._one is None:
            self._one = self._source.lying(self._location)
        return self._one


def _records_of(page: Page, keys: Collection[str]) -> Iterator[tuple[str, RawRecord]]:
    """Yield the records of a page that have one of the keys."""
    for raw in page.records:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            key = _key_of(raw.data).ListingKey
            if isinstance(key, str | int) and (text := str(key).strip()) in keys:
                yield text, raw


def _location_of(file: str) -> tuple[str, str | None] | None:
    """Return the location and the stamp in a file's name, or None for what is no delivery."""
    lower = file.lower()
    if file.startswith(".") or lower.endswith(UNFINISHED) or file == MANIFEST:
        return None
    path = PurePath(file)
    if path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    if path.suffix.lower() not in FORMATS:
        return None
    location, at, stamp = path.stem.rpartition("@")
    return (location.strip(), stamp) if at and location.strip() else (path.stem.strip(), None)


def _newest_of(files: Sequence[_Lying]) -> _Lying:
    if all(one.stamp is not None for one in files):
        return max(files, key=lambda one: (one.stamp or "", one.order()))
    return max(files, key=_Lying.order)


def _lying(path: Path, stamp: str | None) -> _Lying:
    found = path.stat()
    return _Lying(path, stamp, (found.st_mtime_ns, found.st_size, found.st_ino))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise _unreachable(path, error) from error


def _unreachable(path: Path, error: OSError) -> SourceBroken:
    shown = printable(str(path))
    if isinstance(error, FileNotFoundError):
        return SourceBroken("no_such_file", f"there is no {shown}", hint="check the path, and whether it is mounted")
    if isinstance(error, NotADirectoryError):
        return SourceBroken(
            "not_a_folder", f"{shown} is no folder", hint="a single file is a source of the kind `file`"
        )
    if isinstance(error, PermissionError):
        return SourceBroken(
            "no_permission", f"{shown} may not be read by this user", hint=f"allow it: chmod +rX {shown}"
        )
    return SourceBroken("unreadable", f"{shown} cannot be read: {error.strerror}", hint="check the disk or the mount")


def _opens_folder(opening: Opening) -> FolderSource:
    return FolderSource(opening.settings)


def _opens_file(opening: Opening) -> FileSource:
    return FileSource(opening.settings)


FOLDER = Kind("folder", "A folder with one file for each location", FolderSettings, _opens_folder)


def _of_file(settings: FileSettings) -> str:
    return settings.location


FILE = Kind("file", "One file that is replaced by each delivery", FileSettings, _opens_file, only_location=_of_file)
