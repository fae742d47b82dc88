"""Deliveries as files: JSON, JSON Lines and CSV, packed with gzip or not, or standard input.

A file is read in a thread of its own, one page ahead of whoever takes the pages, so that reading the next
page overlaps the work on this one. Memory stays flat at any size. A file never proves by itself that it
holds all of a location; its sender may say so.
"""

from __future__ import annotations

from asyncio import wrap_future
from collections.abc import AsyncGenerator, Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Event

from mls_crm_sync.core.errors import SourceBroken

from .base import Page, PassOutcome, RawRecord, Rejected
from .column_map import ColumnMap
from .csv_records import read_csv
from .delivery import BLOCK_BYTES, STDIN, Delivery, open_delivery, printable, size_of
from .formats import UTF8_BOM, FileFormat, find_format
from .json_lines import read_json_lines
from .json_stream import Envelope, read_json
from .pieces import Piece, Takes, wanted

PAGE_RECORDS = 1000
PAGE_BYTES = 8 * 1024 * 1024
"""A page is ended before it grows past this; one record alone may be larger."""

MAY_BE_ALL = "read to its end; a file does not know whether it is all"
GOES_ON = "the answer goes on at its @odata.nextLink"


class FileReading:
    """One file, read once. `format` is told by name and content unless given."""

    def __init__(
        self,
        path: str,
        *,
        format: FileFormat | None = None,  # noqa: A002 # the word that people use for it
        columns: ColumnMap | None = None,
        field_names: Collection[str],
        page_size: int = PAGE_RECORDS,
        block_bytes: int = BLOCK_BYTES,
        takes: Takes | None = None,
    ) -> None:
        """`field_names` is what CSV columns are matched with; of records that `takes` does not want nothing is handed
        out. Raises InvalidInput for bad `columns`.
        """
        self._path = path
        self._format = format
        self._columns = (columns or ColumnMap()).checked(field_names)
        self._field_names = field_names
        self._page_size = page_size
        self._block_bytes = block_bytes
        self._takes = takes
        self._envelope = Envelope()
        self._outcome: PassOutcome | None = None
        self.total_bytes = size_of(path)

    @property
    def name(self) -> str:
        return "standard input" if self._path == STDIN else printable(self._path)

    @property
    def delivery(self) -> str | None:
        return None  # who hands a file over by name says each time what it is

    @property
    def outcome(self) -> PassOutcome | None:
        return self._outcome

    @property
    def whole(self) -> bool:
        """Whether it was read to its end, and does not say itself that it goes on elsewhere."""
        return self._outcome is not None and self._outcome.evidence == MAY_BE_ALL

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Read the pages, one ahead. Raises SourceBroken after all that came before the damage."""
        stop = Event()
        reading = self._read(stop)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="file-source")
        try:
            upcoming = thread.submit(next, reading, None)
            while page := await wrap_future(upcoming):
                upcoming = thread.submit(next, reading, None)
                yield page
        finally:
            stop.set()
            try:
                await wrap_future(thread.submit(reading.close))
            finally:
                thread.shutdown(wait=False)

    def _read(self, stop: Event) -> Generator[Page, None, None]:
        try:
            with open_delivery(self._path, stop=stop, block_bytes=self._block_bytes) as delivery:
                yield from self._pages(delivery)
        except SourceBroken as broken:
            self._outcome = PassOutcome(broken.outcome, broken.detail)
            raise
        self._outcome = PassOutcome("unproven", GOES_ON if self._envelope.goes_on else MAY_BE_ALL)

    def _pages(self, delivery: Delivery) -> Iterator[Page]:
        pager = _Pager(delivery, self._page_size, self.name)
        try:
            for pieces in self._pieces(delivery):
                yield from pager.add(pieces)
        except SourceBroken:
            yield from pager.rest()
            raise
        yield from pager.rest()
        if self._envelope.goes_on:
            yield pager.last_word(GOES_ON)

    def _pieces(self, delivery: Delivery) -> Iterator[list[Piece]]:
        head = delivery.peek().removeprefix(UTF8_BOM)
        encoding = self._columns.encoding
        found = find_format(self._path, head, asked=self._format, encoding=encoding)
        blocks = _without_bom(delivery.blocks())
        match found:
            case FileFormat.JSON_LINES:
                return read_json_lines(blocks, self._takes)
            case FileFormat.JSON:
                pieces = read_json(blocks, self._envelope)
            case FileFormat.CSV:
                pieces = read_csv(blocks, columns=self._columns, field_names=self._field_names)
        return (wanted(some, self._takes) for some in pieces)


def _without_bom(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The first block is the head that was peeked, so the mark is never split."""
    return chain((next(blocks, b"").removeprefix(UTF8_BOM),), blocks)


class _Pager:
    """Gathers pieces until they are a page."""

    def __init__(self, delivery: Delivery, page_size: int, origin: str) -> None:
        self._delivery = delivery
        self._origin = origin
        self._page_size = page_size
        self._pieces: list[Piece] = []
        self._bytes = 0
        self._number = 0
        self._position = 0  # of the last piece handed out

    def add(self, pieces: list[Piece]) -> Iterator[Page]:
        added = sum(len(one.data) for one in pieces)
        if self._bytes + added > PAGE_BYTES:
            yield from self.rest()
        self._pieces += pieces
        self._bytes += added
        while len(self._pieces) >= self._page_size:
            page, self._pieces = self._pieces[: self._page_size], self._pieces[self._page_size :]
            self._bytes = sum(len(one.data) for one in self._pieces)
            yield self._page(page)

    def rest(self) -> Iterator[Page]:
        """Return what is left as a page, if anything is."""
        page, self._pieces, self._bytes = self._pieces, [], 0
        if page:
            yield self._page(page)

    def last_word(self, short: str) -> Page:
        """Return a page without records that says why there must be more of them."""
        self._number += 1
        return Page(
            number=self._number,
            records=(),
            rejected=(),
            bytes_read=self._delivery.bytes_read,
            checkpoint={"page": self._number, "position": self._position},
            origin=self._origin,
            short=short,
        )

    def _page(self, pieces: list[Piece]) -> Page:
        self._number += 1
        self._position = pieces[-1].position
        rejected = tuple([one for one in pieces if isinstance(one, Rejected)])
        records = [one for one in pieces if isinstance(one, RawRecord)] if rejected else pieces
        return Page(
            number=self._number,
            records=tuple(records),  # type: ignore[arg-type] # all of them, where none is rejected
            rejected=rejected,
            bytes_read=self._delivery.bytes_read,
            checkpoint={"page": self._number, "position": self._position},
            origin=self._origin,
        )
