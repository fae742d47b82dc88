"""A plain paged service over HTTP, as trials and tests put one up: the smallest that can prove what it shows.

    GET  {url}/locations                        {"value": ["10001", ...]}
    GET  {url}/listings?location=10001&top=200  {"@odata.count": 412, "value": [{...}, ...], "@odata.nextLink": "..."}
    GET  {url}/listings/{ListingKey}            {...}, or 404 with {"error": {"code": "not_found"}}

Listings come in the order of their ListingKey (by code point), each once; every page announces how many the location
has; `"capped": true` says that the service ends before the location does. So a pass is complete when as many as were
announced came in order: a page that was missed or came twice cannot look like that, and where a pass goes on the last
key and the count tell as much as all keys would. Its links have to go on behind a key: behind a number, a listing that
leaves while another one comes can hide a third from a pass. That one pass proves nothing is the table's rule for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field

from mls_crm_sync.core.errors import SourceBroken

from .base import (
    Answer,
    Check,
    Checkpoint,
    Found,
    Gate,
    LooksUp,
    NotThere,
    Page,
    PassOutcome,
    RawRecord,
    Rejected,
    Unknown,
    Wanted,
)
from .http import JsonClient, Limits, envelope
from .kinds import Kind, Opening, Settings, WebAddress
from .pieces import piece

MAX_PAGES = 100_000
"""Of one pass; a service that hands out ever new links would never end."""


class FakeSettings(Settings):
    """Where the service is."""

    url: WebAddress
    page_size: Annotated[int, Field(ge=1, le=1000)] = 200


class _Key(msgspec.Struct):
    ListingKey: str | int | None = None


class _Error(msgspec.Struct):
    code: str | None = None


_error_in = msgspec.json.Decoder(_Error).decode
_key_of = msgspec.json.Decoder(_Key).decode
_count_of = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0)]).decode
_link_of = msgspec.json.Decoder(str | None).decode
_list_of = msgspec.json.Decoder(list[msgspec.Raw]).decode
_names_of = msgspec.json.Decoder(list[str]).decode


def _error_of(raw: msgspec.Raw | None) -> str | None:
    try:
        return _error_in(raw).code if raw is not None else None
    except msgspec.DecodeError:
        return None


class FakeSource:
    """The service, as somebody set it up."""

    reads: Literal["location", "feed"] = "location"
    looks_up: LooksUp = "directly"

    def __init__(
        self,
        name: str,
        settings: FakeSettings,
        secret: str | None,
        gate: Gate,
        *,
        limits: Limits | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.page_size = settings.page_size
        self.client = JsonClient(name, settings.url, gate, secret=secret, limits=limits, sleep=sleep)

    async def check(self) -> Check:
        try:
            locations = await self.locations()
        except SourceBroken as broken:
            return Check(ok=False, detail=f"{broken.detail}; {broken.hint}")
        return Check(ok=True, detail=f"locations: {len(locations)}")

    async def locations(self) -> Sequence[str]:
        got = await self.client.get(self.client.url("locations"))
        return sorted(_decoded(_names_of, envelope(got.body, self.name).get("value"), self.name, "value"))

    def read(self, location: str, checkpoint: Checkpoint | None = None) -> FakeReading:
        return FakeReading(self, location, checkpoint)

    async def look_up(self, wanted: Sequence[Wanted]) -> Mapping[str, Answer]:
        return {one.source_key: await self._look_up(one.source_key) for one in wanted}

    async def _look_up(self, key: str) -> Answer:
        try:
            url = self.client.url(f"listings/{quote(key, safe='')}")
            got = await self.client.get(url, statuses=(200, 404))
            members = envelope(got.body, self.name)
        except SourceBroken as broken:
            return Unknown(broken.detail)
        if got.status == 200:
            return Found(RawRecord(1, got.body.strip()))
        if _error_of(members.get("error")) == "not_found":
            return NotThere("it answered 404 not_found when it was asked for the listing")
        return Unknown("HTTP 404, which does not say that it is the listing that was not found")

    async def close(self) -> None:
        await self.client.close()


@dataclass(slots=True)
class _Seen:
    """What the pages so far showed: all that a checkpoint has to keep."""

    url: str
    pages: int = 0
    read: int = 0
    last: str = ""
    announced: int = -1  # -1: nothing was read yet
    doubt: str = ""  # why it cannot be complete any more

    def checkpoint(self) -> dict[str, int | str]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> _Seen:
        given: dict[str, Any] = {name: checkpoint[name] for name in cls.__slots__}
        return cls(**given)


class FakeReading:
    """One pass over a location of the service."""

    total_bytes: int | None = None
    delivery: str | None = None  # each reading asks anew

    def __init__(self, source: FakeSource, location: str, checkpoint: Checkpoint | None) -> None:
        self._source = source
        self._bytes = 0
        self._links: set[int] = set()  # hashes of those that were followed
        self.name = f"{source.name}: {location}"
        self.outcome: PassOutcome | None = None
        first = source.client.url("listings", {"location": location, "top": source.page_size})
        self._seen = _Seen.of(checkpoint) if checkpoint else _Seen(first)

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Follow the links from page to page. Raises SourceBroken and what is below it."""
        try:
            while self._seen.url:
                page = await self._page()
                yield page
        except SourceBroken as broken:
            self.outcome = PassOutcome(broken.outcome, broken.detail)
            raise
        self.outcome = self.outcome or self._judged()

    async def _page(self) -> Page:
        seen, name = self._seen, self._source.name
        if seen.pages >= MAX_PAGES or hash(seen.url) in self._links:
            detail = f"page {seen.pages + 1} of {name} was read before: its links go in a circle"
            raise SourceBroken("loops", detail, hint=_NOT_OURS)
        self._links.add(hash(seen.url))
        body = (await self._source.client.get(self._source.client.url(seen.url))).body
        members = envelope(body, name)
        announced = _decoded(_count_of, members.get("@odata.count"), name, "@odata.count")
        link = _decoded(_link_of, members.get("@odata.nextLink", msgspec.Raw(b"null")), name, "@odata.nextLink")
        pieces = [
            piece(position, bytes(raw))
            for position, raw in enumerate(_decoded(_list_of, members.get("value"), name, "value"), seen.read + 1)
        ]
        if announced != seen.announced and seen.announced >= 0:
            seen.doubt = f"{seen.announced:,} listings were announced at first, then {announced:,}"
        seen.announced = announced
        seen.pages += 1
        for one in pieces:
            self._note(one)
        capped = members.get("capped") is not None and bytes(members["capped"]) == b"true"
        if capped:
            self.outcome = PassOutcome("capped", f"the source says that it ends at {seen.read:,} listings")
        seen.url = "" if capped else (self._source.client.url(link) if link else "")
        self._bytes += len(body)
        return Page(
            number=seen.pages,
            records=tuple([one for one in pieces if isinstance(one, RawRecord)]),
            rejected=tuple([one for one in pieces if isinstance(one, Rejected)]),
            bytes_read=self._bytes,
            checkpoint=seen.checkpoint(),
            origin=self.name,
        )

    def _note(self, one: RawRecord | Rejected) -> None:
        """Count a piece, and look whether it comes in order: what does not may have come before, or moved."""
        seen = self._seen
        seen.read += 1
        try:
            key = str(_key_of(one.data).ListingKey)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # its reader sets it aside, and then the pass proves nothing
        if key <= seen.last:
            seen.doubt = f"listing {seen.read:,} is out of order: pages overlap, or listings moved between them"
        seen.last = key

    def _judged(self) -> PassOutcome:
        seen = self._seen
        if seen.doubt:
            return PassOutcome("partial", seen.doubt)
        if seen.read != seen.announced:
            return PassOutcome("partial", f"{seen.announced:,} listings were announced, {seen.read:,} came")
        return PassOutcome("complete", f"{seen.announced:,} listings were announced, and as many came, each once")


def _decoded(decode: Callable[[msgspec.Raw], Any], raw: msgspec.Raw | None, name: str, member: str) -> Any:  # noqa: ANN401 # of the decoder
    """Raises SourceBroken for a member that is not there, or is no such thing."""
    if raw is None:
        raise SourceBroken("no_member", f"an answer of {name} has no {member}", hint=_NOT_OURS)
    try:
        return decode(raw)
    except msgspec.DecodeError as error:
        raise SourceBroken("bad_member", f"{member} in an answer of {name}: {error}", hint=_NOT_OURS) from error


_NOT_OURS = "look whether the address is that of such a service: docs/sources.md says what it answers"


def _opens(opening: Opening) -> FakeSource:
    return FakeSource(opening.name, opening.settings, opening.secret, opening.gate)


KIND = Kind(
    "fake",
    "A plain paged service, for trials and tests",
    FakeSettings,
    _opens,
    credential="optional",
    limits={"second": 10},
    network=True,
)
