"""What changed while a message waited: who wrote STOP gets nothing more, a suspended tenant sends
nothing, and a message that goes out at once is not slowed down by it."""

from __future__ import annotations

import itertools
from datetime import timedelta

import msgspec
import pytest

from adapters.store.tenants import add_tenant, change_tenant
from domain.failures import FailureCode
from domain.message import Category, Level, MessageOrder, Quiet
from domain.mode import Mode
from domain.suppression import EVERYBODY, Reason
from domain.timeline import Event, Record, Status
from tests.cascade.channels import busy, failed, honest, unknown
from tests.cascade.world import Cascade, email, entries, events, label, order, receipt, sms
from tests.waiting import eventually

_numbers = itertools.count(20_200_000)
SUPPRESSED = FailureCode.RECIPIENT_BLOCKED
SUSPENDED = FailureCode.ACCOUNT_SUSPENDED
STOP = "the person wrote STOP"


def to_somebody(sent: MessageOrder) -> MessageOrder:
    """The order to a number and a mailbox that no other test uses."""
    number = next(_numbers)
    to = {**sent.to, "sms": f"+45{number}", "email": f"Anna.{number}@example.com"}
    return msgspec.structs.replace(sent, to=to)


def stop(
    cascade: Cascade,
    sent: MessageOrder,
    channel: str = "sms",
    reason: Reason = Reason.STOP,
    tenant: str | None = None,
) -> None:
    owner = sent.tenant if tenant is None else tenant
    entry = cascade.lists.entry(owner, channel, sent.to[channel], reason)
    assert cascade.lists.put(owner, [entry]) == [True]


def failure_of(record: Record) -> FailureCode | None:
    return record.failure and record.failure.code


def barred(record: Record) -> list[tuple[int | None, str | None, FailureCode, str | None]]:
    """The lines of the timeline that no attempt made."""
    return [
        (line.step, line.channel, line.failure.code, line.failure.detail)
        for line in entries(record, Event.FAILED)
        if line.attempt is None and line.failure is not None
    ]


def asked(cascade: Cascade, sent: MessageOrder) -> list[str]:
    return cascade.looks.asked[label(sent)]


LOOK = "look again"


# At once


async def test_a_message_that_goes_out_at_once_asks_nobody(cascade: Cascade):
    """Not one entry more in its journal than it needs: what was found at acceptance holds."""
    sent = to_somebody(order(sms(success=Level.SENT)))
    stop(cascade, sent)
    message = await cascade.send(sent)
    record = await cascade.ended(message)
    assert (record.status, asked(cascade, sent)) == (Status.SENT, [])
    called = [
        "timestamp",  # it may begin late
        "Sleep",  # the step's time
        "Call",
        "SetState",
        "log the end",
        "ClearState",
    ]
    assert cascade.journal(message) == [
        "Input",
        *(["try", "Sleep", "log the end"] if cascade.direct else called),
        "OneWayCall",  # nobody waits for the receipt any more
        "Output",
    ]


@pytest.mark.parametrize("stopped", [True, False])
async def test_a_message_that_begins_late_asks_again(cascade: Cascade, stopped: bool):
    """As after an outage of whoever serves it: no time is in its journal that would say so."""
    sent = to_somebody(order(sms(success=Level.SENT), ttl=600))
    sent = msgspec.structs.replace(sent, accepted_at=sent.accepted_at - timedelta(minutes=4))
    if stopped:
        stop(cascade, sent)
    message = await cascade.send(sent, honest())
    record = await cascade.ended(message)
    assert asked(cascade, sent) == ["sms"]
    assert record.status is (Status.FAILED if stopped else Status.SENT)
    assert len(entries(record, Event.SUBMITTED)) == (0 if stopped else 1)
    # Its channel may be asked what it knows, at a time at which it sends nothing any more.
    assert len(cascade.channels.calls[message]) <= 1


async def test_an_answer_that_ends_a_message_leaves_nothing_in_its_journal(cascade: Cascade):
    message = await cascade.send(order(email()))
    record = await cascade.ended(message)
    assert record.status is Status.SENT
    if cascade.direct:
        assert cascade.journal(message) == ["Input", "Output"]
    else:
        assert "Call" in cascade.journal(message)


# After a scheduled time


async def test_a_scheduled_message_asks_once_and_goes_out(cascade: Cascade):
    sent = to_somebody(order(sms(success=Level.SENT), starts_in=0.6))
    message = await cascade.send(sent)
    record = await cascade.ended(message)
    assert events(record) == [
        Event.ACCEPTED,
        Event.SCHEDULED,
        Event.STEP,
        Event.SUBMITTED,
        Event.ENDED,
    ]
    assert asked(cascade, sent) == ["sms"]
    assert cascade.journal(message).count(LOOK) == 1


async def test_who_wrote_stop_before_the_time_gets_nothing(cascade: Cascade):
    sent = to_somebody(order(sms(), starts_in=0.8))
    message = await cascade.send(sent)
    await cascade.until(message, lambda r: r.status is Status.SCHEDULED)
    stop(cascade, sent)
    record = await cascade.ended(message)
    assert (record.status, failure_of(record)) == (Status.FAILED, SUPPRESSED)
    assert barred(record) == [(1, "sms", SUPPRESSED, STOP)]
    assert cascade.channels.calls[message] == []


async def test_the_plan_goes_on_on_another_channel(cascade: Cascade):
    sent = to_somebody(order(sms(), email(), starts_in=0.6))
    stop(cascade, sent)
    message = await cascade.send(sent)
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert barred(record) == [(1, "sms", SUPPRESSED, STOP)]
    assert [call.channel for call in cascade.channels.calls[message]] == ["email"]


BLOCKED = {
    # what stands on whose list, the message's category, and whether it goes out
    "stop, otp": (Reason.STOP, None, Category.OTP, True),
    "stop, marketing": (Reason.STOP, None, Category.MARKETING, False),
    "unsubscribed, transactional": (Reason.UNSUBSCRIBE, None, Category.TRANSACTIONAL, True),
    "unsubscribed, marketing": (Reason.UNSUBSCRIBE, None, Category.MARKETING, False),
    "complaint, transactional": (Reason.COMPLAINT, None, Category.TRANSACTIONAL, False),
    "no such mailbox, otp": (Reason.HARD_BOUNCE, None, Category.OTP, False),
    "the operator's, otp": (Reason.MANUAL, EVERYBODY, Category.OTP, False),
    "another tenant's": (Reason.MANUAL, "globex", Category.MARKETING, True),
}


@pytest.mark.parametrize(("reason", "owner", "category", "goes"), BLOCKED.values(), ids=BLOCKED)
async def test_the_lists_mean_what_they_mean_at_acceptance(
    cascade: Cascade, reason: Reason, owner: str | None, category: Category, goes: bool
):
    sent = to_somebody(order(email(), starts_in=0.4, category=category))
    stop(cascade, sent, "email", reason, owner)
    record = await cascade.ended(await cascade.send(sent))
    assert (record.status is Status.SENT) is goes
    assert failure_of(record) is (None if goes else SUPPRESSED)


async def test_the_answer_to_stop_goes_out_late(cascade: Cascade):
    """It is for who has just been put on the list, and may have to wait for a carrier."""
    sent = to_somebody(order(sms(success=Level.SENT), starts_in=0.4, reply=True))
    stop(cascade, sent)
    assert (await cascade.ended(await cascade.send(sent))).status is Status.SENT


async def test_a_message_is_withdrawn_while_it_is_asked_about(cascade: Cascade):
    sent = to_somebody(order(sms(), starts_in=0.4))
    cascade.looks.away[label(sent)] = 4
    message = await cascade.send(sent)
    await eventually(lambda: asked(cascade, sent))
    assert await cascade.engine.cancel(message)
    record = await cascade.ended(message)
    assert (record.status, cascade.channels.calls[message]) == (Status.CANCELED, [])


# Later steps and later tries


async def test_a_later_step_asks_about_its_own_channel(cascade: Cascade):
    sent = to_somebody(order(sms(0.5), email()))
    message = await cascade.send(sent)
    await cascade.submitted(message)
    stop(cascade, sent, "email")
    record = await cascade.ended(message)
    assert (record.status, failure_of(record)) == (Status.FAILED, SUPPRESSED)
    assert barred(record) == [(2, "email", SUPPRESSED, STOP)]
    assert [call.channel for call in cascade.channels.calls[message]] == ["sms"]
    assert asked(cascade, sent) == ["email"]


async def test_what_arrived_before_counts_whoever_is_left_alone_now(cascade: Cascade):
    sent = to_somebody(order(sms(0.8, success=Level.READ), email()))
    stop(cascade, sent, "email")
    message = await cascade.send(sent)
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.DELIVERED, "sms")


async def test_who_writes_stop_in_quiet_hours_is_left_alone_after_them(cascade: Cascade):
    sent = to_somebody(order(sms()))
    night = Quiet(sent.accepted_at, sent.accepted_at + timedelta(seconds=0.8))
    sent = msgspec.structs.replace(sent, quiet=(night,))
    message = await cascade.send(sent)
    await cascade.until(message, lambda r: events(r)[-1:] == [Event.QUIET_HOURS])
    stop(cascade, sent)
    record = await cascade.ended(message)
    assert (record.status, failure_of(record)) == (Status.FAILED, SUPPRESSED)
    assert cascade.channels.calls[message] == []


@pytest.mark.parametrize(
    "again", [busy(0.6), failed(FailureCode.PROVIDER_UNAVAILABLE, 0.6)], ids=["busy", "failed"]
)
async def test_who_writes_stop_while_a_provider_is_away_is_not_tried_again(cascade: Cascade, again):
    sent = to_somebody(order(sms(), email()))
    message = await cascade.send(sent, again)
    await cascade.called(message)
    stop(cascade, sent)
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert barred(record) == [(1, "sms", SUPPRESSED, STOP)]
    assert [call.channel for call in cascade.channels.calls[message]] == ["sms", "email"]


async def test_what_may_have_arrived_is_not_repeated_nor_said_to_have_failed(cascade: Cascade):
    sent = to_somebody(order(sms()))
    message = await cascade.send(sent, unknown())
    await cascade.called(message)
    stop(cascade, sent)
    record = await cascade.ended(message)
    assert (record.status, failure_of(record)) == (Status.FAILED, FailureCode.OUTCOME_UNKNOWN)
    assert barred(record) == [(1, "sms", SUPPRESSED, STOP)]
    assert len(cascade.channels.calls[message]) == 1


# A suspended tenant


@pytest.fixture
def other(stage) -> str:
    tenant = f"tenant-{next(_numbers)}"
    add_tenant(stage.backstage.database, tenant, {})
    return tenant


@pytest.mark.parametrize("mode", Mode)
async def test_a_suspended_tenant_sends_nothing(cascade: Cascade, stage, other: str, mode: Mode):
    sent = to_somebody(order(sms(), email(), starts_in=0.8, mode=mode))
    sent = msgspec.structs.replace(sent, tenant=other)
    message = await cascade.send(sent)
    await cascade.until(message, lambda r: r.status is Status.SCHEDULED)
    change_tenant(stage.backstage.database, other, {"suspended": True})
    record = await cascade.ended(message)
    assert (record.status, failure_of(record)) == (Status.FAILED, SUSPENDED)
    assert barred(record) == [(1, "sms", SUSPENDED, None)]
    assert len(entries(record, Event.STEP)) == 1
    assert cascade.channels.calls[message] == []


async def test_what_a_tenant_sent_before_it_was_suspended_is_still_reported(
    cascade: Cascade, stage, other: str
):
    sent = to_somebody(order(sms(0.8, success=Level.READ), email()))
    sent = msgspec.structs.replace(sent, tenant=other)
    message = await cascade.send(sent)
    await cascade.submitted(message)
    change_tenant(stage.backstage.database, other, {"suspended": True})
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert (record.status, record.failure) == (Status.DELIVERED, None)
    assert barred(record) == [(2, "email", SUSPENDED, None)]


async def test_a_tenant_that_nobody_knows_is_not_suspended(cascade: Cascade):
    """The trusted door takes any."""
    sent = to_somebody(order(email(), starts_in=0.4))
    sent = msgspec.structs.replace(sent, tenant="nobody-knows")
    assert (await cascade.ended(await cascade.send(sent))).status is Status.SENT


# The sandbox


async def test_a_test_message_meets_the_same_lists(cascade: Cascade):
    sent = to_somebody(order(sms(), email(), starts_in=0.6, mode=Mode.TEST))
    stop(cascade, sent)
    record = await cascade.ended(await cascade.send(sent))
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert barred(record) == [(1, "sms", SUPPRESSED, STOP)]


async def test_the_number_of_who_has_opted_out_is_not_sent_to(cascade: Cascade):
    sent = to_somebody(order(sms(), starts_in=0.4, mode=Mode.TEST))
    sent.to["sms"] = "+4520109918"
    record = await cascade.ended(await cascade.send(sent))
    assert barred(record) == [(1, "sms", SUPPRESSED, STOP)]


# The database is away


@pytest.mark.parametrize("stopped", [False, True], ids=["nothing changed", "stop"])
async def test_nothing_is_sent_or_failed_as_long_as_nobody_can_be_asked(
    cascade: Cascade, stopped: bool
):
    """For longer than the step's time: that stands still."""
    sent = to_somebody(order(sms(0.6, success=Level.SENT), starts_in=0.4))
    if stopped:
        stop(cascade, sent)
    cascade.looks.away[label(sent)] = 4
    message = await cascade.send(sent)
    record = await cascade.ended(message)
    assert asked(cascade, sent) == ["sms"] * 5
    assert failure_of(record) is (SUPPRESSED if stopped else None)
    assert record.status is (Status.FAILED if stopped else Status.SENT)
    assert len(cascade.channels.calls[message]) == (0 if stopped else 1)


async def test_a_message_that_nobody_can_be_asked_about_expires(cascade: Cascade):
    sent = to_somebody(order(sms(), ttl=1.5, starts_in=0.4))
    cascade.looks.away[label(sent)] = 1_000_000
    message = await cascade.send(sent)
    record = await cascade.ended(message)
    assert (record.status, failure_of(record)) == (Status.EXPIRED, FailureCode.TTL_EXPIRED)
    assert record.ended_at is not None
    assert record.ended_at >= sent.expires_at
    assert cascade.channels.calls[message] == []


async def test_a_receipt_settles_what_nobody_can_be_asked_about(cascade: Cascade):
    """What was to be repeated has arrived: it is not repeated when the database is back."""
    sent = to_somebody(order(sms(3, success=Level.READ)))
    cascade.looks.away[label(sent)] = 3
    message = await cascade.send(sent, unknown())
    await eventually(lambda: asked(cascade, sent))
    await cascade.resolve(message, receipt(Level.DELIVERED, final=False))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.DELIVERED, "sms")
    assert len(cascade.channels.calls[message]) == 1
