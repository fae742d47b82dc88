"""The work that is measured: listings of about 6 kB in flat RESO names, from a seed, and their re-scrapes.

`listing(n)` depends on the seed and n alone. A re-scrape always moves the volatile facts; `noise` also reorders lists
and members and adds a float's tail in one listing of five, which is no change; `changed` is the share of real changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson

SEED = 20240607
_CITIES = ("Springfield", "Fairview", "Franklin", "Greenville", "Bristol", "Clinton", "Salem", "Madison", "Georgetown")
_STREETS = ("Oak", "Maple", "Cedar", "Pine", "Elm", "Walnut", "Lake", "Hill", "Park", "River", "Sunset", "Meadow")
_REMARKS = (
    "updated kitchen granite counters stainless appliances hardwood floors spacious primary suite walk-in "
    "closet fenced yard mature trees two car garage new roof open concept living room fireplace natural "
    "light quiet cul-de-sac close to schools shopping parks move-in ready must see seller motivated "
    "covered patio finished basement home office"
)
_FEATURES = {
    "Cooling": ("Central Air", "Ductless", "Ceiling Fan(s)", "Wall Unit(s)"),
    "Heating": ("Forced Air", "Natural Gas", "Radiant", "Heat Pump"),
    "Appliances": ("Dishwasher", "Dryer", "Oven", "Range", "Refrigerator", "Washer"),
    "InteriorFeatures": ("Bar", "Bookcases", "Pantry", "Storage", "Wet Bar"),
    "ParkingFeatures": ("Attached", "Driveway", "Garage", "Off Street"),
    "LotFeatures": ("Corner Lot", "Level", "Wooded"),
}
STATUSES = ("Active", "Pending", "Active Under Contract", "Closed")


def key(number: int) -> str:
    return f"B{7_000_000 + number}"


def listing(number: int) -> dict[str, Any]:
    r = random.Random((SEED << 32) ^ number)
    price = r.randrange(80_000, 1_500_000, 1_000)
    street, suffix = r.choice(_STREETS), r.choice(("St", "Ave", "Dr", "Ln"))
    status = r.choice(STATUSES)
    record: dict[str, Any] = {
        "ListingKey": key(number),
        "ListingId": str(7_000_000 + number),
        "OriginatingSystemName": "BENCH-MLS",
        "SourceSystemName": "BENCH",
        "UniversalPropertyId": f"US-{number:09d}",
        "ParcelNumber": f"{r.randrange(10**12):012d}",
        "StandardStatus": status,
        "MlsStatus": status,
        "PropertyType": "Residential",
        "PropertySubType": "Single Family Residence",
        "ListPrice": price,
        "OriginalListPrice": price + 10_000,
        "PreviousListPrice": price + 5_000,
        "StreetNumber": str(r.randrange(1, 9999)),
        "StreetName": street,
        "StreetSuffix": suffix,
        "City": r.choice(_CITIES),
        "StateOrProvince": "OH",
        "PostalCode": f"{r.randrange(10_000, 99_999)}",
        "CountyOrParish": "Clark",
        "Country": "US",
        "Latitude": round(39 + r.random(), 6),
        "Longitude": round(-83 - r.random(), 6),
        "LivingArea": r.randrange(600, 4_000),
        "LotSizeSquareFeet": r.randrange(2_000, 40_000),
        "YearBuilt": r.randrange(1900, 2024),
        "BedroomsTotal": r.randrange(1, 6),
        "BathroomsFull": r.randrange(1, 4),
        "BathroomsHalf": r.randrange(2),
        "BathroomsTotalInteger": r.randrange(1, 5),
        "RoomsTotal": r.randrange(4, 12),
        "Stories": r.choice((1, 1.5, 2)),
        "GarageSpaces": r.randrange(4),
        "TaxAnnualAmount": round(r.uniform(900, 20_000), 2),
        "TaxYear": 2024,
        "TaxAssessedValue": price // 2,
        "AssociationFee": r.randrange(0, 500),
        "AssociationFeeFrequency": "Monthly",
        "ListingContractDate": f"2024-{r.randrange(1, 13):02d}-{r.randrange(1, 28):02d}",
        "WaterfrontYN": False,
        "NewConstructionYN": r.random() < 0.1,
        "PoolPrivateYN": r.random() < 0.2,
        "ListAgentKey": f"A{r.randrange(9_000)}",
        "ListAgentFullName": "José Müller",
        "ListAgentEmail": "agent@example.test",
        "ListAgentDirectPhone": "555-0100",
        "ListOfficeKey": f"O{r.randrange(900)}",
        "ListOfficeName": "Bench Realty",
        "ListOfficePhone": "555-0101",
        "InternetEntireListingDisplayYN": True,
        "InternetAddressDisplayYN": True,
        "PhotosCount": 25,
        "PublicRemarks": " ".join(r.choices(_REMARKS.split(), k=130)),
        "DaysOnMarket": r.randrange(200),
        "CumulativeDaysOnMarket": 200,
        "ModificationTimestamp": "2024-06-01T08:00:00Z",
        "StatusChangeTimestamp": "2024-05-01T08:00:00Z",
    }
    record["UnparsedAddress"] = f"{record['StreetNumber']} {street} {suffix}"
    record |= {name: r.sample(values, min(3, len(values))) for name, values in _FEATURES.items()}
    record |= {f"X_Local{n}": f"local value {r.randrange(999)}" for n in range(12)}
    record["Media"] = [_photo(r, number, order) for order in range(25)]
    return record


def delivery(count: int, *, day: int = 0, changed: float = 0.0, noise: bool = False) -> Iterator[bytes]:
    """Yield the JSON of `count` listings as scraped on a later day; the first `changed` share has a new price."""
    for number in range(count):
        record = listing(number)
        if day:
            _move_on(record, number, day)
        if changed and number % max(1, round(1 / changed)) == 0:
            record["ListPrice"] += 1_000 * day
        if noise and number % 5 == 0:
            record = _noisy(record, number, day)
        yield orjson.dumps(record)


def changed_count(count: int, changed: float) -> int:
    """How many listings of a delivery have a new price."""
    return len(range(0, count, max(1, round(1 / changed)))) if changed else 0


def _photo(r: random.Random, number: int, order: int) -> dict[str, Any]:
    url = f"https://photos.example.test/{number}/{order:02d}.jpg?sig={r.randrange(10**8):08d}"
    return {"MediaKey": f"{number}-{order}", "Order": order, "MediaCategory": "Photo", "MediaURL": url}


def _move_on(record: dict[str, Any], number: int, day: int) -> None:
    record["DaysOnMarket"] += day
    record["CumulativeDaysOnMarket"] += day
    record["ModificationTimestamp"] = f"2024-06-{1 + day:02d}T08:00:00Z"
    r = random.Random((SEED << 8) ^ number ^ day)
    for photo in record["Media"]:
        photo["MediaURL"] = photo["MediaURL"].split("?")[0] + f"?sig={r.randrange(10**8):08d}"


def _noisy(record: dict[str, Any], number: int, day: int) -> dict[str, Any]:
    r = random.Random(number ^ day)
    for name in _FEATURES:
        r.shuffle(record[name])
    record["Latitude"] = float(f"{record['Latitude']}000000001")
    return dict(r.sample(list(record.items()), len(record)))
