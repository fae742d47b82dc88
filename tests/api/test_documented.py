"""The documented endpoints, exactly: paths, bodies and members as they stand, good and bad."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from making import a_listing

LISTING = "abc123def456"
UNKNOWN = ("nobody", "%00", "é☃", "x" * 2000, "a b", "'; --")


async def given(http: httpx2.AsyncClient, *crm_ids: str) -> None:
    """A listing under an id of its own, another one, and CRM properties."""
    records = [a_listing("L1") | {"property_id": LISTING}, a_listing("L2") | {"property_id": "other"}]
    assert (await http.post("/api/mls-properties", json={"listings": records})).json()["new"] == 2
    for crm_id in crm_ids:
        made = await http.post("/api/properties", json={"id": crm_id, "notes": "mine", "own": {"City": "Bklyn"}})
        assert made.status_code == 201, made.text


async def link(http: httpx2.AsyncClient, crm_id: str = "p1", listing: str = LISTING) -> httpx2.Response:
    return await http.post(f"/api/properties/{crm_id}/link-mls", json={"mls_property_id": listing})


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


async def test_link_fills_the_fields_at_once_and_the_same_link_again_changes_nothing(http: httpx2.AsyncClient) -> None:
    await given(http, "p1")

    first = await link(http)
    before = (await http.get("/api/properties/p1")).json()
    again = await link(http)

    assert (first.status_code, first.json()["linked"]) == (200, True)
    assert before["fields"]["ListPrice"] == "500000"
    assert (before["notes"], before["own"], before["values"]["City"]) == ("mine", {"City": "Bklyn"}, "New York")
    assert (again.status_code, again.json()["linked"]) == (200, False)
    assert (await http.get("/api/properties/p1")).json() == before


async def test_link_elsewhere_is_409_and_names_how_to_move(http: httpx2.AsyncClient) -> None:
    await given(http, "p1")
    await link(http)

    body = refused(await link(http, listing="other"), 409, "already_linked")

    path = "/api/properties/p1"
    assert body["hint"] == f'to move it, say "move": true at POST {path}/link-mls, or DELETE {path}/unlink-mls first'
    added = await http.post("/crm-property-reference", json={"mls_property_id": "other", "crm_property_id": "p1"})
    assert refused(added, 409, "already_linked")["hint"] == body["hint"]
    moved = await http.post("/api/properties/p1/link-mls", json={"mls_property_id": "other", "move": True})
    assert moved.json()["linked"]


@pytest.mark.parametrize("unknown", UNKNOWN)
async def test_unknown_ids_are_404_never_422(http: httpx2.AsyncClient, unknown: str) -> None:
    await given(http, "p1")
    for method, path, body in (
        ("GET", f"/api/properties/{unknown}", None),
        ("GET", f"/api/properties/{unknown}/mls-data", None),
        ("POST", f"/api/properties/{unknown}/sync-from-mls", None),
        ("POST", f"/api/properties/{unknown}/link-mls", {"mls_property_id": LISTING}),
        ("DELETE", f"/api/properties/{unknown}/unlink-mls", None),
        ("PATCH", f"/api/properties/{unknown}", {"notes": "x"}),
        ("GET", f"/api/mls-properties/{unknown}", None),
        ("GET", f"/api/mls-properties/{unknown}/changes", None),
    ):
        answer = await http.request(method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    refused(await link(http, listing=unknown), 404, "listing_not_found")
    refused(await http.post("/sync-property", json={"mls_property_id": unknown}), 404, "listing_not_found")


async def test_unlink_freezes_or_gives_the_crms_own_back(http: httpx2.AsyncClient) -> None:
    await given(http, "p1", "p2")
    for crm_id in ("p1", "p2"):
        await link(http, crm_id)

    await http.delete("/api/properties/p1/unlink-mls")
    await http.delete("/api/properties/p2/unlink-mls", params={"restore_own": "true"})

    frozen, own = [(await http.get(f"/api/properties/{c}")).json() for c in ("p1", "p2")]
    assert (frozen["values"]["City"], own["values"]["City"]) == ("New York", "Bklyn")
    refused(await http.delete("/api/properties/p1/unlink-mls"), 409, "not_linked")


async def test_mls_data_has_the_documented_members(http: httpx2.AsyncClient) -> None:
    await given(http, "p1", "p2")
    refused(await http.get("/api/properties/p1/mls-data"), 409, "not_linked")
    refused(await http.post("/api/properties/p1/sync-from-mls"), 409, "not_linked")
    for crm_id in ("p1", "p2"):
        await link(http, crm_id)

    data = (await http.get("/api/properties/p1/mls-data")).json()

    assert (data["property_id"], data["crm_property_ids"]) == (LISTING, ["p1", "p2"])
    assert len(data["content_hash"]) == 64
    assert data["fields"]["ListPrice"] == "500000"
    assert data["source_modified_at"] == "2026-03-01T12:00:00Z"


async def test_references_say_what_was_linked_and_removing_an_absent_one_is_404(http: httpx2.AsyncClient) -> None:
    await given(http, "p1")
    reference = {"mls_property_id": LISTING, "crm_property_id": "p1"}

    added = await http.post("/crm-property-reference", json=reference)
    assert (added.status_code, added.json()) == (
        200,
        {"message": "reference added", "platform": "default", **reference},
    )
    assert (await http.post("/crm-property-reference", json={**reference, "platform": "default"})).status_code == 200
    refused(
        await http.post("/crm-property-reference", json={**reference, "platform": "x"}), 404, "crm_property_not_found"
    )

    removed = await http.request("DELETE", "/crm-property-reference", json=reference)
    assert removed.json() == {"message": "reference removed", "platform": "default", **reference}
    refused(await http.delete("/crm-property-reference", params=reference), 404, "reference_not_found")
    unknown = await http.post("/crm-property-reference", json={**reference, "crm_property_id": "zz"})
    assert "POST /api/properties;" in refused(unknown, 404, "crm_property_not_found")["hint"]
    unknown = await http.post("/crm-property-reference", json={**reference, "mls_property_id": "zz"})
    assert "POST /api/mls-properties;" in refused(unknown, 404, "listing_not_found")["hint"]
    refused(await http.delete("/crm-property-reference", params={"mls_property_id": LISTING}), 422, "invalid_input")


async def test_sync_property_counts_those_in_step_and_those_that_differed(http: httpx2.AsyncClient, conn: Any) -> None:
    await given(http, "p1", "p2")
    for crm_id in ("p1", "p2"):
        await link(http, crm_id)
    await conn.execute("""UPDATE crm_properties SET fields = fields || '{"ListPrice": "9"}' WHERE id = 'p2'""")

    answer = (await http.post("/sync-property", json={"mls_property_id": LISTING})).json()

    assert {name: answer[name] for name in ("success", "mls_property_id", "crm_properties_updated", "changed")} == {
        "success": True, "mls_property_id": LISTING, "crm_properties_updated": 2, "changed": 1,
    }  # fmt: skip
    for every in (await http.post("/sync-property"), await http.post("/sync-property", json={})):
        assert (every.json()["crm_properties_updated"], every.json()["changed"]) == (2, 0)
    by_query = await http.post("/sync-property", params={"mls_property_id": LISTING, "platform": "default"})
    assert by_query.json()["crm_properties_updated"] == 2
    refused(await http.post("/sync-property", json={"platform": "x"}), 404, "platform_not_found")


async def test_sync_from_mls_says_which_fields_changed(http: httpx2.AsyncClient, conn: Any) -> None:
    await given(http, "p1")
    await link(http)
    await conn.execute("""UPDATE crm_properties SET fields = fields || '{"ListPrice": "9"}'""")

    first, second = [(await http.post("/api/properties/p1/sync-from-mls")).json() for _ in range(2)]

    assert (first["changed"], first["field_names"]) == (True, ["ListPrice"])
    assert (second["changed"], second["field_names"]) == (False, [])


async def test_pushed_change_reaches_the_linked_properties_at_once(http: httpx2.AsyncClient) -> None:
    await given(http, "p1")
    await link(http)

    pushed = await http.post("/api/mls-properties", json={"listings": [a_listing("L1", ListPrice=450000)]})

    assert (pushed.json()["changed"], pushed.json()["crm_updated"]) == (1, 1)
    assert (await http.get("/api/properties/p1")).json()["fields"]["ListPrice"] == "450000"
    changes = (await http.get(f"/api/mls-properties/{LISTING}/changes")).json()["items"]
    assert [(c["type"], c["field_name"], c["new_value"]) for c in changes] == [
        ("price", "ListPrice", "450000"), ("new", None, None),
    ]  # fmt: skip


async def test_unknown_members_and_unstrict_json_are_refused(http: httpx2.AsyncClient) -> None:
    await given(http, "p1")
    body = refused(
        await http.post("/api/properties/p1/link-mls", json={"mls_property_id": LISTING, "x": 1}), 422, "invalid_input"
    )
    assert body["errors"][0]["field"] == "x"
    for text in ('{"notes": NaN}', '{"notes": "a", "notes": "b"}', "{", ""):
        answer = await http.patch("/api/properties/p1", content=text, headers={"content-type": "application/json"})
        refused(answer, 422, "invalid_input")


async def linked(http: httpx2.AsyncClient) -> dict[str, str]:
    """A property linked to the listing, and the reference that this is."""
    await given(http, "p1")
    await link(http)
    return {"mls_property_id": LISTING, "crm_property_id": "p1"}


async def test_platform_that_is_known_but_not_linked_here_is_in_step_with_nothing(
    http: httpx2.AsyncClient,
) -> None:
    await linked(http)
    await http.post("/api/properties", json={"id": "h", "platform": "hub"})

    for body in (
        {"mls_property_id": "other", "platform": "default"},
        {"mls_property_id": "other"},
        {"platform": "hub"},
    ):
        answer = await http.post("/sync-property", json=body)
        assert (answer.status_code, answer.json()["crm_properties_updated"]) == (200, 0), body


async def test_wrong_platform_is_404_before_anything_is_synced(http: httpx2.AsyncClient, conn: Any) -> None:
    await linked(http)
    await conn.execute("""UPDATE crm_properties SET fields = fields || '{"ListPrice": "9"}'""")

    for body in ({"mls_property_id": LISTING, "platform": "x"}, {"platform": "x"}):
        refused(await http.post("/sync-property", json=body), 404, "platform_not_found")

    assert (await http.get("/api/properties/p1")).json()["fields"]["ListPrice"] == "9"


REMOVE = ("DELETE", "/crm-property-reference")


async def test_members_of_a_removal_may_come_by_body_and_query_together(http: httpx2.AsyncClient) -> None:
    reference = await linked(http)
    pairs: list[tuple[dict[str, str | None], dict[str, str]]] = [
        ({"mls_property_id": LISTING}, {"crm_property_id": "p1"}),
        ({}, reference),
        ({**reference}, reference),
        ({**reference, "platform": None}, {"platform": "default"}),
    ]
    for body, query in pairs:
        answer = await http.request(*REMOVE, json=body, params=query)
        assert answer.status_code == 200, (body, query, answer.text)
        await link(http)


async def test_wrong_platform_in_the_query_is_404_whatever_the_body_has(http: httpx2.AsyncClient) -> None:
    reference = await linked(http)

    refused(await http.request(*REMOVE, json=reference, params={"platform": "wrong"}), 404, "crm_property_not_found")
    refused(await http.delete(REMOVE[1], params=reference | {"platform": "wrong"}), 404, "crm_property_not_found")


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "member"),
    [
        (*REMOVE, {"mls_property_id": LISTING, "crm_property_id": "p1"}, {"crm_property_id": "p2"}, "crm_property_id"),
        ("POST", "/sync-property", {"mls_property_id": LISTING}, {"mls_property_id": "nope"}, "mls_property_id"),
        ("POST", "/sync-property", {"platform": "default"}, {"platform": "x"}, "platform"),
        ("DELETE", "/api/properties/p1/unlink-mls", {"restore_own": True}, {"restore_own": "false"}, "restore_own"),
    ],
)
async def test_body_and_query_that_contradict_each_other_are_refused(
    http: httpx2.AsyncClient, *, method: str, path: str, body: dict[str, Any], query: dict[str, str], member: str
) -> None:
    await linked(http)

    told = refused(await http.request(method, path, json=body, params=query), 422, "invalid_input")

    assert [error["field"] for error in told["errors"]] == [member]
    assert (await http.get("/api/properties/p1")).json()["mls_property_id"] == LISTING


async def test_unlinking_takes_its_member_by_body_too_and_no_other(http: httpx2.AsyncClient) -> None:
    await linked(http)
    path = "/api/properties/p1/unlink-mls"
    bodies: list[Any] = [{"restore_own": True, "foo": 1}, {"restore_own": "yes"}, [], 7]
    for body in bodies:
        refused(await http.request("DELETE", path, json=body), 422, "invalid_input")

    answer = await http.request("DELETE", path, json={"restore_own": True})

    assert (answer.status_code, answer.json()["restored_own"]) == (200, True)
    assert (await http.get("/api/properties/p1")).json()["values"]["City"] == "Bklyn"


@pytest.mark.parametrize("body", [b"{nonsense", b'{"force": true}', b"[]", b"x"])
async def test_body_that_is_none_of_a_sync_is_refused(http: httpx2.AsyncClient, body: bytes) -> None:
    await linked(http)
    path, json = "/api/properties/p1/sync-from-mls", {"Content-Type": "application/json"}

    refused(await http.post(path, content=body, headers=json), 422, "invalid_input")
    assert (await http.post(path, content=b"{}", headers=json)).status_code == 200


@pytest.mark.parametrize("body", [b"{nonsense", b'{"force": true}', b"[]", b"null", b"x"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/properties/p1"),
        ("DELETE", f"/api/mls-properties/{LISTING}"),
        ("DELETE", "/api/keys/1"),
    ],
)
async def test_body_where_none_is_taken_is_refused(
    http: httpx2.AsyncClient, method: str, path: str, body: bytes
) -> None:
    await linked(http)

    answer = await http.request(method, path, content=body, headers={"Content-Type": "application/json"})

    assert [error["field"] for error in refused(answer, 422, "invalid_input")["errors"]] == ["body"]
    assert (await http.get("/api/properties/p1")).json()["fields"]["ListPrice"] == "500000"
    good = await http.request(method, path, content=b"{}", headers={"Content-Type": "application/json"})
    assert good.status_code in {200, 204, 404}, good.text


@pytest.mark.parametrize("tail", ["\\u0000", "\\ud800"])
async def test_id_with_what_cannot_be_stored_names_nothing(http: httpx2.AsyncClient, tail: str) -> None:
    await linked(http)
    headers = {"Content-Type": "application/json"}
    listing, crm_id = f'"mls_property_id": "{LISTING}{tail}"', f'"crm_property_id": "p1{tail}"'
    good, p1 = f'"mls_property_id": "{LISTING}"', '"crm_property_id": "p1"'
    platform = f'"platform": "default{tail}"'
    for method, path, body, code in (
        ("POST", "/api/properties/p1/link-mls", listing, "listing_not_found"),
        ("POST", "/crm-property-reference", f"{listing}, {p1}", "listing_not_found"),
        ("POST", "/crm-property-reference", f"{good}, {crm_id}", "crm_property_not_found"),
        ("POST", "/crm-property-reference", f"{good}, {p1}, {platform}", "platform_not_found"),
        ("DELETE", "/crm-property-reference", f"{listing}, {p1}", "listing_not_found"),
        ("DELETE", "/crm-property-reference", f"{good}, {crm_id}", "crm_property_not_found"),
        ("DELETE", "/crm-property-reference", f"{good}, {p1}, {platform}", "platform_not_found"),
        ("POST", "/sync-property", listing, "listing_not_found"),
        ("POST", "/sync-property", platform, "platform_not_found"),
    ):
        refused(await http.request(method, path, content=f"{{{body}}}".encode(), headers=headers), 404, code)
    for query in ({"mls_property_id": f"{LISTING}\x00"}, {"platform": "default\x00"}):
        assert (await http.post("/sync-property", params=query)).status_code == 404
    new = f'{{"id": "new{tail}", "notes": "n{tail}"}}'
    made = await http.post("/api/properties", content=new.encode(), headers=headers)
    assert (made.status_code, made.json()["id"], made.json()["notes"]) == (201, "new", "n")  # in its normal form
