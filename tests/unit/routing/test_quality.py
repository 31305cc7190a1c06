"""The window over deliveries: what it forgets, what it holds against a way, how it is shared."""

import pytest

from domain.failures import FailureCode
from domain.routing.destinations import calling_code, digits_of
from domain.routing.quality import (
    BUCKET,
    UNKNOWN,
    WINDOW,
    Outcome,
    Quality,
    outcome_of,
)

NOW = 1_800_000_000.0
WAY, DK = "carrier:a", "45"


def counted(sent, delivered, failed, at=NOW, latency=5.0):
    known = Quality()
    for n in range(sent):
        known.sent(WAY, DK, at)
        if n < delivered:
            known.delivered(WAY, DK, at, at + latency)
        elif n < delivered + failed:
            known.failed(WAY, DK, at)
    return known


def test_what_nobody_has_used_is_taken_for_good():
    assert Quality().of(WAY, DK, NOW) == UNKNOWN


@pytest.mark.parametrize(("delivered", "rate"), [(1000, 1.0), (500, 0.5), (0, 0.0)])
def test_the_rate_is_that_of_what_was_reported(delivered, rate):
    estimate = counted(1000, delivered, 1000 - delivered).of(WAY, DK, NOW)
    assert estimate.rate == pytest.approx(rate, abs=0.01)
    assert estimate.seen == 1000


def test_ways_and_countries_are_told_apart():
    known = counted(100, 0, 100)
    assert known.of(WAY, "46", NOW) == UNKNOWN
    assert known.of("carrier:b", DK, NOW) == UNKNOWN


def test_latency():
    assert counted(1000, 1000, 0, latency=30).of(WAY, DK, NOW).latency == pytest.approx(30, abs=1)


def test_a_phone_that_was_off_for_hours_does_not_spoil_the_latency():
    known = counted(1000, 999, 0, latency=1)
    known.delivered(WAY, DK, NOW, NOW + 86_400)
    assert known.of(WAY, DK, NOW).latency < 2


def test_a_receipt_from_the_past_of_another_clock_has_no_latency():
    known = counted(1000, 1000, 0, latency=-30)
    assert known.of(WAY, DK, NOW).latency == pytest.approx(0, abs=0.1)


def test_missing_reports_count_once_they_are_overdue():
    known = counted(1000, 500, 0)
    assert known.of(WAY, DK, NOW).rate > 0.99
    assert known.of(WAY, DK, NOW + BUCKET + 200).rate == pytest.approx(0.5, abs=0.02)


def test_what_is_older_counts_less():
    known = counted(100, 100, 0, at=NOW - 600)
    for _ in range(100):
        known.sent(WAY, DK, NOW)
        known.failed(WAY, DK, NOW)
    assert known.of(WAY, DK, NOW).rate < 0.35


def test_what_is_beyond_the_window_is_forgotten():
    known = counted(1000, 0, 1000)
    assert known.of(WAY, DK, NOW).rate < 0.05
    assert known.of(WAY, DK, NOW + WINDOW + 2 * BUCKET).seen == 0


def test_an_estimate_is_made_once_a_second():
    known = counted(10, 10, 0)
    first = known.of(WAY, DK, NOW)
    for _ in range(1000):
        known.failed(WAY, DK, NOW)
    assert known.of(WAY, DK, NOW + 0.5) is first
    assert known.of(WAY, DK, NOW + 1).rate < 0.1


def test_what_is_taken_is_told_once_and_still_known_here():
    known = counted(10, 6, 4)
    (count,) = known.take()
    assert (count.sent, count.delivered, count.failed, count.latency) == (10, 6, 4, 30_000)
    assert known.take() == []
    assert known.of(WAY, DK, NOW).seen == 10


def test_two_windows_that_share_come_to_the_same():
    one, other = counted(100, 100, 0), counted(100, 0, 100)
    shared = [*one.take(), *other.take()]
    one.sent(WAY, DK, NOW)
    one.failed(WAY, DK, NOW)
    for window in (one, other):
        window.learn(shared)
    assert other.of(WAY, DK, NOW).seen == 200
    assert one.of(WAY, DK, NOW).seen == 201, "what was not shared yet counts in addition"


def test_what_could_not_be_shared_is_taken_again():
    known = counted(10, 10, 0)
    taken = known.take()
    known.sent(WAY, DK, NOW)
    known.put_back(taken)
    (count,) = known.take()
    assert (count.sent, count.delivered) == (11, 10)
    assert known.of(WAY, DK, NOW).seen == 10


def test_memory_is_bounded():
    known = Quality()
    for n in range(30_000):
        known.sent(f"carrier:{n}", DK, NOW + n / 100)
    assert len(known.ways()) <= 20_000
    assert ("carrier:29999", DK) in known.ways()


MEANINGS = {
    FailureCode.RECIPIENT_UNREACHABLE: Outcome.FAILED,
    FailureCode.RECIPIENT_EXPIRED: Outcome.FAILED,
    FailureCode.PROVIDER_REJECTED: Outcome.FAILED,
    FailureCode.PROVIDER_ERROR: Outcome.FAILED,
    FailureCode.RECIPIENT_INVALID: Outcome.NEUTRAL,
    FailureCode.SENDER_REJECTED: Outcome.NEUTRAL,
    FailureCode.CONTENT_REJECTED: Outcome.NEUTRAL,
    FailureCode.PROVIDER_THROTTLED: Outcome.NEUTRAL,
    FailureCode.CONFIGURATION: Outcome.NEUTRAL,
}


@pytest.mark.parametrize(("code", "outcome"), MEANINGS.items())
def test_what_a_failure_says_of_the_way(code, outcome):
    assert outcome_of(code) is outcome


def test_every_failure_says_something():
    for code in FailureCode:
        assert outcome_of(code) in Outcome


CODES = {
    "4520123456": "45",
    "14155550100": "1",
    "79161234567": "7",
    "358401234567": "358",
    "35312345678": "353",
    "971501234567": "971",
    "8613912345678": "86",
    "85212345678": "852",
    "": "",
}


@pytest.mark.parametrize(("digits", "code"), CODES.items())
def test_calling_codes(digits, code):
    assert calling_code(digits) == code


def test_calling_codes_are_those_that_the_library_knows():
    import phonenumbers

    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        assert calling_code(f"{code}99999999") == str(code)


DIGITS = [
    ("sms", "+4520123456", "4520123456"),
    ("sms", "4520123456", "4520123456"),
    ("whatsapp", "+4520123456", "4520123456"),
    ("email", "+45@example.com", ""),
    ("push", "+token", ""),
]


@pytest.mark.parametrize(("channel", "address", "digits"), DIGITS)
def test_digits(channel, address, digits):
    assert digits_of(channel, address) == digits
