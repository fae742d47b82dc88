"""The sample goes on: a small MLS on this machine whose listings change twice a minute, read by runs like any other."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import sources
from mls_crm_sync.sync.sealing import Sealer

from .generator import SEED, next_status

EVERY = 30.0
"""Seconds between two changes of the market."""
CHANGES = 4
PAGE = 40
"""Listings in an answer: with the schedule's delay between two requests a run takes long enough to be watched, and is
over before the next one is due.
"""


class Live:
    """The demo's MLS, a service as `sources/fake.py` reads it; its locations are ZIPs."""

    def __init__(self, second_day: Path, *, seed: int = SEED) -> None:
        records = [orjson.loads(line) for line in second_day.read_bytes().splitlines()]
        self._listings: dict[str, dict[str, Any]] = {one["ListingKey"]: one for one in records}
        self._rng = random.Random(seed)  # noqa: S311 - a sample, no secret

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Answer on a free port of 127.0.0.1; lend the address."""
        routes = [
            Route("/locations", self._locations),
            Route("/listings", self._page),
            Route("/listings/{key}", self._one),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment] # the dashboard's own
        answering = asyncio.create_task(server.serve())
        try:
            while not server.started:
                if answering.done():
                    await answering
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            await answering

    async def set_up(self, db: Database, source: str, address: str) -> None:
        """Make the service a source."""
        await sources.add(db, Sealer(), source, "fake", {"url": address, "page_size": PAGE})

    async def go_on(self) -> None:
        """Let the market change, again and again."""
        while True:
            await asyncio.sleep(EVERY)
            self.change(datetime.now(UTC))

    def change(self, now: datetime) -> list[str]:
        """Move prices, and a status; return the keys."""
        chosen = self._rng.sample(list(self._listings.values()), CHANGES)
        for number, one in enumerate(chosen):
            if number or one["StandardStatus"] == "Closed":
                one["ListPrice"] += self._rng.randrange(-15_000, 16_000, 1_000) or 1_000
            else:
                one.update(next_status(one["StandardStatus"]))
            one["ModificationTimestamp"] = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        return [one["ListingKey"] for one in chosen]

    async def _locations(self, _: Request) -> Response:
        return _json({"value": sorted({one["PostalCode"] for one in self._listings.values()})})

    async def _page(self, request: Request) -> Response:
        location, after = request.query_params["location"], request.query_params.get("after", "")
        top = int(request.query_params.get("top", PAGE))
        there = sorted(key for key, one in self._listings.items() if one["PostalCode"] == location)
        rest = [key for key in there if key > after]
        body: dict[str, Any] = {"@odata.count": len(there), "value": [self._listings[key] for key in rest[:top]]}
        if len(rest) > top:
            where = f"location={quote(location)}&top={top}&after={quote(rest[top - 1])}"
            body["@odata.nextLink"] = f"{request.base_url}listings?{where}"
        return _json(body)

    async def _one(self, request: Request) -> Response:
        found = self._listings.get(request.path_params["key"])
        return _json(found) if found is not None else _json({"error": {"code": "not_found"}}, 404)


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
