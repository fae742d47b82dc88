"""Makers that tests build with: listings as a source delivers them, pages of them, a CRM with properties."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import orjson

from mls_crm_sync.core.listing import Normaliser, property_id
from mls_crm_sync.sources.base import Page, RawRecord
from mls_crm_sync.store import migrate
from mls_crm_sync.store.database import Connection, Database, Row
from mls_crm_sync.sync import crm, links
from mls_crm_sync.sync.ingest import IngestResult, ingest
from mls_crm_sync.sync.reader import Reader

SOURCE, LOCATION = "test-mls", "10001"


def a_listing(key: str = "L1", **members: Any) -> dict[str, Any]:
    """A small listing in RESO names; members given replace or add, None stays null."""
    return {
        "ListingKey": key,
        "ListingId": f"MLS-{key}",
        "StandardStatus": "Active",
        "MlsStatus": "Active",
        "ListPrice": 500000,
        "UnparsedAddress": "1 Main Street",
        "City": "New York",
        "PostalCode": "10001",
        "BedroomsTotal": 2,
        "ModificationTimestamp": "2026-03-01T12:00:00Z",
        "DaysOnMarket": 10,
        "Media": [
            {
                "MediaKey": f"{key}-0",
                "Order": 0,
                "MediaCategory": "Photo",
                "MediaURL": "https://p.test/0.jpg?sig=1",
            }
        ],
        **members,
    }


def without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def id_of(key: str = "L1", source: str = SOURCE) -> str:
    return property_id(source, key)


def a_page(records: Iterable[Mapping[str, Any] | bytes], number: int = 1) -> Page:
    datas = [r if isinstance(r, bytes) else orjson.dumps(r) for r in records]
    raws = tuple(RawRecord(position, data) for position, data in enumerate(datas, start=1))
    return Page(number, raws, (), bytes_read=0, checkpoint={"page": number})


async def paged(records: Iterable[Mapping[str, Any] | bytes], size: int = 1000) -> AsyncIterator[Page]:
    everything = list(records)
    for number, at in enumerate(range(0, len(everything), size), start=1):
        yield a_page(everything[at : at + size], number)


async def deliver(
    db: Database,
    *records: Mapping[str, Any] | bytes,
    source: str = SOURCE,
    location: str = LOCATION,
    complete: bool = False,
    normaliser: Normaliser | None = None,
    page_size: int = 1000,
) -> IngestResult:
    """Ingest records as one delivery."""
    reader = Reader(source, normaliser or Normaliser())
    return await ingest(db, reader, paged(records, page_size), location=location, complete=complete)


async def a_crm(db: Database, *crm_ids: str, **columns: str) -> None:
    """Import CRM properties, each with the same columns."""
    rows = [(line, {"id": crm_id, **columns}) for line, crm_id in enumerate(crm_ids, start=2)]
    summary = await crm.import_rows(db, ["id", *columns], rows)
    assert not summary.errors


async def a_link(db: Database, crm_id: str, key: str = "L1") -> links.LinkResult:
    return await links.link(db, Normaliser().unsynced, crm_id, id_of(key))


async def crm_row(conn: Connection, crm_id: str) -> Row:
    row = await conn.fetchrow("SELECT * FROM crm_properties WHERE id = $1", crm_id)
    assert row is not None
    return row


async def listing_row(conn: Connection, key: str = "L1") -> dict[str, Any]:
    row = await conn.fetchrow(
        "SELECT * FROM mls_properties JOIN mls_state USING (property_id) WHERE property_id = $1", id_of(key)
    )
    assert row is not None
    return {**row, "fields": orjson.loads(row["fields"])}


def load_migration(name: str) -> str:
    """Return the text of a migration, to run it once more."""
    return next(migration.sql for migration in migrate.migrations() if migration.name == name)


async def history(conn: Connection, key: str = "L1") -> list[tuple[Any, ...]]:
    """Return (type, field, previous, new) of every change of a listing, oldest first."""
    rows = await conn.fetch(
        "SELECT type, field_name, previous_value, new_value FROM property_changes"
        " WHERE property_id = $1 ORDER BY change_id",
        id_of(key),
    )
    return [tuple(row) for row in rows]


async def event_log(
    conn: Connection, types: Sequence[str] = ("listing.changed", "property.synced")
) -> list[tuple[Any, ...]]:
    """Return (type, listing, CRM property, field names, change types) of the events, in order."""
    rows = await conn.fetch(
        "SELECT type, property_id, crm_property_id, field_names, change_types FROM events"
        " WHERE type = ANY ($1) ORDER BY seq",
        list(types),
    )
    return [tuple(row) for row in rows]


async def out_of_step(conn: Connection) -> list[str]:
    """Return the linked CRM properties whose fields are not their listing's; the invariant is: none."""
    rows = await conn.fetch(
        """SELECT c.id FROM crm_properties AS c JOIN mls_properties AS p ON p.property_id = c.mls_property_id
           WHERE c.fields IS DISTINCT FROM p.fields::jsonb - $1::text[] ORDER BY c.id""",
        list(Normaliser().unsynced),
    )
    return [row["id"] for row in rows]
