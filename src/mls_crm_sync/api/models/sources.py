"""Sources and their kinds."""

from __future__ import annotations

from pydantic import BaseModel, Field

from mls_crm_sync.sync.sources import Configured

from .base import Facts, Flag, Instant, Name, Platform, Request, Seconds, Text, Whole


class SourceKind(BaseModel):
    """`settings` is a JSON Schema; `credential` says whether a secret is `none`, `optional` or `needed`."""

    kind: str
    title: str
    credential: str
    settings: Facts


class SourceNew(Request):
    name: Platform
    kind: Name
    settings: Facts = Field(default_factory=dict)
    secret: Text | None = None
    default: Flag | None = None
    limits: dict[str, Whole] | None = None
    request_delay: Seconds | None = None


class SourceChange(Request):
    settings: Facts | None = None
    secret: Text | None = None
    default: Flag | None = None
    limits: dict[str, Whole] | None = None
    request_delay: Seconds | None = None


class SourceView(BaseModel):
    """`secret_readable`: by this process; null where there is no secret. The secret itself is never shown."""

    name: str
    kind: str
    settings: Facts
    has_secret: bool
    secret_readable: bool | None
    is_default: bool
    limits: dict[str, int]
    request_delay: float
    stopped_at: Instant | None  # when it refused us; it is not asked until somebody resumes it
    left_alone_until: Instant | None  # after so many failures in a row
    made_at: Instant
    changed_at: Instant

    @classmethod
    def of(cls, one: Configured) -> SourceView:
        return cls.model_construct(**{name: getattr(one, name) for name in cls.model_fields})


class SourceCheck(BaseModel):
    ok: bool
    detail: str
