"""Payloads as they are kept: zstd, with a dictionary of what listings have in common.

A packed payload names its dictionary by itself. Dictionaries are versions: none is ever changed or taken away, and a
new one only serves what is packed from then on. They are made of generated listings (`bench/make_dictionary.py`): one
that is trained on a brokerage's own would keep pieces of them beyond a purge.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from mls_crm_sync.core import records
from mls_crm_sync.core.errors import RecordRejected

CODEC = 1
"""Version of the dictionary that new payloads are packed with; 0 was none."""


FOLDER = Path(__file__).parent / "dictionaries"


def _dictionary(version: int) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict((FOLDER / f"payload-{version}.zdict").read_bytes())


@cache
def _decompressor(version: int) -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(dict_data=_dictionary(version) if version else None)


@cache
def _compressor(version: int) -> zstandard.ZstdCompressor:
    dictionary = _dictionary(version)
    dictionary.precompute_compress(level=1)
    return zstandard.ZstdCompressor(level=1, dict_data=dictionary, write_checksum=False)


def pack(data: bytes) -> bytes:
    return _compressor(CODEC).compress(data)


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the record of a packed payload. Raises RecordRejected: `damaged`, or as `records.decode` does."""
    return records.decode(unpacked(packed)).record


def names(packed: bytes | None) -> Collection[str]:
    """Return the names of the members of a packed payload; none of that of a purged listing, or of a damaged one:
    nothing of it can be laid under what comes.
    """
    try:
        return records.names(unpacked(packed)) if packed is not None else ()
    except (RecordRejected, msgspec.MsgspecError):
        return ()


def unpacked(packed: bytes) -> bytes:
    """Return the bytes of a packed payload, whatever its dictionary. Raises RecordRejected, `damaged`."""
    try:
        return _decompressor(zstandard.get_frame_parameters(packed).dict_id).decompress(packed)
    except (zstandard.ZstdError, FileNotFoundError) as error:  # the second: a dictionary that this release has not
        raise RecordRejected("damaged", f"the stored payload cannot be unpacked: {error}") from error
