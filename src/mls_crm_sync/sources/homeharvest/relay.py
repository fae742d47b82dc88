"""The endpoint that the library is given instead of the site's: every request it makes passes through here.

So the library needs no network of its own, what it sends waits for its turn, and what it is answered was looked at
before. The address holds a word that only its process knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

import h11

MAX_REQUEST = 1024 * 1024
_PIECE = 64 * 1024

Answers: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[bytes | None]]
"""Of a request's body and headers (names in lower case) the answer; None: there is none, and it is refused."""


@contextlib.asynccontextmanager
async def relaying(answers: Answers) -> AsyncIterator[str]:
    """Answer the requests of this machine that know the address, and lend it: http://127.0.0.1:PORT/WORD."""
    path = f"/{secrets.token_urlsafe(24)}"
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the server makes one of each connection
        connections.add(task)
        try:
            with contextlib.suppress(OSError, h11.RemoteProtocolError):  # the library's process has ended
                await _one_request(reader, writer, path.encode(), answers)
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}{path}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _one_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes, answers: Answers
) -> None:
    """Answer one request; its connection ends with it."""
    protocol = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    body = b""
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data) and len(body) < MAX_REQUEST:
            body += event.data
        else:
            break
    answer = None
    if request is not None and isinstance(event, h11.EndOfMessage) and request.target == path:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        answer = await answers(body, headers)
    content = answer if answer is not None else b'{"data": null}'
    head = [("Content-Type", "application/json"), ("Content-Length", str(len(content))), ("Connection", "close")]
    for part in (
        h11.Response(status_code=403 if answer is None else 200, headers=head),
        h11.Data(data=content),
        h11.EndOfMessage(),
    ):
        writer.write(protocol.send(part) or b"")
    await writer.drain()
