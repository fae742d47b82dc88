"""Listings over HTTP: listed, read with their history, pushed, purged."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from api.asking import done, ids, items, pages, refused, refused_member
from making import a_listing, id_of, without
from mls_crm_sync.store.database import Connection

PATH = "/api/mls-properties"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def push(http: httpx2.AsyncClient, *listings: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Push listings; of what came of it every count must be accounted for."""
    result: dict[str, Any] = await done(await http.post(PATH, json={"listings": list(listings), **body}))
    assert result["read"] == result["new"] + result["changed"] + result["unchanged"] + result["quarantined"]
    assert result["read"] == len(listings)
    return result


async def crm(http: httpx2.AsyncClient, crm_id: str, property_id: str) -> None:
    await done(await http.post("/api/properties", json={"id": crm_id}), 201)
    await done(await http.post(f"/api/properties/{crm_id}/link-mls", json={"mls_property_id": property_id}))


async def test_pushed_listing_is_read_in_its_normal_form(http: httpx2.AsyncClient) -> None:
    record = a_listing(
        "L1",
        ListPrice="$1,650,000.00",
        LotSizeAcres=0.14990000000000001,
        StandardStatus="ActiveUnderContract",
        ModificationTimestamp="2024-01-01T07:00:00-05:00",
        Latitude=40.7,
        X_Local="kept in the payload",
    )
    pushed = await push(http, record, source="hub", location="10001")
    assert pushed["items"] == [{"listing_key": "L1", "property_id": id_of("L1", "hub")}]

    got = await done(await http.get(f"{PATH}/{id_of('L1', 'hub')}"))

    assert (got["source"], got["location"], got["listing_key"]) == ("hub", "10001", "L1")
    fields = {name: got["fields"][name] for name in ("ListPrice", "LotSizeAcres", "StandardStatus", "Latitude")}
    assert fields == {
        "ListPrice": "1650000", "LotSizeAcres": "0.1499", "StandardStatus": "Active Under Contract", "Latitude": "40.7",
    }  # fmt: skip
    assert got["source_modified_at"] == "2024-01-01T12:00:00Z"
    assert all(INSTANT.fullmatch(got[name]) for name in ("first_seen_at", "last_changed_at", "last_seen_at"))
    assert (got["absence_state"], got["purged_at"], got["crm_property_ids"]) == ("listed", None, [])
    assert not {"DaysOnMarket", "ModificationTimestamp", "X_Local"} & got["fields"].keys()
    assert "MediaURL" not in str(got)


async def test_instants_are_shown_to_the_second(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing(ModificationTimestamp="2024-01-01T12:00:00.987Z") | {"property_id": "l"})
    await crm(http, "a", "l")
    await done(await http.patch("/api/properties/a", json={"overrides": {"City": "X"}}))

    for path in (PATH, f"{PATH}/l", f"{PATH}/l/changes", "/api/properties/a", "/api/events", "/api/stats"):
        text = (await http.get(path)).text
        instants = re.findall(r"\d{4}-\d\d-\d\dT[^\"]*", text)
        assert instants, path
        assert all(INSTANT.fullmatch(one) for one in instants), (path, instants)
    later = await push(http, a_listing(ModificationTimestamp="2024-01-01T12:00:00.986Z", City="Older"))
    assert later["changed"] == 0  # that one is the older is known by the fraction


async def test_ages_are_computed_wherever_a_listing_is_shown(http: httpx2.AsyncClient) -> None:
    dates = {"OnMarketDate": "2024-01-01", "CloseDate": "2024-01-31", "StandardStatus": "Closed"}
    await push(http, a_listing(**dates) | {"property_id": "l"})
    await crm(http, "a", "l")
    await done(await http.post("/api/properties", json={"id": "b", "own": {"OnMarketDate": "2024-01-01"}}), 201)

    shown = [
        await done(await http.get(f"{PATH}/l")),
        *await items(http, PATH),
        await done(await http.get("/api/properties/a")),
        await done(await http.get("/api/properties/a/mls-data")),
        *await items(http, f"{PATH}/l/crm-properties"),
    ]
    assert [one["computed"] for one in shown] == [{"DaysOnMarket": 30}] * 5
    assert all("DaysOnMarket" not in one["fields"] for one in shown)
    assert (await done(await http.get("/api/properties/b")))["computed"] == {}
    assert (await done(await http.patch("/api/properties/a", json={"overrides": {"CloseDate": "2024-01-02"}})))[
        "computed"
    ] == {"DaysOnMarket": 1}


async def test_list_by_each_filter(http: httpx2.AsyncClient) -> None:
    await push(
        http,
        a_listing("K1") | {"property_id": "1"},
        a_listing("K2", City="Malm\u00f6", PostalCode=7030) | {"property_id": "2"},
        a_listing("K3", StandardStatus="Closed", UnparsedAddress="9 %_ Road") | {"property_id": "3"},
    )
    await push(http, a_listing("K1", ListingId="elsewhere") | {"property_id": "4"}, source="hub")
    await crm(http, "a", "2")

    for query, expected in (
        ({}, ["1", "2", "3", "4"]),
        ({"source": "hub"}, ["4"]),
        ({"source": "hu"}, []),
        ({"status": "Closed"}, ["3"]),
        ({"status": "SOLD"}, ["3"]),
        ({"status": "Pending"}, []),
        ({"city": "Malm\u00f6"}, ["2"]),
        ({"city": "Malmo\u0308"}, ["2"]),  # the same word, spelled in two characters
        ({"city": "malm"}, []),
        ({"zip": "07030"}, ["2"]),
        ({"mls_number": "MLS-K3"}, ["3"]),
        ({"linked": "true"}, ["2"]),
        ({"linked": "false"}, ["1", "3", "4"]),
        ({"q": "k1"}, ["1", "4"]),
        ({"q": "MAIN str"}, ["1", "2", "4"]),
        ({"q": "%_"}, ["3"]),
        ({"q": "_1"}, []),
        ({"q": "k1", "source": "push"}, ["1"]),
        ({"cursor": "3"}, ["4"]),
    ):
        assert await ids(http, PATH, **query) == expected, query
    assert [row["linked"] for row in await items(http, PATH)] == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ({"status": "nice"}, "status"),
        ({"linked": "maybe"}, "linked"),
        ({"limit": -1}, "limit"),
        ({"cursor": "\x00"}, "cursor"),
        ({"zip": "\x00"}, "zip"),
        ({"city": "a\x00"}, "city"),
    ],
)
async def test_filter_that_is_none_is_refused_by_name(
    http: httpx2.AsyncClient, query: dict[str, Any], member: str
) -> None:
    refused_member(await http.get(PATH, params=query), member)


async def test_walk_gives_each_listing_once_while_listings_come(http: httpx2.AsyncClient) -> None:
    await push(http, *[a_listing(f"L{n}") | {"property_id": f"m{n:03}"} for n in range(40)])

    seen: list[str] = []
    async for page in pages(http, PATH, limit=6):
        seen += [row["property_id"] for row in page]
        for at in ("a", "z"):
            await push(http, a_listing(f"new-{at}-{len(seen)}") | {"property_id": f"{at}-{len(seen)}"})

    assert len(seen) == len(set(seen))
    assert [one for one in seen if re.fullmatch("m[0-9]{3}", one)] == [f"m{n:03}" for n in range(40)]


async def test_changes_are_told_newest_first_and_by_pages(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing() | {"property_id": "l"})
    for number in range(5):
        await push(http, a_listing(ListPrice=500_001 + number, City=f"City {number}"))

    changes = await items(http, f"{PATH}/l/changes", limit=2)

    assert [(c["type"], c["field_name"]) for c in changes[-1:]] == [("new", None)]
    assert [(c["previous_value"], c["new_value"]) for c in changes if c["field_name"] == "ListPrice"] == [
        (str(500_000 + number), str(500_001 + number)) for number in reversed(range(5))
    ]
    assert sum(c["type"] == "price" for c in changes) == sum(c["type"] == "other" for c in changes) == 5
    assert [c["change_id"] for c in changes] == sorted({c["change_id"] for c in changes}, reverse=True)
    for cursor in ("x", "-1", "1.5", "9" * 19, "\u0663"):
        refused_member(await http.get(f"{PATH}/l/changes", params={"cursor": cursor}), "cursor")
    refused(await http.get(f"{PATH}/nobody/changes"), 404, "listing_not_found")


async def test_crm_properties_of_a_listing_by_pages(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing("L1") | {"property_id": "l"}, a_listing("L2") | {"property_id": "other"})
    for number in range(5):
        await crm(http, f"c{number}", "l")
    await crm(http, "c9", "other")

    assert await ids(http, f"{PATH}/l/crm-properties", limit=2) == [f"c{number}" for number in range(5)]
    assert (await done(await http.get(f"{PATH}/l")))["crm_property_ids"] == [f"c{number}" for number in range(5)]
    refused(await http.get(f"{PATH}/nobody/crm-properties"), 404, "listing_not_found")


async def test_same_push_again_changes_nothing(http: httpx2.AsyncClient, conn: Connection) -> None:
    listings = [a_listing(f"L{n}") | {"property_id": f"l{n}"} for n in range(3)]
    await push(http, *listings)
    await crm(http, "a", "l0")

    async def everything() -> list[Any]:
        return [
            await done(await http.get(f"{PATH}/l0")) | {"last_seen_at": None},
            await items(http, f"{PATH}/l0/changes"),
            await items(http, "/api/events"),
            await done(await http.get("/api/properties/a")) | {"last_seen_at": None},
        ]

    before = await everything()
    again = await push(http, *listings, *listings[:1])

    assert (again["unchanged"], again["crm_updated"], again["changes"]) == (4, 0, {})
    assert [item["property_id"] for item in again["items"]] == ["l0", "l1", "l2"]
    assert await everything() == before
    assert await conn.fetchval("SELECT count(*) FROM mls_properties") == 3


async def test_absent_member_is_kept_and_null_clears(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing() | {"property_id": "l"})
    await crm(http, "a", "l")

    result = await push(http, without(a_listing(ListPrice=None), "City", "BedroomsTotal"))

    assert (result["changed"], result["crm_updated"], result["changes"]) == (1, 1, {"price": 1})
    for path in (f"{PATH}/l", "/api/properties/a"):
        fields = (await done(await http.get(path)))["fields"]
        assert (fields.get("ListPrice"), fields["City"], fields["BedroomsTotal"]) == (None, "New York", 2)


async def test_id_of_another_listing_is_refused_and_the_others_are_taken(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing("L1") | {"property_id": "mine"})

    result = await push(
        http,
        a_listing("L2") | {"property_id": "mine"},
        a_listing("L3"),
        a_listing("L1", ListPrice=1) | {"property_id": "another"},  # its id is the first one's for good
    )

    assert (result["new"], result["changed"], result["quarantined"]) == (1, 1, 1)
    assert [(e["row"], e["code"]) for e in result["errors"]] == [(1, "id_taken")]
    assert {i["listing_key"]: i["property_id"] for i in result["items"]}["L1"] == "mine"
    assert (await done(await http.get(f"{PATH}/mine")))["listing_key"] == "L1"
    refused(await http.get(f"{PATH}/another"), 404, "listing_not_found")


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"City": "X"}, "missing_key"),
        ({"ListingKey": None}, "missing_key"),
        ({"ListingKey": "k" * 256}, "bad_value"),
        ({"ListingKey": []}, "bad_value"),
        ({"ListingKey": "B", "ListPrice": "much"}, "bad_value"),
        ({"ListingKey": "B", "StandardStatus": "Nice"}, "bad_value"),
        ({"ListingKey": "B", "ModificationTimestamp": "yesterday"}, "bad_value"),
        ({"ListingKey": "B", "ModificationTimestamp": "2999-01-01T00:00:00Z"}, "clock_ahead"),
        ({"ListingKey": "B", "property_id": 7}, "bad_value"),
        ({"ListingKey": "B", "property_id": "a\nb"}, "bad_value"),
        ({"ListingKey": "B", "BedroomsTotal": 10**40}, "bad_value"),
    ],
)
async def test_broken_record_is_set_aside_and_the_others_are_taken(
    http: httpx2.AsyncClient, broken: dict[str, Any], code: str
) -> None:
    result = await push(http, a_listing("A"), broken, a_listing("C"))

    assert (result["new"], result["quarantined"]) == (2, 1)
    assert [(e["row"], e["code"]) for e in result["errors"]] == [(2, code)]
    aside = await items(http, "/api/quarantine")
    assert [(q["reason"], q["position"], q["run_id"]) for q in aside] == [(code, 2, result["run_id"])]


async def test_every_broken_record_of_a_push_is_told_by_its_place_and_key(http: httpx2.AsyncClient) -> None:
    broken = [a_listing(f"B{n}", ListPrice="much") for n in range(1100)]
    twice = a_listing("T", ListPrice="much")

    result = await push(http, twice, *broken, a_listing("A"), twice, {"City": "X"}, {"City": "X"})

    assert (result["new"], result["quarantined"]) == (1, 1104)
    told = [(e["row"], e["id"], e["code"]) for e in result["errors"]]
    assert told == [
        (1, "T", "bad_value"),
        *[(2 + n, f"B{n}", "bad_value") for n in range(1100)],
        (1103, "T", "bad_value"), (1104, "", "missing_key"), (1105, "", "missing_key"),
    ]  # fmt: skip


async def test_purge_leaves_what_was_frozen_until_it_is_linked_once_more(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing(PublicRemarks="marker") | {"property_id": "l"})
    await crm(http, "a", "l")
    await done(await http.delete("/api/properties/a/unlink-mls"))
    await done(await http.delete(f"{PATH}/l"))
    assert "marker" in (await http.get("/api/properties/a")).text

    await done(await http.post("/api/properties/a/link-mls", json={"mls_property_id": "l"}))
    await done(await http.delete("/api/properties/a/unlink-mls"))

    assert (await done(await http.get("/api/properties/a")))["fields"] == {}


async def test_purge_takes_broken_records_that_only_name_the_id(http: httpx2.AsyncClient, conn: Connection) -> None:
    await push(http, a_listing() | {"property_id": "pg1"})
    broken = [
        {"PublicRemarks": "marker", "property_id": "pg1"},
        {"PublicRemarks": "marker" + "x" * 1_100_000, "property_id": "pg1"},
        {"PublicRemarks": "stays", "property_id": "pg2"},
        {"PublicRemarks": "stays too"},
    ]
    broken[1] = dict(reversed(broken[1].items()))  # its id within what is kept
    assert (await push(http, *broken))["quarantined"] == 4

    await done(await http.delete(f"{PATH}/pg1"))

    left = [q["payload"] for q in await items(http, "/api/quarantine")]
    assert len(left) == await conn.fetchval("SELECT count(*) FROM quarantined_records") == 2
    assert all("stays" in payload for payload in left)


@pytest.mark.parametrize("key", ["Cafe\u0301", 123, "K\r\nL"])
async def test_items_name_each_listing_however_its_key_was_written(http: httpx2.AsyncClient, key: Any) -> None:
    result = await push(http, a_listing(key))

    assert (result["new"], len(result["items"])) == (1, 1)
    got = await done(await http.get(f"{PATH}/{result['items'][0]['property_id']}"))
    assert got["listing_key"] == result["items"][0]["listing_key"]


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "listings"),
        ({"listings": []}, "listings"),
        ({"listings": ["x"]}, "listings.0"),
        ({"listings": None}, "listings"),
        ({"listings": [{}], "source": ""}, "source"),
        ({"listings": [{}], "source": "\n"}, "source"),
        ({"listings": [{}], "location": " "}, "location"),
        ({"listings": [{}], "complete": True}, "complete"),
        ({"listings": [{}] * 10_001}, "listings"),
    ],
)
async def test_push_that_has_not_the_form_is_refused_whole(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str
) -> None:
    refused_member(await http.post(PATH, json=body), member)

    assert (await done(await http.get("/api/stats")))["runs"] == []


async def test_member_twice_in_one_of_many_records_refuses_the_push(http: httpx2.AsyncClient) -> None:
    body = b'{"listings": [{"ListingKey": "A"}, {"ListingKey": "B", "ListPrice": 1, "ListPrice": 2}]}'

    answer = await http.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert "ListPrice" in refused(answer, 422, "invalid_input")["detail"]
    assert await items(http, PATH) == []


async def test_purge_takes_the_content_and_leaves_the_links(http: httpx2.AsyncClient) -> None:
    record = a_listing(PublicRemarks="secret marker") | {"property_id": "l"}
    await push(http, record, a_listing("L1", ListPrice="much"))
    await crm(http, "a", "l")
    await done(await http.patch("/api/properties/a", json={"own": {"City": "Mine"}, "overrides": {"ListPrice": 1}}))

    answer = await done(await http.delete(f"{PATH}/l"))

    assert answer == {"message": "purged", "property_id": "l", "crm_properties_emptied": 1}
    gone, kept = await done(await http.get(f"{PATH}/l")), await done(await http.get("/api/properties/a"))
    assert (gone["fields"], gone["crm_property_ids"]) == ({}, ["a"])
    assert INSTANT.fullmatch(gone["purged_at"])
    assert (kept["fields"], kept["mls_property_id"], kept["sync_status"]) == ({}, "l", "gone")
    assert kept["values"] == {"City": "Mine", "ListPrice": "1"}
    assert await items(http, f"{PATH}/l/changes") == await items(http, "/api/quarantine") == []
    for path in (f"{PATH}/l", PATH, "/api/properties/a", "/api/events", "/api/quarantine"):
        assert "marker" not in (await http.get(path)).text
    assert (await done(await http.get("/api/stats")))["listings"] == {}
    assert (await done(await http.delete(f"{PATH}/l")))["crm_properties_emptied"] == 0

    await push(http, record)
    filled = await done(await http.get("/api/properties/a"))
    assert (filled["fields"]["PublicRemarks"], filled["fields"]["City"]) == ("secret marker", "New York")
    refused(await http.delete(f"{PATH}/nobody"), 404, "listing_not_found")


async def test_purge_by_rule_counts_first_and_takes_what_it_counted(http: httpx2.AsyncClient) -> None:
    closed = [a_listing(f"L{n}", StandardStatus="Closed") | {"property_id": f"l{n}"} for n in range(3)]
    await push(http, *closed, a_listing("A") | {"property_id": "a"})
    await crm(http, "c", "l0")
    rule = {"status": ["sold"], "source": "push"}

    dry = await done(await http.post(f"{PATH}/purge", json=rule | {"dry_run": True}))
    counts = [{"source": "push", "standard_status": "Closed", "absence_state": "listed", "listings": 3, "linked": 1}]
    assert dry == {
        "message": "dry run, nothing was purged", "counts": counts, "listings_purged": 0, "crm_properties_emptied": 0,
    }  # fmt: skip
    assert (await done(await http.get("/api/stats")))["listings"] == {"Active": 1, "Closed": 3}

    key = {"Idempotency-Key": "k"}
    gone = await done(await http.post(f"{PATH}/purge", json=rule | {"dry_run": False}, headers=key))
    assert gone == {"message": "purged", "counts": counts, "listings_purged": 3, "crm_properties_emptied": 1}
    assert (await done(await http.get("/api/stats")))["listings"] == {"Active": 1}
    again = await http.post(f"{PATH}/purge", json=rule | {"dry_run": False}, headers=key)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (gone, "true")  # it tells of no content


async def test_purge_by_a_rule_that_says_nothing_is_refused(http: httpx2.AsyncClient) -> None:
    await push(http, a_listing())

    refused_member(await http.post(f"{PATH}/purge", json={"dry_run": False}), "rule")
    refused_member(await http.post(f"{PATH}/purge", json={"source": "push"}), "dry_run")
    refused_member(await http.post(f"{PATH}/purge", json={"dry_run": True, "status": ["For Sale"]}), "status")
    refused_member(await http.post(f"{PATH}/purge", json={"dry_run": True, "absent_for_days": -1}), "absent_for_days")
    assert (await done(await http.get("/api/stats")))["listings"] == {"Active": 1}
