"""When a message that would come in quiet hours may come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.compliance.quiet_hours import (
    LAW,
    SEARCHED,
    QuietHours,
    hours_for,
    next_allowed,
    zone,
)
from domain.compliance.rules import ComplianceRules
from domain.message import Category

NIGHT = QuietHours("21:00", "08:00")
NOON = QuietHours("12:00", "13:30")
SUNDAYS = QuietHours("20:30", "08:00", days=(6,))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "hours", "zones", "allowed"),
    [
        # Copenhagen is an hour ahead of UTC in winter, two in summer.
        ("2026-01-15T12:00", NIGHT, ["Europe/Copenhagen"], "2026-01-15T12:00"),
        ("2026-01-15T19:59", NIGHT, ["Europe/Copenhagen"], "2026-01-15T19:59"),
        ("2026-01-15T20:00", NIGHT, ["Europe/Copenhagen"], "2026-01-16T07:00"),
        ("2026-01-16T06:59", NIGHT, ["Europe/Copenhagen"], "2026-01-16T07:00"),
        ("2026-01-16T07:00", NIGHT, ["Europe/Copenhagen"], "2026-01-16T07:00"),
        ("2026-07-15T19:00", NIGHT, ["Europe/Copenhagen"], "2026-07-16T06:00"),
        # The night in which summer time begins, and the one in which it ends.
        ("2026-03-28T22:00", NIGHT, ["Europe/Copenhagen"], "2026-03-29T06:00"),
        ("2026-10-24T22:00", NIGHT, ["Europe/Copenhagen"], "2026-10-25T07:00"),
        # Ends at an hour that is skipped, and at one that comes twice.
        (
            "2026-03-29T00:30",
            QuietHours("01:00", "02:30"),
            ["Europe/Copenhagen"],
            "2026-03-29T01:30",
        ),
        (
            "2026-10-25T00:10",
            QuietHours("01:00", "02:30"),
            ["Europe/Copenhagen"],
            "2026-10-25T01:30",
        ),
        ("2026-01-15T11:15", NOON, ["Europe/Copenhagen"], "2026-01-15T12:30"),
        # Half an hour, three quarters, the date line.
        ("2026-01-15T16:00", NIGHT, ["Asia/Kolkata"], "2026-01-16T02:30"),
        ("2026-01-15T16:00", NIGHT, ["Asia/Kathmandu"], "2026-01-16T02:15"),
        ("2026-01-15T09:00", NIGHT, ["Pacific/Kiritimati"], "2026-01-15T18:00"),
        # Several zones: outside of quiet hours in all of them.
        (
            "2026-01-15T13:00",
            NIGHT,
            ["America/New_York", "America/Los_Angeles"],
            "2026-01-15T16:00",
        ),
        (
            "2026-01-16T02:30",
            NIGHT,
            ["America/New_York", "America/Los_Angeles"],
            "2026-01-16T16:00",
        ),
        # Sundays are quiet: Saturday night lasts until Monday.
        ("2026-01-17T20:00", SUNDAYS, ["Europe/Paris"], "2026-01-19T07:00"),
        ("2026-01-18T12:00", SUNDAYS, ["Europe/Paris"], "2026-01-19T07:00"),
        # No hours, no zone, a zone that nobody knows.
        ("2026-01-15T22:00", QuietHours("08:00", "08:00"), ["Europe/Paris"], "2026-01-15T22:00"),
        ("2026-01-15T22:00", NIGHT, [], "2026-01-15T22:00"),
        ("2026-01-15T22:00", NIGHT, ["Mars/Olympus"], "2026-01-15T22:00"),
    ],
)
def test_the_first_time_outside_of_quiet_hours(
    moment: str, hours: QuietHours, zones: list[str], allowed: str
):
    assert next_allowed(at(moment), (hours,), tuple(zones)) == at(allowed)


def test_quiet_hours_that_cover_the_world_never_end():
    everywhere = ("Pacific/Auckland", "Europe/Paris", "America/New_York", "Asia/Kolkata")
    assert next_allowed(at("2026-01-15T12:00"), (QuietHours("18:00", "10:00"),), everywhere) is None


def test_own_hours_and_the_law_count_both():
    assert hours_for(NOON, "FR", Category.MARKETING) == (NOON, LAW["FR", Category.MARKETING])
    assert hours_for(None, "FR", Category.MARKETING) == (LAW["FR", Category.MARKETING],)
    assert hours_for(NOON, "FR", Category.TRANSACTIONAL) == (NOON,)
    assert hours_for(None, "DK", Category.MARKETING) == ()
    assert hours_for(NOON, None, Category.MARKETING) == (NOON,)


@given(
    minutes=st.integers(0, 3 * 365 * 24 * 60),
    start=st.integers(0, 23),
    length=st.integers(1, 15),
    name=st.sampled_from(
        ["Europe/Copenhagen", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
    ),
)
def test_what_is_allowed_is_outside_and_what_lies_between_is_quiet(minutes, start, length, name):
    moment = at("2025-01-01T00:00") + timedelta(minutes=minutes)
    hours = QuietHours(f"{start:02}:00", f"{(start + length) % 24:02}:00")
    found = next_allowed(moment, (hours,), (name,))
    assert found is not None
    assert moment <= found <= moment + timedelta(hours=length + 2)

    def quiet(one: datetime) -> bool:
        hour = one.astimezone(ZoneInfo(name)).hour
        return (hour - start) % 24 < length

    assert not quiet(found)
    one = moment
    while one < found:
        # The hour that comes twice in autumn may be allowed once already.
        assert quiet(one) or found - one <= timedelta(hours=1)
        one += timedelta(minutes=20)


def test_every_law_ends_within_the_time_that_is_searched():
    assert timedelta(days=7) < SEARCHED
    for hours in LAW.values():
        assert next_allowed(at("2026-01-17T20:00"), (hours,), ("Europe/Paris",)) is not None


@pytest.mark.parametrize(
    "settings",
    [
        {"marketing": {"start": "24:00", "end": "08:00"}},
        {"marketing": {"start": "9:00", "end": "08:00"}},
        {"marketing": {"start": "09:00", "end": "08:00", "days": [7]}},
        {"marketing": {"start": "09:00"}},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"senders": "sometimes"},
        {"nights": True},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, ComplianceRules)


def test_a_tenant_may_have_no_quiet_hours():
    assert msgspec.convert({"marketing": None}, ComplianceRules).marketing is None


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "Europe", "Mars/Olympus", "x" * 300, "Euro\0pe"]
)
def test_no_name_of_a_zone_breaks_anything(name: str):
    assert zone(name) is None
