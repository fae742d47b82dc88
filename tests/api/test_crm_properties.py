"""CRM properties over HTTP: made, listed, edited, deleted, many at once, and from a file."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.asking import JSON, done, ids, items, pages, refused, refused_member
from making import a_listing
from mls_crm_sync.store.database import Connection

PATH = "/api/properties"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def made(http: httpx2.AsyncClient, **members: Any) -> dict[str, Any]:
    body: dict[str, Any] = await done(await http.post(PATH, json=members), 201)
    return body


async def linked(http: httpx2.AsyncClient, crm_id: str = "a", **facts: Any) -> None:
    """A CRM property, linked to a listing of its own."""
    listing = a_listing(f"L-{crm_id}", **facts) | {"property_id": f"l-{crm_id}"}
    await done(await http.post("/api/mls-properties", json={"listings": [listing]}))
    await made(http, id=crm_id)
    await done(await http.post(f"{PATH}/{crm_id}/link-mls", json={"mls_property_id": f"l-{crm_id}"}))


async def patched(http: httpx2.AsyncClient, **members: Any) -> dict[str, Any]:
    body: dict[str, Any] = await done(await http.patch(f"{PATH}/a", json=members))
    return body


async def test_what_is_made_is_what_is_read(http: httpx2.AsyncClient) -> None:
    body = {
        "id": "a", "platform": "hub", "crm_status": "lead", "notes": "two\nlines", "tags": ["x", "y"],
        "assigned_agent": "Ann", "custom": {"n": 1, "deep": {"l": [True, None, "t", 0.5]}},
        "own": {"City": "Bklyn", "ListPrice": "1,650,000.50", "BedroomsTotal": "3"},
    }  # fmt: skip

    answer = await http.post(PATH, json=body)
    got = await http.get(f"{PATH}/a")

    own = {"City": "Bklyn", "ListPrice": "1650000.5", "BedroomsTotal": 3}
    assert got.json() == await done(answer, 201)
    assert got.json().items() >= (body | {"own": own, "values": own, "version": 1, "sync_status": "not_linked"}).items()
    assert answer.headers["ETag"] == got.headers["ETag"] == '"1"'
    assert INSTANT.fullmatch(got.json()["created_at"])
    assert INSTANT.fullmatch(got.json()["updated_at"])


async def test_id_left_out_is_made_and_id_taken_is_409(http: httpx2.AsyncClient) -> None:
    first, second = [(await made(http))["id"] for _ in range(2)]
    assert first != second

    refused(await http.post(PATH, json={"id": first, "platform": "other"}), 409, "already_exists")
    assert await ids(http, PATH) == sorted([first, second])


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": 7}, "id"),
        ({"platform": ""}, "platform"),
        ({"platform": " "}, "platform"),
        ({"platform": "a\x07"}, "platform"),
        ({"platform": None}, "platform"),
        ({"tags": None}, "tags"),
        ({"tags": [None]}, "tags.0"),
        ({"own": None}, "own"),
        ({"own": {"Ciity": "x"}}, "Ciity"),
        ({"own": {"DaysOnMarket": 3}}, "DaysOnMarket"),
        ({"own": {"ListPrice": -1}}, "ListPrice"),
        ({"custom": []}, "custom"),
        ({"custom": {"n": 2**63}}, "custom"),
        ({"notes": "x" * 100_001}, "notes"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_what_cannot_be_is_refused_by_name_and_makes_nothing(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str
) -> None:
    refused_member(await http.post(PATH, json=body), member)

    assert await items(http, PATH) == []


async def test_list_by_each_filter(http: httpx2.AsyncClient) -> None:
    await made(http, id="1", platform="hub", crm_status="lead", notes="Roof leaks, 100% sure")
    await made(http, id="2", own={"UnparsedAddress": "5 Élan Street", "ListingId": "MLS-77"})
    await linked(http, "3")
    await linked(http, "4")
    await patched_override(http, "4")

    for query, expected in (
        ({}, ["1", "2", "3", "4"]),
        ({"platform": "hub"}, ["1"]),
        ({"platform": "hu"}, []),
        ({"crm_status": "lead"}, ["1"]),
        ({"sync_status": "not_linked"}, ["1", "2"]),
        ({"sync_status": "synced"}, ["3"]),
        ({"sync_status": "overridden"}, ["4"]),
        ({"mls_property_id": "l-3"}, ["3"]),
        ({"mls_property_id": "nobody"}, []),
        ({"q": "ROOF"}, ["1"]),
        ({"q": "0%"}, ["1"]),
        ({"q": "%"}, ["1"]),
        ({"q": "_"}, []),
        ({"q": "\\"}, []),
        ({"q": "Élan STREET"}, ["2"]),
        ({"q": "mls-77"}, ["2"]),
        ({"q": "1 main"}, ["3", "4"]),
        ({"q": "MLS-L-3"}, ["3"]),
        ({"platform": "default", "q": "1 main", "sync_status": "synced"}, ["3"]),
        ({"cursor": "2"}, ["3", "4"]),
        ({"cursor": "no id that there is"}, []),
    ):
        assert await ids(http, PATH, **query) == expected, query


async def test_search_folds_the_case_of_every_letter(http: httpx2.AsyncClient) -> None:
    await made(http, id="2", own={"UnparsedAddress": "5 Élan Street"})
    await done(await http.post("/api/mls-properties", json={"listings": [a_listing(UnparsedAddress="5 Élan Street")]}))

    assert await ids(http, PATH, q="élan") == ["2"]
    assert len(await ids(http, "/api/mls-properties", q="élan")) == 1


async def patched_override(http: httpx2.AsyncClient, crm_id: str) -> None:
    await done(await http.patch(f"{PATH}/{crm_id}", json={"overrides": {"City": "Bklyn"}}))


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"sync_status": "lost"}, "sync_status"),
        ({"cursor": "x" * 1001}, "cursor"),
        ({"cursor": "a\x00"}, "cursor"),
        ({"q": "\x00"}, "q"),
        ({"platform": "\x00"}, "platform"),
    ],
)
async def test_filter_that_is_none_is_refused_by_name(
    http: httpx2.AsyncClient, query: dict[str, Any], member: str
) -> None:
    refused_member(await http.get(PATH, params=query), member)


async def test_walk_gives_each_row_once_while_rows_come_and_go(http: httpx2.AsyncClient) -> None:
    """What was there all the time comes exactly once, what came or went meanwhile at most once."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    dice = random.Random(seed)
    stays = [f"s{number:03}" for number in range(60)]
    goes = [f"g{number:03}" for number in range(20)]
    body = {"items": [{"id": one} for one in (*stays, *goes)]}
    assert (await done(await http.post(f"{PATH}/bulk", json=body)))["made"] == 80

    seen: list[str] = []
    async for page in pages(http, PATH, limit=7):
        seen += [row["id"] for row in page]
        await made(http, id=f"{dice.choice('ags')}{dice.randrange(1000):03}-new-{len(seen)}")
        if goes:
            await http.delete(f"{PATH}/{goes.pop(dice.randrange(len(goes)))}")

    assert len(seen) == len(set(seen))
    assert seen == sorted(seen)
    assert [one for one in seen if one in stays] == stays


async def test_walk_ends_with_null_also_where_the_last_page_is_full(http: httpx2.AsyncClient) -> None:
    for crm_id in "abcd":
        await made(http, id=crm_id)

    assert [len(page) async for page in pages(http, PATH, limit=4)] in ([4], [4, 0])
    assert [len(page) async for page in pages(http, PATH, limit=3)] == [3, 1]


async def test_patch_of_each_member_leaves_the_others(http: httpx2.AsyncClient) -> None:
    await linked(http)
    before = await done(await http.get(f"{PATH}/a"))
    for version, (member, value) in enumerate(
        {
            "crm_status": "won", "notes": "n", "tags": ["t"], "assigned_agent": "Bob", "custom": {"k": 1},
            "own": {"City": "Own City"},
        }.items(),
        start=before["version"] + 1,
    ):  # fmt: skip
        after = await patched(http, **{member: value})
        moved = {name for name in after if after[name] != before[name]}
        assert after[member] == value
        assert moved - {"updated_at"} == {member, "version"}  # it is shown to the second
        assert after["version"] == version
        before = after

    emptied = await patched(http, crm_status=None, notes=None, tags=None, assigned_agent=None, custom=None)
    assert [emptied[name] for name in ("crm_status", "notes", "tags", "assigned_agent", "custom")] == [
        None, None, [], None, {},
    ]  # fmt: skip
    assert emptied["own"] == {"City": "Own City"}


async def test_own_and_overrides_are_merged_and_null_removes_one(http: httpx2.AsyncClient) -> None:
    await linked(http)
    await patched(http, own={"City": "A", "ListPrice": "1"}, overrides={"City": "B", "ListPrice": 2.50}, reason="why")

    first = await patched(http, own={"City": None}, overrides={"BedroomsTotal": "4"})
    assert first["own"] == {"ListPrice": "1"}
    assert first["overrides"] == {"City": "B", "ListPrice": "2.5", "BedroomsTotal": 4}
    assert (first["values"]["City"], first["sync_status"]) == ("B", "overridden")
    assert first["override_details"]["City"].items() >= {"mls_value": "New York", "reason": "why"}.items()
    assert INSTANT.fullmatch(first["override_details"]["City"]["at"])

    second = await patched(http, overrides={"City": None, "ListPrice": None, "BedroomsTotal": None})
    assert (second["overrides"], second["override_details"]) == ({}, {})
    assert (second["values"]["City"], second["sync_status"]) == ("New York", "synced")


async def test_override_under_which_the_mls_changes_is_a_conflict(http: httpx2.AsyncClient) -> None:
    await linked(http)
    await patched(http, overrides={"ListPrice": 1})

    changed = a_listing("L-a", ListPrice=7)
    assert (await done(await http.post("/api/mls-properties", json={"listings": [changed]})))["crm_updated"] == 1

    got = await done(await http.get(f"{PATH}/a"))
    assert (got["sync_status"], got["values"]["ListPrice"], got["fields"]["ListPrice"]) == ("conflict", "1", "7")
    assert await ids(http, PATH, sync_status="conflict") == ["a"]


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"surprise": 1}, "surprise"),
        ({"id": "b"}, "id"),
        ({"platform": "hub"}, "platform"),
        ({"fields": {}}, "fields"),
        ({"mls_property_id": "x"}, "mls_property_id"),
        ({"own": None}, "own"),
        ({"overrides": None}, "overrides"),
        ({"own": {"Nope": 1}}, "Nope"),
        ({"overrides": {"DaysOnMarket": 1}}, "DaysOnMarket"),
        ({"overrides": {"ListPrice": {}}}, "ListPrice"),
        ({"tags": "a"}, "tags"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"version": 1.5}, "version"),
        ({"version": 2**63}, "version"),
        ({"custom": {"a": {"b": [2**64]}}}, "custom"),
    ],
)
async def test_patch_that_is_none_is_refused_by_name_and_changes_nothing(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str
) -> None:
    before = await made(http, id="a")

    refused_member(await http.patch(f"{PATH}/a", json={"notes": "n"} | body), member)

    assert await done(await http.get(f"{PATH}/a")) == before


async def test_version_and_if_match_let_only_one_of_two_writers_through(http: httpx2.AsyncClient) -> None:
    etag = (await http.post(PATH, json={"id": "a"})).headers["ETag"]
    stale = [{"If-Match": etag}, {"If-Match": f"W/{etag}"}]

    both = await asyncio.gather(
        *[http.patch(f"{PATH}/a", json={"notes": str(n)}, headers={"If-Match": etag}) for n in (1, 2)]
    )
    assert sorted(answer.status_code for answer in both) == [200, 412]
    for headers in stale:
        body = refused(await http.patch(f"{PATH}/a", json={"notes": "x"}, headers=headers), 412, "version_mismatch")
        assert "read it again" in body["hint"]
    refused(await http.patch(f"{PATH}/a", json={"notes": "x", "version": 1}), 412, "version_mismatch")

    fresh = await http.patch(f"{PATH}/a", json={"notes": "y", "version": 2})
    assert (fresh.status_code, fresh.headers["ETag"]) == (200, '"3"')
    assert (await http.patch(f"{PATH}/a", json={"notes": "z"}, headers={"If-Match": "*"})).status_code == 200


@pytest.mark.parametrize(
    ("if_match", "version", "status"),
    [
        ('"2"', None, 200),
        ("2", None, 200),
        ('W/"2"', None, 200),
        ('"1", "2"', None, 200),
        ('"9" ,W/"7","2"', None, 200),
        ("*", None, 200),
        ('"2"', 2, 200),
        ("*", 2, 200),
        ('"2"', 99, 412),
        ('"99"', 2, 412),
        ("*", 99, 412),
        ('"1"', None, 412),
        ('"1", "3"', None, 412),
        ('"abc"', None, 412),
        ('"99999999999"', None, 412),
        ("9" * 5000, None, 412),
        ('"2', None, 412),
        ("", None, 412),
    ],
)
async def test_if_match_and_version_have_both_to_hold(
    http: httpx2.AsyncClient, if_match: str, version: int | None, status: int
) -> None:
    await made(http, id="a")
    await patched(http, notes="two")
    headers = {"If-Match": if_match}

    body = {"notes": "n"} | ({"version": version} if version is not None else {})
    answer = await http.patch(f"{PATH}/a", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    if version is None:
        await http.delete(f"{PATH}/a")
        await made(http, id="a")
        await patched(http, notes="two")
        assert (await http.delete(f"{PATH}/a", headers=headers)).status_code == (204 if status == 200 else status)
        assert (await http.get(f"{PATH}/a")).status_code == (404 if status == 200 else 200)


async def test_if_match_that_comes_in_two_headers_is_one_list(http: httpx2.AsyncClient) -> None:
    await made(http, id="a")

    answer = await http.patch(f"{PATH}/a", json={}, headers=[("If-Match", '"9"'), ("If-Match", '"1"')])

    assert answer.status_code == 200


async def test_precondition_on_what_there_is_not_is_404(http: httpx2.AsyncClient) -> None:
    for headers in ({"If-Match": '"1"'}, {"If-Match": "*"}):
        refused(await http.patch(f"{PATH}/a", json={}, headers=headers), 404, "crm_property_not_found")
        refused(await http.delete(f"{PATH}/a", headers=headers), 404, "crm_property_not_found")


async def test_deleted_is_gone_and_its_id_free(http: httpx2.AsyncClient) -> None:
    await linked(http)

    assert (await http.delete(f"{PATH}/a")).status_code == 204

    refused(await http.delete(f"{PATH}/a"), 404, "crm_property_not_found")
    refused(await http.get(f"{PATH}/a"), 404, "crm_property_not_found")
    assert (await done(await http.get("/api/mls-properties/l-a")))["crm_property_ids"] == []
    assert (await made(http, id="a"))["version"] == 1


async def test_bulk_of_3000_has_a_result_for_each_row(http: httpx2.AsyncClient, conn: Connection) -> None:
    for crm_id in ("c0", "c1500", "c2999"):
        await made(http, id=crm_id, platform="other", notes="theirs")
    await made(http, id="c7", notes="before", own={"City": "kept"})
    rows: list[dict[str, Any]] = [{"id": f"c{n}", "notes": f"n{n}", "own": {"ListPrice": n + 0.5}} for n in range(3000)]
    rows[10]["own"] = {"ListPrice": "much"}
    rows[20]["own"] = {"Nope": 1}
    rows[30]["id"] = "c31"
    rows[40]["id"] = "a\nb"
    rows[50]["own"] = {"BedroomsTotal": 10**30}

    result = await done(await http.post(f"{PATH}/bulk", json={"items": rows}))

    told = {(e["row"], e["id"]): e["code"] for e in result["errors"]}
    assert told == {
        (1, "c0"): "id_taken", (1501, "c1500"): "id_taken", (3000, "c2999"): "id_taken",
        (11, "c10"): "invalid_input", (21, "c20"): "invalid_input", (32, "c31"): "invalid_input",
        (41, "a\nb"): "invalid_input", (51, "c50"): "invalid_input",
    }  # fmt: skip
    assert [e["row"] for e in result["errors"]] == sorted(row for row, _ in told)
    assert (result["made"], result["changed"], result["unchanged"]) == (2991, 1, 0)
    assert (await done(await http.get(f"{PATH}/c7")))["own"] == {"City": "kept", "ListPrice": "7.5"}
    assert await conn.fetchval("SELECT count(*) FROM crm_properties WHERE notes = 'theirs'") == 3
    again = await done(await http.post(f"{PATH}/bulk", json={"items": rows}))
    assert (again["made"], again["changed"], again["unchanged"]) == (0, 0, 2992)
    assert again["errors"] == result["errors"]


async def test_bulk_sets_what_it_brings_and_keeps_the_rest(http: httpx2.AsyncClient) -> None:
    await made(http, id="a", notes="n", tags=["t"], own={"City": "A", "ListPrice": 1}, custom={"x": 1, "y": 2})

    row = {"id": "a", "tags": None, "own": {"City": None}, "custom": {"x": None, "z": 0.25}}
    assert (await done(await http.post(f"{PATH}/bulk", json={"items": [row]})))["changed"] == 1

    got = await done(await http.get(f"{PATH}/a"))
    assert (got["notes"], got["tags"], got["own"], got["custom"]) == ("n", [], {"ListPrice": "1"}, {"y": 2, "z": 0.25})


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "items"),
        ({"items": None}, "items"),
        ({"items": {"id": "a"}}, "items"),
        ({"items": [{"id": "a"}], "x": 1}, "x"),
        ({"items": [], "platform": "\n"}, "platform"),
        ({"items": [{"id": "a"}] * 10_001}, "items"),
    ],
)
async def test_bulk_that_has_not_the_form_is_refused_whole_and_says_where(
    http: httpx2.AsyncClient, body: dict[str, Any], member: str
) -> None:
    refused_member(await http.post(f"{PATH}/bulk", json=body), member)

    assert await items(http, PATH) == []


@pytest.mark.parametrize(
    ("item", "crm_id", "words"),
    [
        ({}, "", "id: Field required"),
        ({"id": 7}, "", "id: "),
        ({"id": "b", "x": 1}, "b", "x: "),
        ({"id": "b", "own": None}, "b", "own: "),
        ({"id": "b", "notes": 7}, "b", "notes: "),
        ({"id": "b", "tags": [None]}, "b", "tags.0: "),
        ({"id": "b", "custom": {"n": 2**63}}, "b", "custom: a number out of range"),
        ({"id": "b" * 201}, "b" * 201, "id: "),
        ({"id": ""}, "", "id: is empty"),
        ("x", "", "body: "),
        (None, "", "body: "),
        ([], "", "body: "),
    ],
)
async def test_item_that_has_not_the_form_is_an_error_of_its_row_and_the_others_are_done(
    http: httpx2.AsyncClient, item: Any, crm_id: str, words: str
) -> None:
    result = await done(await http.post(f"{PATH}/bulk", json={"items": [{"id": "a"}, item, {"id": "c"}]}))

    (error,) = result["errors"]
    assert (error["row"], error["id"], error["code"]) == (2, crm_id, "invalid_input")
    assert error["detail"].startswith(words)
    assert result["results"] == [
        {"row": 1, "id": "a", "result": "made"}, {"row": 2, "id": crm_id, "result": "error"},
        {"row": 3, "id": "c", "result": "made"},
    ]  # fmt: skip
    assert await ids(http, PATH) == ["a", "c"]


async def test_each_row_of_a_bulk_says_what_became_of_it(http: httpx2.AsyncClient) -> None:
    await made(http, id="same", notes="n")
    await made(http, id="other", notes="n")
    await made(http, id="theirs", platform="hub")
    rows: list[dict[str, Any]] = [
        {"id": "new", "own": {"City": "A"}}, {"id": "theirs"}, {"id": "same", "notes": "n"},
        {"id": "other", "notes": "m"}, {"id": "new"},
    ]  # fmt: skip

    result = await done(await http.post(f"{PATH}/bulk", json={"items": rows}))

    assert [(r["row"], r["id"], r["result"]) for r in result["results"]] == [
        (1, "new", "made"), (2, "theirs", "error"), (3, "same", "unchanged"), (4, "other", "changed"),
        (5, "new", "error"),
    ]  # fmt: skip
    assert [(e["row"], e["code"]) for e in result["errors"]] == [(2, "id_taken"), (5, "invalid_input")]


async def imported(http: httpx2.AsyncClient, text: str | bytes, **query: str) -> httpx2.Response:
    content = text.encode() if isinstance(text, str) else text
    return await http.post(f"{PATH}/import", content=content, params=query, headers={"Content-Type": "text/csv"})


async def test_row_of_several_lines_is_named_by_its_first(http: httpx2.AsyncClient) -> None:
    result = await done(await imported(http, 'id,notes,ListPrice\na,"two\nlines",much\nb,,1\n'))

    assert [(e["row"], e["id"]) for e in result["errors"]] == [(2, "a")]
    assert result["made"] == 1


async def test_cell_of_the_largest_size_is_taken(http: httpx2.AsyncClient) -> None:
    assert (await done(await imported(http, "id,notes\n1," + "x" * 1_000_000)))["made"] == 1


async def test_import_takes_good_rows_and_reports_the_others_by_line(http: httpx2.AsyncClient) -> None:
    await made(http, id="taken", platform="other")
    text = (
        "\ufeffid;address;List Price;tags;Own Column\r\n"
        'a;"1; Main\r\nStreet";"1,650,000";x,y;k\r\n'
        "b;;much;;\r\n"
        ";;;;\r\n"
        "c;too;few\r\n"
        "\r\n"
        "taken;;;;\r\n"
        "a;again;;;\r\n"
        'e;"mis"quoted;;;\r\n'
        "d;;;;\r\n"
    )

    result = await done(await imported(http, text))

    assert [(e["row"], e["id"], e["code"]) for e in result["errors"]] == [
        (4, "b", "invalid_input"), (6, "", "cells"), (8, "taken", "id_taken"), (9, "a", "invalid_input"),
        (10, "", "bad_csv"),
    ]  # fmt: skip
    assert (result["made"], result["changed"], result["unchanged"]) == (2, 0, 0)
    got = await done(await http.get(f"{PATH}/a"))
    assert got["own"] == {"UnparsedAddress": "1; Main\nStreet", "ListPrice": "1650000"}
    assert (got["tags"], got["custom"]) == (["x", "y"], {"Own Column": "k"})
    assert (await done(await imported(http, "id,notes\na,n\nd,\n"))).items() >= {"changed": 1, "unchanged": 1}.items()
    assert (await done(await imported(http, "id\ne\n", platform="hub")))["made"] == 1
    assert await ids(http, PATH, platform="hub") == ["e"]


@pytest.mark.parametrize(
    ("text", "member", "words"),
    [
        ("", "body", "no header row"),
        ("notes\nx\n", "id", "no column"),
        ("id,notes,notes\n1,2,3\n", "body", "twice"),
        ("id,zip,PostalCode\n1,2,3\n", "PostalCode", "both"),
        (b"id\n\xff\n", "body", "UTF-8"),
        ('id,notes\n1,"abc\n2,def\n3,ghi\n', "body", "line 2"),
    ],
)
async def test_import_of_no_table_is_refused_in_words(
    http: httpx2.AsyncClient, text: str | bytes, member: str, words: str
) -> None:
    answer = await imported(http, text)

    refused_member(answer, member)
    assert words in answer.json()["detail"]
    assert await items(http, PATH) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "character"),
        ('{"notes": "a", "notes": "b"}', "notes"),
        ('{"custom": {"a": {"b": 1, "b": 2}}}', "'b' stands twice"),
        ('{"custom": {"a": NaN}}', "NaN"),
        ('{"custom": {"a": -Infinity}}', "Infinity"),
        ('{"custom": {"a": 1e999999}}', "range"),
        ('{"custom": {"a": 1e400}}', "range"),
        ('{"custom": {"a": ' + "9" * 500 + "}}", "range"),
        ('{"custom": {"a": ' + "[" * 100 + "1" + "]" * 100 + "}}", "64"),
        ("[" * 50_000, "body"),
        (b'{"notes": "\xff"}', "UTF-8"),
        ('{"notes": "a"} {}', "character"),
        ('{"notes": "tab\there"}', "character"),
        ("7", "body"),
        ("null", "body"),
        ('[{"notes": "a"}]', "body"),
        ("", "body"),
    ],
)
async def test_body_that_is_no_strict_json_is_refused_in_words(
    http: httpx2.AsyncClient, text: str | bytes, words: str
) -> None:
    before = await made(http, id="a")

    content = text.encode() if isinstance(text, str) else text
    answer = await http.patch(f"{PATH}/a", content=content, headers=JSON)

    assert words in refused(answer, 422, "invalid_input")["detail"]
    assert await done(await http.get(f"{PATH}/a")) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_body_of_another_content_type_is_refused_by_that_name(http: httpx2.AsyncClient, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}

    refused_member(await http.post(PATH, content=b'{"id": "a"}', headers=headers), "Content-Type")

    for good in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.crm+json"):
        answer = await http.post(PATH, content=b"{}", headers={"Content-Type": good})
        assert answer.status_code == 201, good


async def test_body_beyond_its_limit_is_413_with_and_without_its_length(http: httpx2.AsyncClient) -> None:
    def body(size: int) -> bytes:
        bare = json.dumps({"custom": {"a": ""}}).encode()
        return bare.replace(b'""', b'"' + b"x" * (size - len(bare)) + b'"')

    async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(data), 10_000):
            yield data[at : at + 10_000]

    for size, status in ((1_000_000, 201), (1_000_001, 413)):
        for content in (body(size), in_pieces(body(size))):
            assert len(body(size)) == size
            answer = await http.post(PATH, content=content, headers=JSON)
            assert answer.status_code == status, (size, answer.text[:300])
            if status == 413:
                refused(answer, 413, "too_large")
    assert (await imported(http, b"id\n" + b"\n" * 2_000_000)).status_code == 200
