"""Which PostgreSQL a test of the model runs on: one of those that are asked for, without repeating it on the others."""

from __future__ import annotations

import pytest

from conftest import RUN, Server, _servers


def server_number(number: int, request: pytest.FixtureRequest, started: dict[str, Server]) -> Server:
    """Return one of the session's servers, started if nobody has; numbers beyond their count begin again."""
    names = _servers(request.config)
    name = names[number % len(names)]
    if name not in started:
        started[name] = Server(name, request.config.stash[RUN])
    return started[name]
