"""Reading JSON over HTTP, as strictly for one network source as for another.

An answer is taken for what it is only when it comes in time as a whole, is of a size that a page can have, says that it
is JSON, and is JSON without a name that stands twice. Everything else ends the pass with a word of its own:

    refused       401, 403: never tried again by itself
    rate_limited  429, for longer or more often than we wait
    unavailable   5xx, no connection, cut off, too slow, each several times in a row
    blocked       a page for people, or a redirect to somebody else
    broken        what cannot be read, or is larger than any page

The secret goes to the source's own origin and nowhere else, and into no message.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx2
import msgspec

from mls_crm_sync.core.errors import RateLimited, SourceBlocked, SourceBroken, SourceRefused, SourceUnavailable

from .base import Gate, Request

_GZIP_WINDOW = 31  # zlib's word for: expect a gzip header and check its sums
_MEGABYTE = 1024 * 1024
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes of one answer, and how often one that did not come is asked for again."""

    answer_bytes: int = 20 * _MEGABYTE  # unpacked; a page of 1,000 listings with photos has about 10 MB
    deadline: float = 60.0  # from the request to the last byte: a slow drip would keep any read time-out content
    attempts: int = 4
    backoff: float = 0.5  # before the second attempt at most; twice as long before each one after it
    longest_backoff: float = 30.0
    longest_wait: float = 120.0  # that a 429 may ask for; a longer one ends the pass
    redirects: int = 3
    waits: int = 5  # times that a 429 is obeyed for one answer


class Got(NamedTuple):
    """A JSON answer."""

    status: int
    body: bytes


class _Question(NamedTuple):
    method: str
    url: str
    content: bytes | None = None
    headers: Mapping[str, str] | None = None


class _Again(Exception):  # a turn of the loop, never seen outside
    """Worth another attempt"""


class _Limited(Exception):  # as above
    def __init__(self, seconds: float | None) -> None:
        super().__init__("429")
        self.seconds = seconds


class JsonClient:
    """Asks one origin for JSON; every request goes through the gate.

    `name` is what messages call the source; `tls` is whom to trust instead of the usual authorities. `sleep`, `jitter`
    (0 up to 1) and `now` (UTC) are there to be replaced.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        gate: Gate,
        *,
        secret: str | None = None,
        proxy: httpx2.Proxy | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._name = name
        self._gate = gate
        self._limits = limits or Limits()
        self._sleep = sleep
        self._jitter = jitter
        self._now = now
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "mls-crm-sync"}
        if secret is not None:
            headers["Authorization"] = f"Bearer {secret}"
        self._base = httpx2.URL(base_url.rstrip("/") + "/")
        self._client = httpx2.AsyncClient(
            headers=headers, timeout=self._limits.deadline, follow_redirects=False, trust_env=False, proxy=proxy,
            verify=tls or True,
        )  # fmt: skip

    async def close(self) -> None:
        await self._client.aclose()

    def url(self, path: str, query: Mapping[str, str | int] | None = None) -> str:
        """Return the address of something below the source's own; a path may be a whole address of the same origin.

        Raises SourceBlocked for somebody else's.
        """
        found = self._base.join(path)
        if query:
            found = found.copy_merge_params({key: str(value) for key, value in query.items()})
        return self._own(found, "a link leads")

    async def get(self, url: str, *, statuses: Collection[int] = (200,)) -> Got:
        """Return a JSON answer with one of the statuses.

        Raises SourceRefused, RateLimited, SourceUnavailable, SourceBlocked, SourceBroken.
        """
        return await self._answer(_Question("GET", url), statuses=statuses)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Got:
        """Return the JSON answer to a question that changes nothing, so that it may be asked again. Raises as `get`."""
        return await self._answer(_Question("POST", url, body, headers), statuses=(200,))

    async def _answer(self, question: _Question, *, statuses: Collection[int]) -> Got:
        attempts, waits = 0, 0
        while True:
            try:
                return await self._asked(question, statuses=statuses)
            except _Limited as limited:
                waits += 1
                seconds = self._backoff(waits) if limited.seconds is None else limited.seconds
                if waits > self._limits.waits or seconds > self._limits.longest_wait:
                    raise self._rate_limited(limited.seconds) from None
                await self._sleep(seconds)
            except (_Again, httpx2.TransportError, TimeoutError) as error:
                attempts += 1
                if attempts >= self._limits.attempts:
                    raise self._unavailable(error, attempts) from None
                await self._sleep(self._backoff(attempts))

    async def _asked(self, question: _Question, *, statuses: Collection[int]) -> Got:
        method, url, content, headers = question
        for _ in range(self._limits.redirects + 1):
            async with self._gate.request() as request:
                try:  # the wait for our turn does not count
                    async with (
                        asyncio.timeout(self._limits.deadline),
                        self._client.stream(method, url, content=content, headers=headers) as response,
                    ):
                        if not response.has_redirect_location:
                            return await self._read(response, request, statuses=statuses)
                        url = self._own(response.url.join(response.headers["location"]), "a redirect leads")
                        request.answered()
                except (httpx2.TransportError, TimeoutError, asyncio.CancelledError):
                    request.failed()
                    raise
        raise SourceBroken("redirects", f"{self._name} redirects more than {self._limits.redirects} times", hint=_LOOK)

    async def _read(self, response: httpx2.Response, request: Request, *, statuses: Collection[int]) -> Got:
        status = response.status_code
        if status == 429:
            seconds = retry_after(response.headers.get("retry-after"), self._now())
            request.limited(seconds)
            raise _Limited(seconds)
        if status >= 500:
            request.failed()
            raise _Again(f"HTTP {status}")
        if status in {401, 403}:
            request.refused()
            raise SourceRefused(
                f"http_{status}",
                f"{self._name} does not let us in (HTTP {status})",
                hint="look whether the secret is right and the account still in force: `mls-crm-sync sources check`",
            )
        request.answered()
        if status not in statuses:
            raise SourceBroken(f"http_{status}", f"{self._name} answered with HTTP {status}", hint=_LOOK)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise SourceBlocked(
                "not_json", f"{self._name} answered with {kind or 'no content type'} instead of JSON", hint=_BLOCKED
            )
        return Got(status, await self._body(response, request))

    async def _body(self, response: httpx2.Response, request: Request) -> bytes:
        """Read an answer no further than it may be large, packed or not."""
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        if packing not in {"identity", "gzip", ""}:
            raise SourceBroken("encoding", f"{self._name} packs its answers with {packing}", hint=_LOOK)
        unpacker = _Unpacker() if packing == "gzip" else None
        most = self._limits.answer_bytes
        parts: list[bytes] = []
        size = 0
        try:
            async for block in response.aiter_raw():
                request.count(len(block))
                for part in unpacker.unpacked(block) if unpacker else (block,):
                    parts.append(part)
                    size += len(part)
                    if size > most:
                        limit = f"{most // _MEGABYTE} MB"
                        raise SourceBroken("too_large", f"an answer of {self._name} is larger than {limit}", hint=_LOOK)
        except zlib.error as error:
            raise SourceBroken("damaged", f"the answer of {self._name} is damaged: {error}", hint=_LOOK) from error
        if unpacker and not unpacker.ended:
            raise _Again("the packed answer ends before its data do")
        return b"".join(parts)

    def _own(self, url: httpx2.URL, how: str) -> str:
        """Return an address of our origin; the secret goes to no other. Raises SourceBlocked."""
        ours = (self._base.scheme, self._base.host, self._base.port)
        if (url.scheme, url.host, url.port) != ours:
            raise SourceBlocked(
                "other_origin", f"{how} from {self._name} to somebody else, {url.scheme}://{url.host}", hint=_BLOCKED
            )
        return str(url.copy_with(fragment=None))

    def _backoff(self, attempt: int) -> float:
        """Full jitter: from nothing up to a bound that doubles; many who failed at once do not return at once."""
        bound: float = min(self._limits.longest_backoff, self._limits.backoff * 2 ** (attempt - 1))
        return self._jitter() * bound

    def _rate_limited(self, seconds: float | None) -> RateLimited:
        wait = f"wants us back in {seconds:,.0f} s" if seconds is not None else "goes on asking us to slow down"
        hint = "give it a longer request delay, or read it less often"
        return RateLimited("http_429", f"{self._name} {wait}", hint=hint)

    def _unavailable(self, error: Exception, attempts: int) -> SourceUnavailable:
        if isinstance(error, TimeoutError | httpx2.TimeoutException):
            why = f"no whole answer within {self._limits.deadline:g} s"
        elif isinstance(error, httpx2.ConnectError):
            why = "no connection"
        elif isinstance(error, _Again):
            why = str(error)
        else:
            why = "the connection broke off"  # the library's own words may hold the address
        detail = f"{self._name} does not answer: {why}, {attempts} times in a row"
        return SourceUnavailable("no_answer", detail, hint="try again later; look whether the source has an outage")


class _Unpacker:
    """Unpacks gzip a piece at a time: what a bomb would become never is in memory."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)

    @property
    def ended(self) -> bool:
        return self._zlib.eof

    def unpacked(self, block: bytes) -> Iterator[bytes]:
        while block and not self._zlib.eof:
            yield self._zlib.decompress(block, _PIECE)
            block = self._zlib.unconsumed_tail


_LOOK = "the source's side has to mend it; `mls-crm-sync sources check` tells whether it has"
_BLOCKED = "open the address in a browser: often it is a log-in page, a block page or a proxy that answers"


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110, 10.2.3: seconds, or a date); None for nothing."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def envelope(body: bytes, name: str) -> dict[str, msgspec.Raw]:
    """Return the members of the object that an answer is, unparsed.

    Raises SourceBroken for what is no JSON object, is cut off, or names a member twice: which one counts
    is not known.
    """
    outermost: list[tuple[str, object]] = []

    def closing(pairs: list[tuple[str, object]]) -> None:
        """Called for every object when it closes, so the outermost comes last; keeps nothing of the others."""
        outermost[:] = pairs

    try:
        members = _members(body)
        json.loads(body, object_pairs_hook=closing)
    except (ValueError, RecursionError) as error:  # msgspec's error is one
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SourceBroken("not_json", f"an answer of {name} is no JSON object: {why}", hint=_LOOK) from None
    if len(outermost) != len(members):
        raise SourceBroken("duplicate_member", f"an answer of {name} names a member twice", hint=_LOOK)
    return members
