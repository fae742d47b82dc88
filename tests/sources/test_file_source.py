from __future__ import annotations

import asyncio
import gzip
import io
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources import base, file
from mls_crm_sync.sources.base import Page, PassOutcome
from mls_crm_sync.sources.delivery import Delivery
from mls_crm_sync.sources.file import FileReading
from mls_crm_sync.sources.formats import FileFormat
from mls_crm_sync.sources.pieces import Piece
from reading import FIELDS, in_blocks, read, read_content, read_file

LINES = [b'{"ListingKey":"L%d"}' % number for number in range(2500)]
LISTING = b'{"ListingKey":"L1","PublicRemarks":"' + b"a fine home, with a view; " * 50 + b'","Media":[{"Order":0}]}'
MEGABYTE = 1024**2


def a_file(folder: Path, lines: list[bytes] = LINES, name: str = "d.jsonl") -> FileReading:
    path = folder / name
    path.write_bytes(b"\n".join(lines) + b"\n")
    return FileReading(str(path), field_names=FIELDS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.jsonl", b'{"ListingKey":"1"}\n{"ListingKey":"2"}\n'),
        ("lines.ndjson", b'{"ListingKey":"1"}\r\n{"ListingKey":"2"}'),
        ("lines.json", b'{"ListingKey":"1"}\n{"ListingKey":"2"}\n'),
        ("lines", b'\n{"ListingKey":"1"}\n\n{"ListingKey":"2"}\n'),
        ("array.json", b'[{"ListingKey":"1"},{"ListingKey":"2"}]'),
        ("array.jsonl", b'[{"ListingKey":"1"},\n{"ListingKey":"2"}]'),
        ("array", b' [{"ListingKey":"1"},{"ListingKey":"2"}]'),
        ("odata.json", b'{"@odata.count":2,\n"value":[{"ListingKey":"1"},{"ListingKey":"2"}]}'),
        ("bridge", b'{"success":true,"bundle":[{"ListingKey":"1"},{"ListingKey":"2"}],"total":2}'),
        ("spark.json", b'{"D":{"Results":[{"StandardFields":{"ListingKey":"1"}},{"ListingKey":"2"}]}}'),
        ("table.csv", b"ListingKey\n1\n2\n"),
        ("table.TSV", b"ListingKey\r\n1\r\n2"),
        ("table", b"ListingKey;City\n1;\n2;\n"),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", "packed but not called so"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_format_is_told_by_name_and_content(
    tmp_path: Path, name: str, content: bytes, packed: str, mark: bytes
) -> None:
    if packed.startswith("packed"):
        reading = read_content(tmp_path, name, gzip.compress(mark + content))
    else:
        reading = read_content(tmp_path, name + packed, mark + content)

    assert reading.ended is None
    assert [b'"1"' in data for data in reading.data] == [True, False]


def test_format_that_was_asked_for_wins(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.csv", b'{"ListingKey":"1"}\n', format=FileFormat.JSON_LINES)

    assert reading.data == [b'{"ListingKey":"1"}']


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("d.jsonl", b"", "empty"),
        ("d.jsonl.gz", b"", "empty"),
        ("d.csv", b" \n\n", "empty"),
        ("d.json", b"\xef\xbb\xbf", "empty"),
        ("d.json", b"<!DOCTYPE html><html></html>", "not_json"),
        ("d.jsonl", b"\n <html>\n{\n", "not_json"),
        ("d.csv", b"<html></html>", "not_json"),
        ("d.jsonl", b"ListingKey\n1\n", "not_json"),
        ("d.json", b'"text"', "not_json"),
        ("d.json", b"PK\x03\x04....", "not_json"),
        ("d", b"\x89PNG\r\n\x1a\n\0\0\0", "unknown_format"),
        ("d.json", b"\x89PNG\r\n\x1a\n\0\0\0", "not_json"),
        ("d.json", '[{"a":1}]'.encode("utf-16"), "encoding"),
        ("d.json", '[{"a":1}]'.encode("utf-16-be"), "encoding"),
        ("d.csv", "ListingKey,City\n".encode("utf-16-le"), "encoding"),
        ("d.jsonl", '{"a":1}\n'.encode("utf-32"), "encoding"),
        ("d.jsonl.gz", gzip.compress(b'{"a":1}\n', mtime=0), "not_json"),
        ("d.json", b'[{"a":1}, {"b":', "truncated"),
        ("d.json", b'{"a":1', "truncated"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    reading = read_content(tmp_path, name, content)

    assert reading.broken is not None
    assert reading.broken.reason == reason
    assert reading.broken.hint


def test_missing_file_directory_and_forbidden_file_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"{}")

    assert read_file(tmp_path / "none.json").ended == "no_such_file"
    assert read_file("a\0b").ended == "no_such_file"
    assert read_file(tmp_path).ended == "is_a_directory"

    monkeypatch.setattr(os, "open", _forbid)  # root may read everything
    assert read_file(path).ended == "no_permission"


def _forbid(path: str, _flags: int) -> int:
    raise PermissionError(13, "Permission denied", path)


def test_pages_hold_at_most_their_number_of_records_in_order(tmp_path: Path) -> None:
    reading = asyncio.run(read(a_file(tmp_path)))

    assert [len(page.records) for page in reading.pages] == [1000, 1000, 500]
    assert [page.number for page in reading.pages] == [1, 2, 3]
    assert [page.checkpoint for page in reading.pages][-1] == {"page": 3, "position": 2500}
    assert reading.data == LINES


def test_rejected_pieces_count_for_the_size_of_a_page(tmp_path: Path) -> None:
    reading = read_content(tmp_path, "d.jsonl", b"{}\n" + b"7\n" * 2500)

    assert [len(page.records) + len(page.rejected) for page in reading.pages] == [1000, 1000, 501]


def test_page_of_large_records_is_bounded_in_bytes(tmp_path: Path) -> None:
    large = b'{"a":"' + b"x" * MEGABYTE + b'"}'

    for name, content in (("d.jsonl", b"\n".join([large] * 30)), ("d.json", b"[" + b",".join([large] * 30) + b"]")):
        reading = read_content(tmp_path, name, content)

        assert reading.data == [large] * 30
        assert max(sum(len(one.data) for one in page.records) for page in reading.pages) <= 8 * MEGABYTE


def test_progress_counts_the_bytes_as_they_lie_there(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(LINES)))
    source = FileReading(str(path), field_names=FIELDS)

    reading = asyncio.run(read(source))

    assert source.total_bytes == path.stat().st_size
    assert reading.pages[-1].bytes_read == source.total_bytes


def test_file_never_proves_that_it_is_complete(tmp_path: Path) -> None:
    whole: base.Reading = a_file(tmp_path)
    cut: base.Reading = a_file(tmp_path, [b"["], "cut.json")
    before = whole.outcome
    readings = [asyncio.run(_drain(source)) for source in (whole, cut)]

    assert before is None
    assert readings == ["unproven", "broken"]


async def _drain(source: base.Reading) -> str | None:
    try:
        async for _ in source.pages():
            pass
    except SourceBroken:
        pass
    outcome: PassOutcome | None = source.outcome
    return outcome.kind if outcome else None


@pytest.mark.parametrize("cut", [1, 4, 8, 200])
def test_gzip_that_is_cut_off_gives_what_came_before(tmp_path: Path, cut: int) -> None:
    lines = [b'{"n":%d,"x":"%s"}' % (n, os.urandom(8).hex().encode()) for n in range(3000)]
    packed = gzip.compress(b"\n".join(lines) + b"\n")

    reading = read_content(tmp_path, "d.jsonl", packed[:-cut])

    assert reading.ended == "truncated"
    assert reading.data == lines[: len(reading.data)]
    assert len(reading.data) > 2900


def test_gzip_whose_sum_is_wrong_is_damaged(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"\n".join(LINES) + b"\n"))
    packed[-8] ^= 1

    assert read_content(tmp_path, "d.jsonl", bytes(packed)).ended == "damaged"
    assert read_content(tmp_path, "e.jsonl", gzip.compress(b"{}\n") + b"rubbish").ended == "damaged"


def test_gzip_of_several_members_and_padding_is_read_to_its_end(tmp_path: Path) -> None:
    packed = b"".join(gzip.compress(line + b"\n") for line in LINES[:50]) + b"\0" * 512

    reading = read_content(tmp_path, "d.jsonl", packed)

    assert (reading.data, reading.ended) == (LINES[:50], None)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    st.lists(st.binary(max_size=200) | st.binary(max_size=3).map(lambda b: b * 200), max_size=5),
    st.integers(1, 50) | st.just(1 << 18),
    st.integers(1, 50) | st.just(1 << 18),
)
def test_unpacking_gives_the_same_bytes_in_any_blocks(members: list[bytes], read_size: int, block: int) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    raw = in_blocks(packed, read_size)

    delivery = Delivery(lambda _: next(raw, b""), block_bytes=block)
    head = delivery.peek()
    blocks = list(delivery.blocks())

    assert b"".join(blocks) == b"".join(members)
    assert b"".join(blocks).startswith(head)
    assert delivery.bytes_read == len(packed)


def test_standard_input_is_read_in_any_format() -> None:
    for content in (b'{"a":1}\n{"b":2}\n', gzip.compress(b'[{"a":1},{"b":2}]'), b"ListingKey,City\n1,x\n2,y\n"):
        assert _through_stdin(content) == "2 None"


def _through_stdin(content: bytes) -> str:
    program = "from reading import read_file\nreading = read_file('-')\nprint(len(reading.records), reading.ended)\n"
    folders = os.pathsep.join(str(Path(__file__).parents[up] / name) for up, name in ((1, "."), (2, "src")))
    environment = {**os.environ, "PYTHONPATH": folders}
    done = subprocess.run(
        [sys.executable, "-c", program], input=content, capture_output=True, check=True, env=environment, timeout=60
    )
    return done.stdout.decode().strip()


def test_standard_input_without_a_descriptor_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a":1}\n')))

    assert read_file("-").data == [b'{"a":1}']


def test_closed_standard_input_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert read_file("-").ended == "no_such_file"


async def test_next_page_is_read_while_this_one_is_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = file._Pager._page

    def noticed(pager: file._Pager, pieces: list[Piece]) -> Page:
        page = make(pager, pieces)
        made.append(page.number)
        return page

    monkeypatch.setattr(file._Pager, "_page", noticed)
    async with aclosing(a_file(tmp_path).pages()) as pages:
        await anext(pages)
        await asyncio.sleep(0.3)

        assert made == [1, 2]


async def test_closing_early_stops_the_thread_and_closes_the_file(tmp_path: Path) -> None:
    source = a_file(tmp_path)
    async with aclosing(source.pages()) as pages:
        await anext(pages)
        held = _held(tmp_path)

    assert held == (1, 1)
    assert _held_at_last(tmp_path) == (0, 0)


async def test_pipe_that_nobody_writes_to_can_be_given_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = FileReading(str(path), field_names=FIELDS)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(source), timeout=0.3)

    assert _held_at_last(tmp_path) == (0, 0)


async def test_pipe_that_is_written_slowly_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=_write_slowly, args=(path,))
    writer.start()

    reading = await read(FileReading(str(path), field_names=FIELDS))
    writer.join()

    assert (reading.data, reading.ended) == (LINES[:5], None)


def _write_slowly(path: Path) -> None:
    with path.open("wb", buffering=0) as pipe:
        for line in LINES[:5]:
            pipe.write(line + b"\n")
            time.sleep(0.02)


def _held(folder: Path) -> tuple[int, int]:
    """Count the threads that read and the files of the folder that are open."""
    threads = sum(thread.name.startswith("file-source") for thread in threading.enumerate())
    files = sum(Path(opened.path).parent == folder for opened in psutil.Process().open_files())
    return threads, files


def _held_at_last(folder: Path) -> tuple[int, int]:
    """Grant the thread a moment for its last step."""
    deadline = time.monotonic() + 2
    while (held := _held(folder)) != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


@contextmanager
def peak() -> Iterator[list[int]]:
    """Give the most memory that Python held meanwhile, in bytes."""
    tracemalloc.start()
    found: list[int] = []
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


async def _count(source: FileReading) -> tuple[int, int]:
    records = rejected = 0
    async for page in source.pages():
        records += len(page.records)
        rejected += len(page.rejected)
    return records, rejected


@pytest.mark.parametrize(
    ("name", "texts", "per_member"),
    [
        ("d.jsonl", (b"", LISTING + b"\n", b""), 5000),
        ("d.json", (b"[", LISTING + b",\n", LISTING + b"]"), 5000),
        ("d.csv", (b"ListingKey,PublicRemarks\n", b'1,"' + b"a fine home" * 100 + b'"\n', b""), 5000),
        ("d.jsonl", (b"", b"{}\n", b""), 40_000),
    ],
)
def test_memory_is_flat_at_any_size(
    tmp_path: Path, name: str, texts: tuple[bytes, bytes, bytes], per_member: int
) -> None:
    """Twenty gzip members, so that 150 MB are made in no time."""
    path = tmp_path / name
    first, repeated, last = texts
    member = gzip.compress(repeated * per_member, 1)
    path.write_bytes(gzip.compress(first) + member * 20 + gzip.compress(last))

    with peak() as bytes_held:
        counted = asyncio.run(_count(FileReading(str(path), field_names=FIELDS)))

    assert counted == (per_member * 20 + bool(last), 0)
    assert bytes_held[0] < 40 * MEGABYTE


@pytest.mark.parametrize(
    ("name", "begin", "end", "rest"),
    [
        ("bomb.jsonl", b'{"a":"', b'"}\n{"b":2}\n', b'{"b":2}'),
        ("bomb.json", b'[{"a":"', b'"},{"b":2}]', b'{"b":2}'),
        ("bomb.csv", b"City\n", b"\nRome\n", b'{"City":"Rome"}'),
    ],
)
def test_record_of_any_length_is_skipped_in_bounded_memory(
    tmp_path: Path, name: str, begin: bytes, end: bytes, rest: bytes
) -> None:
    bomb = zlib.compressobj(9, wbits=31)
    packed = bomb.compress(begin) + b"".join(bomb.compress(b"x" * MEGABYTE) for _ in range(200))
    (tmp_path / name).write_bytes(packed + bomb.compress(end) + bomb.flush())

    with peak() as bytes_held:
        reading = read_file(tmp_path / name)

    assert (reading.reasons, reading.data) == (["too_large"], [rest])
    assert bytes_held[0] < 70 * MEGABYTE
