"""Due times against a brute force that knows nothing of the library: minute by minute over zoneinfo.

1,000 random expressions in six zones around both changes of the clocks. `SCHEDULE_SEED` replays a failure.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from mls_crm_sync.core import schedule
from mls_crm_sync.core.errors import InvalidInput

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NOW = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)

ZONES = {  # the days of both changes in 2026; Kolkata has none
    "America/New_York": ((3, 8), (11, 1)),
    "America/Los_Angeles": ((3, 8), (11, 1)),
    "Europe/London": ((3, 29), (10, 25)),
    "Australia/Lord_Howe": ((4, 5), (10, 4)),  # by half an hour
    "America/Santiago": ((4, 4), (9, 5)),  # at midnight
    "Asia/Kolkata": ((3, 8), (11, 1)),
}
EXPRESSIONS = int(os.environ.get("SCHEDULE_EXPRESSIONS", "1000"))


# -- the brute force ---------------------------------------------------------------------------------------------------


class Fields(NamedTuple):
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    both: bool  # a day has to match by both of its fields, since one begins with a star
    fixed: bool  # neither minute nor hour begins with a star

    def match_day(self, at: datetime) -> bool:
        by_date, by_week = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return at.month in self.months and (by_date and by_week if self.both else by_date or by_week)

    def match(self, at: datetime) -> bool:
        return at.minute in self.minutes and at.hour in self.hours and self.match_day(at)


def parsed(expression: str) -> Fields:
    texts = expression.split()
    ranges = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    sets = [_values(text, *span) for text, span in zip(texts, ranges, strict=True)]
    sets[4] = {day % 7 for day in sets[4]}
    both = texts[2].startswith("*") or texts[4].startswith("*")
    fixed = not (texts[0].startswith("*") or texts[1].startswith("*"))
    minutes, hours, days, months, weekdays = map(frozenset, sets)
    return Fields(minutes, hours, days, months, weekdays, both, fixed)


def _values(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        else:
            one, _, other = span.partition("-")
            first, last = int(one), int(other or one)
            if step and not other:
                last = high
        found |= set(range(first, last + 1, int(step or 1)))
    return found


class Minutes(NamedTuple):
    """Three days around a change: every minute as the wall shows it, and every minute that a wall could show."""

    begin: datetime
    end: datetime
    real: tuple[tuple[datetime, datetime], ...]  # UTC, wall
    walls: tuple[tuple[datetime, datetime], ...]  # wall, the instant of a run that is fixed to it


@cache
def minutes_of(zone_name: str, month: int, day: int) -> Minutes:
    zone = ZoneInfo(zone_name)
    middle = datetime(2026, month, day, 12, tzinfo=UTC)
    begin, end = middle - 1.5 * DAY, middle + 1.5 * DAY
    real = []
    at = begin
    while at <= end:
        real.append((at, at.astimezone(zone).replace(tzinfo=None)))
        at += MINUTE
    first_shown: dict[datetime, datetime] = {}
    for instant, wall in real:
        first_shown.setdefault(wall, instant)
    walls = []
    wall, last = real[0][1], real[-1][1]
    while wall <= last:
        shown = wall
        while shown not in first_shown and shown <= last:  # in the gap: moves to its end
            shown += MINUTE
        if shown in first_shown:
            walls.append((wall, first_shown[shown]))
        wall += MINUTE
    return Minutes(begin, end, tuple(real), tuple(walls))


def brute_force(fields: Fields, minutes: Minutes) -> list[datetime]:
    if fields.fixed:
        return sorted({instant for wall, instant in minutes.walls if fields.match(wall)})
    return [instant for instant, wall in minutes.real if fields.match(wall)]


# -- random expressions ------------------------------------------------------------------------------------------------


MINUTES_OF = ["0", "30", "N", "*/15", "*/7", "*", "0,30", "5-50/9", "15,45", "59", "10-20"]
HOURS_OF = ["*", "2", "1", "0", "3", "*/2", "1-3", "0,1,2,3", "*/3", "23", "N", "0-6/2", "2/5"]
DAYS_OF = ["*", "*", "*", "*/2", "1-15", "8", "29", "1,25,31", "N"]
MONTHS_OF = ["*", "*", "*", "3,4,10,11", "3-11", "9"]
WEEKDAYS_OF = ["*", "*", "*", "0", "7", "1-5", "0,6", "*/2", "5,6,7"]


def an_expression(rng: random.Random) -> str:
    """Like what people write, with many that run at night."""
    minute = rng.choice(MINUTES_OF).replace("N", str(rng.randrange(60)))
    hour = rng.choice(HOURS_OF).replace("N", str(rng.randrange(24)))
    days = rng.choice(DAYS_OF).replace("N", str(rng.randrange(1, 29)))
    month, weekday = rng.choice(MONTHS_OF), rng.choice(WEEKDAYS_OF)
    return f"{minute} {hour} {days} {month} {weekday}"


def test_due_times_equal_a_brute_force_minute_by_minute() -> None:
    seed = int(os.environ.get("SCHEDULE_SEED", random.randrange(2**32)))
    print(f"SCHEDULE_SEED={seed}")  # noqa: T201 - shown when the test fails, to replay it
    rng = random.Random(seed)
    compared = 0
    for _ in range(EXPRESSIONS):
        expression = an_expression(rng)
        fields = parsed(expression)
        for zone, changes in ZONES.items():
            one = schedule.schedule_of(expression, zone)
            for change in changes:
                minutes = minutes_of(zone, *change)
                wanted = brute_force(fields, minutes)
                after = minutes.begin - MINUTE
                if rng.random() < 0.5:  # from anywhere, also from within a gap or a repeated hour
                    after = minutes.begin + rng.random() * 3 * DAY
                    wanted = [at for at in wanted if at > after]
                found = list(_due(one, after, minutes.end))
                assert found == wanted, (expression, zone, change, after)
                compared += len(found)
    assert compared > 100 * EXPRESSIONS


def _due(one: schedule.Schedule, after: datetime, end: datetime) -> Iterator[datetime]:
    for at in schedule._after(one, after):
        if at > end:
            return
        yield at


# -- by hand -----------------------------------------------------------------------------------------------------------


def local(expression: str, zone: str, day: str, n: int = 3) -> list[str]:
    one = schedule.schedule_of(expression, zone)
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    return [at.astimezone(one.zone).isoformat()[:16] for at in schedule.next_runs(one, begin, n)]


@pytest.mark.parametrize(
    ("expression", "zone", "day", "runs"),
    [
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00", ["2026-03-08T03:00", "2026-03-09T02:30"]),
        ("0,30 2,3 * * *", "America/New_York", "2026-03-08T00:00", ["2026-03-08T03:00", "2026-03-08T03:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["2026-11-01T01:30", "2026-11-02T01:30"]),
        ("0 * * * *", "America/New_York", "2026-11-01T00:30", ["2026-11-01T01:00", "2026-11-01T01:00"]),
        ("0 * * * *", "America/New_York", "2026-03-08T01:30", ["2026-03-08T03:00", "2026-03-08T04:00"]),
        ("*/15 0 * * *", "America/Santiago", "2026-09-05T12:00", ["2026-09-07T00:00", "2026-09-07T00:15"]),
        ("*/15 3 * * *", "Australia/Lord_Howe", "2026-10-04T00:00", ["2026-10-04T03:00", "2026-10-04T03:15"]),
        ("0 12 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T12:00", "2032-02-29T12:00"]),
        ("0 0 13 * 5", "UTC", "2026-02-01T00:00", ["2026-02-06T00:00", "2026-02-13T00:00"]),
    ],
)
def test_edges_as_vixie_cron_has_them(expression: str, zone: str, day: str, runs: list[str]) -> None:
    assert local(expression, zone, day, 2) == runs


def test_repeated_hour_is_not_run_again_from_within_it() -> None:
    one = schedule.schedule_of("30 1 * * *", "America/New_York")
    second = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)  # 01:10 for the second time
    found = schedule.next_run(one, second)
    assert found == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "field", "reason"),
    [
        ("", "expression", "0 fields"),
        ("0 * * *", "expression", "4 fields"),
        ("0 0 * * * *", "expression", "6 fields"),
        ("0 * * * * # hourly", "expression", "7 fields"),
        ("60 * * * *", "minute", "'60'"),
        ("*/0 * * * *", "minute", "'*/0'"),
        ("-1 * * * *", "minute", "'-1'"),
        ("0 24 * * *", "hour", "0 to 23"),
        ("0 5-3 * * *", "hour", "'5-3'"),
        ("0 1,4-4/7 * * *", "hour", "'1,4-4/7'"),
        ("0 0 0 * *", "day", "1 to 31"),
        ("0 0 1 13 *", "month", "1 to 12"),
        ("0 0 * * 8", "weekday", "0 to 7"),
        ("0 0 30 2 *", "day", "never comes"),
        ("0 0 31 4,6 *", "day", "never comes"),
        ("@hourly", "expression", "1 fields"),
        ("0 ² * * *", "expression", "plain"),
        ("0 " * 60, "expression", "at most 100"),
    ],
)
def test_what_is_wrong_is_said_by_field(expression: str, field: str, reason: str) -> None:
    problem = schedule.problem_of(expression)
    assert problem is not None
    assert problem.field == field
    assert reason in problem.reason
    with pytest.raises(InvalidInput) as refused:
        schedule.schedule_of(expression)
    assert refused.value.member == "cron_expression"


@pytest.mark.parametrize("expression", ["'0 * * * *'", '"0 * * * *"', "  0  *  * * *\n", "' 0 * * * * '"])
def test_quotes_and_spaces_around_it_are_nothing(expression: str) -> None:
    assert schedule.schedule_of(expression).cron == "0 * * * *"


@pytest.mark.parametrize(
    "name", ["America", "../etc/passwd", "", "Nowhere/X", "a\x00b", "x" * 300, "localtime", "posix/UTC"]
)
def test_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schedule.schedule_of("0 * * * *", name)
    assert refused.value.member == "timezone"


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("*/5 * * * *", True), ("*/4 * * * *", False), ("0,59 * * * *", False), ("0,5 0 * * *", True),
        ("58 23 * * *", True), ("0,56 * * * *", False), ("55,0 23,0 * * *", True), ("56,0 23,0 * * *", False),
        ("0 0 29 2 *", False), ("0 0 1 1 *", True), ("57,1 0 1 1 *", True), ("1,2 0 1 1 *", False),
    ],
)  # fmt: skip
def test_not_too_often_and_within_a_year(expression: str, good: bool) -> None:  # noqa: FBT001 - what is wanted
    one = schedule.schedule_of(expression)
    if good:
        schedule.check(one, NOW)
        return
    with pytest.raises(InvalidInput) as refused:
        schedule.check(one, NOW)
    assert refused.value.member == "cron_expression"


def test_what_daylight_saving_moves_together_is_not_too_often() -> None:
    one = schedule.schedule_of("58 2 * * *", "America/New_York")
    schedule.check(one, datetime(2026, 3, 8, tzinfo=UTC))


def test_due_times_of_a_span() -> None:
    one = schedule.schedule_of("*/5 * * * *", "America/New_York")
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    due = schedule.due_between(one, begin, begin + 60 * DAY)
    assert due == (begin + 60 * DAY, 60 * 288 - 1, begin + 5 * MINUTE)
    assert schedule.due_between(one, begin, begin + MINUTE) == (None, 0, None)
    assert schedule.due_between(one, begin, begin + 5 * MINUTE) == (begin + 5 * MINUTE, 0, begin + 5 * MINUTE)


@pytest.mark.parametrize(
    ("expression", "zone", "notes"),
    [
        (
            "30 2 * * *",
            "America/New_York",
            [
                "2026-03-08: clocks go forward from 02:00 to 03:00; the run of 02:30 moves to 03:00",
                "2026-11-01: clocks go back from 02:00 to 01:00; no run is affected",
            ],
        ),
        (
            "*/20 1 * * *",
            "Europe/London",
            [
                "2026-03-29: clocks go forward from 01:00 to 02:00; the runs from 01:00 to 01:40 do not happen",
                "2026-10-25: clocks go back from 02:00 to 01:00; the runs from 01:00 to 01:40 happen twice",
            ],
        ),
        (
            "15 1 * * *",
            "Europe/London",
            [
                "2026-03-29: clocks go forward from 01:00 to 02:00; the run of 01:15 moves to 02:00",
                "2026-10-25: clocks go back from 02:00 to 01:00; the run of 01:15 happens once",
            ],
        ),
        ("0 * * * *", "Asia/Kolkata", []),
    ],
)
def test_preview_says_what_daylight_saving_does(expression: str, zone: str, notes: list[str]) -> None:
    found = schedule.preview(schedule.schedule_of(expression, zone), NOW, 2)
    assert found.daylight_saving == notes
    assert len(found.runs) == 2


def test_preview_counts_runs_a_day() -> None:
    for expression, mean in (("0 * * * *", 24.0), ("0 2 * * *", 1.0), ("0 2 * * MON", 0.14), ("0 0 1 1 *", 0.0)):
        assert schedule.preview(schedule.schedule_of(expression), NOW).runs_per_day == mean
