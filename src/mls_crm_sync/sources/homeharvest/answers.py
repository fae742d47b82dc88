"""What realtor.com answers to the library's requests, judged: a page of a search, a home, a place.

The library takes an answer without results for one with none, whatever it says: a GraphQL error in a 200, null data, a
429 in JSON. Here that is what it is, before the library sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec

from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources.http import envelope

SUGGESTIONS = "Search_suggestions"
SEARCH = "GetHomeSearch"
HOME = "GetHomeDetails"

T = TypeVar("T")


class Asked(NamedTuple):
    """A request of the library's."""

    operation: str
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """A request of the library's, and what the site answered: JSON with status 200."""

    asked: Asked
    body: bytes


class SearchPage(NamedTuple):
    """A page of homes. `total` is of the whole search; `damaged` says of which homes a part could not be told."""

    total: int
    homes: list[msgspec.Raw]
    damaged: Mapping[int, str]


class Area(NamedTuple):
    """What the site takes a location for. `kind` is its word: city, postal_code, county, address ..."""

    kind: str
    text: str
    city: str | None
    state: str | None
    postal_code: str | None


class _Asked(msgspec.Struct):
    operation: str = msgspec.field(name="operationName")
    variables: dict[str, Any] = {}


class _Homes(msgspec.Struct):
    total: Annotated[int, msgspec.Meta(ge=0)]
    results: list[msgspec.Raw]


class _SearchData(msgspec.Struct):
    search: _Homes | None = msgspec.field(name="homeSearch")


class _HomeData(msgspec.Struct):
    home: msgspec.Raw


class _Geo(msgspec.Struct):
    area_type: str
    city: str | None = None
    state_code: str | None = None
    postal_code: str | None = None


class _GeoResult(msgspec.Struct):
    geo: _Geo
    text: str | None = None


class _Suggested(msgspec.Struct):
    results: list[_GeoResult] | None = msgspec.field(name="geo_results", default=None)


class _SuggestionData(msgspec.Struct):
    suggested: _Suggested | None = msgspec.field(name="search_suggestions")


class _Error(msgspec.Struct):
    message: str = "no message"
    path: list[str | int] | None = None


_asked_in = msgspec.json.Decoder(_Asked).decode
_errors_in = msgspec.json.Decoder(list[_Error] | None).decode


def asked_in(body: bytes) -> Asked:
    """Return what a request of the library's asks for. Raises SourceBroken for what is none that we know."""
    try:
        found = _asked_in(body)
    except msgspec.DecodeError as error:
        raise _unknown_request(str(error)) from None
    if found.operation not in {SUGGESTIONS, SEARCH, HOME}:
        raise _unknown_request(found.operation)
    return Asked(found.operation, found.variables)


def search_page_of(body: bytes, name: str) -> SearchPage:
    """Raises SourceBroken where the site did not tell a page of a search and its total."""
    data, errors = _data_of(body, name, _SearchData, within="homeSearch")
    if data.search is None:
        raise _no_data(name, "homeSearch")
    return SearchPage(data.search.total, data.search.results, errors)


def home_of(body: bytes, name: str) -> msgspec.Raw | None:
    """Return a home; None where the site says that it has none of this id. Raises SourceBroken."""
    data, _ = _data_of(body, name, _HomeData, within=None)
    return None if bytes(data.home) == b"null" else data.home


def area_of(body: bytes, name: str) -> Area | None:
    """Return what a location was taken for, as the library takes the first suggestion; None for nothing.

    Raises SourceBroken.
    """
    data, _ = _data_of(body, name, _SuggestionData, within=None)
    if data.suggested is None:
        raise _no_data(name, "search_suggestions")
    if not data.suggested.results:
        return None
    first = data.suggested.results[0]
    geo = first.geo
    return Area(geo.area_type, first.text or "", geo.city, geo.state_code, geo.postal_code)


def _data_of(
    body: bytes, name: str, shape: type[T], *, within: Literal["homeSearch"] | None
) -> tuple[T, Mapping[int, str]]:
    """Return the data of an answer. An error that says which of the results it is about is theirs; any other is
    everybody's: what is null because of it looks like what is not there. Raises SourceBroken.
    """
    members = envelope(body, name)
    try:
        errors = _errors_in(members.get("errors", msgspec.Raw(b"null"))) or []
    except msgspec.DecodeError:
        errors = [_Error("it says that it has errors")]
    damaged: dict[int, str] = {}
    for error in errors:
        match error.path:
            case [first, "results", int(number), *_] if first == within:
                damaged[number] = error.message[:200]
            case _:
                raise SourceBroken(
                    "graphql_error", f"{name} answered with an error: {error.message[:200]}", hint=_LATER
                )
    try:
        return msgspec.json.decode(members.get("data", msgspec.Raw(b"null")), type=shape), damaged
    except msgspec.DecodeError as error:
        raise SourceBroken(
            "no_data", f"an answer of {name} is not built as it should be: {error}", hint=_LATER
        ) from None


def _no_data(name: str, member: str) -> SourceBroken:
    return SourceBroken("no_data", f"an answer of {name} has no {member}", hint=_LATER)


def _unknown_request(what: str) -> SourceBroken:
    detail = f"HomeHarvest asks for something that is not known here: {what[:200]}"
    return SourceBroken(
        "unknown_request", detail, hint="install the release that was tried: `pip install homeharvest==0.8.18`"
    )


_LATER = "try again later; where it stays, the website has changed, and a newer release may know how"
