"""Two pools with binds of one account and one journal on PostgreSQL: a receipt comes to either."""

import asyncio
import time
from itertools import cycle

import pytest

from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.store.journal import Part, PartState
from domain.delivery import AttemptRef, SubmissionState
from domain.message import Level
from tests.unit.smpp_pool.conftest import Sink
from tests.unit.smpp_pool.test_receipts import REF, all_forwarded, receipt, tell, told
from tests.waiting import eventually

MANY = 300


@pytest.fixture
async def two(pool, postgres):
    """Starts both: `await two(smsc)`. What they tell Restate is in one place."""

    async def start(smsc, **account):
        sink = Sink()
        account = {"response_timeout": 5, **account}
        return [await pool(smsc, sink=sink, journal=postgres, **account) for _ in range(2)]

    return start


async def deliver_by_turns(pools, requests):
    answers = await asyncio.gather(
        *(each.deliver(request) for each, request in zip(cycle(pools), requests, strict=False))
    )
    assert {answer.state for answer in answers} == {SubmissionState.TAKEN}
    return answers


# options of the simulator, characters of a text
RECEIPTS = {
    "after the response": ({}, 5),
    "with the response": ({"receipt_delay": 0.0}, 5),
    "before the response": ({"early_receipts": 1.0}, 5),
    "before it and without a reference": ({"early_receipts": 1.0, "receipt_format": "text"}, 5),
    "a third before it, each twice": ({"early_receipts": 0.33, "duplicate_receipts": 1.0}, 5),
    "of three parts": ({}, 400),
    "of three parts, before the responses": ({"early_receipts": 1.0}, 400),
    "of three parts, out of order": ({"shuffle_receipts": 0.2, "early_receipts": 0.33}, 400),
}


@pytest.mark.parametrize(("options", "characters"), RECEIPTS.values(), ids=RECEIPTS)
async def test_receipts_on_the_others_bind_find_their_messages(
    smsc, two, request_for, options, characters
):
    simulator = await smsc(receipts_to="any", **options)
    pools = await two(simulator)
    count = MANY if characters < 100 else MANY // 3
    requests = [
        request_for(f"+45201{n:05}0", message=f"msg_{n}", text="x" * characters)
        for n in range(count)
    ]
    await deliver_by_turns(pools, requests)
    sink = pools[0].sink
    await eventually(lambda: sum(map(bool, sink.resolved.values())) == count)
    await all_forwarded(pools[0])
    for request in requests:
        told = sink.resolved[request.receipt_ref]
        assert {(r.attempt, r.level) for r in told} == {(1, Level.DELIVERED)}
        # Both may find that the last part has come: what they say is known by its id.
        assert len({r.id for r in told}) == 1
        if characters < 100:
            assert len(told) == 1
    again = {r.id for reports in sink.reported.values() for r in reports}
    assert again <= {r.id for told in sink.resolved.values() for r in told}
    if characters < 100:
        assert sink.reported == {}
    # What one held may have been told by the other already.
    await eventually(lambda: not any(each.correlator.unmatched for each in pools))
    assert simulator.counters.duplicates == 0
    # Each pool had receipts for the other's messages.
    assert all(link.receipts_sent for link in simulator.record.links)


async def test_receipts_of_a_killed_pool_are_taken_up_by_the_next(
    smsc, two, pool, postgres, request_for
):
    simulator = await smsc(receipts_to="any")
    first, second = await two(simulator)
    first.sink.down = True
    requests = [request_for(message=f"msg_{n}") for n in range(MANY)]
    await deliver_by_turns([first, second], requests)
    await eventually(lambda: simulator.counters.receipts_acked == MANY)
    await asyncio.gather(first.close(), second.close())
    next_one = await pool(simulator, journal=postgres)
    for request in requests:
        assert len(await told(next_one, request.receipt_ref)) == 1
    await all_forwarded(next_one)


async def test_receipts_of_a_killed_pool_are_taken_up_by_the_other(smsc, two, request_for):
    """One process of several may never come back."""
    simulator = await smsc(receipts_to="any")
    first, second = await two(simulator)
    first.sink.down = True
    requests = [request_for(message=f"msg_{n}") for n in range(20)]
    await deliver_by_turns([first, second], requests)
    await eventually(lambda: simulator.counters.receipts_acked == len(requests))
    await first.close()
    second.sink.down = False
    for request in requests:
        await told(second, request.receipt_ref)
    await all_forwarded(second)


async def test_what_a_killed_pool_held_is_taken_up_by_the_other(carrier, two, request_for):
    """A receipt before its response, on the bind of a pool that then dies."""
    first, second = await two(carrier)
    delivering = asyncio.ensure_future(second.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    await tell(first, receipt("A1"))
    await eventually(lambda: first.correlator.unmatched == 1)
    await first.close()
    carrier.answer("A1")
    await delivering
    assert len(await told(second)) == 1


async def test_an_attempt_that_the_other_has_under_way_is_waited_for(carrier, two, request_for):
    first, second = await two(carrier)
    answers = [asyncio.ensure_future(first.deliver(request_for()))]
    await eventually(lambda: carrier.submits)
    looks = looks_at(second)
    answers.append(asyncio.ensure_future(second.deliver(request_for())))
    await eventually(lambda: any(looks))
    carrier.answer("A1")
    told_first, told_second = await asyncio.gather(*answers)
    assert told_first.state is told_second.state is SubmissionState.TAKEN
    assert told_first.provider_ids == told_second.provider_ids == ("A1",)
    assert carrier.submits == []


async def test_an_attempt_of_a_pool_that_is_gone_is_unknown(carrier, two, request_for):
    first, second = await two(carrier)
    asking = asyncio.ensure_future(first.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    looks = looks_at(second)
    answer = asyncio.ensure_future(second.deliver(request_for()))
    await eventually(lambda: any(looks))
    await first.close()
    assert (await answer).state is SubmissionState.UNKNOWN
    assert (await asking).state is SubmissionState.UNKNOWN
    assert len(carrier.submits) == 1


async def test_an_attempt_that_the_other_was_throttled_for_is_submitted_once_more(
    carrier, two, request_for
):
    first, second = await two(carrier)
    part = Part("msg_1", 1, 0, 1, "carrier", "4520100000", 7, REF, time.time())
    await first.journal.begin([part])
    part.state, part.command_status = PartState.RETURNED, CommandStatus.ESME_RTHROTTLED
    await first.journal.settle(part)
    answers = [asyncio.ensure_future(each.deliver(request_for())) for each in (first, second)]
    await eventually(lambda: carrier.submits)
    carrier.answer("A1")
    assert {answer.provider_ids for answer in await asyncio.gather(*answers)} == {("A1",)}
    assert carrier.submits == []


async def test_after_a_release_at_the_other_receipts_go_to_the_message(smsc, two, request_for):
    """The pool that submitted still has the attempt in its memory."""
    first, second = await two(await smsc(receipt_delay=60))
    [smsc_id] = (await first.deliver(request_for())).provider_ids
    await second.release(AttemptRef("msg_1", 1))
    await tell(first, receipt(smsc_id))
    await eventually(lambda: first.sink.reported["msg_1"])
    assert first.sink.resolved == {}


async def test_a_release_at_the_other_before_the_answer(carrier, two, request_for):
    first, second = await two(carrier)
    delivering = asyncio.ensure_future(first.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    await second.release(AttemptRef("msg_1", 1))
    carrier.answer("A1")
    await delivering
    await tell(first, receipt("A1"))
    await eventually(lambda: first.sink.reported["msg_1"])
    assert first.sink.resolved == {}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_another_receipt_at_the_other_goes_to_the_message(smsc, two, request_for, order):
    """An awakeable takes one value, whoever gave it."""
    pools = await two(await smsc(receipt_delay=60))
    [smsc_id] = (await pools[0].deliver(request_for())).provider_ids
    await tell(pools[order[0]], receipt(smsc_id, "UNDELIV"))
    await told(pools[0])
    await all_forwarded(pools[0])
    await tell(pools[order[1]], receipt(smsc_id, "DELIVRD"))
    await eventually(lambda: pools[0].sink.reported["msg_1"])
    assert pools[0].sink.reported["msg_1"][0].level is Level.DELIVERED
    assert len(pools[0].sink.resolved[REF]) == 1


async def test_two_receipts_while_restate_is_down_use_the_awakeable_once(smsc, two, request_for):
    first, second = await two(await smsc(receipt_delay=60))
    [smsc_id] = (await first.deliver(request_for())).provider_ids
    second.sink.down = True
    await tell(second, receipt(smsc_id, "UNDELIV"))
    await eventually(lambda: second.sink.refused)
    await tell(second, receipt(smsc_id, "DELIVRD"))
    await eventually(lambda: second.sink.refused > 3)
    second.sink.down = False
    await eventually(lambda: second.sink.reported["msg_1"] and second.sink.resolved[REF])
    assert len(second.sink.resolved[REF]) == 1


def looks_at(hermes):
    """Counts how often this pool looks whether another one has an attempt under way."""
    looks, under_way = [], hermes.journal.under_way

    async def counted(parts):
        looks.append(await under_way(parts))
        return looks[-1]

    hermes.journal.under_way = counted
    return looks
