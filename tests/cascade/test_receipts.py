"""Receipts: early, twice, in pieces, late, unreadable."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.failures import FailureCode
from domain.message import Level
from domain.timeline import Event, Status
from tests.cascade.channels import Hanging, failed, taken
from tests.cascade.world import Cascade, email, entries, events, order, receipt, sms
from tests.waiting import eventually


async def test_a_receipt_before_the_submissions_answer(cascade: Cascade):
    provider = Hanging()
    message = await cascade.send(order(sms(), email()), provider)
    await cascade.called(message)
    await cascade.resolve(message, receipt(Level.DELIVERED))
    provider.release(taken())
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert events(record)[-3:] == [Event.SUBMITTED, Event.RECEIPT, Event.ENDED]


async def test_receipts_before_an_answer_that_never_comes(cascade: Cascade):
    """The receipt that had to wait for the answer must not stop the step's timer."""
    message = await cascade.send(order(sms(1.0), email()), Hanging(), taken())
    await cascade.called(message)
    # Through the object, which asks again until the timeline shows the report.
    await cascade.engine.report(message, receipt(Level.SENT, final=False))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.SENT, "email")
    assert len(entries(record, Event.RECEIPT)) == 1
    assert Event.TIMEOUT in events(record)


async def test_the_same_receipt_twice_is_told_once(cascade: Cascade):
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    report = receipt(Level.SENT, final=False)
    await cascade.resolve(message, report)
    await cascade.until(message, lambda r: r.has_receipt(report.id))
    await cascade.resolve(message, report)
    await cascade.engine.report(message, report)
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert [e.level for e in entries(record, Event.RECEIPT)] == [Level.SENT, Level.DELIVERED]


async def test_receipts_back_to_back_are_all_told(cascade: Cascade):
    """An awakeable takes one value: none may be lost for it."""
    message = await cascade.send(order(sms(success=Level.READ)))
    await cascade.submitted(message)
    reports = [
        receipt(Level.SENT, final=False),
        receipt(Level.SENT, name="buffered", final=False),
        receipt(Level.DELIVERED, final=False),
        receipt(FailureCode.PROVIDER_STATE_UNKNOWN, attempt=7),
    ]
    await asyncio.gather(*(cascade.engine.report(message, report) for report in reports[:3]))
    told = {report.id for report in reports[:3]}
    await cascade.until(message, lambda r: told <= {e.receipt_id for e in r.timeline})
    await cascade.engine.report(message, receipt(Level.READ))
    record = await cascade.ended(message)
    assert record.level is Level.READ
    assert len(entries(record, Event.RECEIPT)) == 4


async def test_a_receipt_without_an_id_is_told_once(cascade: Cascade):
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    nameless = msgspec.structs.replace(receipt(Level.SENT, final=False), id=None)
    await cascade.engine.report(message, nameless)
    await cascade.until(message, lambda r: entries(r, Event.RECEIPT))
    sends = (
        f"SELECT id FROM sys_invocation WHERE target_service_key = '{message}'"
        " AND target_handler_name = 'receipt'"
    )
    await eventually(lambda: not cascade.restate.query(sends), pause=0.1)
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert len(entries(record, Event.RECEIPT)) == 2
    row = await cascade.log.get(message)
    assert row is not None
    assert row.late == ()


async def test_a_late_receipt_of_the_first_step_completes_the_message(cascade: Cascade):
    plan = sms(0.3, provider="first"), sms(provider="second"), email()
    message = await cascade.send(order(*plan))
    await cascade.submitted(message, 2)
    await cascade.resolve(message, receipt(Level.DELIVERED, 1))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.DELIVERED, "sms")
    assert [e.late for e in entries(record, Event.RECEIPT)] == [True]
    assert len(cascade.channels.calls[message]) == 2
    await eventually(lambda: cascade.channels.released[message] == [("sms", 2)])


async def test_a_late_failure_of_the_first_step_does_not_end_the_second(cascade: Cascade):
    message = await cascade.send(order(sms(0.3), sms()))
    await cascade.submitted(message, 2)
    await cascade.resolve(message, receipt(FailureCode.RECIPIENT_INVALID, 1))
    await cascade.until(message, lambda r: entries(r, Event.RECEIPT))
    await cascade.resolve(message, receipt(Level.DELIVERED, 2))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED


async def test_a_late_receipt_takes_back_the_delivery_that_hangs(cascade: Cascade):
    message = await cascade.send(order(sms(0.3), email()), taken(), Hanging())
    await cascade.called(message, 2)
    await cascade.resolve(message, receipt(Level.DELIVERED, 1))
    record = await cascade.ended(message)
    assert (record.status, record.channel) == (Status.DELIVERED, "sms")
    # Whether the mail went out is not known, and the timeline says so.
    assert [e.attempt for e in entries(record, Event.OUTCOME_UNKNOWN)] == [2]


async def test_a_receipt_after_the_end_is_kept_as_late_and_changes_nothing(cascade: Cascade):
    message = await cascade.send(order(sms(0.3), email()))
    ended = await cascade.ended(message)
    assert ended.status is Status.SENT
    # A provider that tells whole seconds, or whose clock is behind.
    told = msgspec.structs.replace(
        receipt(Level.DELIVERED, 1), at=ended.timeline[0].at - timedelta(seconds=1)
    )
    await cascade.engine.report(message, told)
    (late,) = await cascade.late(message)
    assert late.at == ended.ended_at
    assert (late.event, late.attempt, late.level, late.late) == (
        Event.RECEIPT,
        1,
        Level.DELIVERED,
        True,
    )
    again = await cascade.ended(message)
    assert again == ended
    assert len(cascade.channels.calls[message]) == 2


@pytest.mark.parametrize("how", ["resolve", "report"])
async def test_a_receipt_between_the_last_wait_and_the_end_is_not_lost(cascade: Cascade, how: str):
    """What finds the awakeable used or its message about to end is told by the object."""
    message = await cascade.send(order(sms()))
    await cascade.submitted(message)
    cascade.endings.blocked.add(message)
    await cascade.engine.cancel(message)
    await eventually(lambda: message in cascade.endings.refused)
    deliver = cascade.resolve if how == "resolve" else cascade.engine.report
    await deliver(message, receipt(Level.DELIVERED))
    cascade.endings.blocked.discard(message)
    await cascade.ended(message)
    await eventually(lambda: cascade.channels.released[message] == [("sms", 1)])
    if how == "report":
        assert [e.level for e in await cascade.late(message)] == [Level.DELIVERED]


RELEASE = [
    # the attempts' script, what is reported, attempts that SmsDelivery is told about
    ([taken()], [receipt(Level.DELIVERED)], []),
    ([taken()], [receipt(Level.SENT, final=False), receipt(Level.READ, final=False)], [("sms", 1)]),
    ([taken()], [], [("sms", 1)]),
    ([failed(FailureCode.RECIPIENT_INVALID)], [], []),
]


@pytest.mark.parametrize(("script", "reports", "released"), RELEASE)
async def test_release_goes_to_sms_only_while_an_attempt_is_open(
    cascade: Cascade, script: list, reports: list, released: list
):
    message = await cascade.send(order(sms(0.8), email()), *script)
    await cascade.called(message)
    for report in reports:
        told = msgspec.structs.replace(report, at=datetime.now(UTC))
        await cascade.engine.report(message, told)
        await cascade.until(message, lambda r, i=report.id: r.has_receipt(i) or r.status.terminal)
    await cascade.ended(message)
    sends = (
        "SELECT id FROM sys_invocation WHERE target_service_name = 'SmsDelivery'"
        " AND target_handler_name = 'release'"
    )
    await eventually(lambda: not cascade.restate.query(sends), pause=0.05)
    assert cascade.channels.released[message] == released


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'"hello"',
        b'{"signal": "fax", "at": "2026-01-01T00:00:00Z"}',
        b'{"signal": "receipt", "attempt": 1, "at": "2026-01-01T00:00:00", "level": "delivered"}',
    ],
)
async def test_an_unreadable_signal_changes_nothing(cascade: Cascade, body: bytes):
    message = await cascade.send(order(sms()))
    record = await cascade.submitted(message)
    url = f"{cascade.restate.ingress}/restate/awakeables/{record.refs[1]}/resolve"
    await cascade.http.post(url, content=body, headers={"content-type": "application/json"})
    await cascade.until(message, lambda r: r.refs[1] != record.refs[1])
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    assert (await cascade.ended(message)).status is Status.DELIVERED


async def test_a_rejected_signal_changes_nothing(cascade: Cascade):
    message = await cascade.send(order(sms()))
    record = await cascade.submitted(message)
    url = f"{cascade.restate.ingress}/restate/awakeables/{record.refs[1]}/reject"
    await cascade.http.post(url, content="no", headers={"content-type": "text/plain"})
    await cascade.until(message, lambda r: r.refs[1] != record.refs[1])
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    assert (await cascade.ended(message)).status is Status.DELIVERED


async def test_a_provider_that_repeats_itself_for_ever_fills_no_timeline(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("domain.timeline.RECEIPTS_LISTED", 3)
    message = await cascade.send(order(sms()), taken(Level.ACCEPTED))
    await cascade.submitted(message)
    for number in range(6):
        said = receipt(Level.SENT, name=f"said {number}", final=False)
        await cascade.engine.report(message, said)
    await cascade.until(message, lambda record: len(entries(record, Event.RECEIPT)) == 3)
    await cascade.engine.report(message, receipt(Level.DELIVERED))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert len(entries(record, Event.RECEIPT)) == 4


async def test_the_receipt_that_ended_the_message_is_not_late_when_it_comes_again(
    cascade: Cascade,
):
    message = await cascade.send(order(sms()), taken())
    last = receipt(Level.DELIVERED)
    await cascade.resolve(message, last)
    await cascade.ended(message)
    await cascade.engine.report(message, last)
    await cascade.engine.report(message, receipt(Level.READ))
    assert [entry.level for entry in await cascade.late(message)] == [Level.READ]


async def test_a_receipt_that_comes_with_the_answer_ends_the_message(cascade: Cascade):
    proof = receipt(Level.DELIVERED)
    message = await cascade.send(order(sms()), taken(receipt=proof))
    record = await cascade.ended(message)
    assert record.status is Status.DELIVERED
    assert events(record)[-3:] == [Event.SUBMITTED, Event.RECEIPT, Event.ENDED]


async def test_a_receipt_that_comes_with_the_answer_and_by_itself_is_told_once(cascade: Cascade):
    proof = receipt(FailureCode.RECIPIENT_UNREACHABLE)
    message = await cascade.send(order(sms(), sms()), taken(receipt=proof), taken())
    await cascade.submitted(message, 2)
    await cascade.resolve(message, proof)
    await cascade.resolve(message, receipt(Level.DELIVERED, attempt=2))
    record = await cascade.ended(message)
    told = [entry.receipt_id for entry in entries(record, Event.RECEIPT)]
    assert told.count(proof.id) == 1
