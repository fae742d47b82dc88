"""The digest of raw bytes: noise of media does not count, everything else does, whatever stands in a text."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from mls_crm_sync.core.cutting import Around, Cutter
from mls_crm_sync.core.hashing import PATIENCE, STRANGERS, UNTOLD, Recogniser, Sighting, payload_digest
from mls_crm_sync.core.splitting import MAX_MEMBERS, Split, Splitter

VOLATILE = ("DaysOnMarket",)
RECOGNISER = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
TEXTS = st.text(st.sampled_from('?&=",:{}[]\\ aé'), max_size=8)


def digest(media: list[dict[str, Any]]) -> bytes:
    sighting = RECOGNISER.sight(orjson.dumps({"ListingKey": "A", "Media": media}))
    assert sighting is not None
    return sighting.says()


@st.composite
def albums(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Photos as sources write them, with every kind of character in their texts."""
    count = draw(st.integers(1, 4))
    signed = draw(st.booleans())
    captions = draw(st.lists(TEXTS, min_size=count, max_size=count))
    before = draw(st.booleans())  # the caption stands before the URL, or after it
    photos = []
    for n, caption in enumerate(captions):
        url = f"https://p.test/{n}.jpg" + ("?sig=1" if signed else "")
        members = [("MediaKey", f"k{n}"), ("LongDescription", caption), ("MediaURL", url), ("Order", n)]
        photos.append(dict(members if before else reversed(members)))
    return photos


@given(albums(), st.text("?&=abc123", max_size=6), st.randoms(use_true_random=False))
def test_signature_and_order_of_photos_do_not_count(
    album: list[dict[str, Any]], query: str, rng: random.Random
) -> None:
    assume(not any("}" in photo["LongDescription"] for photo in album))  # told by what it says, not by its bytes
    again = [photo | {"MediaURL": photo["MediaURL"].split("?")[0] + f"?{query}"} for photo in album]
    rng.shuffle(again)

    assert digest(again) == digest(album)


@given(albums(), TEXTS, st.integers(0, 3))
def test_every_other_text_of_a_photo_counts(album: list[dict[str, Any]], caption: str, which: int) -> None:
    photo = album[which % len(album)]
    other = [p | {"LongDescription": caption} if p is photo else p for p in album]

    assert (digest(other) == digest(album)) == (caption == photo["LongDescription"])


@pytest.mark.parametrize("member", ["MediaKey", "MediaCategory", "LongDescription", "MediaHTML"])
def test_question_mark_elsewhere_is_no_query(member: str) -> None:
    photos = [{"MediaKey": "k", "MediaURL": "https://p.test/1.jpg?sig=1", "Order": 1} | {member: "sold? no"}]
    changed = [photos[0] | {member: "sold? yes"}]

    assert digest(photos) != digest(changed)
    assert payload_digest(orjson.dumps({"Media": photos}), VOLATILE) != payload_digest(
        orjson.dumps({"Media": changed}), VOLATILE
    )


INTEGERS = st.integers(-(2**63), 2**63 - 1)  # as orjson writes them
MEMBERS = st.dictionaries(
    st.sampled_from(["City", "ListPrice", "Latitude", "Cooling", "X_Local", "X_Deep", "DaysOnMarket"]),
    st.one_of(
        st.none(),
        st.booleans(),
        INTEGERS,
        st.integers(-(10**6), 10**6).map(lambda thousandths: thousandths / 1000),
        TEXTS,
        st.lists(st.one_of(TEXTS, INTEGERS), max_size=3),
        st.lists(st.lists(TEXTS, max_size=2), max_size=2),
        st.dictionaries(TEXTS, INTEGERS, max_size=2),
    ),
)


@given(st.lists(MEMBERS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_came_before_changes_no_digest(records: list[dict[str, Any]], rng: random.Random) -> None:
    """The splitter is compiled for the members that were seen so far; that must not show. Nor does the order of members
    in what is said.
    """
    experienced = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
    for members in records:
        shuffled = dict(rng.sample(list(members.items()), len(members)))
        first = Recogniser(source="test-mls", version="1", volatile=VOLATILE).split(as_record(shuffled))
        again = experienced.split(as_record(shuffled))
        by_a_glance = experienced.sight(as_record(shuffled))

        assert first is not None
        assert again is not None
        assert by_a_glance is not None
        exactly = by_a_glance.exactly()
        assert exactly is not None
        assert exactly[0] == again[0]
        assert replace(again[0], recogniser=first[0].recogniser) == first[0]
        assert again[0].says() == first[0].says() == payload_digest(as_record(members), VOLATILE)


NESTED = st.recursive(
    st.sampled_from([1, 12, 2, "1", '"DaysOnMarket":1', None]),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["DaysOnMarket", "Fetched", 'x"DaysOnMarket']), inner, max_size=2),
        st.lists(inner, max_size=2),
    ),
    max_leaves=4,
)
PEDIGREES = st.dictionaries(st.sampled_from(["A", "DaysOnMarket", "Fetched", "Z"]), NESTED)


@given(st.lists(PEDIGREES, min_size=2, max_size=5), st.randoms(use_true_random=False), st.booleans())
def test_what_has_the_same_digest_says_the_same_in_all_that_counts(
    records: list[dict[str, Any]],
    rng: random.Random,
    spaced: bool,  # noqa: FBT001 - hypothesis gives it by place
) -> None:
    """Wherever else a volatile member's name and value may stand, and whatever was read before."""
    volatile = ("DaysOnMarket", "Fetched")
    recogniser = Recogniser(source="test-mls", version="1", volatile=volatile)
    counted: dict[bytes, dict[str, Any]] = {}
    stored = Remembered(set())
    shuffled = [dict(rng.sample(list(record.items()), len(record))) for record in records]
    for record in shuffled + [one for r in shuffled for _ in range(8) if isinstance(one := moved(r, rng), dict)]:
        text = json.dumps(record, separators=(", ", ": ") if spaced else (",", ":"))
        data = f'{{"ListingKey":"A"{"," if record else ""}{text[1:]}'.encode()
        guessed = recogniser.sight(data, stored)
        sighting, split = recogniser.sight(data), recogniser.split(data)
        assert guessed is not None
        assert sighting is not None
        assert split is not None
        said = {name: value for name, value in record.items() if name not in volatile}
        for digest in (guessed.digest, sighting.digest, split[0].digest):
            assert counted.setdefault(digest, said) == said
        stored.digests |= {sighting.digest, split[0].digest}


def moved(value: Any, rng: random.Random) -> Any:
    """The same with one of its parts changed, at some depth."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice([1, 12, 2])
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [moved(v, rng) if n == at else v for n, v in enumerate(value)]
    at = rng.choice(list(value))
    return {name: moved(v, rng) if name == at else v for name, v in value.items()}


@given(MEMBERS, MEMBERS)
def test_what_says_the_same_is_the_same_but_for_noise(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (payload_digest(as_record(members), VOLATILE) for members in (one, other))

    assert (first == second) == (without_noise(one) == without_noise(other))


def as_record(members: dict[str, Any]) -> bytes:
    return orjson.dumps({"ListingKey": "A"} | members)


def without_noise(members: dict[str, Any]) -> dict[str, bytes]:
    """What counts, as bytes: True is not 1 here, and 1.0 is not 1."""
    said = {n: v for n, v in members.items() if n not in VOLATILE}
    for name, value in said.items():
        if (
            isinstance(value, list)
            and set(map(type, value)) == {str}
            and not any(set(t) & set('\\"{}[]') for t in value)
        ):
            said[name] = sorted(value)
    return {name: orjson.dumps(value) for name, value in said.items()}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("39.1234", "39.123400000000001", True),  # the tail of a binary float
        ("39.1234", "39.12341", False),
        ("100.0", "100.000000001", True),
        ("-0.5", "-0.50000000000000011", True),
        ("0.5", "0.50000001", False),
        ('"1.000000001"', '"1.0"', False),  # text is no number
        ('["a","b"]', '["b","a"]', True),
        ('["a,b","c,d"]', '["a,d","c,b"]', False),
        ('["x\\",","y"]', '["y","x\\","]', False),  # an escape may hide a quote: told by what is parsed
        ('[["a","b"],"c"]', '[["b","a"],"c"]', False),
        ('["a","b"]', '["a","b","b"]', False),
        ("null", '""', False),
        ("1", '"1"', False),
    ],
)
def test_what_a_value_says(one: str, other: str, *, same: bool) -> None:
    first, second = (payload_digest(f'{{"X_Any":{text}}}'.encode(), VOLATILE) for text in (one, other))

    assert (first == second) == same


def test_names_of_members_count_and_cannot_be_taken_for_values() -> None:
    records = [
        b'{"ListingKey":"A","City":"x"}',
        b'{"ListingKey":"A","PostalCity":"x"}',
        b'{"ListingKey":"A","City":null}',
        b'{"ListingKey":"A"}',
        b'{"ListingKey":"A","City":"x","Media":null}',
        b'{"ListingKey":"A","City":"x","Media":[]}',
    ]
    sightings = [RECOGNISER.sight(record) for record in records]

    assert len({s.digest for s in sightings if s}) == len({s.says() for s in sightings if s}) == len(records)


@pytest.mark.parametrize(
    "record",
    [
        b"[]",
        b"{}",
        b'{"ListingKey":7}',
        b'{"ListingKey":7001}',
        b'{"ListingKey":"a key"}',
        b'{"ListingKey":"A"',
        b'{"ListingKey":"A","City":"\x1f"}',
        b'{"ListingKey":"A","ModificationTimestamp":"yesterday"}',
        b'{"ListingKey":"A","ModificationTimestamp":"2024-06-01T08:00:00"}',
        b'{"ListingKey":"A","ModificationTimestamp":"2024-06-31T08:00:00Z"}',
    ],
)
def test_what_bytes_alone_cannot_tell_is_left_to_the_parser(record: bytes) -> None:
    assert RECOGNISER.sight(record) is None


@pytest.mark.parametrize("name", ['"', "\\", "", "é", "a,b", "\ud800", "m0"])
def test_strange_names_of_members_stop_nobody(name: str) -> None:
    recogniser = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
    strange = json.dumps({"ListingKey": "A", name: 1}).encode()
    recogniser.sight(strange)

    usual, again = recogniser.sight(b'{"ListingKey":"A","City":"x"}'), recogniser.sight(strange)
    other = recogniser.sight(json.dumps({"ListingKey": "A", name: 2}).encode())

    assert usual is not None
    assert again is None or (other is not None and again.digest != other.digest)


def test_clocks_are_read_in_utc_and_in_the_declared_zone() -> None:
    here = Recogniser(source="s", version="1", volatile=VOLATILE, time_zone=ZoneInfo("America/New_York"))
    record = '{"ListingKey":"A","ModificationTimestamp":"%s"}'
    seen = [
        here.sight((record % text).encode())
        for text in ("2024-06-01T08:00:00", "2024-06-01T12:00:00Z", "2024-06-01 14:00:00.000+02:00")
    ]

    assert {s and s.modified_at for s in seen} == {datetime(2024, 6, 1, 12, tzinfo=UTC)}
    assert {s and s.modified_at and s.modified_at.tzinfo for s in seen} == {UTC}


class Remembered:
    """What is stored, by its digests."""

    def __init__(self, digests: set[bytes]) -> None:
        self.digests = digests

    def holds(self, one: Sighting) -> bool:
        return one.digest in self.digests

    def holds_what_it_says(self, one: Sighting, said: bytes) -> bool:
        del one, said
        return False


class Watched:
    """A recogniser that counts the records it splits and those it takes a glance at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recogniser = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
        self.splits = self.glances = 0
        split, guess = Splitter.split, Cutter.guess

        def counted_split(this: Splitter, data: bytes) -> Split:
            self.splits += 1
            return split(this, data)

        def counted_guess(this: Cutter, data: bytes) -> Around | None:
            self.glances += 1
            return guess(this, data)

        monkeypatch.setattr(Splitter, "split", counted_split)
        monkeypatch.setattr(Cutter, "guess", counted_guess)

    def counts(self, records: Iterable[bytes], stored: Stored) -> tuple[int, int]:
        self.splits = self.glances = 0
        sightings = [self.recogniser.sight(record, stored) for record in records]
        assert all(one is not None and (one.said is None) is stored.so for one in sightings)
        return self.splits, self.glances


class Stored:
    def __init__(self, *, so: bool) -> None:
        self.so = so

    def holds(self, one: Sighting) -> bool:
        return self.so and one.digest != UNTOLD

    def holds_what_it_says(self, one: Sighting, said: bytes) -> bool:
        del one, said
        return False


USUAL = [b'{"ListingKey":"K%d","City":"x","DaysOnMarket":%d}' % (n, n) for n in range(100)]
REVERSED = [b'{"DaysOnMarket":%d,"City":"x","ListingKey":"K%d"}' % (n, n) for n in range(100)]


def test_known_records_are_told_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)

    assert watched.counts(USUAL, Stored(so=True)) == (1, 99)
    assert watched.counts(REVERSED, Stored(so=True)) == (STRANGERS, 100 - STRANGERS)
    assert watched.counts([USUAL[0], REVERSED[0]] * 50, Stored(so=True)) == (50, 50)


def test_source_of_which_nothing_is_known_is_seldom_given_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)

    splits, glances = watched.counts(USUAL, Stored(so=False))

    assert splits == 100
    assert glances == PATIENCE + (99 - PATIENCE) // PATIENCE
    assert watched.counts(USUAL, Stored(so=True))[1] > 100 - 2 * PATIENCE


GUESSED = '{"ListingKey":"A","DaysOnMarket":%s,"X":{"DaysOnMarket":%s},"Y":1}'


def guessed_as_stored(record: bytes, *stored: bytes) -> bool:
    """Whether a record is taken for one that is stored, by a recogniser that has read those before."""
    recogniser = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
    digests: set[bytes] = set()
    for one in stored:
        split, seen = recogniser.split(one), recogniser.sight(one)  # the first time it is split, then looked at
        assert split is not None
        assert seen is not None
        digests |= {split[0].digest, seen.digest}
    told = recogniser.sight(record, Remembered(digests))
    return told is not None and told.said is None


def guessed_around(days: str) -> bytes | None:
    """What a record is guessed to be around its volatile member, after another one was looked at."""
    cutter = Cutter(["DaysOnMarket", "ModificationTimestamp"], "ModificationTimestamp")
    assert cutter.look((GUESSED % (1, 3)).encode()) is not None
    around = cutter.guess((GUESSED % (days, 3)).encode("latin-1"))
    return None if around is None else b"".join(around.rest)


@pytest.mark.parametrize("days", ["7", "123456", "-0.5e3", "null", "true", '"7 days"', '""'])
def test_any_scalar_of_a_volatile_member_is_guessed(days: str) -> None:
    assert guessed_around(days) == (GUESSED % ("\x1f", 3)).encode()


@pytest.mark.parametrize(
    "days",
    ["07", "1-2", "1.", "+1", "nul", "NaN", '"a\nb"', '"a', '"\x01"', '"\xc3"', "{}", "[1]", "1,1", '1,"B":2', ""],
)
def test_what_is_no_plain_scalar_is_not_guessed(days: str) -> None:
    assert guessed_around(days) != (GUESSED % ("\x1f", 3)).encode()


def test_nested_member_of_a_volatile_name_is_not_guessed_away() -> None:
    """Neither where it says what the volatile one says, nor where that is the last of its record."""
    first = '{"ListingKey":"A","X":{"DaysOnMarket":%d},"DaysOnMarket":5,"Y":1}'
    same, last = GUESSED % (5, 5), '{"ListingKey":"A","X":{"DaysOnMarket":5},"DaysOnMarket":5}'

    assert not guessed_as_stored((first % 6).encode(), (first % 5).encode())
    assert not guessed_as_stored((GUESSED % (5, 6)).encode(), same.encode())
    assert not guessed_as_stored((GUESSED % (6, 6)).encode(), same.encode())
    assert not guessed_as_stored(last.replace('{"DaysOnMarket":5}', '{"DaysOnMarket":6}').encode(), last.encode())
    assert guessed_as_stored((last[:-2] + "6}").encode(), last.encode())


@pytest.mark.parametrize(
    "record",
    [
        b'{"ListingKey":"A","DaysOnMarket":5,"x\\"DaysOnMarket":5}',
        b'{"ListingKey":"A","DaysOnMarket":5,"X":{"x\\"DaysOnMarket":5}}',
        b'{"ListingKey":"A","X":[{"DaysOnMarket":5}],"DaysOnMarket":5,"Y":1}',
        b'{"ListingKey":"A","DaysOnMarket":5,"X":{"DaysOnMarket":55}}',
        b'{"ListingKey":"A","X":{"ModificationTimestamp":"5","Y":1},"DaysOnMarket":5,"ModificationTimestamp":"5","Z":1}',
    ],
)
def test_nobody_tells_around_a_member_whose_text_stands_twice(record: bytes) -> None:
    cutter = Cutter(["DaysOnMarket", "ModificationTimestamp"], "ModificationTimestamp")
    assert cutter.look(b'{"ListingKey":"A","DaysOnMarket":5}') is not None

    assert cutter.look(record) is None


def test_members_side_by_side_are_told_whether_they_stood_so_before_or_not() -> None:
    record = b'{"ListingKey":"A","X":{"V":"1"},"V":"1","W":2,"Z":0}'
    cutters = [Cutter(["V", "W"], "V") for _ in range(2)]
    assert cutters[1].look(b'{"ListingKey":"A","V":"1","Y":0,"W":2}') is not None

    told = [cutter.look(record) for cutter in cutters]

    around = b'{"ListingKey":"A","X":{"V":"1"},"V":\x1f,"W":\x1f,"Z":0}'
    assert [one and b"".join(one.rest) for one in told] == [around, around]


def test_volatile_members_are_guessed_wherever_they_have_moved() -> None:
    """And cut in the order in which they stand, whatever that was before."""
    cutter = Cutter(["V", "W"], "V")
    first, other = b'{"ListingKey":"A","V":"1","Y":0,"W":2}', b'{"ListingKey":"A","W":3,"Y":0,"V":"4","Z":1}'
    far = b'{"ListingKey":"A","V":"5","Y":0,"W":67,"Z":"%b"}' % (b"z" * 1000)
    looked = [cutter.look(first), cutter.look(other), cutter.look(first)]
    assert [one and b"".join(one.rest) for one in looked] == [
        b'{"ListingKey":"A","V":\x1f,"Y":0,"W":\x1f}',
        b'{"ListingKey":"A","W":\x1f,"Y":0,"V":\x1f,"Z":1}',
        b'{"ListingKey":"A","V":\x1f,"Y":0,"W":\x1f}',
    ]

    around = cutter.guess(far)

    assert around is not None
    assert (around.key, around.clock) == (b'"A"', b'"5"')
    assert b"".join(around.rest) == b'{"ListingKey":"A","V":\x1f,"Y":0,"W":\x1f,"Z":"%b"}' % (b"z" * 1000)


def test_guessed_key_that_is_a_nested_one_tells_nothing() -> None:
    nested = b'{"A":{"ListingKey":"B"},"ListingKey":"C","DaysOnMarket":%d}'
    recogniser = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
    stored = [recogniser.split(nested % 1), recogniser.sight(nested % 1), recogniser.sight(nested % 1)]
    assert {one and (one if isinstance(one, Sighting) else one[0]).source_key for one in stored} == {"C"}

    class OfItsListing(Remembered):
        def holds(self, one: Sighting) -> bool:
            return one.source_key == "C" and super().holds(one)

    told = recogniser.sight(nested % 2, OfItsListing({one.digest for one in stored if isinstance(one, Sighting)}))

    assert told is not None
    assert told.source_key == "C"


def test_record_without_a_key_is_parsed_whatever_it_begins_with() -> None:
    recogniser = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
    assert recogniser.sight(REVERSED[0]) == recogniser.sight(REVERSED[0])

    assert recogniser.sight(b'{"DaysOnMarket":1,"City":"x"}') is None


@given(st.integers(0, len(USUAL[7]) - 1), st.binary(max_size=2))
def test_damaged_record_is_told_or_parsed_and_ends_nothing(at: int, damage: bytes) -> None:
    recogniser = Recogniser(source="test-mls", version="1", volatile=VOLATILE)
    for record in USUAL[:3]:
        recogniser.sight(record)

    sighting = recogniser.sight(USUAL[7][:at] + damage + USUAL[7][at + 1 :])

    assert sighting is None or sighting.says() == payload_digest(sighting.data, VOLATILE)


def test_values_are_cut_in_the_order_in_which_they_stand() -> None:
    """Where one stood in the record before there is the same text in this one, inside of a member that counts."""
    record = b'{"ListingKey":"A","X":{"W":2},"V":1,"Y":0,"W":2}'
    tail = len(record) - record.index(b'"W":2') - len(b'"W":2')
    before = b'{"ListingKey":"A","V":1,"Y":0,"W":2' + b',"Z":"%b"}' % (b"z" * (tail - len(b',"Z":""}')))
    cutter = Cutter(["V", "W"], "V")
    assert cutter.look(before) is not None

    around = cutter.look(record)

    assert around is not None
    assert b"".join(around.rest) == b'{"ListingKey":"A","X":{"W":2},"V":\x1f,"Y":0,"W":\x1f}'


@pytest.mark.parametrize(
    ("number", "rounded"),
    [
        (b"1.123456775", b"1.12345678"),
        (b"1.123456785", b"1.12345678"),
        (b"1.1234567749", b"1.12345677"),
        (b"-0.300000000004", b"-0.3"),
        (b"0.000000000004", b"0.0"),
        (b"2.999999999996", b"3.0"),
    ],
)
def test_tail_of_a_float_is_rounded_to_even(number: bytes, rounded: bytes) -> None:
    records = [b'{"ListingKey":"A","X_Size":%b,"X_Other":7}' % text for text in (number, rounded)]

    assert payload_digest(records[0], VOLATILE) == payload_digest(records[1], VOLATILE)


def test_number_that_no_arithmetic_can_round_is_told_by_its_spelling() -> None:
    digits = [b"9" * 20 + b"." + b"9" * 9, b"9" * 20 + b"." + b"9" * 10]
    says = [payload_digest(b'{"ListingKey":"A","X_Size":%b}' % number, VOLATILE) for number in digits]

    assert says[0] != says[1]


def test_source_with_ever_new_members_is_read_all_the_same() -> None:
    recogniser = Recogniser(source="s", version="1", volatile=VOLATILE)
    for n in range(50):
        names = {f"X_{n * 60 + i}": i for i in range(60)}  # more than MAX_MEMBERS between them
        assert recogniser.sight(orjson.dumps({"ListingKey": "A"} | names)) is not None
    assert MAX_MEMBERS < 50 * 60
    first, again = (recogniser.sight(orjson.dumps({"ListingKey": "A", "X_1": 2, "Y": n})) for n in (1, 1))

    assert first is not None
    assert again is not None
    assert replace(again, data=first.data, recogniser=first.recogniser) == first
    assert again.says() == first.says()
