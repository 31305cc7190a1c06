"""The cascade's rules, as tables."""

from __future__ import annotations

import pytest

from domain.cascade import (
    fails_over,
    retries_submission,
    retry_delay,
    status_when_exhausted,
    status_when_reached,
)
from domain.failures import Failure, FailureCode
from domain.message import Level, Step
from domain.timeline import Status

TEMPORARY, PERMANENT = FailureCode.RECIPIENT_UNREACHABLE, FailureCode.RECIPIENT_INVALID
RULES = [
    # failover_on, code, a receipt with it ends the step, a submission with it is retried
    (None, PERMANENT, True, False),
    (None, TEMPORARY, True, True),
    ((), PERMANENT, True, False),
    ((), TEMPORARY, False, True),
    (("recipient_unreachable",), TEMPORARY, True, False),
    (("recipient_expired",), TEMPORARY, False, True),
]


@pytest.mark.parametrize(("failover_on", "code", "ends", "retried"), RULES)
def test_what_a_failure_means(
    failover_on: tuple[str, ...] | None, code: FailureCode, ends: bool, retried: bool
):
    step = Step("sms", 30.0, Level.DELIVERED, failover_on=failover_on)
    assert fails_over(step, Failure(code)) is ends
    assert retries_submission(step, Failure(code)) is retried


DELAYS = [
    # tries, what the provider asks for, seconds
    (1, None, 0.5),
    (2, None, 1.0),
    (4, None, 4.0),
    (7, None, 30.0),
    (10_000, None, 30.0),
    (1, 0.0, 0.25),
    (1, -5.0, 0.25),
    (1, 7.0, 7.0),
    (1, 3600.0, 30.0),
    (7, 0.1, 15.0),
]


@pytest.mark.parametrize(("tries", "asked", "seconds"), DELAYS)
def test_how_long_a_submission_waits_for_its_next_try(
    tries: int, asked: float | None, seconds: float
):
    assert retry_delay(tries, asked).total_seconds() == seconds


REACHED = {
    Level.ACCEPTED: Status.SENT,
    Level.SENT: Status.SENT,
    Level.DELIVERED: Status.DELIVERED,
    Level.READ: Status.DELIVERED,
}


@pytest.mark.parametrize("level", Level)
def test_the_status_of_a_plan_that_succeeded(level: Level):
    assert status_when_reached(level) is REACHED[level]


EXHAUSTED = [
    (None, None, Status.FAILED),
    (None, FailureCode.TIMEOUT, Status.FAILED),
    (None, FailureCode.TTL_EXPIRED, Status.EXPIRED),
    (None, FailureCode.TOO_LATE, Status.EXPIRED),
    (Level.SENT, FailureCode.TIMEOUT, Status.FAILED),
    (Level.SENT, FailureCode.TTL_EXPIRED, Status.EXPIRED),
    (Level.DELIVERED, FailureCode.TIMEOUT, Status.DELIVERED),
    (Level.READ, FailureCode.TTL_EXPIRED, Status.DELIVERED),
]


@pytest.mark.parametrize(("level", "code", "status"), EXHAUSTED)
def test_the_status_of_a_plan_that_did_not_succeed(
    level: Level | None, code: FailureCode | None, status: Status
):
    assert status_when_exhausted(level, code and Failure(code)) is status


def test_a_level_reaches_itself_and_those_before_it():
    levels = list(Level)
    for rank, level in enumerate(levels):
        assert [level.reaches(wanted) for wanted in levels] == [
            place <= rank for place in range(len(levels))
        ]
