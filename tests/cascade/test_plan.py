"""How a message goes through its plan."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from domain.failures import FailureCode
from domain.message import Level
from domain.timeline import Event, Status
from tests.cascade.channels import Behaviour, busy, crashes, failed, honest, taken
from tests.cascade.world import Cascade, email, entries, events, order, receipt, sms


async def test_delivered_on_the_first_step(cascade: Cascade):
    message = await cascade.send(order(sms(), email()), taken())
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert (record.status, record.channel, record.level) == (
        Status.DELIVERED,
        "sms",
        Level.DELIVERED,
    )
    assert events(record) == [
        Event.ACCEPTED,
        Event.STEP,
        Event.SUBMITTED,
        Event.RECEIPT,
        Event.ENDED,
    ]
    assert len(cascade.channels.calls[message]) == 1


async def test_timeouts_lead_through_three_steps_in_order(cascade: Cascade):
    plan = (sms(0.4, provider="first"), sms(0.4, provider="second"), email(success=Level.SENT))
    message = await cascade.send(order(*plan))
    record = await cascade.ended(message)
    calls = cascade.channels.calls[message]
    assert [(c.channel, c.request.provider) for c in calls] == [
        ("sms", "first"),
        ("sms", "second"),
        ("email", None),
    ]
    assert events(record) == [
        Event.ACCEPTED,
        *(Event.STEP, Event.SUBMITTED, Event.TIMEOUT) * 2,
        Event.STEP,
        Event.SUBMITTED,
        Event.ENDED,
    ]
    assert (record.status, record.channel) == (Status.SENT, "email")


async def test_a_timeout_on_the_last_step_fails_the_message(cascade: Cascade):
    record = await cascade.ended(await cascade.send(order(sms(0.3))))
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert record.failure.code is FailureCode.TIMEOUT


# what the tries came to until the step's time was up, and the message's failure
REFUSALS = {
    "always busy": ([busy(), busy(60.0)], FailureCode.PROVIDER_THROTTLED),
    "always the same error": (
        [failed(FailureCode.PROVIDER_ERROR), failed(FailureCode.PROVIDER_ERROR, 60.0)],
        FailureCode.PROVIDER_ERROR,
    ),
    "one reason, then another": (
        [busy(), failed(FailureCode.PROVIDER_ERROR, 60.0)],
        FailureCode.TIMEOUT,
    ),
    "refused, then taken": ([busy(), taken(Level.ACCEPTED)], FailureCode.TIMEOUT),
}


@pytest.mark.parametrize(("tries", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_who_is_always_refused_for_one_reason_has_failed_for_it(
    cascade: Cascade, tries: list[Behaviour], code: FailureCode
):
    record = await cascade.ended(await cascade.send(order(sms(1.2)), *tries))
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert record.failure.code is code


@pytest.mark.parametrize(
    "code", [FailureCode.RECIPIENT_INVALID, FailureCode.CONFIGURATION, FailureCode.NOT_SUPPORTED]
)
async def test_a_permanent_failure_fails_over_at_once(cascade: Cascade, code: FailureCode):
    message = await cascade.send(order(sms(), email()), failed(code), taken())
    record = await cascade.ended(message, within=5)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert [e.failure and e.failure.code for e in entries(record, Event.FAILED)] == [code]


async def test_permanent_failures_on_all_steps_fail_the_message(cascade: Cascade):
    refused = failed(FailureCode.RECIPIENT_INVALID), failed(FailureCode.PROVIDER_REJECTED)
    record = await cascade.ended(await cascade.send(order(sms(), email()), *refused))
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert record.failure.code is FailureCode.PROVIDER_REJECTED


async def test_a_failure_to_submit_is_retried_within_the_step(cascade: Cascade):
    temporary = failed(FailureCode.PROVIDER_ERROR, retry_after=0.01)
    message = await cascade.send(order(email()), temporary, temporary, taken())
    record = await cascade.ended(message)
    assert [c.request.attempt for c in cascade.channels.calls[message]] == [1, 2, 3]
    assert record.status is Status.SENT
    assert [e.attempt for e in entries(record, Event.FAILED)] == [1, 2]


async def test_retries_end_with_the_step(cascade: Cascade):
    temporary = [failed(FailureCode.PROVIDER_UNAVAILABLE)] * 9
    message = await cascade.send(order(sms(0.9), email()), *temporary[:2], taken())
    record = await cascade.ended(message)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "sms", "email"]
    assert events(record).count(Event.TIMEOUT) == 1


async def test_a_provider_that_crashes_is_called_again_with_the_same_attempt(cascade: Cascade):
    message = await cascade.send(order(email()), crashes(), crashes(), taken())
    record = await cascade.ended(message)
    assert [c.request.attempt for c in cascade.channels.calls[message]] == [1, 1, 1]
    assert record.status is Status.SENT


async def test_busy_is_no_failed_attempt(cascade: Cascade):
    message = await cascade.send(order(email()), busy(), busy(), taken())
    record = await cascade.ended(message)
    assert [c.request.attempt for c in cascade.channels.calls[message]] == [1, 1, 1]
    assert events(record) == [
        Event.ACCEPTED,
        Event.STEP,
        Event.DEFERRED,
        Event.SUBMITTED,
        Event.ENDED,
    ]


async def test_a_channel_that_stays_busy_is_left_at_the_timeout(cascade: Cascade):
    message = await cascade.send(order(sms(0.7), email()), busy(), busy(60.0), taken())
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert [c.request.attempt for c in cascade.channels.calls[message]] == [1, 1, 2]


FAILED_RECEIPT = [
    # failover_on, what the receipt says, whether the next step begins at once
    (None, FailureCode.RECIPIENT_UNREACHABLE, True),
    ((), FailureCode.RECIPIENT_UNREACHABLE, False),
    (("recipient_expired",), FailureCode.RECIPIENT_UNREACHABLE, False),
    (("recipient_unreachable",), FailureCode.RECIPIENT_UNREACHABLE, True),
    ((), FailureCode.PROVIDER_DELETED, True),
]


@pytest.mark.parametrize(("failover_on", "said", "at_once"), FAILED_RECEIPT)
async def test_failover_on_names_the_receipts_that_end_a_step(
    cascade: Cascade, failover_on: tuple[str, ...] | None, said: FailureCode, at_once: bool
):
    message = await cascade.send(order(sms(0.6, failover_on=failover_on), email()))
    await cascade.resolve(message, receipt(said))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert (Event.TIMEOUT not in events(record)) == at_once


async def test_failover_on_names_failures_to_submit_too(cascade: Cascade):
    plan = sms(failover_on=("provider_error",)), email()
    message = await cascade.send(order(*plan), failed(FailureCode.PROVIDER_ERROR), taken())
    record = await cascade.ended(message)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "email"]
    assert Event.TIMEOUT not in events(record)


SUCCESS = [
    # what the step wants, what the provider's answer says, receipts, status, furthest level
    (Level.ACCEPTED, Level.ACCEPTED, [], Status.SENT, Level.ACCEPTED),
    (Level.SENT, Level.ACCEPTED, [Level.SENT], Status.SENT, Level.SENT),
    (Level.SENT, Level.SENT, [], Status.SENT, Level.SENT),
    (Level.SENT, Level.DELIVERED, [], Status.DELIVERED, Level.DELIVERED),
    (Level.DELIVERED, Level.SENT, [Level.DELIVERED], Status.DELIVERED, Level.DELIVERED),
    (Level.DELIVERED, Level.SENT, [Level.READ], Status.DELIVERED, Level.READ),
    (Level.READ, Level.SENT, [Level.DELIVERED, Level.READ], Status.DELIVERED, Level.READ),
]


@pytest.mark.parametrize(("wanted", "answered", "reported", "status", "furthest"), SUCCESS)
async def test_the_success_level_ends_the_cascade(
    cascade: Cascade,
    wanted: Level,
    answered: Level,
    reported: list[Level],
    status: Status,
    furthest: Level,
):
    message = await cascade.send(order(sms(success=wanted), email()), taken(answered))
    if reported:
        await cascade.submitted(message)
    for level in reported:
        await cascade.engine.report(message, receipt(level, final=level is reported[-1]))
        await cascade.until(message, lambda r, level=level: r.level is level or r.status.terminal)
    record = await cascade.ended(message)
    assert (record.status, record.level, record.channel) == (status, furthest, "sms")
    assert len(cascade.channels.calls[message]) == 1


async def test_a_delivery_counts_where_the_plan_had_hoped_for_more(cascade: Cascade):
    plan = sms(0.6, success=Level.READ), email()
    message = await cascade.send(order(*plan), taken(), failed(FailureCode.RECIPIENT_INVALID))
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.DELIVERED, "sms")


async def test_a_message_that_waited_for_its_handler_is_sent_all_the_same(cascade: Cascade):
    # As after an outage: the first step's time seems to be over before it has begun.
    now = order(sms(0.5))
    earlier = msgspec.structs.replace(now, accepted_at=now.accepted_at - timedelta(minutes=5))
    message = await cascade.send(earlier, honest())
    await cascade.submitted(message)
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED


async def test_what_came_to_its_channel_too_late_is_tried_again(cascade: Cascade):
    message = await cascade.send(order(sms(0.5)), failed(FailureCode.TOO_LATE), honest())
    await cascade.submitted(message, 2)
    await cascade.resolve(message, receipt(Level.DELIVERED, 2))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
