"""Logging: one event a line, to stderr. JSON for machines, key=value for a person at a terminal.

stdout belongs to the commands' answers, so that they can be piped. Event names are static words
(`listing_changed`); what varies goes into the members, as identifiers, never as whole objects.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

import orjson
import structlog

from mls_crm_sync.core.errors import SetupError

if TYPE_CHECKING:
    from structlog.typing import Processor


LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
"""Where it went wrong, not what the variables held there: keys, listings, what a broker wrote."""


def configure(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Set up structlog for this process. Later calls replace earlier ones; `stream` is stderr unless told.

    Raises SetupError for a word that is no level.
    """
    if level.lower() not in LEVELS:
        raise SetupError(f"{level!r} is no log level", hint=f"one of {', '.join(LEVELS)}")
    out = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_people() if out.isatty() else _for_machines()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level.lower()]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def _for_people() -> list[Processor]:
    order = ["timestamp", "level", "event"]
    return [structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer(key_order=order)]


def _for_machines() -> list[Processor]:
    return [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_as_text)]


def _as_text(event: object, default: object = None, **_: object) -> str:
    return orjson.dumps(event, default=default or str, option=orjson.OPT_NON_STR_KEYS).decode()  # type: ignore[arg-type] # structlog types it as object
