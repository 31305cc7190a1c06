"""What the pool answers, and what the SMSC sees of it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from adapters.smpp.store.journal import Part, PartState
from domain.delivery import SubmissionState
from domain.failures import FailureCode
from domain.message import Level
from tests.waiting import eventually


async def test_taken(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    answer = await hermes.deliver(request_for())
    [submit] = simulator.submits
    assert (answer.state, answer.level) == (SubmissionState.TAKEN, Level.SENT)
    assert (answer.provider, answer.provider_ids) == ("carrier", (submit.message_id,))
    assert answer.begun_at <= answer.at
    assert (submit.destination, submit.source) == ("4520100000", "Hermes")


@pytest.mark.parametrize(
    ("sender", "source"), [("Bakery", "Bakery"), ("+4570101010", "4570101010"), ("1234", "1234")]
)
async def test_sender(smsc, pool, request_for, sender, source):
    simulator = await smsc()
    hermes = await pool(simulator)
    await hermes.deliver(request_for(sender=sender))
    assert simulator.submits[0].source == source


async def test_refused(smsc, pool, request_for):
    hermes = await pool(await smsc())
    answer = await hermes.deliver(request_for("+4520109905"))
    assert answer.state is SubmissionState.FAILED
    assert answer.failure.code is FailureCode.RECIPIENT_INVALID
    assert answer.failure.provider_code == "ESME_RINVDSTADR"


async def test_throttled_is_tried_again_here(smsc, pool, request_for):
    """Going back to Restate for every refusal would cost more than the refusal."""
    simulator = await smsc(throttle_count=2)
    hermes = await pool(simulator)
    assert (await hermes.deliver(request_for("+4520109906"))).state is SubmissionState.TAKEN
    assert len(simulator.submits) == 3
    assert hermes.carrier.health().throttled == 2


async def test_throttled_for_long_is_busy_and_the_same_attempt_may_come_again(
    smsc, pool, request_for
):
    simulator = await smsc(throttle_count=2)
    hermes = await pool(simulator)
    soon = datetime.now(UTC) + timedelta(seconds=0.08)
    busy = await hermes.deliver(request_for("+4520109906", not_after=soon))
    assert busy.state is SubmissionState.BUSY
    assert busy.failure.code is FailureCode.PROVIDER_THROTTLED
    assert busy.failure.provider_code == "ESME_RTHROTTLED"
    assert busy.retry_after > 0
    again = request_for("+4520109906")
    assert (await hermes.deliver(again)).state is SubmissionState.TAKEN
    assert (await hermes.deliver(again)).state is SubmissionState.TAKEN
    assert len(simulator.submits) == 3


async def test_only_the_parts_that_were_returned_are_sent_again(smsc, pool, request_for):
    simulator = await smsc(throttle_count=1)
    hermes = await pool(simulator)
    answer = await hermes.deliver(request_for("+4520109906", text="x" * 400))
    assert answer.state is SubmissionState.TAKEN
    taken = [submit for submit in simulator.submits if submit.message_id]
    assert sorted(submit.part.number for submit in taken) == [1, 2, 3]
    assert len({submit.part.reference for submit in simulator.submits}) == 1
    in_order = {submit.part.number: submit.message_id for submit in taken}
    assert answer.provider_ids == tuple(in_order[number] for number in (1, 2, 3))


async def test_no_answer_is_an_unknown_outcome(smsc, pool, request_for):
    hermes = await pool(await smsc())
    answer = await hermes.deliver(request_for("+4520109908"))
    assert answer.state is SubmissionState.UNKNOWN
    assert answer.failure.code is FailureCode.OUTCOME_UNKNOWN


async def test_a_link_that_breaks_leaves_the_outcome_unknown(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.5)
    hermes = await pool(simulator, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: simulator.stats()["peak_in_flight"] == 1)
    simulator.kill_links()
    assert (await delivering).state is SubmissionState.UNKNOWN


async def test_the_same_attempt_at_the_same_time_is_submitted_once(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.05)
    hermes = await pool(simulator)
    answers = await asyncio.gather(*(hermes.deliver(request_for()) for _ in range(20)))
    assert len(simulator.submits) == 1
    assert len(set(answers)) == 1


@pytest.mark.parametrize(
    ("number", "state"),
    [
        ("+4520100000", SubmissionState.TAKEN),
        ("+4520109905", SubmissionState.FAILED),
        ("+4520109908", SubmissionState.UNKNOWN),
    ],
)
async def test_the_same_attempt_after_a_restart_is_answered_from_the_journal(
    smsc, pool, request_for, number, state
):
    simulator = await smsc()
    hermes = await pool(simulator)
    first = await hermes.deliver(request_for(number))
    await hermes.close()
    again = await (await pool(simulator)).deliver(request_for(number))
    assert again.state is first.state is state
    assert (again.provider_ids, again.failure) == (first.provider_ids, first.failure)
    assert len(simulator.submits) == 1


async def test_an_attempt_that_was_begun_is_not_called_busy_while_the_carrier_is_down(
    smsc, pool, request_for
):
    """Busy says that nothing was sent."""
    simulator = await smsc()
    hermes = await pool(simulator)
    await hermes.deliver(request_for("+4520109908"))
    await hermes.deliver(request_for(message="msg_2"))
    await hermes.close()
    await simulator.stop()
    hermes = await pool(simulator, bound=False)
    unknown, taken = await asyncio.gather(
        hermes.deliver(request_for("+4520109908")), hermes.deliver(request_for(message="msg_2"))
    )
    assert (unknown.state, taken.state) == (SubmissionState.UNKNOWN, SubmissionState.TAKEN)


async def test_an_attempt_that_was_begun_is_not_called_too_late(smsc, pool, request_for):
    hermes = await pool(await smsc())
    first = await hermes.deliver(request_for())
    again = await hermes.deliver(request_for(not_after=datetime.now(UTC)))
    assert (again.state, again.provider_ids) == (SubmissionState.TAKEN, first.provider_ids)


async def test_an_attempt_whose_write_never_happened_is_unknown(smsc, pool, request_for):
    """Killed between the journal and the socket: nobody can tell that from after it."""
    simulator = await smsc()
    hermes = await pool(simulator)
    begun = Part("msg_1", 1, 0, 1, "carrier", "4520100000", 7, "ref_msg_1_1", time.time())
    await hermes.journal.begin([begun])
    assert (await hermes.deliver(request_for())).state is SubmissionState.UNKNOWN
    assert len(simulator.submits) == 0


async def test_too_late(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    answer = await hermes.deliver(request_for(not_after=datetime.now(UTC) - timedelta(seconds=1)))
    assert answer.failure.code is FailureCode.TOO_LATE
    assert len(simulator.submits) == 0


async def test_what_waits_for_the_window_is_not_sent_after_its_time(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.3)
    hermes = await pool(simulator, window=1, response_timeout=5)
    first = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: simulator.stats()["peak_in_flight"] == 1)
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    answer = await hermes.deliver(request_for(message="msg_2", not_after=soon))
    assert answer.state is SubmissionState.BUSY
    assert (await first).state is SubmissionState.TAKEN
    assert len(simulator.submits) == 1


async def test_carrier_down_is_busy(smsc, pool, request_for):
    simulator = await smsc()
    await simulator.stop()
    hermes = await pool(simulator, bound=False)
    answer = await hermes.deliver(request_for())
    assert answer.state is SubmissionState.BUSY
    assert answer.failure.code is FailureCode.PROVIDER_UNAVAILABLE
    assert "cannot connect" in answer.failure.detail


async def test_no_such_carrier(smsc, pool, request_for):
    hermes = await pool(await smsc())
    answer = await hermes.deliver(request_for(provider="another"))
    assert answer.failure.code is FailureCode.NOT_SUPPORTED


@pytest.mark.parametrize(
    "wrong", [{"text": "\ud800"}, {"text": "x" * 153 * 256}, {"sender": "x" * 30}]
)
async def test_what_no_pdu_can_carry_is_refused(smsc, pool, request_for, wrong):
    """The API lets none of it in; the trusted door has no such checks."""
    simulator = await smsc()
    hermes = await pool(simulator, window=1)
    answer = await hermes.deliver(request_for(**wrong))
    assert (answer.state, answer.failure.permanent) == (SubmissionState.FAILED, True)
    assert (await hermes.deliver(request_for(message="msg_2"))).state is SubmissionState.TAKEN
    assert len(simulator.submits) == 1


async def test_long_message_travels_in_order_on_one_bind(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator, window=2)
    answer = await hermes.deliver(request_for(text="å" * 1000))
    assert (answer.state, answer.segments) == (SubmissionState.TAKEN, 7)
    assert [submit.part.number for submit in simulator.submits] == [1, 2, 3, 4, 5, 6, 7]
    assert {submit.link for submit in simulator.submits} == {1}


async def test_the_window_is_never_exceeded(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.01)
    hermes = await pool(simulator, window=5, response_timeout=5)
    requests = [request_for(message=f"msg_{n}", text="x" * 200 * (n % 3)) for n in range(60)]
    answers = await asyncio.gather(*map(hermes.deliver, requests))
    assert {answer.state for answer in answers} == {SubmissionState.TAKEN}
    assert simulator.stats()["peak_in_flight"] == 5


async def test_who_waits_for_the_window_is_not_turned_away_early(smsc, pool, request_for):
    """Every burst of answers lets as many in as there is room for, and no one is called busy."""
    simulator = await smsc(response_delay=0.02)
    hermes = await pool(simulator, window=10, response_timeout=5)
    answers = await asyncio.gather(
        *(hermes.deliver(request_for(message=f"msg_{n}")) for n in range(200))
    )
    assert {answer.state for answer in answers} == {SubmissionState.TAKEN}


async def test_slots_that_late_answers_freed_are_found(smsc, pool, request_for):
    """A response that comes after its timer frees the window slot without telling anyone."""
    simulator = await smsc(response_delay=0.15)
    hermes = await pool(simulator, window=2, response_timeout=0.1)
    late = [hermes.deliver(request_for(message=f"late_{n}")) for n in range(2)]
    states = [answer.state for answer in await asyncio.gather(*late)]
    assert states == [SubmissionState.UNKNOWN] * 2
    waiting = [
        asyncio.ensure_future(hermes.deliver(request_for(message=f"msg_{n}"))) for n in range(3)
    ]
    await asyncio.gather(*waiting)
    assert len(simulator.submits) >= 4


async def test_a_caller_that_gives_up_does_not_take_the_submission_with_it(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.05)
    hermes = await pool(simulator)
    caller = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: simulator.stats()["peak_in_flight"] == 1)
    caller.cancel()
    assert (await hermes.deliver(request_for())).state is SubmissionState.TAKEN
    assert len(simulator.submits) == 1


async def test_close_waits_for_what_is_under_way(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.1)
    hermes = await pool(simulator, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: simulator.stats()["peak_in_flight"] == 1)
    await hermes.close()
    assert (await delivering).state is SubmissionState.TAKEN
    assert (await pool(simulator)).bound


async def test_old_entries_are_pruned(smsc, pool, request_for):
    hermes = await pool(await smsc())
    await hermes.deliver(request_for())
    await hermes.journal.prune(datetime.now(UTC).timestamp() + 1)
    assert await hermes.journal.parts_of("msg_1", 1) == []


async def test_the_journal_knows_the_part_before_the_smsc_does(smsc, pool, request_for):
    simulator = await smsc(response_delay=0.1)
    hermes = await pool(simulator)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: simulator.stats()["peak_in_flight"] == 1)
    [part] = await hermes.journal.parts_of("msg_1", 1)
    assert (part.state, part.smsc_id) == (PartState.BEGUN, None)
    await delivering
    [part] = await hermes.journal.parts_of("msg_1", 1)
    assert part.state is PartState.ACCEPTED


async def test_only_a_messages_first_request_tells_how_far_restate_is_behind(
    smsc, pool, request_for
):
    hermes = await pool(await smsc())
    late = datetime.now(UTC) - timedelta(seconds=9)
    await hermes.deliver(request_for())
    assert (dict(hermes.binds.arrived), hermes.binds.lag) == ({}, 0)
    await hermes.deliver(request_for(message="msg_2", since=late))
    assert dict(hermes.binds.arrived) == {"acme": 1}
    assert hermes.binds.lag > 0
