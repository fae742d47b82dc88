"""What every registered source is held to (`sources/base.py`), and that a source that lies does not pass.

A `Place` is the outside of one kind: where the deliveries lie, or who answers. It puts listings there, announces more
than there are, and goes away. Each kind in the registry has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

import orjson
import pytest

from making import a_listing
from mls_crm_sync.core.errors import SourceBroken
from mls_crm_sync.sources import folder
from mls_crm_sync.sources.base import (
    Checkpoint,
    Found,
    NotThere,
    OpenGate,
    Page,
    PassOutcome,
    Reading,
    Source,
    Unknown,
    Wanted,
)
from mls_crm_sync.sources.fake import FakeSettings, FakeSource
from mls_crm_sync.sources.homeharvest.source import HomeHarvestSettings, HomeHarvestSource
from mls_crm_sync.sources.kinds import Kind, Opening
from mls_crm_sync.sources.registry import KINDS
from sources.fault_server import FaultServer
from sources.realtor_site import SAN_DIEGO, RealtorSite, a_home
from sources.serving import in_a_thread

MANY = [f"L{number:04}" for number in range(2500)]
"""More than two pages of a file."""


class Place(Protocol):
    location: str  # the one the tests read

    def opened(self) -> Source: ...

    def put(self, *keys: str, announced: int | None = None) -> None:
        """Put listings at the location, announced as so many."""

    def lose(self) -> None:
        """Let all of it go away: no folder, nobody who answers."""

    def close(self) -> None: ...


class FolderPlace:
    location = "10001"

    def __init__(self, path: Path) -> None:
        self.path = path / "deliveries"
        self.path.mkdir()
        self.file = self.path / "10001.jsonl"
        self.put("L1")

    def opened(self) -> Source:
        return opened(folder.FOLDER, path=str(self.path))

    def put(self, *keys: str, announced: int | None = None) -> None:
        content = b"".join(orjson.dumps(a_listing(key)) + b"\n" for key in keys)
        self.file.write_bytes(content)
        entry = {"file": self.file.name, "records": len(keys) if announced is None else announced}
        manifest = {"deliveries": [entry | {"sha256": hashlib.sha256(content).hexdigest()}]}
        (self.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    def lose(self) -> None:
        shutil.rmtree(self.path)

    def close(self) -> None:
        pass


class FilePlace(FolderPlace):
    location = "*"

    def opened(self) -> Source:
        return opened(folder.FILE, path=str(self.file))


class FakePlace:
    """A service over HTTP, in a thread of its own."""

    location = "10001"

    def __init__(self, _: Path) -> None:
        self._server = FaultServer({}, page_size=1000)
        self._serving = contextlib.ExitStack()
        self._serving.enter_context(in_a_thread(self._server.serving()))
        self.put("L1")

    def opened(self) -> Source:
        settings = FakeSettings(url=self._server.address, page_size=self._server.page_size)
        return FakeSource("fake", settings, None, OpenGate(), sleep=at_once)

    def put(self, *keys: str, announced: int | None = None) -> None:
        self._server.listings = {key: a_listing(key) for key in keys}
        self._server.announced = announced

    def lose(self) -> None:
        self._serving.close()

    def close(self) -> None:
        self._serving.close()


class HomeHarvestPlace:
    """The website, in a thread of its own; the library itself reads it, in its process."""

    location = SAN_DIEGO

    def __init__(self, _: Path) -> None:
        self._site = RealtorSite()
        self._serving = contextlib.ExitStack()
        self._serving.enter_context(self._site.serving_in_a_thread())
        self.put("L1")

    def opened(self) -> Source:
        settings = HomeHarvestSettings(acknowledged=True, endpoint=self._site.endpoint)
        return HomeHarvestSource("homeharvest", settings, None, OpenGate(), sleep=at_once)

    def put(self, *keys: str, announced: int | None = None) -> None:
        self._site.homes = {key: a_home(key) for key in keys}
        self._site.announced = announced

    def lose(self) -> None:
        self._serving.close()

    def close(self) -> None:
        self._serving.close()


async def at_once(_: float) -> None:
    """A sleep of the virtual kind."""


PLACES: dict[str, Callable[[Path], Place]] = {
    "folder": FolderPlace,
    "file": FilePlace,
    "fake": FakePlace,
    "homeharvest": HomeHarvestPlace,
}


def opened(kind: Kind, **settings: Any) -> Source:
    return kind.opens(Opening(kind.name, kind.settings(**settings), None, OpenGate()))


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = PLACES[request.param](tmp_path)
    yield place
    place.close()


@pytest.fixture
async def source(place: Place) -> AsyncIterator[Source]:
    source = place.opened()
    yield source
    await source.close()
    await source.close()  # closing twice is closing once


@contextlib.asynccontextmanager
async def reopened(place: Place) -> AsyncIterator[Source]:
    """Lend the source as another process opens it."""
    source = place.opened()
    try:
        yield source
    finally:
        await source.close()


async def read(reading: Reading) -> tuple[list[Page], SourceBroken | None]:
    """Read to the end, or to what breaks it."""
    assert reading.outcome is None
    pages: list[Page] = []
    try:
        async with aclosing(reading.pages()) as all_pages:
            async for page in all_pages:
                assert reading.outcome is None, "it has ended only when it has ended"
                pages.append(page)
    except SourceBroken as broken:
        return pages, broken
    return pages, None


def keys_of(pages: Sequence[Page]) -> list[str]:
    return [orjson.loads(raw.data)["ListingKey"] for page in pages for raw in page.records]


async def shows_all_it_has(source: Source, place: Place, keys: Sequence[str]) -> None:
    """Hold one reading against the truth of what lies there."""
    reading = source.read(place.location)
    pages, broken = await read(reading)
    assert broken is None
    assert reading.outcome is not None
    assert (reading.outcome.kind, bool(reading.outcome.evidence)) == ("complete", True)
    assert keys_of(pages) == sorted(keys), "each listing once, and all of them"
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert all(raw.data.startswith(b"{") for page in pages for raw in page.records)
    sizes = [page.bytes_read for page in pages]
    assert sizes == sorted(sizes)


async def never_calls_a_part_complete(source: Source, place: Place) -> None:
    place.put(*MANY[:1200], announced=2500)
    reading = source.read(place.location)
    await read(reading)
    assert reading.outcome is not None
    assert reading.outcome.kind != "complete", "half of what was announced is not all"
    assert reading.outcome.evidence


def test_every_registered_kind_has_a_place() -> None:
    assert PLACES.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.title


async def test_says_how_it_reads_and_what_it_can_list(source: Source, place: Place) -> None:
    assert source.reads in {"location", "feed"}
    listed = await source.locations()
    assert listed is None or list(listed) == sorted(listed)
    assert listed is None or place.location in listed
    if source.reads == "feed":
        assert listed == ["*"]


async def test_check_tells_a_source_that_is_there_from_one_that_is_not(source: Source, place: Place) -> None:
    assert (await source.check()).ok
    place.lose()
    found = await source.check()
    assert not found.ok
    assert found.detail, "it says what to do"


@pytest.mark.parametrize("number", [0, 1, 1000, 2500])
async def test_complete_pass_shows_all_that_is_there(source: Source, place: Place, number: int) -> None:
    place.put(*MANY[:number])
    if number == 0:
        pages, _ = await read(reading := source.read(place.location))
        assert keys_of(pages) == []
        assert reading.outcome is not None
        return
    await shows_all_it_has(source, place, MANY[:number])


async def test_part_of_a_delivery_is_never_complete(source: Source, place: Place) -> None:
    await never_calls_a_part_complete(source, place)


async def test_pass_goes_on_behind_each_of_its_pages_and_knows_what_it_has_seen(source: Source, place: Place) -> None:
    place.put(*MANY)
    pages, _ = await read(source.read(place.location))
    assert len(pages) > 1
    for number, page in enumerate(pages, start=1):
        checkpoint: Checkpoint = orjson.loads(orjson.dumps(dict(page.checkpoint)))  # as the database keeps it
        async with reopened(place) as another:
            rest, broken = await read(reading := another.read(place.location, checkpoint))
        assert broken is None
        assert sorted(keys_of(pages[:number]) + keys_of(rest)) == MANY
        assert reading.outcome is not None
        assert reading.outcome.kind == "complete"


async def test_resumed_pass_over_something_else_is_not_complete(source: Source, place: Place) -> None:
    place.put(*MANY)
    pages, _ = await read(source.read(place.location))
    place.put(*MANY[:1100])
    async with reopened(place) as another:
        await read(reading := another.read(place.location, pages[0].checkpoint))
    assert reading.outcome is not None
    assert reading.outcome.kind != "complete"


async def test_pass_that_was_left_early_has_no_proof(source: Source, place: Place) -> None:
    place.put(*MANY)
    reading = source.read(place.location)
    async with aclosing(reading.pages()) as pages:
        await anext(pages)
    assert reading.outcome is None or reading.outcome.kind != "complete"


async def test_what_is_not_known_is_never_an_empty_complete_pass(source: Source, place: Place) -> None:
    place.lose()
    reading = source.read(place.location)
    pages, broken = await read(reading)
    assert keys_of(pages) == []
    assert broken is not None
    assert broken.hint
    assert reading.outcome is not None
    assert reading.outcome == PassOutcome(broken.outcome, broken.detail)


async def test_looks_up_each_key_it_is_asked_for(source: Source, place: Place) -> None:
    place.put(*MANY)
    answers = await source.look_up([Wanted("L0007"), Wanted("L2400"), Wanted("nobody's")])
    assert answers.keys() == {"L0007", "L2400", "nobody's"}
    there = [answers["L0007"], answers["L2400"]]
    if source.looks_up == "never":
        assert all(isinstance(answer, Unknown) for answer in answers.values())
        return
    for key, answer in zip(("L0007", "L2400"), there, strict=True):
        assert isinstance(answer, Found)
        assert orjson.loads(answer.record.data)["ListingKey"] == key
    proof = NotThere if source.looks_up == "directly" else Unknown
    assert isinstance(answers["nobody's"], proof)


async def test_look_up_of_a_source_that_is_away_is_unknown(source: Source, place: Place) -> None:
    place.lose()
    assert isinstance((await source.look_up([Wanted("L1")]))["L1"], Unknown)
    assert await source.look_up([]) == {}


async def test_same_delivery_is_known_again_and_another_is_not(source: Source, place: Place) -> None:
    place.put(*MANY[:3])
    once = await asyncio.to_thread(lambda: source.read(place.location).delivery)
    async with reopened(place) as another:
        again = await asyncio.to_thread(lambda: another.read(place.location).delivery)
    place.put(*MANY[:4])
    other = await asyncio.to_thread(lambda: source.read(place.location).delivery)
    assert once == again
    assert other is None or other != once


async def test_two_readings_at_once_do_not_mix(source: Source, place: Place) -> None:
    place.put(*MANY)
    both = await asyncio.gather(*(read(source.read(place.location)) for _ in range(2)))
    assert [keys_of(pages) for pages, _ in both] == [MANY, MANY]


# -- a source that lies ----------------------------------------------------------------------------------------------


class LyingReading(folder.FolderReading):
    """Says after half of its pages that they were all."""

    async def pages(self) -> AsyncGenerator[Page, None]:
        shown = [page async for page in super().pages()]
        self.outcome = None
        for page in shown[: max(1, len(shown) // 2)]:
            yield page
        self.outcome = PassOutcome("complete", "all of it, believe me")


class LyingSource(folder.FolderSource):
    def read(self, location: str, checkpoint: Checkpoint | None = None) -> LyingReading:
        return LyingReading(self, location, checkpoint)


async def test_source_that_claims_complete_after_half_is_found_out(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    liar = LyingSource(folder.FolderSettings(path=str(place.path)))
    place.put(*MANY)
    with pytest.raises(AssertionError, match="all of them"):
        await shows_all_it_has(liar, place, MANY)
    with pytest.raises(AssertionError, match="half of what was announced"):
        await never_calls_a_part_complete(liar, place)


# -- what is special to folders ---------------------------------------------------------------------------------------


def a_delivery(path: Path, name: str, *keys: str, written: int = 0) -> None:
    (path / name).write_bytes(b"".join(orjson.dumps(a_listing(key)) + b"\n" for key in keys))
    os.utime(path / name, (1_800_000_000 + written,) * 2)


async def test_newest_delivery_of_each_location_is_read(tmp_path: Path) -> None:
    a_delivery(tmp_path, "11216@2026-11-25.jsonl", "old", written=9)
    a_delivery(tmp_path, "11216@2026-11-26.jsonl", "new", written=1)
    a_delivery(tmp_path, "Brooklyn, NY.jsonl", "first", written=1)
    a_delivery(tmp_path, "Brooklyn, NY@2.jsonl", "second", written=2)
    a_delivery(tmp_path, "St. Louis, MO.jsonl", "dotted")
    a_delivery(tmp_path, "11217.jsonl.part", "unfinished")
    a_delivery(tmp_path, ".11218.jsonl", "hidden")
    a_delivery(tmp_path, "README.txt", "no delivery")
    source = opened(folder.FOLDER, path=str(tmp_path))

    assert await source.locations() == ["11216", "Brooklyn, NY", "St. Louis, MO"]
    shown = {place: keys_of((await read(source.read(place)))[0]) for place in await source.locations() or ()}
    assert shown == {"11216": ["new"], "Brooklyn, NY": ["second"], "St. Louis, MO": ["dotted"]}


async def outcome_of(tmp_path: Path) -> PassOutcome:
    reading = opened(folder.FOLDER, path=str(tmp_path)).read("1")
    await read(reading)
    assert reading.outcome is not None
    return reading.outcome


def manifest(path: Path, *entries: dict[str, Any]) -> None:
    (path / "manifest.json").write_text(json.dumps({"deliveries": entries}), encoding="utf-8")


async def test_only_a_manifest_that_agrees_proves_that_a_file_is_whole(tmp_path: Path) -> None:
    a_delivery(tmp_path, "1.jsonl", "A", "B")
    assert (await outcome_of(tmp_path)).kind == "unproven", "nobody has said so"
    manifest(tmp_path, {"file": "2.jsonl", "records": 2})
    assert (await outcome_of(tmp_path)).kind == "unproven", "it speaks of another file"
    manifest(tmp_path, {"file": "1.jsonl", "records": 3})
    assert await outcome_of(tmp_path) == PassOutcome("partial", "manifest.json announces 3 records, the file has 2")
    manifest(tmp_path, {"file": "1.jsonl", "records": 2, "sha256": "0" * 64})
    assert (await outcome_of(tmp_path)).kind == "partial", "it speaks of other bytes"
    manifest(tmp_path, {"file": "1.jsonl", "records": 2})
    assert (await outcome_of(tmp_path)).kind == "complete"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"deliveries": [{"file": "1.jsonl"}]}', '{"deliveries": [{"file": "1.jsonl", "records": "2"}]}',
     '{"deliveries": [{"file": "1.jsonl", "records": 2}, {"file": "1.jsonl", "records": 2}]}'],
)  # fmt: skip
async def test_manifest_that_cannot_be_read_stops_the_pass_and_says_what_to_do(tmp_path: Path, content: str) -> None:
    a_delivery(tmp_path, "1.jsonl", "A", "B")
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    source = opened(folder.FOLDER, path=str(tmp_path))

    _, broken = await read(source.read("1"))

    assert broken is not None
    assert broken.reason == "bad_manifest"
    assert "docs/sources.md" in (broken.hint or "")
    assert not (await source.check()).ok


async def test_file_that_is_replaced_while_it_is_read_proves_nothing(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    place.put(*MANY)
    reading = place.opened().read(place.location)
    async with aclosing(reading.pages()) as pages:
        await anext(pages)
        aside = place.path / ".new"
        aside.write_bytes(place.file.read_bytes())
        aside.rename(place.file)
        async for _ in pages:
            pass
    assert reading.outcome == PassOutcome("unproven", "the file was changed while it was read")


async def test_same_bytes_that_their_sender_dates_anew_are_a_new_delivery(tmp_path: Path) -> None:
    a_delivery(tmp_path, "1.jsonl", "A")
    source = opened(folder.FOLDER, path=str(tmp_path))
    told = set()
    for day in (25, 26):
        manifest(tmp_path, {"file": "1.jsonl", "records": 1, "delivered_at": f"2026-11-{day}T06:00:00Z"})
        told.add(source.read("1").delivery)
    assert len(told) == 2
