"""Listings by whether they are still shown, with the evidence, and what a person decides of many at once."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from making import a_crm, a_link, a_listing, deliver, id_of
from mls_crm_sync.store.database import Connection, Database

MANY = [a_listing(f"M{n:02}") for n in range(30)]


async def in_state(http: httpx2.AsyncClient, state: str) -> dict[str, dict[str, Any] | None]:
    answer = await http.get("/api/mls-properties", params={"state": state})
    assert answer.status_code == 200, answer.text
    return {item["listing_key"]: item["evidence"] for item in answer.json()["items"]}


async def test_listing_is_missing_then_absent_then_back_each_with_its_evidence(
    db: Database, http: httpx2.AsyncClient
) -> None:
    await deliver(db, a_listing("L1"), a_listing("L2"), complete=True)
    await a_crm(db, "c1", crm_status="active", notes="mine")
    await a_link(db, "c1", "L2")

    await deliver(db, a_listing("L1"), complete=True)
    await deliver(db, a_listing("L1"), complete=True)
    missing = (await in_state(http, "missing"))["L2"]
    assert missing is not None
    (place,) = missing["missing"]
    assert (place["passes"], place["location"]) == (2, "10001")
    assert place["last_shown_at"] < place["not_shown_since"]
    assert await in_state(http, "listed") == {"L1": None}
    assert await in_state(http, "absent") == {}

    await deliver(db, a_listing("L1"), complete=True)
    why = (await in_state(http, "absent"))["L2"]
    assert why is not None
    assert (why["rule"], why["passes"]) == ("no_lookup", 3)
    assert (await http.get(f"/api/mls-properties/{id_of('L2')}")).json()["evidence"] == why
    crm = (await http.get("/api/properties/c1")).json()
    assert (crm["sync_status"], crm["crm_status"], crm["notes"]) == ("gone", "active", "mine")
    assert crm["mls_property_id"] == id_of("L2")

    pushed = {"source": "test-mls", "location": "pushed", "listings": [a_listing("L2")]}
    assert (await http.post("/api/mls-properties", json=pushed)).status_code == 200
    assert sorted(await in_state(http, "listed")) == ["L1", "L2"]
    assert (await http.get("/api/properties/c1")).json()["sync_status"] == "synced"
    types = [event["type"] for event in (await http.get("/api/events")).json()["items"]]
    assert [t for t in types if t in {"listing.gone", "listing.returned"}] == ["listing.gone", "listing.returned"]


@pytest.mark.parametrize(
    ("verb", "decision", "state"), [("release", "released", "absent"), ("reject", "rejected", "listed")]
)
async def test_person_decides_of_many_at_once(
    db: Database, http: httpx2.AsyncClient, verb: str, decision: str, state: str
) -> None:
    await deliver(db, *MANY, complete=True)
    for _ in range(3):
        await deliver(db, *MANY[:12], complete=True)

    held = await in_state(http, "held")
    assert len(held) == 18
    (hold,) = (await http.get("/api/absence-holds")).json()["items"]
    assert (hold["still_held"], hold["listings"], hold["of"], hold["decision"]) == (18, 18, 30, None)
    path = f"/api/absence-holds/{hold['hold_id']}"

    answer = await http.post(f"{path}/{verb}")
    assert (answer.status_code, answer.json()["listings"]) == (200, 18)
    assert set(await in_state(http, state)) >= set(held)
    assert await in_state(http, "held") == {}
    assert (await http.post(f"{path}/{verb}")).json()["listings"] == 0, "again: nothing is left to do"
    other = "reject" if verb == "release" else "release"
    conflict = await http.post(f"{path}/{other}")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "hold_decided")
    (kept,) = (await http.get("/api/absence-holds", params={"decided": True})).json()["items"]
    assert (kept["decision"], kept["still_held"]) == (decision, 0)
    assert (await http.get("/api/absence-holds")).json()["items"] == []


async def test_held_listings_that_are_shown_again_leave_the_hold(
    db: Database, conn: Connection, http: httpx2.AsyncClient
) -> None:
    await deliver(db, *MANY, complete=True)
    for _ in range(3):
        await deliver(db, *MANY[:12], complete=True)

    await deliver(db, *MANY[:29])  # no proof of anything, but it shows them
    (hold,) = (await http.get("/api/absence-holds")).json()["items"]
    assert hold["still_held"] == 1
    await deliver(db, *MANY)

    assert (await http.get("/api/absence-holds")).json()["items"] == []
    assert await conn.fetchval("SELECT decision FROM absence_holds") == "returned"
    assert await conn.fetchval("SELECT count(*) FROM events WHERE type ~ 'gone|returned'") == 0, "nobody was told"


async def test_unknown_hold_is_404_with_the_way_to_the_known_ones(http: httpx2.AsyncClient) -> None:
    for hold_id in (7, 2**70):
        answer = await http.post(f"/api/absence-holds/{hold_id}/release")
        assert (answer.status_code, answer.json()["code"]) == (404, "hold_not_found")
        assert "/api/absence-holds" in answer.json()["hint"]
