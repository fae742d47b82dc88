"""Proposals over HTTP: read, accept, dismiss; who decided is kept."""

from __future__ import annotations

import httpx2
import pytest

from api.asking import done, refused
from making import a_crm, a_link, a_listing, deliver, id_of
from mls_crm_sync.store.database import Database

PATH = "/api/proposals"


@pytest.fixture
async def ended(db: Database) -> None:
    await deliver(db, a_listing(StandardStatus="Closed"))
    await a_crm(db, "c/1", "c2", crm_status="active")
    await a_link(db, "c/1")
    await a_link(db, "c2")


@pytest.mark.usefixtures("ended")
async def test_proposal_says_what_a_person_needs(http: httpx2.AsyncClient) -> None:
    answer = await done(await http.get(PATH, params={"limit": 1}))
    (item,) = answer["items"]
    assert answer["next_cursor"] == "c/1"
    assert item.pop("since").endswith("Z")
    assert item == {
        "crm_property_id": "c/1", "platform": "default", "address": "1 Main Street", "crm_status": "active",
        "suggested_crm_status": "closed", "reason": "ended", "standard_status": "Closed",
        "mls_property_id": id_of(), "source": "test-mls", "listing_key": "L1", "evidence": None, "version": 2,
        "dismissed": False, "dismissed_by": None, "dismissed_at": None, "note": None,
    }  # fmt: skip
    (second,) = (await done(await http.get(PATH, params={"cursor": "c/1"})))["items"]
    assert second["crm_property_id"] == "c2"
    assert (await done(await http.get("/api/stats")))["proposals"] == 2
    assert (await done(await http.get(PATH, params={"reason": "absent"})))["items"] == []


@pytest.mark.usefixtures("ended")
async def test_accepting_and_dismissing(http: httpx2.AsyncClient) -> None:
    accepted = await done(await http.post(f"{PATH}/c%2F1/accept", json={"crm_status": "sold"}))
    assert accepted == {"message": "accepted", "crm_property_id": "c/1", "crm_status": "sold", "version": 3}
    crm = await done(await http.get("/api/properties/c%2F1"))
    assert (crm["crm_status"], crm["version"]) == ("sold", 3)

    dismissed = await done(await http.post(f"{PATH}/c2/dismiss", json={"note": "a mistake of the MLS"}))
    assert dismissed == {"message": "dismissed", "crm_property_id": "c2", "crm_status": "active", "version": 2}
    assert (await done(await http.get(PATH)))["items"] == []
    (kept,) = (await done(await http.get(PATH, params={"dismissed": True})))["items"]
    assert (kept["dismissed_by"], kept["note"]) == ("local", "a mistake of the MLS")
    assert (await done(await http.post(f"{PATH}/c2/accept")))["crm_status"] == "closed", "a person may think again"


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("verb", ["accept", "dismiss"])
async def test_what_cannot_be_decided(http: httpx2.AsyncClient, verb: str) -> None:
    refused(await http.post(f"{PATH}/nobody/{verb}"), 404, "crm_property_not_found")
    refused(await http.post(f"{PATH}/c%00/{verb}"), 404, "crm_property_not_found")
    refused(await http.post(f"{PATH}/c2/{verb}", headers={"If-Match": '"1"'}), 412, "version_mismatch")
    refused(await http.post(f"{PATH}/c2/{verb}", json={"status": "sold"}), 422, "invalid_input")
    await done(await http.patch("/api/properties/c2", json={"crm_status": "archived"}))
    refused(await http.post(f"{PATH}/c2/{verb}"), 409, "no_proposal")


@pytest.mark.usefixtures("ended")
async def test_staying_active_is_no_acceptance(http: httpx2.AsyncClient) -> None:
    refused(await http.post(f"{PATH}/c2/accept", json={"crm_status": "active"}), 422, "invalid_input")
    refused(await http.get(PATH, params={"reason": "sold"}), 422, "invalid_input")
