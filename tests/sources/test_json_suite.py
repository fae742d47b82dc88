"""JSONTestSuite through the file source: pages or SourceBroken, never anything else."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from mls_crm_sync.sources.formats import FileFormat
from reading import Reading, read_content


@pytest.fixture(scope="module")
def suite(shared: Path) -> dict[str, bytes]:
    with tarfile.open(shared / "suites/JSONTestSuite-test_parsing.tar.gz") as archive:
        return {
            Path(member.name).name: content.read()
            for member in archive
            if member.name.endswith(".json") and (content := archive.extractfile(member))
        }


@pytest.mark.parametrize("name", ["case.json", "case.jsonl", "case", "case.json.gz"])
def test_every_case_is_pages_or_a_broken_source(suite: dict[str, bytes], tmp_path: Path, name: str) -> None:
    began = time.monotonic()

    readings = {case: read_content(tmp_path, name, content) for case, content in suite.items()}

    assert len(readings) == 318
    assert time.monotonic() - began < 60
    for case, content in suite.items():
        if case.startswith("n_"):
            assert not _looks_clean(readings[case]), case
        if case.startswith("y_") and name.startswith("case.json"):
            assert _pieces(readings[case]) == _expected(content), case


@pytest.mark.parametrize("format", list(FileFormat))
def test_every_case_ends_in_every_format(
    suite: dict[str, bytes],
    tmp_path: Path,
    format: FileFormat,  # noqa: A002 # as the option is called
) -> None:
    for content in suite.values():
        assert isinstance(read_content(tmp_path, "case", content, format=format), Reading)


def _looks_clean(reading: Reading) -> bool:
    """Tell whether nobody would notice that the file was broken."""
    return not reading.broken and not reading.rejected and all(_parses(data) for data in reading.data)


def _parses(data: bytes) -> bool:
    try:
        json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _pieces(reading: Reading) -> int | None:
    return None if reading.broken else len(reading.records) + len(reading.rejected)


def _expected(content: bytes) -> int | None:
    value = json.loads(content)
    if isinstance(value, list):
        return len(value)
    return 1 if isinstance(value, dict) else None
