"""A service of many locations (`sources/fake.py` says which) that notes when it is asked for what."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import orjson

from sources.fault_server import send
from sources.serving import in_a_thread, listening


@dataclass
class MlsService:
    """By location the listings that it has, by key. Answers after `latency` seconds, from a thread of its own."""

    listings: dict[str, dict[str, dict[str, Any]]]
    page_size: int = 10
    latency: float = 0.0
    address: str = ""
    asked: list[tuple[float, str]] = field(default_factory=list)  # when (monotonic), and for what

    @contextlib.contextmanager
    def serving(self) -> Iterator[MlsService]:
        with in_a_thread(self._serving()):
            yield self

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        async with listening(self._connected) as self.address:
            yield

    def first_pages(self) -> Counter[str]:
        """How often the first page of each location was asked for."""
        queries = (parse_qs(urlsplit(what).query) for _, what in list(self.asked))
        return Counter(query["location"][0] for query in queries if "location" in query and "after" not in query)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = head.split(" ", 2)[1]
                self.asked.append((time.monotonic(), target))
                await asyncio.sleep(self.latency)
                status, body = self._answer(target)
                await send(writer, orjson.dumps(body), status=status)

    def _answer(self, target: str) -> tuple[int, dict[str, Any]]:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/locations":
            return 200, {"value": sorted(self.listings)}
        if url.path.startswith("/listings/"):
            key = unquote(url.path.removeprefix("/listings/"))
            found = next((some[key] for some in self.listings.values() if key in some), None)
            return (200, found) if found is not None else (404, {"error": {"code": "not_found"}})
        place = self.listings.get(query["location"], {})
        rest = sorted(key for key in place if key > query.get("after", ""))
        part = rest[: self.page_size]
        body: dict[str, Any] = {"@odata.count": len(place), "value": [place[key] for key in part]}
        if len(rest) > len(part):
            where = f"location={quote(query['location'])}&top={self.page_size}&after={quote(part[-1])}"
            body["@odata.nextLink"] = f"{self.address}/listings?{where}"
        return 200, body
