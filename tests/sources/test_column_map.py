from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mls_crm_sync.core.errors import InvalidInput, SourceBroken
from mls_crm_sync.sources.column_map import ALIASES, ColumnMap, load_column_map, names_of, simple
from mls_crm_sync.sources.file import FileReading
from reading import FIELDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "file-formats.md"


def a_map(folder: Path, text: str) -> Path:
    path = folder / "columns.toml"
    path.write_text(text, "utf-8")
    return path


def names(*header: str, **columns: str) -> list[str | None]:
    return names_of(header, ColumnMap(columns=columns), FIELDS)


@pytest.mark.parametrize("label", ["ListPrice", "list_price", "List Price", "LIST-PRICE", " listprice ", "Price"])
def test_name_is_matched_without_regard_to_its_spelling(label: str) -> None:
    assert names(label) == ["ListPrice"]


@pytest.mark.parametrize(
    ("label", "field"),
    [("MLS #", "ListingId"), ("Zip", "PostalCode"), ("State", "StateOrProvince"), ("Address", "UnparsedAddress")],
)
def test_common_names_are_understood(label: str, field: str) -> None:
    assert names(label) == [field]


def test_alias_of_a_field_that_is_not_there_is_left_alone() -> None:
    assert names("ListingKey", "Beds") == ["ListingKey", "Beds"]


def test_stronger_claim_wins_and_the_other_column_keeps_its_name() -> None:
    assert names("Status", "StandardStatus") == ["Status", "StandardStatus"]
    assert names("list price", "Price") == ["ListPrice", "Price"]
    assert names("Price", "Theirs", Theirs="ListPrice") == ["Price", "ListPrice"]


def test_map_wins_over_every_name_and_ignores_spelling() -> None:
    assert names("list price", "Ask Price", **{"ask_price": "ListPrice", "List Price": ""}) == [None, "ListPrice"]


@pytest.mark.parametrize(
    "header",
    [("Price", "ListPrice", "ListPrice"), ("MLS #", "MLS Number"), ("ListingKey", "Note", "Note")],
)
def test_equal_claims_are_refused_with_what_to_write(header: tuple[str, ...]) -> None:
    with pytest.raises(SourceBroken) as caught:
        names(*header)

    assert caught.value.reason == "duplicate_columns"
    assert header[-1] in (caught.value.hint or "")


def test_header_in_which_nothing_is_known_is_none() -> None:
    with pytest.raises(SourceBroken) as caught:
        names("L1", "100")

    assert caught.value.reason == "no_header"


def test_column_map_is_read(tmp_path: Path) -> None:
    path = a_map(tmp_path, 'time_zone = "America/New_York"\nencoding = "latin-1"\n[columns]\n"Ask" = "ListPrice"\n')

    assert load_column_map(path) == ColumnMap({"Ask": "ListPrice"}, ZoneInfo("America/New_York"), "iso8859-1")
    assert load_column_map(a_map(tmp_path, "")) == ColumnMap()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[columns", "not TOML"),
        ('"Ask" = "ListPrice"', "unknown key 'Ask'"),
        ('columns = "x"', "has to be a table"),
        ("[columns]\nAsk = 3", "not 3"),
        ('time_zone = "Mars/Olympus"', "no time zone"),
        ('time_zone = ""', "no time zone"),
        ('encoding = "utf-99"', "no encoding"),
        ('encoding = "base64"', "no encoding"),
        ('encoding = "undefined"', "no encoding"),
        ('encoding = "a\\u0000b"', "no encoding"),
    ],
)
def test_column_map_that_is_wrong_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        load_column_map(a_map(tmp_path, text))


def test_column_map_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_column_map(tmp_path / "none.toml")


def test_column_given_to_a_field_that_does_not_exist_is_refused_with_a_guess() -> None:
    with pytest.raises(InvalidInput, match="did you mean ListPrice"):
        FileReading("d.csv", columns=ColumnMap({"Ask": "ListPrise"}), field_names=FIELDS)


def test_aliases_are_written_in_their_simple_form() -> None:
    assert [alias for alias in ALIASES if alias != simple(alias)] == []


def test_every_alias_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")

    missing = [alias for alias, name in ALIASES.items() if f"`{alias}`" not in text or f"`{name}`" not in text]
    assert missing == []
