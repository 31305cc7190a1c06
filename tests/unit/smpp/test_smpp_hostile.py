"""Peers that break the protocol, on real sockets, against both sides of a session.

Whatever one does, it is answered or cut off, it costs no memory to speak of, and a neighbour on the
same event loop does not notice.
"""

import asyncio
import contextlib
import socket
import tracemalloc

import pytest

from adapters.smpp.protocol.constants import MAX_COMMAND_LENGTH, CommandId, CommandStatus
from adapters.smpp.protocol.pdu import (
    HEADER,
    AlertNotification,
    BindReceiverResp,
    CancelSm,
    DataSm,
    DeliverSm,
    EnquireLink,
    Outbind,
    Pdu,
    QuerySm,
    ReplaceSm,
    SmeAddress,
    SubmitMulti,
    SubmitSmResp,
    Unbind,
    encode,
)
from adapters.smpp.protocol.session import DEFAULT_BACKLOG, CloseReason, Timers, connect
from tests.unit.smpp.peers import BIND, MESSAGE, QUICK, RECEIPT
from tests.waiting import eventually

ESME, SMSC = "esme", "smsc"
BOTH = (ESME, SMSC)
MEBIBYTE = 1 << 20
NACK = CommandId.GENERIC_NACK
BAD_LENGTH = CommandStatus.ESME_RINVCMDLEN
UNKNOWN = CommandStatus.ESME_RINVCMDID
# The peers answer no enquire_link: where silence is not the point, none is sent.
TIMERS = Timers(enquire_link=60)


@pytest.fixture
async def victim(smsc, ours):
    """A function: a bound session of ours of the side named, and its peer."""

    async def start(side, timers=TIMERS, answers=True):
        def answer(session, sequence, pdu):
            if answers and side == ESME:
                session.acknowledge(sequence, pdu.command_id)
            elif answers:
                session.respond(sequence, pdu.command_id, 0, "id")

        if side == ESME:
            return await smsc.session(on_deliver=answer, timers=timers)
        peer, sessions = await ours(on_submit=answer, timers=timers)
        peer.send(BIND, 1)
        await peer.receive()
        return sessions[0], peer

    return start


async def works(side, session, peer):
    """Whether a message goes through."""
    if side == SMSC:
        peer.send(MESSAGE, 5)
        return (await peer.receive())[:3] == (CommandId.SUBMIT_SM_RESP, 0, 5)
    outcome = session.submit(MESSAGE)
    peer.send(SubmitSmResp("id"), (await peer.receive())[2])
    return await outcome == (0, "id")


def raw(command_id, body=b"", sequence=7, length=None):
    return HEADER.pack(16 + len(body) if length is None else length, command_id, 0, sequence) + body


def longer(pdu: Pdu, more=b"\0"):
    return raw(pdu.command_id, pdu.encode_body() + more)


MULTI = SubmitMulti(destinations=(SmeAddress(1, 1, "45"),))
HTTP = b"GET / HTTP/1.1\r\nHost: smsc\r\n\r\n"
TLS_HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(range(100))

# (who, what is sent, what is answered to it, why the session ends, None if it goes on)
BROKEN = {
    **{
        f"command_length {length}": (
            BOTH,
            raw(CommandId.ENQUIRE_LINK, length=length) + bytes(100_000),
            [(NACK, BAD_LENGTH, 7)],
            CloseReason.BAD_LENGTH,
        )
        for length in (0, 15, MAX_COMMAND_LENGTH + 1, 0xFFFFFFFF)
    },
    "HTTP": (
        BOTH,
        HTTP,
        [(NACK, BAD_LENGTH, int.from_bytes(HTTP[12:16], "big"))],
        CloseReason.BAD_LENGTH,
    ),
    "TLS": (
        BOTH,
        TLS_HELLO,
        [(NACK, BAD_LENGTH, int.from_bytes(TLS_HELLO[12:16], "big"))],
        CloseReason.BAD_LENGTH,
    ),
    "a response of a bad length": (
        BOTH,
        raw(CommandId.SUBMIT_SM_RESP, length=3),
        [(NACK, BAD_LENGTH, 7)],
        CloseReason.BAD_LENGTH,
    ),
    "an unknown command": (BOTH, raw(0x7777, b"x" * 50), [(NACK, UNKNOWN, 7)], None),
    "command 0": (BOTH, raw(0), [(NACK, UNKNOWN, 7)], None),
    "a vendor's command": (BOTH, raw(0x00010200, b"\0"), [(NACK, UNKNOWN, 7)], None),
    "an unknown command as large as can be": (
        BOTH,
        raw(0x7777, bytes(MAX_COMMAND_LENGTH - 16)),
        [(NACK, UNKNOWN, 7)],
        None,
    ),
    "a command of the other side": ((ESME,), longer(MESSAGE, b""), [(NACK, UNKNOWN, 7)], None),
    "a bind to the one that bound": ((ESME,), longer(BIND, b""), [(NACK, UNKNOWN, 7)], None),
    "a delivery to the SMSC": ((SMSC,), longer(RECEIPT, b""), [(NACK, UNKNOWN, 7)], None),
    **{
        f"{type(pdu).__name__}, which is not served": (
            (SMSC,),
            longer(pdu, b""),
            [(NACK, UNKNOWN, 7)],
            None,
        )
        for pdu in (QuerySm("1"), CancelSm("1"), ReplaceSm("1"), MULTI, AlertNotification())
    },
    "alert_notification": ((ESME,), longer(AlertNotification(), b""), [], None),
    "outbind": ((ESME,), longer(Outbind("smsc", "secret"), b""), [], None),
    "a malformed alert_notification": (
        (ESME,),
        raw(CommandId.ALERT_NOTIFICATION, b"\1"),
        [(NACK, BAD_LENGTH, 7)],
        None,
    ),
    "binding twice": (
        (SMSC,),
        longer(BIND, b""),
        [(CommandId.BIND_TRANSCEIVER_RESP, CommandStatus.ESME_RALYBND, 7)],
        None,
    ),
    "responses nobody asked for": (
        BOTH,
        b"".join(
            raw(command_id, body, sequence)
            for command_id in (*CommandId, 0x80007777)
            if command_id & 0x80000000
            for sequence in (0, 7, 0xFFFFFFFF)
            for body in (b"", b"x" * 100)
        ),
        [],
        None,
    ),
    "submit_sm longer than its fields": (
        (SMSC,),
        longer(MESSAGE),
        [(CommandId.SUBMIT_SM_RESP, CommandStatus.ESME_RINVOPTPARSTREAM, 7)],
        None,
    ),
    "deliver_sm longer than its fields": (
        (ESME,),
        longer(RECEIPT),
        [(CommandId.DELIVER_SM_RESP, CommandStatus.ESME_RINVOPTPARSTREAM, 7)],
        None,
    ),
    "data_sm longer than its fields": (
        BOTH,
        longer(DataSm()),
        [(CommandId.DATA_SM_RESP, CommandStatus.ESME_RINVOPTPARSTREAM, 7)],
        None,
    ),
    "enquire_link longer than its fields": (
        BOTH,
        longer(EnquireLink()),
        [(CommandId.ENQUIRE_LINK_RESP, BAD_LENGTH, 7)],
        None,
    ),
    "unbind longer than its fields": (
        BOTH,
        longer(Unbind()),
        [(CommandId.UNBIND_RESP, BAD_LENGTH, 7)],
        None,
    ),
    "a deliver_sm without a NUL": (
        (ESME,),
        raw(CommandId.DELIVER_SM, b"\xff" * 5000),
        [(CommandId.DELIVER_SM_RESP, CommandStatus.ESME_RINVSERTYP, 7)],
        None,
    ),
    "what follows an unbind": (
        BOTH,
        raw(CommandId.UNBIND) + raw(CommandId.ENQUIRE_LINK),
        [(CommandId.UNBIND_RESP, 0, 7)],
        CloseReason.PEER_UNBOUND,
    ),
}


@pytest.mark.parametrize(
    ("side", "row"), [(side, row) for row, (sides, *_) in BROKEN.items() for side in sides]
)
async def test_what_is_broken_is_answered_or_ends_the_session(victim, side, row):
    _, octets, answers, reason = BROKEN[row]
    neighbour = await victim(side)
    session, peer = await victim(side)
    peer.send(octets)
    if reason is None:
        peer.send(EnquireLink(), 999)
        answers = [*answers, (CommandId.ENQUIRE_LINK_RESP, 0, 999)]
    assert [(await peer.receive())[:3] for _ in answers] == answers
    if reason is None:
        assert await works(side, session, peer)
    else:
        await peer.ended()
        assert await session.closed is reason
    assert await works(side, *neighbour)


@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize("size", [1, 15, 16, 40])
async def test_a_pdu_that_is_cut_off_by_the_end_of_the_connection(victim, side, size):
    neighbour = await victim(side)
    session, peer = await victim(side)
    peer.send((longer(MESSAGE, b"") if side == SMSC else longer(RECEIPT, b""))[:size])
    peer.writer.write_eof()
    assert await peer.reader.read() == b""
    assert await session.closed is CloseReason.LOST
    assert await works(side, *neighbour)


async def test_the_second_of_two_responses_is_dropped(victim):
    session, peer = await victim(ESME)
    outcome = session.submit(MESSAGE)
    sequence = (await peer.receive())[2]
    peer.send(SubmitSmResp("first"), sequence)
    peer.send(SubmitSmResp("second"), sequence)
    assert await outcome == (0, "first")
    assert await works(ESME, session, peer)
    assert (session.unexpected_responses, session.late_responses) == (1, 0)


async def test_a_delivery_before_the_bind_is_answered_is_refused(smsc):
    delivered = []
    binding = asyncio.ensure_future(
        connect("127.0.0.1", smsc.port, bind=BIND, on_deliver=lambda *what: delivered.append(what))
    )
    peer = await smsc.peers.get()
    _, _, sequence, _ = await peer.receive()
    peer.send(RECEIPT, 3)
    assert (await peer.receive())[:3] == (
        CommandId.DELIVER_SM_RESP,
        CommandStatus.ESME_RINVBNDSTS,
        3,
    )
    # Of another kind of bind: not an answer to ours.
    peer.send(BindReceiverResp("smsc"), sequence)
    peer.send(EnquireLink(), 4)
    assert (await peer.receive())[:3] == (CommandId.ENQUIRE_LINK_RESP, 0, 4)
    assert not delivered
    binding.cancel()


@pytest.mark.parametrize("side", BOTH)
async def test_a_pdu_that_is_never_finished_is_no_sign_of_life(victim, side):
    neighbour = await victim(side)
    session, peer = await victim(side, timers=QUICK)
    frame = iter(raw(0x7777, bytes(MAX_COMMAND_LENGTH - 16)))

    def drip():
        peer.send(bytes([next(frame)]))
        return session.close_reason

    assert await eventually(drip) is CloseReason.SILENT
    await peer.ended()
    assert await works(side, *neighbour)


@contextlib.contextmanager
def no_more_memory_than(octets):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < octets
    finally:
        tracemalloc.stop()


ENQUIRIES = encode(EnquireLink(), sequence_number=9) * 4096


@pytest.mark.parametrize("side", BOTH)
async def test_a_peer_that_asks_and_does_not_read_is_cut_off(victim, side):
    neighbour = await victim(side)
    session, peer = await victim(side, timers=QUICK)
    peer.writer.transport.pause_reading()
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = 0
    with no_more_memory_than(4 * MEBIBYTE), contextlib.suppress(ConnectionError):
        # What the kernel takes is a few MiB on each side.
        while sent < 100 * MEBIBYTE:
            peer.send(ENQUIRIES)
            sent += len(ENQUIRIES)
            await peer.writer.drain()
    assert await session.closed is CloseReason.SILENT
    assert await works(side, *neighbour)


@pytest.mark.parametrize("side", BOTH)
async def test_a_flood_of_questions_is_answered_in_little_memory(victim, side):
    neighbour = await victim(side)
    _, peer = await victim(side)
    rounds = 20

    async def ask():
        for _ in range(rounds):
            peer.send(ENQUIRIES)
            await peer.writer.drain()

    with no_more_memory_than(4 * MEBIBYTE):
        asking = asyncio.ensure_future(ask())
        await peer.reader.readexactly(rounds * len(ENQUIRIES) // 2)
        assert await works(side, *neighbour)
        await peer.reader.readexactly(rounds * len(ENQUIRIES) // 2)
        await asking


@pytest.mark.parametrize("side", BOTH)
async def test_a_peer_that_asks_faster_than_the_owner_answers_is_held_back(victim, side):
    timers = Timers(enquire_link=0.1, enquire_link_timeout=0.1)
    session, peer = await victim(side, timers=timers, answers=False)
    request, total = MESSAGE if side == SMSC else RECEIPT, 20_000
    frame = encode(request, sequence_number=9)
    peer.send(frame * total)
    loop = asyncio.get_running_loop()
    await eventually(lambda: session.unanswered >= DEFAULT_BACKLOG)
    # Long enough for silence, which it is not: this side does not listen.
    later = loop.time() + 5 * (timers.enquire_link + timers.enquire_link_timeout)
    await eventually(lambda: loop.time() > later)
    assert session.is_bound
    one_read = 256 * 1024 // len(frame) + 1
    assert session.unanswered < DEFAULT_BACKLOG + one_read

    answered = 0

    def answer_all():
        nonlocal answered
        while session.unanswered:
            if side == ESME:
                session.acknowledge(9, DeliverSm.command_id)
            else:
                session.respond(9, CommandId.SUBMIT_SM, 0, "id")
            answered += 1
        return answered == total

    await eventually(answer_all)
