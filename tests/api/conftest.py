"""A real service on loopback over the test's own database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from api.contract import keeps_to_document
from mls_crm_sync.api.app import create_app
from mls_crm_sync.api.context import Service
from mls_crm_sync.core.listing import Normaliser
from mls_crm_sync.store.database import Database


def an_app(db: Database, *, local_mode: bool = True) -> FastAPI:
    return create_app(Service(db, db, Normaliser(), timedelta(hours=12)), local_mode=local_mode)


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve an application on a free port of 127.0.0.1; lend a client that holds each answer against the document."""
    async with running(app) as (_, port):
        hooks = {"response": [keeps_to_document]}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, event_hooks=hooks) as client:
            yield client


@contextlib.asynccontextmanager
async def running(app: FastAPI, *, grace: int | None = None) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Serve an application; lend the server and its port. `grace`: seconds for requests under way at the end."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", proxy_headers=False,
        timeout_graceful_shutdown=grace,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment] # the test run's own
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def http(db: Database) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service in local mode."""
    async with served(an_app(db)) as client:
        yield client


@pytest.fixture
async def locked(db: Database) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service that asks for keys."""
    async with served(an_app(db, local_mode=False)) as client:
        yield client
