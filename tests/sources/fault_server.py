"""A service of pages (`sources/fake.py` says which) that misbehaves on purpose, by asyncio sockets.

`FaultServer(listings)` answers as it should; `fault` and `at` (the page, from 0) make it do one thing wrong, until they
are changed. What it does wrong is a function of `FAULTS`, which writes the raw answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from making import without
from sources.serving import listening

JSON = "application/json"
BLOCK = 256 * 1024
BOMB = 300 * 1024 * 1024
HTML = b"<!doctype html><title>One moment</title>Checking your browser"


@dataclass
class FaultServer:
    """By location its listings; keys are shown in their order."""

    listings: dict[str, dict[str, Any]]
    location: str = "10001"
    page_size: int = 10
    announced: int | None = None  # instead of how many there are
    fault: str = ""
    at: int = 0
    address: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultServer]:
        async with listening(self._connected) as self.address:
            yield self

    def page(self, number: int, **more: Any) -> dict[str, Any]:
        keys = sorted(self.listings)
        part = keys[number * self.page_size : (number + 1) * self.page_size]
        count = len(keys) if self.announced is None else self.announced
        body: dict[str, Any] = {"@odata.count": count, "value": [self.listings[key] for key in part]}
        if (number + 1) * self.page_size < len(keys):
            body["@odata.nextLink"] = self.link(number + 1)
        return body | more

    def link(self, number: int) -> str:
        return f"{self.address}/listings?location={self.location}&top={self.page_size}&page={number}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = head.split(" ", 2)[1]
                lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
                self.requests.append((target, {name.lower(): value for name, _, value in lines}))
                if not await self._answer(target, writer):
                    break

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> bool:
        """Answer, and return whether the connection goes on."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/locations":
            await send(writer, orjson.dumps({"value": [self.location]}))
            return True
        if url.path.startswith("/listings/"):
            listing = self.listings.get(unquote(url.path.removeprefix("/listings/")))
            gone = {"error": {"code": "not_found"}}
            await send(writer, orjson.dumps(listing or gone), status=200 if listing else 404)
            return True
        number = int(query.get("page", 0))
        if self.fault and (number == self.at or self.fault in EVERYWHERE):
            return await FAULTS[self.fault](self, writer, number)
        await send(writer, orjson.dumps(self.page(number)))
        return True


async def send(
    writer: asyncio.StreamWriter,
    body: bytes,
    *,
    status: int = 200,
    kind: str = JSON,
    length: int | None = None,
    more: Mapping[str, str] | None = None,
) -> None:
    headers = {"Content-Type": kind, "Content-Length": str(len(body) if length is None else length), **(more or {})}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    writer.write(head.encode("latin-1") + body)
    await writer.drain()


Fault = Callable[[FaultServer, asyncio.StreamWriter, int], Awaitable[bool]]
FAULTS: dict[str, Fault] = {}
EVERYWHERE = {"drift", "announces one more", "announces another count from here on"}
"""Faults that are no matter of one page."""


def fault(name: str) -> Callable[[Fault], Fault]:
    def keep(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return keep


def answers(name: str, status: int, body: bytes = b'{"error": {}}', kind: str = JSON, **headers: str) -> None:
    """A fault that is an answer as it stands."""

    async def answer(_: FaultServer, writer: asyncio.StreamWriter, __: int) -> bool:
        more = {key.replace("_", "-"): value for key, value in headers.items()}
        await send(writer, body, status=status, kind=kind, more=more)
        return True

    FAULTS[name] = answer


def changes(name: str, change: Callable[[FaultServer, int], bytes | dict[str, Any]]) -> None:
    """A fault that is another body under status 200."""

    async def answer(server: FaultServer, writer: asyncio.StreamWriter, number: int) -> bool:
        body = change(server, number)
        await send(writer, body if isinstance(body, bytes) else orjson.dumps(body))
        return True

    FAULTS[name] = answer


answers("401", 401)
answers("403", 403)
answers("403 in HTML", 403, HTML, "text/html")
answers("404", 404)
answers("429 with Retry-After", 429, Retry_After="7")
answers("429 with a date", 429, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
answers("429 without Retry-After", 429)
answers("500", 500)
answers("503", 503, HTML, "text/html")
answers("HTML with status 200", 200, HTML, "text/html; charset=utf-8")
answers("HTML that calls itself JSON", 200, HTML)
answers("plain text", 200, b"OK", "text/plain")
answers("no body", 200, b"")
answers("null", 200, b"null")
answers("list instead of an object", 200, b"[]")
answers("GraphQL error in a 200", 200, b'{"errors": [{"message": "boom"}], "data": null}')
answers("redirect to somebody else", 302, b"", Location="http://127.0.0.2:9/listings")


@fault("redirect loop")
async def _redirect_loop(server: FaultServer, writer: asyncio.StreamWriter, number: int) -> bool:
    await send(writer, b"", status=302, more={"Location": server.link(number)})
    return True


@fault("reset")
async def _reset(_: FaultServer, writer: asyncio.StreamWriter, __: int) -> bool:
    writer.transport.abort()
    return False


@fault("half a response")
async def _half(server: FaultServer, writer: asyncio.StreamWriter, number: int) -> bool:
    body = orjson.dumps(server.page(number))
    await send(writer, body[: len(body) // 2], length=len(body))
    return False


@fault("slow drip")
async def _drip(server: FaultServer, writer: asyncio.StreamWriter, number: int) -> bool:
    body = orjson.dumps(server.page(number))
    await send(writer, b"", length=len(body))
    for byte in body:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.01)
    return False


@fault("stalls")
async def _stalls(_: FaultServer, __: asyncio.StreamWriter, ___: int) -> bool:
    await asyncio.sleep(3600)
    return False


@fault("gzip bomb")
async def _bomb(_: FaultServer, writer: asyncio.StreamWriter, __: int) -> bool:
    head = f"HTTP/1.1 200 X\r\nContent-Type: {JSON}\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + _bomb_bytes())
    await writer.drain()
    return False


@functools.cache
def _bomb_bytes() -> bytes:
    """300 MB of white space, packed to 0.3 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blocks = [packer.compress(b" " * BLOCK) for _ in range(BOMB // BLOCK)]
    return b"".join((*blocks, packer.flush()))


@fault("300 MB page")
async def _huge(_: FaultServer, writer: asyncio.StreamWriter, __: int) -> bool:
    await send(writer, b"{", length=BOMB)
    for _block in range(BOMB // BLOCK):
        writer.write(b" " * BLOCK)
        await writer.drain()
    return False


@fault("cut gzip")
async def _cut_gzip(server: FaultServer, writer: asyncio.StreamWriter, number: int) -> bool:
    body = gzip.compress(orjson.dumps(server.page(number)))
    await send(writer, body[:-12], more={"Content-Encoding": "gzip"})
    return True


@fault("damaged gzip")
async def _damaged_gzip(server: FaultServer, writer: asyncio.StreamWriter, number: int) -> bool:
    body = bytearray(gzip.compress(orjson.dumps(server.page(number))))
    body[len(body) // 2] ^= 0xFF
    body[len(body) // 2 + 1] ^= 0xFF
    await send(writer, bytes(body), more={"Content-Encoding": "gzip"})
    return True


def _cut_at_a_row(server: FaultServer, number: int) -> bytes:
    value = server.page(number)["value"]
    return orjson.dumps({"@odata.count": len(server.listings), "value": value[:5]})[:-2]


def _keys(server: FaultServer) -> list[str]:
    return sorted(server.listings)


def _value(server: FaultServer, number: int, keys: list[str]) -> dict[str, Any]:
    return server.page(number, value=[server.listings[key] for key in keys])


def _overlapping(server: FaultServer, number: int) -> dict[str, Any]:
    """Its last listings are those of the page before or after it."""
    keys = _keys(server)
    begin = number * server.page_size
    shifted = keys[max(0, begin - 3) : begin + server.page_size + (3 if begin == 0 else 0)]
    return _value(server, number, shifted)


def _moved(server: FaultServer, number: int) -> dict[str, Any]:
    """One listing left the page while it was read, and the page behind it was told before."""
    keys = _keys(server)[number * server.page_size : (number + 1) * server.page_size]
    return _value(server, number, keys[1:])


def _instead(server: FaultServer, number: int) -> dict[str, Any]:
    """One listing came twice and another not at all, so their number is right."""
    keys = _keys(server)[number * server.page_size : (number + 1) * server.page_size]
    return _value(server, number, [keys[0], *keys[:-1]])


def _broken_record(server: FaultServer, number: int) -> bytes:
    body = orjson.dumps(server.page(number))
    return body.replace(b'"ListPrice":500000', b'"ListPrice":{"amount":1}', 1)


def _changed(server: FaultServer, number: int, **members: Any) -> dict[str, Any]:
    return server.page(number, value=[{**listing, **members} for listing in server.page(number)["value"]])


changes("JSON cut at a row's end", _cut_at_a_row)
changes("JSON cut in a row", lambda s, n: orjson.dumps(s.page(n))[: len(orjson.dumps(s.page(n))) // 2])
changes("empty page", lambda s, n: without(s.page(n, value=[]), "@odata.nextLink"))
changes("empty page that goes on", lambda s, n: s.page(n, value=[]))
changes("ends early", lambda s, n: without(s.page(n, value=s.page(n)["value"][:3]), "@odata.nextLink"))
changes("links to itself", lambda s, n: s.page(n, **{"@odata.nextLink": s.link(n)}))
changes("links to the first page", lambda s, n: s.page(n, **{"@odata.nextLink": s.link(0)}))
changes("links to somebody else", lambda s, n: s.page(n, **{"@odata.nextLink": "http://127.0.0.2:9/x"}))
changes("same page twice", lambda s, n: _value(s, n, _keys(s)[max(0, n - 1) * s.page_size :][: s.page_size] * 2))
changes("overlapping page", _overlapping)
changes("listing moves between pages", _moved)
changes("one listing twice instead of another", _instead)
changes("no count", lambda s, n: without(s.page(n), "@odata.count"))
changes("count is text", lambda s, n: s.page(n, **{"@odata.count": "30"}))
changes("value is null", lambda s, n: s.page(n, value=None))
changes("value stands twice", lambda s, n: orjson.dumps(s.page(n))[:-1] + b',"value":[]}')
changes("NaN", lambda s, n: orjson.dumps(s.page(n)).replace(b":500000", b":NaN", 1))
changes("bytes that are no UTF-8", lambda s, n: orjson.dumps(s.page(n)).replace(b"Main Street", b"Main \xff\xfe", 1))
changes("record that cannot be read", _broken_record)
changes("record that is no object", lambda s, n: s.page(n, value=[*s.page(n)["value"][1:], 7]))
changes("capped", lambda s, n: s.page(n, capped=True))
changes("older data", lambda s, n: _changed(s, n, ModificationTimestamp="2020-01-01T00:00:00Z", ListPrice=1))
changes("time stamps without a zone", lambda s, n: _changed(s, n, ModificationTimestamp="2030-01-01T00:00:00"))
changes("drift", lambda s, n: s.page(n, value=[without(one, "BedroomsTotal") for one in s.page(n)["value"]]))
changes("announces one more", lambda s, n: s.page(n, **{"@odata.count": len(s.listings) + 1}))
changes(
    "announces another count from here on",
    lambda s, n: s.page(n, **{"@odata.count": len(s.listings) + (1 if n >= s.at else 0)}),
)
