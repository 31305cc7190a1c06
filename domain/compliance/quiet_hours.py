"""When a message may not come: quiet hours by the clock where the recipient lives.

The clock is a country's, with its changes of summer time. Where a number leaves several time zones
possible, it must be outside of quiet hours in all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import msgspec

from domain.message import Category, Quiet

SEARCHED: Final = timedelta(days=8)
"""How far ahead a time outside of quiet hours is looked for: a message lives for seven days."""

Clock = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Hours and minutes, 00:00 to 23:59.",
        examples=["21:00"],
    ),
]
"""An hour and minute of the day."""


class QuietHours(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """From `start` to `end` by the recipient's clock, over midnight when `end` comes first; none
    when both are the same. `days` (0 is Monday) are quiet from midnight to midnight."""

    start: Clock
    end: Clock
    days: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, le=6)], ...], msgspec.Meta(max_length=6)
    ] = ()


LAW: Final[dict[tuple[str, Category], QuietHours]] = {
    # As French carriers apply it: no advertising by night, on Sundays and on public holidays; the
    # holidays are not in this table.
    ("FR", Category.MARKETING): QuietHours("20:30", "08:00", days=(6,)),
    # Telecom Regulatory Authority, TCCCPR 2018, schedule II: promotional messages from 10 to 21.
    ("IN", Category.MARKETING): QuietHours("21:00", "10:00"),
    # Florida, Oklahoma and Washington end at 20; a mobile number does not tell the state.
    ("US", Category.MARKETING): QuietHours("20:00", "08:00"),
}
"""What a country asks beyond the tenant's own hours."""


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo | None:
    """The time zone of this IANA name, None when there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


def hours_for(
    own: QuietHours | None, country: str | None, category: Category
) -> tuple[QuietHours, ...]:
    """The quiet hours that count for a recipient in this country."""
    law = LAW.get((country, category)) if country is not None else None
    if law is None:
        return () if own is None else (own,)
    return (law,) if own is None or own == law else (own, law)


def next_allowed(
    moment: datetime, hours: tuple[QuietHours, ...], zones: tuple[str, ...]
) -> datetime | None:
    """The first time from `moment` (aware UTC) on that is outside of all these hours in all these
    zones; `moment` itself when that is. None when there is none in SEARCHED. Zones that nobody
    knows do not count."""
    spans = _spans(hours, zones, moment.date())
    place = bisect_right(spans, moment, key=_start) - 1
    if place < 0 or moment >= spans[place].end:
        return moment
    end = spans[place].end
    return end if end <= moment + SEARCHED else None


def quiet_between(
    first: datetime, last: datetime, hours: tuple[QuietHours, ...], zones: tuple[str, ...]
) -> tuple[Quiet, ...]:
    """The quiet times that lie in part between two moments (aware UTC, at most SEARCHED apart), in
    order and with time between them."""
    spans = _spans(hours, zones, first.date())
    return tuple([span for span in spans if span.end > first and span.start < last])


@lru_cache(maxsize=1024)
def _spans(hours: tuple[QuietHours, ...], zones: tuple[str, ...], today: date) -> tuple[Quiet, ...]:
    """Quiet times of the days around `today` and of those that are searched, in order, with time
    between them. The same for all messages of a day."""
    found: list[tuple[datetime, datetime]] = []
    days = [today + timedelta(days=day) for day in range(-2, SEARCHED.days + 3)]
    for name in zones:
        clock = zone(name)
        if clock is None:
            continue
        for each in hours:
            start, end = time.fromisoformat(each.start), time.fromisoformat(each.end)
            for day in days:
                if day.weekday() in each.days:
                    found.append(_between(day, time.min, day + timedelta(days=1), time.min, clock))
                if start < end:
                    found.append(_between(day, start, day, end, clock))
                elif start > end:
                    found.append(_between(day, start, day + timedelta(days=1), end, clock))
    merged: list[Quiet] = []
    for begins, ends in sorted(found):
        if merged and begins <= merged[-1].end:
            merged[-1] = Quiet(merged[-1].start, max(merged[-1].end, ends))
        else:
            merged.append(Quiet(begins, ends))
    return tuple(merged)


def _between(
    first: date, start: time, last: date, end: time, clock: ZoneInfo
) -> tuple[datetime, datetime]:
    """The moments when this clock shows two times. Of one that it shows twice, or skips, when it is
    changed, whichever makes the time between them longer."""
    begins = datetime.combine(first, start, clock)
    ends = datetime.combine(last, end, clock)
    return (
        min(begins.astimezone(UTC), begins.replace(fold=1).astimezone(UTC)),
        max(ends.astimezone(UTC), ends.replace(fold=1).astimezone(UTC)),
    )


def _start(span: Quiet) -> datetime:
    return span.start
