"""What is entered in the ledger for a message, whatever became of its attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.billing.cost import Cost, Rule
from domain.billing.settlement import Kind, Movement, due_after_all, ended, submitted
from domain.delivery import Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level
from domain.timeline import Entry, Event, Record, Status

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ON_SUBMISSION = Cost(7_500, "EUR", Rule.SUBMITTED, 2)
ON_DELIVERY = Cost(9_000, "EUR", Rule.DELIVERED)
REJECTED = Failure(FailureCode.RECIPIENT_UNREACHABLE)


def taken(cost, attempt=1, level=Level.SENT):
    return Entry(
        NOON,
        Event.SUBMITTED,
        attempt=attempt,
        channel="sms",
        provider="tdc",
        level=level,
        cost=cost,
    )


def unknown(cost, attempt=1):
    return Entry(
        NOON, Event.OUTCOME_UNKNOWN, attempt=attempt, channel="sms", provider="tdc", cost=cost
    )


def receipt(level=None, attempt=1):
    failure = REJECTED if level is None else None
    at = NOON + timedelta(seconds=5)
    return Entry(at, Event.RECEIPT, attempt=attempt, level=level, failure=failure)


REFUSED = Entry(NOON, Event.FAILED, attempt=1, channel="sms", provider="tdc", failure=REJECTED)


@pytest.mark.parametrize(
    ("timeline", "kinds"),
    [
        ([], []),
        ([taken(None), receipt(Level.DELIVERED)], []),
        ([REFUSED], []),
        # Owed once the provider has it, whatever it reports.
        ([taken(ON_SUBMISSION)], ["1 charge"]),
        ([taken(ON_SUBMISSION), receipt()], ["1 charge"]),
        ([taken(ON_SUBMISSION), receipt(Level.DELIVERED)], ["1 charge"]),
        # Owed once it has arrived.
        ([taken(ON_DELIVERY)], ["1 reserve", "1 release"]),
        ([taken(ON_DELIVERY), receipt()], ["1 reserve", "1 release"]),
        ([taken(ON_DELIVERY), receipt(Level.SENT)], ["1 reserve", "1 release"]),
        (
            [taken(ON_DELIVERY), receipt(Level.DELIVERED)],
            ["1 reserve", "1 release", "1 charge"],
        ),
        ([taken(ON_DELIVERY), receipt(Level.READ)], ["1 reserve", "1 release", "1 charge"]),
        ([taken(ON_DELIVERY, level=Level.DELIVERED)], ["1 charge"]),
        # Nobody knows: nobody pays, unless a receipt proves that the provider had it.
        ([unknown(ON_SUBMISSION)], ["1 reserve", "1 release"]),
        ([unknown(ON_SUBMISSION), receipt()], ["1 reserve", "1 release", "1 charge"]),
        ([unknown(ON_DELIVERY), receipt()], ["1 reserve", "1 release"]),
        (
            [unknown(ON_DELIVERY), receipt(Level.DELIVERED)],
            ["1 reserve", "1 release", "1 charge"],
        ),
        # Each attempt by its own receipts.
        (
            [taken(ON_DELIVERY), taken(ON_DELIVERY, 2), receipt(Level.DELIVERED, 2)],
            ["1 reserve", "1 release", "2 reserve", "2 release", "2 charge"],
        ),
        (
            [REFUSED, taken(ON_SUBMISSION, 2), unknown(ON_SUBMISSION, 3)],
            ["2 charge", "3 reserve", "3 release"],
        ),
    ],
)
def test_what_an_ended_message_comes_to(timeline, kinds):
    found = ended("msg_1", "acme", Record(Status.FAILED, timeline))
    assert [f"{one.attempt} {one.kind.value}" for one in found] == kinds


def test_a_movement_says_whose_it_is_and_what_for():
    [charge] = ended("msg_1", "acme", Record(Status.SENT, [taken(ON_SUBMISSION)]))
    assert charge == Movement(
        "msg_1", 1, Kind.CHARGE, "acme", "EUR", -7_500, "sms", "tdc", 2, NOON.timestamp(),
        Rule.SUBMITTED,
    )  # fmt: skip


def test_a_refund_gives_back_what_was_reserved():
    reserve, release = ended("msg_1", "acme", Record(Status.FAILED, [taken(ON_DELIVERY)]))
    assert reserve.amount == -release.amount == -9_000


@pytest.mark.parametrize(
    ("state", "cost", "level", "kind"),
    [
        (SubmissionState.TAKEN, None, Level.SENT, None),
        (SubmissionState.TAKEN, ON_SUBMISSION, Level.SENT, Kind.CHARGE),
        (SubmissionState.TAKEN, ON_DELIVERY, Level.SENT, Kind.RESERVE),
        (SubmissionState.TAKEN, ON_DELIVERY, Level.DELIVERED, Kind.CHARGE),
        (SubmissionState.UNKNOWN, ON_SUBMISSION, None, Kind.RESERVE),
        (SubmissionState.UNKNOWN, ON_DELIVERY, None, Kind.RESERVE),
    ],
)
def test_what_is_entered_as_soon_as_an_attempt_is_handed_over(state, cost, level, kind):
    answer = Submission(state, at=NOON, provider="tdc", level=level, cost=cost)
    entered = submitted("msg_1", 1, "acme", "sms", answer)
    assert (entered and entered.kind) == kind


@pytest.mark.parametrize(
    ("timeline", "state"),
    [
        ([taken(ON_SUBMISSION)], SubmissionState.TAKEN),
        ([taken(ON_DELIVERY)], SubmissionState.TAKEN),
        ([taken(ON_DELIVERY, level=Level.DELIVERED)], SubmissionState.TAKEN),
        ([unknown(ON_SUBMISSION)], SubmissionState.UNKNOWN),
    ],
)
def test_the_end_enters_the_same_movement_as_the_submission_did(timeline, state):
    [entry] = timeline
    answer = Submission(state, at=NOON, provider="tdc", level=entry.level, cost=entry.cost)
    first = submitted("msg_1", 1, "acme", "sms", answer)
    assert ended("msg_1", "acme", Record(Status.FAILED, timeline))[0] == first


@pytest.mark.parametrize(
    ("cost", "level", "due"),
    [
        (ON_DELIVERY, Level.DELIVERED, True),
        (ON_DELIVERY, Level.SENT, False),
        (ON_DELIVERY, None, False),
        # Reserved because its outcome was unknown.
        (ON_SUBMISSION, None, True),
    ],
)
def test_a_receipt_after_the_end(cost, level, due):
    reserve = ended("msg_1", "acme", Record(Status.FAILED, [unknown(cost)]))[0]
    charge = due_after_all(reserve, level)
    assert (charge is not None) == due
    if charge is not None:
        assert (charge.kind, charge.amount, charge.reserved) == (Kind.CHARGE, -cost.amount, True)
