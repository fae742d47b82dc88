"""`mls-crm-sync serve`: the HTTP service."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .output import notice
from .session import on_a_loop
from .worker import worker_beside

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from mls_crm_sync.settings import Settings

HOST, PORT = "127.0.0.1", 8080
GRACE_SECONDS = 10
"""For requests under way when the service is told to stop."""
IDLE_SECONDS = 75
"""A connection without a request is kept for longer than the 60 s that proxies keep theirs: who closes first while the
other one sends breaks a request."""


def serve(
    host: Annotated[str, typer.Option(help="Address to bind; any but loopback asks for a key.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    require_key: Annotated[bool, typer.Option("--require-key", help="Ask for a key on loopback too.")] = False,
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Bring a worker along, which reads what schedules ask for.")
    ] = True,
) -> None:
    """Serve the HTTP API until told to stop."""
    from mls_crm_sync.settings import Settings

    on_a_loop(_serve(Settings(), host, port, require_key=require_key, with_worker=with_worker))


async def _serve(settings: Settings, host: str, port: int, *, require_key: bool, with_worker: bool) -> None:
    from mls_crm_sync.api.permissions import is_loopback_host
    from mls_crm_sync.core.errors import SetupError

    local_mode = not require_key and is_loopback_host(f"[{host}]" if ":" in host else host)
    async with application(settings, local_mode=local_mode, with_worker=with_worker) as app:
        sock = bound(host, port)
        if sock is None:
            raise SetupError(f"{host}:{port} cannot be bound", hint="another service has it; take another with --port")
        await run(app, sock, local_mode=local_mode)


@contextlib.asynccontextmanager
async def application(
    settings: Settings, *, local_mode: bool, keyless: bool = False, with_worker: bool = True
) -> AsyncIterator[FastAPI]:
    """Lend the service over the configured database; its first start makes an admin key, unless it is `keyless`.

    `with_worker`: with a worker in a process of its own, so that reading a large page keeps no request waiting.
    """
    from mls_crm_sync import wiring
    from mls_crm_sync.api.app import create_app
    from mls_crm_sync.api.context import Service
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync import keys

    async with wiring.open_pools(settings) as (short, long):
        first = None if keyless else await keys.create_first(long)
        if first is not None:
            notice(f"admin key, shown this once: {first}")
        await wiring.set_schedule_up(settings, long)
        service = Service(
            short,
            long,
            Normaliser(),
            settings.stale_after,
            wiring.sealer(settings),
            minimum_interval=settings.minimum_interval,
            includes_worker=with_worker,
            disclaimer=settings.disclaimer,
        )
        async with worker_beside(settings) if with_worker else contextlib.nullcontext():
            yield create_app(service, local_mode=local_mode)


async def run(
    app: FastAPI, sock: socket.socket, *, local_mode: bool, greet: Callable[[str], None] | None = None
) -> None:
    """Serve on a bound socket; SIGINT, SIGTERM and SIGHUP end it after the requests under way.

    `greet` hears the address once a signal is sure to end the service in good order.
    """
    import uvicorn

    from mls_crm_sync.wiring import calm_collector

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
        proxy_headers=False,  # who forwards does not get local mode, whatever it claims
    )
    address, port = sock.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    server = uvicorn.Server(config)
    with _told_to_stop(server):
        notice(url)
        notice("no key is needed from this machine" if local_mode else "every request needs a key")
        if greet is not None:
            greet(url)
        calm_collector()  # looking through all that a service is made of stopped every request for 55 ms once a second
        await server.serve(sockets=[sock])


@contextlib.contextmanager
def _told_to_stop(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the service in good order; uvicorn's way would die of the signal after that.

    SIGHUP is the terminal being closed: dying of it would leave the embedded PostgreSQL behind.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    with contextlib.ExitStack() as stack:
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # somebody said `nohup`
            loop.add_signal_handler(number, stop)
            stack.callback(loop.remove_signal_handler, number)
        yield


def bound(host: str, port: int) -> socket.socket | None:
    """Return a listening socket, or None where the address cannot be had. Port 0 takes a free one."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError:
        return None
    # The loop sets it only on sockets that name their protocol, and those of create_server do not: an answer's second
    # packet then waits for the other side's delayed acknowledgement, 40 ms. Accepted sockets inherit it.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.set_inheritable(True)
    return sock
