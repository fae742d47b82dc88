"""A stand-in for realtor.com's GraphQL endpoint: answers the library's own queries with what they ask for.

`a_home` makes a home with all that the library's queries select; an answer holds of it what the query of the request
selects, under the names that it gives. Searches are by status, flags, place and date of sale, as the query says them,
200 homes at a time, the first 10,000. `fault` misbehaves from a certain request on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from graphql import DocumentNode, FieldNode, OperationDefinitionNode, SelectionSetNode, ValueNode, VariableNode, parse
from graphql.utilities import value_from_ast_untyped

from sources.fault_server import send
from sources.serving import in_a_thread, listening

PAGE = 200
MOST = 10_000
CITY, STATE, ZIP = "San Diego", "CA", "92101"
SAN_DIEGO = f"{CITY}, {STATE}"

Home = dict[str, Any]


def a_home(key: str = "1000000001", *, city: str = CITY, zip_code: str = ZIP, **members: Any) -> Home:
    """A home for sale; members given replace whole members, those of `description` and `flags` are laid over."""
    number = int("".join(c for c in key if c.isdigit()) or 0) % 9000 + 1
    line = f"{number} Cedar St Unit {key[-3:]}"
    home: Home = {
        "__typename": "SearchHome",
        "pending_date": None,
        "listing_id": f"29{key}",
        "property_id": key,
        "href": f"https://www.realtor.com/realestateandhomes-detail/{key}",
        "permalink": f"{number}-Cedar-St_{city}_{STATE}_{zip_code}",
        "list_date": "2026-10-03T16:20:11Z",
        "status": "for_sale",
        "mls_status": "Active",
        "last_sold_price": 410000,
        "last_sold_date": "2015-06-30",
        "last_status_change_date": "2026-10-03T16:20:11Z",
        "last_update_date": "2026-11-01T08:00:00Z",
        "list_price": 750000,
        "list_price_max": None,
        "list_price_min": None,
        "price_per_sqft": 512,
        "tags": ["central_air", "two_or_more_stories"],
        "open_houses": None,
        "details": [{"category": "Bedrooms", "text": ["Bedrooms: 3"], "parent_category": "Interior"}],
        "pet_policy": None,
        "units": None,
        "flags": {"is_contingent": None, "is_pending": None, "is_new_construction": None},
        "description": {
            "type": "single_family", "sqft": 1465, "beds": 3, "baths_full": 2, "baths_half": 1, "lot_sqft": 5000,
            "year_built": 1987, "garage": 2, "name": None, "stories": 2, "text": "Sunny home near the park.",
        },
        "source": {"id": "SDCA", "listing_id": f"2600{key[-5:]}"},
        "hoa": {"fee": 0},
        "location": {
            "address": {
                "street_direction": None, "street_number": str(number), "street_name": "Cedar", "street_suffix": "St",
                "line": line, "unit": f"Unit {key[-3:]}", "city": city, "state_code": STATE, "postal_code": zip_code,
                "coordinate": {"lon": -117.1611, "lat": 32.7157},
            },
            "county": {"name": "San Diego", "fips_code": "06073"},
            "neighborhoods": [{"name": "Core-Columbia"}],
            "parcel": {"parcel_id": "5331012200"},
        },
        "tax_record": {
            "cl_id": "1", "public_record_id": "2", "last_update_date": "2026-01-01", "apn": "533-101-22-00",
            "tax_parcel_id": "533-101-22-00",
        },
        "primary_photo": {"href": f"https://ap.rdcpix.com/{key}-m1s.jpg"},
        "photos": [
            {"title": "", "href": f"https://ap.rdcpix.com/{key}-m{n}s.jpg", "tags": [{"label": "kitchen"}]}
            for n in (1, 2)
        ],
        "advertisers": [
            {
                "email": "ann@broker.test", "broker": {"name": "Harbor Realty", "fulfillment_id": "77"},
                "type": "seller", "name": "Ann Agent", "fulfillment_id": "4711", "builder": None,
                "phones": [
                    {"ext": "", "primary": False, "type": "Home", "number": "6195550000"},
                    {"ext": "", "primary": True, "type": "Mobile", "number": "6195550123"},
                ],
                "office": {
                    "name": "Harbor Realty Downtown", "email": None, "fulfillment_id": "88", "href": None,
                    "phones": [{"number": "6195550199", "type": "Office", "primary": True, "ext": ""}],
                    "mls_set": "O-SDCA-1",
                },
                "corporation": None, "mls_set": "A-SDCA-1", "nrds_id": None, "state_license": "01234567",
                "rental_corporation": None, "rental_management": None,
            }
        ],
        "current_estimates": [
            {
                "__typename": "LatestEstimate", "source": {"__typename": "S", "type": "corelogic", "name": "CoreLogic"},
                "estimate": 741000, "estimate_high": 800000, "estimate_low": 690000, "date": "2026-11-01",
                "isbest_homevalue": True,
            }
        ],
    }  # fmt: skip
    for name in ("description", "flags"):
        if isinstance(members.get(name), dict):
            members[name] = home[name] | members[name]
    return home | members


def sold(home: Home, *, price: int, on: str, updated: str) -> Home:
    """The same home, sold."""
    return home | {
        "status": "sold", "mls_status": "Closed", "list_price": None, "last_sold_price": price, "last_sold_date": on,
        "last_update_date": updated, "last_status_change_date": updated,
    }  # fmt: skip


@dataclass(frozen=True)
class Asked:
    operation: str
    variables: Mapping[str, Any]
    headers: Mapping[str, str]
    target: str
    body: bytes


Fault = Callable[["RealtorSite", asyncio.StreamWriter, dict[str, Any]], Awaitable[bool]]
"""Writes something else than the answer it is given; returns whether the connection goes on."""


@dataclass
class RealtorSite:
    """The endpoint, on loopback."""

    homes: dict[str, Home] = field(default_factory=dict)
    announced: int | None = None  # instead of how many a search for sale has
    places: set[str] = field(default_factory=lambda: {SAN_DIEGO, "New York, NY"})  # known without a home there
    today: datetime = field(default_factory=lambda: datetime.now(UTC))
    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    fault: Fault | None = None
    faulty: Callable[[Asked], bool] = lambda _: True  # which requests

    @classmethod
    def of(cls, homes: Iterable[Home]) -> RealtorSite:
        return cls({home["property_id"]: home for home in homes})

    @property
    def endpoint(self) -> str:
        return f"{self.address}/frontdoor/graphql"

    @contextlib.asynccontextmanager
    async def serving(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RealtorSite]:
        async with listening(self._connected, tls=tls) as self.address:
            yield self

    @contextlib.contextmanager
    def serving_in_a_thread(self) -> Iterator[RealtorSite]:
        with in_a_thread(self.serving()) as one:
            yield one

    def change(self, key: str, **members: Any) -> None:
        self.homes[key] = self.homes[key] | members

    def operations(self) -> list[str]:
        return [one.operation for one in self.asked]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines if one)}
                raw = await reader.readexactly(int(headers["content-length"]))
                body = orjson.loads(raw)
                asked = Asked(body["operationName"], body["variables"], headers, first.split(" ")[1], raw)
                self.asked.append(asked)
                answer = {"data": self._data(asked, body["query"])}
                if self.fault is not None and self.faulty(asked):
                    if not await self.fault(self, writer, answer):
                        return
                    continue
                await send(writer, orjson.dumps(answer))

    def _data(self, asked: Asked, query: str) -> dict[str, Any]:
        root = _parsed(query)
        arguments = {one.name.value: _value(one.value, asked.variables) for one in root.arguments or ()}
        match asked.operation:
            case "Search_suggestions":
                found: Any = self._suggested(arguments["search_input"]["search_term"])
            case "GetHomeSearch":
                found = self._search(arguments["query"], arguments["offset"], arguments["limit"])
            case "GetHomeDetails":
                found = self.homes.get(arguments["property_id"])
            case _:
                raise AssertionError(asked.operation)
        return {_name(root): _selected(found, root.selection_set)}

    def _suggested(self, term: str) -> dict[str, Any]:
        geo = self._geo(term.strip())
        return {"geo_results": [{"type": "area", "text": geo.pop("text"), "geo": geo}] if geo else []}

    def _geo(self, term: str) -> dict[str, Any] | None:
        for home in self.homes.values():
            address = home["location"]["address"]
            whole = f"{address['line']}, {address['city']}, {address['state_code']} {address['postal_code']}"
            if term in {whole, f"{address['line']}, {address['city']}, {address['state_code']}"}:
                return {"text": whole, "area_type": "address", "mpr_id": home["property_id"], "_id": "addr:1"}
        if term.isdigit() and any(home["location"]["address"]["postal_code"] == term for home in self.homes.values()):
            return {"text": term, "area_type": "postal_code", "postal_code": term, "state_code": STATE}
        cities = {f"{h['location']['address']['city']}, {STATE}" for h in self.homes.values()} | self.places
        if term in cities:
            city, _, state = term.rpartition(", ")
            return {"text": term, "area_type": "city", "city": city, "state_code": state}
        return None

    def _search(self, query: Mapping[str, Any], offset: int, limit: int) -> dict[str, Any]:
        found = [home for home in self.homes.values() if self._matches(home, query)]
        total = len(found)
        if self.announced is not None and query["status"] == "for_sale" and "or_filters" not in query:
            total = self.announced
        page = found[offset : min(offset + limit, MOST)]
        return {"count": len(page), "total": total, "results": page}

    def _matches(self, home: Home, query: Mapping[str, Any]) -> bool:
        address = home["location"]["address"]
        place = query["search_location"]["location"]
        if place not in {address["postal_code"], f"{address['city']}, {address['state_code']}"}:
            return False
        statuses = query["status"] if isinstance(query["status"], list) else [query["status"]]
        if home["status"] not in statuses:
            return False
        if "or_filters" in query and not (home["flags"]["is_pending"] or home["flags"]["is_contingent"]):
            return False
        if since := query.get("sold_date", {}).get("min"):
            days = int(since.removeprefix("$today-").removesuffix("D"))
            return bool(home["last_sold_date"] >= f"{self.today - timedelta(days=days):%Y-%m-%d}")
        return True


@lru_cache(maxsize=32)
def _parsed(query: str) -> FieldNode:
    document: DocumentNode = parse(query)
    operation = next(one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    root = operation.selection_set.selections[0]
    assert isinstance(root, FieldNode)
    return root


def _value(node: ValueNode, variables: Mapping[str, Any]) -> Any:
    if isinstance(node, VariableNode):
        return variables[node.name.value]
    return value_from_ast_untyped(node, dict(variables))


def _name(node: FieldNode) -> str:
    return node.alias.value if node.alias else node.name.value


def _selected(found: Any, wanted: SelectionSetNode | None) -> Any:
    """Return of a value what a query selects of it, under the query's names; what is selected twice is merged."""
    if wanted is None or found is None:
        return found
    if isinstance(found, list):
        return [_selected(one, wanted) for one in found]
    assert isinstance(found, dict), "a query selects members of something that has none"
    selected: dict[str, Any] = {}
    for one in wanted.selections:
        assert isinstance(one, FieldNode)
        value = _selected(found.get(one.name.value), one.selection_set)
        before = selected.get(_name(one))
        selected[_name(one)] = before | value if isinstance(before, dict) and isinstance(value, dict) else value
    return selected


async def forbidden(_: RealtorSite, writer: asyncio.StreamWriter, __: dict[str, Any]) -> bool:
    """A fault: the website lets nobody in."""
    await send(writer, b"{}", status=403)
    return True
