"""Logs: one event a line, never on stdout."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from mls_crm_sync import logs
from mls_crm_sync.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _defaults_afterwards() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_machine_gets_one_json_object_a_line() -> None:
    out = io.StringIO()
    logs.configure(stream=out)
    structlog.get_logger().info("listing_changed", property_id="a\nb", fields=3)

    [line] = out.getvalue().splitlines()
    event = orjson.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "listing_changed", "level": "info", "property_id": "a\nb", "fields": 3}


def test_person_at_a_terminal_gets_key_and_value() -> None:
    out = Terminal()
    logs.configure(stream=out)
    structlog.get_logger().info("listing_changed", property_id="a\nb")

    [line] = out.getvalue().splitlines()
    assert "level='info' event='listing_changed' property_id='a\\nb'" in line


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_exception_is_logged_with_its_traceback(stream: type[io.StringIO]) -> None:
    out = stream()
    logs.configure(stream=out)
    try:
        int("the reason")
    except ValueError:
        structlog.get_logger().exception("run_failed", run_id=1)

    assert "run_failed" in out.getvalue()
    assert "the reason" in out.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_traceback_does_not_tell_what_variables_held(stream: type[io.StringIO]) -> None:
    out = stream()
    logs.configure(stream=out)
    secret = f"a broker's API key {id(out)}"
    try:
        int("no number")
    except ValueError:
        structlog.get_logger().exception("run_failed")

    assert "Traceback" in out.getvalue() or "frames" in out.getvalue()
    assert secret not in out.getvalue()


def test_level_is_the_least_that_is_shown() -> None:
    out = io.StringIO()
    logs.configure("WARNING", stream=out)
    structlog.get_logger().info("too_little")
    structlog.get_logger().warning("enough")

    assert [orjson.loads(line)["event"] for line in out.getvalue().splitlines()] == ["enough"]


def test_stdout_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger().info("listing_changed")

    said = capsys.readouterr()
    assert said.out == ""
    assert "listing_changed" in said.err


def test_unknown_level_is_refused() -> None:
    with pytest.raises(SetupError, match="'loud' is no log level"):
        logs.configure("loud")
