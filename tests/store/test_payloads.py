"""Payloads: packed small, and readable for good."""

from __future__ import annotations

import hashlib

import pytest
import zstandard

from mls_crm_sync.core.fields import FIELDS
from mls_crm_sync.store import payloads

RECORD = b'{"ListingKey":"A","ListPrice":500000.10,"PublicRemarks":"Caf\xc3\xa9"}'
CHECKSUMS = {1: "bda0730b61bcf98b68fba51f9d08cc8cb15c852d24ce4f153e1cca4a9d474249"}
"""What is packed names the dictionary that it needs: a changed one would make it unreadable."""


def test_packed_payload_is_the_record_again() -> None:
    assert payloads.unpack(payloads.pack(RECORD))["PublicRemarks"] == "Café"
    assert set(payloads.names(payloads.pack(RECORD))) == {"ListingKey", "ListPrice", "PublicRemarks"}
    assert payloads.names(None) == ()


def test_payload_of_before_there_were_dictionaries_can_be_read() -> None:
    assert payloads.unpack(zstandard.ZstdCompressor().compress(RECORD))["ListingKey"] == "A"


def test_dictionary_knows_the_names_of_fields() -> None:
    record = b"{" + b",".join(f'"{field.name}":{n}'.encode() for n, field in enumerate(FIELDS)) + b"}"

    assert len(payloads.pack(record)) < len(zstandard.ZstdCompressor(level=1).compress(record)) * 0.7


@pytest.mark.parametrize("version", range(1, payloads.CODEC + 1))
def test_shipped_dictionary_never_changes(version: int) -> None:
    data = (payloads.FOLDER / f"payload-{version}.zdict").read_bytes()

    assert zstandard.ZstdCompressionDict(data).dict_id() == version
    assert hashlib.sha256(data).hexdigest() == CHECKSUMS[version]
