"""The main job from end to end, in five steps: `python3 test_mls_crm_integration.py`, in a fresh clone too.

Any python3 will do: what is missing is set up by `make`, and the steps run in the project's environment. They start a
service of their own on a free port of 127.0.0.1, over a database in a temporary folder, and leave nothing behind; the
data of the user are not looked at. All that is done to listings and CRM properties is done over HTTP.

Two things HTTP cannot do, and the database of the temporary folder is asked for them: put a CRM property out of step
(step 4), and look for the content of a purged listing in every column of every table (step 5).

Exit code 0 says that everything held. Otherwise the last line names the step, what was expected, and what came.
"""

# Only the standard library up here, and nothing newer than Python 3.6, hence the quotes around annotations: whichever
# python3 there is has to get as far as handing over to the one in .venv.
import asyncio
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Told = tuple[Any, ...]

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
HANDED_OVER = "MLS_CRM_SYNC_INTEGRATION_HANDED_OVER"
START_SECONDS = 180  # the first start makes a database cluster; slow disks take their time
STOP_SECONDS = 60

MARKER = "mk" + secrets.token_hex(10)
"""In every text of ours, and nowhere else in the world: where it is found, content is left."""

CRM_IDS = ("crm-integration-b", "crm-integration-a")  # linked in this order; lists have to sort them
BYSTANDER = "crm-integration-bystander"
PRICE, REMARKS = "ListPrice", "PublicRemarks"

LISTING = {
    "ListingKey": "INTEGRATION-1",
    "ListingId": "I-1001",
    "StandardStatus": "Active",
    "MlsStatus": "Active",
    "ListPrice": 750000,
    "UnparsedAddress": f"12 {MARKER} Street",
    "City": "Fairhaven",
    "PostalCode": "06501",
    "BedroomsTotal": 3,
    "Cooling": ["Central Air", "Ductless"],
    "PublicRemarks": f"Bright corner home, {MARKER}.",
    "PrivateRemarks": f"Lockbox code {MARKER}",
    "ListAgentRemark": f"not understood, kept in the payload: {MARKER}",
    "ModificationTimestamp": "2026-03-01T12:00:00Z",
}
UPDATE = {
    "ListPrice": 699000,
    "StandardStatus": "Pending",
    "MlsStatus": "In Contract",
    "PublicRemarks": f"Price improved, {MARKER}!",
    "ModificationTimestamp": "2026-03-02T12:00:00Z",
}
FACTS = {
    "ListingKey": "INTEGRATION-1",
    "ListingId": "I-1001",
    "StandardStatus": "Active",
    "MlsStatus": "Active",
    "ListPrice": "750000",
    "UnparsedAddress": f"12 {MARKER} Street",
    "City": "Fairhaven",
    "PostalCode": "06501",
    "BedroomsTotal": 3,
    "Cooling": ["Central Air", "Ductless"],
    "PublicRemarks": f"Bright corner home, {MARKER}.",
}
"""What of LISTING goes to the CRM, in normal form; PrivateRemarks are between members of the MLS."""

PRIVATE = {"PrivateRemarks": LISTING["PrivateRemarks"]}
UPDATED_FACTS = {**FACTS, **UPDATE, "ListPrice": "699000"}
del UPDATED_FACTS["ModificationTimestamp"]

CHANGES = [
    ("other", "PublicRemarks", FACTS["PublicRemarks"], UPDATE["PublicRemarks"]),
    ("price", "ListPrice", "750000", "699000"),
    ("status", "MlsStatus", "Active", "In Contract"),
    ("status", "StandardStatus", "Active", "Pending"),
]
CHANGED_NAMES = [name for _, name, _, _ in sorted(CHANGES, key=lambda change: change[1])]

OWNED: "dict[str, dict[str, Any]]" = {
    "crm-integration-a": {
        "crm_status": "under_contract",
        "notes": f"  Ring twice,\n\tthen \u00e4sk for \u2603 \\ \"{MARKER}\" & 'wait'  \r\n",
        "tags": ["vip", "Ähnlich", "a,b;c", MARKER],
        "assigned_agent": "Priya",
        "custom": {"lead": {"score": 1.5, "from": [None, True, "web"]}},
        "own": {"City": "Our Town", "LotSizeDimensions": f"20 x {MARKER}"},
        "overrides": {"ListPrice": "999999.99"},
    },
    "crm-integration-b": {
        "crm_status": None,
        "notes": f"{MARKER}",
        "tags": [],
        "assigned_agent": None,
        "custom": {},
        "own": {"UnparsedAddress": f"Our own {MARKER} Rd"},
        "overrides": {"PublicRemarks": f"What we say instead {MARKER}", "BedroomsTotal": 7},
    },
}
"""What the CRM says of its properties before they are linked, each in the form it has to keep."""

CONTENT_BEFORE = {
    "database crm_properties.fields",
    "database crm_properties.notes",
    "database crm_properties.overrides",
    "database crm_properties.own",
    "database crm_properties.tags",
    "database mls_properties.fields",
    "database mls_properties.payload",
    "database property_changes.new_value",
    "database property_changes.previous_value",
    "database quarantined_records.payload",
    "GET /api/mls-properties",
    "GET /api/mls-properties/ID",
    "GET /api/mls-properties/ID/changes",
    "GET /api/mls-properties/ID/crm-properties",
    "GET /api/mls-properties?q=",
    "GET /api/properties",
    "GET /api/properties/crm-integration-a",
    "GET /api/properties/crm-integration-a/mls-data",
    "GET /api/properties/crm-integration-b",
    "GET /api/properties/crm-integration-b/mls-data",
    "GET /api/properties?q=",
    "GET /api/quarantine",
}
"""Where the marker must stand before the cleaning up: a search that finds nothing afterwards must be one that finds."""

OPEN_PLACES = ("GET /api/events", "GET /api/stats", "GET /api/openapi.json")  # never a value of a listing


class Failed(Exception):
    """Something does not hold."""


def expect(what: str, got: object, expected: object) -> None:
    """Raises Failed."""
    if got != expected:
        less, more = _apart(got, expected)
        raise Failed(f"{what}: expected {_shown(more)}, got {_shown(less)}")


def _apart(got: object, expected: object) -> "tuple[object, object]":
    """Return both without what they have in common, so that the difference can be seen."""
    if isinstance(got, dict) and isinstance(expected, dict):
        names = [n for n in {**expected, **got} if n not in got or n not in expected or got[n] != expected[n]]
        return {n: got[n] for n in names if n in got}, {n: expected[n] for n in names if n in expected}
    if isinstance(got, tuple) and isinstance(expected, tuple) and len(got) == len(expected):
        return next(_apart(one, other) for one, other in zip(got, expected) if one != other)  # noqa: B905 - 3.6 has none
    if isinstance(got, bytes) and isinstance(expected, bytes):
        pairs = enumerate(zip(got, expected))  # noqa: B905 - either may be the shorter
        same = next((place for place, (one, other) in pairs if one != other), min(len(got), len(expected)))
        seen = slice(max(0, same - 60), same + 200)
        return got[seen], expected[seen]
    return got, expected


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 1200 else text[:1200] + "..."


# -- the five steps ---------------------------------------------------------------------------------------------------


class Story:
    """The five steps over one service, each a method that says in one line what it has proven."""

    def __init__(self, service: "Service") -> None:
        self.service = service
        self.listing_id = ""
        self.owned: dict[str, bytes] = {}
        self.other_id = ""
        self.bystander: tuple[bytes, ...] = ()

    def steps(self) -> "Iterable[Callable[[], str]]":
        return (self.create_listing, self.link_two, self.update_listing, self.sync_by_hand, self.clean_up)

    def run(self) -> None:
        """Tell of each step as it ends. Raises Failed, which names the step."""
        for number, step in enumerate(self.steps(), start=1):
            try:
                if number == 1:
                    self._make_bystander()
                proven = step()
            except Failed as failed:
                raise Failed(f"step {number} ({step.__name__}): {failed}") from failed
            except (LookupError, TypeError, ValueError, AttributeError, OSError, http.client.HTTPException) as error:
                unlike = f"expected answers as documented, got {type(error).__name__}: {error}"
                raise Failed(f"step {number} ({step.__name__}): {unlike}") from error
            sys.stdout.write(f"step {number}: {proven}\n")
            sys.stdout.flush()

    def create_listing(self) -> str:
        since = self._seq()
        done = self._push(LISTING)
        expect("counts of the push", self._counts(done), {"read": 1, "new": 1})
        expect("changes of the push", done["changes"], {"new": 1})
        (item,) = done["items"]
        self.listing_id = item["property_id"]
        expect("listing_key", item["listing_key"], LISTING["ListingKey"])
        listing = self._listing()
        expect("fields of the listing", listing["fields"], {**FACTS, **PRIVATE})
        expect("crm_property_ids of the new listing", listing["crm_property_ids"], [])
        expect("history of the new listing", self._history(), [("new", None, None, None)])
        expect("events of the push", self._events(since), [("listing.changed", None, [], ["new"])])
        return f"listing {self.listing_id} created, its {len(FACTS) + 1} fields as pushed; history and events say `new`"

    def link_two(self) -> str:
        for crm_id in CRM_IDS:
            self._create(crm_id)
        since = self._seq()
        for crm_id in CRM_IDS:
            reference = {"mls_property_id": self.listing_id, "crm_property_id": crm_id}
            answer = self.service.call("POST", "/crm-property-reference", reference)
            expect("message of the reference", answer["message"], "reference added")
            self._expect_in_step(crm_id, FACTS)  # at once: before the other is linked
        self._expect_owned("linking")
        filled: list[Told] = []
        for crm_id in CRM_IDS:
            filled += [("property.linked", crm_id, [], []), ("property.synced", crm_id, sorted(FACTS), [])]
        expect("events of the links", self._events(since), filled)
        expect("crm_property_ids, sorted", self._listing()["crm_property_ids"], sorted(CRM_IDS))
        before = self._everything()
        answer = self.service.call("POST", "/crm-property-reference", reference)
        expect("message of the same reference again", answer["message"], "reference was there already")
        expect("everything after the same reference again", self._everything(), before)
        return "both references filled their CRM property at once; notes, crm_status, tags, own, overrides untouched"

    def update_listing(self) -> str:
        since, crm = self._seq(), {crm_id: self._crm(crm_id) for crm_id in CRM_IDS}
        done = self._push({**LISTING, **UPDATE})
        expect("counts of the push", self._counts(done), {"read": 1, "changed": 1, "crm_updated": 2})
        expect("changes of the push", done["changes"], {"price": 1, "status": 1, "other": 1})
        for crm_id in sorted(CRM_IDS):
            self._expect_in_step(crm_id, UPDATED_FACTS)
            expect(f"version of {crm_id}", self._crm(crm_id)["version"], crm[crm_id]["version"])
        self._expect_owned("the update of the listing")
        expect("fields of the listing", self._listing()["fields"], {**UPDATED_FACTS, **PRIVATE})
        expect("history", self._history(), [*CHANGES, ("new", None, None, None)])
        types = ["other", "price", "status"]
        told: list[Told] = [("listing.changed", None, CHANGED_NAMES, types)]
        told += [("property.synced", crm_id, CHANGED_NAMES, types) for crm_id in sorted(CRM_IDS)]
        expect("events of the update", self._events(since), told)
        before = self._everything()
        again = self._push({**LISTING, **UPDATE})
        expect("counts of the same push again", self._counts(again), {"read": 1, "unchanged": 1})
        expect("changes of the same push again", again["changes"], {})
        expect("everything after the same push again", self._everything(), before)
        return (
            f"price, status and remarks are in both CRM properties; what the CRM owns is byte for byte as before, "
            f"overrides win; history and events name just {', '.join(CHANGED_NAMES)}; the same push changes nothing"
        )

    def sync_by_hand(self) -> str:
        before = self._everything()
        self._expect_sync({"mls_property_id": self.listing_id}, updated=2, changed=0)
        self._expect_sync(None, updated=3, changed=0)  # all linked ones: the bystander too
        for crm_id in CRM_IDS:
            answer = self.service.call("POST", f"/api/properties/{crm_id}/sync-from-mls")
            expect(f"sync-from-mls of {crm_id}", (answer["changed"], answer["field_names"]), (False, []))
            data = self.service.call("GET", f"/api/properties/{crm_id}/mls-data")
            expect("crm_property_ids of mls-data", data["crm_property_ids"], sorted(CRM_IDS))
            expect("fields of mls-data", data["fields"], {**UPDATED_FACTS, **PRIVATE})
        expect("everything after syncing what is in step", self._everything(), before)
        self._expect_mended(lambda: self._expect_sync({"mls_property_id": self.listing_id}, updated=2, changed=1))
        self._expect_mended(self._expect_sync_from_mls)
        self.service.call("POST", "/sync-property", {"mls_property_id": "no-such-listing"}, status=404)
        unlinked = f"/api/properties/{CRM_IDS[0]}/unlink-mls"
        self.service.call("DELETE", unlinked)
        self._expect_sync({"mls_property_id": self.listing_id}, updated=1, changed=0)
        self.service.call("POST", f"/api/properties/{CRM_IDS[0]}/sync-from-mls", status=409)
        self.service.call("POST", f"/api/properties/{CRM_IDS[0]}/link-mls", {"mls_property_id": self.listing_id})
        self._expect_sync({"mls_property_id": self.listing_id}, updated=2, changed=0)
        self._expect_owned("syncing by hand")
        return (
            "2 properties found in step and nothing changed; one put out of step on purpose was mended, each way; "
            "mls-data shows crm_property_ids sorted"
        )

    def clean_up(self) -> str:
        broken = {**LISTING, "ListPrice": f"a lot, {MARKER}"}  # so that quarantine has something to forget too
        expect("counts of a broken record", self._counts(self._push(broken)), {"read": 1, "quarantined": 1})
        expect("the content, before", CONTENT_BEFORE - self._content(), set())
        for left, crm_id in ((sorted(CRM_IDS)[:1], CRM_IDS[0]), ([], CRM_IDS[1])):
            self._remove_reference(crm_id, left)
        for crm_id in CRM_IDS:
            self.service.call("DELETE", f"/api/properties/{crm_id}", status=204)
            self.service.call("GET", f"/api/properties/{crm_id}", status=404)
            self.service.call("GET", f"/api/properties/{crm_id}/mls-data", status=404)
        since = self._seq()
        self.service.call("DELETE", f"/api/mls-properties/{self.listing_id}")
        expect("events of the purge", self._events(since), [("listing.purged", None, [], [])])
        self._expect_tombstone()
        expect("quarantine", self._items("/api/quarantine"), [])
        expect("CRM properties", [row["id"] for row in self._items("/api/properties")], [BYSTANDER])
        expect("what the search finds, MLS", self._items(f"/api/mls-properties?q={MARKER}"), [])
        expect("what the search finds, CRM", self._items(f"/api/properties?q={MARKER}"), [])
        expect("the content, after", self._content(), set())
        expect("the bystanders", self._bystanders(), self.bystander)
        return (
            "references, CRM properties and listing are gone: the marker text, found in "
            f"{len(CONTENT_BEFORE)} places before, is in no answer and no column of any table; bystanders untouched"
        )

    # -- what the steps ask and do

    def _make_bystander(self) -> None:
        """Another listing and its CRM property: whatever happens to ours must leave them alone."""
        other = {**LISTING, "ListingKey": "INTEGRATION-2", "PrivateRemarks": None, "ListAgentRemark": None}
        plain = {"UnparsedAddress": "1 Other Street", "PublicRemarks": "Somebody else's."}
        (item,) = self._push({**other, **plain})["items"]
        self.service.call("POST", "/api/properties", {"id": BYSTANDER, "notes": "not yours"}, status=201)
        reference = {"mls_property_id": item["property_id"], "crm_property_id": BYSTANDER}
        self.service.call("POST", "/crm-property-reference", reference)
        self.other_id = item["property_id"]
        self.bystander = self._bystanders()

    def _bystanders(self) -> "tuple[bytes, ...]":
        listing = f"/api/mls-properties/{self.other_id}"
        paths = (listing, f"{listing}/changes", f"/api/properties/{BYSTANDER}")
        return tuple(self.service.raw("GET", path) for path in paths)

    def _push(self, listing: "Mapping[str, Any]") -> Any:  # noqa: ANN401 - JSON
        return self.service.call("POST", "/api/mls-properties", {"listings": [listing]})

    def _counts(self, done: "Mapping[str, int]") -> "dict[str, int]":
        names = ("read", "new", "changed", "unchanged", "quarantined", "crm_updated")
        return {name: done[name] for name in names if done[name] != 0}

    def _create(self, crm_id: str) -> None:
        told = dict(OWNED[crm_id])
        overrides = told.pop("overrides")
        self.service.call("POST", "/api/properties", {"id": crm_id, **told}, status=201)
        row = self.service.call("PATCH", f"/api/properties/{crm_id}", {"overrides": overrides, "reason": MARKER})
        for name, value in OWNED[crm_id].items():
            expect(f"{name} of {crm_id} as written", row[name], value)
        expect(f"fields of {crm_id} before it is linked", row["fields"], {})
        self.owned[crm_id] = _owned(row)

    def _crm(self, crm_id: str) -> Any:  # noqa: ANN401 - JSON
        return self.service.call("GET", f"/api/properties/{crm_id}")

    def _listing(self) -> Any:  # noqa: ANN401 - JSON
        return self.service.call("GET", f"/api/mls-properties/{self.listing_id}")

    def _expect_in_step(self, crm_id: str, facts: "Mapping[str, Any]") -> None:
        row, said = self._crm(crm_id), OWNED[crm_id]
        expect(f"link of {crm_id}", row["mls_property_id"], self.listing_id)
        expect(f"fields of {crm_id}", row["fields"], facts)
        expect(f"values of {crm_id}", row["values"], {**said["own"], **facts, **said["overrides"]})

    def _expect_owned(self, doing: str) -> None:
        for crm_id in CRM_IDS:
            expect(f"what the CRM owns of {crm_id} after {doing}", _owned(self._crm(crm_id)), self.owned[crm_id])

    def _expect_sync(self, body: "Mapping[str, str] | None", *, updated: int, changed: int) -> None:
        answer = self.service.call("POST", "/sync-property", body)
        expect("success of sync-property", answer["success"], True)  # noqa: FBT003 - a value
        expect("crm_properties_updated", answer["crm_properties_updated"], updated)
        expect("changed", answer["changed"], changed)

    def _expect_sync_from_mls(self) -> None:
        answer = self.service.call("POST", f"/api/properties/{CRM_IDS[0]}/sync-from-mls")
        expect("sync-from-mls, out of step", (answer["changed"], answer["field_names"]), (True, [PRICE, REMARKS]))

    def _expect_mended(self, sync: "Callable[[], None]") -> None:
        """Put one CRM property out of step, sync, and look at what became of it.

        No request can do the first, and a sync that never does anything would pass for one that finds all in step.
        """
        since = self._seq()
        self.service.execute(
            "UPDATE crm_properties SET fields = fields - 'PublicRemarks' || '{\"ListPrice\": \"1\"}' WHERE id = $1",
            CRM_IDS[0],
        )
        expect("price out of step on purpose", self._crm(CRM_IDS[0])["fields"][PRICE], "1")
        sync()
        self._expect_in_step(CRM_IDS[0], UPDATED_FACTS)
        mended: list[Told] = [("property.synced", CRM_IDS[0], [PRICE, REMARKS], [])]
        expect("events of the sync by hand", self._events(since), mended)

    def _remove_reference(self, crm_id: str, left: "list[str]") -> None:
        query = f"/crm-property-reference?mls_property_id={self.listing_id}&crm_property_id={crm_id}"
        expect("message", self.service.call("DELETE", query)["message"], "reference removed")
        expect(f"crm_property_ids without {crm_id}", self._listing()["crm_property_ids"], left)
        expect(f"link of {crm_id}", self._crm(crm_id)["mls_property_id"], None)
        self.service.call("GET", f"/api/properties/{crm_id}/mls-data", status=409)
        self.service.call("DELETE", query, status=404)

    def _expect_tombstone(self) -> None:
        listing = self._listing()
        expect("purged_at is there", bool(listing["purged_at"]), True)  # noqa: FBT003 - a value
        bare: dict[str, Any] = {
            "fields": {},
            "computed": {},
            "content_hash": "",
            "source_modified_at": None,
            "crm_property_ids": [],
        }
        expect("the tombstone", {name: listing[name] for name in bare}, bare)
        expect("history of the tombstone", self._history(), [])
        expect("its CRM properties", self._items(f"/api/mls-properties/{self.listing_id}/crm-properties"), [])

    def _history(self) -> "list[Told]":
        """Newest first, a push's own changes by field name: their order among each other says nothing."""
        rows = self._items(f"/api/mls-properties/{self.listing_id}/changes")
        rows.sort(key=lambda row: (-row["run_id"], row["type"], row["field_name"] or ""))
        return [(row["type"], row["field_name"], row["previous_value"], row["new_value"]) for row in rows]

    def _seq(self) -> int:
        return max((event["seq"] for event in self._items("/api/events")), default=0)

    def _events(self, since: int) -> "list[Told]":
        """Return (type, CRM property, field names, change types) of our listing's events, in order."""
        events = [event for event in self._items("/api/events") if event["seq"] > since]
        expect("whose events", {event["property_id"] for event in events}, {self.listing_id})
        return [(e["type"], e["crm_property_id"], e["field_names"], e["change_types"]) for e in events]

    def _items(self, path: str) -> "list[Any]":
        joint = "&" if "?" in path else "?"
        answer = self.service.call("GET", f"{path}{joint}limit=1000")
        return list(answer["items"])

    def _everything(self) -> "tuple[bytes, ...]":
        """All that the service shows, as it came over the wire; runs aside, of which each push makes one."""
        lists = ("/api/properties", "/api/mls-properties", "/api/events", "/api/quarantine")
        single = (f"/api/mls-properties/{self.listing_id}", f"/api/mls-properties/{self.listing_id}/changes")
        return tuple(self.service.raw("GET", path) for path in (*lists, *single))

    def _content(self) -> "set[str]":
        """Return every place where the marker stands: answers of the service, and columns of its database."""
        listing = f"/api/mls-properties/{quote(self.listing_id)}"
        paths = {
            "GET /api/mls-properties/ID": listing,
            "GET /api/mls-properties/ID/changes": f"{listing}/changes",
            "GET /api/mls-properties/ID/crm-properties": f"{listing}/crm-properties",
            "GET /api/mls-properties?q=": f"/api/mls-properties?q={MARKER}",
            "GET /api/properties?q=": f"/api/properties?q={MARKER}",
        }
        named = ["/api/mls-properties", "/api/properties", "/api/quarantine"]
        named += [f"/api/properties/{crm_id}{more}" for crm_id in CRM_IDS for more in ("", "/mls-data")]
        paths.update({f"GET {path}": path for path in named})
        paths.update({place: place[4:] for place in OPEN_PLACES})
        found = {place for place, path in paths.items() if _holds(self.service.raw("GET", path, status=None))}
        expect("places that must never show a value", found & set(OPEN_PLACES), set())
        return found | {f"database {column}" for column in self.service.columns_with_marker()}


def _owned(row: "Mapping[str, Any]") -> bytes:
    """What the CRM owns of a property, as bytes."""
    names = ("platform", "crm_status", "notes", "tags", "assigned_agent", "custom", "own", "overrides")
    owned = {**{name: row[name] for name in names}, "details": row["override_details"]}
    return json.dumps(owned, ensure_ascii=False).encode()


def _holds(data: bytes) -> bool:
    return MARKER.encode() in data.lower()


# -- the service ------------------------------------------------------------------------------------------------------


class Service:
    """A running service, and the database behind it."""

    def __init__(self, port: int, home: Path) -> None:
        self._port = port
        self._home = home

    def call(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:  # noqa: ANN401 - JSON
        """Return the answer's JSON. Raises Failed when it has another status."""
        raw = self.raw(method, path, body, status=status)
        return json.loads(raw) if raw else None

    def raw(self, method: str, path: str, body: object = None, *, status: "int | None" = 200) -> bytes:
        """Return the answer's bytes. `status` None takes any."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            data = None if body is None else json.dumps(body).encode()
            headers = {} if data is None else {"Content-Type": "application/json"}
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        if status is not None and answer.status != status:
            raise Failed(f"{method} {path}: expected status {status}, got {answer.status}: {raw[:800].decode()}")
        return raw

    def execute(self, sql: str, *args: str) -> None:
        asyncio.run(self._execute(sql, args))

    def columns_with_marker(self) -> "set[str]":
        """Return `table.column` wherever the marker stands, in compressed payloads too."""
        return asyncio.run(self._columns_with_marker())

    async def _execute(self, sql: str, args: "Iterable[str]") -> None:
        conn = await self._connected()
        try:
            await conn.execute(sql, *args)
        finally:
            await conn.close()

    async def _columns_with_marker(self) -> "set[str]":
        found: set[str] = set()
        conn = await self._connected()
        try:
            for (table,) in await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                for row in await conn.fetch(f'SELECT * FROM "{table}"'):  # noqa: S608 - names out of the catalogue
                    found.update(f"{table}.{column}" for column, value in row.items() if _holds(_bytes_of(value)))
        finally:
            await conn.close()
        return found

    async def _connected(self) -> Any:  # noqa: ANN401 - its type is not there at the top
        import asyncpg  # noqa: PLC0415 - only inside the environment

        from mls_crm_sync.store.embedded import EmbeddedPostgres  # noqa: PLC0415

        return await asyncpg.connect(EmbeddedPostgres(self._home).dsn)


def _bytes_of(value: object) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    import zstandard  # noqa: PLC0415 - only inside the environment

    from mls_crm_sync.store import payloads  # noqa: PLC0415

    return payloads.unpacked(value) if value.startswith(zstandard.FRAME_HEADER) else value


@contextlib.contextmanager
def served() -> "Iterator[Service]":
    """Lend a service of our own over an empty database; afterwards neither is there."""
    folder = Path(tempfile.mkdtemp(prefix="mls-crm-sync-integration-"))
    try:
        folder.chmod(0o711)  # root's PostgreSQL runs under another account, which has to pass through
        with (folder / "log").open("w+b") as log:
            yield from _served(folder / "home", log.name, log.fileno())
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def _served(home: Path, log: str, log_number: int) -> "Iterator[Service]":
    """Settings of the user's must not reach it; where its PostgreSQL programs are may."""
    ours = {"DATABASE_URL", "STALE_AFTER_HOURS", "LOG_LEVEL"}
    kept = {n: v for n, v in os.environ.items() if n not in ours and not n.startswith("MLS_CRM_SYNC_")}
    programs = {n: v for n, v in os.environ.items() if n == "MLS_CRM_SYNC_PG_BIN"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mls_crm_sync", "serve", "--no-worker", "--host", "127.0.0.1", "--port", "0"],
        env={**kept, **programs, "MLS_CRM_SYNC_HOME": str(home)},
        cwd=str(home.parent),
        stdin=subprocess.DEVNULL,
        stdout=log_number,
        stderr=log_number,
    )
    try:
        yield Service(_port_when_ready(process, Path(log)), home)
    finally:
        _stop(process, home)
    if process.returncode != 0:
        raise Failed(f"the service: expected exit code 0, got {process.returncode}: {Path(log).read_text()[-2000:]}")


def _port_when_ready(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """Wait for the service to be ready; it names the port it took. Raises Failed."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        said = re.search(r"^http://127\.0\.0\.1:(\d+)$", log.read_text(), re.MULTILINE)
        if said and _is_ready(int(said.group(1))):
            return int(said.group(1))
        time.sleep(0.05)
    state = "is not ready" if process.poll() is None else f"has ended with {process.returncode}"
    raise Failed(f"the service: expected it to start, but it {state}: {log.read_text()[-2000:]}")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]", home: Path) -> None:
    """End the service in order, by force where it does not go; and then its PostgreSQL, which it could not end."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for lock in home.glob("pg*/postmaster.pid"):
        lines = lock.read_text().splitlines()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(lines[0]), signal.SIGQUIT)  # its data are thrown away: no reason to wait for them
        shutil.rmtree(lines[4], ignore_errors=True)  # the folder of its socket


# -- from any python3 into the project's environment ------------------------------------------------------------------


def inside() -> bool:
    """Whether this is the project's own python; `.venv/bin/python` is a link to another, the prefix tells."""
    return VENV.is_dir() and VENV.samefile(sys.prefix)


def hand_over() -> None:
    """Make the environment and begin again in it; does not return unless something is wrong. Raises Failed."""
    if os.environ.get(HANDED_OVER):
        raise Failed(f"expected {VENV} to be this python's environment, got {sys.prefix}")
    make = shutil.which("make")
    if make is None:
        raise Failed("expected a `make` on the path, got none")
    done = subprocess.run([make, "--no-print-directory", ".stamps/run", *_python()], cwd=str(ROOT), stdout=2)  # noqa: S603, PLW1510 - the code is looked at
    if done.returncode != 0:
        raise Failed(f"make .stamps/run: expected exit code 0, got {done.returncode}")
    os.environ[HANDED_OVER] = "1"
    python = str(VENV / "bin" / "python")
    os.execv(python, [python, str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606 - our own python


def _python() -> "list[str]":
    """Which python makes the environment, for make: this one, or a newer one on the path."""
    if tuple(sys.version_info) >= OLDEST:
        return [f"PYTHON={sys.executable}"]
    for minor in range(20, 10, -1):
        python = shutil.which(f"python3.{minor}")
        if python and subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL) == 0:  # noqa: S603
            return [f"PYTHON={python}"]
    return []  # make says what is needed


def _told_to_end(number: int, _: object) -> None:
    sys.exit(128 + number)  # by way of every `finally`: the service must not outlive us


def main() -> int:
    try:
        if not inside():
            hand_over()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _told_to_end)
        with served() as service:
            Story(service).run()
    except Failed as failed:
        sys.stderr.write(f"FAILED {failed}\n")
        return 1
    sys.stdout.write("All five steps hold.\n")
    return 0


def test_mls_crm_integration() -> None:
    with served() as service:
        Story(service).run()


if __name__ == "__main__":
    sys.exit(main())
