"""Values of options, looked at before anything begins: a bad one is the command line's fault, exit code 2."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


MOST_DAYS = 36_500


def bad(option: str, detail: str) -> typer.BadParameter:
    return typer.BadParameter(detail, param_hint=f"'{option}'")


def name(option: str, text: str) -> str:
    """Return the name of a source, a location or a platform."""
    from mls_crm_sync.core.errors import InvalidInput
    from mls_crm_sync.sync.reader import checked_name

    try:
        return checked_name(option, text)
    except InvalidInput as error:
        raise bad(option, error.detail) from error


def zone(option: str, text: str | None) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo

    if text is None:
        return None
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:  # a folder of zones, as America, cannot be opened
        raise bad(option, f"{text!r} is no IANA time zone; America/New_York is one") from error


def days(option: str, text: str | None) -> timedelta | None:
    """Return a time in days, as `90d` or `90`."""
    if text is None:
        return None
    number = text.removesuffix("d")
    if not (number.isascii() and number.isdigit()) or int(number) > MOST_DAYS:
        raise bad(option, f"{text!r} is no number of days up to {MOST_DAYS:,}; 90d is one")
    return timedelta(days=int(number))


def check_can_ask(*, yes: bool) -> None:
    """Refuse, before anything begins, what has to be asked about where nobody can answer."""
    if not yes and not sys.stdin.isatty():
        raise bad("--yes", "there is no terminal to ask on; say --yes, or look first with --dry-run")


def ask(question: str, *, yes: bool) -> None:
    """Go on where a person says yes, or has said so before; else end with exit code 1."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
