"""Setting sources up: what is refused, what is sealed, which one is the default, and what a removed one leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from making import a_crm, a_link, a_listing, id_of
from mls_crm_sync.core.errors import InvalidInput, SecretSealed, SetupError, SourceExists, SourceNotFound
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.sources import registry
from mls_crm_sync.sources.folder import FolderSource
from mls_crm_sync.sources.kinds import Kind, Opening, Settings
from mls_crm_sync.store.database import Connection, Database
from mls_crm_sync.sync import passes, sources
from mls_crm_sync.sync.sealing import Sealer, new_key
from sources.fault_server import FaultServer

SECRET = "s3cr3t-canary"  # noqa: S105 # looked for where it must not be


class TokenSettings(Settings):
    url: str = Field(min_length=1)
    pages: int = 10


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    """What a kind of the test's own is opened with; it takes a secret."""
    openings: list[Opening] = []

    def opens(opening: Opening) -> FolderSource:
        openings.append(opening)
        raise NotImplementedError

    kind = Kind("token", "For a test", TokenSettings, opens, credential="needed")
    monkeypatch.setattr(registry, "KINDS", {**registry.KINDS, "token": kind})
    monkeypatch.setattr(sources, "KINDS", registry.KINDS)
    return openings


async def add(db: Database, name: str = "nyc", sealer: Sealer | None = None, **more: Any) -> sources.Configured:
    given: dict[str, Any] = {"kind": "folder", "settings": {"path": "/srv/x"}, **more}
    return await sources.add(db, sealer or Sealer(), name, given.pop("kind"), given.pop("settings"), **given)


async def test_first_source_is_the_default_until_another_is(db: Database) -> None:
    assert (await add(db, "a")).is_default
    assert not (await add(db, "b")).is_default
    assert (await add(db, "c", default=True)).is_default
    assert [one.name for one in await sources.every(db, Sealer()) if one.is_default] == ["c"]
    assert (await sources.change(db, Sealer(), "a", default=True)).is_default
    assert [one.name for one in await sources.every(db, Sealer()) if one.is_default] == ["a"]
    await sources.remove(db, "a")
    with pytest.raises(SourceNotFound, match="no source is the default one"):
        async with sources.opened(db, Sealer(), None, Normaliser()):
            pass


@pytest.mark.parametrize(
    ("given", "member"),
    [
        ({"kind": "wish"}, "kind"),
        ({"settings": {}}, "settings.path"),
        ({"settings": {"path": "relative/x"}}, "settings.path"),
        ({"settings": {"path": "/x", "pth": "/y"}}, "settings.pth"),
        ({"settings": {"path": "/x", "time_zone": "Mars/Base"}}, "settings.time_zone"),
        ({"settings": {"path": "/x", "time_zone": "America"}}, "settings.time_zone"),
        ({"settings": {"path": ["/x"]}}, "settings.path"),
        ({"settings": {"path": "/x\x00y"}}, "settings.path"),
        ({"secret": "x"}, "secret"),
        ({"name": ""}, "name"),
    ],
)
async def test_what_cannot_be_is_refused_by_member_and_nothing_is_kept(
    db: Database, given: dict[str, Any], member: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await add(db, **given)
    assert refused.value.member == member
    assert await sources.every(db, Sealer()) == []


async def test_name_is_taken_once(db: Database) -> None:
    await add(db)
    with pytest.raises(SourceExists):
        await add(db, settings={"path": "/other"})
    (kept,) = await sources.every(db, Sealer())
    assert kept.settings == {"path": "/srv/x"}


async def test_pace_is_the_kinds_until_somebody_says_otherwise(db: Database) -> None:
    fake: dict[str, Any] = {"kind": "fake", "settings": {"url": "http://127.0.0.1:9"}}
    made = await add(db, "f", **fake)
    assert (made.limits, made.request_delay) == ({"second": 10}, 0)
    changed = await sources.change(db, Sealer(), "f", limits={"hour": 7}, request_delay=2.5)
    assert (changed.limits, changed.request_delay) == ({"hour": 7}, 2.5)
    assert (await sources.change(db, Sealer(), "f", default=True)).limits == {"hour": 7}
    for member, given in (("limits.week", {"limits": {"week": 1}}), ("request_delay", {"request_delay": 99.0})):
        with pytest.raises(InvalidInput) as refused:
            await add(db, "g", **fake, **given)
        assert refused.value.member == member
    with pytest.raises(InvalidInput, match="not asked over a network"):
        await add(db, "g", limits={"hour": 1})


async def test_source_that_is_set_up_is_asked_through_its_budget(db: Database, conn: Connection) -> None:
    async with FaultServer({"L1": a_listing()}).serving() as world:
        await add(db, "f", kind="fake", settings={"url": world.address}, limits={"day": 2})
        async with sources.opened(db, Sealer(), "f", Normaliser()) as opened:
            result = await passes.read_location(db, opened.reader, opened.source, "10001")
            assert result is not None
            assert result.end.outcome == "complete"
            world.fault = "503"
            result = await passes.read_location(db, opened.reader, opened.source, "10001")
            assert result is not None
            assert result.end.outcome == "rate_limited", "the day's budget is spent by the first attempt"
    assert [row["bytes"] > 100 for row in await conn.fetch("SELECT bytes FROM source_requests ORDER BY at")] == [
        True, False,
    ]  # fmt: skip
    assert await conn.fetchval("SELECT failures FROM source_budgets") == 1


async def test_change_keeps_what_is_not_named(db: Database) -> None:
    await add(db, settings={"path": "/a", "time_zone": "America/New_York"})
    changed = await sources.change(db, Sealer(), "nyc", settings={"path": "/b"})
    assert changed.settings == {"path": "/b", "time_zone": "America/New_York"}
    changed = await sources.change(db, Sealer(), "nyc", settings={"time_zone": None})
    assert changed.settings == {"path": "/b"}
    with pytest.raises(InvalidInput):
        await sources.change(db, Sealer(), "nyc", settings={"path": None})
    with pytest.raises(SourceNotFound):
        await sources.change(db, Sealer(), "nobody", settings={})


async def test_secret_is_sealed_and_opens_only_by_a_key_and_only_for_its_source(
    db: Database, conn: Connection, told: list[Opening]
) -> None:
    old, new = new_key(), new_key()
    settings = {"url": "http://x"}
    with pytest.raises(SetupError, match="no key to seal"):
        await add(db, "t", kind="token", settings=settings, secret=SECRET)
    with pytest.raises(InvalidInput, match="needs one"):
        await add(db, "t", kind="token", settings=settings)

    made = await add(db, "t", Sealer([old]), kind="token", settings=settings, secret=f"{SECRET}\n")
    assert (made.has_secret, made.secret_readable) == (True, True)
    for table in ("sources", "events"):
        assert SECRET not in str(await conn.fetch(f"SELECT {table}::text FROM {table}"))
    kept = await conn.fetchval("SELECT sealed_secret FROM sources")
    assert SECRET.encode() not in kept

    for sealer in (Sealer(), Sealer([new])):
        (shown,) = await sources.every(db, sealer)
        assert (shown.has_secret, shown.secret_readable) == (True, False)
        assert await sources.sealed_away(db, sealer) == ["t"]
        with pytest.raises(SecretSealed, match="does not have"):
            async with sources.opened(db, sealer, "t", Normaliser()):
                pass
    assert await sources.sealed_away(db, Sealer([new, old])) == []
    with pytest.raises(NotImplementedError):
        async with sources.opened(db, Sealer([new, old]), "t", Normaliser()):
            pass
    assert told[0].secret == SECRET
    assert told[0].settings == TokenSettings(url="http://x")

    await add(db, "other", Sealer([old]), kind="token", settings=settings, secret="another")  # noqa: S106 # none
    await conn.execute("UPDATE sources SET sealed_secret = $1 WHERE name = 'other'", kept)
    with pytest.raises(SecretSealed):
        Sealer([old]).open("other", kept)
    await sources.change(db, Sealer([new]), "t", secret="fresh")  # noqa: S106 # none
    assert await sources.sealed_away(db, Sealer([new])) == ["other"]


def test_what_is_no_key_is_never_repeated() -> None:
    with pytest.raises(SetupError) as refused:
        Sealer(["n0-key-at-all"])
    assert "n0-key" not in str(refused.value)


async def test_removed_source_leaves_its_listings_and_links(db: Database, conn: Connection, tmp_path: Path) -> None:
    (tmp_path / "10001.jsonl").write_text(json.dumps(a_listing()), encoding="utf-8")
    await add(db, "test-mls", settings={"path": str(tmp_path)})
    async with sources.opened(db, Sealer(), None, Normaliser()) as opened:
        result = await passes.read_location(db, opened.reader, opened.source, "10001")
    assert result is not None
    assert (result.status, result.end.outcome) == ("succeeded", "unproven")
    await a_crm(db, "c1")
    await a_link(db, "c1", "L1")

    await sources.remove(db, "test-mls")

    assert await conn.fetchval("SELECT mls_property_id FROM crm_properties") == id_of("L1")
    with pytest.raises(SourceNotFound):
        await sources.remove(db, "test-mls")


async def test_zone_of_a_source_is_that_of_its_time_stamps(db: Database, tmp_path: Path, conn: Connection) -> None:
    zoneless = a_listing(ModificationTimestamp="2026-03-01T12:00:00")
    (tmp_path / "1.jsonl").write_text(json.dumps(zoneless), encoding="utf-8")
    await add(db, settings={"path": str(tmp_path), "time_zone": "America/New_York"})
    async with sources.opened(db, Sealer(), "nyc", Normaliser()) as opened:
        await passes.read_location(db, opened.reader, opened.source, "1")
    at = await conn.fetchval("SELECT source_modified_at FROM mls_state")
    assert at.isoformat() == "2026-03-01T17:00:00+00:00"


async def test_pass_is_noted_with_the_delivery_that_it_read(db: Database, tmp_path: Path, conn: Connection) -> None:
    (tmp_path / "1.jsonl").write_text(json.dumps(a_listing("A")), encoding="utf-8")
    (tmp_path / "manifest.json").write_text('{"deliveries": [{"file": "1.jsonl", "records": 1}]}', encoding="utf-8")
    await add(db, settings={"path": str(tmp_path)})
    async with sources.opened(db, Sealer(), "nyc", Normaliser()) as opened:
        first = await passes.read_location(db, opened.reader, opened.source, "1")
        assert first is not None
        assert first.end.outcome == "complete"
        assert await passes.read_location(db, opened.reader, opened.source, "1") is None
        (tmp_path / "1.jsonl").write_text(json.dumps(a_listing("B")), encoding="utf-8")
        second = await passes.read_location(db, opened.reader, opened.source, "1")
        assert second is not None
        noted = [row["delivery"] for row in await conn.fetch("SELECT delivery FROM location_passes ORDER BY pass_id")]
        assert noted == [first.end.delivery, second.end.delivery]
        assert first.end.delivery != second.end.delivery
