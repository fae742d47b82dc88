"""Normal forms: one function per kind of field, from what sources write to what is stored.

    normal(value) -> the stored form, or None when the value clears the field (null, empty text, empty list)

Money and measures are plain decimal text (`"1650000"`, `"2.5"`), integers numbers, instants UTC text with `Z`, dates
`YYYY-MM-DD`, enums RESO's spaced spelling, multi-selects sorted lists, media its keys, order and category. Input comes
from strict JSON: str, int, Decimal, bool, None, list, dict; CSV and some providers write everything as text.
Normalising twice changes nothing. Raises BadValue, which says why in words. No IO.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import itemgetter, lt
from types import NoneType
from typing import Any
from zoneinfo import ZoneInfo

from .fields import Field, Kind

MAX_TEXT = 100_000
"""Characters; RESO's longest remarks are 4,000."""

MAX_NUMBER = 10**14
MAX_PLACES = 8
_LAST_PLACE = Decimal(1).scaleb(-MAX_PLACES)
_TAIL = Decimal("1e-12")
"""Of a number: what a binary float of 53 bits may be off after some arithmetic."""
INT_RANGE = range(-(2**31), 2**31)
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?|[+-]?\.\d+")
_USUAL_FRACTION = re.compile(r"-?[1-9][0-9]{0,13}\.[0-9]{1,8}")
LIMITS = {Kind.LATITUDE: 90, Kind.LONGITUDE: 180}
"""Degrees, on either side of zero."""
_MEDIA_MEMBERS = itemgetter("MediaKey", "Order", "MediaCategory")
_US_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,12}))?\s?(Z|z|[+-]\d{2}:?\d{2})?")
_SURROGATES = re.compile("[\ud800-\udfff]")

_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})

STANDARD_STATUS = (
    "Active", "Active Under Contract", "Canceled", "Closed", "Coming Soon", "Delete", "Expired", "Hold", "Incomplete",
    "Pending", "Withdrawn",
)  # fmt: skip
KNOWN: Mapping[str, tuple[str, ...]] = {
    "PropertyType": (
        "Business Opportunity", "Commercial Lease", "Commercial Sale", "Farm", "Land", "Manufactured In Park",
        "Residential", "Residential Income", "Residential Lease",
    ),
    "PropertySubType": (
        "Agriculture", "Apartment", "Boat Slip", "Business", "Cabin", "Condominium", "Deeded Parking", "Duplex", "Farm",
        "Hotel/Motel", "Industrial", "Manufactured Home", "Manufactured On Land", "Mixed Use", "Mobile Home",
        "Mobile Home Park", "Multi Family", "Office", "Own Your Own", "Quadruplex", "Ranch", "Retail",
        "Single Family Residence", "Stock Cooperative", "Timeshare", "Townhouse", "Triplex", "Unimproved Land",
        "Warehouse",
    ),
    "AssociationFeeFrequency": (
        "Annually", "Bi-Monthly", "Bi-Weekly", "Daily", "Monthly", "One Time", "Quarterly", "Seasonal",
        "Semi-Annually", "Semi-Monthly", "Weekly",
    ),
}  # fmt: skip
"""RESO's values of open enumerations; a value in any spelling of one of these is stored as this one."""


class BadValue(ValueError):
    """The value is none of its kind; the message says why."""


@lru_cache(maxsize=4096)  # of the same few words again and again
def _folded(text: str) -> str:
    """Case, spaces, underscores, hyphens and slashes aside: `ActiveUnderContract`, `ACTIVE_UNDER_CONTRACT`."""
    return re.sub(r"[\s_/-]+", "", text).casefold()


_STATUS_BY_SPELLING = {_folded(value): value for value in STANDARD_STATUS} | {
    "cancelled": "Canceled",  # the British spelling
    "sold": "Closed",  # the same state by RESO's definition
    "leased": "Closed",
    "deleted": "Delete",
}
_KNOWN_BY_SPELLING = {name: {_folded(value): value for value in values} for name, values in KNOWN.items()}


class Context:
    """What normalising one record needs beside the value: the declared zone, and a place for notes."""

    __slots__ = ("field", "notes", "time_zone")

    def __init__(self, time_zone: ZoneInfo | None = None) -> None:
        self.time_zone = time_zone
        self.notes: list[str] = []
        self.field = ""


def normal(field: Field, value: Any, context: Context) -> Any:  # noqa: ANN401 - any JSON value
    """Return the normal form of a field's value, or None when it clears. Raises BadValue."""
    if value is None or value == []:
        return None
    context.field = field.name
    return _NORMAL[field.kind](value, context)


def normal_of(kind: Kind) -> Callable[[Any, Context], Any]:
    """The function behind `normal` for one kind: of anything but null and an empty list, `context.field` being set."""
    return _NORMAL[kind]


def clean_text(value: Any, context: Context) -> str | None:  # noqa: ANN401 - any JSON value
    """NFC, no NUL and no lone surrogates (noted), bare line feeds, no space at the ends. Of a number its plain text."""
    if value.__class__ is str:
        text = value
    elif value is None:
        return None
    elif isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        text = value if isinstance(value, str) else plain(Decimal(value))
    else:
        raise BadValue(f"{_kind_of(value)} where text belongs")
    if not text.isascii() or "\x00" in text:
        text = _storable(text, context)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise BadValue(f"text of {len(text):,} characters; at most {MAX_TEXT:,} are taken")
    return text or None


def _storable(text: str, context: Context) -> str:
    if "\x00" in text:
        text = text.replace("\x00", "")
        context.notes.append(f"NUL removed in {context.field}")
    if _SURROGATES.search(text):
        text = _SURROGATES.sub("", text)
        context.notes.append(f"lone surrogate removed in {context.field}")
    return unicodedata.normalize("NFC", text)


def plain(number: Decimal) -> str:
    """The shortest plain form of a finite number: no exponent, no trailing zeros, no negative zero."""
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(value: Any) -> Decimal | None:  # noqa: ANN401 - any JSON value
    """A finite number of bounded size, from a JSON number or text (`1,650,000`, `$1650000.00`)."""
    if value is None:
        return None
    if isinstance(value, str):
        return _number_of_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadValue(f"{_kind_of(value)} where a number belongs")
    return _bounded(Decimal(value))


def _number_of_text(text: str) -> Decimal | None:
    if not text:
        return None
    bare = text.removeprefix("$").strip()
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    if len(bare) > 40 or not _NUMBER.fullmatch(bare):
        raise BadValue(f"{_shown(text)} is not a number")
    try:
        return _bounded(Decimal(bare))
    except InvalidOperation as error:  # digits of other scripts that Decimal refuses
        raise BadValue(f"{_shown(text)} is not a number") from error


def _bounded(number: Decimal) -> Decimal:
    if not number.is_finite() or number.copy_abs() >= MAX_NUMBER:  # exact; abs() and normalize() round to 28 digits
        raise BadValue("a number out of range")
    if number != number.quantize(_LAST_PLACE):
        raise BadValue(f"a number with more than {MAX_PLACES} decimal places")
    return number


def _usual_number(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """The plain form of a number as most are written; None where more is to be done."""
    if value.__class__ is int and -MAX_NUMBER < value < MAX_NUMBER:
        return str(value)
    if value.__class__ is Decimal and _USUAL_FRACTION.fullmatch(text := str(value)):
        return text.rstrip("0").rstrip(".")
    return None


def _decimal(value: Any, _: Context) -> str | None:  # noqa: ANN401 - any JSON value
    if (usual := _usual_number(value)) is not None:
        return usual
    number = _number(_rounded(value))
    return None if number is None else plain(number)


def _money(value: Any, _: Context) -> str | None:  # noqa: ANN401 - any JSON value
    if (usual := _usual_number(value)) is not None and usual[0] != "-":
        return usual
    number = _number(_without_tail(value))
    if number is not None and number < 0:
        raise BadValue("an amount below zero")
    return None if number is None else plain(number)


def _degrees(limit: int) -> Callable[[Any, Context], str | None]:
    def of(value: Any, _: Context) -> str | None:  # noqa: ANN401 - any JSON value
        if (usual := _usual_number(value)) is not None and abs(float(usual)) < limit:
            return usual
        number = _number(_rounded(value))
        if number is not None and abs(number) > limit:
            raise BadValue(f"not between -{limit} and {limit} degrees")
        return None if number is None else plain(number)

    return of


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Measures come with a binary float's tail (0.14990000000000001); eight places of a degree are a millimetre."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and len(text) <= 40 and _NUMBER.fullmatch(text):
        text = Decimal(text)
    if isinstance(text, Decimal) and text.is_finite() and -40 < text.adjusted() < 15:
        return round(text, MAX_PLACES)
    return value


def _without_tail(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """An amount without a binary float's tail; with any other digit that cannot be kept it stays as it is."""
    rounded = _rounded(value)
    if isinstance(rounded, Decimal) and abs(Decimal(value) - rounded) <= rounded * _TAIL:
        return rounded
    return value


def _integer(value: Any, _: Context) -> int | None:  # noqa: ANN401 - any JSON value
    if type(value) is int and value in INT_RANGE:
        return value
    number = _number(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise BadValue(f"{plain(number)} is not a whole number")
    return _in_range(number)


def _bathrooms(value: Any, context: Context) -> int | str | None:  # noqa: ANN401 - any JSON value
    """MRED writes 1.1 for one full and one half bath: such a value stays as it is, as decimal text."""
    number = _number(value)
    if number is None or number == number.to_integral_value():
        return _integer(value, context)
    return plain(number)


def _in_range(number: Decimal) -> int:
    integer = int(number)
    if integer not in INT_RANGE:
        raise BadValue("a number out of range")
    return integer


def _boolean(value: Any, _: Context) -> bool | None:  # noqa: ANN401 - any JSON value
    if value is None or isinstance(value, bool):
        return value
    word = value.strip().casefold() if isinstance(value, str) else str(value) if isinstance(value, int) else None
    if word == "":
        return None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue(f"{_shown(value)} is neither true nor false")


def _date(value: Any, _: Context) -> str | None:  # noqa: ANN401 - any JSON value
    """ISO dates, the date part of ISO instants as written, and m/d/yyyy as Americans write it."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadValue(f"{_kind_of(value)} where a date belongs")
    text = value.strip()
    if not text:
        return None
    try:
        if us := _US_DATE.fullmatch(text):
            return date(int(us[3]), int(us[1]), int(us[2])).isoformat()
        instant = _INSTANT.fullmatch(text)
        return _iso_date(instant[1] if instant else text)
    except ValueError as error:
        raise BadValue(f"{_shown(text)} is not a date") from error


def _iso_date(text: str) -> str:
    """Extended ISO alone: `date.fromisoformat` also takes week dates and dates without hyphens."""
    if not _ISO_DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text).isoformat()


def _instant(value: Any, context: Context) -> str | None:  # noqa: ANN401 - any JSON value
    instant = instant_of(value, context.time_zone)
    return None if instant is None else instant_text(instant)


def instant_of(value: Any, time_zone: ZoneInfo | None) -> datetime | None:  # noqa: ANN401 - any JSON value
    """Return an aware UTC datetime, to the microsecond; local times are of `time_zone`, the first of a repeated hour.

    Raises BadValue, also for a local time where no zone is declared.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadValue(f"{_kind_of(value)} where a time stamp belongs")
    text = value.strip()
    if not text:
        return None
    match = _INSTANT.fullmatch(text)
    if match is None or not text.isascii():
        raise BadValue(f"{_shown(text)} is not a time stamp")
    day, clock, fraction, offset = match.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{clock}" + (f".{fraction[:6]:0<6}" if fraction else ""))
        return _in_utc(local, offset, time_zone)
    except BadValue:  # a ValueError that says more
        raise
    except (ValueError, OverflowError) as error:
        raise BadValue(f"{_shown(text)} is not a time stamp") from error


def _in_utc(local: datetime, offset: str | None, time_zone: ZoneInfo | None) -> datetime:
    if offset:
        zone = UTC if offset in "Zz" else datetime.strptime(offset, "%z").tzinfo
        return local.replace(tzinfo=zone).astimezone(UTC)
    if time_zone is None:
        raise BadValue("a time stamp without a zone; declare the source's with --time-zone")
    return local.replace(tzinfo=time_zone).astimezone(UTC)


def instant_text(instant: datetime) -> str:
    """UTC with `Z`; a fraction only where there is one, without trailing zeros."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def _postal_code(value: Any, context: Context) -> str | None:  # noqa: ANN401 - any JSON value
    """Text; a number has lost its leading zeros on the way (07030 in New Jersey), so it gets them back."""
    text = clean_text(value, context)
    if text is not None and isinstance(value, int) and len(text) < 5:
        return text.zfill(5)
    return text


def _status(value: Any, context: Context) -> str | None:  # noqa: ANN401 - any JSON value
    text = clean_text(value, context)
    if text is None:
        return None
    found = _STATUS_BY_SPELLING.get(_folded(text))
    if found is None:
        raise BadValue(f"{_shown(text)} is none of RESO's statuses ({', '.join(STANDARD_STATUS)})")
    return found


def _enum(value: Any, context: Context) -> str | None:  # noqa: ANN401 - any JSON value
    """RESO's spaced spelling of a known value; the text itself otherwise. A list of one is that one."""
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    text = clean_text(value, context)
    if text is None:
        return None
    return _KNOWN_BY_SPELLING.get(context.field, {}).get(_folded(text), text)


def _multi(value: Any, context: Context) -> list[str] | None:  # noqa: ANN401 - any JSON value
    """A sorted list without repeats, of a list (an item may hold a comma) or of comma-joined text."""
    items: Iterable[Any]
    if isinstance(value, list):
        usual = _usual_texts(value)
        if usual is not None:
            return usual or None
        items = value
    else:
        text = clean_text(value, context)
        items = text.split(",") if text else ()
    return sorted({text for item in items if (text := clean_text(item, context)) is not None}) or None


def _usual_texts(value: list[Any]) -> list[str] | None:
    """The normal form of a list of short plain texts; None where more is to be done."""
    try:
        joined = "".join(value)
    except TypeError:
        return None
    return list(_sorted_texts(tuple(value))) if len(joined) <= 500 and is_plain_text(joined) else None


@lru_cache(maxsize=4096)  # a source has the same few lists again and again
def _sorted_texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({text for item in texts if (text := item.strip())}))


def _media(value: Any, context: Context) -> list[dict[str, Any]] | None:  # noqa: ANN401 - any JSON value
    """MediaKey, Order and MediaCategory of each item, by Order (those without one last), then by key; no URLs.

    An item without a key is known by its URL without the query, digested; without either it says nothing. Of items
    with the same key the first in that order stands, wherever it was in the list.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, list):
        raise BadValue(f"{_kind_of(value)} where a list of media belongs")
    usual = _usual_media(value)
    if usual is not None:
        return usual
    found: list[dict[str, Any]] = []
    for item in value:
        if not isinstance(item, Mapping):
            raise BadValue(f"{_kind_of(item)} in the list of media")
        normal_item = _media_item(item, context)
        if normal_item is not None:
            found.append(normal_item)
    first: dict[str, dict[str, Any]] = {}
    for one in sorted(found, key=_media_place):
        first.setdefault(one["MediaKey"], one)
    return list(first.values()) or None


def _usual_media(value: list[Any]) -> list[dict[str, Any]] | None:
    """Of media that come in order, each with a key of its own in normal form; None where more is to be done."""
    if set(map(type, value)) != {dict}:
        return None
    try:
        rows = list(map(_MEDIA_MEMBERS, value))
    except KeyError:
        return None
    keys, orders, categories = zip(*rows, strict=True)
    if not are_distinct_normal_texts(keys) or not _are_rising_integers(orders):
        return None
    kinds = set(map(type, categories))
    if kinds == {NoneType}:
        return [{"MediaKey": key, "Order": order} for key, order, _ in rows]
    if kinds != {str} or not are_distinct_normal_texts(tuple(set(categories))):
        return None
    return [{"MediaCategory": category, "MediaKey": key, "Order": order} for key, order, category in rows]


def is_plain_text(text: str) -> bool:
    """Whether `clean_text` would only take white space from its ends."""
    return text.isascii() and text.isprintable() and len(text) <= MAX_TEXT


def _are_rising_integers(values: tuple[Any, ...]) -> bool:
    """Integers that fit, each greater than the one before."""
    if set(map(type, values)) != {int} or values[0] not in INT_RANGE or values[-1] not in INT_RANGE:
        return False
    return all(map(lt, values, values[1:]))


def are_distinct_normal_texts(values: Sequence[Any]) -> bool:
    """Whether `clean_text` would return each as it is, for the usual texts, and each is another one."""
    if set(map(type, values)) != {str} or len({*values, ""}) != len(values) + 1:
        return False
    joined = "".join(values)
    return is_plain_text(joined) and (" " not in joined or [text.strip() for text in values] == [*values])


def _media_place(item: Mapping[str, Any]) -> tuple[bool, int, str, str]:
    order = item.get("Order")
    return order is None, order or 0, item["MediaKey"], item.get("MediaCategory", "")


def _media_item(item: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    key = clean_text(item.get("MediaKey"), context)
    if key is None:
        url = clean_text(item.get("MediaURL"), context)
        if url is None:
            return None
        bare = url.split("?", 1)[0].encode("utf-8", "replace")
        key = "url-" + hashlib.sha256(bare).hexdigest()[:32]
    order = _integer(item.get("Order"), context)
    category = clean_text(item.get("MediaCategory"), context)
    members = {"MediaKey": key, "Order": order, "MediaCategory": category}
    return {name: value for name, value in members.items() if value is not None}


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value as a message may show it: short, printable."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind_of(value: Any) -> str:  # noqa: ANN401 - any JSON value
    names = {bool: "true or false", dict: "an object", list: "a list", str: "text"}
    return names.get(type(value), "a number")


_NORMAL: Mapping[Kind, Callable[[Any, Context], Any]] = {
    Kind.TEXT: clean_text,
    Kind.POSTAL_CODE: _postal_code,
    Kind.ENUM: _enum,
    Kind.STATUS: _status,
    Kind.MULTI: _multi,
    Kind.MONEY: _money,
    Kind.DECIMAL: _decimal,
    Kind.LATITUDE: _degrees(LIMITS[Kind.LATITUDE]),
    Kind.LONGITUDE: _degrees(LIMITS[Kind.LONGITUDE]),
    Kind.INTEGER: _integer,
    Kind.BATHROOMS: _bathrooms,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.INSTANT: _instant,
    Kind.MEDIA: _media,
}
