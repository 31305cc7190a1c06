"""One session of either side, fed with any octets, and what must hold whatever they are.

Used by the property tests and by the coverage-guided fuzzer alike. The transport is a recorder, so
an input costs microseconds and the answers can be judged octet by octet.
"""

import asyncio
from dataclasses import dataclass, field

from adapters.smpp.protocol.constants import (
    HEADER_LENGTH,
    MAX_COMMAND_LENGTH,
    RESPONSE_BIT,
    CommandId,
)
from adapters.smpp.protocol.pdu import (
    HEADER,
    BindTransceiver,
    BindTransceiverResp,
    DeliverSm,
    PduError,
    SubmitSm,
    decode,
    decode_body,
    encode,
)
from adapters.smpp.protocol.receipt import parse_receipt
from adapters.smpp.protocol.session import EsmeSession, OutcomeUnknownError, SmscSession, Timers
from tests.waiting import eventually

SIDES = ("esme", "smsc", "smsc before the bind")
IN_FLIGHT = (2, 3, 4)
"""Sequence numbers of the requests of a bound session that wait for their responses."""

_BIND = BindTransceiver("fuzz", "fuzz")
_SUBMIT = SubmitSm(destination_addr="45", short_message=b"hi")
_DELIVER = DeliverSm(esm_class=4, short_message=b"id:1 stat:DELIVRD")
_NEVER = Timers(session_init=3600, enquire_link=3600, enquire_link_timeout=3600, response=3600)


class Recorder(asyncio.Transport):
    """Keeps what is written; the connection is gone as soon as it is closed."""

    def __init__(self, session):
        super().__init__()
        self.written = b""
        self._session = session

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self._session is None

    def pause_reading(self):
        """Nothing to pause."""

    resume_reading = pause_reading

    def close(self):
        session, self._session = self._session, None
        if session is not None:
            session.connection_lost(None)

    abort = close


@dataclass
class Outcome:
    """What a stream led to: the octets written, what the owner was given, what became of the
    requests in flight (None when nobody knows), and whether the session is still there."""

    answers: bytes = b""
    handed_over: list = field(default_factory=list)
    settled: list = field(default_factory=list)
    is_open: bool = False


async def feed(side, chunks):
    """A new session that receives `chunks`, and the Outcome."""
    outcome = Outcome()

    def on_deliver(session, sequence, pdu):
        outcome.handed_over.append((sequence, pdu, parse_receipt(pdu)))
        session.acknowledge(sequence, pdu.command_id)

    def on_bind(session, sequence, bind):
        outcome.handed_over.append((sequence, bind))
        session.accept_bind(sequence, "smsc")

    def on_submit(session, sequence, pdu):
        outcome.handed_over.append((sequence, pdu))
        session.respond(sequence, pdu.command_id, 0, "id")

    if side == "esme":
        session = EsmeSession(bind=_BIND, on_deliver=on_deliver, window=9, timers=_NEVER)
    else:
        session = SmscSession(on_bind=on_bind, on_submit=on_submit, window=9, timers=_NEVER)
    transport = Recorder(session)
    session.connection_made(transport)
    waiting = []
    if side == "esme":
        binding = asyncio.ensure_future(session.request_bind())
        await eventually(lambda: transport.written, pause=0)
        session.data_received(encode(BindTransceiverResp("smsc"), sequence_number=1))
        await binding
        transport.written = b""
        waiting = [session.submit(_SUBMIT) for _ in IN_FLIGHT]
    elif side == "smsc":
        session.data_received(encode(_BIND, sequence_number=1))
        transport.written = b""
        # Its first is number 1: one more, so that the same numbers wait on both sides.
        waiting = [session.deliver(_DELIVER) for _ in (1, *IN_FLIGHT)]
    if waiting:
        # In one write, which would otherwise stand among the answers.
        await eventually(lambda: transport.written, pause=0)

    transport.written = b""
    outcome.handed_over.clear()
    for chunk in chunks:
        session.data_received(chunk)
    outcome.answers = transport.written
    outcome.is_open = not session.closed.done()
    session.abort()
    for future in waiting:
        try:
            outcome.settled.append(future.result())
        except OutcomeUnknownError:
            outcome.settled.append(None)
    return outcome


def check(side, stream, outcome):
    """Each request is answered once, in order, in whole PDUs, and nothing else is written."""
    answers = []
    position = 0
    while position < len(outcome.answers):
        length, command_id, _, sequence = HEADER.unpack_from(outcome.answers, position)
        decode(outcome.answers[position : position + length])
        answers.append((command_id, sequence))
        position += length
    expected, ends = _expected(side, stream)
    assert [sequence for _, sequence in answers] == [sequence for _, sequence in expected]
    for (answer, _), (request, _) in zip(answers, expected, strict=True):
        assert answer in (request | RESPONSE_BIT, CommandId.GENERIC_NACK)
    assert outcome.is_open is not ends


def _expected(side, stream):
    """The (command_id, sequence_number) to be answered, and whether the session ends."""
    expected = []
    position = 0
    while len(stream) - position >= HEADER_LENGTH:
        length, command_id, _, sequence = HEADER.unpack_from(stream, position)
        if not HEADER_LENGTH <= length <= MAX_COMMAND_LENGTH:
            return [*expected, (CommandId.GENERIC_NACK, sequence)], True
        start, position = position + HEADER_LENGTH, position + length
        if position > len(stream):
            break
        if command_id & RESPONSE_BIT or _needs_no_answer(side, command_id, stream, start, position):
            continue
        expected.append((command_id, sequence))
        if command_id == CommandId.UNBIND and length == HEADER_LENGTH:
            return expected, True
    return expected, False


def _needs_no_answer(side, command_id, stream, start, end):
    if side != "esme" or command_id not in (CommandId.ALERT_NOTIFICATION, CommandId.OUTBIND):
        return False
    try:
        decode_body(command_id, 0, stream, start, end)
    except PduError:
        return False
    return True
