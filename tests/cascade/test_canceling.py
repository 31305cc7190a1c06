"""A sender withdraws a message, or an operator its invocation."""

from __future__ import annotations

import asyncio

from domain.failures import FailureCode
from domain.message import Level
from domain.timeline import Event, Status
from tests.cascade.channels import Hanging, busy, failed, taken
from tests.cascade.world import Cascade, email, entries, events, order, receipt, sms
from tests.waiting import eventually

_SEND = (
    "SELECT id FROM sys_invocation WHERE target_service_name = 'Message'"
    " AND target_handler_name = 'send' AND target_service_key = '%s'"
)


async def _canceled(cascade: Cascade, message: str) -> None:
    record = await cascade.ended(message)
    assert record.status is Status.CANCELED
    assert record.failure is not None
    assert record.failure.code is FailureCode.CANCELED
    assert len(entries(record, Event.CANCEL_REQUESTED)) == 1


async def test_canceled_while_it_waits_for_a_receipt(cascade: Cascade):
    message = await cascade.send(order(sms(), email()))
    await cascade.submitted(message)
    assert await cascade.engine.cancel(message)
    await _canceled(cascade, message)
    assert len(cascade.channels.calls[message]) == 1


async def test_canceled_while_it_is_scheduled(cascade: Cascade):
    message = await cascade.send(order(sms(), starts_in=30))
    await cascade.until(message, lambda r: r.status is Status.SCHEDULED)
    assert await cascade.engine.cancel(message)
    await _canceled(cascade, message)
    assert cascade.channels.calls[message] == []


async def test_canceled_while_the_delivery_hangs(cascade: Cascade):
    message = await cascade.send(order(sms(), email()), Hanging())
    await cascade.called(message)
    await cascade.held(message)
    assert await cascade.engine.cancel(message)
    await _canceled(cascade, message)


async def test_canceled_while_the_provider_is_busy(cascade: Cascade):
    message = await cascade.send(order(sms(), email()), busy(30))
    await cascade.until(message, lambda r: entries(r, Event.DEFERRED))
    assert await cascade.engine.cancel(message)
    await _canceled(cascade, message)


async def test_canceled_between_two_tries_to_submit(cascade: Cascade):
    message = await cascade.send(order(sms()), failed(FailureCode.PROVIDER_ERROR, 30))
    await cascade.until(message, lambda r: entries(r, Event.FAILED))
    assert await cascade.engine.cancel(message)
    await _canceled(cascade, message)
    assert len(cascade.channels.calls[message]) == 1


async def test_canceled_on_the_second_step(cascade: Cascade):
    message = await cascade.send(order(sms(0.3), sms(), email()))
    await cascade.submitted(message, 2)
    assert await cascade.engine.cancel(message)
    await _canceled(cascade, message)
    assert len(cascade.channels.calls[message]) == 2


async def test_canceled_twice(cascade: Cascade):
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    answers = await asyncio.gather(*(cascade.engine.cancel(message) for _ in range(2)))
    assert True in answers
    await _canceled(cascade, message)


async def test_after_the_end_there_is_nothing_to_cancel(cascade: Cascade):
    message = await cascade.send(order(sms()))
    await cascade.resolve(message, receipt(Level.DELIVERED))
    before = await cascade.ended(message)
    assert not await cascade.engine.cancel(message)
    assert await cascade.ended(message) == before


async def test_a_message_that_nobody_sent_cannot_be_canceled(cascade: Cascade):
    assert not await cascade.engine.cancel("msg_nobody")


async def test_a_cancellation_and_receipts_at_once_are_both_heard(cascade: Cascade):
    """They meet on one awakeable, and the cancellation was promised to the sender."""
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    reports = [receipt(Level.SENT, name=f"report-{n}", final=False) for n in range(4)]
    _, canceled, *_ = await asyncio.gather(
        cascade.engine.report(message, reports[0]),
        cascade.engine.cancel(message),
        *(cascade.engine.report(message, report) for report in reports[1:]),
    )
    assert canceled
    await _canceled(cascade, message)


async def test_a_cancellation_whose_awakeable_was_used_is_heard_later(cascade: Cascade):
    provider = Hanging()
    message = await cascade.send(order(sms()), provider)
    await cascade.called(message)
    await cascade.held(message)
    (call,) = cascade.channels.calls[message]
    # The receipt is on its way to the awakeable while `cancel` reads the state before it.
    await asyncio.gather(
        cascade.engine.resolve(call.request.receipt_ref, receipt(Level.SENT, final=False)),
        cascade.engine.cancel(message),
    )
    provider.release(taken())
    await _canceled(cascade, message)


async def test_an_operator_cancels_the_invocation(cascade: Cascade):
    message = await cascade.send(order(sms(), email()))
    await cascade.submitted(message)
    (row,) = cascade.restate.query(_SEND % message)
    cascade.restate.cancel_invocation(row["id"])
    record = await cascade.ended(message)
    assert record.status is Status.CANCELED
    assert record.failure is not None
    assert record.failure.code is FailureCode.CANCELED


async def test_an_operator_cancels_the_invocation_while_the_delivery_hangs(cascade: Cascade):
    message = await cascade.send(order(sms(), email()), Hanging())
    await cascade.called(message)
    (row,) = cascade.restate.query(_SEND % message)
    cascade.restate.cancel_invocation(row["id"])
    assert (await cascade.ended(message)).status is Status.CANCELED
    await eventually(lambda: cascade.channels.released[message] == [("sms", 1)])


async def test_an_operator_cancels_what_is_ending(cascade: Cascade):
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    cascade.endings.blocked.add(message)
    await cascade.resolve(message, receipt(Level.DELIVERED))
    await eventually(lambda: message in cascade.endings.refused)
    (row,) = cascade.restate.query(_SEND % message)
    cascade.restate.cancel_invocation(row["id"])
    cascade.endings.blocked.discard(message)
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert Event.CANCEL_REQUESTED not in events(record)
