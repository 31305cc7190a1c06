"""Scheduled times, the time to live, and how long a message is remembered."""

from __future__ import annotations

import msgspec

from domain.failures import FailureCode
from domain.message import Level
from domain.timeline import Event, Record, Status
from tests.cascade.channels import Hanging, failed, honest, unknown
from tests.cascade.world import Cascade, email, entries, events, order, receipt, sms


def _expired(record: Record) -> None:
    assert record.status is Status.EXPIRED
    assert record.failure is not None
    assert record.failure.code in (FailureCode.TTL_EXPIRED, FailureCode.TOO_LATE)


async def test_a_scheduled_message_waits_for_its_time(cascade: Cascade):
    sent = order(email(), starts_in=0.9)
    assert sent.send_at is not None
    message = await cascade.send(sent)
    await cascade.until(message, lambda r: r.status is Status.SCHEDULED)
    assert cascade.channels.calls[message] == []
    record = await cascade.ended(message)
    assert events(record) == [
        Event.ACCEPTED,
        Event.SCHEDULED,
        Event.STEP,
        Event.SUBMITTED,
        Event.ENDED,
    ]
    assert entries(record, Event.STEP)[0].at >= sent.send_at


async def test_a_time_that_is_over_is_not_waited_for(cascade: Cascade):
    record = await cascade.ended(await cascade.send(order(email(), starts_in=-5)))
    assert record.status is Status.SENT


async def test_a_receipt_does_not_send_a_scheduled_message(cascade: Cascade):
    sent = order(email(), starts_in=1.0)
    assert sent.send_at is not None
    message = await cascade.send(sent)
    await cascade.until(message, lambda r: r.status is Status.SCHEDULED)
    await cascade.engine.report(message, receipt(Level.DELIVERED, 0))
    record = await cascade.ended(message)
    assert entries(record, Event.STEP)[0].at >= sent.send_at


async def test_the_time_to_live_ends_a_step(cascade: Cascade):
    message = await cascade.send(order(sms(30), email(), ttl=0.6))
    record = await cascade.ended(message)
    _expired(record)
    assert len(cascade.channels.calls[message]) == 1
    assert record.ended_at is not None
    assert record.ended_at >= cascade.orders[message].expires_at


async def test_the_time_to_live_ends_between_two_steps(cascade: Cascade):
    """The first step's time and the message's are over together: no second step begins."""
    message = await cascade.send(order(sms(0.5), email(), ttl=0.5))
    record = await cascade.ended(message)
    _expired(record)
    assert [c.channel for c in cascade.channels.calls[message]] == ["sms"]


async def test_the_time_to_live_ends_while_a_delivery_hangs(cascade: Cascade):
    record = await cascade.ended(await cascade.send(order(sms(), ttl=0.6), Hanging()))
    _expired(record)


async def test_the_time_to_live_ends_between_two_tries(cascade: Cascade):
    refused = [failed(FailureCode.PROVIDER_UNAVAILABLE, 30)] * 2
    _expired(await cascade.ended(await cascade.send(order(sms(), ttl=0.6), *refused)))


async def test_the_time_to_live_ends_before_an_unknown_outcome_is_settled(cascade: Cascade):
    _expired(await cascade.ended(await cascade.send(order(sms(), ttl=0.4), unknown())))


async def test_a_message_that_is_over_when_it_comes_is_not_sent(cascade: Cascade):
    message = await cascade.send(order(sms(), email(), ttl=0))
    _expired(await cascade.ended(message))
    assert cascade.channels.calls[message] == []


async def test_a_message_that_is_over_when_its_time_comes_is_not_sent(cascade: Cascade):
    message = await cascade.send(order(sms(), ttl=0.2, starts_in=0.5))
    _expired(await cascade.ended(message))
    assert cascade.channels.calls[message] == []


async def test_a_message_that_waited_for_its_handler_past_its_life_expires(cascade: Cascade):
    """The book believes the order's time; the channel knows better."""
    late = order(sms(5), ttl=-1)
    late = msgspec.structs.replace(
        late, accepted_at=late.accepted_at.replace(year=late.accepted_at.year - 1)
    )
    message = await cascade.send(late, honest())
    _expired(await cascade.ended(message))


async def test_the_state_is_forgotten_and_the_log_remembers(cascade: Cascade):
    message = await cascade.send(order(email()))
    await cascade.ended(message)
    kept = f"SELECT key FROM state WHERE service_key = '{message}'"
    assert cascade.restate.query(kept) == []
    assert await cascade.log.get(message) is not None
    assert not await cascade.engine.cancel(message)
    # A report that comes as late as this still finds the log.
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    assert len(await cascade.late(message)) == 1
