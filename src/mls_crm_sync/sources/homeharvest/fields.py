"""From a home as realtor.com tells it to a record in RESO names; from a row of a HomeHarvest CSV to such a home.

What has a RESO name gets it. All that is not told whole by that (estimates, tags, open houses, other photos' words ...)
stays in the record under its own name: it is kept in the payload and never hashed. What is computed from today's date
(days on market) is read from nowhere.

Three rules that are not in any table:

- A member that is null clears, as everywhere; an *object* that is null says nothing about what would be in it.
- `last_sold_price` and `last_sold_date` are of the home's latest sale, which is this listing's only while its status is
  `sold`; of a home that is for sale they are an older one, and a close price that stood there is taken back.
- A sold home without a list price keeps the one that is known: it does not say that there was none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

Home: TypeAlias = Mapping[str, Any]

_STATUS = {"for_sale": "Active", "for_rent": "Active", "ready_to_build": "Active", "sold": "Closed"}
_TYPES: Mapping[str, tuple[str, str | None]] = {  # description.type -> PropertyType, PropertySubType
    "single_family": ("Residential", "Single Family Residence"),
    "condo": ("Residential", "Condominium"),
    "condos": ("Residential", "Condominium"),
    "townhomes": ("Residential", "Townhouse"),
    "coop": ("Residential", "Stock Cooperative"),
    "apartment": ("Residential", "Apartment"),
    "mobile": ("Residential", "Mobile Home"),
    "multi_family": ("Residential Income", "Multi Family"),
    "farm": ("Farm", None),
    "land": ("Land", None),
    "commercial": ("Commercial Sale", None),
}
"""Those that are surely RESO's; the others (`duplex_triplex`, `condo_townhome` ...) are told by their own word."""

_TOLD_WHOLE = frozenset({
    "property_id", "list_price", "list_price_min", "mls_status", "last_status_change_date", "last_update_date",
    "photos",
})  # fmt: skip


class BadShape(Exception):
    """A home that is not built as realtor.com builds them; the text says what is odd"""


def key_of(home: Home) -> str | None:
    """Return the key that a home's record will have."""
    key = home.get("property_id")
    return str(key) if isinstance(key, str | int) and not isinstance(key, bool) and str(key).strip() else None


def is_off_market(home: Home) -> bool:
    """Whether the site knows the home, and says that it is not listed."""
    return _word(home.get("status")) == "off_market"


def record_of(home: Home) -> dict[str, Any]:
    """Return the record of a home: RESO members, then what they do not tell whole. Raises BadShape."""
    status = _word(home.get("status"))
    record: dict[str, Any] = {"ListingKey": home.get("property_id"), "SourceSystemName": "realtor.com"}
    for part in (_listing, _sale, _kind, _facts, _address, _people, _media):
        record.update(part(home, status))
    record.update((name, value) for name, value in home.items() if name not in _TOLD_WHOLE and name != "__typename")
    return record


def _listing(home: Home, status: str) -> Iterator[tuple[str, Any]]:
    source, flags = _object(home, "source"), _object(home, "flags")
    yield from _named(source, {"id": "OriginatingSystemName", "listing_id": "ListingId"})
    if (standard := _standard_status(status, flags)) is not None:
        yield "StandardStatus", standard
    yield "MlsStatus", home.get("mls_status") or home.get("status")
    yield from _named(flags, {"is_new_construction": "NewConstructionYN"})
    yield from _named(
        home,
        {
            "list_price_min": "ListPriceLow",
            "last_update_date": "ModificationTimestamp",
            "last_status_change_date": "StatusChangeTimestamp",
        },
    )
    if home.get("list_price") is not None or ("list_price" in home and status != "sold"):
        yield "ListPrice", home["list_price"]
    yield from _days(home, {"list_date": "ListingContractDate", "pending_date": "PurchaseContractDate"})


def _standard_status(status: str, flags: Home) -> str | None:
    """A sale is over whatever flags it still has; None where the site's word is none of RESO's."""
    if status != "sold" and flags.get("is_pending") is True:
        return "Pending"
    if status != "sold" and flags.get("is_contingent") is True:
        return "Active Under Contract"
    return _STATUS.get(status)


def _sale(home: Home, status: str) -> Iterator[tuple[str, Any]]:
    if status == "sold":
        yield from _named(home, {"last_sold_price": "ClosePrice"})
        yield from _days(home, {"last_sold_date": "CloseDate"})
    elif status in _STATUS:
        yield "ClosePrice", None
        yield "CloseDate", None


def _kind(home: Home, _: str) -> Iterator[tuple[str, Any]]:
    description = _object(home, "description")
    if "type" in description:
        word = _word(description["type"])
        kind, sub_type = _TYPES.get(word, (None, word.replace("_", " ").title() or None))
        yield "PropertyType", kind
        yield "PropertySubType", sub_type


def _facts(home: Home, _: str) -> Iterator[tuple[str, Any]]:
    description = _object(home, "description")
    yield from _named(
        description,
        {
            "beds": "BedroomsTotal",
            "baths_full": "BathroomsFull",
            "baths_half": "BathroomsHalf",
            "sqft": "LivingArea",
            "lot_sqft": "LotSizeSquareFeet",
            "year_built": "YearBuilt",
            "garage": "GarageSpaces",
            "stories": "Stories",
            "text": "PublicRemarks",
        },
    )
    if "baths_full" in description:
        yield "BathroomsTotalInteger", _sum(description["baths_full"], description.get("baths_half"))
    yield from _named(_object(home, "hoa"), {"fee": "AssociationFee"})
    yield from _named(_object(home, "tax_record"), {"apn": "ParcelNumber"})


def _address(home: Home, _: str) -> Iterator[tuple[str, Any]]:
    location = _object(home, "location")
    address = _object(location, "address")
    yield from _named(
        address,
        {
            "street_number": "StreetNumber",
            "street_direction": "StreetDirPrefix",
            "street_name": "StreetName",
            "street_suffix": "StreetSuffix",
            "unit": "UnitNumber",
            "city": "City",
            "state_code": "StateOrProvince",
            "postal_code": "PostalCode",
        },
    )
    if address.get("line"):
        place = " ".join(str(address[name]) for name in ("state_code", "postal_code") if address.get(name))
        yield "UnparsedAddress", ", ".join(str(part) for part in (address["line"], address.get("city"), place) if part)
    yield from _named(_object(address, "coordinate"), {"lat": "Latitude", "lon": "Longitude"})
    yield from _named(_object(location, "county"), {"name": "CountyOrParish"})


def _people(home: Home, _: str) -> Iterator[tuple[str, Any]]:
    """The agents of the seller, in the order in which the site names them."""
    sellers = [one for one in _objects(home, "advertisers") if one.get("type") == "seller"]
    if not sellers:
        return
    first = sellers[0]
    office, broker = _object(first, "office"), _object(first, "broker")
    yield "ListAgentFullName", first.get("name")
    yield "ListAgentEmail", first.get("email")
    yield "ListAgentDirectPhone", _phone(first)
    yield "ListAgentKey", _id(first)
    yield "ListOfficeName", office.get("name") or broker.get("name")
    yield "ListOfficePhone", _phone(office)
    yield "ListOfficeKey", _id(office)
    second = sellers[1] if len(sellers) > 1 else {}
    yield "CoListAgentFullName", second.get("name")
    yield "CoListOfficeName", _object(second, "office").get("name") or _object(second, "broker").get("name")


def _media(home: Home, _: str) -> Iterator[tuple[str, Any]]:
    if home.get("photos") is None:
        return
    photos = _objects(home, "photos")
    yield "PhotosCount", len(photos)
    yield (
        "Media",
        [
            {
                "Order": order,
                "MediaCategory": "Photo",
                "MediaURL": photo.get("href"),
                **{name: value for name, value in photo.items() if name != "href"},
            }
            for order, photo in enumerate(photos)
        ],
    )


# -- a row of a CSV that HomeHarvest wrote ----------------------------------------------------------------------------

_MARKS = frozenset({"property_url", "property_id", "status", "list_price", "full_street_line"})
"""Columns that every release of HomeHarvest's tables has had together, and no other table has."""

_PLAIN = (
    "property_id", "mls_status", "list_price", "list_price_min", "list_date", "pending_date", "last_sold_date",
    "last_status_change_date", "last_update_date",
)  # fmt: skip
_NESTED: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("source",): {"mls": "id", "mls_id": "listing_id"},
    ("description",): {
        "style": "type", "beds": "beds", "full_baths": "baths_full", "half_baths": "baths_half", "sqft": "sqft",
        "lot_sqft": "lot_sqft", "year_built": "year_built", "parking_garage": "garage", "stories": "stories",
        "text": "text",
    },
    ("hoa",): {"hoa_fee": "fee"},
    ("location", "address"): {
        "full_street_line": "line", "unit": "unit", "city": "city", "state": "state_code", "zip_code": "postal_code",
    },
    ("location", "address", "coordinate"): {"latitude": "lat", "longitude": "lon"},
    ("location", "county"): {"county": "name", "fips_code": "fips_code"},
}  # fmt: skip
_SELLER = {"agent_name": "name", "agent_email": "email", "agent_id": "fulfillment_id"}
_OFFICE = {"office_name": "name", "office_id": "fulfillment_id"}
_TABLE_PHOTO = "od-w480_h360_x2.webp?w=1080&q=75"
"""What the library writes instead of a photo's `s.jpg` (its parsers.py, `process_alt_photos`)."""


def is_homeharvest(header: Iterable[str]) -> bool:
    """Whether a CSV with such a first line was written by HomeHarvest."""
    return _MARKS.issubset(name.strip() for name in header)


def record_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row: what `record_of` says of the home that it was made from. Raises BadShape.

    A cell is text, or None where it is empty; a column that a release of the library did not write is absent.
    """
    home: dict[str, Any] = {name: row[name] for name in _PLAIN if name in row}
    status = _word(row.get("status"))
    home["status"] = "for_sale" if status in {"pending", "contingent"} else status
    home["flags"] = {"is_pending": status == "pending", "is_contingent": status == "contingent"}
    if "new_construction" in row:
        told = _word(row["new_construction"])  # "False" also where the site said nothing
        home["flags"]["is_new_construction"] = True if told == "true" else None
    for path, columns in _NESTED.items():
        if cells := {theirs: row[ours] for ours, theirs in columns.items() if ours in row}:
            inner = home
            for name in path:
                inner = inner.setdefault(name, {})
            inner.update(cells)
    sold_price = row.get("last_sold_price") or row.get("sold_price")  # earlier releases have the second alone
    if status == "sold" and sold_price is not None:
        home["last_sold_price"] = sold_price
    home["advertisers"] = _sellers_of(row)
    home["photos"] = _photos_of(row.get("alt_photos"))
    record = record_of(home)
    for name in ("description", "location", "source", "flags", "hoa", "advertisers"):
        record.pop(name, None)  # they were made here, of cells that stay
    return {**{name: cell for name, cell in row.items() if name not in record}, **record}


def _sellers_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not any(row.get(name) for name in ("agent_name", "office_name", "broker_name")):
        return []
    seller = {theirs: row.get(ours) for ours, theirs in _SELLER.items()}
    office = {theirs: row.get(ours) for ours, theirs in _OFFICE.items()}
    return [{
        **seller,
        "type": "seller",
        "phones": _phones_of(row.get("agent_phones")),
        "office": {**office, "phones": _phones_of(row.get("office_phones"))},
        "broker": {"name": row.get("broker_name")},
    }]  # fmt: skip


def _phones_of(cell: str | None) -> list[Any]:
    """A list of phones as Python prints it; what is none is nobody's number."""
    with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = ast.literal_eval(cell or "")
        return [one for one in found if isinstance(one, dict)]
    return []


def _photos_of(cell: str | None) -> list[dict[str, str]] | None:
    if not cell:
        return None
    return [{"href": url.replace(_TABLE_PHOTO, "s.jpg")} for url in cell.split(", ")]


# -- small readers ----------------------------------------------------------------------------------------------------


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _object(inside: Home, name: str) -> Home:
    """Return an object; where it is null or absent, one that says nothing. Raises BadShape."""
    found = inside.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise BadShape(f"{name} is no object")
    return found


def _objects(inside: Home, name: str) -> Sequence[Home]:
    """Return a list of objects, those that are null left out. Raises BadShape."""
    found = inside.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(one is None or isinstance(one, Mapping) for one in found):
        raise BadShape(f"{name} is no list of objects")
    return [one for one in found if one is not None]


def _named(inside: Home, names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    return ((ours, inside[theirs]) for theirs, ours in names.items() if theirs in inside)


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?=[T ]|$)")


def _days(inside: Home, names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """The day of an instant as it is written there, whatever its zone; what is no date is for the reader to refuse."""
    for theirs, ours in names.items():
        if theirs in inside:
            value = inside[theirs]
            day = _DAY.match(value) if isinstance(value, str) else None
            yield ours, day[0] if day else value


def _sum(full: object, half: object) -> int | None:
    """Return how many bathrooms there are (RESO: BathroomsTotalInteger is the simple sum), None where nobody knows."""
    try:
        whole = Decimal(str(full)) + Decimal(str(half) if half is not None else "0")
    except InvalidOperation:
        return None  # the parts say it, or are refused
    return int(whole) if whole == whole.to_integral_value() else None


def _phone(person: Home) -> Any:  # noqa: ANN401 # any JSON value
    phones = _objects(person, "phones")
    chosen = next((one for one in phones if one.get("primary") is True), phones[0] if phones else {})
    return chosen.get("number")


def _id(person: Home) -> Any:  # noqa: ANN401 # any JSON value
    """`"0"` stands for none (the library's processors.py, `process_advertisers`)."""
    found = person.get("fulfillment_id")
    return None if found in {"0", 0} else found
