"""What a kind of source says of itself, so that people can set one up: its settings, its secret, its usual pace.

A new kind is one module with a `KIND`, and one line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict

from .base import Gate, Source


def _known_zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):  # a folder of zones, as America, cannot be opened
        raise ValueError(f"{text!r} is no IANA time zone; America/New_York is one") from None


def _web_address(text: str) -> str:
    if not text.startswith(("http://", "https://")) or not text.isprintable() or " " in text:
        raise ValueError("must begin with http:// or https://")
    return text


WebAddress = Annotated[str, AfterValidator(_web_address)]


class Settings(BaseModel):
    """What people say of a source, checked; a member that the kind does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    time_zone: Annotated[str, AfterValidator(_known_zone)] | None = None  # IANA, of time stamps that carry none


@dataclass(frozen=True, slots=True)
class Opening:
    """All that a source is opened with."""

    name: str
    settings: Any  # of the kind's own `Settings`
    secret: str | None
    gate: Gate


def _by_location(_: Settings) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Kind:
    """`opens` does no IO: a source that cannot be reached says so when it is asked."""

    name: str
    title: str
    settings: type[Settings]
    opens: Callable[[Opening], Source]
    credential: Literal["none", "optional", "needed"] = "none"  # one secret text: a token, a password
    limits: Mapping[str, int] = field(default_factory=dict)  # unless the operator says otherwise; see sync/budgets.py
    request_delay: float = 0.0  # seconds between the starts of two requests
    network: bool = False  # asked over a network: through a gate, by a budget
    only_location: Callable[[Any], str | None] = _by_location  # by its settings: the one that all of it is read by
    stops: bool = False  # once it was refused (401, 403) nobody asks again, until a person says so
