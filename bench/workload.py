"""The work that is measured: listings of about 6 kB in flat RESO names, from a seed, and their re-scrapes.

`listing(n)` depends on the seed and n alone; so does a re-scrape, with its day. Each re-scrape moves what no source
leaves alone: days on market, and when the page was fetched. In one of five, lists and members come in another order and
a float has a tail (`noise`); `changed` is the share of listings with a real change, of one to four facts; `touched` is
the hardest that real sources do without any change: every clock moved and every photo's address signed anew.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import orjson

SEED = 20240607
_EPOCH = date(2024, 1, 1)
_STATES = ("IN", "OH", "TX", "FL", "GA", "NC", "TN", "MI", "AZ", "PA")
_CITIES = (
    "Springfield", "Fairview", "Franklin", "Greenville", "Bristol", "Clinton", "Salem", "Madison", "Georgetown",
    "Arlington", "Ashland", "Dover", "Oxford", "Jackson", "Burlington", "Manchester",
)  # fmt: skip
_STREETS = ("Oak", "Maple", "Cedar", "Pine", "Elm", "Walnut", "Lake", "Hill", "Park", "River", "Sunset", "Meadow")
_SUFFIXES = ("St", "Ave", "Dr", "Ln", "Ct", "Blvd", "Rd", "Way")
_KINDS = ("Single Family Residence", "Condominium", "Townhouse", "Multi Family", "Mobile Home", "Unimproved Land")
_MLS_STATUSES = ("Active", "Active", "New", "Price Change")
_WORDS = (  # noqa: SIM905 - the words are easier to read so
    "updated kitchen granite counters stainless appliances hardwood floors spacious primary suite walk-in closet "
    "fenced yard mature trees two car garage new roof open concept living room fireplace natural light quiet "
    "cul-de-sac close to schools shopping and parks move-in ready must see seller motivated bring offers café "
    "covered patio finished basement home office laundry main level smart thermostat low taxes no hoa"
).split()
_FIRST = ("James", "Mary", "Robert", "Patricia", "John", "Jennifer", "Luis", "Ana", "Wei", "Priya", "José", "Zoë")
_LAST = ("Smith", "Johnson", "Williams", "Brown", "Garcia", "Miller", "Nguyen", "Patel", "O'Neil", "Müller")
_SCHOOLS = ("Lincoln Elementary", "Washington Middle", "Roosevelt High", "Jefferson Elementary", "Franklin Middle")
_SHUFFLED = ("Media", "X_Neighborhoods", "InteriorFeatures", "Appliances")
PHOTOS, TAX_YEARS, PRICES = 25, 8, 5


def key(number: int) -> str:
    return f"{_STATES[number % 10]}MLS{7_000_000 + number}"


def listing(number: int) -> dict[str, Any]:
    r = random.Random((SEED << 32) ^ number)
    state, city = _STATES[number % 10], r.choice(_CITIES)
    house, street, suffix = r.randint(1, 9999), r.choice(_STREETS), r.choice(_SUFFIXES)
    line, postal_code = f"{house} {street} {suffix}", f"{10_000 + number * 7919 % 89_999:05d}"
    price, area, year = r.randint(80, 1500) * 1000, r.randint(600, 5200), r.randint(1900, 2023)
    assessed = price * (0.6 + 0.3 * r.random())
    listed = _EPOCH + timedelta(days=r.randint(0, 140))
    kind, agent, last = r.choice(_KINDS), r.choice(_FIRST), r.choice(_LAST)
    was_sold = r.random() < 0.4
    return {
        "ListingKey": key(number),
        "ListingId": str(7_000_000 + number),
        "OriginatingSystemName": f"{state}MLS",
        "OriginatingSystemKey": str(2_900_000_000 + number),
        "SourceSystemName": "bench",
        "UniversalPropertyId": f"P{number:012d}",
        "X_Permalink": f"{line.replace(' ', '-')}_{city}_{state}_{postal_code}",
        "StandardStatus": "Active",
        "MlsStatus": r.choice(_MLS_STATUSES),
        "PropertyType": "Residential",
        "PropertySubType": kind,
        "StreetNumber": str(house),
        "StreetName": street,
        "StreetSuffix": suffix,
        "UnitNumber": f"#{r.randint(1, 400)}" if kind == "Condominium" else None,
        "UnparsedAddress": line,
        "City": city,
        "StateOrProvince": state,
        "PostalCode": postal_code,
        "X_FormattedAddress": f"{line}, {city}, {state} {postal_code}",
        "BedroomsTotal": r.randint(1, 6),
        "BathroomsFull": r.randint(1, 4),
        "BathroomsHalf": r.randint(0, 2),
        "LivingArea": area,
        "YearBuilt": year,
        "Stories": r.randint(1, 3),
        "GarageSpaces": str(r.randint(0, 3)),
        "LotSizeSquareFeet": area * r.randint(2, 9),
        "PublicRemarks": _remarks(r),
        "ListPrice": float(price),
        "ListPriceLow": None,
        "OriginalListPrice": float(price + 10_000),
        "PreviousListPrice": float(price + 5_000),
        "ClosePrice": None,
        "X_LastSoldPrice": float(int(price * 0.7)) if was_sold else None,
        "X_PricePerSquareFoot": round(price / area, 2),
        "X_EstimatedValue": float(int(price * (0.92 + 0.16 * r.random()))),
        "TaxAssessedValue": round(assessed, 2),
        "TaxAnnualAmount": float(int(assessed * 0.011)),
        "TaxYear": 2023,
        "AssociationFee": float(r.randint(0, 400)),
        "AssociationFeeFrequency": "Monthly",
        "ListingContractDate": listed.isoformat(),
        "PurchaseContractDate": None,
        "X_LastSoldDate": f"{2005 + number % 18}-0{1 + number % 9}-15" if was_sold else None,
        "Latitude": round(30 + 15 * r.random(), 6),
        "Longitude": round(-100 + 25 * r.random(), 6),
        "X_Neighborhoods": [f"{r.choice(_STREETS)} {place}" for place in ("Heights", "Park", "Commons")],
        "CountyOrParish": f"{r.choice(_LAST)} County",
        "X_FipsCode": f"{10_000 + number % 80_000}",
        "ParcelNumber": f"{number % 100:02d}-{number % 1000:03d}-{number:07d}",
        "ListAgentKey": str(100_000 + number % 5000),
        "ListAgentMlsId": f"A-{state}-{number % 5000}",
        "ListAgentFullName": f"{agent} {last}",
        "ListAgentEmail": f"{agent}.{last}@example.com".lower().replace("'", ""),
        "ListAgentDirectPhone": f"317555{number % 10_000:04d}",
        "ListOfficeKey": str(9_000 + number % 400),
        "ListOfficeMlsId": f"O-{state}-{number % 400}",
        "ListOfficeName": f"{r.choice(_LAST)} & Co Realty",
        "ListOfficePhone": f"317444{number % 400:04d}",
        "X_BrokerId": str(800 + number % 90),
        "X_BrokerName": f"{r.choice(_LAST)} Brokerage",
        "Heating": ["Forced Air"],
        "Cooling": ["Central Air"],
        "Basement": [r.choice(("None", "Finished", "Crawl Space"))],
        "Roof": ["Composition"],
        "ConstructionMaterials": [r.choice(("Brick", "Vinyl Siding", "Wood Siding"))],
        "Flooring": ["Wood", "Tile", "Carpet"],
        "InteriorFeatures": r.sample(("Bar", "Bookcases", "Pantry", "Storage", "Wet Bar"), 3),
        "Appliances": r.sample(("Dishwasher", "Dryer", "Oven", "Range", "Refrigerator", "Washer"), 3),
        "Sewer": ["Public Sewer"],
        "WaterSource": ["Public"],
        "ParkingTotal": r.randint(0, 4),
        "PoolPrivateYN": r.random() < 0.1,
        "WaterfrontYN": r.random() < 0.05,
        "NewConstructionYN": year >= 2022,
        "ElementarySchool": r.choice(_SCHOOLS),
        "HighSchool": r.choice(_SCHOOLS),
        "X_Zoning": "R1",
        "PhotosCount": PHOTOS,
        "Media": [_photo(number, order) for order in range(PHOTOS)],
        "X_TaxHistory": [{"year": 2023 - n, "tax": int(assessed * 0.011) - 31 * n} for n in range(TAX_YEARS)],
        "X_PriceHistory": [
            {"date": (listed - timedelta(days=400 * n)).isoformat(), "event": ("Listed", "Sold")[n % 2],
             "price": int(price * (1 - 0.06 * n))}
            for n in range(PRICES)
        ],
        "DaysOnMarket": 10 + number % 90,
        "CumulativeDaysOnMarket": 10 + number % 90,
        "BridgeModificationTimestamp": "2024-06-01T06:00:00Z",
        "ModificationTimestamp": "2024-05-30T08:00:00Z",
        "StatusChangeTimestamp": f"{listed.isoformat()}T08:30:00Z",
    }  # fmt: skip


def delivery(
    count: int, *, day: int = 0, changed: float = 0.0, noise: bool = False, touched: bool = False
) -> Iterator[bytes]:
    """Yield the JSON of `count` listings as scraped on a later day; of `changed` every so manieth is really changed.

    A change of another day is another one, so that what was changed once is changed again.
    """
    for number in range(count):
        record = listing(number)
        if day:
            record["DaysOnMarket"] += day
            record["CumulativeDaysOnMarket"] += day
            record["BridgeModificationTimestamp"] = f"2024-06-{1 + day:02d}T06:00:00Z"
        r = random.Random((SEED << 40) ^ (day << 34) ^ number)
        if changed and number % max(1, round(1 / changed)) == 0:
            _change(record, r, day)
        if noise and r.random() < 0.2:
            record = _noisy(record, r)
        if touched:
            _touch(record, r, day)
        yield orjson.dumps(record)


def changed_count(count: int, changed: float) -> int:
    """How many listings of a delivery are really changed."""
    return len(range(0, count, max(1, round(1 / changed)))) if changed else 0


def _remarks(r: random.Random) -> str:
    words: list[str] = []
    size = 0
    while size < 880:
        words.append(r.choice(_WORDS))
        size += len(words[-1]) + 1
    return " ".join(words).capitalize()


def _photo(number: int, order: int) -> dict[str, Any]:
    url = f"https://photos.example.test/{number}/{order:02d}.jpg"
    return {"MediaKey": f"{number}-{order}", "Order": order, "MediaCategory": "Photo", "MediaURL": url}


def _change(record: dict[str, Any], r: random.Random, day: int) -> None:
    """A price cut, a sale under way, or another photo and text; now and then an agent's new name beside it."""
    kind = r.random()
    if kind < 0.6:
        price = float(int(record["ListPrice"] * 0.97) - day)
        record |= {
            "PreviousListPrice": record["ListPrice"] - day,
            "ListPrice": price,
            "X_PricePerSquareFoot": round(price / record["LivingArea"], 2),
        }
        cut = {"date": f"2024-06-{1 + day:02d}", "event": "Price Changed", "price": int(price)}
        record["X_PriceHistory"] = [cut, *record["X_PriceHistory"]]
    elif kind < 0.85:
        record |= {
            "StandardStatus": "Pending",
            "MlsStatus": "Pending",
            "PurchaseContractDate": f"2024-06-{1 + day:02d}",
            "StatusChangeTimestamp": f"2024-06-{1 + day:02d}T07:00:00Z",
        }
    else:
        record["Media"][-1] |= {"MediaKey": record["Media"][-1]["MediaKey"] + f"-{day}"}
        record["PublicRemarks"] += f" Open house on June {1 + day}."
    if r.random() < 0.3:
        record["ListAgentFullName"] += " PA"
    record["ModificationTimestamp"] = f"2024-06-{1 + day:02d}T08:00:00Z"


def _noisy(record: dict[str, Any], r: random.Random) -> dict[str, Any]:
    """What moves now and then and is no change."""
    for name in _SHUFFLED:
        r.shuffle(record[name])
    record["TaxAssessedValue"] += 1e-9
    return dict(reversed(record.items()))


def _touch(record: dict[str, Any], r: random.Random, day: int) -> None:
    record["ModificationTimestamp"] = f"2024-06-{1 + day:02d}T09:00:00Z"
    for photo in record["Media"]:
        photo["MediaURL"] += f"?sig={r.randrange(10**8):08d}"
