"""A small seeded MLS: deliveries that follow each other, and a CRM that has some of the homes.

The same seed gives the same bytes. The second delivery carries what a real one does: a few real changes, and noise
that must not count (days on market, signed photo URLs, list order, touched time stamps).
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

SEED = 20260101
FIRST_DAY = date(2026, 3, 9)

_STREETS = (
    "Maple Avenue",
    "Harbor Street",
    "Orchard Lane",
    "Mill Road",
    "Chestnut Street",
    "Bay Place",
    "Park Avenue",
)
_TOWNS = (("Fairhaven", "06501"), ("Millbrook", "06502"), ("Stony Point", "06503"))
_TYPES = ("Single Family Residence", "Condominium", "Townhouse")
_AGENTS = ("Ana Ruiz", "Bo Lindqvist", "Chidi Okafor", "Dana Levy")
_OFFICES = ("Harbor & Main Realty", "Lindqvist Homes", "Millbrook Brokers", "Harbor & Main Realty")
_REMARKS = (
    "Bright corner home with a fenced garden.",
    "Renovated kitchen, oak floors, steps from the harbour.",
    "Quiet street, two-car garage, new roof.",
    "Top floor with a view over the park.",
)
_NEXT_STATUS = {"Active": "Pending", "Pending": "Closed", "Coming Soon": "Active", "Withdrawn": "Active"}
_LOCAL_STATUS = {"Closed": "Sold", "Pending": "In Contract"}

PRICE_CHANGES, STATUS_CHANGES, REMARK_CHANGES, NEW_LISTINGS = 9, 4, 3, 5


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the files of a sample lie."""

    first: Path
    second: Path
    crm: Path
    links: Path


def write_sample(folder: Path, *, listings: int = 300, crm_properties: int = 150, seed: int = SEED) -> Sample:
    """Write two deliveries, a CRM file and a link file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = Sample(*(folder / name for name in ("day1.jsonl", "day2.jsonl", "crm.csv", "links.csv")))
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    first = [_listing(rng, number) for number in range(listings)]
    second = [*_next_day(rng, first), *(_listing(rng, listings + n) for n in range(NEW_LISTINGS))]
    _write_lines(sample.first, first)
    _write_lines(sample.second, second)
    _write_crm(rng, sample, first[:crm_properties])
    return sample


def _listing(rng: random.Random, number: int) -> dict[str, Any]:
    key = f"DEMO{number:06d}"
    town, postal_code = rng.choice(_TOWNS)
    street, house = rng.choice(_STREETS), rng.randint(1, 240)
    price = rng.randrange(240_000, 1_900_000, 5_000)
    status = rng.choices(("Active", "Pending", "Coming Soon", "Withdrawn"), (7, 2, 1, 1))[0]
    listed = FIRST_DAY - timedelta(days=rng.randint(2, 90))
    return {
        "ListingKey": key,
        "ListingId": f"D{100_000 + number}",
        "OriginatingSystemName": "DEMO-MLS",
        "StandardStatus": status,
        "MlsStatus": _LOCAL_STATUS.get(status, status),
        "PropertyType": "Residential",
        "PropertySubType": rng.choice(_TYPES),
        "ListPrice": price,
        "OriginalListPrice": price,
        "UnparsedAddress": f"{house} {street}",
        "City": town,
        "StateOrProvince": "CT",
        "PostalCode": postal_code,
        "BedroomsTotal": rng.randint(1, 5),
        "BathroomsTotalInteger": rng.randint(1, 3),
        "LivingArea": rng.randrange(600, 3_800, 20),
        "YearBuilt": rng.randint(1890, 2024),
        "Cooling": rng.sample(["Central Air", "Ductless", "Wall Unit(s)"], 2),
        "ListingContractDate": listed.isoformat(),
        "DaysOnMarket": (FIRST_DAY - listed).days,
        "ListAgentFullName": (agent := rng.choice(_AGENTS)),
        "ListOfficeName": _OFFICES[_AGENTS.index(agent)],
        "PublicRemarks": rng.choice(_REMARKS),
        "ModificationTimestamp": _instant(rng, FIRST_DAY),
        "Media": [_photo(rng, key, order) for order in range(3)],
    }


def _next_day(rng: random.Random, before: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the same listings a day later: real changes on a few, noise on all."""
    order = rng.sample(range(len(before)), len(before))
    prices = set(order[:PRICE_CHANGES])
    statuses = set(order[PRICE_CHANGES : PRICE_CHANGES + STATUS_CHANGES])
    remarks = set(order[PRICE_CHANGES + STATUS_CHANGES : PRICE_CHANGES + STATUS_CHANGES + REMARK_CHANGES])
    for number, listing in enumerate(before):
        changed: dict[str, Any] = {}
        if number in prices:
            changed = {"ListPrice": listing["ListPrice"] - rng.randrange(5_000, 40_000, 1_000)}
        elif number in statuses:
            changed = next_status(listing["StandardStatus"])
        elif number in remarks:
            changed = {"PublicRemarks": listing["PublicRemarks"] + " Open house on Sunday."}
        yield _noisy(rng, listing | changed, touched=bool(changed))


def next_status(status: str) -> dict[str, str]:
    """Return where a listing goes from a status, by both of its words. Raises KeyError where it goes nowhere."""
    following = _NEXT_STATUS[status]
    return {"StandardStatus": following, "MlsStatus": _LOCAL_STATUS.get(following, following)}


def _noisy(rng: random.Random, listing: dict[str, Any], *, touched: bool) -> dict[str, Any]:
    """The things that move every day and mean nothing."""
    media = [_photo(rng, listing["ListingKey"], photo["Order"]) for photo in listing["Media"]]
    listing |= {"DaysOnMarket": listing["DaysOnMarket"] + 1, "Media": rng.sample(media, len(media))}
    if touched or rng.random() < 0.1:
        listing["ModificationTimestamp"] = _instant(rng, FIRST_DAY + timedelta(days=1))
    if rng.random() < 0.2:
        listing["Cooling"] = listing["Cooling"][::-1]
    return listing


def _photo(rng: random.Random, key: str, order: int) -> dict[str, Any]:
    url = f"https://photos.example.test/{key}/{order}.jpg?sig={rng.randrange(10**8)}"
    return {"MediaKey": f"{key}-{order}", "Order": order, "MediaCategory": "Photo", "MediaURL": url}


def _instant(rng: random.Random, day: date) -> str:
    at = datetime(day.year, day.month, day.day, rng.randrange(24), rng.randrange(60), rng.randrange(60), tzinfo=UTC)
    return at.isoformat().replace("+00:00", "Z")


def _write_lines(path: Path, listings: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(listing) + b"\n" for listing in listings))


def _write_crm(rng: random.Random, sample: Sample, homes: list[dict[str, Any]]) -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "id": f"crm-{number:04d}",
            "crm_status": rng.choice(("active", "active", "prospect", "under_contract")),
            "address": home["UnparsedAddress"].replace("Street", "St.").replace("Avenue", "Ave"),
            "city": home["City"],
            "state": "CT",
            "zip": home["PostalCode"],
            "notes": rng.choice(("Call back on Friday", "Met at the open house", "")),
            "assigned_agent": rng.choice(("Priya", "Luis")),
        }
        for number, home in enumerate(homes)
    ]
    links = [{"crm_id": row["id"], "listing_key": home["ListingKey"]} for row, home in zip(rows, homes, strict=True)]
    _write_table(sample.crm, rows)
    _write_table(sample.links, links)


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
