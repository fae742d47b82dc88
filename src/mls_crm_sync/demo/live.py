"""The sample goes on: every minute a few listings change where a folder source finds them, and a run follows."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import sources
from mls_crm_sync.sync.sealing import Sealer

from .generator import SEED, next_status

EVERY = 60.0
"""Seconds between two deliveries."""
CHANGES = 4


class Live:
    """The demo's MLS: the newest delivery of each ZIP in a folder, with the manifest that proves it."""

    def __init__(self, folder: Path, second_day: Path, *, seed: int = SEED) -> None:
        self._folder = folder
        self._listings: list[dict[str, Any]] = [orjson.loads(line) for line in second_day.read_bytes().splitlines()]
        self._rng = random.Random(seed)  # noqa: S311 - a sample, no secret

    async def set_up(self, db: Database, source: str) -> None:
        """Deliver as the second day left things, and make the folder a source."""
        await asyncio.to_thread(self.deliver)
        await sources.add(db, Sealer(), source, "folder", {"path": str(self._folder)})

    async def go_on(self) -> None:
        """Change some listings and deliver, again and again."""
        while True:
            await asyncio.sleep(EVERY)
            self.change(datetime.now(UTC))
            await asyncio.to_thread(self.deliver)

    def change(self, now: datetime) -> list[str]:
        """Move prices, and a status; return the keys."""
        chosen = self._rng.sample(self._listings, CHANGES)
        for number, one in enumerate(chosen):
            if number or one["StandardStatus"] == "Closed":
                one["ListPrice"] += self._rng.randrange(-15_000, 16_000, 1_000) or 1_000
            else:
                one.update(next_status(one["StandardStatus"]))
            one["ModificationTimestamp"] = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        return [one["ListingKey"] for one in chosen]

    def deliver(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        by_zip: dict[str, list[bytes]] = defaultdict(list)
        for one in self._listings:
            by_zip[one["PostalCode"]].append(orjson.dumps(one))
        for name, lines in by_zip.items():
            _replace(self._folder / f"{name}.jsonl", b"\n".join(lines))
        said = [{"file": f"{name}.jsonl", "records": len(lines)} for name, lines in by_zip.items()]
        _replace(self._folder / "manifest.json", orjson.dumps({"deliveries": said}))


def _replace(path: Path, data: bytes) -> None:
    """Put a file in another's place, whole at every moment."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
