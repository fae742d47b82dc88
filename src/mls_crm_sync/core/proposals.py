"""What is proposed of a CRM property whose listing is over: `crm_status` is the CRM's, so nobody but a person sets it.

Pure: no IO, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping

ACTIVE = "active"
"""The `crm_status` of properties that are on the market for the CRM: those that are re-read, and proposed about."""

ENDED: Mapping[str, str] = {
    "Closed": "closed",
    "Expired": "expired",
    "Canceled": "canceled",
    "Withdrawn": "withdrawn",
    "Delete": "off_market",
}
"""The StandardStatus values (RESO Data Dictionary) under which a listing is over, and the `crm_status` to suggest for
each. Pending, Hold and Active Under Contract are off the market or nearly so, but not over."""

NOT_SHOWN = "off_market"
"""... and for a listing that is absent: nobody knows how it ended."""


def suggested_status(standard_status: str | None) -> str:
    """Return the `crm_status` to suggest for a property whose listing is over, or absent."""
    return ENDED.get(standard_status or "", NOT_SHOWN)
