"""Several providers of one channel: whose turn it is, and when the next channel's is."""

from __future__ import annotations

import pytest

from domain.failures import FailureCode
from domain.message import Level
from domain.providers import OWN
from domain.timeline import Event, Status
from tests.cascade.channels import busy, failed, taken, unknown
from tests.cascade.world import Cascade, email, entries, order, push, receipt, sms

ERROR = FailureCode.PROVIDER_ERROR
REFUSED = FailureCode.PROVIDER_REJECTED


def asked(cascade: Cascade, message: str) -> list[tuple[str, str | None]]:
    """The services that were called, with the provider that each was to take."""
    return [(call.channel, call.request.provider) for call in cascade.channels.calls[message]]


CHOSEN = {
    "nobody: the channel's own service": ((), "sms", None),
    "the channel's own service": ((OWN,), "sms", None),
    "an adapter": (("twilio",), "sms by adapter", "twilio"),
}


@pytest.mark.parametrize(("adapters", "service", "provider"), CHOSEN.values(), ids=CHOSEN)
async def test_who_is_asked(cascade: Cascade, adapters, service, provider):
    message = await cascade.send(order(sms(success=Level.SENT, adapters=adapters)), taken())
    await cascade.ended(message)
    assert asked(cascade, message) == [(service, provider)]


async def test_a_channel_without_a_service_of_its_own_is_an_adapters(cascade: Cascade):
    message = await cascade.send(order(push()), taken())
    record = await cascade.ended(message)
    assert asked(cascade, message) == [("push by adapter", None)]
    assert (record.status, record.channel) == (Status.SENT, "push")


NEXT = {
    # what the first one answers, and whether the second is asked before the next channel
    "failed for now": (failed(ERROR), True),
    "refused for good": (failed(REFUSED), True),
    "set up wrongly": (failed(FailureCode.CONFIGURATION), True),
    "throttles": (busy(30), True),
    "knows that the recipient does not exist": (failed(FailureCode.RECIPIENT_INVALID), False),
    "does not like the content": (failed(FailureCode.CONTENT_REJECTED), False),
}


@pytest.mark.parametrize(("first", "passed_on"), NEXT.values(), ids=NEXT)
async def test_the_next_provider_is_asked_at_once(cascade: Cascade, first, passed_on):
    plan = sms(success=Level.SENT, adapters=("twilio", OWN)), email()
    message = await cascade.send(order(*plan), first, taken())
    record = await cascade.ended(message, within=5)
    second = ("sms", None) if passed_on else ("email", None)
    assert asked(cascade, message) == [("sms by adapter", "twilio"), second]
    assert record.channel == second[0]


async def test_who_fails_for_now_is_asked_again_in_rounds(cascade: Cascade):
    plan = sms(success=Level.SENT, adapters=("a", "b"))
    script = failed(ERROR, 0.01), failed(ERROR, 0.01), failed(ERROR, 0.01), taken()
    message = await cascade.send(order(plan), *script)
    await cascade.ended(message)
    assert [provider for _, provider in asked(cascade, message)] == ["a", "b", "a", "b"]


async def test_who_fails_for_good_is_not_asked_again(cascade: Cascade):
    plan = sms(success=Level.SENT, adapters=("a", "b", "c"))
    script = failed(ERROR, 0.01), failed(REFUSED), failed(ERROR, 0.01), taken()
    message = await cascade.send(order(plan), *script)
    await cascade.ended(message)
    assert [provider for _, provider in asked(cascade, message)] == ["a", "b", "c", "a"]


async def test_the_last_one_decides(cascade: Cascade):
    plan = sms(adapters=("a", "b")), email()
    message = await cascade.send(order(*plan), failed(REFUSED), failed(REFUSED), taken())
    record = await cascade.ended(message, within=5)
    assert record.channel == "email"
    assert len(entries(record, Event.FAILED)) == 2


async def test_failover_on_goes_to_the_next_channel(cascade: Cascade):
    plan = sms(adapters=("a", "b"), failover_on=(ERROR.value,)), email()
    message = await cascade.send(order(*plan), failed(ERROR), taken())
    await cascade.ended(message, within=5)
    assert asked(cascade, message) == [("sms by adapter", "a"), ("email", None)]


RECEIPTS = {
    "of the provider": (FailureCode.PROVIDER_ERROR, True),
    "of the recipient": (FailureCode.RECIPIENT_UNREACHABLE, False),
}


@pytest.mark.parametrize(("code", "passed_on"), RECEIPTS.values(), ids=RECEIPTS)
async def test_a_failure_that_is_reported_later(cascade: Cascade, code, passed_on):
    plan = sms(adapters=("a", "b")), email()
    message = await cascade.send(order(*plan), taken(), taken())
    await cascade.submitted(message)
    await cascade.engine.report(message, receipt(code))
    if passed_on:
        await cascade.submitted(message, attempt=2)
        await cascade.engine.report(message, receipt(Level.DELIVERED, attempt=2))
    record = await cascade.ended(message, within=5)
    assert record.channel == ("sms" if passed_on else "email")


async def test_an_unknown_outcome_stays_with_its_provider(cascade: Cascade):
    plan = sms(success=Level.SENT, adapters=("a", "b"))
    message = await cascade.send(order(plan), unknown(), taken())
    record = await cascade.ended(message)
    assert [provider for _, provider in asked(cascade, message)] == ["a", "a"]
    assert entries(record, Event.SUBMITTED)[0].possible_duplicate


async def test_nobody_is_told_to_release_an_adapters_attempt(cascade: Cascade):
    plan = sms(0.5, adapters=("a",)), sms(success=Level.SENT)
    message = await cascade.send(order(*plan), taken(), taken())
    await cascade.ended(message)
    assert ("adapter", 1) not in cascade.channels.released[message]
