"""What people look at: summaries, a property against its listing, its history, what changed, how things stand."""

from __future__ import annotations

from typing import Any

import httpx2

from api.asking import done, ids, items, refused, refused_member
from api.test_crm_properties import linked, made
from making import a_listing
from mls_crm_sync.core.access import Scope
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import keys

PATH = "/api/property-summaries"


async def pushed(http: httpx2.AsyncClient, crm_id: str, when: str = "2026-03-02T12:00:00Z", **facts: Any) -> int:
    """The listing of a CRM property says something else; return the run that brought it."""
    told = a_listing(f"L-{crm_id}", ModificationTimestamp=when, **facts) | {"property_id": f"l-{crm_id}"}
    answer = await done(await http.post("/api/mls-properties", json={"listings": [told]}))
    run_id: int = answer["run_id"]
    return run_id


async def compared(http: httpx2.AsyncClient, name: str) -> dict[str, Any]:
    told = await done(await http.get("/api/properties/a/compare"))
    found = [field for field in told["fields"] if field["name"] == name]
    assert len(found) == 1, name
    one: dict[str, Any] = found[0]
    return one


async def test_summary_is_what_a_reader_gets_and_names_the_office(http: httpx2.AsyncClient) -> None:
    await linked(http, "a", ListOfficeName="Realty & Sons")
    await pushed(http, "a", ListPrice=495000, ListOfficeName="Realty & Sons")
    await pushed(http, "a", "2026-03-03T12:00:00Z", ListPrice=480000, ListOfficeName="Realty & Sons")
    await done(
        await http.patch(
            "/api/properties/a", json={"overrides": {"BedroomsTotal": 3, "ListPrice": 490000}, "crm_status": "active"}
        )
    )

    (one,) = (await done(await http.get(PATH)))["items"]

    assert one.items() >= {
        "id": "a", "crm_status": "active", "address": "1 Main Street", "city": "New York", "standard_status": "Active",
        "list_price": "490000", "mls_price": "480000", "previous_price": "495000", "bedrooms": "3",
        "mls_number": "MLS-L-a", "overridden": 2,
        "courtesy_of": "Realty & Sons", "mls_property_id": "l-a", "listing_key": "L-a", "sync_status": "overridden",
    }.items()  # fmt: skip
    assert one["price_changed_at"] is not None


async def test_summaries_come_the_last_touched_first_and_count_themselves(http: httpx2.AsyncClient) -> None:
    for name in ("c", "a", "d", "b"):
        await made(http, id=name)
    await done(await http.patch("/api/properties/c", json={"notes": "x"}))

    whole = await done(await http.get(PATH))
    first = await done(await http.get(PATH, params={"limit": 3}))
    rest = await done(await http.get(PATH, params={"limit": 3, "cursor": first["next_cursor"]}))

    assert [one["id"] for one in whole["items"]] == ["c", "b", "d", "a"]
    assert first["items"] + rest["items"] == whole["items"]
    assert (whole["total"], first["total"], rest["total"], rest["next_cursor"]) == (4, 4, 4, None)
    refused_member(await http.get(PATH, params={"cursor": "yesterday"}), "cursor")
    refused_member(await http.get(PATH, params={"sync_status": "fine"}), "sync_status")


async def test_summaries_are_filtered(http: httpx2.AsyncClient) -> None:
    await linked(http, "a", City="Austin", StandardStatus="Pending")
    await linked(http, "b")
    await made(http, id="c", crm_status="lead", own={"City": "Austin"}, platform="hub")
    await done(await http.patch("/api/properties/b", json={"overrides": {"ListPrice": 1, "City": "Hartford"}}))

    async def found(**query: Any) -> list[str]:
        told = await done(await http.get(PATH, params=query))
        assert told["total"] == len(told["items"])
        return sorted(one["id"] for one in told["items"])

    assert await found(city="austin") == ["a", "c"]
    assert await found(city="Hartford") == ["b"], "as it is shown, an override included"
    assert await found(standard_status="Pending") == ["a"]
    assert await found(linked=True) == ["a", "b"]
    assert await found(linked=False) == ["c"]
    assert await found(crm_status="lead") == await found(platform="hub") == ["c"]
    assert await found(sync_status=["overridden", "not_linked"]) == ["b", "c"]
    assert await found(q="MLS-L-b") == ["b"]
    assert await found(q="nobody") == []


async def test_comparison_says_whose_value_it_is_and_since_when(http: httpx2.AsyncClient) -> None:
    await linked(http, "a")
    await done(
        await http.patch("/api/properties/a", json={"own": {"City": "Bklyn", "PostalCode": "10001", "View": ["Sea"]}})
    )
    await pushed(http, "a", ListPrice=490000)
    run_id = await pushed(http, "a", "2026-03-03T12:00:00Z", ListPrice=480000)

    price = await compared(http, "ListPrice")
    assert price.items() >= {
        "label": "List price", "type": "money", "unit": "USD", "value": "480000", "mls": "480000", "own": None,
        "kept_by": "mls", "state": "same", "override": None, "run_id": run_id,
    }.items()  # fmt: skip
    assert price["changed_at"] is not None
    assert (await compared(http, "City")).items() >= {"own": "Bklyn", "value": "New York", "state": "differs"}.items()
    assert (await compared(http, "PostalCode"))["state"] == "same"
    assert (await compared(http, "View")).items() >= {"kept_by": "crm", "mls": None, "state": "crm_only"}.items()


async def test_override_is_a_conflict_once_the_mls_has_changed_its_mind(http: httpx2.AsyncClient) -> None:
    await linked(http, "a")
    await done(await http.patch("/api/properties/a", json={"overrides": {"ListPrice": 510000}, "reason": "agreed"}))

    quiet = await compared(http, "ListPrice")
    await pushed(http, "a", ListPrice=480000)
    loud = await compared(http, "ListPrice")

    assert quiet.items() >= {"value": "510000", "mls": "500000", "kept_by": "override", "state": "overridden"}.items()
    assert loud.items() >= {"value": "510000", "mls": "480000", "state": "conflict"}.items()
    assert loud["override"].items() >= {"reason": "agreed", "mls_value": "500000", "until": None}.items()


async def test_comparison_after_the_link_was_cut_is_frozen(http: httpx2.AsyncClient) -> None:
    await linked(http, "a")
    before = await done(await http.get("/api/properties/a/compare"))
    await done(await http.delete("/api/properties/a/unlink-mls"))
    after = await done(await http.get("/api/properties/a/compare"))

    await made(http, id="never")
    never = await done(await http.get("/api/properties/never/compare"))

    assert (before["frozen"], after["frozen"], never["frozen"]) == (False, True, False)
    assert (await compared(http, "ListPrice"))["value"] == "500000"
    refused(await http.get("/api/properties/zz/compare"), 404, "crm_property_not_found")


async def test_history_is_of_the_time_of_the_link(http: httpx2.AsyncClient) -> None:
    await linked(http, "a")
    run_id = await pushed(http, "a", ListPrice=480000, PrivateRemarks="key under the mat")
    await done(await http.patch("/api/properties/a", json={"overrides": {"BedroomsTotal": 9}}))
    await pushed(
        http, "a", "2026-03-03T12:00:00Z", ListPrice=480000, PrivateRemarks="key under the mat", BedroomsTotal=4
    )
    await done(await http.delete("/api/properties/a/unlink-mls"))
    await pushed(http, "a", "2026-03-04T12:00:00Z", ListPrice=1)

    told = await items(http, "/api/properties/a/history", limit=2)

    assert [(one["kind"], one["field_name"], one["crm"]) for one in told] == [
        ("unlinked", None, None),
        ("change", "BedroomsTotal", "held_by_override"),
        ("change", "PrivateRemarks", "not_copied"),
        ("change", "ListPrice", "applied"),
        ("linked", None, None),
    ]
    price = told[3]
    assert price.items() >= {"label": "List price", "previous_value": "500000", "new_value": "480000"}.items()
    assert (price["run_id"], price["run_kind"]) == (run_id, "push")
    refused_member(await http.get("/api/properties/a/history", params={"cursor": "2026-01-01T00:00:00Z~x"}), "cursor")
    refused(await http.get("/api/properties/zz/history"), 404, "crm_property_not_found")


async def test_changes_are_those_of_the_market(http: httpx2.AsyncClient) -> None:
    await linked(http, "a", ListOfficeName="Realty")
    await done(await http.post("/api/mls-properties", json={"listings": [a_listing("L-x") | {"property_id": "l-x"}]}))
    await pushed(http, "a", ListPrice=480000, ListOfficeName="Realty")
    await pushed(http, "x", ListPrice=1)

    newest = await items(http, "/api/changes", limit=1)

    assert [(one["listing_key"], one["field_name"]) for one in newest] == [("L-x", "ListPrice"), ("L-a", "ListPrice")]
    (followed,) = await items(http, "/api/changes", linked=True)
    assert (
        followed.items()
        >= {"crm_properties": {"a": "applied"}, "courtesy_of": "Realty", "address": "1 Main Street"}.items()
    )
    assert [one["listing_key"] for one in await items(http, "/api/changes", linked=False)] == ["L-x"]


async def test_change_is_told_of_who_was_linked_when_it_came(http: httpx2.AsyncClient, conn: Connection) -> None:
    await linked(http, "a")
    run_id = await pushed(http, "a", ListPrice=480000)
    await conn.execute("UPDATE property_changes SET at = at - interval '1 minute'")
    await conn.execute("UPDATE property_links SET linked_at = linked_at - interval '2 minutes'")
    await made(http, id="late")
    await done(await http.post("/api/properties/late/link-mls", json={"mls_property_id": "l-a"}))
    await done(await http.delete("/api/properties/a/unlink-mls"))

    (one,) = await items(http, "/api/changes")

    assert one["crm_properties"] == {"a": "applied"}
    assert (await items(http, f"/api/runs/{run_id}/changes"))[0]["crm_properties"] == {"a": "applied"}


async def test_override_holds_no_change_from_before_it(http: httpx2.AsyncClient, conn: Connection) -> None:
    await linked(http, "a")
    before = await pushed(http, "a", ListPrice=480000)
    await conn.execute("UPDATE property_changes SET at = at - interval '1 minute'")
    await conn.execute("UPDATE property_links SET linked_at = linked_at - interval '2 minutes'")
    await done(await http.patch("/api/properties/a", json={"overrides": {"ListPrice": 1}}))
    after = await pushed(http, "a", "2026-03-03T12:00:00Z", ListPrice=470000)

    newest = await items(http, "/api/changes")

    assert [one["crm_properties"] for one in newest] == [{"a": "held_by_override"}, {"a": "applied"}]
    for run_id, became in ((before, "applied"), (after, "held_by_override")):
        (one,) = await items(http, f"/api/runs/{run_id}/changes")
        assert one["crm_properties"] == {"a": became}, run_id


async def test_overview_counts_what_there_is(http: httpx2.AsyncClient, conn: Connection) -> None:
    for name in ("a", "b", "old"):
        await linked(http, name)
    await made(http, id="c", crm_status="active")
    await made(http, id="d", crm_status="lead")
    for name in ("a", "b", "old"):
        await done(await http.patch(f"/api/properties/{name}", json={"crm_status": "active"}))
    await conn.execute(
        "UPDATE mls_properties SET last_changed_at = now() - interval '30 hours' WHERE property_id = 'l-old'"
    )
    await pushed(http, "b", ListPrice=490000)
    await conn.execute("UPDATE property_changes SET at = at - interval '2 days'")
    await conn.execute("UPDATE scraping_jobs SET finished_at = finished_at - interval '2 days'")
    await pushed(http, "a", ListPrice=480000)
    await pushed(http, "new")
    await pushed(http, "b", "2026-03-03T12:00:00Z", ListPrice=490000, PublicRemarks="long ago, in a run that took days")
    await conn.execute("UPDATE property_changes SET at = at - interval '2 days' WHERE field_name = 'PublicRemarks'")

    told = await done(await http.get("/api/overview"))

    assert (told["properties"], told["active_properties"], told["linked_properties"]) == (5, 4, 3)
    assert told["active_by_status"] == {"synced": 2, "stale": 1, "not_linked": 1}
    assert [(band["from_seconds"], band["properties"]) for band in told["freshness"] if band["properties"]] == [
        (0, 2),
        (24 * 3600, 1),
    ]
    assert (told["freshness"][-1]["to_seconds"], told["never_seen"]) == (None, 0)
    assert (told["changes_in_a_day"], told["crm_updates_in_a_day"]) == ({"price": 1}, 2)
    assert (told["running"], told["problems"], told["workers"]) == ([], [], 0)
    assert told["last_run"]["status"] == "succeeded"


async def test_overview_names_what_needs_somebody(http: httpx2.AsyncClient, conn: Connection) -> None:
    await done(await http.put("/active-properties-config", json={"cron_expression": "0 * * * *"}))
    source = {"name": "site", "kind": "fake", "settings": {"url": "http://127.0.0.1:9"}}
    await done(await http.post("/api/sources", json=source), 201)
    await conn.execute("INSERT INTO source_budgets (source, stopped_at) VALUES ('site', now())")

    told = {one["code"]: one for one in (await done(await http.get("/api/overview")))["problems"]}

    assert told.keys() == {"no_worker", "source_stopped"}
    assert "mls-crm-sync worker" in told["no_worker"]["hint"]
    assert told["source_stopped"]["source"] == "site"


async def test_overview_names_why_the_last_run_of_a_schedule_failed(http: httpx2.AsyncClient, conn: Connection) -> None:
    await done(await http.put("/active-properties-config", json={"cron_expression": "0 * * * *"}))
    run_id = await conn.fetchval(
        "INSERT INTO scraping_jobs (kind, status, by_workers, first_change, scheduled_job_id, finished_at)"
        " VALUES ('scheduled', 'partial', true, 1, 'active_properties_rescraping', now()) RETURNING run_id"
    )
    for place in ("10001", "10002"):
        await conn.execute("INSERT INTO locations (source, name) VALUES ('mls', $1)", place)
    await conn.execute(
        "INSERT INTO scraping_job_locations (run_id, location_id, status, error_code, error_detail, error_hint)"
        " SELECT $1, location_id, 'failed', 'source_refused', 'HTTP 401', 'renew the key' FROM locations",
        run_id,
    )

    told = {one["code"]: one for one in (await done(await http.get("/api/overview")))["problems"]}

    assert told["source_refused"] == {
        "code": "source_refused", "message": "HTTP 401", "count": 2, "hint": "renew the key", "run_id": run_id,
        "source": None, "scheduled_job_id": "active_properties_rescraping", "examples": ["10001", "10002"],
    }  # fmt: skip


async def test_who_asks_is_told_who_that_is(db: Database, http: httpx2.AsyncClient, locked: httpx2.AsyncClient) -> None:
    _, key = await keys.create(db, "crm", [Scope.READ, Scope.WRITE_CRM])

    assert await done(await http.get("/api/me")) == {"caller": "local", "local": True, "scopes": ["admin"]}
    told = await done(await locked.get("/api/me", headers={"Authorization": f"Bearer {key}"}))
    assert (told["local"], told["scopes"]) == (False, ["read", "write:crm"])
    about = await done(await http.get("/api/about"))
    assert (about["stale_after_seconds"], about["minimum_interval_seconds"]) == (12 * 3600, 300)


async def test_dry_run_of_an_import_says_what_would_come_of_it(http: httpx2.AsyncClient) -> None:
    await made(http, id="a", notes="x")
    table = "id,notes\na,y\nb,z\n,nobody\n"
    ask: dict[str, Any] = {"content": table, "headers": {"Content-Type": "text/csv"}}

    dry = await done(await http.post("/api/properties/import", params={"dry_run": True}, **ask))
    assert (await ids(http, "/api/properties"), (await done(await http.get("/api/properties/a")))["notes"]) == (
        ["a"],
        "x",
    )
    wet = await done(await http.post("/api/properties/import", **ask))

    assert dry == wet
    assert (wet["made"], wet["changed"], [one["row"] for one in wet["errors"]]) == (1, 1, [4])
    assert await ids(http, "/api/properties") == ["a", "b"]
