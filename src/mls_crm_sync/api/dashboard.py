"""The dashboard: files that the build has put into `ui`, served beside the API.

A page of the dashboard has no file: whoever asks for one as a browser does (it takes HTML) gets `index.html`, and the
router in it goes on. Everybody else gets the API's 404. Where nothing was built, a page says how it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

BUILT = Path(__file__).parents[1] / "ui"
POLICY = (
    "default-src 'none'; script-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing of a page leaves the host, whatever a listing's remarks say. Its components place things by the
style attribute."""
FOR_GOOD = "public, max-age=31536000, immutable"
"""Of `assets/`: another content has another name."""
LARGE = 1000
"""Bytes; what is smaller is not packed."""

NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>mls-crm-sync</title>
<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em">
<h1>The dashboard is not built</h1>
<p>The service runs, and all of its API with it. Only the pages are missing.</p>
<p>In a checkout <code>make dashboard</code> builds them, with the Node.js (20.19 or later) of this machine or one that
it fetches; <code>make run</code> does the same. A wheel of a release has them already.</p>
<p>Then load this page again; the service need not be started anew.</p>
</body></html>
"""


class Dashboard:
    """Answers what no route of the API is for, where a browser asks for it."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[Route]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await GZipMiddleware(answer, minimum_size=LARGE)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path.startswith("/api/") or any(route.matches(scope)[0] is not Match.NONE for route in self._routes):
            return None
        file = self._file(path)
        if file is not None:
            return FileResponse(
                file, headers={"Cache-Control": FOR_GOOD if path.startswith("/assets/") else "no-cache"}
            )
        if path.startswith("/assets/") or "text/html" not in Headers(scope=scope).get("accept", ""):
            return None
        page = BUILT / "index.html"
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        if page.is_file():
            return FileResponse(page, headers=headers)
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        return HTMLResponse(NOT_BUILT, status_code=404, headers=headers)

    def _file(self, path: str) -> Path | None:
        """Return the built file of a path; None where there is none, or it would be outside, or the page itself."""
        if path == "/index.html" or "\x00" in path:
            return None
        file = (BUILT / path.lstrip("/")).resolve()
        return file if file.is_relative_to(BUILT.resolve()) and file.is_file() else None
