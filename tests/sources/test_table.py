"""Tables that people bring: every row with its line, and a file that is none is said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources.table import read_table


def rows(path: Path) -> list[tuple[int, object]]:
    with read_table(path) as table:
        return [(row.line, row.cells) for row in table.rows]


def test_rows_carry_the_line_they_start_on(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffid;notes\r\na;"two\nlines"\r\n\r\nb;x;y\nc;\n'.encode())

    assert rows(path) == [(2, {"id": "a", "notes": "two\nlines"}), (5, None), (6, {"id": "c", "notes": ""})]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"id,id\n", "header"),
        (b"id\n\xff\n", "encoding"),
        (b'id\n"open', "truncated"),
        (b'id\na\nb\n"open\nc\n', "truncated"),
        (b'"id\n', "not_csv"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)

    with pytest.raises(SourceBroken) as caught:
        rows(path)

    assert caught.value.reason == reason


def test_row_that_is_no_csv_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,notes\nd1,ok\nd2,"bad"x\nd3,"never\nclosed, but "opened again\nd4,ok\n')

    with read_table(path) as table:
        found = list(table.rows)

    assert [(row.line, row.cells) for row in found] == [
        (2, {"id": "d1", "notes": "ok"}),
        (3, None),
        (4, None),
        (6, {"id": "d4", "notes": "ok"}),
    ]
    assert [row.trouble is None for row in found] == [True, False, False, True]
    assert "lines 4 to 5" in str(found[2].trouble)


def test_columns_without_a_name_are_called_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,address,,\na,1 Main,,x\n")

    assert rows(path) == [(2, {"id": "a", "address": "1 Main", "column 3": "", "column 4": "x"})]


def test_blank_rows_of_a_spreadsheet_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,notes\n,\na,x\n,,,\n"",""\nb,\n')

    assert rows(path) == [(3, {"id": "a", "notes": "x"}), (6, {"id": "b", "notes": ""})]


def test_trouble_of_whoever_reads_the_rows_is_not_taken_for_the_files(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id\na\n")

    with pytest.raises(ConnectionResetError), read_table(path):
        raise ConnectionResetError("the database went away")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceBroken, match="nowhere"), read_table(tmp_path / "nowhere.csv"):
        pass
