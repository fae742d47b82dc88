"""The main job on the generated sample, told step by step: what `make run` shows.

The sample lives in a database of its own beside the real one, made anew each time; real data is never touched.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mls_crm_sync import wiring
from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.settings import Settings
from mls_crm_sync.sources.base import Page
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.sources.table import read_table
from mls_crm_sync.store import crm_properties, listings
from mls_crm_sync.store.database import Database, Row
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.links import LinkRow
from mls_crm_sync.sync.reader import Reader

from .generator import write_sample

SOURCE, LOCATION = "demo", "*"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the tour, in words."""

    title: str
    result: str


@dataclass(frozen=True, slots=True)
class Tour:
    home: Path  # MLS_CRM_SYNC_HOME of the sample's database
    changes: list[Row]  # what the second delivery changed in the CRM, by CRM id
    out_of_step: int  # linked properties that are not as their listing
    owned_as_before: bool  # what the CRM owns is byte for byte what it was before the second delivery
    second: Path  # the second delivery


def own_settings(settings: Settings) -> Settings:
    """Return those of the sample's database: embedded, in a folder of its own whatever the real one is, and read anew
    every minute.
    """
    own = {"database_url": None, "home": settings.home / "demo"}
    return settings.model_copy(update={**own, "frequency": "* * * * *", "minimum_interval": timedelta(minutes=1)})


async def run(settings: Settings, tell: Callable[[Step], None]) -> Tour:
    """Ingest a delivery, link the CRM, ingest the next one; `tell` hears of each step as it ends."""
    own = own_settings(settings)  # made here, whoever calls: what they name is emptied
    sample = write_sample(own.home / "sample")
    await wiring.reset_database(own)
    async with wiring.open_database(own) as db:
        normaliser = Normaliser()
        first = await _ingest(db, normaliser, sample.first)
        tell(Step(f"ingest {sample.first.name}", _counts(first)))
        with read_table(sample.crm) as sheet:
            rows = [(row.line, row.cells) for row in sheet.rows if row.cells is not None]
            imported = await crm.import_rows(db, sheet.header, rows)
        tell(Step(f"crm import {sample.crm.name}", f"{imported.made:,} CRM properties"))
        linked = await links.link_rows(db, normaliser.unsynced, _link_rows(sample.links), source=SOURCE)
        tell(
            Step(
                f"link --file {sample.links.name}",
                f"{linked.linked:,} linked, {linked.filled:,} filled with MLS facts",
            )
        )
        async with db.connection() as conn:
            owned = await crm_properties.owned_digest(conn)
        second = await _ingest(db, normaliser, sample.second)
        tell(Step(f"ingest {sample.second.name}", _counts(second)))
        async with db.connection() as conn:
            return Tour(
                home=own.home,
                changes=await listings.crm_changes_of_run(conn, second.run_id),
                out_of_step=await crm_properties.count_out_of_step(conn, normaliser.unsynced),
                owned_as_before=await crm_properties.owned_digest(conn) == owned,
                second=sample.second,
            )


async def _ingest(db: Database, normaliser: Normaliser, path: Path) -> IngestResult:
    async with aclosing(_pages(path)) as pages:
        return await ingest(db, Reader(SOURCE, normaliser), pages, location=LOCATION, complete=True)


async def _pages(path: Path) -> AsyncGenerator[Page, None]:
    async with aclosing(FileReading(str(path), field_names=BY_NAME).pages()) as pages:
        async for page in pages:
            yield page


def _link_rows(path: Path) -> list[LinkRow]:
    with read_table(path) as sheet:
        whole = [row for row in sheet.rows if row.cells is not None]
        return [LinkRow(r.line, r.cells["crm_id"], listing_key=r.cells["listing_key"]) for r in whole if r.cells]


def _counts(result: IngestResult) -> str:
    tally = result.tally
    return (
        f"{tally.read:,} read, {tally.new:,} new, {tally.changed:,} changed, {tally.unchanged:,} unchanged "
        f"({tally.recognised:,} known by their bytes), {tally.crm_updated:,} CRM properties brought in step"
    )
