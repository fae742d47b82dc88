"""What all bodies are made of. Unknown members of a request are refused; money is decimal text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from mls_crm_sync.core.ages import ages
from mls_crm_sync.core.values import instant_text

T = TypeVar("T")


def _whole_seconds(at: datetime) -> str:
    return instant_text(at.replace(microsecond=0))


Instant = Annotated[
    datetime,
    PlainSerializer(_whole_seconds, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2024-01-01T12:00:00Z"]}),
]
Text = Annotated[str, Field(max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Flag = Annotated[bool, Field(strict=True)]  # "no" is a text, not a false
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]  # true is no number, "3" neither
Seconds = Annotated[float, Field(strict=True, ge=0, le=60, allow_inf_nan=False)]
Facts = dict[str, Any]


def _shown_name(name: str) -> str:
    """As `sync.reader.checked_name`: it is kept for good, and shown."""
    if not name.strip() or not name.isprintable():
        raise ValueError("must be printable text")
    return name


Platform = Annotated[Name, AfterValidator(_shown_name)]


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("must have a zone, as 2026-11-26T18:00:00Z")
    return at


class Request(BaseModel):
    """A body that is read: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` goes on after it and is null at the end."""

    items: list[T]
    next_cursor: str | None


def computed_of(fields: Mapping[str, Any]) -> Facts:
    return {**ages(fields, datetime.now(UTC).date())}
