"""Due times: a cron expression of five fields in an IANA zone, next runs, and what falls due in a span. Pure.

The rules at the edges of daylight saving are Vixie cron's: where neither minute nor hour begins with `*`, a run whose
hour is repeated happens once, and one whose hour is skipped moves to the first minute after the gap; all others follow
elapsed time. `cronsim` says which minutes of a wall clock match; which instants those are is told here: its own walk
through a zone leaves runs out where the clocks move by half an hour (2.8, Australia/Lord_Howe).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice, pairwise, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from .errors import InvalidInput

DEFAULT_MINIMUM = timedelta(minutes=5)
WITHIN = timedelta(days=366)
"""A schedule that does not run within a year is a mistake."""
LOOKED_AT = 1500
"""Due times that are compared with the minimum. Minutes and hours repeat daily, so two days have every distance within
an hour and across one; at a distance of five minutes those are 576."""
LONGEST = 100

_FIELDS = ("minute", "hour", "day", "month", "weekday")
_RANGES = ("0 to 59", "0 to 23", "1 to 31", "1 to 12 or JAN to DEC", "0 to 7 or SUN to SAT")
_ANY = ["*"] * 5
_STEPS_THROUGH_ONE = re.compile(r"\b(\w+)-\1/")
"""`4-4/7`, which the library takes for `4-23/7` and others for `4`."""
_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`cron` has single spaces between its five fields."""

    cron: str
    zone: ZoneInfo


class CronProblem(NamedTuple):
    """Why an expression is none. `field` is expression, minute, hour, day, month or weekday."""

    field: str
    reason: str


class Due(NamedTuple):
    """Due times of a span: the latest (UTC), how many there are before it, and the first of all."""

    latest: datetime | None
    earlier: int
    first: datetime | None


class Run(NamedTuple):
    """A run to come: its instant in UTC, and the same on the wall of its zone."""

    at: datetime
    local: datetime


class Change(NamedTuple):
    """The clocks of a zone change: at the first instant of the new time they would show `wall` and show `then`, both
    without a zone.
    """

    wall: datetime
    then: datetime


class Preview(NamedTuple):
    """What a schedule will do: `runs_per_day` is the mean of the next seven days, `daylight_saving` says in sentences
    what becomes of its runs when the clocks change within a year.
    """

    runs: list[Run]
    runs_per_day: float
    daylight_saving: list[str]


def normalised(expression: str) -> str:
    """Return an expression without surrounding quotes, with single spaces."""
    text = expression.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return " ".join(text.split())


def problem_of(expression: str) -> CronProblem | None:
    """Return what is wrong with an expression, None for one that can be parsed."""
    text = normalised(expression)
    if len(text) > LONGEST or not text.isascii():
        return CronProblem("expression", f"must be at most {LONGEST} plain characters")
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return CronProblem("expression", f"has {len(parts)} fields, it needs five: {' '.join(_FIELDS)}")
    for place, (name, part) in enumerate(zip(_FIELDS, parts, strict=True)):
        if not _parses(" ".join([*_ANY[:place], part, *_ANY[place + 1 :]])) or _STEPS_THROUGH_ONE.search(part):
            return CronProblem(name, f"{part!r} is no {name}; {_RANGES[place]}, as lists, ranges (1-5) and steps (*/5)")
    if not _parses(text):  # each field for itself is fine
        return CronProblem("day", "never comes: no month that is named has such a day")
    return None


def _parses(text: str) -> bool:
    try:
        CronSim(text, _ANCHOR)
    except (CronSimError, ValueError, AssertionError):
        return False
    return True


def schedule_of(expression: str, timezone: str = "UTC") -> Schedule:
    """Raises InvalidInput for `cron_expression` or `timezone`."""
    problem = problem_of(expression)
    if problem is not None:
        subject = "" if problem.field == "expression" else f"{problem.field}: "
        raise InvalidInput("cron_expression", f"{subject}{problem.reason}")
    return Schedule(normalised(expression), _zone(timezone))


def _zone(timezone: str) -> ZoneInfo:
    if timezone not in _zones():
        raise InvalidInput("timezone", f"{timezone!r} is no IANA time zone; America/New_York is one")
    return ZoneInfo(timezone)


@cache
def _zones() -> set[str]:
    """The names that mean the same on every machine: `localtime` and the like are none."""
    return available_timezones() - {"localtime", "posixrules", "Factory"}


def check(schedule: Schedule, now: datetime, minimum: timedelta = DEFAULT_MINIMUM) -> None:
    """Raises InvalidInput where it does not run within a year, or two runs are nearer than `minimum`."""
    wall = Schedule(schedule.cron, ZoneInfo("UTC"))  # what daylight saving moves is not too often
    due = list(islice(takewhile(lambda at: at - now <= WITHIN, _after(wall, now)), LOOKED_AT))
    if not due:
        raise InvalidInput("cron_expression", "it would not run within a year")
    nearest = min((later - earlier for earlier, later in pairwise(due)), default=minimum)
    if nearest < minimum:
        raise InvalidInput(
            "cron_expression",
            f"runs every {_minutes(nearest)} are too often; the least distance is {_minutes(minimum)}",
        )


def _minutes(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes} minute" if minutes == 1 else f"{minutes} minutes"


def next_run(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the first due time after an instant, UTC; None where there is none for fifty years."""
    return next(_after(schedule, after), None)


def next_runs(schedule: Schedule, after: datetime, n: int) -> list[datetime]:
    return list(islice(_after(schedule, after), n))


def due_between(schedule: Schedule, after: datetime, until: datetime) -> Due:
    """Return the due times after an instant, up to another and with it."""
    first = latest = None
    count = 0
    for at in _after(schedule, after):
        if at > until:
            break
        first, latest, count = first or at, at, count + 1
    return Due(latest, max(0, count - 1), first)


def _after(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield due times after an instant, in UTC, each once: runs that are moved may fall on others."""
    last = after.astimezone(UTC)
    for at in (_by_elapsed_time if _follows_elapsed_time(schedule) else _by_the_wall)(schedule, last):
        if at > last:
            yield at
            last = at


def _by_the_wall(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield an instant for each minute of the wall that matches: the first of two, the next where there is none."""
    for wall in CronSim(schedule.cron, after.astimezone(schedule.zone).replace(tzinfo=None)):
        at = wall.replace(tzinfo=schedule.zone)
        while at.astimezone(UTC).astimezone(schedule.zone).replace(tzinfo=None) != at.replace(tzinfo=None):
            at += timedelta(minutes=1)  # of the wall clock: on to the end of the gap
        yield at.astimezone(UTC)


def _by_elapsed_time(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield every instant whose wall clock matches, from one change of the clocks to the next."""
    begin = after.replace(tzinfo=None)
    while True:
        change = _next_change(schedule.zone, begin)
        offset = _offset(schedule.zone, begin)
        for wall in CronSim(schedule.cron, begin + offset):
            at = wall - offset
            if at >= change:
                break
            yield at.replace(tzinfo=UTC)
        else:
            return
        first = change + _offset(schedule.zone, change)
        if next(CronSim(schedule.cron, first - timedelta(seconds=1)), None) == first:
            yield change.replace(tzinfo=UTC)
        begin = change


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    """Return how far a zone's clocks are ahead of UTC at an instant, given in UTC without a zone."""
    return at.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta(0)


def _next_change(zone: ZoneInfo, after: datetime) -> datetime:
    """Return when the clocks of a zone change next, UTC without a zone; or an instant up to which they do not."""
    for year in (after.year, after.year + 1):
        for at in _changes_of(zone, year):
            if at > after:
                return at
    return datetime(after.year + 2, 1, 1)  # noqa: DTZ001 - as all of it here


@lru_cache(maxsize=256)
def _changes_of(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Return the first instants of other time in a year, UTC without a zone."""
    day = datetime(year, 1, 1)  # noqa: DTZ001
    found = []
    while day.year == year:
        low, high = day, day + timedelta(days=1)
        before = _offset(zone, low)
        if _offset(zone, high) != before:
            while high - low > timedelta(minutes=1):
                middle = low + timedelta(minutes=(high - low) // timedelta(minutes=2))
                low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
            found.append(high)
        day += timedelta(days=1)
    return tuple(found)


def preview(schedule: Schedule, now: datetime, n: int = 5) -> Preview:
    runs = [Run(at, at.astimezone(schedule.zone)) for at in next_runs(schedule, now, n)]
    week = due_between(schedule, now, now + timedelta(days=7))
    count = 0 if week.latest is None else 1 + week.earlier
    notes = [_note(schedule, change) for change in islice(_changes(schedule.zone, now), 2)]
    return Preview(runs, round(count / 7, 2), notes)


def _changes(zone: ZoneInfo, now: datetime) -> Iterator[Change]:
    """Yield when the clocks of a zone change within a year."""
    at = now.astimezone(UTC).replace(tzinfo=None)
    end = at + WITHIN
    while (at := _next_change(zone, at)) <= end:
        before, after = _offset(zone, at - timedelta(minutes=1)), _offset(zone, at)
        if before != after:
            yield Change(at + before, at + after)


def _note(schedule: Schedule, change: Change) -> str:
    forward = change.then > change.wall
    start, end = sorted((change.wall, change.then))
    walls = CronSim(schedule.cron, start - timedelta(minutes=1))
    met = []
    for wall in walls:
        if wall >= end:
            break
        met.append(wall)
    way = "forward" if forward else "back"
    what = f"{change.wall:%Y-%m-%d}: clocks go {way} from {change.wall:%H:%M} to {change.then:%H:%M}"
    if not met:
        return f"{what}; no run is affected"
    runs = "the run of " if len(met) == 1 else "the runs from "
    runs += f"{met[0]:%H:%M}" if len(met) == 1 else f"{met[0]:%H:%M} to {met[-1]:%H:%M}"
    verb = "" if len(met) > 1 else "s"
    if _follows_elapsed_time(schedule):
        return (
            f"{what}; {runs} {'do' + ('es' if verb else '') + ' not happen' if forward else 'happen' + verb + ' twice'}"
        )
    return f"{what}; {runs} {f'move{verb} to {change.then:%H:%M}' if forward else f'happen{verb} once'}"


def _follows_elapsed_time(schedule: Schedule) -> bool:
    minute, hour, *_ = schedule.cron.split()
    return minute.startswith("*") or hour.startswith("*")
