"""From a receipt to the message that it is about, whatever comes between."""

import asyncio
import time

import pytest

from adapters.smpp.carriers.outcomes import meaning
from adapters.smpp.protocol.constants import CommandStatus, EsmClass, MessageState, Tag
from adapters.smpp.protocol.pdu import DeliverSm
from adapters.smpp.protocol.receipt import STATES, parse_receipt
from adapters.smpp.store.journal import Journal, Part
from domain.delivery import AttemptRef, SubmissionState
from domain.failures import FailureCode
from domain.message import Level
from tests.waiting import eventually

REF = "ref_msg_1_1"


def receipt(smsc_id, state="DELIVRD", *, to="4520100000", reference=None, error="000"):
    """A deliver_sm as a carrier sends it."""
    tlvs = {} if reference is None else {int(Tag.USER_MESSAGE_REFERENCE): reference}
    text = f"id:{smsc_id} sub:001 dlvrd:001 stat:{state} err:{error} text:Hello"
    return DeliverSm(
        source_addr=to,
        destination_addr="Hermes",
        esm_class=EsmClass.DELIVERY_RECEIPT,
        short_message=text.encode(),
        tlvs=tlvs,
    )


class Session:
    """Notes what the carrier is answered."""

    def __init__(self):
        self.answers = []

    def acknowledge(self, sequence, command_id, status=0):
        self.answers.append(status)


async def tell(hermes, *pdus):
    """Bring receipts as if a link had; the answers that the carrier gets."""
    session = Session()
    for pdu in pdus:
        hermes.correlator.on_receipt("carrier", session, 1, pdu)
    await eventually(lambda: len(session.answers) == len(pdus))
    return session.answers


async def told(hermes, ref=REF):
    """What the awakeable has been told, once it is anything."""
    await eventually(lambda: hermes.sink.resolved[ref])
    return hermes.sink.resolved[ref]


async def all_forwarded(hermes):
    """When nothing of what was stored is left to forward."""

    async def none_left():
        return not await hermes.journal.receipts_to_forward()

    await eventually(none_left)


@pytest.mark.parametrize(
    ("number", "level", "failure"),
    [
        ("+4520100000", Level.DELIVERED, None),
        ("+4520109903", None, FailureCode.RECIPIENT_UNREACHABLE),
        ("+4520109907", None, FailureCode.RECIPIENT_EXPIRED),
        ("+4520109904", Level.DELIVERED, None),
    ],
)
async def test_a_receipt_resolves_the_awakeable(smsc, pool, request_for, number, level, failure):
    simulator = await smsc()
    hermes = await pool(simulator)
    answer = await hermes.deliver(request_for(number))
    [heard] = await told(hermes)
    assert (heard.attempt, heard.level, heard.provider) == (1, level, "carrier")
    assert (heard.failure and heard.failure.code) == failure
    assert answer.state is SubmissionState.TAKEN
    await eventually(lambda: simulator.counters.receipts_acked == 1)


async def test_a_response_that_comes_while_the_journal_is_read_for_its_receipt(
    carrier, pool, request_for, monkeypatch
):
    """The receipt was first, and names no reference: neither memory nor journal knows its id yet.
    When the journal has said so, memory does."""
    read, look = asyncio.Event(), Journal.parts_by_smsc_ids

    async def look_slowly(*which):
        parts = await look(*which)
        read.set()
        await delivering
        return parts

    monkeypatch.setattr(Journal, "parts_by_smsc_ids", look_slowly)
    hermes = await pool(carrier, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    await tell(hermes, receipt("id-1"))
    await read.wait()
    carrier.answer("id-1")
    assert len(await told(hermes)) == 1
    assert hermes.correlator.unmatched == 0


async def test_a_receipt_is_acknowledged_only_once_it_is_stored(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    stored = asyncio.get_running_loop().create_future()
    hermes.journal.store = lambda _: stored
    await hermes.deliver(request_for())
    await eventually(lambda: simulator.counters.receipts_sent)
    assert simulator.counters.receipts_acked == 0
    stored.set_result(1)
    await told(hermes)
    await eventually(lambda: simulator.counters.receipts_acked == 1)


async def test_a_receipt_that_cannot_be_stored_is_asked_for_again(smsc, pool, request_for):
    hermes = await pool(await smsc())
    broken = asyncio.get_running_loop().create_future()
    broken.set_exception(OSError("the disk is full"))
    hermes.journal.store = lambda _: broken
    assert await tell(hermes, receipt("A1")) == [CommandStatus.ESME_RX_T_APPN]


async def test_the_same_receipt_twice_is_told_once(smsc, pool, request_for):
    hermes = await pool(await smsc(receipt_delay=60))
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    assert await tell(hermes, receipt(smsc_id), receipt(smsc_id)) == [0, 0]
    await all_forwarded(hermes)
    assert len(hermes.sink.resolved[REF]) == 1
    assert hermes.sink.reported == {}


async def test_another_receipt_goes_to_the_message(smsc, pool, request_for):
    """An awakeable takes one value."""
    hermes = await pool(await smsc(receipt_delay=60))
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    await tell(hermes, receipt(smsc_id, "UNDELIV"))
    await told(hermes)
    await tell(hermes, receipt(smsc_id, "DELIVRD"))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    assert hermes.sink.reported["msg_1"][0].level is Level.DELIVERED


async def test_another_receipt_after_a_restart_goes_to_the_message(smsc, pool, request_for):
    simulator = await smsc(receipt_delay=60)
    hermes = await pool(simulator)
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    await tell(hermes, receipt(smsc_id, "UNDELIV"))
    await told(hermes)
    await all_forwarded(hermes)
    await hermes.close()
    hermes = await pool(simulator)
    await tell(hermes, receipt(smsc_id, "DELIVRD"))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    assert hermes.sink.resolved == {}


@pytest.mark.parametrize("restarted", [False, True])
async def test_two_receipts_while_restate_is_down_use_the_awakeable_once(
    smsc, pool, request_for, restarted
):
    simulator = await smsc(receipt_delay=60)
    hermes = await pool(simulator)
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    if restarted:
        await hermes.close()
        hermes = await pool(simulator)
    hermes.sink.down = True
    await tell(hermes, receipt(smsc_id, "UNDELIV"))
    await eventually(lambda: hermes.sink.refused)
    await tell(hermes, receipt(smsc_id, "DELIVRD"))
    await eventually(lambda: hermes.sink.refused >= 3)
    hermes.sink.down = False
    await eventually(lambda: hermes.sink.reported["msg_1"] and hermes.sink.resolved[REF])
    assert len(hermes.sink.resolved[REF]) == 1


async def test_an_intermediate_receipt_goes_to_the_message(smsc, pool, request_for):
    hermes = await pool(await smsc(receipt_delay=60))
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    await tell(hermes, receipt(smsc_id, "ENROUTE"))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    [heard] = hermes.sink.reported["msg_1"]
    assert (heard.level, heard.final) == (Level.SENT, False)


async def test_a_word_that_nobody_knows_is_no_success(smsc, pool, request_for):
    hermes = await pool(await smsc(receipt_delay=60))
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    await tell(hermes, receipt(smsc_id, "WHATEVER"))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    [heard] = hermes.sink.reported["msg_1"]
    assert heard.failure.code is FailureCode.PROVIDER_STATE_UNKNOWN
    assert (heard.provider_status, heard.final) == ("WHATEVER err:000", False)


async def test_a_receipt_before_the_response_is_kept(carrier, pool, request_for):
    """Without a reference, only the response tells whose it is."""
    hermes = await pool(carrier, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    assert await carrier.deliver(receipt("A1")) == 0
    await eventually(lambda: hermes.correlator.unmatched == 1)
    carrier.answer("A1")
    assert (await delivering).provider_ids == ("A1",)
    await told(hermes)
    assert hermes.correlator.unmatched == 0


async def test_a_receipt_on_another_bind_of_the_carrier_counts(carrier, pool, request_for):
    hermes = await pool(carrier, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    carrier.answer("A1")
    await delivering
    carrier.sessions[0].abort()
    await eventually(lambda: hermes.binds_made == 2)
    assert await carrier.deliver(receipt("A1")) == 0
    await told(hermes)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_receipt_after_the_end_goes_to_the_message(smsc, pool, request_for, restarted):
    simulator = await smsc(receipt_delay=60)
    hermes = await pool(simulator)
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    await hermes.release(AttemptRef("msg_1", 1))
    if restarted:
        await hermes.close()
        hermes = await pool(simulator)
    await tell(hermes, receipt(smsc_id))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    assert hermes.sink.resolved == {}


async def test_a_receipt_after_a_release_that_came_before_the_answer(carrier, pool, request_for):
    """The step's time was over before the carrier had answered."""
    hermes = await pool(carrier, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    releasing = asyncio.ensure_future(hermes.release(AttemptRef("msg_1", 1)))
    carrier.answer("A1")
    await asyncio.gather(delivering, releasing)
    await carrier.deliver(receipt("A1"))
    await eventually(lambda: hermes.sink.reported["msg_1"])
    assert hermes.sink.resolved == {}


async def test_a_receipt_just_before_the_release_is_reported_too(smsc, pool, request_for):
    """The awakeable may have been given up already when it was resolved."""
    hermes = await pool(await smsc(receipt_delay=60))
    [smsc_id] = (await hermes.deliver(request_for())).provider_ids
    await tell(hermes, receipt(smsc_id))
    await told(hermes)
    await hermes.release(AttemptRef("msg_1", 1))
    await eventually(lambda: hermes.sink.reported["msg_1"])


async def test_a_long_message_has_arrived_when_every_part_has(smsc, pool, request_for):
    hermes = await pool(await smsc(receipt_delay=60))
    ids = (await hermes.deliver(request_for(text="x" * 400))).provider_ids
    [witness] = (await hermes.deliver(request_for(message="msg_2"))).provider_ids
    await tell(hermes, receipt(ids[2]), receipt(ids[0]), receipt(witness))
    await told(hermes, "ref_msg_2_1")
    assert hermes.sink.resolved[REF] == []
    await tell(hermes, receipt(ids[1]))
    [heard] = await told(hermes)
    assert heard.level is Level.DELIVERED
    await all_forwarded(hermes)


async def test_a_long_message_has_failed_when_one_part_has(smsc, pool, request_for):
    hermes = await pool(await smsc(receipt_delay=60))
    ids = (await hermes.deliver(request_for(text="x" * 400))).provider_ids
    await tell(hermes, receipt(ids[1]), receipt(ids[0], "UNDELIV", error="042"))
    for heard in await told(hermes):
        assert (heard.failure.code, heard.failure.provider_code) == (
            (FailureCode.RECIPIENT_UNREACHABLE, "042")
        )
    await all_forwarded(hermes)


async def test_parts_arrive_on_both_sides_of_a_restart(smsc, pool, request_for):
    simulator = await smsc(receipt_delay=60)
    hermes = await pool(simulator)
    ids = (await hermes.deliver(request_for(text="x" * 400))).provider_ids
    await tell(hermes, receipt(ids[0]), receipt(ids[1]))
    await hermes.close()
    hermes = await pool(simulator)
    assert hermes.sink.resolved == {}
    await tell(hermes, receipt(ids[2]))
    await told(hermes)


async def test_an_unknown_outcome_is_settled_by_the_echoed_reference(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    assert (await hermes.deliver(request_for("+4520109909"))).state is SubmissionState.UNKNOWN
    [heard] = await told(hermes)
    assert heard.level is Level.DELIVERED
    again = await hermes.deliver(request_for("+4520109909"))
    assert again.provider_ids == (simulator.submits[0].message_id,)
    assert hermes.correlator.unmatched == 0


async def test_an_unknown_outcome_is_settled_after_a_restart(carrier, pool, request_for):
    """The answer is lost with the link; the receipt comes on the next process's bind."""
    hermes = await pool(carrier, response_timeout=5)
    delivering = asyncio.ensure_future(hermes.deliver(request_for()))
    await eventually(lambda: carrier.submits)
    [(_, _, submit)] = carrier.submits
    carrier.sessions[0].abort()
    assert (await delivering).state is SubmissionState.UNKNOWN
    await hermes.close()
    hermes = await pool(carrier)
    echoed = submit.tlvs[Tag.USER_MESSAGE_REFERENCE]
    assert await carrier.deliver(receipt("A1", reference=echoed)) == 0
    [heard] = await told(hermes)
    assert heard.level is Level.DELIVERED
    assert (await hermes.deliver(request_for())).provider_ids == ("A1",)
    assert len(carrier.submits) == 1


async def begun(hermes, attempt, reference=7, destination="4520109908"):
    """An attempt of unknown outcome."""
    ref = f"ref_msg_1_{attempt}"
    part = Part("msg_1", attempt, 0, 1, "carrier", destination, reference, ref, time.time())
    await hermes.journal.begin([part])


async def test_a_reference_that_fits_two_attempts_settles_neither(smsc, pool):
    hermes = await pool(await smsc())
    await begun(hermes, attempt=1)
    await begun(hermes, attempt=2)
    await tell(hermes, receipt("A1", to="4520109908", reference=b"\0\7"))
    await eventually(lambda: hermes.correlator.unmatched == 1)
    assert hermes.sink.resolved == {}


async def test_a_reference_with_another_number_settles_nothing(smsc, pool):
    hermes = await pool(await smsc())
    await begun(hermes, attempt=1)
    await tell(hermes, receipt("A1", to="4520100000", reference=b"\0\7"))
    await eventually(lambda: hermes.correlator.unmatched == 1)


async def test_receipts_wait_while_restate_is_down(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    hermes.sink.down = True
    await hermes.deliver(request_for())
    await eventually(lambda: hermes.sink.refused >= 2)
    await eventually(lambda: simulator.counters.receipts_acked == 1)
    hermes.sink.down = False
    await told(hermes)


async def test_receipts_that_were_not_forwarded_survive_a_restart(smsc, pool, request_for):
    simulator = await smsc()
    hermes = await pool(simulator)
    hermes.sink.down = True
    for number in range(10):
        await hermes.deliver(request_for(message=f"msg_{number}"))
    await eventually(lambda: simulator.counters.receipts_acked == 10)
    await hermes.close()
    hermes = await pool(simulator)
    for number in range(10):
        await told(hermes, f"ref_msg_{number}_1")
    await all_forwarded(hermes)
    assert await hermes.journal.receipts_to_forward() == []


async def test_a_receipt_for_nobody_is_kept_and_acknowledged(smsc, pool):
    hermes = await pool(await smsc())
    assert await tell(hermes, receipt("somebody-elses")) == [0]
    await eventually(lambda: hermes.correlator.unmatched == 1)


async def test_what_is_no_receipt_is_refused(carrier, pool):
    await pool(carrier)
    inbound = DeliverSm(source_addr="4520100000", short_message=b"STOP")
    assert await carrier.deliver(inbound) == CommandStatus.ESME_RX_P_APPN


def test_every_state_has_a_meaning():
    for state in MessageState:
        tlvs = {int(Tag.MESSAGE_STATE): bytes((state,)), int(Tag.RECEIPTED_MESSAGE_ID): b"A1\0"}
        parsed = parse_receipt(DeliverSm(esm_class=EsmClass.DELIVERY_RECEIPT, tlvs=tlvs))
        level, failure = meaning(parsed.state, None)
        assert (level is None) != (failure is None)
    for state in STATES.values():
        assert meaning(state, None) != (None, None)
