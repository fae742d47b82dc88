"""Setting sources up, and opening them: from the database's row to something that can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from pydantic import ValidationError

from mls_crm_sync.core.errors import InvalidInput, SourceNotFound
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.core.pacing import budget_of
from mls_crm_sync.sources.base import Check, OpenGate, Source
from mls_crm_sync.sources.kinds import Kind, Opening, Settings
from mls_crm_sync.sources.registry import KINDS
from mls_crm_sync.store import sources
from mls_crm_sync.store.database import Database, Row
from mls_crm_sync.store.sources import Setup

from . import budgets
from .budgets import DatabaseGate
from .reader import Reader, checked_name
from .sealing import Sealer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Configured:
    """A source as it is shown: never its secret. `secret_readable`: by a key of this process; None without a secret."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    has_secret: bool
    secret_readable: bool | None
    is_default: bool
    limits: Mapping[str, int]
    request_delay: float
    stopped_at: datetime | None  # when it refused us: it is not asked any more until somebody resumes it; UTC
    left_alone_until: datetime | None  # by its breaker, after so many failures in a row; UTC
    made_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that can be read, and the reader of its records."""

    name: str
    source: Source
    reader: Reader


async def add(
    db: Database,
    sealer: Sealer,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    *,
    secret: str | None = None,
    default: bool | None = None,
    limits: Mapping[str, int] | None = None,
    request_delay: float | None = None,
) -> Configured:
    """Set a source up; the first one becomes the default, unless `default` says otherwise.

    `limits` and `request_delay` (seconds) are how fast it may be asked (`core/pacing.py`), instead of its kind's.

    Raises InvalidInput, SourceExists, and SetupError where a secret cannot be sealed.
    """
    checked_name("name", name)
    found = _kind(kind)
    checked = _checked(found, settings)
    sealed = _sealed(found, sealer, name, secret)
    _check_pace(found, limits, request_delay)
    async with db.transaction() as conn:
        await sources.lock(conn)
        if default is None:
            default = await sources.default(conn) is None
        await sources.insert(conn, name, kind, Setup(checked, sealed, default, limits, request_delay))
        return _shown(sealer, await sources.one(conn, name))


async def change(
    db: Database,
    sealer: Sealer,
    name: str,
    *,
    settings: Mapping[str, Any] | None = None,
    secret: str | None = None,
    default: bool | None = None,
    limits: Mapping[str, int] | None = None,
    request_delay: float | None = None,
) -> Configured:
    """Change what is given; a setting that is null goes back to what its kind has. Raises as `add`, SourceNotFound."""
    async with db.transaction() as conn:
        await sources.lock(conn)
        row = await sources.one(conn, name)
        kind = _kind(row["kind"])
        merged = {**row["settings"], **(settings or {})}
        checked = _checked(kind, {key: value for key, value in merged.items() if value is not None})
        sealed = row["sealed_secret"] if secret is None else _sealed(kind, sealer, name, secret)
        _check_pace(kind, limits, request_delay)
        setup = Setup(
            checked,
            sealed,
            row["is_default"] if default is None else default,
            row["limits"] if limits is None else limits,
            row["request_delay"] if request_delay is None else request_delay,
        )
        await sources.update(conn, name, setup)
        return _shown(sealer, await sources.one(conn, name))


async def remove(db: Database, name: str) -> None:
    """Take a source away; its listings, their history and links stay. Raises SourceNotFound."""
    async with db.transaction() as conn:
        await sources.lock(conn)
        await sources.delete(conn, name)


async def resume(db: Database, sealer: Sealer, name: str) -> Configured:
    """Let a source that refused us be asked again; one that did not is as it was. Raises SourceNotFound."""
    async with db.connection() as conn:
        await sources.one(conn, name)
    if await budgets.resume(db, name):
        log.info("source.resumed", source=name)
    async with db.connection() as conn:
        return _shown(sealer, await sources.one(conn, name))


async def every(db: Database, sealer: Sealer) -> list[Configured]:
    async with db.connection() as conn:
        return [_shown(sealer, row) for row in await sources.every(conn)]


async def zones(db: Database) -> dict[str, ZoneInfo]:
    """Return the zone of time stamps that carry none, of the sources that are set up with one."""
    async with db.connection() as conn:
        rows = await sources.every(conn)
    return {row["name"]: ZoneInfo(zone) for row in rows if (zone := row["settings"].get("time_zone"))}


async def sealed_away(db: Database, sealer: Sealer) -> list[str]:
    """Return the sources that only others can read, for none of our keys opens their secret."""
    async with db.connection() as conn:
        rows = await sources.sealed(conn)
    return [row["name"] for row in rows if not sealer.opens(row["name"], row["sealed_secret"])]


def only_location(row: Row) -> str | None:
    """Return the one location that a source is read by, whatever it is asked for; None: it is read by location."""
    kind = _kind(row["kind"])
    return kind.only_location(_validated(kind, row["settings"]))


@asynccontextmanager
async def opened(
    db: Database, sealer: Sealer, name: str | None, normaliser: Normaliser, *, request_delay: float = 0.0
) -> AsyncIterator[Opened]:
    """Lend a source, or the default one. `request_delay`, in seconds, if the source's own is not longer.

    Raises SourceNotFound, SecretSealed, InvalidInput.
    """
    async with db.connection() as conn:
        name = name or await sources.default(conn)
        if name is None:
            raise SourceNotFound(None)
        row = await sources.one(conn, name)
    kind = _kind(row["kind"])
    settings = _validated(kind, row["settings"])
    sealed = row["sealed_secret"]
    secret = sealer.open(name, sealed) if sealed is not None else None
    limits, delay = _pace(kind, row)
    gate = DatabaseGate(db, name, limits, max(delay, request_delay), stops=kind.stops) if kind.network else OpenGate()
    source = kind.opens(Opening(name, settings, secret, gate))
    zone = ZoneInfo(settings.time_zone) if settings.time_zone else None
    try:
        yield Opened(name, source, Reader(name, normaliser, time_zone=zone))
    finally:
        await source.close()


async def check(db: Database, sealer: Sealer, name: str | None, normaliser: Normaliser) -> Check:
    """Let a source look at itself. Raises SourceNotFound, SecretSealed."""
    async with opened(db, sealer, name, normaliser) as one:
        return await one.source.check()


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise InvalidInput("kind", f"must be one of {', '.join(sorted(KINDS))}")
    return KINDS[name]


def _checked(kind: Kind, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are stored: what was said, in its kind's form. Raises InvalidInput."""
    return _validated(kind, settings).model_dump(mode="json", exclude_unset=True)


def _validated(kind: Kind, settings: Mapping[str, Any]) -> Settings:
    try:
        return kind.settings.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(("settings", *map(str, first["loc"])))
        known = ", ".join(sorted(kind.settings.model_fields))
        reason = f"is unknown; known are {known}" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidInput(place, reason.removeprefix("Value error, ")) from None


def _sealed(kind: Kind, sealer: Sealer, name: str, secret: str | None) -> bytes | None:
    if secret is None:
        if kind.credential == "needed":
            raise InvalidInput("secret", f"a source of the kind {kind.name} needs one")
        return None
    if kind.credential == "none":
        raise InvalidInput("secret", f"a source of the kind {kind.name} has none")
    secret = secret.strip()  # a file ends with a line's end
    if not secret or not secret.isprintable():
        raise InvalidInput("secret", "must be printable text")
    return sealer.seal(name, secret)


def _check_pace(kind: Kind, limits: Mapping[str, int] | None, request_delay: float | None) -> None:
    """Raises InvalidInput that names the member."""
    budget_of(limits or {}, request_delay or 0)
    if not kind.network and (limits or request_delay):
        member = "limits" if limits else "request_delay"
        raise InvalidInput(member, f"a source of the kind {kind.name} is not asked over a network")


def _pace(kind: Kind, row: Row) -> tuple[Mapping[str, int], float]:
    """Return limits and delay: what was said, else the kind's."""
    limits, delay = row["limits"], row["request_delay"]
    return kind.limits if limits is None else limits, kind.request_delay if delay is None else delay


def _shown(sealer: Sealer, row: Row) -> Configured:
    sealed = row["sealed_secret"]
    limits, delay = _pace(_kind(row["kind"]), row)
    return Configured(
        name=row["name"],
        kind=row["kind"],
        settings=row["settings"],
        has_secret=sealed is not None,
        secret_readable=None if sealed is None else sealer.opens(row["name"], sealed),
        is_default=row["is_default"],
        limits=limits,
        request_delay=delay,
        stopped_at=row["stopped_at"],
        left_alone_until=row["open_until"],
        made_at=row["made_at"],
        changed_at=row["changed_at"],
    )
