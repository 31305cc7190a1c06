"""Which ends of messages the faults are to blame for."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from domain.timeline import Entry, Event, Status
from infra.bench.scenarios.chaos import astray

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SILENT = "+4520109902"


def a_message(status, *events, to=None, plan=("sms",)):
    timeline = [Entry(NOON, event, attempt=1) for event in events]
    order = SimpleNamespace(
        to=to or {"sms": "+4520123456"}, plan=[SimpleNamespace(channel=each) for each in plan]
    )
    return SimpleNamespace(status=status, order=order, record=SimpleNamespace(timeline=timeline))


@pytest.mark.parametrize(
    ("message", "blamed"),
    [
        pytest.param(a_message(Status.DELIVERED, Event.RECEIPT), False, id="delivered"),
        pytest.param(a_message(Status.SENT, Event.SUBMITTED), False, id="sent"),
        pytest.param(a_message(Status.CANCELED), False, id="canceled, as was wished"),
        pytest.param(a_message(Status.FAILED, Event.FAILED), True, id="failed"),
        pytest.param(a_message(Status.EXPIRED), True, id="expired"),
        pytest.param(a_message(Status.FAILED, Event.OUTCOME_UNKNOWN), False, id="nobody knows"),
        pytest.param(
            a_message(Status.EXPIRED, Event.TIMEOUT, to={"sms": SILENT}), False, id="doomed"
        ),
        pytest.param(
            a_message(Status.FAILED, to={"sms": SILENT}, plan=("sms", "email")),
            True,
            id="the mail behind a doomed SMS",
        ),
    ],
)
def test_only_what_could_have_arrived_and_certainly_did_not_went_astray(message, blamed):
    assert astray({"text": message}) == ({"text"} if blamed else set())
