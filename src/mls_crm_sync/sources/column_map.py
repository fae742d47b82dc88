"""Which RESO field a CSV column is: by the operator's column map, by its name, or by a common alias.

A name is matched exactly first, then without regard to case, spaces, underscores, hyphens and dots. Whatever
is not recognised keeps its own name. Two columns with an equal claim to one field are refused: guessing would
mix up prices.
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from zoneinfo import ZoneInfo

from mls_crm_sync.core.errors import InvalidInput, SourceBroken

ALIASES: Mapping[str, str] = {
    "mls#": "ListingId",
    "mlsid": "ListingId",
    "mlsno": "ListingId",
    "mlsnumber": "ListingId",
    "listingnumber": "ListingId",
    "status": "StandardStatus",
    "price": "ListPrice",
    "currentprice": "ListPrice",
    "askingprice": "ListPrice",
    "originalprice": "OriginalListPrice",
    "soldprice": "ClosePrice",
    "solddate": "CloseDate",
    "closeddate": "CloseDate",
    "listdate": "ListingContractDate",
    "listingdate": "ListingContractDate",
    "address": "UnparsedAddress",
    "fulladdress": "UnparsedAddress",
    "unit": "UnitNumber",
    "unit#": "UnitNumber",
    "apt": "UnitNumber",
    "state": "StateOrProvince",
    "province": "StateOrProvince",
    "zip": "PostalCode",
    "zipcode": "PostalCode",
    "county": "CountyOrParish",
    "subdivision": "SubdivisionName",
    "lat": "Latitude",
    "lng": "Longitude",
    "lon": "Longitude",
    "apn": "ParcelNumber",
    "parcel": "ParcelNumber",
    "beds": "BedroomsTotal",
    "bedrooms": "BedroomsTotal",
    "baths": "BathroomsTotalInteger",
    "bathrooms": "BathroomsTotalInteger",
    "fullbaths": "BathroomsFull",
    "halfbaths": "BathroomsHalf",
    "sqft": "LivingArea",
    "squarefeet": "LivingArea",
    "livingsqft": "LivingArea",
    "lotsqft": "LotSizeSquareFeet",
    "acres": "LotSizeAcres",
    "lotacres": "LotSizeAcres",
    "dom": "DaysOnMarket",
    "cdom": "CumulativeDaysOnMarket",
    "remarks": "PublicRemarks",
    "description": "PublicRemarks",
    "listagent": "ListAgentFullName",
    "listoffice": "ListOfficeName",
}
"""Names without case, spaces, underscores, hyphens and dots."""

_MAPPED, _EXACT, _SIMILAR, _ALIAS, _OWN = range(5)
_SIMPLIFY = str.maketrans("", "", " _-.")


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """What the operator says about a CSV: their names and ours (`""` leaves a column out), zone, encoding."""

    columns: Mapping[str, str] = field(default_factory=dict)
    time_zone: ZoneInfo | None = None  # of instants that carry none
    encoding: str = "utf-8"

    def checked(self, field_names: Collection[str]) -> ColumnMap:
        """Return itself. Raises InvalidInput where a column is given to a field that does not exist."""
        for theirs, ours in self.columns.items():
            if ours and ours not in field_names:
                near = get_close_matches(ours, field_names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InvalidInput(f"columns.{theirs!r}", f"there is no field {ours!r}{hint}")
        return self


def load_column_map(path: str | Path) -> ColumnMap:
    """Read a column map (TOML). Raises InvalidInput that says what is wrong where."""
    try:
        content = tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidInput(str(path), f"the column map cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), f"the column map is not TOML: {error}") from error
    if unknown := sorted(set(content) - {"columns", "time_zone", "encoding"}):
        raise InvalidInput(str(path), f"unknown key {unknown[0]!r}; there are [columns], time_zone and encoding")
    return ColumnMap(
        columns=_columns(content.get("columns", {})),
        time_zone=_time_zone(content.get("time_zone")),
        encoding=_encoding(content.get("encoding", "utf-8")),
    )


def _columns(table: object) -> Mapping[str, str]:
    if not isinstance(table, dict):
        raise InvalidInput("columns", 'has to be a table: [columns], then "Their name" = "ListPrice"')
    for theirs, ours in table.items():
        if not isinstance(ours, str):
            raise InvalidInput(f"columns.{theirs!r}", f"has to be a field's name in quotes, not {ours!r}")
    return table


def _time_zone(name: object) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput("time_zone", f"there is no time zone {name!r}; write it like America/New_York") from error


def _encoding(name: object) -> str:
    try:
        "a".encode(str(name))  # base64 and the like are encodings, but not of text
        return codecs.lookup(str(name)).name
    except (LookupError, ValueError) as error:  # "undefined" is an encoding, and refuses everything
        raise InvalidInput("encoding", f"there is no encoding {name!r}; write it like cp1252") from error


def names_of(header: Sequence[str], columns: ColumnMap, field_names: Collection[str]) -> list[str | None]:
    """Return the name of each column in the record, None for a column that is left out.

    Raises SourceBroken: no column is recognised, or two are one field.
    """
    labels = [label.strip() or f"column {at}" for at, label in enumerate(header, 1)]
    matcher = _Matcher(columns, field_names)
    claims = [matcher.claim(label) for label in labels]
    best: dict[str, int] = {}
    for rank, name in claims:
        best[name] = min(rank, best.get(name, _OWN))
    if all(rank == _OWN for rank, _ in claims):
        raise SourceBroken(
            "no_header",
            f"no column name is recognised in the first line: {', '.join(labels)[:200]}",
            hint="the first line has to name the columns, by RESO names or by a column map (--columns FILE)",
        )
    names = [name if rank == best[name] else label for label, (rank, name) in zip(labels, claims, strict=True)]
    _refuse_duplicates(labels, names)
    return [name or None for name in names]


class _Matcher:
    def __init__(self, columns: ColumnMap, field_names: Collection[str]) -> None:
        self._mapped = columns.columns
        self._mapped_similar = {simple(theirs): ours for theirs, ours in columns.columns.items()}
        self._fields = frozenset(field_names)
        self._similar = {simple(name): name for name in field_names}

    def claim(self, label: str) -> tuple[int, str]:
        """Return how strong the column's claim is (the smaller the stronger) and the name it claims."""
        key = simple(label)
        alias = ALIASES.get(key)
        if label in self._mapped:
            return _MAPPED, self._mapped[label]
        if label in self._fields:
            return _EXACT, label
        if key in self._mapped_similar:
            return _MAPPED, self._mapped_similar[key]
        if key in self._similar:
            return _SIMILAR, self._similar[key]
        if alias in self._fields:
            return _ALIAS, str(alias)
        return _OWN, label


def simple(label: str) -> str:
    """Return the name without case, spaces, underscores, hyphens and dots."""
    return label.translate(_SIMPLIFY).casefold()


def _refuse_duplicates(labels: Sequence[str], names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for label, name in zip(labels, names, strict=True):
        if name and name in seen:
            raise SourceBroken(
                "duplicate_columns",
                f"the columns {seen[name]!r} and {label!r} are both {name}",
                hint=f'leave one out by a column map: [columns], then "{label}" = ""',
            )
        seen[name] = label
