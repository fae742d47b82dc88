"""Bringing in step by hand, with a look at the listing's source first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.asking import done, items, refused, refused_member
from making import a_crm, a_link, a_listing, deliver, id_of
from mls_crm_sync.store.database import Database
from mls_crm_sync.sync import sources
from mls_crm_sync.sync.sealing import Sealer
from sources.mls_service import MlsService

SOURCE = "test-mls"


@pytest.fixture
async def service(db: Database) -> AsyncIterator[MlsService]:
    """Return a service that is set up as the source of the listing L1, to which c1 and c2 are linked."""
    await deliver(db, a_listing("L1"))
    await a_crm(db, "c1", "c2")
    for crm_id in ("c1", "c2"):
        await a_link(db, crm_id, "L1")
    with MlsService({"10001": {"L1": a_listing("L1")}}).serving() as one:
        await sources.add(db, Sealer(), SOURCE, "fake", {"url": one.address})
        yield one


def later(**members: Any) -> dict[str, Any]:
    return a_listing("L1", ModificationTimestamp="2026-03-02T12:00:00Z", **members)


async def test_listing_is_looked_up_first(http: httpx2.AsyncClient, service: MlsService) -> None:
    service.listings["10001"]["L1"] = later(ListPrice=7)
    answer = await done(await http.post("/api/properties/c1/sync-from-mls", json={"refresh": True}))
    assert (answer["changed"], answer["field_names"], answer["source_answer"]) == (
        True, ["ListPrice"], "found",
    )  # fmt: skip
    assert answer["source_checked_at"].endswith("Z")
    for crm_id in ("c1", "c2"):
        assert (await done(await http.get(f"/api/properties/{crm_id}")))["fields"]["ListPrice"] == "7"
    again = await done(await http.post("/api/properties/c1/sync-from-mls?refresh=true"))
    assert (again["changed"], again["source_answer"]) == (False, "found")
    asked = await done(await http.post("/sync-property", json={"mls_property_id": id_of("L1"), "refresh": True}))
    assert (asked["crm_properties_updated"], asked["changed"], asked["source_answer"]) == (2, 0, "found")
    runs = await items(http, "/api/runs", trigger="look_up")
    assert len(runs) == 3
    assert len(service.asked) == 3


async def test_without_it_nobody_is_asked(http: httpx2.AsyncClient, service: MlsService) -> None:
    for answer in (
        await done(await http.post("/api/properties/c1/sync-from-mls")),
        await done(await http.post("/api/properties/c1/sync-from-mls", json={"refresh": False})),
        await done(await http.post("/sync-property", json={"mls_property_id": id_of("L1")})),
    ):
        assert (answer["source_checked_at"], answer["source_answer"]) == (None, None)
    assert service.asked == []


async def test_what_the_source_does_not_have_changes_nothing(http: httpx2.AsyncClient, service: MlsService) -> None:
    del service.listings["10001"]["L1"]
    answer = await done(await http.post("/api/properties/c1/sync-from-mls", json={"refresh": True}))
    assert (answer["changed"], answer["source_answer"]) == (False, "not_there")
    assert answer["source_checked_at"] is not None
    assert (await done(await http.get("/api/properties/c1")))["sync_status"] != "gone"


async def test_source_that_does_not_say_is_told_so(http: httpx2.AsyncClient, db: Database, service: MlsService) -> None:
    await sources.change(db, Sealer(), SOURCE, settings={"url": "http://127.0.0.1:9/nothing"})
    answer = await done(await http.post("/sync-property", json={"mls_property_id": id_of("L1"), "refresh": True}))
    assert (answer["source_checked_at"], answer["source_answer"]) == (None, "unknown")
    assert answer["source_detail"]
    await sources.remove(db, SOURCE)
    answer = await done(await http.post("/sync-property", json={"mls_property_id": id_of("L1"), "refresh": True}))
    assert (answer["source_checked_at"], answer["source_detail"]) == (None, "no source is called 'test-mls'")
    del service


async def test_what_cannot_be_refreshed(http: httpx2.AsyncClient, db: Database) -> None:
    refused_member(await http.post("/sync-property", json={"refresh": True}), "refresh")
    refused_member(await http.post("/sync-property", json={"refresh": "yes", "mls_property_id": "x"}), "refresh")
    refused(await http.post("/sync-property", json={"refresh": True, "mls_property_id": "x"}), 404, "listing_not_found")
    refused(await http.post("/api/properties/x/sync-from-mls", json={"refresh": True}), 404, "crm_property_not_found")
    await a_crm(db, "c9")
    refused(await http.post("/api/properties/c9/sync-from-mls", json={"refresh": True}), 409, "not_linked")
