"""A home of realtor.com, or a row of a HomeHarvest CSV, as a record in RESO names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest

from mls_crm_sync.core.errors import RecordRejected
from mls_crm_sync.core.fields import BY_NAME
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.core.records import decode
from mls_crm_sync.sources.column_map import ColumnMap
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.sources.homeharvest.fields import BadShape, record_of
from sources.realtor_site import RealtorSite, a_home, sold

NORMALISER = Normaliser()


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
    return NORMALISER.normalise(decode(orjson.dumps(record)).record).fields


def fact(home: Mapping[str, Any], name: str) -> Any:
    return facts(record_of(home)).get(name)


def test_home_is_told_in_reso_names() -> None:
    told = facts(record_of(a_home("1000000001")))
    media = told.pop("Media")
    assert told == {
        "ListingKey": "1000000001", "ListingId": "260000001", "OriginatingSystemName": "SDCA",
        "SourceSystemName": "realtor.com", "StandardStatus": "Active", "MlsStatus": "Active", "ListPrice": "750000",
        "ListingContractDate": "2026-10-03", "PropertyType": "Residential",
        "PropertySubType": "Single Family Residence", "BedroomsTotal": 3, "BathroomsFull": 2, "BathroomsHalf": 1,
        "BathroomsTotalInteger": 3, "LivingArea": "1465", "LotSizeSquareFeet": "5000", "YearBuilt": 1987,
        "GarageSpaces": "2", "Stories": "2", "PublicRemarks": "Sunny home near the park.", "AssociationFee": "0",
        "ParcelNumber": "533-101-22-00", "StreetNumber": "1002", "StreetName": "Cedar", "StreetSuffix": "St",
        "UnitNumber": "Unit 001", "City": "San Diego", "StateOrProvince": "CA", "PostalCode": "92101",
        "UnparsedAddress": "1002 Cedar St Unit 001, San Diego, CA 92101", "Latitude": "32.7157",
        "Longitude": "-117.1611", "CountyOrParish": "San Diego", "ListAgentFullName": "Ann Agent",
        "ListAgentEmail": "ann@broker.test", "ListAgentDirectPhone": "6195550123", "ListAgentKey": "4711",
        "ListOfficeName": "Harbor Realty Downtown", "ListOfficePhone": "6195550199", "ListOfficeKey": "88",
        "PhotosCount": 2,
    }  # fmt: skip
    assert [item["Order"] for item in media] == [0, 1]


def test_nothing_of_a_home_is_lost() -> None:
    """Each leaf is in the record, under its own name or told by a RESO member."""
    home = a_home("1000000001")
    record = record_of(home)
    told_whole = {
        "property_id": "ListingKey", "list_price": "ListPrice", "list_price_min": "ListPriceLow",
        "mls_status": "MlsStatus", "last_status_change_date": "StatusChangeTimestamp",
        "last_update_date": "ModificationTimestamp",
    }  # fmt: skip
    for name, value in home.items():
        if name == "photos":
            assert [(m["MediaURL"], m["title"], m["tags"]) for m in record["Media"]] == [
                (photo["href"], photo["title"], photo["tags"]) for photo in value
            ]
        elif name in told_whole:
            assert record[told_whole[name]] == value
        elif name != "__typename":
            assert record[name] == value


@pytest.mark.parametrize(
    "change",
    [
        {"current_estimates": None},
        {"current_estimates": [{"estimate": 1}]},
        {"price_per_sqft": 512.37},
        {"tags": ["new"]},
        {"last_update_date": "2026-11-09T08:00:00Z"},
        {"open_houses": [{"start_date": "2026-11-30"}]},
        {"last_sold_price": 1, "last_sold_date": "2016-01-01"},
        {"photos": [{"href": f"https://ap.rdcpix.com/1-m{n}s.jpg?w=9"} for n in (1, 2)]},
    ],
)
def test_estimates_and_what_is_computed_never_reach_the_hash(change: dict[str, Any]) -> None:
    before, after = record_of(a_home("1")), record_of(a_home("1", **change))
    hashes = [NORMALISER.normalise(decode(orjson.dumps(one)).record).content_hash for one in (before, after)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("home", "status"),
    [
        (a_home(), "Active"),
        (a_home(flags={"is_pending": True}), "Pending"),
        (a_home(flags={"is_contingent": True}), "Active Under Contract"),
        (a_home(flags={"is_contingent": True, "is_pending": True}), "Pending"),
        (a_home(status="sold", flags={"is_pending": True}), "Closed"),
        (a_home(status="ready_to_build"), "Active"),
        (a_home(status="other"), None),
        (a_home(status=None), None),
        (a_home(flags=None), "Active"),
    ],
)
def test_status_is_one_of_resos_or_not_known(home: dict[str, Any], status: str | None) -> None:
    assert fact(home, "StandardStatus") == status


def test_sale_of_before_is_not_the_close_of_a_listing() -> None:
    assert fact(a_home(last_sold_price=410000, last_sold_date="2015-06-30"), "ClosePrice") is None
    record = record_of(a_home())
    assert (record["ClosePrice"], record["CloseDate"]) == (None, None), "a relisted home takes its last one back"
    gone = record_of(sold(a_home(), price=731000, on="2026-11-20", updated="2026-11-21T00:00:00Z"))
    assert (gone["ClosePrice"], gone["CloseDate"]) == (731000, "2026-11-20")
    assert "ListPrice" not in gone, "a sale does not say that there was no list price"
    assert "ClosePrice" not in record_of(a_home(status="other")), "of which nothing is known"


def test_object_that_is_null_says_nothing_and_a_member_that_is_null_clears() -> None:
    bare = record_of(a_home(description=None, location=None, advertisers=None, photos=None, hoa=None, source=None))
    names = {"BedroomsTotal", "PublicRemarks", "City", "ListAgentFullName", "Media", "AssociationFee", "ListingId"}
    assert not names & bare.keys()
    assert record_of(a_home(description={"beds": None}))["BedroomsTotal"] is None
    assert record_of(a_home(photos=[]))["Media"] == []


@pytest.mark.parametrize(
    ("full", "half", "total"), [(2, 1, 3), (2, None, 2), (None, 1, None), ("2", "1", 3), (2.5, 0, None), ("x", 1, None)]
)
def test_bathrooms_are_counted_where_both_are_numbers(full: Any, half: Any, total: int | None) -> None:
    home = a_home(description={"baths_full": full, "baths_half": half})
    assert record_of(home)["BathroomsTotalInteger"] == total


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("condos", ("Residential", "Condominium")),
        ("land", ("Land", None)),
        ("duplex_triplex", (None, "Duplex Triplex")),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_type_that_is_surely_resos_is_told_so_and_others_by_their_own_word(kind: Any, expected: Any) -> None:
    record = record_of(a_home(description={"type": kind}))
    assert (record["PropertyType"], record["PropertySubType"]) == expected


def test_brokerage_stands_in_for_an_office_without_a_name_and_zero_is_no_id() -> None:
    seller = {"type": "seller", "name": "Bo", "fulfillment_id": "0", "office": None, "broker": {"name": "B"}}
    record = record_of(a_home(advertisers=[{"type": "community"}, seller, seller | {"name": "Di"}]))
    assert (record["ListAgentFullName"], record["ListAgentKey"], record["ListOfficeName"]) == ("Bo", None, "B")
    assert (record["CoListAgentFullName"], record["CoListOfficeName"]) == ("Di", "B")


@pytest.mark.parametrize(
    "change",
    [{"description": []}, {"flags": "pending"}, {"advertisers": {}}, {"photos": ["x"]}, {"location": {"address": 1}}],
)
def test_home_that_is_built_otherwise_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(BadShape):
        record_of({**a_home(), **change})


def test_home_without_an_id_is_refused_as_a_record() -> None:
    with pytest.raises(RecordRejected, match="missing_key"):
        facts(record_of(a_home() | {"property_id": None}))


# -- CSV ---------------------------------------------------------------------------------------------------------------

WRITE = """
import sys
from homeharvest import scrape_property
from homeharvest.core.scrapers.realtor import RealtorScraper
RealtorScraper.SEARCH_GQL_URL = sys.argv[1]
scrape_property("San Diego, CA", listing_type="for_sale").to_csv("homes.csv", index=False)
scrape_property("San Diego, CA", listing_type="sold", past_days=90).to_csv("sold.csv", index=False)
"""


async def records_in(path: Path, columns: ColumnMap | None = None) -> dict[str, dict[str, Any]]:
    reading = FileReading(str(path), columns=columns, field_names=BY_NAME)
    async with aclosing(reading.pages()) as pages:
        read = [orjson.loads(raw.data) async for page in pages for raw in page.records]
    return {one.get("ListingKey") or one["property_id"]: one for one in read}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RealtorSite]:
    """What the real library writes of a site, and the site."""
    folder = tmp_path_factory.mktemp("csv")
    site = RealtorSite.of(
        [
            a_home("1000000001"),
            a_home("1000000002", flags={"is_pending": True}, pending_date="2026-11-02", price_per_sqft=3),
            a_home("1000000003", flags={"is_contingent": True, "is_new_construction": True}),
            a_home("1000000004", description={"text": 'Two\nlines, "quoted"; <b>bold</b>', "beds": None}, hoa=None),
            a_home("1000000005", advertisers=[], photos=[], tax_record=None),
        ]
    )
    today = f"{site.today:%Y-%m-%d}"
    site.homes["1000000006"] = sold(a_home("1000000006"), price=7310, on=today, updated="2026-11-21T00:00:00Z")
    with site.serving_in_a_thread():
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        subprocess.run([sys.executable, "-c", WRITE, site.endpoint], cwd=folder, env=environment, check=True)
    return folder, site


@pytest.mark.parametrize("table", ["homes.csv", "sold.csv"])
async def test_csv_of_the_library_says_what_the_site_says(tables: tuple[Path, RealtorSite], table: str) -> None:
    folder, site = tables
    read = await records_in(folder / table)
    assert len(read) == (5 if table == "homes.csv" else 1)
    for key, record in read.items():
        told, by_site = facts(record), facts(record_of(site.homes[key]))
        untold = {"StreetNumber", "StreetName", "StreetSuffix", "ParcelNumber"}  # columns that a table does not have
        if "PhotosCount" not in told:
            untold |= {"Media", "PhotosCount"}  # of no photos nothing is said
        assert told == {name: value for name, value in by_site.items() if name not in untold}
        assert record["days_on_mls"] is not None or table == "sold.csv", "what has no RESO name stays"
        assert "days_on_mls" not in told


async def test_csv_whose_columns_are_mapped_is_read_as_the_operator_says(tables: tuple[Path, RealtorSite]) -> None:
    folder, _ = tables
    read = await records_in(folder / "homes.csv", ColumnMap(columns={"mls_id": "ListingKey", "status": ""}))
    assert "260000001" in read
    assert "StandardStatus" not in read["260000001"]


async def test_csv_of_an_earlier_release_lacks_columns_and_clears_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text(
        "property_url,property_id,mls,mls_id,status,style,full_street_line,city,zip_code,beds,list_price,sold_price,agent\n"
        "https://x.test,77,SDCA,26,SOLD,CONDOS,1 Main St,San Diego,92101,2.0,,800000.0,Ann\n"
        "https://x.test,78,SDCA,27,FOR_SALE,CONDOS,2 Main St,San Diego,92101,,900000.0,,\n",
        encoding="utf-8",
    )
    read = await records_in(tmp_path / "old.csv")
    assert facts(read["77"]) | {"MlsStatus": None} == {
        "ListingKey": "77", "SourceSystemName": "realtor.com", "OriginatingSystemName": "SDCA", "ListingId": "26",
        "StandardStatus": "Closed", "MlsStatus": None, "ClosePrice": "800000", "PropertyType": "Residential",
        "PropertySubType": "Condominium", "BedroomsTotal": 2, "City": "San Diego", "PostalCode": "92101",
        "UnparsedAddress": "1 Main St, San Diego, 92101",
    }  # fmt: skip
    assert not {"PublicRemarks", "Media", "ListAgentFullName", "CloseDate", "ModificationTimestamp"} & read["77"].keys()
    assert read["77"]["agent"] == "Ann"
    assert read["78"]["BedroomsTotal"] is None


async def test_whole_run_over_a_csv_of_the_library_has_no_odd_record(tables: tuple[Path, RealtorSite]) -> None:
    folder, _ = tables
    assert {one["StandardStatus"] for one in (await records_in(folder / "homes.csv")).values()} == {
        "Active", "Pending", "Active Under Contract",
    }  # fmt: skip
