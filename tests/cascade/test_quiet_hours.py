"""A step whose turn comes in the recipient's quiet hours waits; mail does not."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from domain.failures import FailureCode
from domain.message import Level, MessageOrder, Quiet
from domain.timeline import Event, Status
from tests.cascade.channels import failed, taken
from tests.cascade.world import Cascade, email, entries, events, order, receipt, sms


def quiet(sent: MessageOrder, first: float, last: float) -> MessageOrder:
    """The order with quiet hours between these seconds after its acceptance."""
    begins = sent.accepted_at + timedelta(seconds=first)
    span = Quiet(begins, sent.accepted_at + timedelta(seconds=last))
    return msgspec.structs.replace(sent, quiet=(span,))


async def test_a_later_step_waits_for_the_end_of_quiet_hours(cascade: Cascade):
    sent = quiet(order(email(), sms(success=Level.SENT)), 0, 1.2)
    message = await cascade.send(sent, failed(FailureCode.RECIPIENT_INVALID))
    record = await cascade.ended(message)
    assert record.status is Status.SENT
    (resting,) = entries(record, Event.QUIET_HOURS)
    assert resting.channel == "sms"
    assert [entry.channel for entry in entries(record, Event.STEP)] == ["email", "sms"]
    assert entries(record, Event.STEP)[1].at >= sent.quiet[0].end


async def test_a_step_after_quiet_hours_does_not_wait(cascade: Cascade):
    sent = quiet(order(sms(success=Level.SENT)), -10, 0)
    record = await cascade.ended(await cascade.send(sent))
    assert entries(record, Event.QUIET_HOURS) == []
    assert record.status is Status.SENT


async def test_mail_is_sent_by_night(cascade: Cascade):
    record = await cascade.ended(await cascade.send(quiet(order(email()), -10, 60)))
    assert record.status is Status.SENT
    assert entries(record, Event.QUIET_HOURS) == []


async def test_a_message_is_canceled_while_it_rests(cascade: Cascade):
    message = await cascade.send(quiet(order(sms()), -10, 60))
    await cascade.until(message, lambda r: events(r)[-1:] == [Event.QUIET_HOURS])
    assert await cascade.engine.cancel(message)
    record = await cascade.ended(message)
    assert record.status is Status.CANCELED
    assert cascade.channels.calls[message] == []


async def test_a_message_that_cannot_wait_so_long_expires(cascade: Cascade):
    sent = quiet(order(sms(), ttl=0.8), -10, 60)
    record = await cascade.ended(await cascade.send(sent))
    assert record.status is Status.EXPIRED
    assert record.failure is not None
    assert record.failure.code is FailureCode.TTL_EXPIRED


async def test_a_receipt_of_the_step_before_ends_a_message_that_rests(cascade: Cascade):
    sent = quiet(order(sms(0.4), sms()), 0.35, 60)
    message = await cascade.send(sent, taken())
    await cascade.until(message, lambda r: events(r)[-1:] == [Event.QUIET_HOURS])
    await cascade.resolve(message, receipt(Level.DELIVERED, 1))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert len(cascade.channels.calls[message]) == 1
