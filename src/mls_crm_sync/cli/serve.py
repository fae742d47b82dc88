"""`mls-crm-sync serve`: the HTTP service."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .output import notice

if TYPE_CHECKING:
    import uvicorn

    from mls_crm_sync.settings import Settings

GRACE_SECONDS = 10
"""For requests under way when the service is told to stop."""


def serve(
    host: Annotated[str, typer.Option(help="Address to bind; any but loopback asks for a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    require_key: Annotated[bool, typer.Option("--require-key", help="Ask for a key on loopback too.")] = False,
) -> None:
    """Serve the HTTP API until told to stop."""
    from mls_crm_sync.settings import Settings

    asyncio.run(_serve(Settings(), host, port, require_key=require_key))


async def _serve(settings: Settings, host: str, port: int, *, require_key: bool) -> None:
    from mls_crm_sync import wiring
    from mls_crm_sync.api.app import create_app
    from mls_crm_sync.api.context import Service
    from mls_crm_sync.api.permissions import is_loopback_host
    from mls_crm_sync.core.listing import Normaliser
    from mls_crm_sync.sync import keys

    async with wiring.open_pools(settings) as (short, long):
        first = await keys.create_first(long)
        if first is not None:
            notice(f"admin key, shown this once: {first}")
        local_mode = not require_key and is_loopback_host(f"[{host}]" if ":" in host else host)
        service = Service(short, long, Normaliser(), settings.stale_after)
        await run(create_app(service, local_mode=local_mode), host, port, local_mode=local_mode)


async def run(app: object, host: str, port: int, *, local_mode: bool) -> None:
    """Serve an ASGI application; SIGINT and SIGTERM end it after the requests under way."""
    import uvicorn

    from mls_crm_sync.core.errors import SetupError

    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # an ASGI application; the type is not imported at start
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,  # who forwards does not get local mode, whatever it claims
    )
    sock = _bound(host, port)
    if sock is None:
        raise SetupError(f"{host}:{port} cannot be bound", hint="another service has it; take another with --port")
    address, bound = sock.getsockname()[:2]
    notice(f"http://{f'[{address}]' if ':' in address else address}:{bound}")
    notice("no key is needed from this machine" if local_mode else "every request needs a key")
    server = uvicorn.Server(config)
    with _told_to_stop(server):
        await server.serve(sockets=[sock])


@contextlib.contextmanager
def _told_to_stop(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the service in good order; its own way would die of the signal after that."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    with contextlib.ExitStack() as stack:
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
            stack.callback(loop.remove_signal_handler, number)
        yield


def _bound(host: str, port: int) -> socket.socket | None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError:
        return None
    sock.set_inheritable(True)
    return sock
