"""Test messages: the same cascade, and never a provider."""

from __future__ import annotations

import pytest

from domain.failures import FailureCode
from domain.message import DeliveryPolicy, Level, MessageOrder
from domain.mode import Mode
from domain.sandbox import PROVIDER
from domain.timeline import Event, Status
from tests.cascade.world import Cascade, email, entries, events, order, push, sms


def for_sandbox(*plan, sms_to="0000", email_to="anna", **facts) -> MessageOrder:
    to = {"sms": f"+452010{sms_to}", "email": f"{email_to}@example.com", "push": "delivered:token"}
    made = order(*plan, mode=Mode.TEST, **facts)
    made.to.update(to)
    return made


TOLD = [Event.ACCEPTED, Event.STEP, Event.SUBMITTED, Event.RECEIPT, Event.ENDED]

ENDS = {
    # the last four digits, and how an SMS that waits for its receipt ends
    "any other number": ("4711", Status.DELIVERED, None),
    "late": ("9901", Status.FAILED, FailureCode.TIMEOUT),
    "silent": ("9902", Status.FAILED, FailureCode.TIMEOUT),
    "unreachable": ("9903", Status.FAILED, FailureCode.RECIPIENT_UNREACHABLE),
    "early": ("9904", Status.DELIVERED, None),
    "invalid": ("9905", Status.FAILED, FailureCode.RECIPIENT_INVALID),
    "throttled": ("9906", Status.DELIVERED, None),
    "expired": ("9907", Status.FAILED, FailureCode.RECIPIENT_EXPIRED),
    "unknown": ("9908", Status.FAILED, FailureCode.OUTCOME_UNKNOWN),
    "unanswered": ("9909", Status.DELIVERED, None),
    "rejected": ("9910", Status.FAILED, FailureCode.PROVIDER_REJECTED),
    "read": ("9911", Status.DELIVERED, None),
    "blocked": ("9912", Status.FAILED, FailureCode.CONTENT_REJECTED),
    "flaky": ("9914", Status.DELIVERED, None),
    "sender": ("9916", Status.FAILED, FailureCode.SENDER_REJECTED),
    "twice": ("9917", Status.DELIVERED, None),
    "account": ("9921", Status.FAILED, FailureCode.CONFIGURATION),
}


@pytest.mark.parametrize(("digits", "status", "code"), ENDS.values(), ids=ENDS)
async def test_the_number_chooses_how_it_ends(cascade: Cascade, digits, status, code):
    timeout = 1.5 if code is FailureCode.TIMEOUT else 20
    policy = (
        DeliveryPolicy.AT_MOST_ONCE
        if code is FailureCode.OUTCOME_UNKNOWN
        else DeliveryPolicy.AT_LEAST_ONCE
    )
    message = await cascade.send(for_sandbox(sms(timeout), sms_to=digits, policy=policy))
    record = await cascade.ended(message)
    assert (record.status, record.failure and record.failure.code) == (status, code)
    assert {entry.provider for entry in entries(record, Event.SUBMITTED)} <= {PROVIDER}
    assert not cascade.channels.calls[message]
    assert not cascade.channels.released[message]


async def test_the_timeline_is_that_of_a_live_message(cascade: Cascade):
    message = await cascade.send(for_sandbox(sms()))
    assert events(await cascade.ended(message)) == TOLD


async def test_a_provider_that_throttles_is_asked_three_times(cascade: Cascade):
    message = await cascade.send(for_sandbox(sms(), sms_to="9906"))
    record = await cascade.ended(message)
    [deferred] = entries(record, Event.DEFERRED)
    assert deferred.failure is not None
    assert deferred.failure.code is FailureCode.PROVIDER_THROTTLED
    [submitted] = entries(record, Event.SUBMITTED)
    assert submitted.attempt == 1


async def test_a_receipt_that_comes_twice_counts_once(cascade: Cascade):
    message = await cascade.send(for_sandbox(sms(success=Level.READ), sms_to="9917", ttl=3))
    record = await cascade.ended(message)
    assert len(entries(record, Event.RECEIPT)) == 1


async def test_a_late_receipt_is_listed_after_the_end(cascade: Cascade):
    message = await cascade.send(for_sandbox(sms(1), sms_to="9901"))
    assert (await cascade.ended(message)).status is Status.FAILED

    [entry] = await cascade.late(message)
    assert (entry.level, entry.late) == (Level.DELIVERED, True)


async def test_a_channel_that_only_adapters_serve(cascade: Cascade):
    message = await cascade.send(for_sandbox(push()))
    assert (await cascade.ended(message)).status is Status.SENT
    assert not cascade.channels.calls[message]


@pytest.mark.parametrize("adapters", [("twilio",), ("twilio", ""), ("",)])
async def test_adapters_of_the_plan_are_not_asked(cascade: Cascade, adapters):
    message = await cascade.send(for_sandbox(sms(adapters=adapters), email(), sms_to="9910"))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert not cascade.channels.calls[message]


async def test_the_next_step_follows_a_script_of_its_own(cascade: Cascade):
    message = await cascade.send(
        for_sandbox(sms(), email(success=Level.DELIVERED), sms_to="9905", email_to="unreachable")
    )
    record = await cascade.ended(message)
    assert [e.failure.code for e in entries(record, Event.FAILED) if e.failure] == [
        FailureCode.RECIPIENT_INVALID
    ]
    assert record.failure is not None
    assert record.failure.code is FailureCode.RECIPIENT_UNREACHABLE


async def test_a_test_message_withdrawn(cascade: Cascade):
    message = await cascade.send(for_sandbox(sms(), sms_to="9902"))
    await cascade.submitted(message)
    assert await cascade.engine.cancel(message)
    assert (await cascade.ended(message)).status is Status.CANCELED
