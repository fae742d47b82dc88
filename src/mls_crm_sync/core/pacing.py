"""How fast a source may be asked: budgets over sliding windows, and a circuit breaker. Pure: no clock, no IO.

Budgets are over *every* interval of their length, not over hours of the clock: two full hours that touch would be twice
the budget in one. So the start that is next allowed follows from the log of starts: with n a window, one window after
the n-th latest of them.

The breaker opens after so many failures in a row, lets one probe through when its time is over, and closes with the
first success; each failed probe doubles the time, with jitter, up to a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .errors import InvalidInput

WINDOWS: Mapping[str, timedelta] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
BYTES: Mapping[str, timedelta] = {f"bytes_{name}": window for name, window in WINDOWS.items() if name != "second"}
MOST = 10**12

FAILURES = 5
"""In a row that open the breaker."""
SHORTEST_OPEN = timedelta(seconds=30)
LONGEST_OPEN = timedelta(minutes=30)
PROBE = timedelta(minutes=5)
"""How long a probe may say nothing before its process is taken for dead and another one may probe."""
LONGEST_WAIT = timedelta(minutes=15)
"""Of what a source may ask for: a Retry-After of a week is a mistake, and would look like one of ours."""
SHORTEST_WAIT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many starts and bytes a source allows in any interval of a length, and the least time between two starts."""

    starts: Mapping[timedelta, int]
    sizes: Mapping[timedelta, int]
    delay: timedelta

    @property
    def memory(self) -> timedelta:
        """For how long starts have to be remembered."""
        return max((self.delay, *self.starts, *self.sizes))


def budget_of(limits: Mapping[str, int], request_delay: float = 0.0) -> Budget:
    """Return the budget of limits by name (of `WINDOWS` and `BYTES`) and the least seconds between two starts.

    Raises InvalidInput.
    """
    for name, limit in limits.items():
        if name not in WINDOWS and name not in BYTES:
            raise InvalidInput(f"limits.{name}", f"is unknown; known are {', '.join((*WINDOWS, *BYTES))}")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MOST:
            raise InvalidInput(f"limits.{name}", "must be a whole number above 0")
    if not 0 <= request_delay <= 60:  # also refuses what is no number
        raise InvalidInput("request_delay", "must be from 0 to 60 seconds")
    return Budget(
        {WINDOWS[name]: limit for name, limit in limits.items() if name in WINDOWS},
        {BYTES[name]: limit for name, limit in limits.items() if name in BYTES},
        timedelta(seconds=request_delay),
    )


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of a source's health."""

    failures: int = 0  # in a row
    openings: int = 0  # in a row: without a success in between
    open_until: datetime | None = None
    probe_until: datetime | None = None  # somebody probes
    limited: int = 0  # 429s in a row
    not_before: datetime | None = None  # the source's own word
    stopped_at: datetime | None = None  # it refused us, and is of a kind that is not asked again until a person says so

    @property
    def open(self) -> bool:
        return self.open_until is not None

    def shut_until(self, now: datetime) -> datetime | None:
        """Return until when nobody may ask, or None: now one may; while it is open, as its probe."""
        waits = [at for at in (self.open_until, self.probe_until) if at is not None and at > now]
        return max(waits, default=None) if self.open else None


def answered(before: Breaker) -> Breaker:
    """Return what a success makes of it: closed, and nothing held against the source."""
    return Breaker(not_before=before.not_before, stopped_at=before.stopped_at)


def refused(before: Breaker, now: datetime, *, stops: bool) -> Breaker:
    """Return what a refusal makes of it: the source does answer; of a kind that `stops` nobody asks it any more."""
    after = answered(before)
    return replace(after, stopped_at=after.stopped_at or now) if stops else after


def failed(before: Breaker, now: datetime, jitter: float) -> Breaker:
    """Return what a failure makes of it; `jitter` is from 0 up to 1, for this decision alone.

    What comes in late from requests that began before it opened opens it no further.
    """
    failures = before.failures + 1
    probing = before.open and before.open_until is not None and before.open_until <= now
    if (before.open and not probing) or (not before.open and failures < FAILURES):
        return replace(before, failures=failures)
    bound = min(LONGEST_OPEN, SHORTEST_OPEN * 2 ** min(before.openings, 16))
    until = now + bound * (1 + jitter) / 2  # at least half of it: a breaker that closes at once is none
    return replace(before, failures=failures, openings=before.openings + 1, open_until=until, probe_until=None)


def limited(before: Breaker, now: datetime, retry_after: float | None, jitter: float) -> Breaker:
    """Return what a 429 makes of it: nobody asks before the time it names, or a growing one with full jitter."""
    if retry_after is None:
        bound = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** min(before.limited, 16))
        wait = bound * jitter
    else:
        wait = min(LONGEST_WAIT, timedelta(seconds=retry_after))
    until = max(now + wait, before.not_before or now)
    return replace(before, limited=before.limited + 1, not_before=until, probe_until=None)


@dataclass(frozen=True, slots=True)
class Marks:
    """What the log of starts says: the latest; for each window of starts, the n-th latest; for each window of bytes,
    the start that has to leave it before there is room. None: there is none, or there is room.
    """

    latest: datetime | None
    nth: Mapping[timedelta, datetime | None]
    spent: Mapping[timedelta, datetime | None]


def next_start(now: datetime, budget: Budget, breaker: Breaker, marks: Marks) -> datetime:
    """Return when a request may start at the earliest."""
    times = [now]
    if breaker.not_before is not None:
        times.append(breaker.not_before)
    if marks.latest is not None:
        times.append(marks.latest + budget.delay)
    for windows in (marks.nth, marks.spent):
        times += [at + window for window, at in windows.items() if at is not None]
    return max(times)
