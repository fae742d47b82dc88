"""Which CRM properties a schedule reads: filters as people give them, checked, in one form. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from .errors import InvalidInput
from .listing import normalise_facts
from .proposals import ACTIVE

MOST_VALUES = 100
LONGEST = 200
MOST_DAYS = 36_500


def checked_filters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters in the form they are stored and asked in: all that are named have to hold, of a list any value.

    Empty lists and nulls are left out. Raises InvalidInput that names the member, as `filters.city`.
    """
    unknown = sorted(given.keys() - _CHECKS.keys())
    if unknown:
        raise InvalidInput(f"filters.{unknown[0]}", f"is unknown; known are {', '.join(_CHECKS)}")
    checked = {name: check(name, given[name]) for name, check in _CHECKS.items() if given.get(name) not in (None, [])}
    least, most = (checked.get(name) for name in ("min_list_price", "max_list_price"))
    if least is not None and most is not None and Decimal(least) > Decimal(most):
        raise InvalidInput("filters.max_list_price", "is less than min_list_price")
    return checked


def statuses_of(filters: Mapping[str, Any]) -> list[str]:
    """Return the `crm_status` values that are selected: active, unless the filters say otherwise."""
    return list(filters.get("crm_status", [ACTIVE]))


def beside_status(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if name != "crm_status"}


def _texts(name: str, value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, list) or len(value) > MOST_VALUES or not all(isinstance(one, str) for one in value):
        raise InvalidInput(f"filters.{name}", f"must be a list of at most {MOST_VALUES} texts")
    texts = sorted({one.strip() for one in value})
    if not all(text and len(text) <= LONGEST and text.isprintable() for text in texts):
        raise InvalidInput(f"filters.{name}", f"each must be printable text of at most {LONGEST} characters")
    return texts


def _in_lower_case(name: str, value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    return sorted({text.lower() for text in _texts(name, value)})


def _zips(name: str, value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    return sorted({text[:5] for text in _texts(name, value)})


def _enums(field: str) -> Callable[[str, Any], list[str]]:
    """Texts in the spelling in which a fact is stored, whatever theirs."""

    def check(name: str, value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
        try:
            return sorted({str(normalise_facts({field: text})[field]) for text in _texts(name, value)})
        except InvalidInput as error:
            raise InvalidInput(f"filters.{name}", error.detail) from error

    return check


def _price(name: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    try:
        text = normalise_facts({"ListPrice": value})["ListPrice"]
    except InvalidInput as error:
        raise InvalidInput(f"filters.{name}", error.detail) from error
    if text is None or Decimal(text) < 0:
        raise InvalidInput(f"filters.{name}", "must be an amount that is not negative")
    return str(text)


def _days(name: str, value: Any) -> int:  # noqa: ANN401 - any JSON value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_DAYS:
        raise InvalidInput(f"filters.{name}", f"must be a number of days up to {MOST_DAYS:,}")
    return value


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "crm_status": _texts,
    "platform": _texts,
    "assigned_agent": _texts,
    "tags": _texts,
    "postal_code": _zips,
    "city": _in_lower_case,
    "standard_status": _enums("StandardStatus"),
    "property_type": _enums("PropertyType"),
    "min_list_price": _price,
    "max_list_price": _price,
    "max_age_days": _days,
}
