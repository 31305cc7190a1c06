"""Real sockets on both ends; one end is a peer that misbehaves on request."""

import asyncio
import gc
import ssl

import pytest

from adapters.smpp.protocol.constants import HEADER_LENGTH, CommandId, CommandStatus, Tag
from adapters.smpp.protocol.pdu import (
    HEADER,
    BindReceiver,
    BindReceiverResp,
    BindTransceiverResp,
    BindTransmitter,
    DataSm,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    encode,
)
from adapters.smpp.protocol.session import (
    BindRefused,
    CloseReason,
    LinkLost,
    NotBound,
    ResponseTimeout,
    Timers,
    WindowFull,
    connect,
)
from tests.unit.smpp.peers import BIND, MESSAGE, QUICK, RECEIPT, Smsc

DATA_RECEIPT = DataSm(esm_class=4, tlvs={int(Tag.RECEIPTED_MESSAGE_ID): b"1\0"})

# -- the ESME's side ------------------------------------------------------------------------------


async def test_bind_submit_receipt_unbind(smsc):
    delivered = asyncio.Queue()
    session, peer = await smsc.session(on_deliver=lambda *what: delivered.put_nowait(what))
    outcome = session.submit(MESSAGE)
    command_id, _, sequence, pdu = await peer.receive()
    assert (command_id, pdu) == (CommandId.SUBMIT_SM, MESSAGE)
    peer.send(SubmitSmResp("abc"), sequence)
    assert await outcome == (0, "abc")

    peer.send(RECEIPT, 77)
    told, sequence, pdu = await delivered.get()
    assert (told, sequence, pdu) == (session, 77, RECEIPT)
    # Not acknowledged until the owner says so: an enquire_link sent later is answered first.
    peer.send(EnquireLink(), 78)
    assert (await peer.receive())[0] == CommandId.ENQUIRE_LINK_RESP
    session.acknowledge(77, pdu.command_id)
    assert (await peer.receive())[:3] == (CommandId.DELIVER_SM_RESP, 0, 77)

    unbinding = asyncio.ensure_future(session.unbind())
    command_id, _, sequence, _ = await peer.receive()
    assert command_id == CommandId.UNBIND
    peer.send(UnbindResp(), sequence)
    await unbinding
    assert await session.closed is CloseReason.UNBOUND
    await peer.ended()


async def test_a_bind_is_sent_as_given(smsc):
    bind = BindTransmitter("hermes", "secret", "type", 0x34, 1, 1, "45")
    connecting = asyncio.ensure_future(
        connect("127.0.0.1", smsc.port, bind=bind, on_deliver=lambda *_: None)
    )
    peer = await smsc.peers.get()
    command_id, _, sequence, pdu = await peer.receive()
    assert (command_id, pdu) == (CommandId.BIND_TRANSMITTER, bind)
    peer.send(HEADER.pack(16, CommandId.BIND_TRANSMITTER_RESP, 0, sequence))
    assert (await connecting).is_bound


@pytest.mark.parametrize("answer", [BindTransceiverResp(), GenericNack()])
async def test_a_refused_bind(smsc, answer):
    connecting = asyncio.ensure_future(
        connect("127.0.0.1", smsc.port, bind=BIND, on_deliver=lambda *_: None)
    )
    peer = await smsc.peers.get()
    _, _, sequence, _ = await peer.receive()
    peer.send(answer, sequence, CommandStatus.ESME_RINVPASWD)
    with pytest.raises(BindRefused, match="ESME_RINVPASWD") as caught:
        await connecting
    assert caught.value.command_status == CommandStatus.ESME_RINVPASWD
    await peer.ended()


async def test_no_bind_in_time(smsc):
    with pytest.raises(TimeoutError):
        await connect(
            "127.0.0.1",
            smsc.port,
            bind=BIND,
            on_deliver=lambda *_: None,
            timers=Timers(session_init=0.05),
        )
    await (await smsc.peers.get()).ended()


async def test_a_link_lost_while_binding_is_a_connection_error(smsc):
    connecting = asyncio.ensure_future(
        connect("127.0.0.1", smsc.port, bind=BIND, on_deliver=lambda *_: None)
    )
    peer = await smsc.peers.get()
    await peer.receive()
    peer.writer.transport.abort()
    with pytest.raises(ConnectionError):
        await connecting


async def test_nobody_listens(smsc):
    await smsc.stop()
    with pytest.raises(OSError):  # noqa: PT011
        await connect("127.0.0.1", smsc.port, bind=BIND, on_deliver=lambda *_: None)


async def test_the_peer_never_sees_more_in_flight_than_the_window(smsc):
    window, total = 5, 200
    session, peer = await smsc.session(window=window)
    seen = answered = peak = 0
    unanswered: list[int] = []

    async def answer_some():
        nonlocal seen, answered, peak
        while answered < total:
            _, _, sequence, _ = await peer.receive()
            seen += 1
            unanswered.append(sequence)
            peak = max(peak, len(unanswered))
            # Answer only when the ESME has used its whole window, and in another order.
            if len(unanswered) == window or seen == total:
                for sequence in reversed(unanswered):
                    peer.send(SubmitSmResp(f"{sequence}"), sequence)
                answered += len(unanswered)
                unanswered.clear()

    answering = asyncio.ensure_future(answer_some())
    outcomes = []
    while len(outcomes) < total:
        while session.free and len(outcomes) < total:
            outcomes.append(session.submit(MESSAGE))
        if session.free == 0:
            with pytest.raises(WindowFull):
                session.submit(MESSAGE)
        pending = [outcome for outcome in outcomes if not outcome.done()]
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*outcomes, answering)
    assert peak == window
    assert [outcome.result()[1] for outcome in outcomes] == [str(i + 2) for i in range(total)]


async def test_a_lost_link_leaves_every_outcome_unknown(smsc):
    session, peer = await smsc.session()
    outcomes = [session.submit(MESSAGE) for _ in range(4)]
    await peer.receive()
    peer.writer.transport.abort()
    for outcome in outcomes:
        with pytest.raises(LinkLost):
            await outcome
    assert await session.closed is CloseReason.LOST
    assert session.free == 0
    with pytest.raises(NotBound):
        session.submit(MESSAGE)
    session.acknowledge(1, CommandId.DELIVER_SM)


async def test_a_silent_peer_is_noticed(smsc):
    session, peer = await smsc.session(timers=QUICK)
    outcome = session.submit(MESSAGE)
    began = asyncio.get_running_loop().time()
    assert await session.closed is CloseReason.SILENT
    assert asyncio.get_running_loop().time() - began < 2
    with pytest.raises(LinkLost):
        await outcome
    await peer.ended()


def test_silence_is_noticed_within_five_seconds_by_default():
    assert Timers().enquire_link + Timers().enquire_link_timeout < 4.9


async def test_a_peer_that_answers_enquire_link_stays(smsc):
    session, peer = await smsc.session(timers=QUICK)
    for _ in range(3):
        head = await peer.reader.readexactly(HEADER_LENGTH)
        assert HEADER.unpack(head)[1] == CommandId.ENQUIRE_LINK
        peer.send(HEADER.pack(16, CommandId.ENQUIRE_LINK_RESP, 0, HEADER.unpack(head)[3]))
    assert session.is_bound


@pytest.mark.parametrize("length", [0, 15, 64 * 1024 + 1, 0xFFFFFFFF])
async def test_a_bad_length_is_nacked_and_closes(smsc, length):
    session, peer = await smsc.session()
    peer.send(HEADER.pack(length, CommandId.DELIVER_SM, 0, 9))
    assert (await peer.receive())[:3] == (
        CommandId.GENERIC_NACK,
        CommandStatus.ESME_RINVCMDLEN,
        9,
    )
    assert await session.closed is CloseReason.BAD_LENGTH
    await peer.ended()


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (HEADER.pack(16, 0x7777, 0, 5), (CommandId.GENERIC_NACK, CommandStatus.ESME_RINVCMDID)),
        (
            HEADER.pack(16, CommandId.SUBMIT_SM, 0, 5),
            (CommandId.GENERIC_NACK, CommandStatus.ESME_RINVCMDID),
        ),
        (
            HEADER.pack(17, CommandId.DELIVER_SM, 0, 5) + b"x",
            (CommandId.DELIVER_SM_RESP, CommandStatus.ESME_RINVSERTYP),
        ),
        (
            HEADER.pack(17, CommandId.DATA_SM, 0, 5) + b"\0",
            (CommandId.DATA_SM_RESP, CommandStatus.ESME_RINVCMDLEN),
        ),
    ],
)
async def test_what_cannot_be_understood_is_answered_and_the_session_goes_on(smsc, frame, answer):
    session, peer = await smsc.session()
    peer.send(frame)
    assert (await peer.receive())[:3] == (*answer, 5)
    assert session.is_bound


async def test_pdus_may_arrive_octet_by_octet(smsc):
    delivered = asyncio.Queue()
    session, _ = await smsc.session(on_deliver=lambda _, sequence, pdu: delivered.put_nowait(pdu))
    for octet in encode(RECEIPT, sequence_number=5) + encode(RECEIPT, sequence_number=6):
        # Not by the socket, which would join what is written faster than it is read.
        session.data_received(bytes([octet]))
    assert await delivered.get() == RECEIPT
    assert await delivered.get() == RECEIPT


async def test_answers_to_one_read_leave_in_one_write(smsc):
    _, peer = await smsc.session(
        on_deliver=lambda session, sequence, pdu: session.acknowledge(sequence, pdu.command_id)
    )
    peer.send(b"".join(encode(RECEIPT, sequence_number=n) for n in range(1, 41)))
    answers = await peer.reader.read(65536)
    assert len(answers) == 40 * 17


async def test_an_overdue_request_fails_but_keeps_its_slot(smsc):
    timers = Timers(enquire_link=5, response=0.05)
    session, peer = await smsc.session(window=2, timers=timers)
    outcome = session.submit(MESSAGE)
    with pytest.raises(ResponseTimeout):
        await outcome
    assert (session.in_flight, session.free) == (1, 1)
    _, _, sequence, _ = await peer.receive()
    other = session.submit(MESSAGE)
    peer.send(SubmitSmResp("late"), sequence)
    peer.send(SubmitSmResp("b"), (await peer.receive())[2])
    assert await other == (0, "b")
    assert (session.in_flight, session.late_responses) == (0, 1)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((SubmitSmResp("late"), 0), (0, "late")),
        ((SubmitSmResp(), CommandStatus.ESME_RTHROTTLED), (CommandStatus.ESME_RTHROTTLED, "")),
        ((GenericNack(), CommandStatus.ESME_RINVCMDID), (CommandStatus.ESME_RINVCMDID, "")),
    ],
)
async def test_a_late_response_is_not_lost(smsc, answer, outcome):
    session, peer = await smsc.session(window=2, timers=Timers(enquire_link=5, response=0.05))
    with pytest.raises(ResponseTimeout) as caught:
        await session.submit(MESSAGE)
    assert not caught.value.late.done()
    pdu, status = answer
    peer.send(pdu, (await peer.receive())[2], status)
    assert await caught.value.late == outcome


async def test_a_late_response_that_never_comes_is_a_lost_link(smsc, caplog):
    session, _ = await smsc.session(window=3, timers=Timers(enquire_link=5, response=0.05))
    outcomes = [session.submit(MESSAGE) for _ in range(2)]
    timeouts = await asyncio.gather(*outcomes, return_exceptions=True)
    session.abort()
    await session.closed
    with pytest.raises(LinkLost, match="aborted"):
        await timeouts[0].late
    # Nobody looks at the second one: asyncio must not complain of it.
    del timeouts, outcomes
    gc.collect()
    assert not caplog.records


async def test_a_receiver_keeps_its_link_alive_and_is_delivered_to(smsc):
    delivered = asyncio.Queue()
    connecting = asyncio.ensure_future(
        connect(
            "127.0.0.1",
            smsc.port,
            bind=BindReceiver("a", "b"),
            on_deliver=lambda _, sequence, pdu: delivered.put_nowait((sequence, pdu)),
            timers=QUICK,
        )
    )
    peer = await smsc.peers.get()
    _, _, sequence, _ = await peer.receive()
    peer.send(BindReceiverResp("peer"), sequence)
    session = await connecting
    for _ in range(3):
        head = await peer.reader.readexactly(HEADER_LENGTH)
        assert HEADER.unpack(head)[1] == CommandId.ENQUIRE_LINK
        peer.send(EnquireLinkResp(), HEADER.unpack(head)[3])
    peer.send(EnquireLink(), 8)
    assert (await peer.receive())[:3] == (CommandId.ENQUIRE_LINK_RESP, 0, 8)
    peer.send(RECEIPT, 9)
    assert await delivered.get() == (9, RECEIPT)
    session.abort()
    assert session.free == 0


async def test_the_owner_is_told_once_a_read_that_slots_are_free(smsc):
    told = []
    session, peer = await smsc.session(window=4, on_free=lambda: told.append(session.free))
    outcomes = [session.submit(MESSAGE) for _ in range(4)]
    sequences = [(await peer.receive())[2] for _ in range(4)]
    peer.send(b"".join(encode(SubmitSmResp("x"), sequence_number=n) for n in sequences[:3]))
    await asyncio.gather(*outcomes[:3])
    assert told == [3]
    # What frees no slot is no news.
    peer.send(SubmitSmResp("x"), sequences[0])
    peer.send(EnquireLink(), 1)
    await peer.receive()
    assert told == [3]
    peer.send(SubmitSmResp("x"), sequences[3])
    await outcomes[3]
    assert told == [3, 4]


async def test_the_owner_is_told_of_a_slot_that_a_late_response_frees(smsc):
    told = asyncio.Queue()
    session, peer = await smsc.session(
        window=2,
        timers=Timers(enquire_link=5, response=0.05),
        on_free=lambda: told.put_nowait(session.free),
    )
    with pytest.raises(ResponseTimeout):
        await session.submit(MESSAGE)
    assert told.empty()
    peer.send(SubmitSmResp("late"), (await peer.receive())[2])
    assert await told.get() == 2


async def test_what_the_owner_submits_when_told_leaves_in_the_same_write(smsc):
    def refill():
        while session.free:
            session.submit(MESSAGE)

    session, peer = await smsc.session(window=20, on_free=refill)
    refill()
    sequences = [(await peer.receive())[2] for _ in range(20)]
    peer.send(b"".join(encode(SubmitSmResp("x"), sequence_number=n) for n in sequences))
    frame = HEADER_LENGTH + len(MESSAGE.encode_body())
    assert len(await peer.reader.read(65536)) == 20 * frame
    assert session.free == 0
    session.abort()


async def test_a_window_full_of_overdue_requests_closes_the_session(smsc):
    session, _ = await smsc.session(window=2, timers=Timers(enquire_link=5, response=0.05))
    outcomes = [session.submit(MESSAGE) for _ in range(2)]
    assert await session.closed is CloseReason.STALLED
    for outcome in outcomes:
        with pytest.raises(ResponseTimeout):
            await outcome


async def test_a_canceled_request_keeps_its_slot(smsc):
    session, peer = await smsc.session(window=1)
    session.submit(MESSAGE).cancel()
    assert session.free == 0
    peer.send(SubmitSmResp("x"), (await peer.receive())[2])
    peer.send(Unbind(), 1)
    assert await session.closed is CloseReason.PEER_UNBOUND
    assert session.late_responses == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (HEADER.pack(16, CommandId.SUBMIT_SM_RESP, 0x58, 2), (0x58, "")),
        (HEADER.pack(17, CommandId.SUBMIT_SM_RESP, 0x58, 2) + b"\0", (0x58, "")),
        (HEADER.pack(16, CommandId.GENERIC_NACK, 0x03, 2), (0x03, "")),
        (HEADER.pack(16, CommandId.SUBMIT_SM_RESP, 0, 2), (0, "")),
        (HEADER.pack(18, CommandId.SUBMIT_SM_RESP, 0, 2) + b"xx", (0, "")),
    ],
)
async def test_submit_outcomes(smsc, answer, outcome):
    session, peer = await smsc.session()
    submitted = session.submit(MESSAGE.encode_body())
    assert (await peer.receive())[2] == 2
    peer.send(answer)
    assert await submitted == outcome


async def test_responses_nobody_asked_for_are_dropped(smsc):
    session, peer = await smsc.session()
    submitted = session.submit(MESSAGE)
    _, _, sequence, _ = await peer.receive()
    peer.send(SubmitSmResp("x"), sequence + 1)
    peer.send(BindTransceiverResp("x"), sequence)
    peer.send(SubmitSmResp("right"), sequence)
    assert await submitted == (0, "right")
    assert session.unexpected_responses == 2


async def test_unbind_waits_for_what_is_in_flight(smsc):
    session, peer = await smsc.session()
    submitted = session.submit(MESSAGE)
    unbinding = asyncio.ensure_future(session.unbind())
    _, _, sequence, _ = await peer.receive()
    with pytest.raises(NotBound):
        session.submit(MESSAGE)
    peer.send(SubmitSmResp("x"), sequence)
    assert await submitted == (0, "x")
    command_id, _, sequence, _ = await peer.receive()
    assert command_id == CommandId.UNBIND
    peer.send(UnbindResp(), sequence)
    await unbinding
    await session.unbind()


async def test_the_peer_unbinds(smsc):
    session, peer = await smsc.session()
    peer.send(Unbind(), 4)
    assert (await peer.receive())[:3] == (CommandId.UNBIND_RESP, 0, 4)
    assert await session.closed is CloseReason.PEER_UNBOUND
    await peer.ended()


async def test_one_waiter_for_the_end_does_not_disturb_another(smsc):
    session, _ = await smsc.session()
    waiter = session.closed
    session.closed.cancel()
    session.abort()
    assert await waiter is CloseReason.ABORTED


async def test_the_window_may_change_while_it_is_used(smsc):
    session, peer = await smsc.session(window=3)
    outcomes = [session.submit(MESSAGE) for _ in range(3)]
    session.window = 1
    for free in (0, 0, 1):
        peer.send(SubmitSmResp("x"), (await peer.receive())[2])
        await outcomes.pop(0)
        assert session.free == free
    session.window = 2
    assert session.free == 2


async def test_sequence_numbers_are_never_those_pending(smsc):
    session, peer = await smsc.session(window=4)
    held = session.submit(MESSAGE)
    held_sequence = (await peer.receive())[2]
    seen = set()
    for _ in range(50):
        submitted = session.submit(MESSAGE)
        sequence = (await peer.receive())[2]
        assert 1 <= sequence <= 0x7FFFFFFF
        assert sequence != held_sequence
        seen.add(sequence)
        peer.send(SubmitSmResp("x"), sequence)
        await submitted
    assert len(seen) == 50
    held.cancel()


async def test_a_receiver_does_not_submit(smsc):
    connecting = asyncio.ensure_future(
        connect("127.0.0.1", smsc.port, bind=BindReceiver("a", "b"), on_deliver=lambda *_: None)
    )
    peer = await smsc.peers.get()
    _, _, sequence, _ = await peer.receive()
    peer.send(HEADER.pack(17, CommandId.BIND_RECEIVER_RESP, 0, sequence) + b"\0")
    session = await connecting
    with pytest.raises(NotBound):
        session.submit(MESSAGE)


async def test_tls_checks_the_name(authority, certificate):
    smsc = Smsc()
    await smsc.start(tls=certificate.context())
    theirs = authority.client_trust()
    session, peer = await smsc.session(tls=theirs)
    submitted = session.submit(MESSAGE)
    peer.send(SubmitSmResp("x"), (await peer.receive())[2])
    assert await submitted == (0, "x")
    session.abort()
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect("localhost", smsc.port, bind=BIND, on_deliver=lambda *_: None, tls=theirs)
    await smsc.stop()


# -- the SMSC's side ------------------------------------------------------------------------------


async def test_a_submit_before_the_bind_is_refused(ours):
    peer, _ = await ours()
    peer.send(MESSAGE, 3)
    assert (await peer.receive())[:3] == (
        CommandId.SUBMIT_SM_RESP,
        CommandStatus.ESME_RINVBNDSTS,
        3,
    )


async def test_a_submit_by_a_receiver_is_refused(ours):
    peer, _ = await ours()
    peer.send(BindReceiver("a", "b"), 1)
    assert (await peer.receive())[:3] == (CommandId.BIND_RECEIVER_RESP, 0, 1)
    peer.send(MESSAGE, 2)
    assert (await peer.receive())[1] == CommandStatus.ESME_RINVBNDSTS


async def test_binding_twice_is_refused(ours):
    peer, _ = await ours()
    for sequence, status in ((1, 0), (2, CommandStatus.ESME_RALYBND)):
        peer.send(BIND, sequence)
        assert (await peer.receive())[1:3] == (status, sequence)


async def test_a_bind_refused_by_the_owner_closes(ours):
    peer, _ = await ours(
        on_bind=lambda s, sequence, bind: s.refuse_bind(sequence, CommandStatus.ESME_RINVPASWD)
    )
    peer.send(BIND, 1)
    assert (await peer.receive())[:3] == (
        CommandId.BIND_TRANSCEIVER_RESP,
        CommandStatus.ESME_RINVPASWD,
        1,
    )
    await peer.ended()


async def test_a_peer_that_does_not_bind_is_closed(ours):
    peer, sessions = await ours(timers=Timers(session_init=0.05))
    await peer.ended()
    assert await sessions[0].closed is CloseReason.NOT_BOUND


async def test_submissions_are_counted_until_they_are_answered(ours):
    submissions = asyncio.Queue()
    peer, sessions = await ours(on_submit=lambda *what: submissions.put_nowait(what))
    peer.send(BIND, 1)
    await peer.receive()
    data = DataSm(destination_addr="45", tlvs={0x0424: b"hi"})
    peer.send(MESSAGE, 2)
    peer.send(data, 3)
    assert (await submissions.get())[1:] == (2, MESSAGE)
    assert (await submissions.get())[1:] == (3, data)
    assert sessions[0].unanswered == 2
    sessions[0].respond(3, CommandId.DATA_SM, 0, "m3")
    assert (await peer.receive())[0] == CommandId.DATA_SM_RESP
    sessions[0].respond(2, CommandId.SUBMIT_SM, CommandStatus.ESME_RTHROTTLED)
    assert (await peer.receive())[:3] == (
        CommandId.SUBMIT_SM_RESP,
        CommandStatus.ESME_RTHROTTLED,
        2,
    )
    assert sessions[0].unanswered == 0


async def test_deliveries_keep_to_the_window(ours):
    peer, sessions = await ours(window=2)
    peer.send(BIND, 1)
    await peer.receive()
    session = sessions[0]
    outcomes = [session.deliver(RECEIPT), session.deliver(RECEIPT.encode_body())]
    with pytest.raises(WindowFull):
        session.deliver(RECEIPT)
    for status in (0, CommandStatus.ESME_RX_T_APPN):
        command_id, _, sequence, pdu = await peer.receive()
        assert (command_id, pdu) == (CommandId.DELIVER_SM, RECEIPT)
        peer.send(HEADER.pack(16, CommandId.DELIVER_SM_RESP, status, sequence))
    assert [await outcome for outcome in outcomes] == [0, CommandStatus.ESME_RX_T_APPN]


@pytest.mark.parametrize(
    "arguments",
    [(DATA_RECEIPT,), (DATA_RECEIPT.encode_body(), CommandId.DATA_SM)],
    ids=["pdu", "encoded"],
)
async def test_a_delivery_by_data_sm(ours, arguments):
    peer, sessions = await ours(timers=Timers())
    peer.send(BIND, 1)
    await peer.receive()
    outcome = sessions[0].deliver(*arguments)
    command_id, _, sequence, pdu = await peer.receive()
    assert (command_id, pdu) == (CommandId.DATA_SM, DATA_RECEIPT)
    peer.send(HEADER.pack(16, CommandId.DATA_SM_RESP, CommandStatus.ESME_RX_T_APPN, sequence))
    assert await outcome == CommandStatus.ESME_RX_T_APPN


async def test_enquire_links_of_the_peer_are_counted(ours):
    peer, sessions = await ours(timers=Timers())
    for sequence in (1, 2):
        peer.send(EnquireLink(), sequence)
        assert (await peer.receive())[:3] == (CommandId.ENQUIRE_LINK_RESP, 0, sequence)
    peer.send(HEADER.pack(17, CommandId.ENQUIRE_LINK, 0, 3) + b"x")
    assert (await peer.receive())[1] == CommandStatus.ESME_RINVCMDLEN
    assert sessions[0].enquire_links == 2


async def test_a_transmitter_is_given_nothing(ours):
    peer, sessions = await ours()
    peer.send(BindTransmitter("a", "b"), 1)
    await peer.receive()
    assert not sessions[0].can_deliver
    with pytest.raises(NotBound):
        sessions[0].deliver(RECEIPT)
