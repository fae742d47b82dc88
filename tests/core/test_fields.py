"""The field table says of each field what is true of it, and the documents say the same."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mls_crm_sync.core.fields import BY_NAME, FIELDS, Field, Kind, table_fingerprint
from mls_crm_sync.core.listing import Normaliser

DOCUMENT = Path(__file__).parents[2] / "docs" / "fields.md"
NOT_IN_THAT_MLS = {
    # of the Data Dictionary, but that MLS does not offer them
    "AvailabilityDate", "BelowGradeFinishedArea", "DocumentsChangeTimestamp", "ExpirationDate", "Latitude",
    "ListAgentDirectPhone", "ListAgentEmail", "ListPriceLow", "Longitude", "MajorChangeTimestamp", "OffMarketTimestamp",
    "OnMarketTimestamp", "OwnerName", "PendingTimestamp", "PreviousListPrice", "PrivateRemarks", "ShowingInstructions",
    "TaxAssessedValue", "TaxYear", "Township", "UniversalPropertyId", "VideosChangeTimestamp",
    # of a provider, beyond the Data Dictionary
    "BridgeModificationTimestamp", "MlgCanView", "OriginatingSystemModificationTimestamp",
}  # fmt: skip


def documented_table() -> str:
    lines = ["| field | label | kind | unit | hashed | synced | volatile |", "|---|---|---|---|---|---|---|"]
    for f in FIELDS:
        flags = " | ".join("yes" if flag else "" for flag in (f.hashed, f.synced, f.volatile))
        lines.append(f"| `{f.name}` | {f.label} | {f.kind} | {f.unit or ''} | {flags} |")
    return "\n".join(lines)


def test_what_goes_to_the_crm_is_hashed_and_what_is_volatile_is_neither() -> None:
    assert all(f.hashed for f in FIELDS if f.synced)
    assert not any(f.hashed or f.synced for f in FIELDS if f.volatile)
    with pytest.raises(ValueError, match="must be hashed"):
        Field("X", Kind.TEXT, "g", "x", hashed=False)
    with pytest.raises(ValueError, match="volatile"):
        Field("X", Kind.TEXT, "g", "x", volatile=True)


def test_there_are_about_a_hundred_fields_of_every_group() -> None:
    assert len(FIELDS) >= 100
    groups = {f.group for f in FIELDS}
    assert {
        "identity",
        "status",
        "prices",
        "address",
        "size",
        "rooms",
        "lot",
        "dates",
        "agent",
        "remarks",
        "media",
        "display",
        "clocks",
    } <= groups


def test_document_shows_the_table_as_it_is() -> None:
    """To make it anew, put what this test prints between the marks in docs/fields.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = re.search(r"<!-- table -->\n(.*?)\n<!-- /table -->", text, re.DOTALL)

    assert shown is not None
    assert shown[1] == documented_table(), documented_table()


@pytest.mark.shared
def test_names_are_those_of_a_real_mls(shared: Path) -> None:
    """What the $metadata of a real MLS does not know is known to be missing there; a typing error would be one more."""
    metadata = gzip.decompress((shared / "fixtures" / "wfrmls" / "metadata.xml.gz").read_bytes()).decode()
    theirs = set(re.findall(r'<(?:Navigation)?Property\s[^>]*?\bName="(\w+)"', metadata))

    assert BY_NAME.keys() - theirs == NOT_IN_THAT_MLS


def test_version_follows_what_gives_values_their_meaning_and_nothing_else() -> None:
    price = BY_NAME["ListPrice"]
    others = [f for f in FIELDS if f.name != "ListPrice"]

    assert table_fingerprint([price, *others]) == table_fingerprint([*others, price])
    assert Normaliser([*others, replace(price, label="Asking")]).version == Normaliser().version
    for changed in (replace(price, kind=Kind.TEXT), replace(price, synced=False), replace(price, change="other")):
        assert Normaliser([*others, changed]).version != Normaliser().version
    assert Normaliser(others).version != Normaliser().version
