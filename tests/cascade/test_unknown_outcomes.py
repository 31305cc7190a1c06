"""Submissions whose answer was lost: sent again, settled by a receipt, or left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import virtual_objects.message
from domain.cascade import MAX_RESENDS
from domain.failures import Failure, FailureCode
from domain.message import DeliveryPolicy, Level
from domain.timeline import Entry, Event, Status
from tests.cascade.channels import Hanging, crashes, honest, taken, unknown
from tests.cascade.world import Cascade, email, entries, events, order, receipt, sms
from tests.waiting import eventually


async def test_at_least_once_sends_again_and_says_so(cascade: Cascade):
    message = await cascade.send(order(email()), unknown(), taken())
    record = await cascade.ended(message)
    assert [c.request.attempt for c in cascade.channels.calls[message]] == [1, 2]
    assert [e.possible_duplicate for e in entries(record, Event.SUBMITTED)] == [True]
    assert record.status is Status.SENT


async def test_resends_are_limited_and_each_is_told(cascade: Cascade):
    script = [*[unknown()] * (1 + MAX_RESENDS), taken()]
    message = await cascade.send(order(sms(), email()), *script)
    record = await cascade.ended(message)
    calls = cascade.channels.calls[message]
    assert [c.channel for c in calls] == ["sms"] * (1 + MAX_RESENDS) + ["email"]
    lost = entries(record, Event.OUTCOME_UNKNOWN)
    assert [(e.attempt, e.possible_duplicate) for e in lost] == [(1, False), (2, True), (3, True)]
    assert (record.status, record.channel) == (Status.SENT, "email")
    # Reports may still come for any of them.
    await eventually(
        lambda: sorted(cascade.channels.released[message]) == [("sms", n) for n in (1, 2, 3)]
    )


async def test_at_most_once_goes_on_and_never_comes_back_to_the_channel(cascade: Cascade):
    plan = sms(provider="first"), sms(provider="second"), email(), sms(provider="third")
    careful = order(*plan, policy=DeliveryPolicy.AT_MOST_ONCE)
    message = await cascade.send(careful, unknown(), taken())
    record = await cascade.ended(message)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "email"]
    assert (record.status, record.channel) == (Status.SENT, "email")


async def test_at_most_once_with_no_other_channel_fails(cascade: Cascade):
    careful = order(sms(), sms(), policy=DeliveryPolicy.AT_MOST_ONCE)
    message = await cascade.send(careful, unknown())
    record = await cascade.ended(message)
    assert len(cascade.channels.calls[message]) == 1
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert record.failure.code is FailureCode.OUTCOME_UNKNOWN


async def test_a_call_that_hangs_until_the_timeout_counts_as_unknown(cascade: Cascade):
    careful = order(sms(0.4), sms(), email(), policy=DeliveryPolicy.AT_MOST_ONCE)
    message = await cascade.send(careful, Hanging(), taken())
    record = await cascade.ended(message)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "email"]
    assert Event.OUTCOME_UNKNOWN in events(record)
    await eventually(lambda: cascade.channels.released[message] == [("sms", 1)])


async def test_a_call_that_hangs_makes_the_next_on_its_channel_a_possible_duplicate(
    cascade: Cascade,
):
    message = await cascade.send(order(sms(0.4), sms(success=Level.SENT)), Hanging(), taken())
    record = await cascade.ended(message)
    assert [e.possible_duplicate for e in entries(record, Event.SUBMITTED)] == [True]


async def test_a_repetition_that_the_receipt_of_the_first_overtakes_is_a_possible_duplicate(
    cascade: Cascade,
):
    message = await cascade.send(order(sms()), unknown(), Hanging())
    await cascade.called(message, 2)
    await cascade.engine.report(message, receipt(Level.DELIVERED, 1))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    lost = entries(record, Event.OUTCOME_UNKNOWN)
    assert [(e.attempt, e.possible_duplicate) for e in lost] == [(1, False), (2, True)]


async def test_a_repetition_stays_flagged_when_the_first_turns_out_to_have_failed(
    cascade: Cascade,
):
    """It was handed over in doubt, and the carrier has had the text twice."""
    second = Hanging()
    message = await cascade.send(order(sms()), unknown(), second)
    await cascade.called(message, 2)
    failed = receipt(FailureCode.RECIPIENT_UNREACHABLE, 1)
    await cascade.engine.report(message, failed)
    await cascade.until(message, lambda r: entries(r, Event.RECEIPT))
    second.release(taken())
    await cascade.until(message, lambda r: entries(r, Event.SUBMITTED))
    await cascade.resolve(message, receipt(Level.DELIVERED, 2))
    record = await cascade.ended(message)
    assert [e.possible_duplicate for e in entries(record, Event.SUBMITTED)] == [True]


async def test_a_delivered_receipt_settles_an_unknown_attempt(cascade: Cascade):
    message = await cascade.send(order(sms(), email()), unknown())
    await cascade.until(message, lambda r: entries(r, Event.OUTCOME_UNKNOWN))
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert len(cascade.channels.calls[message]) == 1


async def test_an_intermediate_receipt_settles_an_unknown_attempt(cascade: Cascade):
    """The provider has it: sending again would be a duplicate for sure."""
    message = await cascade.send(order(sms(1.2), email()), unknown())
    await cascade.until(message, lambda r: entries(r, Event.OUTCOME_UNKNOWN))
    await cascade.resolve(message, receipt(Level.SENT, final=False))
    record = await cascade.ended(message)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "email"]
    assert Event.TIMEOUT in events(record)


async def test_a_failed_receipt_settles_an_unknown_attempt(cascade: Cascade):
    careful = order(sms(), sms(success=Level.SENT), policy=DeliveryPolicy.AT_MOST_ONCE)
    message = await cascade.send(careful, unknown(), taken())
    await cascade.until(message, lambda r: entries(r, Event.OUTCOME_UNKNOWN))
    await cascade.resolve(message, receipt(FailureCode.RECIPIENT_UNREACHABLE))
    record = await cascade.ended(message)
    # It did not arrive, so the same channel may be tried again, and is no duplicate.
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "sms"]
    assert [e.possible_duplicate for e in entries(record, Event.SUBMITTED)] == [False]


async def test_a_receipt_for_the_first_attempt_stops_the_resending_of_the_second(cascade: Cascade):
    message = await cascade.send(order(sms(2.0), email()), unknown(), unknown())
    await cascade.called(message, 2)
    await cascade.until(message, lambda r: len(entries(r, Event.OUTCOME_UNKNOWN)) == 2)
    await cascade.engine.report(message, receipt(Level.SENT, 1, final=False))
    await cascade.ended(message)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms", "sms", "email"]


async def test_a_delivery_that_comes_back_after_its_step_sends_nothing(cascade: Cascade):
    """A pool that was down for the whole step meets the request when it is up again."""
    down = [crashes()] * 3
    message = await cascade.send(order(sms(0.2), email()), *down, honest(), honest(), honest())
    record = await cascade.ended(message)
    sms_calls = [c for c in cascade.channels.calls[message] if c.channel == "sms"]
    assert all(c.request.not_after < record.timeline[-1].at for c in sms_calls)
    assert (record.status, record.channel) == (Status.SENT, "email")


@pytest.mark.parametrize("policy", DeliveryPolicy)
async def test_what_another_process_has_ended_is_neither_sent_again_nor_elsewhere(
    cascade: Cascade, policy: DeliveryPolicy, monkeypatch: pytest.MonkeyPatch
):
    """A process that has lost Restate may have had the answer, and have written the end."""
    monkeypatch.setattr(virtual_objects.message, "UNKNOWN_GRACE", timedelta(seconds=3))
    sent = order(sms(), email(), policy=policy)
    message = await cascade.send(sent, unknown(), taken())
    record = await cascade.until(message, lambda r: entries(r, Event.OUTCOME_UNKNOWN))
    ended_at = datetime.now(UTC)
    end = Entry(ended_at, Event.ENDED, status=Status.FAILED)
    theirs = msgspec.structs.replace(
        record,
        status=Status.FAILED,
        failure=Failure(FailureCode.PROVIDER_REJECTED),
        refs={},
        timeline=[*record.timeline, end],
        ended_at=ended_at,
    )
    await cascade.log.ended(message, sent, theirs)
    assert (await cascade.ended(message)).status is Status.FAILED
    assert len(cascade.channels.calls[message]) == 1
