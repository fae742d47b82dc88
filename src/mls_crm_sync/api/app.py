"""The application: its routes behind its doors. Made by `create_app`, served by `cli.serve`."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from mls_crm_sync import __version__

from . import (
    absence,
    browsing,
    dashboard,
    doors,
    idempotency,
    listings,
    operations,
    problems,
    properties,
    proposals,
    runs,
    schedules,
    scraper,
    sources,
)
from .context import Service

ROOMS = (
    properties,
    listings,
    browsing,
    scraper,
    operations,
    absence,
    proposals,
    sources,
    schedules,
    runs,
)  # asked in this order: what is asked for most comes first

PROBLEMS = frozenset({f"#/components/schemas/{model.__name__}" for model in (problems.Problem, problems.NotReady)})

DESCRIPTION = """
Keeps the property records of a real-estate CRM in step with MLS listings.

Errors are problem+json with `code` and `request_id`. Lists are `{"items": [...], "next_cursor": ...}`. Money is decimal
text, instants are UTC. On a developer's machine no key is needed; elsewhere send `Authorization: Bearer KEY`.
"""


def create_app(service: Service, *, local_mode: bool) -> FastAPI:
    """Return the ASGI application. `local_mode`: requests from this machine need no key; see `permissions`."""
    app = FastAPI(
        title="mls-crm-sync",
        version=__version__,
        description=DESCRIPTION.strip(),
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.responses(401, 403, 413, 422, 503),
        separate_input_output_schemas=False,
    )
    app.state.service = service
    for room in ROOMS:
        app.include_router(room.router)
    problems.install(app)
    app.openapi = partial(document, app)  # type: ignore[method-assign] # the documented way to change the document
    app.add_middleware(idempotency.Idempotency, db=service.db)
    app.add_middleware(doors.BodyLimit)
    app.add_middleware(doors.Guard, routes=routes(app), db=service.db, local_mode=local_mode)
    app.add_middleware(dashboard.Dashboard, routes=routes(app))
    app.add_middleware(doors.RequestIds)
    return app


def routes(app: FastAPI) -> list[Route]:
    """Return every route of the application, those of its routers included."""
    own = [route for route in app.routes if isinstance(route, Route)]
    return own + [route for room in ROOMS for route in room.router.routes if isinstance(route, Route)]


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document as it is committed; errors have the media type they are sent with."""
    if app.openapi_schema is None:
        app.openapi_schema = FastAPI.openapi(app)
        for path in app.openapi_schema["paths"].values():
            for method, operation in path.items():
                if method.upper() in idempotency.METHODS:
                    idempotency.document(operation)
                for response in operation["responses"].values():
                    _as_problem(response)
    return app.openapi_schema


def _as_problem(response: dict[str, Any]) -> None:
    body = response.get("content", {}).get("application/json")
    if body and body["schema"].get("$ref") in PROBLEMS:
        response["content"] = {problems.CONTENT_TYPE: body}
