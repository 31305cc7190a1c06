"""Every value of a closed set has its meaning wherever one is needed."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from adapters.smpp.carriers.outcomes import FAILED_STATES, LEVELS, REFUSALS, THROTTLES, meaning
from adapters.smpp.protocol.constants import MessageState
from domain.callback import ENDS, PROGRESS, EventType, end_of
from domain.channels import CHANNELS
from domain.delivery import Cancel, Receipt, Signal, delivery_service
from domain.failures import POLICIES, Failure, FailureCode
from domain.message import DEFAULT_TTL, MAX_TTL, Category, Content, Level, MessageOrder
from domain.timeline import Record, Status

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_every_failure_has_a_policy():
    assert set(POLICIES) == set(FailureCode)
    assert all(policy.meaning.endswith(".") for policy in POLICIES.values())


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_says_whether_it_is_permanent(code: FailureCode):
    assert Failure(code).permanent is POLICIES[code].permanent


def test_which_statuses_are_final():
    under_way = {Status.SCHEDULED, Status.PROCESSING}
    assert {status for status in Status if not status.terminal} == under_way


@pytest.mark.parametrize("status", [status for status in Status if status.terminal])
def test_every_final_status_has_a_callback(status: Status):
    order = MessageOrder("acme", {}, Content(""), (), NOW, NOW)
    record = Record(status, [], failure=Failure(FailureCode.TIMEOUT), ended_at=NOW)
    callback = end_of("msg_1", order, record)
    assert callback.event.type == f"message.{status.value}"
    assert callback.id == "msg_1.ended"


@pytest.mark.parametrize("event", EventType)
def test_every_callback_event_has_its_moment_and_its_meaning(event: EventType):
    moments = [event in ENDS, event in PROGRESS.values(), event is EventType.LATE_RECEIPT]
    assert moments.count(True) == 1
    assert event.meaning


def test_every_category_has_a_time_to_live():
    assert set(DEFAULT_TTL) == set(Category)
    assert all(ttl <= MAX_TTL for ttl in DEFAULT_TTL.values())


@pytest.mark.parametrize("state", MessageState)
def test_every_message_state_has_one_meaning(state: MessageState):
    assert (state in LEVELS) != (state in FAILED_STATES)
    level, failure = meaning(state, "000")
    assert (level is None) != (failure is None)


def test_no_refusal_also_throttles_or_is_unknown_to_the_cascade():
    assert not THROTTLES & set(REFUSALS)
    assert set(REFUSALS.values()) <= set(POLICIES)


@pytest.mark.parametrize("name", CHANNELS)
def test_every_channel_is_served_under_a_name_of_its_own(name: str):
    assert CHANNELS[name].name == name
    assert delivery_service(name) == f"{name.capitalize()}Delivery"


SIGNALS = [
    Receipt(1, NOW, level=Level.DELIVERED, id="r"),
    Receipt(2, NOW, failure=Failure(FailureCode.TIMEOUT), final=False),
    Cancel(NOW),
]


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_survives_its_journey(signal: Signal):
    assert msgspec.json.decode(msgspec.json.encode(signal), type=Signal) == signal


@pytest.mark.parametrize("time", ["2026-05-01T00:00:00", "2026-05-01", "noon", 0])
def test_a_time_without_an_offset_is_refused(time: object):
    body = msgspec.json.encode({"signal": "cancel", "at": time})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Signal)
