"""Ages, computed when shown: stored, they would be wrong the next day. No IO, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

_STILL_COUNTING = frozenset({"Active", "Active Under Contract"})
_LAST_DAY = ("OffMarketDate", "PurchaseContractDate", "CloseDate", "WithdrawnDate", "ExpirationDate")


def ages(fields: Mapping[str, Any], today: date) -> dict[str, int]:
    """Return DaysOnMarket: from the first day on the market to today, or to the day the listing left it.

    RESO counts by the MLS's business rules; this is the plain count of days. Absent where the dates do not tell.
    """
    began = _date(fields.get("OnMarketDate")) or _date(fields.get("ListingContractDate"))
    if began is None:
        return {}
    ended = today if fields.get("StandardStatus") in _STILL_COUNTING else _left(fields)
    return {"DaysOnMarket": (ended - began).days} if ended is not None and ended >= began else {}


def _left(fields: Mapping[str, Any]) -> date | None:
    days = (_date(fields.get(name)) for name in _LAST_DAY)
    return min((day for day in days if day is not None), default=None)


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
