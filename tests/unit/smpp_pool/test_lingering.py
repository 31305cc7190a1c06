"""Answers that bring their receipt along: told once, and never lost with the answer."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import adapters.smpp.pool
from domain.delivery import AttemptRef, SubmissionState
from domain.failures import FailureCode
from domain.message import Level
from tests.unit.smpp_pool.test_receipts import REF, all_forwarded, receipt, tell, told
from tests.waiting import eventually


@pytest.fixture
def lingering(request_for):
    def request(*arguments, **facts):
        return msgspec.structs.replace(request_for(*arguments, **facts), with_receipt=True)

    return request


def nothing_else_is_told(hermes):
    return not hermes.sink.resolved and not hermes.sink.reported


@pytest.mark.parametrize(
    ("number", "level", "failure"),
    [
        ("+4520100000", Level.DELIVERED, None),
        ("+4520109903", None, FailureCode.RECIPIENT_UNREACHABLE),
    ],
)
async def test_the_receipt_comes_with_the_answer(smsc, pool, lingering, number, level, failure):
    hermes = await pool(await smsc(receipt_delay=0.1))
    answer = await hermes.deliver(lingering(number))
    assert (answer.state, answer.level) == (SubmissionState.TAKEN, Level.SENT)
    assert answer.receipt.level is level
    assert (answer.receipt.failure and answer.receipt.failure.code) is failure
    await all_forwarded(hermes)
    assert nothing_else_is_told(hermes)


async def test_all_parts_receipts_come_with_the_answer(smsc, pool, lingering):
    hermes = await pool(await smsc(receipt_delay=0.1))
    answer = await hermes.deliver(lingering(text="x" * 400))
    assert (answer.segments, answer.receipt.level) == (3, Level.DELIVERED)
    await all_forwarded(hermes)
    # Parts that arrive together may complete the message more than once; the cascade knows by the
    # id that it is the same report.
    again = hermes.sink.resolved[REF] + hermes.sink.reported["msg_1"]
    assert {r.id for r in again} <= {answer.receipt.id}


async def test_a_receipt_that_overtakes_the_response_comes_with_the_answer(
    carrier, pool, lingering
):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    await tell(hermes, receipt("a1"))
    carrier.answer("a1")
    assert (await delivery).receipt.level is Level.DELIVERED


async def test_a_later_receipt_goes_to_the_awakeable(carrier, pool, lingering, monkeypatch):
    monkeypatch.setattr(adapters.smpp.pool, "LINGER", 0.02)
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    carrier.answer("a1")
    answer = await delivery
    assert (answer.state, answer.receipt) == (SubmissionState.TAKEN, None)
    await tell(hermes, receipt("a1"))
    assert [r.level for r in await told(hermes)] == [Level.DELIVERED]


async def test_the_answer_does_not_wait_beyond_the_steps_end(carrier, pool, lingering):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(
        hermes.deliver(lingering(not_after=datetime.now(UTC) + timedelta(seconds=0.6)))
    )
    await eventually(lambda: carrier.submits)
    carrier.answer("a1")
    answer = await delivery
    assert (answer.state, answer.receipt) == (SubmissionState.TAKEN, None)


async def test_too_many_that_wait_are_answered_without(carrier, pool, lingering, monkeypatch):
    monkeypatch.setattr(adapters.smpp.pool, "LINGERING", 0)
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    carrier.answer("a1")
    assert (await delivery).receipt is None


async def test_who_does_not_ask_is_answered_at_once(carrier, pool, request_for):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    await tell(hermes, receipt("a1"))
    carrier.answer("a1")
    assert (await delivery).receipt is None
    assert [r.level for r in await told(hermes)] == [Level.DELIVERED]


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_answer_that_nobody_heard_is_given_again_with_its_receipt(
    smsc, pool, lingering, restarted
):
    simulator = await smsc(receipt_delay=0.05)
    hermes = await pool(simulator)
    first = await hermes.deliver(lingering())
    await all_forwarded(hermes)
    if restarted:
        await hermes.close()
        hermes = await pool(simulator)
    again = await hermes.deliver(lingering())
    assert again.state is SubmissionState.TAKEN
    assert again.receipt.id == first.receipt.id
    assert nothing_else_is_told(hermes)


async def test_a_receipt_whose_answer_failed_goes_to_the_awakeable(
    carrier, pool, lingering, monkeypatch
):
    hermes = await pool(carrier)

    async def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(hermes.binds, "_with_receipt", fails)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    await tell(hermes, receipt("a1"))
    carrier.answer("a1")
    with pytest.raises(OSError, match="disk full"):
        await delivery
    assert [r.level for r in await told(hermes)] == [Level.DELIVERED]


async def test_a_receipt_that_proves_an_unknown_outcome_is_told_once(carrier, pool, lingering):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    _, _, submit = carrier.submits[0]
    [reference] = [value for tag, value in submit.tlvs.items() if tag == 0x0204]
    await tell(hermes, receipt("a1", reference=reference))
    answer = await delivery
    assert answer.state is SubmissionState.UNKNOWN
    with_it = [answer.receipt] if answer.receipt else []
    await eventually(lambda: len(with_it + hermes.sink.resolved[REF]) == 1)


async def test_another_receipt_goes_to_the_message(carrier, pool, lingering):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    await tell(hermes, receipt("a1"))
    carrier.answer("a1")
    await delivery
    await tell(hermes, receipt("a1", "UNDELIV"))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    assert hermes.sink.resolved[REF] == []


async def test_a_receipt_after_a_release_goes_to_the_message(carrier, pool, lingering):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    release = asyncio.ensure_future(hermes.release(AttemptRef("msg_1", 1)))
    carrier.answer("a1")
    await tell(hermes, receipt("a1"))
    await asyncio.gather(delivery, release)
    await eventually(lambda: hermes.sink.reported["msg_1"])


async def test_who_closes_does_not_wait(carrier, pool, lingering):
    hermes = await pool(carrier)
    delivery = asyncio.ensure_future(hermes.deliver(lingering()))
    await eventually(lambda: carrier.submits)
    carrier.answer("a1")
    await eventually(lambda: hermes.binds._lingering)
    await hermes.close()
    assert (await delivery).state is SubmissionState.TAKEN
