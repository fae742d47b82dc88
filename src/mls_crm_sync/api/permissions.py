"""Who may call what: one table for all routes. A route without a row is denied, and a test walks every route.

    None    open: no key asked
    Scope   a bearer key that holds it (or `admin`), or local mode

Local mode, on while the service is bound to loopback and no key is required: a request from this machine, made to this
machine by name, neither passed on by a proxy nor sent by a page of somebody else, counts as an admin's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from mls_crm_sync.core.access import Scope

R, CRM, LINKS, RUN, ADMIN = Scope.READ, Scope.WRITE_CRM, Scope.WRITE_LINKS, Scope.RUN, Scope.ADMIN
CONFIG = Scope.WRITE_CONFIG

PERMISSIONS: Mapping[tuple[str, str], Scope | None] = {
    ("GET", "/health"): None,
    ("GET", "/ready"): None,
    ("GET", "/api/openapi.json"): R,
    ("GET", "/api/me"): R,
    ("GET", "/api/about"): R,
    ("GET", "/api/overview"): R,
    ("GET", "/api/changes"): R,
    ("GET", "/api/property-summaries"): R,
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
    ("GET", "/api/properties/{id}/compare"): R,
    ("GET", "/api/properties/{id}/history"): R,
    ("POST", "/api/properties/{id}/sync-from-mls"): LINKS,
    ("POST", "/crm-property-reference"): LINKS,
    ("DELETE", "/crm-property-reference"): LINKS,
    ("POST", "/sync-property"): LINKS,
    ("GET", "/api/mls-properties"): R,
    ("POST", "/api/mls-properties"): RUN,
    ("POST", "/api/mls-properties/purge"): ADMIN,
    ("GET", "/api/mls-properties/{id}"): R,
    ("GET", "/api/mls-properties/{id}/changes"): R,
    ("GET", "/api/mls-properties/{id}/crm-properties"): R,
    ("DELETE", "/api/mls-properties/{id}"): ADMIN,
    ("GET", "/api/source-kinds"): R,
    ("GET", "/api/sources"): R,
    ("POST", "/api/sources"): CONFIG,
    ("PATCH", "/api/sources/{id}"): CONFIG,
    ("DELETE", "/api/sources/{id}"): CONFIG,
    ("POST", "/api/sources/{id}/check"): RUN,
    ("POST", "/api/sources/{id}/resume"): CONFIG,
    ("GET", "/api/absence-holds"): R,
    ("POST", "/api/absence-holds/{hold_id}/release"): RUN,
    ("POST", "/api/absence-holds/{hold_id}/reject"): RUN,
    ("GET", "/api/proposals"): R,
    ("POST", "/api/proposals/{id}/accept"): CRM,
    ("POST", "/api/proposals/{id}/dismiss"): CRM,
    ("GET", "/active-properties-config"): R,
    ("PUT", "/active-properties-config"): CONFIG,
    ("POST", "/active-properties-config/toggle"): CONFIG,
    ("POST", "/api/active-properties/run"): RUN,
    ("GET", "/api/schedule/preview"): R,
    ("GET", "/api/scheduled-jobs"): R,
    ("POST", "/api/scheduled-jobs"): CONFIG,
    ("GET", "/api/scheduled-jobs/{id}"): R,
    ("PATCH", "/api/scheduled-jobs/{id}"): CONFIG,
    ("DELETE", "/api/scheduled-jobs/{id}"): CONFIG,
    ("POST", "/api/scheduled-jobs/{id}/toggle"): CONFIG,
    ("POST", "/api/scheduled-jobs/{id}/pause"): CONFIG,
    ("POST", "/api/scheduled-jobs/{id}/resume"): CONFIG,
    ("POST", "/api/scheduled-jobs/{id}/run"): RUN,
    ("POST", "/api/scheduled-jobs/{id}/selection"): R,
    ("GET", "/api/scheduled-jobs/{id}/edits"): R,
    ("GET", "/api/runs"): R,
    ("GET", "/api/runs/{run_id}"): R,
    ("GET", "/api/runs/{run_id}/locations"): R,
    ("GET", "/api/runs/{run_id}/changes"): R,
    ("GET", "/api/runs/{run_id}/errors"): R,
    ("GET", "/api/runs/{run_id}/log"): R,
    ("POST", "/api/runs/{run_id}/cancel"): RUN,
    ("POST", "/api/runs/{run_id}/retry-failed"): RUN,
    ("GET", "/api/workers"): R,
    ("GET", "/api/quarantine"): R,
    ("POST", "/api/quarantine/retry"): RUN,
    ("GET", "/api/events"): R,
    ("GET", "/api/stats"): R,
    ("GET", "/api/keys"): ADMIN,
    ("POST", "/api/keys"): ADMIN,
    ("DELETE", "/api/keys/{key_id}"): ADMIN,
}

FORWARDING = frozenset({
    "forwarded", "forwarded-for", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip",
    "x-envoy-external-address",
})  # fmt: skip
FORWARDING_BEGINNINGS = ("x-forwarded", "x-original-", "x-envoy-", "cf-", "fastly-", "x-azure-", "x-appengine-")
"""Names of the headers of proxies: behind one, "from this machine" says nothing about who is asking."""

_HOST = re.compile(r"(localhost|127(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)


def is_loopback_host(host: str) -> bool:
    """Whether a Host header or a bind address names this machine alone. `localhost` counts, other names do not."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").lower()
    return name == "localhost" or _is_loopback_address(name)


def is_local(client: str | None, headers: Iterable[tuple[str, str]]) -> bool:
    """Whether a request may have local mode. `headers` are all its headers, names in lower case.

    A page that somebody else serves sends its Origin, or is same-site by a rebinding name that Host gives away. Of two
    Hosts or Origins it is not known which one counts for whoever passed them on.
    """
    sent = list(headers)
    if client is None or not _is_loopback_address(client) or any(_is_forwarding(name) for name, _ in sent):
        return False
    hosts, origins, sites = ([value for n, value in sent if n == name] for name in ("host", "origin", "sec-fetch-site"))
    if len(hosts) != 1 or not is_loopback_host(hosts[0]):
        return False
    if origins:
        return origins == [f"http://{hosts[0]}"]
    return set(sites) <= {"none", "same-origin"}


def _is_forwarding(name: str) -> bool:
    return name in FORWARDING or name.startswith(FORWARDING_BEGINNINGS)


def _is_loopback_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
