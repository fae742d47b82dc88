from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mls_crm_sync.sources.column_map import ColumnMap
from mls_crm_sync.sources.csv_records import read_csv
from reading import FIELDS, Reading, gathered, in_blocks, read_content

HEADER = b"ListingKey,ListPrice,City\n"
NAMES = ("ListingKey", "ListPrice", "City")
CELLS = st.text(st.characters(codec="utf-8"), max_size=8) | st.text(',;\t"\r\n ', max_size=4)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), max_size=6)


def read_table(folder: Path, content: bytes, **options: Any) -> Reading:
    return read_content(folder, "d.csv", content, **options)


def records(reading: Reading) -> list[dict[str, Any]]:
    return [orjson.loads(data) for data in reading.data]


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    ROWS,
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.integers(1, 30) | st.just(1 << 18),
)
def test_rows_that_were_written_are_read_whatever_the_blocks(
    rows: list[tuple[str, str, str]], delimiter: str, end: str, quoting: int, size: int
) -> None:
    assume(quoting == csv.QUOTE_ALL or not any("\r" in cell or "\n" in cell for row in rows for cell in row))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type] # int
    writer.writerows([NAMES, *rows])

    blocks = in_blocks(text.getvalue().encode(), size)
    pieces, broken = gathered(read_csv(_after_a_head(blocks), columns=ColumnMap(), field_names=FIELDS))

    assert broken is None
    assert [tuple(orjson.loads(piece.data).values()) for piece in pieces] == [
        tuple(cell or None for cell in row) for row in rows
    ]


def _after_a_head(blocks: Any) -> Any:
    """A delivery gives its first line in one block, for it is looked at first."""
    head = b""
    while b"\n" not in head and (block := next(blocks, b"")):
        head += block
    yield head
    yield from blocks


def test_empty_cell_is_null_and_a_missing_column_is_absent(tmp_path: Path) -> None:
    reading = read_table(tmp_path, b'ListingKey,ListPrice\nL1,\nL2,""\n')

    assert records(reading) == [
        {"ListingKey": "L1", "ListPrice": None},
        {"ListingKey": "L2", "ListPrice": None},
    ]


def test_row_of_another_length_is_set_aside_and_clears_nothing(tmp_path: Path) -> None:
    reading = read_table(tmp_path, HEADER + b"L1,1\nL2,2,Rome,x\nL3,3,Rome\nL4\n")

    assert [record["ListingKey"] for record in records(reading)] == ["L3"]
    assert [(one.position, one.reason, one.data) for one in reading.rejected] == [
        (2, "too_few_cells", b"L1,1"),
        (3, "too_many_cells", b"L2,2,Rome,x"),
        (5, "too_few_cells", b"L4"),
    ]


def test_position_is_the_physical_line_where_the_row_begins(tmp_path: Path) -> None:
    reading = read_table(tmp_path, HEADER + b'L1,1,"New\nYork"\n\n,,\nL2,2,Rome\nL3,"3\n\n",Rome,x\nL4,4,Rome\n')

    assert [record.position for record in reading.records] == [2, 6, 10]
    assert [(one.position, "lines 7 to 9" in one.detail) for one in reading.rejected] == [(7, True)]


def test_quotation_gone_wrong_is_set_aside_with_all_that_it_took(tmp_path: Path) -> None:
    reading = read_table(tmp_path, HEADER + b'L1,"1"x,Rome\nL2,"2,Rome\nL3,3,"Rome"\nL4,4,Rome\n')

    assert [record["ListingKey"] for record in records(reading)] == ["L4"]
    assert [(one.position, one.reason, one.data) for one in reading.rejected] == [
        (2, "bad_csv", b'L1,"1"x,Rome'),
        (3, "bad_csv", b'L2,"2,Rome\nL3,3,"Rome"'),
    ]


def test_quotation_that_never_ends_is_truncated(tmp_path: Path) -> None:
    reading = read_table(tmp_path, HEADER + b'L1,1,Rome\nL2,2,"Rome\n')

    assert ([record["ListingKey"] for record in records(reading)], reading.ended) == (["L1"], "truncated")


def test_cell_of_a_megabyte_is_read_and_a_larger_one_set_aside(tmp_path: Path) -> None:
    fits, large = b"x" * 1024**2, b"y" * (1024**2 + 1)

    reading = read_table(tmp_path, HEADER + b"L1,1," + fits + b'\nL2,2,"' + large + b'"\nL3,3,Rome\n')

    assert [record["City"] for record in records(reading)] == [fits.decode(), "Rome"]
    assert reading.reasons == ["bad_csv"]


@pytest.mark.parametrize("filler", [b"x", b"x,"])
def test_line_of_any_length_is_skipped(tmp_path: Path, filler: bytes) -> None:
    reading = read_table(tmp_path, HEADER + b"L1," + filler * (21 * 1024**2) + b"\nL2,2,Rome\n")

    assert [record["ListingKey"] for record in records(reading)] == ["L2"]
    assert len(reading.reasons) == 1
    assert len(reading.rejected[0].data) <= 21 * 1024**2


def test_nul_is_text(tmp_path: Path) -> None:
    assert records(read_table(tmp_path, HEADER + b"L1,1,a\0b\n"))[0]["City"] == "a\0b"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("start", [b"", b"sep=;\n", b"\n\n"])
def test_spreadsheets_ways_of_writing_are_read(tmp_path: Path, end: bytes, start: bytes) -> None:
    content = start + b'ListingKey;"List,Price"\nL1;1,5\n'

    reading = read_table(tmp_path, content.replace(b"\n", end))

    assert records(reading) == [{"ListingKey": "L1", "List,Price": "1,5"}]


def test_text_that_is_not_utf8_breaks_the_file_where_it_stands(tmp_path: Path) -> None:
    reading = read_table(tmp_path, HEADER + b"L1,1,Rome\nL2,2,M\xe9xico\n")

    assert [record["ListingKey"] for record in records(reading)] == ["L1"]
    assert reading.ended == "encoding"
    assert reading.broken is not None
    assert "line 3" in reading.broken.detail
    assert "iconv" in (reading.broken.hint or "")


@pytest.mark.parametrize("size", range(1, 60))
def test_text_that_is_not_utf8_breaks_the_file_wherever_its_blocks_end(size: int) -> None:
    text = HEADER + b"L1,1,Rome\nL2,2,M\xe9xico\nL3,3,Oslo\n"

    _, ended = gathered(read_csv(in_blocks(text, size), columns=ColumnMap(), field_names=FIELDS))

    assert ended == "encoding"


def test_encoding_that_refuses_in_its_own_way_breaks_the_file_too(tmp_path: Path) -> None:
    reading = read_table(tmp_path, HEADER + b"L1,1,.xn--0.\n", columns=ColumnMap(encoding="idna"))

    assert reading.ended == "encoding"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_text_in_the_encoding_of_the_column_map_is_read(tmp_path: Path, encoding: str) -> None:
    content = (HEADER.decode() + "L1,1,México\n").encode(encoding)

    assert records(read_table(tmp_path, content, columns=ColumnMap(encoding=encoding)))[0]["City"] == "México"


def test_media_in_a_cell_are_the_json_that_stands_there(tmp_path: Path) -> None:
    media = '[{"MediaKey":"k1", "Order":0},\n {"MediaKey":"k2","Size":1.50}]'
    cells = [media, "", "[]", " ", "[{", "[NaN]", "none", '[{"MediaKey":"1","MediaKey":"2"}]']
    file = io.StringIO()
    csv.writer(file).writerows([("ListingKey", "Media"), *((f"L{n}", cell) for n, cell in enumerate(cells))])

    reading = read_table(tmp_path, file.getvalue().encode(), field_names=("ListingKey", "Media"))

    assert reading.data[0] == b'{"ListingKey":"L0","Media":' + media.encode() + b"}"
    assert [record["Media"] for record in records(reading)[1:7]] == [None, [], " ", "[{", "[NaN]", "none"]
    assert reading.data[7].endswith(b'"Media":[{"MediaKey":"1","MediaKey":"2"}]}'), "for the record's parser to refuse"


def test_last_cell_that_is_cut_off_after_too_few_is_set_aside(tmp_path: Path) -> None:
    assert read_table(tmp_path, HEADER + b"L1,1,Rome\nL2,2").reasons == ["too_few_cells"]


@pytest.mark.parametrize("content", [b"L1,100,Rome\nL2,200,Oslo\n", b'"\nx', b'a"b,"c"d\n'])
def test_file_without_a_header_is_refused(tmp_path: Path, content: bytes) -> None:
    reading = read_table(tmp_path, content)

    assert reading.ended in {"no_header", "truncated"}
    assert reading.pages == []


def test_header_alone_is_a_delivery_of_no_records(tmp_path: Path) -> None:
    assert (read_table(tmp_path, HEADER).pages, read_table(tmp_path, HEADER).ended) == ([], None)


def test_unknown_columns_keep_their_names_and_a_left_out_one_is_gone(tmp_path: Path) -> None:
    columns = ColumnMap(columns={"Secret": "", "Ask": "ListPrice"})

    reading = read_table(tmp_path, b",MLS #,ask,Secret,Note\n7,A1,5,x,hi\n", columns=columns)

    assert records(reading) == [{"column 1": "7", "ListingId": "A1", "ListPrice": "5", "Note": "hi"}]
