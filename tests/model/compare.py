"""Looks at the whole database and compares it with the model, row by row; what is new of history and events in order.

Time stamps are compared by tick: what one transaction of the model set has one time, later transactions later ones.
Content hashes are compared as classes: equal facts, equal hash, over all examples of a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from mls_crm_sync.store import crm_properties, payloads
from mls_crm_sync.store import quarantine as quarantine_store
from mls_crm_sync.store.database import Connection, Row
from model.crm_side import Model
from model.pieces import Table
from model.world import Place

_LISTINGS = """
    SELECT p.property_id, p.source, p.source_key, p.fields::json,
           p.standard_status, p.listing_id, p.city, p.postal_code,
           p.payload IS NULL AS empty, p.first_seen_at, p.last_changed_at, p.purged_at IS NOT NULL AS purged,
           p.absence_state,
           s.content_hash, s.norm_version, s.source_modified_at,
           l.source AS home_source, l.name AS home_name,
           ARRAY(SELECT c.id FROM crm_properties AS c WHERE c.mls_property_id = p.property_id ORDER BY c.id) AS crm_ids
    FROM mls_properties AS p JOIN mls_state AS s USING (property_id) JOIN locations AS l USING (location_id)
"""
_CRM = "SELECT * FROM crm_properties"
_LINKS = "SELECT crm_id, property_id, linked_at, unlinked_at FROM property_links"
_SHOWN = """
    SELECT l.source, l.name, m.property_id, m.last_shown_at
    FROM location_listings AS m JOIN locations AS l USING (location_id)
"""
_PLACES = "SELECT source, name, last_pass_at FROM locations"
_QUARANTINE = "SELECT q.*, l.source, l.name FROM quarantined_records AS q JOIN locations AS l USING (location_id)"
_HISTORY = """
    SELECT change_id, property_id, run_id, type, field_name, previous_value, new_value
    FROM property_changes WHERE change_id > $1 ORDER BY change_id
"""
_EVENTS = """
    SELECT seq, type, property_id, crm_property_id, platform, run_id, field_names, change_types
    FROM events WHERE seq > $1 ORDER BY seq
"""
_PAYLOADS = "SELECT property_id, payload FROM mls_properties WHERE payload IS NOT NULL"
_STALE_AFTER = timedelta(hours=12)


class Discrepancy(AssertionError):
    """Model and database differ."""


def same(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        differ(what, expected, actual)


def differ(what: str, expected: object, actual: object) -> NoReturn:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        names = [n for n in expected.keys() | actual.keys() if expected.get(n) != actual.get(n)]
        expected, actual = {n: expected.get(n) for n in names}, {n: actual.get(n) for n in names}
    raise Discrepancy(f"{what}\n    model:    {expected!r}\n    database: {actual!r}")


class Hashes:
    """Which facts have which content hash; one of each for ever."""

    def __init__(self) -> None:
        self._hash_of: dict[str, bytes] = {"": b""}
        self._facts_of: dict[bytes, str] = {b"": ""}

    def check(self, what: str, facts: str, content_hash: bytes) -> None:
        same(f"{what}: equal facts have equal hashes", self._hash_of.setdefault(facts, content_hash), content_hash)
        same(f"{what}: equal hashes mean equal facts", facts, self._facts_of.setdefault(content_hash, facts))


class Comparison:
    """Of one example: it remembers how far it has looked, and which tick was what time."""

    def __init__(self, conn: Connection, hashes: Hashes, versions: Mapping[str, str]) -> None:
        self._conn = conn
        self._hashes = hashes
        self._versions = versions  # of the normaliser, by the name of the table
        self._times: dict[int, datetime] = {}
        self._pass_times: dict[tuple[Place, int], datetime] = {}
        self._change_id = 0
        self._seq = 0
        self.quarantine_ids: dict[int, int] = {}  # by the place in the model's list

    async def check(self, model: Model, table: Table) -> None:
        same("CRM properties out of step in the model itself", [], model.out_of_step(table))
        await self._history(model)
        await self._events(model)
        await self._listings(model)
        await self._crm(model)
        await self._statuses(model)
        await self._links(model)
        await self._shown(model)
        await self._quarantine(model)

    async def check_payloads(self, model: Model, tables: Mapping[str, Table]) -> None:
        """What is kept for replay says what the model has seen, member by member."""
        for row in await self._conn.fetch(_PAYLOADS):
            listing = model.listings[row["property_id"]]
            clocks = {name for table in tables.values() for name in table.kinds if table.volatile(name)}
            kept = set(payloads.unpack(row["payload"])) - clocks
            same(f"members of the payload of {listing.key}", set(listing.payload) - clocks, kept)

    def _time(self, what: str, tick: int | None, at: datetime | None) -> None:
        if tick is None or at is None:
            same(what, tick, at)
            return
        same(f"{what}: set by transaction {tick}", self._times.setdefault(tick, at), at)

    def _in_order(self) -> None:
        ticks = sorted(self._times)
        times = [self._times[tick] for tick in ticks]
        same("later transactions have later times", sorted(set(times)), times)

    async def _history(self, model: Model) -> None:
        rows = await self._conn.fetch(_HISTORY, self._change_id)
        self._change_id = rows[-1]["change_id"] if rows else self._change_id
        same("new history", [tuple(h) for h in model.history], [tuple(row)[1:] for row in rows])
        model.history.clear()

    async def _events(self, model: Model) -> None:
        rows = await self._conn.fetch(_EVENTS, self._seq)
        self._seq = rows[-1]["seq"] if rows else self._seq
        found = [(*tuple(row)[1:6], tuple(row["field_names"]), tuple(row["change_types"])) for row in rows]
        same("new events", [tuple(told) for told in model.events], found)
        model.events.clear()

    async def _listings(self, model: Model) -> None:
        rows = {row["property_id"]: row for row in await self._conn.fetch(_LISTINGS)}
        same("listings", sorted(model.listings), sorted(rows))
        for listing_id, listing in model.listings.items():
            row, what = rows[listing_id], f"listing {listing.key} of {listing.source}"
            same(f"{what}: fields", listing.fields, row["fields"])
            expected = {
                "source": listing.source,
                "source_key": listing.key,
                "empty": listing.purged,
                "purged": listing.purged,
                "absence_state": "absent" if listing_id in model.absent else "listed",
                "norm_version": self._versions[listing.table],
                "source_modified_at": listing.clock,
                "home_source": listing.home.source,
                "home_name": listing.home.name,
                "crm_ids": model.crm_of([listing_id]),
                "standard_status": listing.fields.get("StandardStatus"),
                "listing_id": listing.fields.get("ListingId"),
                "city": listing.fields.get("City"),
                "postal_code": listing.fields.get("PostalCode"),
            }
            same(what, expected, _part(row, expected))
            self._hashes.check(what, listing.hash, row["content_hash"])
            self._time(f"{what}: first_seen_at", listing.first_seen, row["first_seen_at"])
            self._time(f"{what}: last_changed_at", listing.changed, row["last_changed_at"])

    async def _crm(self, model: Model) -> None:
        rows = {row["id"]: row for row in await self._conn.fetch(_CRM)}
        same("CRM properties", sorted(model.crm), sorted(rows))
        for crm_id, crm in model.crm.items():
            row, what = rows[crm_id], f"CRM property {crm_id}"
            expected = {name: value for name, value in vars(crm).items() if name in row.keys()}  # noqa: SIM118 - a Record iterates over its values
            same(what, expected, _part(row, expected))
            same(f"{what}: link", crm.listing, row["mls_property_id"])
            same(f"{what}: synced_hash is there", crm.hash is not None, row["synced_hash"] is not None)
            if crm.hash is not None:
                self._hashes.check(f"{what}: synced_hash", crm.hash, row["synced_hash"])
            for name, tick in (("created_at", crm.created), ("updated_at", crm.updated), ("synced_at", crm.synced)):
                self._time(f"{what}: {name}", tick, row[name])

    async def _statuses(self, model: Model) -> None:
        rows = await crm_properties.page(self._conn, stale_after=_STALE_AFTER)
        found = {row["id"]: (row["sync_status"], row["overrides"]) for row in rows}
        expected = {crm_id: (model.status_of(crm_id), model.active_overrides(crm)) for crm_id, crm in model.crm.items()}
        same("sync_status and the overrides that hold", expected, found)

    async def _links(self, model: Model) -> None:
        rows = sorted(await self._conn.fetch(_LINKS), key=lambda r: (r["crm_id"], r["linked_at"]))
        links = sorted(model.links, key=lambda link: (link.crm_id, link.since))
        same(
            "dates of links",
            [(link.crm_id, link.listing) for link in links],
            [(r["crm_id"], r["property_id"]) for r in rows],
        )
        for link, row in zip(links, rows, strict=True):
            self._time(f"link of {link.crm_id}: linked_at", link.since, row["linked_at"])
            self._time(f"link of {link.crm_id}: unlinked_at", link.until, row["unlinked_at"])
        self._in_order()

    async def _shown(self, model: Model) -> None:
        """last_shown_at is null while the newest pass of the location showed the listing, else the pass that did."""
        for row in await self._conn.fetch(_PLACES):
            place = Place(row["source"], row["name"])
            number = model.last_pass.get(place)
            same(f"{place} has had a pass", number is not None, row["last_pass_at"] is not None)
            if number is not None:
                at = self._pass_times.setdefault((place, number), row["last_pass_at"])
                same(f"{place}: last_pass_at moves with each pass that shows something", at, row["last_pass_at"])
        found = {
            (Place(*tuple(row)[:2]), row["property_id"]): row["last_shown_at"] for row in await self._conn.fetch(_SHOWN)
        }
        expected = {
            key: None if number is None else self._pass_times[key[0], number] for key, number in model.shown.items()
        }
        same("last_shown_at", expected, found)

    async def _quarantine(self, model: Model) -> None:
        """Rows are told by place, bytes and beginning; open ones by place and bytes alone."""
        self.quarantine_ids.clear()
        rows = {}
        for row in await self._conn.fetch(_QUARANTINE):
            data = quarantine_store.unpack(row["payload"])
            rows[Place(row["source"], row["name"]), data, row["first_at"]] = row
        same("rows in quarantine", len(model.set_aside), len(rows))
        for number, kept in enumerate(model.set_aside):
            what = f"quarantined {kept.record.data[:60]!r}"
            first = self._times.get(kept.first) or self._first_time(rows, kept.place, kept.record.data)
            found = rows.get((kept.place, kept.record.data, first))
            if found is None:
                differ(what, "a row", None)
            row = found
            self.quarantine_ids[number] = row["quarantine_id"]
            expected = (*kept.trouble, kept.run, kept.position, kept.times, False, kept.clock)
            columns = ("reason", "field_name", "run_id", "position", "times", "truncated", "source_modified_at")
            same(what, expected, tuple(row[name] for name in columns))
            self._time(f"{what}: first_at", kept.first, row["first_at"])
            self._time(f"{what}: last_at", kept.last, row["last_at"])
            self._time(f"{what}: resolved_at", kept.resolved, row["resolved_at"])

    def _first_time(self, rows: Iterable[Any], place: Place, data: bytes) -> datetime | None:
        times = [at for where, what, at in rows if (where, what) == (place, data) and at not in self._times.values()]
        return max(times, default=None)


def _part(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def pairs(synced: Iterable[Any]) -> Sequence[tuple[str, tuple[str, ...]]]:
    """What the product says it brought in step, as the model says it."""
    return [(s.crm_id, s.field_names) for s in synced]
