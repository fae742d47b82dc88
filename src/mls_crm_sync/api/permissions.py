"""Who may call what: one table for all routes. A route without a row is denied, and a test walks every route.

    None    open: no key asked
    Scope   a bearer key that holds it (or `admin`), or local mode

Local mode, on while the service is bound to loopback and no key is required: a request from this machine, made to this
machine by name, neither passed on by a proxy nor sent by a page of somebody else, counts as an admin's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from mls_crm_sync.core.access import Scope

R, CRM, LINKS, RUN, ADMIN = Scope.READ, Scope.WRITE_CRM, Scope.WRITE_LINKS, Scope.RUN, Scope.ADMIN

PERMISSIONS: Mapping[tuple[str, str], Scope | None] = {
    ("GET", "/health"): None,
    ("GET", "/ready"): None,
    ("GET", "/api/openapi.json"): R,
    ("GET", "/api/properties"): R,
    ("POST", "/api/properties"): CRM,
    ("POST", "/api/properties/bulk"): CRM,
    ("POST", "/api/properties/import"): CRM,
    ("GET", "/api/properties/{id}"): R,
    ("PATCH", "/api/properties/{id}"): CRM,
    ("DELETE", "/api/properties/{id}"): CRM,
    ("POST", "/api/properties/{id}/link-mls"): LINKS,
    ("DELETE", "/api/properties/{id}/unlink-mls"): LINKS,
    ("GET", "/api/properties/{id}/mls-data"): R,
    ("POST", "/api/properties/{id}/sync-from-mls"): LINKS,
    ("POST", "/crm-property-reference"): LINKS,
    ("DELETE", "/crm-property-reference"): LINKS,
    ("POST", "/sync-property"): LINKS,
    ("GET", "/api/mls-properties"): R,
    ("POST", "/api/mls-properties"): RUN,
    ("GET", "/api/mls-properties/{id}"): R,
    ("GET", "/api/mls-properties/{id}/changes"): R,
    ("GET", "/api/mls-properties/{id}/crm-properties"): R,
    ("DELETE", "/api/mls-properties/{id}"): ADMIN,
    ("GET", "/api/quarantine"): R,
    ("POST", "/api/quarantine/retry"): RUN,
    ("GET", "/api/events"): R,
    ("GET", "/api/stats"): R,
    ("GET", "/api/keys"): ADMIN,
    ("POST", "/api/keys"): ADMIN,
    ("DELETE", "/api/keys/{key_id}"): ADMIN,
}

FORWARDING = (
    "forwarded",
    "via",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-client-ip",
)
"""Headers of a proxy: behind one, "from this machine" says nothing about who is asking."""


def is_loopback_host(host: str) -> bool:
    """Whether a Host header or a bind address names this machine alone. `localhost` counts, other names do not."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback_address(name)


def is_local(client: str | None, headers: Mapping[str, str], names: Collection[str]) -> bool:
    """Whether a request may have local mode. `names` are the names of all its headers, lower case.

    A page that somebody else serves sends its Origin, or is same-site by a rebinding name that Host gives away.
    """
    if client is None or not _is_loopback_address(client) or any(name in names for name in FORWARDING):
        return False
    if not is_loopback_host(headers.get("host", "")):
        return False
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    return origin == f"http://{headers.get('host', '')}"


def _is_loopback_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
