"""Members of records whose normal form is known by construction, and the field tables they are read by.

A `Piece` is one member as a source writes it (`raw`) beside what it means (`form`), so that nothing has to be
normalised to know what must be stored. A `Table` says which fields are known, of what kind, and where they go; the
variants are what an upgrade of the product could bring. Nothing here is taken from the product's own field table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias

Form: TypeAlias = Any
"""A stored value as JSON has it; None clears the field."""

BAD: Final = object()
"""The form of what no reader takes."""

CLEARED = ("null", '""')


@dataclass(frozen=True, slots=True)
class Piece:
    """One member's value. `photos` are those of media, without what signs and dates them."""

    raw: str
    kind: str
    form: Form
    photos: tuple[str, ...] | None = None

    def as_(self, kind: str) -> Form:
        """The normal form where the table says `kind` of this field."""
        return self.form if kind == self.kind or self.form is BAD else _read_as(kind, self.raw, self.form)

    @property
    def essence(self) -> object:
        """What remains when the noise of media and the order of a list of texts are taken away."""
        return _essence(self.raw) if self.photos is None else self.photos

    @property
    def rewritten(self) -> object:
        """The essence of the same value when it was parsed and written again, cleaned."""
        if self.photos is not None:
            return self.photos
        value = json.loads(self.raw.replace("\\u0000", ""), parse_float=Decimal)
        again = (
            str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )
        return _essence(again)


def _essence(raw: str) -> str:
    value = json.loads(raw)
    texts = isinstance(value, list) and {type(item) for item in value} == {str}
    return json.dumps(sorted(value)) if texts else raw


def _read_as(kind: str, raw: str, form: Form) -> Form:
    if kind == "decimal":  # of an integer
        return None if form is None else str(form)
    value = json.loads(raw)  # as text
    if value == []:
        return None
    if isinstance(value, bool | list | dict):
        return BAD
    return (str(value).strip() if value is not None else "") or None


@dataclass(frozen=True, slots=True)
class Table:
    """What a version of the product knows of fields. Kind `volatile`: masked and not kept."""

    name: str
    kinds: Mapping[str, str]
    types: Mapping[str, str]
    unsynced: frozenset[str]

    def known(self, name: str) -> bool:
        return name in self.kinds

    def volatile(self, name: str) -> bool:
        return self.kinds.get(name) == "volatile"

    def kept(self, name: str) -> bool:
        return self.known(name) and not self.volatile(name)

    def form(self, name: str, piece: Piece) -> Form:
        return piece.as_(self.kinds[name])

    def type_of(self, name: str) -> str:
        return self.types.get(name, "other") if self.known(name) else "other"


TODAY = Table(
    "today",
    kinds={
        "ListingKey": "text",
        "StandardStatus": "status",
        "MlsStatus": "text",
        "ListPrice": "money",
        "ClosePrice": "money",
        "PropertySubType": "enum",
        "City": "text",
        "PostalCode": "postal_code",
        "LivingArea": "decimal",
        "BedroomsTotal": "integer",
        "BathroomsTotalInteger": "bathrooms",
        "WaterfrontYN": "boolean",
        "Cooling": "multi",
        "ListingContractDate": "date",
        "PublicRemarks": "text",
        "PrivateRemarks": "text",
        "Media": "media",
        "ModificationTimestamp": "volatile",
        "StatusChangeTimestamp": "volatile",
        "DaysOnMarket": "volatile",
    },
    types={"StandardStatus": "status", "MlsStatus": "status", "ListPrice": "price"},
    unsynced=frozenset({"PrivateRemarks"}),
)


def _variant(name: str, *, removed: str = "", unsynced: frozenset[str] = TODAY.unsynced, **kinds: str) -> Table:
    known = {n: kind for n, kind in {**TODAY.kinds, **kinds}.items() if n != removed}
    return replace(TODAY, name=name, kinds=known, unsynced=unsynced)


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        TODAY,
        # one field is gone, one is no longer copied to the CRM, one is of another kind
        _variant("smaller", removed="LivingArea", unsynced=TODAY.unsynced | {"PublicRemarks"}, BedroomsTotal="decimal"),
        # a member that was unknown is known, one that was copied has become a clock, an internal one goes to the CRM
        _variant("larger", unsynced=frozenset(), X_Local="text", City="volatile"),
        # lists are no longer taken for Cooling: records that came yesterday are refused
        _variant("stricter", Cooling="text", PropertySubType="text"),
    )
}

_VALUES: Mapping[str, tuple[tuple[Form, tuple[str, ...]], ...]] = {
    "StandardStatus": (
        ("Active", ('"Active"', '"ACTIVE"', '" active "')),
        ("Active Under Contract", ('"Active Under Contract"', '"ActiveUnderContract"', '"ACTIVE_UNDER_CONTRACT"')),
        ("Pending", ('"Pending"', '"pending"')),
        ("Hold", ('"Hold"',)),
        ("Withdrawn", ('"Withdrawn"',)),
        ("Closed", ('"Closed"', '"Sold"')),
        ("Canceled", ('"Canceled"', '"Cancelled"')),
        ("Expired", ('"Expired"',)),
    ),
    "MlsStatus": (("Active", ('"Active"', '" Active"')), ("In Contract", ('"In Contract"',)), ("5", ('"5"', "5"))),
    "ListPrice": (
        ("500000", ("500000", "500000.00", '"500000"', '"$500,000"', "5E5")),
        ("450000.5", ("450000.5", '"450000.50"', '"$450,000.5"')),
        ("1650000", ("1650000", '"1,650,000"', "1.65e6")),
        ("0", ("0", '"0.00"', '"-0"')),
    ),
    "ClosePrice": (("480000", ("480000", '"480,000"')), ("480000.25", ("480000.250",))),
    "PropertySubType": (
        ("Single Family Residence", ('"Single Family Residence"', '"SingleFamilyResidence"')),
        ("Condominium", ('"Condominium"', '["CONDOMINIUM"]')),
        ("Tree House", ('"Tree House"', '" Tree House"')),
    ),
    "City": (
        ("New York", ('"New York"', '"New York "')),
        ("Brooklyn", ('"Brooklyn"',)),
        ("Cañon", ('"Cañon"', '"Can\\u0303on"')),
    ),
    "PostalCode": (("10001", ('"10001"', "10001")), ("07030", ('"07030"', "7030"))),
    "LivingArea": (("1200", ("1200", '"1,200.0"')), ("850.5", ("850.50", '"850.5"'))),
    "BedroomsTotal": ((2, ("2", '"2"', "2.0")), (3, ("3", '"3.0"')), (0, ("0",))),
    "BathroomsTotalInteger": ((2, ("2", '"2.0"')), ("1.1", ("1.1", '"1.10"'))),
    "WaterfrontYN": ((True, ("true", '"Y"', "1")), (False, ("false", '"no"', "0"))),
    "Cooling": (
        (
            ["Central Air", "Ductless"],
            ('["Central Air","Ductless"]', '["Ductless","Central Air"]', '"Ductless, Central Air"'),
        ),
        (["Central Air"], ('["Central Air"]', '"Central Air"', '["Central Air","Central Air"]')),
        (["Window Unit(s)"], ('"Window Unit(s)"',)),
    ),
    "ListingContractDate": (
        ("2026-03-01", ('"2026-03-01"', '"03/01/2026"', '"2026-03-01T23:00:00-05:00"')),
        ("2026-03-02", ('"2026-03-02"', '"3/2/2026"')),
    ),
    "PublicRemarks": (
        ("Sunny.", ('"Sunny."', '" Sunny.\\n"', '"Sun\\u0000ny."')),
        ("Sunny\nand large.", ('"Sunny\\nand large."', '"Sunny\\r\\nand large."')),
        ("Café below 東京", ('"Café below 東京"', '"Cafe\\u0301 below 東京"')),
        ("Löft \U0001f3e0", ('"L\\u00f6ft \\ud83c\\udfe0"', '"Lo\u0308ft \U0001f3e0"')),
    ),
    "PrivateRemarks": (("lockbox 1234", ('"lockbox 1234"',)), ("lockbox 9999", ('"lockbox 9999"', '"lockbox 9999 "'))),
    "X_Local": (("a", ('"a"', '"a "')), ("7", ("7",)), (None, ("null",)), (BAD, ('{"deep":[1,{"b":2}]}', "[true]"))),
    "DaysOnMarket": tuple((None, (raw,)) for raw in ("10", "11", '"soon"', "null")),
    "StatusChangeTimestamp": tuple((None, (raw,)) for raw in ('"2026-01-05T10:00:00Z"', '"whenever"')),
}
ORDINARY = tuple(name for name in _VALUES if name not in {"DaysOnMarket", "StatusChangeTimestamp"})
NOISY = ("DaysOnMarket", "StatusChangeTimestamp")
NAMES = (*ORDINARY, "Media", *NOISY)
_REFUSED: Mapping[str, tuple[str, ...]] = {
    "ListPrice": ('"a lot"', "-1", "[1]", "true", '"1e400"'),
    "StandardStatus": ('"Nonsense"', "{}"),
    "BedroomsTotal": ('"many"',),
    "ListingContractDate": ('"2026-02-30"', "20260301"),
    "WaterfrontYN": ('"perhaps"', "2"),
    "Media": ('"photo.jpg"', "[1]"),
}
_ITEMS: tuple[dict[str, Any], ...] = (
    {"key": "m0", "order": 0},
    {"key": "m1", "order": 1},
    {"key": "m2", "order": None},
    {"key": "m3", "order": 1},
)
_CATEGORIES = (None, "Photo", "Floor Plan")


def plain(name: str, raw: str, form: Form) -> Piece:
    return Piece(raw, _kind(name), form)


def some(rng: Random, name: str) -> Piece:
    """A value of a field, in one of its spellings."""
    if name == "Media":
        return _media(rng, _album(rng))
    form, spellings = rng.choice(_VALUES[name])
    return plain(name, rng.choice(spellings), form)


def empty(rng: Random, name: str) -> Piece:
    """What clears a field."""
    lists = ("[]",) if name in {"Cooling", "Media", "PropertySubType"} else ()
    raw = rng.choice((*CLEARED, *lists))
    return Piece(raw, _kind(name), None)


def refused(rng: Random) -> tuple[str, Piece]:
    """A field with a value that is none of its kind."""
    name = rng.choice(sorted(_REFUSED))
    return name, plain(name, rng.choice(_REFUSED[name]), BAD)


def respelled(rng: Random, name: str, piece: Piece) -> Piece:
    """The same value, written differently where there is another way to write it."""
    if name == "Media":
        return redressed(rng, piece)
    if name not in _VALUES or piece.form is BAD:
        return piece
    ways = [raw for form, raws in _VALUES[name] for raw in raws if piece.raw in raws and form is not None]
    return plain(name, rng.choice(ways), piece.form) if ways else piece


def redressed(rng: Random, piece: Piece) -> Piece:
    """The same photos with other signatures, clocks and places in the list: noise."""
    if not isinstance(piece.form, list):
        return piece
    return _media(rng, [json.loads(photo) for photo in piece.photos or ()])


def _kind(name: str) -> str:
    return TODAY.kinds.get(name, "unknown")


def _album(rng: Random) -> list[dict[str, Any]]:
    chosen = rng.sample(_ITEMS, rng.randint(1, len(_ITEMS)))
    return [
        {**item, "category": rng.choice(_CATEGORIES), "url": f"https://p.test/{rng.randint(0, 1)}.jpg"}
        for item in chosen
    ]


def _media(rng: Random, items: list[dict[str, Any]]) -> Piece:
    """`photos` are the items without signature and clock, in no order; `form` is sorted, without URLs."""
    written = [_item(rng, item) for item in rng.sample(items, len(items))]
    ordered = sorted(items, key=lambda i: (i["order"] is None, i["order"] or 0, i["key"]))
    names = {"MediaKey": "key", "Order": "order", "MediaCategory": "category"}
    form = [{n: item[mine] for n, mine in names.items() if item[mine] is not None} for item in ordered]
    photos = tuple(sorted(json.dumps(item, sort_keys=True) for item in items))
    return Piece(f"[{','.join(written)}]", "media", form, photos)


def _item(rng: Random, item: Mapping[str, Any]) -> str:
    url = item["url"] + rng.choice(("", "?sig=1", "?sig=2&w=640"))
    members = {
        "MediaKey": item["key"],
        "MediaURL": url,
        "MediaModificationTimestamp": f"2026-01-0{rng.randint(1, 9)}T00:00:00Z",
        "Order": item["order"],
        "MediaCategory": item["category"],
    }
    return json.dumps(members, separators=(",", ":"))


def quoted(rng: Random, name: str) -> tuple[str, Form]:
    """A value as text, as a table of a CRM has it."""
    form, spellings = rng.choice([(f, [s for s in ways if s[0] == '"']) for f, ways in _VALUES[name]])
    return (json.loads(rng.choice(spellings)), form) if spellings else ("", None)
