"""The field table: every RESO Property field we understand, one line each, and the one place where it is described.

Names and meanings are those of the RESO Data Dictionary 2.0. What is not here is no less welcome: it stays in the
payload and is counted. No IO.

A field is `hashed` when a change of it is a change of the listing, `synced` when it goes to the CRM (which implies
hashed), `volatile` when it moves without anything happening: a clock or an age. A volatile field is masked from the
digest, not hashed, and does not stand in `fields`; see docs/decisions/0003.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

ChangeKind = Literal["price", "status", "other"]


class Kind(StrEnum):
    """How a value is read and in what form it is kept; the rules are in `values.py`."""

    TEXT = "text"
    POSTAL_CODE = "postal_code"
    ENUM = "enum"  # open: known spellings are recognised, the rest is kept as text
    STATUS = "status"  # StandardStatus: RESO's eleven values and no other
    MULTI = "multi"  # several enums, without order
    MONEY = "money"
    DECIMAL = "decimal"
    LATITUDE = "latitude"
    LONGITUDE = "longitude"
    INTEGER = "integer"
    BATHROOMS = "bathrooms"  # an integer by the standard; some systems write 1.1 for one full and one half bath
    BOOLEAN = "boolean"
    DATE = "date"
    INSTANT = "instant"
    MEDIA = "media"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: Kind
    group: str
    label: str
    unit: str | None = None
    change: ChangeKind = "other"
    hashed: bool = True
    synced: bool = True
    volatile: bool = False

    def __post_init__(self) -> None:
        if self.synced and not self.hashed:
            raise ValueError(f"{self.name}: what goes to the CRM must be hashed, or a change of it would not be seen")
        if self.volatile and (self.synced or self.hashed):
            raise ValueError(f"{self.name}: a volatile field is neither hashed nor synced")


def _internal(name: str, kind: Kind, group: str, label: str) -> Field:
    """A fact between members of the MLS, or a personal one: kept and watched, not copied to the CRM."""
    return Field(name, kind, group, label, synced=False)


def _clock(name: str, kind: Kind, label: str, unit: str | None = None) -> Field:
    return Field(name, kind, "clocks", label, unit, hashed=False, synced=False, volatile=True)


_T, _E, _M, _D, _I, _B = Kind.TEXT, Kind.ENUM, Kind.MULTI, Kind.DECIMAL, Kind.INTEGER, Kind.BOOLEAN
_DATE, _INSTANT, _USD = Kind.DATE, Kind.INSTANT, Kind.MONEY

FIELDS: tuple[Field, ...] = (
    Field("ListingKey", _T, "identity", "Listing key"),
    Field("ListingId", _T, "identity", "MLS number"),
    Field("OriginatingSystemName", _T, "identity", "Originating system"),
    Field("OriginatingSystemKey", _T, "identity", "Key in the originating system"),
    Field("SourceSystemName", _T, "identity", "Source system"),
    Field("UniversalPropertyId", _T, "identity", "Universal property id"),
    Field("ParcelNumber", _T, "identity", "Parcel number"),
    Field("StandardStatus", Kind.STATUS, "status", "Status", change="status"),
    Field("MlsStatus", _T, "status", "Status, the MLS's own word", change="status"),
    Field("MlgCanView", _B, "status", "May be shown (MLS Grid)"),
    Field("SpecialListingConditions", _M, "status", "Special conditions"),
    Field("ListPrice", _USD, "prices", "List price", "USD", change="price"),
    Field("OriginalListPrice", _USD, "prices", "Original list price", "USD", change="price"),
    Field("PreviousListPrice", _USD, "prices", "Previous list price", "USD", change="price"),
    Field("ListPriceLow", _USD, "prices", "List price, lower end", "USD", change="price"),
    Field("ClosePrice", _USD, "prices", "Close price", "USD"),
    Field("PropertyType", _E, "type", "Property type"),
    Field("PropertySubType", _E, "type", "Property sub-type"),
    Field("NewConstructionYN", _B, "type", "New construction"),
    Field("UnparsedAddress", _T, "address", "Address"),
    Field("StreetNumber", _T, "address", "Street number"),
    Field("StreetDirPrefix", _T, "address", "Direction before the street"),
    Field("StreetName", _T, "address", "Street"),
    Field("StreetSuffix", _T, "address", "Street suffix"),
    Field("StreetDirSuffix", _T, "address", "Direction after the street"),
    Field("UnitNumber", _T, "address", "Unit"),
    Field("City", _T, "address", "City"),
    Field("PostalCity", _T, "address", "Postal city"),
    Field("StateOrProvince", _T, "address", "State"),
    Field("PostalCode", Kind.POSTAL_CODE, "address", "ZIP"),
    Field("PostalCodePlus4", _T, "address", "ZIP + 4"),
    Field("CountyOrParish", _T, "address", "County"),
    Field("Township", _T, "address", "Township"),
    Field("Country", _T, "address", "Country"),
    Field("SubdivisionName", _T, "address", "Subdivision"),
    Field("MLSAreaMajor", _T, "address", "MLS area"),
    Field("Directions", _T, "address", "Directions"),
    Field("Latitude", Kind.LATITUDE, "address", "Latitude", "degrees"),
    Field("Longitude", Kind.LONGITUDE, "address", "Longitude", "degrees"),
    Field("LivingArea", _D, "size", "Living area", "sqft"),
    Field("BuildingAreaTotal", _D, "size", "Building area", "sqft"),
    Field("AboveGradeFinishedArea", _D, "size", "Finished area above grade", "sqft"),
    Field("BelowGradeFinishedArea", _D, "size", "Finished area below grade", "sqft"),
    Field("Stories", _D, "size", "Stories"),
    Field("YearBuilt", _I, "size", "Year built", "year"),
    Field("NumberOfUnitsTotal", _I, "size", "Units in the building"),
    Field("BedroomsTotal", _I, "rooms", "Bedrooms"),
    Field("BathroomsTotalInteger", Kind.BATHROOMS, "rooms", "Bathrooms"),
    Field("BathroomsFull", _I, "rooms", "Full bathrooms"),
    Field("BathroomsThreeQuarter", _I, "rooms", "Three-quarter bathrooms"),
    Field("BathroomsHalf", _I, "rooms", "Half bathrooms"),
    Field("RoomsTotal", _I, "rooms", "Rooms"),
    Field("LotSizeSquareFeet", _D, "lot", "Lot size", "sqft"),
    Field("LotSizeAcres", _D, "lot", "Lot size", "acres"),
    Field("LotSizeDimensions", _T, "lot", "Lot dimensions"),
    Field("LotFeatures", _M, "lot", "Lot features"),
    Field("WaterfrontYN", _B, "lot", "Waterfront"),
    Field("View", _M, "lot", "View"),
    Field("PoolPrivateYN", _B, "lot", "Private pool"),
    Field("ArchitecturalStyle", _M, "features", "Style"),
    Field("InteriorFeatures", _M, "features", "Interior"),
    Field("ExteriorFeatures", _M, "features", "Exterior"),
    Field("Appliances", _M, "features", "Appliances"),
    Field("Heating", _M, "features", "Heating"),
    Field("Cooling", _M, "features", "Cooling"),
    Field("Flooring", _M, "features", "Flooring"),
    Field("Roof", _M, "features", "Roof"),
    Field("ConstructionMaterials", _M, "features", "Construction"),
    Field("Basement", _M, "features", "Basement"),
    Field("ParkingFeatures", _M, "features", "Parking"),
    Field("GarageSpaces", _D, "features", "Garage spaces"),
    Field("ParkingTotal", _D, "features", "Parking spaces"),
    Field("FireplacesTotal", _I, "features", "Fireplaces"),
    Field("Sewer", _M, "features", "Sewer"),
    Field("WaterSource", _M, "features", "Water"),
    Field("ElementarySchool", _T, "schools", "Elementary school"),
    Field("MiddleOrJuniorSchool", _T, "schools", "Middle school"),
    Field("HighSchool", _T, "schools", "High school"),
    Field("HighSchoolDistrict", _T, "schools", "School district"),
    Field("TaxAnnualAmount", _USD, "money", "Taxes a year", "USD"),
    Field("TaxYear", _I, "money", "Tax year", "year"),
    Field("TaxAssessedValue", _USD, "money", "Assessed value", "USD"),
    Field("AssociationYN", _B, "money", "Has an association"),
    Field("AssociationFee", _USD, "money", "Association fee", "USD"),
    Field("AssociationFeeFrequency", _E, "money", "Fee is due"),
    Field("AssociationFeeIncludes", _M, "money", "Fee includes"),
    Field("ListingContractDate", _DATE, "dates", "Listed"),
    Field("OnMarketDate", _DATE, "dates", "On market"),
    Field("OffMarketDate", _DATE, "dates", "Off market"),
    Field("PurchaseContractDate", _DATE, "dates", "Under contract"),
    Field("CloseDate", _DATE, "dates", "Closed"),
    Field("ExpirationDate", _DATE, "dates", "Expires"),
    Field("WithdrawnDate", _DATE, "dates", "Withdrawn"),
    Field("AvailabilityDate", _DATE, "dates", "Available"),
    Field("ListAgentKey", _T, "agent", "Agent's key"),
    Field("ListAgentMlsId", _T, "agent", "Agent's MLS id"),
    Field("ListAgentFullName", _T, "agent", "Agent"),
    Field("ListAgentEmail", _T, "agent", "Agent's e-mail"),
    Field("ListAgentDirectPhone", _T, "agent", "Agent's phone"),
    Field("ListOfficeKey", _T, "agent", "Office's key"),
    Field("ListOfficeMlsId", _T, "agent", "Office's MLS id"),
    Field("ListOfficeName", _T, "agent", "Office"),
    Field("ListOfficePhone", _T, "agent", "Office's phone"),
    Field("CoListAgentFullName", _T, "agent", "Second agent"),
    Field("CoListOfficeName", _T, "agent", "Second agent's office"),
    Field("BuyerAgentFullName", _T, "agent", "Buyer's agent"),
    Field("BuyerOfficeName", _T, "agent", "Buyer's office"),
    Field("PublicRemarks", _T, "remarks", "Remarks"),
    _internal("PrivateRemarks", _T, "remarks", "Remarks between members"),
    _internal("ShowingInstructions", _T, "remarks", "Showing instructions"),
    _internal("OwnerName", _T, "remarks", "Owner"),
    Field("Media", Kind.MEDIA, "media", "Media"),
    Field("PhotosCount", _I, "media", "Photos"),
    Field("VirtualTourURLUnbranded", _T, "media", "Virtual tour"),
    Field("InternetEntireListingDisplayYN", _B, "display", "May be shown on the internet"),
    Field("InternetAddressDisplayYN", _B, "display", "Address may be shown"),
    Field("InternetAutomatedValuationDisplayYN", _B, "display", "Estimates may be shown"),
    Field("InternetConsumerCommentYN", _B, "display", "Comments may be shown"),
    _clock("ModificationTimestamp", _INSTANT, "Modified at the source"),
    _clock("OriginatingSystemModificationTimestamp", _INSTANT, "Modified at the originating system"),
    _clock("BridgeModificationTimestamp", _INSTANT, "Modified at Bridge"),
    _clock("OriginalEntryTimestamp", _INSTANT, "Entered"),
    _clock("StatusChangeTimestamp", _INSTANT, "Status changed"),
    _clock("PriceChangeTimestamp", _INSTANT, "Price changed"),
    _clock("MajorChangeTimestamp", _INSTANT, "Major change"),
    _clock("PhotosChangeTimestamp", _INSTANT, "Photos changed"),
    _clock("VideosChangeTimestamp", _INSTANT, "Videos changed"),
    _clock("DocumentsChangeTimestamp", _INSTANT, "Documents changed"),
    _clock("PendingTimestamp", _INSTANT, "Pending since"),
    _clock("OnMarketTimestamp", _INSTANT, "On market since"),
    _clock("OffMarketTimestamp", _INSTANT, "Off market since"),
    _clock("ContractStatusChangeDate", _DATE, "Contract status changed"),
    _clock("DaysOnMarket", _I, "Days on market", "days"),
    _clock("CumulativeDaysOnMarket", _I, "Days on market, all listings", "days"),
)

BY_NAME: Mapping[str, Field] = MappingProxyType({field.name: field for field in FIELDS})

if len(BY_NAME) != len(FIELDS):
    raise ValueError("the field table names a field twice")


def table_fingerprint(fields: Iterable[Field]) -> str:
    """Digest, 8 hex digits, of all that gives a stored value its meaning; labels and units do not."""
    lines = sorted(f"{f.name} {f.kind} {f.hashed:d}{f.synced:d}{f.volatile:d} {f.change}" for f in fields)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
