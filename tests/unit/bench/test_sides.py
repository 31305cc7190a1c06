"""Totals of a channel, as the timelines and the providers have them."""

import pytest

from domain.ports import LoggedMessage
from domain.timeline import Event, Record, Status
from infra.bench.ledger import Books, Seen
from infra.bench.sides import BARS, Sides, apart
from tests.unit.bench.test_ledger import NOON, Entry, an_order


def a_message(*events, channel="email"):
    timeline = [Entry(NOON, event, channel=channel) for event in events]
    record = Record(Status.SENT, timeline, ended_at=NOON)
    return LoggedMessage("id", "acme", Status.SENT, channel, NOON, NOON, an_order(), record)


ONE = [a_message(Event.STEP, Event.SUBMITTED)]
PERHAPS_TWO = [a_message(Event.OUTCOME_UNKNOWN, Event.SUBMITTED)]


@pytest.mark.parametrize(
    ("messages", "taken", "unsure", "by"),
    [
        pytest.param(ONE, 1, 0, 0, id="the same"),
        pytest.param(ONE, 0, 0, 1, id="one that no provider counted"),
        pytest.param(ONE, 3, 0, 2, id="two that no timeline tells of"),
        pytest.param(ONE, 3, 2, 0, id="two of requests without an answer"),
        pytest.param(PERHAPS_TWO, 1, 0, 0, id="the first try was lost"),
        pytest.param(PERHAPS_TWO, 2, 0, 0, id="the first try was taken"),
        pytest.param([a_message(Event.SUBMITTED, channel="push")], 0, 0, 0, id="not this channel"),
    ],
)
def test_a_count_is_held_against_the_timelines(messages, taken, unsure, by):
    assert apart(taken, messages, "email", unsure) == by


def test_what_was_counted_before_does_not_count():
    now, before = Sides(Seen({"a": 1}), 5, 3), Sides(Seen({}), 2, 1)
    assert now.since(before) == Sides(Seen({"a": 1}), 3, 2)


BOOKS = Books(
    3,
    {
        "sms": a_message(Event.SUBMITTED, channel="sms"),
        "mail": a_message(Event.SUBMITTED),
        "push": a_message(Event.SUBMITTED, channel="push"),
    },
    set(),
)


@pytest.mark.parametrize(
    ("sides", "unsure", "missed"),
    [
        pytest.param(Sides(Seen({"sms": 1}), 1, 1), set(), [], id="both sides agree"),
        pytest.param(Sides(Seen({}), 1, 1), set(), [0], id="an SMS that nobody took"),
        pytest.param(Sides(Seen({"sms": 2}), 1, 1), set(), [0, 1], id="an SMS that came twice"),
        pytest.param(Sides(Seen({"sms": 1}), 0, 3), set(), [2, 3], id="mails and pushes apart"),
        pytest.param(Sides(Seen({"sms": 1, "x": 1}), 1, 1), set(), [0], id="an unpromised SMS"),
        pytest.param(
            Sides(Seen({"sms": 1, "x": 1}), 1, 1), {"x"}, [], id="a request without an answer"
        ),
    ],
)
def test_each_channel_has_a_check(sides, unsure, missed):
    checks = sides.checks(BOOKS, unsure)
    assert [check.name for check in checks] == [bar.name for bar in BARS]
    assert [n for n, check in enumerate(checks) if not check.ok] == missed
