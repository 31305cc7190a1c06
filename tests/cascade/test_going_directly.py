"""A step's first attempt goes to its channel without a call of Restate's: what the journal has of
it, what may not go so, and what happens meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

import virtual_objects.journey
from domain.delivery import DeliveryRequest, Submission
from domain.failures import FailureCode
from domain.message import DeliveryPolicy, Level, MessageOrder, Quiet
from domain.mode import Mode
from domain.suppression import Reason
from domain.timeline import Event, Status
from handlers.delivery.direct import Direct
from tests.cascade.channels import Hanging, busy, failed, taken, unknown
from tests.cascade.world import (
    BlockableLog,
    Cascade,
    email,
    entries,
    events,
    order,
    push,
    receipt,
    sms,
)
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("stage", ["direct", "replaying-direct"], indirect=True)

STORY = "SELECT id FROM sys_invocation WHERE target_service_key = '%s' AND target_handler_name = "
SETTLED = ["Input", "Output"]
"""The journal of a message that its first answer ended."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try lasts for as long as a test wants to look at it, and a step that follows soon is tried
    directly, too."""
    for name in ("PATIENCE", "POOL_PATIENCE", "STALE_AFTER"):
        monkeypatch.setattr(virtual_objects.journey, name, timedelta(seconds=5))


class Deaths:
    """Lets the process die, as far as a handler can tell, with a channel's answer in its hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.asked: Counter[str] = Counter()
        deliver = Direct.deliver

        async def die(
            direct: Direct, service: str, request: DeliveryRequest, patience: float
        ) -> Submission | None:
            answer = await deliver(direct, service, request, patience)
            self.asked[request.message] += 1
            if self.asked[request.message] <= times:
                raise RuntimeError("the process died")
            return answer

        monkeypatch.setattr(Direct, "deliver", die)


async def reported(cascade: Cascade, message: str) -> None:
    """Wait until the object has looked at a report, and will look again or has called it late."""
    waiting = STORY % message + "'receipt' AND status = 'scheduled'"

    async def looked() -> bool:
        row = await cascade.log.get(message)
        return bool(cascade.restate.query(waiting)) or (row is not None and bool(row.late))

    await eventually(looked, pause=0.02)


def timer(cascade: Cascade, message: str) -> tuple[datetime, datetime] | None:
    """When a message came to Restate, and when its first timer fires."""
    rows = cascade.restate.query(
        "SELECT i.created_at, j.entry_json FROM sys_journal j JOIN sys_invocation i ON i.id = j.id"
        f" WHERE i.target_service_key = '{message}' AND j.entry_type = 'Command: Sleep'"
        " ORDER BY j.index"
    )
    if not rows:
        return None
    wakes = json.loads(rows[0]["entry_json"])["Command"]["Sleep"]["wake_up_time"]
    return datetime.fromisoformat(rows[0]["created_at"]), datetime.fromtimestamp(wakes / 1000, UTC)


# What the journal has


ENDED_BY_THE_ANSWER: list[tuple[MessageOrder, list[Any], Status]] = [
    (order(email()), [taken()], Status.SENT),
    (order(push()), [taken()], Status.SENT),
    (order(sms()), [taken(receipt=receipt(Level.DELIVERED))], Status.DELIVERED),
]


@pytest.mark.parametrize(("kind", "script", "status"), ENDED_BY_THE_ANSWER)
async def test_an_answer_that_ends_a_message_is_not_journalled(
    cascade: Cascade, kind: MessageOrder, script: list[Any], status: Status
):
    now = order(*kind.plan)
    message = await cascade.send(now, *script)
    assert (await cascade.ended(message)).status is status
    assert cascade.journal(message) == SETTLED


async def test_an_answer_that_leaves_something_open_is_journalled_once(cascade: Cascade):
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert cascade.journal(message) == [
        "Input",
        "try",
        "Sleep",
        "SetState",
        "log the end",
        "ClearState",
        "Output",
    ]


async def test_the_second_step_ends_what_the_first_could_not(cascade: Cascade):
    message = await cascade.send(order(sms(), email()), failed(FailureCode.RECIPIENT_INVALID))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert cascade.journal(message) == ["Input", "try", "Sleep", "Output"]


async def test_a_receipt_that_is_not_the_last_word_leaves_the_message_open(cascade: Cascade):
    """More may be reported, and the channel has to hear to whom."""
    proof = receipt(Level.DELIVERED, final=False)
    message = await cascade.send(order(sms()), taken(receipt=proof))
    assert (await cascade.ended(message)).status is Status.DELIVERED
    await eventually(lambda: cascade.channels.released[message] == [("sms", 1)])


LATER = [busy(), failed(FailureCode.PROVIDER_ERROR, 0.05), unknown()]


@pytest.mark.parametrize("first", LATER)
async def test_what_comes_after_a_first_attempt_goes_by_restate(cascade: Cascade, first: Any):
    message = await cascade.send(order(email()), first, taken())
    assert (await cascade.ended(message)).status is Status.SENT
    commands = Counter(cascade.journal(message))
    assert (commands["try"], commands["Call"]) == (1, 1)


# What may not go directly


def resting(sent: MessageOrder) -> MessageOrder:
    ends = sent.accepted_at + timedelta(seconds=0.6)
    begins = sent.accepted_at - timedelta(seconds=10)
    return msgspec.structs.replace(sent, quiet=(Quiet(begins, ends),))


NOT_DIRECTLY: dict[str, Any] = {
    "a step as long as a try may take": lambda: order(email(30)),
    "a short life": lambda: order(email(60), ttl=30),
    "scheduled": lambda: order(email(60), starts_in=0.6, ttl=100),
    "after quiet hours": lambda: resting(order(sms(60, success=Level.SENT), ttl=100)),
    "in the sandbox": lambda: order(email(60), ttl=100, mode=Mode.TEST),
}


@pytest.mark.parametrize("make", NOT_DIRECTLY.values(), ids=NOT_DIRECTLY.keys())
async def test_goes_by_restate(cascade: Cascade, monkeypatch: pytest.MonkeyPatch, make: Any):
    monkeypatch.setattr(virtual_objects.journey, "SHORT", timedelta(seconds=30))
    message = await cascade.send(make())
    assert (await cascade.ended(message)).status is Status.SENT
    commands = Counter(cascade.journal(message))
    assert (commands["try"], commands["Call"]) == (0, 1)


async def test_goes_directly_otherwise(cascade: Cascade, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(virtual_objects.journey, "SHORT", timedelta(seconds=30))
    message = await cascade.send(order(email(60), ttl=100))
    assert (await cascade.ended(message)).status is Status.SENT
    assert cascade.journal(message) == SETTLED


# Deaths


DIES = [
    (order(email()), [taken()], Status.SENT),
    (order(sms()), [taken(receipt=receipt(Level.DELIVERED))], Status.DELIVERED),
    (order(sms(), email()), [failed(FailureCode.RECIPIENT_INVALID)], Status.SENT),
    (
        order(sms(), email(), policy=DeliveryPolicy.AT_MOST_ONCE),
        [unknown(), taken()],
        Status.SENT,
    ),
]


@pytest.mark.parametrize(("kind", "script", "status"), DIES)
async def test_a_process_dies_with_the_answer(
    cascade: Cascade,
    monkeypatch: pytest.MonkeyPatch,
    kind: MessageOrder,
    script: list[Any],
    status: Status,
):
    """Whoever takes over asks again, and hears what became of the attempt."""
    deaths = Deaths(monkeypatch, times=3)
    message = await cascade.send(order(*kind.plan, policy=kind.policy), *script)
    record = await cascade.ended(message)
    assert record.status is status
    assert deaths.asked[message] > 3
    attempts = [call.request.attempt for call in cascade.channels.calls[message]]
    assert attempts == list(range(1, len(kind.plan) + 1))


async def test_the_log_refuses_the_end(cascade: Cascade):
    """A message whose answer is in no journal is not over before its end is written."""
    sent = order(email())
    message = await cascade.send(sent, provider := Hanging())
    await cascade.called(message)
    cascade.endings.blocked.add(message)
    provider.release(taken())
    await eventually(lambda: message in cascade.endings.refused)
    cascade.endings.blocked.discard(message)
    record = await cascade.ended(message)
    assert (record.status, len(cascade.channels.calls[message])) == (Status.SENT, 1)


@pytest.mark.parametrize("answers_again", [True, False])
async def test_a_process_dies_after_it_wrote_the_end(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, answers_again: bool
):
    """The end is the same and written again, or found where the channel does not answer again."""
    written: Counter[str] = Counter()
    end, deliver = BlockableLog.ended, Direct.deliver

    async def die(log: BlockableLog, message: str, *facts: Any) -> None:
        await end(log, message, *facts)
        written[message] += 1
        if written[message] <= 2:
            raise RuntimeError("the process died")

    async def lost(direct: Direct, service: str, request: Any, patience: float) -> Any:
        gone = written[request.message] and not answers_again
        return None if gone else await deliver(direct, service, request, patience)

    monkeypatch.setattr(BlockableLog, "ended", die)
    monkeypatch.setattr(Direct, "deliver", lost)
    message = await cascade.send(order(email(), sms()))
    expected = SETTLED if answers_again else ["Input", "try", "Sleep", "Output"]
    await eventually(lambda: cascade.journal(message) == expected)
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert len(cascade.channels.calls[message]) == 1
    assert (written[message] > 2) is answers_again


# Time


SLOW: list[Any] = [None, taken()]
"""What a channel answers to a try at last; None for nothing at all."""


@pytest.mark.parametrize("answer", SLOW)
async def test_the_steps_time_counts_from_the_beginning_of_the_try(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, answer: Any
):
    if answer is not None:
        monkeypatch.setattr(virtual_objects.journey, "POOL_PATIENCE", timedelta(seconds=5))
    provider = Hanging()
    message = await cascade.send(order(sms(20), email()), provider)
    (call,) = await cascade.called(message)
    if answer is not None:
        await eventually(lambda: datetime.now(UTC) >= _later(call, 0.6))
        provider.release(answer)
    created, wakes = await eventually(lambda: timer(cascade, message), pause=0.02)
    assert abs(wakes - created - timedelta(seconds=20)) < timedelta(milliseconds=250)


def _later(call: Any, seconds: float) -> datetime:
    """A moment after a call's step began, of 20 s."""
    began: datetime = call.request.not_after - timedelta(seconds=20)
    return began + timedelta(seconds=seconds)


async def test_a_death_during_the_try_does_not_prolong_a_message(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
):
    Deaths(monkeypatch, times=4)
    sent = order(sms(60), ttl=10)
    message = await cascade.send(sent)
    _, wakes = await eventually(lambda: timer(cascade, message), pause=0.02)
    assert wakes <= sent.expires_at + timedelta(milliseconds=10)


async def test_a_try_ends_with_its_step(cascade: Cascade, monkeypatch: pytest.MonkeyPatch):
    """A relay that takes for ever is waited for no longer than that."""
    monkeypatch.setattr(virtual_objects.journey, "PATIENCE", timedelta(minutes=1))
    message = await cascade.send(order(email(0.8), sms(success=Level.SENT)), Hanging())
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "sms")
    assert Event.OUTCOME_UNKNOWN in events(record)
    (timeout,) = entries(record, Event.TIMEOUT)
    assert timeout.at - record.timeline[0].at < timedelta(seconds=2)


# What is said meanwhile


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("listed", [True, False])
async def test_a_report_during_the_first_try_is_not_lost(cascade: Cascade, listed: bool):
    provider = Hanging()
    message = await cascade.send(order(sms()), provider)
    await cascade.called(message)
    if listed:
        await cascade.log.accepted(message, cascade.orders[message])
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    await reported(cascade, message)
    provider.release(taken())
    assert (await cascade.ended(message)).status is Status.DELIVERED


@pytest.mark.usefixtures("patient")
async def test_a_report_during_the_second_steps_try_is_not_late(cascade: Cascade):
    """The object holds the message as it was before that attempt."""
    second = Hanging()
    message = await cascade.send(order(sms(), sms(provider="second")), taken(), second)
    await cascade.submitted(message)
    await cascade.log.accepted(message, cascade.orders[message])
    await cascade.resolve(message, receipt(FailureCode.RECIPIENT_UNREACHABLE))
    await cascade.called(message, 2)
    await cascade.engine.report(message, receipt(Level.DELIVERED, 2))
    await reported(cascade, message)
    second.release(taken())
    assert (await cascade.ended(message)).status is Status.DELIVERED


@pytest.mark.usefixtures("patient")
async def test_the_awakeable_is_resolved_during_the_try(cascade: Cascade):
    provider = Hanging()
    message = await cascade.send(order(sms()), provider)
    await cascade.called(message)
    await cascade.resolve(message, receipt(Level.DELIVERED))
    provider.release(taken())
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert events(record)[-3:] == [Event.SUBMITTED, Event.RECEIPT, Event.ENDED]


@pytest.mark.usefixtures("patient")
async def test_a_message_that_is_being_tried_is_canceled_afterwards(cascade: Cascade):
    provider = Hanging()
    message = await cascade.send(order(sms()), provider)
    await cascade.called(message)
    assert not await cascade.engine.cancel(message)
    provider.release(taken())
    await cascade.submitted(message)
    assert await cascade.engine.cancel(message)
    assert (await cascade.ended(message)).status is Status.CANCELED


@pytest.mark.usefixtures("patient")
async def test_a_cancellation_during_the_second_steps_try_is_heard_after_it(cascade: Cascade):
    second = Hanging()
    message = await cascade.send(order(sms(), sms(provider="second")), taken(), second)
    await cascade.submitted(message)
    await cascade.resolve(message, receipt(FailureCode.RECIPIENT_UNREACHABLE))
    await cascade.called(message, 2)
    assert await cascade.engine.cancel(message)
    second.release(taken())
    record = await cascade.ended(message)
    assert record.status is Status.CANCELED
    assert len(entries(record, Event.CANCEL_REQUESTED)) == 1


@pytest.mark.usefixtures("patient")
async def test_an_operator_cancels_during_the_try(cascade: Cascade):
    provider = Hanging()
    message = await cascade.send(order(sms(), email()), provider)
    await cascade.called(message)
    (row,) = cascade.restate.query(STORY % message + "'send'")
    cascade.restate.cancel_invocation(row["id"])
    provider.release(taken())
    record = await cascade.ended(message)
    assert record.status is Status.CANCELED
    assert len(cascade.channels.calls[message]) == 1
    await eventually(lambda: cascade.channels.released[message] == [("sms", 1)])


@pytest.mark.usefixtures("patient")
async def test_a_cancellation_during_a_later_step_is_obeyed(cascade: Cascade):
    """What is shown names the attempts so far: nothing may be tried that it does not."""
    second = Hanging()
    plan = order(sms(60), email(60), push(60), ttl=300)
    message = await cascade.send(plan, taken(), second, taken())
    await cascade.submitted(message)
    failing = receipt(FailureCode.RECIPIENT_UNREACHABLE, name="failing", final=False)
    await cascade.resolve(message, failing)
    await cascade.called(message, 2)
    assert await cascade.engine.cancel(message)
    record = await cascade.ended(message)
    second.release(failed(FailureCode.RECIPIENT_INVALID))
    assert record.status is Status.CANCELED
    assert len(cascade.channels.calls[message]) == 2


@pytest.mark.parametrize("stopped", [True, False])
async def test_what_was_handed_over_before_a_death_is_told_when_nothing_may_follow(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, stopped: bool
):
    """The next process comes when the message's time is over, or the person has written STOP."""
    sent = order(sms(30), ttl=60 if stopped else 0.5)
    sent = msgspec.structs.replace(sent, to={**sent.to, "sms": f"+452099990{stopped:d}"})
    deliver, asked = Direct.deliver, 0

    async def die(
        direct: Direct, service: str, request: DeliveryRequest, patience: float
    ) -> Submission | None:
        nonlocal asked
        answer = await deliver(direct, service, request, patience)
        asked += 1
        if asked > 1:
            return answer
        monkeypatch.setattr(virtual_objects.journey, "BEHIND_AFTER", timedelta(0))
        if stopped:
            entry = cascade.lists.entry(sent.tenant, "sms", sent.to["sms"], Reason.STOP)
            cascade.lists.put(sent.tenant, [entry])
        else:
            await eventually(lambda: datetime.now(UTC) > sent.expires_at)
        raise RuntimeError("the process died")

    monkeypatch.setattr(Direct, "deliver", die)
    message = await cascade.send(sent, taken())
    await eventually(lambda: asked > 1)
    if stopped:
        await cascade.submitted(message)
        await cascade.resolve(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert record.status is (Status.DELIVERED if stopped else Status.EXPIRED)
    assert [e.attempt for e in entries(record, Event.SUBMITTED)] == [1]
    assert len(cascade.channels.calls[message]) == 1
