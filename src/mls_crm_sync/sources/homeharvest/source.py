"""Locations of realtor.com as a source, and what proves that a pass showed all of one.

A pass asks for each listing type by itself, for the library's query for several leaves some out. A search has shown all
of its homes when every page announced the same total, the pages had as many homes, all of them different, and the
library returned as many in the end. The site shows no more than 10,000 homes of a search; one that has more is read ZIP
by ZIP, and is proven where as many homes of that city were shown as its own search announced.

The pages are numbered places: a home that leaves while another one comes can hide a third from a pass. That one pass
proves nothing is the table's rule for it (`core/absence.py`), and each listing can be asked for by its key.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Annotated, Any, Literal

import httpx2
import msgspec
import orjson
from pydantic import AfterValidator, BeforeValidator, Field

from mls_crm_sync.core.errors import SourceBroken, SourceRefused
from mls_crm_sync.sources.base import (
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
from mls_crm_sync.sources.http import JsonClient, Limits
from mls_crm_sync.sources.kinds import Kind, Opening, Settings, WebAddress
from mls_crm_sync.sources.pieces import Piece, piece

from .answers import HOME, SUGGESTIONS, Answered, Area, area_of, home_of, search_page_of
from .child import MOST, digest
from .fields import BadShape, Home, is_off_market, key_of, record_of
from .process import PATIENCE, Library, Returned, Task, library

SITE = "https://www.realtor.com/frontdoor/graphql"
"""Where the library itself would ask."""
LIMITS = Limits(deadline=45, attempts=3)
KNOWN_PLACE = "New York, NY"
"""What a source is asked about when it looks at itself."""
_HOP_BY_HOP = frozenset({"host", "connection", "content-length", "accept-encoding", "transfer-encoding"})
ADDRESS = "address"  # an area that is one home
_MARK = 16  # hex digits of a page in a checkpoint

ListingType = Literal["for_sale", "pending", "sold"]


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _address_of_proxy(text: str) -> str:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("must be the address of a proxy, as http://proxy.example:3128")
    if url.userinfo:
        raise ValueError("must not hold a password: USER:PASSWORD is the source's secret")
    return text


class HomeHarvestSettings(Settings):
    """What is read, and by which way."""

    acknowledged: bool = False  # that it reads a public website, and that the operator may
    listing_types: Annotated[tuple[ListingType, ...], BeforeValidator(_listed), Field(min_length=1)] = (
        "for_sale",
        "pending",
        "sold",
    )
    sold_within_days: Annotated[int, Field(ge=1, le=3650)] = 90  # of the sales that a pass shows
    proxy: Annotated[str, AfterValidator(_address_of_proxy)] | None = None  # its USER:PASSWORD is the secret
    endpoint: WebAddress = SITE


class HomeHarvestSource:
    """The website, as somebody set it up."""

    reads: Literal["location", "feed"] = "location"
    looks_up: LooksUp = "directly"

    def __init__(
        self,
        name: str,
        settings: HomeHarvestSettings,
        secret: str | None,
        gate: Gate,
        *,
        limits: Limits = LIMITS,
        patience: float = PATIENCE,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._patience = patience
        self._client = JsonClient(
            name, settings.endpoint, gate, proxy=_proxy(settings.proxy, secret), tls=tls, limits=limits, sleep=sleep
        )
        self._endpoint = self._client.url(settings.endpoint)

    async def check(self) -> Check:
        """Ask what the site takes a well-known city for: one request."""
        try:
            async with self.library() as one:
                await self._area_of(one, KNOWN_PLACE)
        except SourceBroken as broken:
            return Check(ok=False, detail=f"{broken.detail}; {broken.hint}")
        return Check(ok=True, detail="the website answers; it lists no locations: name those to read")

    async def locations(self) -> None:
        """A website does not list its locations; they come from the CRM's properties, or from who asks."""

    def read(self, location: str, checkpoint: Checkpoint | None = None) -> HomeHarvestReading:
        return HomeHarvestReading(self, location, checkpoint)

    async def look_up(self, wanted: Sequence[Wanted]) -> Mapping[str, Answer]:
        """Ask for homes by their keys; of one that the site says it does not have, by its address as well."""
        answers: dict[str, Answer] = {}
        if not wanted:
            return answers
        try:
            async with self.library() as one:
                for each in wanted:
                    answers[each.source_key] = await self._look_up(one, each)
        except SourceBroken as broken:
            return {each.source_key: Unknown(broken.detail) for each in wanted} | answers
        return answers

    async def _look_up(self, one: Library, wanted: Wanted) -> Answer:
        """Return what the site says of a home. Raises SourceBroken."""
        home = await self._home(one, {"home": wanted.source_key})
        if home is not None:
            return _answer_of(home)
        said = "it has no home of this id"
        if wanted.address is None:
            return NotThere(said)
        address = wanted.address
        if wanted.postal_code and wanted.postal_code not in address:
            address = f"{address}, {wanted.postal_code}"
        area = await self._area_of(one, address)
        if area is None or area.kind != "address":
            return NotThere(f"{said}, and knows no such address")
        there = await self._home(one, {"search": {"location": address}})
        if there is None:
            return NotThere(f"{said}, and none at its address")
        if key_of(json.loads(bytes(there))) == wanted.source_key:
            return _answer_of(there)
        return Unknown("another home stands at its address: it may have got another id")

    async def _home(self, one: Library, task: Task) -> msgspec.Raw | None:
        """Return the home that a task shows. Raises SourceBroken."""
        home = None
        async for event in one.do(task):
            if isinstance(event, Answered) and event.asked.operation == HOME:
                home = home_of(event.body, self.name)
        return home

    async def _area_of(self, one: Library, location: str) -> Area | None:
        """Return what the site takes a location for. Raises SourceBroken."""
        area = None
        async for event in one.do({"area": location}):
            if isinstance(event, Answered):
                area = area_of(event.body, self.name)
        return area

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def library(self) -> AsyncIterator[Library]:
        """Lend the library in its process. Raises SourceRefused where nobody has acknowledged what it reads, and what
        `process.library` raises.
        """
        if not self.settings.acknowledged:
            raise SourceRefused(
                "not_acknowledged",
                f"{self.name} reads a public website, realtor.com, and is off until you say that you may",
                hint=f"when its terms and your MLS allow it: `mls-crm-sync sources change {self.name}"
                " --set acknowledged=true`",
            )
        async with library(self._ask, patience=self._patience) as one:
            yield one

    async def _ask(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        kept = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
        return (await self._client.post(self._endpoint, body, kept)).body


@dataclass(slots=True)
class _Search:
    """A search of the library's: what it has shown, and what the site said of it."""

    what: str  # for people
    within: Area | None = None  # the city whose homes alone are wanted of it
    area: Area | None = None
    elsewhere: bool = False  # the site took the location for another place: nothing of it is wanted
    total: int | None = None
    keys: list[str] = field(default_factory=list)
    zips: dict[str, None] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)  # keys of the homes that were wanted of it
    doubt: str = ""

    @property
    def capped(self) -> bool:
        return not self.elsewhere and (self.total or 0) > MOST

    def announced(self, total: int) -> None:
        if self.total is not None and total != self.total:
            self.doubt = f"{self.total:,} homes were announced at first, then {total:,}"
        self.total = total

    def wants(self, home: Home) -> bool:
        if self.elsewhere:
            return False
        return self.within is None or _city_of(home) == (_fold(self.within.city), _fold(self.within.state))

    def judged(self, returned: Returned) -> str:
        """Return why it cannot be all, or nothing; `returned` is what the library made of it."""
        read, different = len(self.keys), len(set(self.keys))
        if self.total is None:
            return "the site did not say how many homes there are"
        if read != min(self.total, MOST):
            return f"{self.total:,} homes were announced, {read:,} came"
        if different != read:
            return f"{read:,} homes came, but {different:,} different ones: they moved between the pages"
        if returned != Returned(read, digest(self.keys)):
            return f"{read:,} homes came, of which the library returned {returned.rows:,}"
        return self.doubt


class HomeHarvestReading:
    """One pass over a location."""

    total_bytes: int | None = None
    delivery: str | None = None  # each reading asks anew

    def __init__(self, source: HomeHarvestSource, location: str, checkpoint: Checkpoint | None) -> None:
        self._source = source
        self._location = location
        behind = str((checkpoint or {}).get("pages", ""))
        self._behind = [behind[at : at + _MARK] for at in range(0, len(behind), _MARK)]
        self._marks: list[str] = []  # of the pages so far
        self._shown: set[str] = set()
        self._bytes = 0
        self._position = 0
        self._moved = False
        self._short: list[str] = []
        self._capped: list[str] = []
        self._proofs: list[str] = []
        self.name = f"{source.name}: {location}"
        self.outcome: PassOutcome | None = None

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Read the location from its beginning; pages that a checkpoint has behind it are passed over where they are
        the same still. Raises SourceBroken and what is below it.
        """
        try:
            async with self._source.library() as one, aclosing(self._pages(one)) as pages:
                async for page in pages:
                    if self._is_new(page):
                        yield page
        except SourceBroken as broken:
            self.outcome = PassOutcome(broken.outcome, broken.detail)
            raise
        self.outcome = self._judged()

    def _is_new(self, page: Page) -> bool:
        """Whether a page has not been handed out by an earlier process, just as it is."""
        if page.number > len(self._behind):
            return True
        another = self._behind[page.number - 1] != self._marks[page.number - 1]
        self._moved = self._moved or another
        return another

    async def _pages(self, one: Library) -> AsyncGenerator[Page, None]:
        for listing_type in self._source.settings.listing_types:
            search = _Search(listing_type)
            async with aclosing(self._searched(one, self._location, listing_type, search)) as pages:
                async for page in pages:
                    yield page
            if search.area is not None and search.area.kind == ADDRESS:
                return  # the library tells the home that stands there, whatever type was asked for
            if search.capped:
                async with aclosing(self._by_zip(one, listing_type, search)) as pages:
                    async for page in pages:
                        yield page

    async def _searched(
        self, one: Library, location: str, listing_type: ListingType, search: _Search
    ) -> AsyncGenerator[Page, None]:
        """Yield the pages of a search of the library's, to its end; the next task waits for it."""
        days = self._source.settings.sold_within_days if listing_type == "sold" else None
        task = {"search": {"location": location, "listing_type": listing_type, "past_days": days}}
        async with aclosing(one.do(task)) as events:
            async for event in events:
                if isinstance(event, Returned):
                    self._conclude(search, event)
                elif event.asked.operation == SUGGESTIONS:
                    self._find(search, location, event)
                else:
                    yield self._page(search, event)

    async def _by_zip(self, one: Library, listing_type: ListingType, whole: _Search) -> AsyncGenerator[Page, None]:
        """Read a search that is larger than the site shows by the ZIPs of those homes that it did show."""
        short = f"{whole.what}: the site shows {MOST:,} of {whole.total:,} homes"
        if whole.area is None or whole.area.kind != "city":
            self._capped.append(f"{short}; read it by smaller locations")
            return
        before = len(self._proofs)
        capped = False
        for zip_code in whole.zips:
            part = _Search(f"{listing_type} in {zip_code}", within=whole.area, wanted=whole.wanted)
            async with aclosing(self._searched(one, zip_code, listing_type, part)) as pages:
                async for page in pages:
                    yield page
            capped = capped or part.capped
        del self._proofs[before:]
        found = len(whole.wanted)
        if capped or found != whole.total:
            self._capped.append(f"{short}; ZIP by ZIP {found:,} were seen")
        else:
            self._proofs.append(f"{whole.what}: {found:,} announced, as many different ones came ZIP by ZIP")

    def _find(self, search: _Search, location: str, event: Answered) -> None:
        """Note what the site takes a location for. Raises SourceBroken where that is nothing, or another place; a ZIP
        that it does not know shows nothing.
        """
        area = area_of(event.body, self._source.name)
        search.area = area
        if area is not None and _is_that(area, location):
            search.what = f"{search.what} in {area.text}" if search.within is None else search.what
        elif search.within is not None:
            search.elsewhere = True
        elif area is None:
            detail = f"{self._source.name} knows no place {location!r}"
            raise SourceBroken("unknown_location", detail, hint='write it as "San Diego, CA", or as a ZIP')
        else:
            detail = f"{self._source.name} takes {location!r} for another place: {area.text}"
            raise SourceBroken("another_place", detail, hint="write it as the website does")

    def _conclude(self, search: _Search, returned: Returned) -> None:
        if search.elsewhere:
            return
        if search.area is not None and search.area.kind == ADDRESS:
            self._proofs.append(f"the site was asked for one address, {search.area.text}")
        elif why := search.judged(returned):
            self._short.append(f"{search.what}: {why}")
        elif not search.capped:
            self._proofs.append(f"{search.what}: {search.total:,} announced, as many different ones came")

    def _page(self, search: _Search, event: Answered) -> Page:
        """Make a page of an answer, and note what it says. Raises SourceBroken."""
        damaged: Mapping[int, str] = {}
        if event.asked.operation == HOME:
            home = home_of(event.body, self._source.name)
            homes = [home] if home is not None else []
        else:
            total, homes, damaged = search_page_of(event.body, self._source.name)
            search.announced(total)
        pieces = [
            one
            for number, raw in enumerate(homes)
            if (one := self._piece(search, bytes(raw), damaged.get(number))) is not None
        ]
        told = b"\n".join([str(search.total).encode(), *(one.data for one in pieces)])
        self._marks.append(blake2b(told, digest_size=_MARK // 2).hexdigest())
        self._bytes += len(event.body)
        return Page(
            number=len(self._marks),
            records=tuple([one for one in pieces if isinstance(one, RawRecord)]),
            rejected=tuple([one for one in pieces if isinstance(one, Rejected)]),
            bytes_read=self._bytes,
            checkpoint={"page": len(self._marks), "pages": "".join(self._marks)},
            origin=self.name,
        )

    def _piece(self, search: _Search, data: bytes, damage: str | None) -> Piece | None:
        """Return a home as a record, or set aside; None where it is not wanted, or was shown in this pass."""
        self._position += 1
        home = json.loads(data)
        key = str(home.get("property_id")) if isinstance(home, dict) else str(None)
        search.keys.append(key)
        if not isinstance(home, dict):
            return piece(self._position, data)
        search.zips.update(dict.fromkeys(_zip_of(home)))
        if not search.wants(home) or is_off_market(home):
            return None
        search.wanted.add(key)
        if damage is not None:
            detail = f"the site could not tell a part of it: {damage}"
            return Rejected(self._position, "graphql_error", detail, data)
        if key in self._shown:
            return None
        if key_of(home) is not None:
            self._shown.add(key)
        return _record(self._position, home, data)

    def _judged(self) -> PassOutcome:
        if self._moved or len(self._marks) < len(self._behind):
            return PassOutcome("partial", "it was another when the pass began, which showed something of both")
        if self._short:
            return PassOutcome("partial", "; ".join(self._short))
        if self._capped:
            return PassOutcome("capped", "; ".join(self._capped))
        return PassOutcome("complete", "; ".join(self._proofs))


def _is_that(area: Area, location: str) -> bool:
    """Whether an area may be what was meant: a ZIP is itself, and a state that was named is the same."""
    text = location.strip()
    if text.isdigit():
        return area.postal_code in {None, text}
    named = text.rpartition(",")[2].strip().upper()
    return len(named) != 2 or area.state is None or named == area.state.upper()


def _record(position: int, home: Home, data: bytes) -> Piece:
    try:
        return RawRecord(position, orjson.dumps(record_of(home)))
    except BadShape as odd:
        return Rejected(position, "bad_shape", str(odd), data)
    except TypeError as odd:  # half a surrogate pair, a number of 65 bits
        return Rejected(position, "bad_value", str(odd), data)


def _answer_of(raw: msgspec.Raw) -> Answer:
    home = json.loads(bytes(raw))
    if not isinstance(home, dict):
        return Unknown("it answered with something that is no home")
    if is_off_market(home):
        return NotThere("it says that the home is off the market")
    record = _record(1, home, bytes(raw))
    return Found(record) if isinstance(record, RawRecord) else Unknown(f"it cannot be read: {record.detail}")


def _fold(text: object) -> str:
    return str(text or "").strip().casefold()


def _address_in(home: Home) -> Mapping[str, Any]:
    location = home.get("location")
    address = location.get("address") if isinstance(location, dict) else None
    return address if isinstance(address, dict) else {}


def _city_of(home: Home) -> tuple[str, str]:
    address = _address_in(home)
    return _fold(address.get("city")), _fold(address.get("state_code"))


def _zip_of(home: Home) -> Iterator[str]:
    text = str(_address_in(home).get("postal_code") or "")[:5]
    if len(text) == 5 and text.isdigit():
        yield text


def _proxy(address: str | None, secret: str | None) -> httpx2.Proxy | None:
    if address is None:
        return None
    user, _, password = (secret or "").partition(":")
    return httpx2.Proxy(address, auth=(user, password) if secret else None)


def _opens(opening: Opening) -> HomeHarvestSource:
    return HomeHarvestSource(opening.name, opening.settings, opening.secret, opening.gate)


KIND = Kind(
    "homeharvest",
    "realtor.com, a public website, read by HomeHarvest",
    HomeHarvestSettings,
    _opens,
    credential="optional",  # USER:PASSWORD of the proxy
    limits={"minute": 20, "day": 3000},
    request_delay=3.0,
    network=True,
    stops=True,
)
