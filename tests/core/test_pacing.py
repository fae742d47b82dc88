"""Budgets and the breaker, against plain counting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls_crm_sync.core import pacing
from mls_crm_sync.core.errors import InvalidInput
from mls_crm_sync.core.pacing import Breaker, Marks

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@given(
    st.dictionaries(st.sampled_from(["second", "minute"]), st.integers(1, 5), min_size=1),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.lists(st.floats(0, 20), min_size=1, max_size=40),
)
def test_start_is_the_earliest_that_no_window_forbids(limits: dict[str, int], delay: float, waits: list[float]) -> None:
    budget = pacing.budget_of(limits, delay)
    starts: list[datetime] = []
    now = NOON
    for wait in waits:
        now = max(now, starts[-1] if starts else now) + timedelta(seconds=wait)
        nth = {w: starts[-n] if len(starts) >= n else None for w, n in budget.starts.items()}
        start = pacing.next_start(now, budget, Breaker(), Marks(starts[-1] if starts else None, nth, {}))

        def allowed(at: datetime) -> bool:
            log = [*starts, at]
            near = not starts or at - starts[-1] >= budget.delay
            return near and all(sum(at - w < one <= at for one in log) <= n for w, n in budget.starts.items())

        assert start >= now
        assert allowed(start)
        assert start == now or not allowed(start - timedelta(microseconds=1)), "no later than it has to be"
        starts.append(start)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 60))
def test_waits_stay_within_their_bounds(jitter: float, times: int) -> None:
    breaker, until = Breaker(), NOON
    for _ in range(pacing.FAILURES):
        breaker = pacing.failed(breaker, until, jitter)
    for _ in range(times):
        assert breaker.open_until is not None
        wait = breaker.open_until - until
        assert pacing.SHORTEST_OPEN / 2 <= wait <= pacing.LONGEST_OPEN
        until = breaker.open_until
        breaker = pacing.failed(breaker, until, jitter)
    limited = pacing.limited(Breaker(limited=times), NOON, None, jitter)
    assert limited.not_before is not None
    assert timedelta(0) <= limited.not_before - NOON <= pacing.LONGEST_WAIT


def test_late_failures_open_an_open_breaker_no_further() -> None:
    breaker = Breaker()
    for _ in range(pacing.FAILURES):
        breaker = pacing.failed(breaker, NOON, 0.5)
    assert pacing.failed(breaker, NOON, 0.5).open_until == breaker.open_until
    assert not pacing.answered(breaker).open


@pytest.mark.parametrize(
    ("limits", "delay", "member"),
    [
        ({"week": 1}, 0, "limits.week"),
        ({"hour": 0}, 0, "limits.hour"),
        ({"hour": True}, 0, "limits.hour"),
        ({"bytes_second": 1}, 0, "limits.bytes_second"),
        ({}, -1, "request_delay"),
        ({}, 61, "request_delay"),
        ({}, float("nan"), "request_delay"),
    ],
)
def test_what_is_no_budget_is_refused_by_member(limits: dict[str, int], delay: float, member: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        pacing.budget_of(limits, delay)
    assert refused.value.member == member
