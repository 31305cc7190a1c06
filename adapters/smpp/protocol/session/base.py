"""What the two sides of a session share: framing, sequence numbers, window, timers, closing."""

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast

from adapters.smpp.protocol.constants import (
    HEADER_LENGTH,
    MAX_COMMAND_LENGTH,
    MAX_SEQUENCE_NUMBER,
    RESPONSE_BIT,
    CommandId,
    CommandStatus,
)
from adapters.smpp.protocol.pdu import HEADER, PDU_TYPES, PduError
from adapters.smpp.protocol.session.errors import (
    CloseReason,
    LinkLost,
    NotBound,
    ResponseTimeout,
    WindowFull,
)

# Plain integers for the paths that run for every message.
_ENQUIRE_LINK = int(CommandId.ENQUIRE_LINK)
_ENQUIRE_LINK_RESP = int(CommandId.ENQUIRE_LINK_RESP)
_UNBIND = int(CommandId.UNBIND)
_GENERIC_NACK = int(CommandId.GENERIC_NACK)
BINDS: Final = frozenset(
    int(command_id)
    for command_id in (
        CommandId.BIND_RECEIVER,
        CommandId.BIND_TRANSMITTER,
        CommandId.BIND_TRANSCEIVER,
    )
)
"""The command_id of each bind."""

_CLOSE_GRACE: Final = 1.0
"""Seconds for the last octets to leave before the socket is aborted."""
_STALL_GRACE: Final = 0.05
"""Seconds between the first suspicion of silence and the verdict."""

DEFAULT_BACKLOG: Final = 1000
"""Requests of the peer that may wait for their answers from the owner."""


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds (section 7.2).

    A silent link is noticed after `enquire_link` + `enquire_link_timeout` + 0.05: under 5 s here.
    `response` bounds how long a request's future stays unresolved, not how long it holds its slot.
    """

    session_init: float = 10.0
    enquire_link: float = 2.0
    enquire_link_timeout: float = 2.0
    response: float = 10.0


DEFAULT_TIMERS: Final = Timers()


class State(Enum):
    """How far a session is: what it may send and take."""

    OPEN = 1
    BOUND = 2
    UNBINDING = 3
    CLOSED = 4


class Session(asyncio.Protocol, ABC):
    """What the two sides of a session share. Made on a running event loop.

    Whatever the peer sends, a session holds no more than one incomplete PDU, `window` requests of
    its own and about `backlog` of the peer's, and what one read gives rise to: a peer that does
    not read its answers, or that asks faster than its owner answers, is not read until it does.
    """

    # An attribute in a slot is faster than one of more than thirty in a dict.
    __slots__ = (
        "_backlog",
        "_closed",
        "_control",
        "_drained",
        "_enquired_at",
        "_flush_is_due",
        "_is_backlogged",
        "_is_stuffed",
        "_last_received",
        "_loop",
        "_missing",
        "_on_free",
        "_opened_at",
        "_out",
        "_overdue",
        "_partial",
        "_pending",
        "_sequence",
        "_slot_freed",
        "_state",
        "_suspected",
        "_timer",
        "_transport",
        "close_reason",
        "enquire_links",
        "late_responses",
        "timers",
        "unanswered",
        "unexpected_responses",
        "window",
    )

    def __init__(
        self,
        *,
        window: int,
        timers: Timers = DEFAULT_TIMERS,
        on_free: Callable[[], None] | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> None:
        if window < 1:
            raise ValueError(f"a window has at least one slot, not {window}")
        self.window = window
        """Windowed requests that may be unanswered, at least 1. Its owner may change it at any
        time; what is in flight beyond a smaller one is left to end."""
        self.timers: Final = timers
        self.close_reason: CloseReason | None = None
        self.late_responses = 0
        """Responses that came after their future had been resolved or canceled."""
        self.unexpected_responses = 0
        """Responses that answer no request of ours; they are dropped."""
        self.enquire_links = 0
        """enquire_link requests of the peer, each answered at once."""
        self.unanswered = 0
        """Requests of the peer that the owner has not answered: its window, as we see it."""
        self._on_free = on_free
        self._slot_freed = False
        self._loop = asyncio.get_running_loop()
        self._state = State.OPEN
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[CloseReason] = self._loop.create_future()
        # The beginning of a PDU, and how many octets are missing before there is anything to do.
        # Gathered in place: a frame that comes octet by octet is copied once, not at every read.
        self._partial = bytearray()
        self._missing = 0
        self._sequence = 0
        # Windowed requests: future, the command_id that answers it, when it was sent. A dict keeps
        # the order of sending, so the overdue ones are always first.
        self._pending: dict[int, tuple[asyncio.Future[Any], int, float]] = {}
        # Those of them whose response timer ran out: the `late` of their ResponseTimeout.
        self._overdue: dict[int, asyncio.Future[Any]] = {}
        # bind and unbind, which no window holds back: future, the command_id that answers.
        self._control: dict[int, tuple[asyncio.Future[int], int]] = {}
        self._drained: asyncio.Future[None] | None = None
        self._out: list[bytes] = []
        self._flush_is_due = False
        # Why the peer is not read: it does not read us, or its requests are not answered.
        self._is_stuffed = False
        self._is_backlogged = False
        self._backlog = backlog
        self._opened_at = self._last_received = self._loop.time()
        self._enquired_at: float | None = None
        self._suspected = False
        self._timer: asyncio.TimerHandle | None = None

    # -- what an owner asks ---------------------------------------------------------------------

    @property
    def closed(self) -> asyncio.Future[CloseReason]:
        """Resolves when the connection is gone.

        Each use gives a future of its own, so canceling one waiter does not disturb another.
        """
        return asyncio.shield(self._closed)

    @property
    def is_bound(self) -> bool:
        """Whether requests can be sent, as far as this side knows."""
        return self._state is State.BOUND

    @property
    def in_flight(self) -> int:
        """Requests that hold a window slot: unanswered, overdue ones included."""
        return len(self._pending)

    @property
    def free(self) -> int:
        """Window slots a request could take now; 0 when not bound."""
        free = self.window - len(self._pending)
        return free if free > 0 and self._state is State.BOUND else 0

    @property
    def peer(self) -> str:
        """`host:port` of the other side, empty before there is a connection."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return f"{name[0]}:{name[1]}" if name else ""

    async def unbind(self) -> None:
        """Stop sending, wait for what is in flight, unbind, and close.

        Each of the two waits lasts at most the response timer; an owner in a hurry cancels this
        and calls `abort`. Returns when the connection is gone, at once when it already is. What
        stays unanswered fails with LinkLost.
        """
        if self._state is State.BOUND:
            self._state = State.UNBINDING
            if self._unsettled():
                self._drained = self._loop.create_future()
                await asyncio.wait(
                    (self._drained, self._closed),
                    timeout=self.timers.response,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if self._state is State.UNBINDING:
                answer = self._request_control(_UNBIND, b"")
                with contextlib.suppress(TimeoutError, LinkLost):
                    async with asyncio.timeout(self.timers.response):
                        await answer
            self._close(CloseReason.UNBOUND)
        elif self._state is State.OPEN:
            self._close(CloseReason.UNBOUND)
        await self.closed

    def abort(self) -> None:
        """Cut the connection now. What is in flight fails with LinkLost."""
        if self.close_reason is None:
            self.close_reason = CloseReason.ABORTED
        self._state = State.CLOSED
        if self._transport is not None:
            self._transport.abort()
        else:
            self.connection_lost(None)

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if self._state is State.CLOSED:
            self._transport.abort()
            return
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened_at = self._last_received = self._loop.time()
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: cut the stream into PDUs and act on each."""
        if self._partial:
            if len(data) < self._missing:
                self._partial += data
                self._missing -= len(data)
                return
            data = b"".join((self._partial, data))
            self._partial.clear()
        position = 0
        available = len(data)
        needed = HEADER_LENGTH
        # Answers to everything in `data` leave in one write, the one at the end.
        self._flush_is_due = True
        try:
            while available - position >= HEADER_LENGTH and self._state is not State.CLOSED:
                length, command_id, command_status, sequence = HEADER.unpack_from(data, position)
                if not HEADER_LENGTH <= length <= MAX_COMMAND_LENGTH:
                    self._send(_GENERIC_NACK, CommandStatus.ESME_RINVCMDLEN, sequence)
                    self._close(CloseReason.BAD_LENGTH)
                    break
                end = position + length
                if end > available:
                    needed = length
                    break
                position += HEADER_LENGTH
                if command_id & RESPONSE_BIT:
                    self._response(command_id, command_status, sequence, data, position, end)
                else:
                    self._request(command_id, sequence, data, position, end)
                position = end
            if self._slot_freed:
                self._slot_freed = False
                if self._on_free is not None:
                    self._on_free()
            if position:
                # Only a whole PDU is a sign of life: a drip of octets is not.
                self._last_received = self._loop.time()
        finally:
            self._flush()
        if position < available and self._state is not State.CLOSED:
            self._partial += data[position:]
            self._missing = needed - len(self._partial)

    def eof_received(self) -> bool:
        """Called by asyncio: SMPP has no half-open session, so the connection closes."""
        return False

    def pause_writing(self) -> None:
        """Called by asyncio: the peer does not read, so it is not read either.

        What it asks would only pile up answers.
        """
        self._is_stuffed = True
        self._listen()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._is_stuffed = False
        self._listen()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: settle everything that still waits."""
        if self._closed.done():
            return
        self._state = State.CLOSED
        reason = self.close_reason = self.close_reason or CloseReason.LOST
        if self._timer is not None:
            self._timer.cancel()
        self._out.clear()
        self._partial.clear()
        waiting: list[asyncio.Future[Any]] = [entry[0] for entry in self._pending.values()]
        waiting.extend(entry[0] for entry in self._control.values())
        self._pending.clear()
        self._control.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(LinkLost(reason.value))
        for late in self._overdue.values():
            if not late.done():
                late.set_exception(LinkLost(reason.value))
                # Looked at here, so that nobody has to.
                late.exception()
        self._overdue.clear()
        self._closed.set_result(reason)

    # -- requests of ours -----------------------------------------------------------------------

    def _next_sequence(self) -> int:
        sequence = self._sequence
        while True:
            sequence = sequence % MAX_SEQUENCE_NUMBER + 1
            if sequence not in self._pending and sequence not in self._control:
                self._sequence = sequence
                return sequence

    def _request_windowed(self, command_id: int, body: bytes) -> asyncio.Future[Any]:
        if self._state is not State.BOUND:
            raise NotBound(self._state.name)
        if len(self._pending) >= self.window:
            raise WindowFull(f"{self.window} requests are unanswered")
        length = HEADER_LENGTH + len(body)
        if length > MAX_COMMAND_LENGTH:
            raise PduError(CommandStatus.ESME_RINVCMDLEN, f"{length} octets are too many")
        sequence = self._next_sequence()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending[sequence] = (future, command_id | RESPONSE_BIT, self._loop.time())
        self._write(HEADER.pack(length, command_id, 0, sequence) + body)
        return future

    def _request_control(self, command_id: int, body: bytes) -> asyncio.Future[int]:
        sequence = self._next_sequence()
        future: asyncio.Future[int] = self._loop.create_future()
        self._control[sequence] = (future, command_id | RESPONSE_BIT)
        self._send(command_id, 0, sequence, body)
        return future

    def _response(
        self, command_id: int, command_status: int, sequence: int, data: bytes, start: int, end: int
    ) -> None:
        entry = self._pending.get(sequence)
        if entry is None:
            self._control_response(command_id, command_status, sequence)
            return
        future, expected, _ = entry
        if command_id not in (expected, _GENERIC_NACK):
            self.unexpected_responses += 1
            return
        del self._pending[sequence]
        self._slot_freed = True
        if future.done():
            self.late_responses += 1
            late = self._overdue.pop(sequence, None)
            if late is not None and not late.done():
                late.set_result(self._result(command_id, command_status, data, start, end))
        else:
            future.set_result(self._result(command_id, command_status, data, start, end))
        if self._drained is not None and not self._drained.done() and not self._unsettled():
            self._drained.set_result(None)

    def _control_response(self, command_id: int, command_status: int, sequence: int) -> None:
        answer, expected = self._control.get(sequence, (None, 0))
        if answer is None or command_id not in (expected, _GENERIC_NACK):
            # enquire_link_resp has done its work by being heard.
            if command_id != _ENQUIRE_LINK_RESP:
                self.unexpected_responses += 1
            return
        del self._control[sequence]
        # At once, since the next PDU of the same read may rely on it.
        if expected & ~RESPONSE_BIT in BINDS and not command_status and self._state is State.OPEN:
            self._bound()
        if not answer.done():
            answer.set_result(command_status)

    @abstractmethod
    def _result(
        self, command_id: int, command_status: int, data: bytes, start: int, end: int
    ) -> Any:
        """What the future of a windowed request resolves to."""

    def _unsettled(self) -> bool:
        return any(not future.done() for future, _, _ in self._pending.values())

    # -- requests of the peer -------------------------------------------------------------------

    def _request(self, command_id: int, sequence: int, data: bytes, start: int, end: int) -> None:
        try:
            if not self._handle(command_id, sequence, data, start, end):
                self._control_request(command_id, sequence, start == end)
        except PduError as error:
            self._refuse(command_id, sequence, error.command_status)

    @abstractmethod
    def _handle(self, command_id: int, sequence: int, data: bytes, start: int, end: int) -> bool:
        """Take a request that belongs to this side; False leaves it to `_control_request`."""

    def _too_many(self) -> None:
        """The backlog is full: the peer is not read until half of it is answered."""
        self._is_backlogged = True
        self._listen()

    def _fewer(self) -> None:
        """One of a backlog that was full has been answered."""
        if self.unanswered <= self._backlog // 2:
            self._is_backlogged = False
            self._last_received = self._loop.time()
            self._listen()

    def _listen(self) -> None:
        """Read the peer, or not, as things are now."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_stuffed or self._is_backlogged:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _control_request(self, command_id: int, sequence: int, is_empty: bool) -> None:
        if command_id not in (_ENQUIRE_LINK, _UNBIND):
            raise PduError(CommandStatus.ESME_RINVCMDID, f"unexpected 0x{command_id:08X}")
        if not is_empty:
            raise PduError(CommandStatus.ESME_RINVCMDLEN, f"0x{command_id:08X} has no body")
        self._send(command_id | RESPONSE_BIT, 0, sequence)
        if command_id == _UNBIND:
            self._close(CloseReason.PEER_UNBOUND)
        else:
            self.enquire_links += 1

    def _refuse(self, command_id: int, sequence: int, command_status: int) -> None:
        """Answer with an error: in the request's own terms if it has any, otherwise a nack."""
        response_id = command_id | RESPONSE_BIT
        if command_status == CommandStatus.ESME_RINVCMDID or response_id not in PDU_TYPES:
            response_id = _GENERIC_NACK
        self._send(response_id, command_status, sequence)

    # -- writing --------------------------------------------------------------------------------

    def _send(self, command_id: int, command_status: int, sequence: int, body: bytes = b"") -> None:
        length = HEADER_LENGTH + len(body)
        self._write(HEADER.pack(length, command_id, command_status, sequence) + body)

    def _write(self, pdu: bytes) -> None:
        # Once closing, an answer would come too late to be believed.
        if self._state is State.CLOSED:
            return
        self._out.append(pdu)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._out and self._transport is not None:
            pdus = b"".join(self._out)
            self._out.clear()
            self._transport.write(pdus)

    def _close(self, reason: CloseReason) -> None:
        """Close after what is already written has left; abort if it does not leave soon."""
        if self.close_reason is None:
            self.close_reason = reason
        if self._state is State.CLOSED:
            return
        self._flush()
        self._state = State.CLOSED
        if self._transport is not None:
            self._transport.close()
            self._loop.call_later(_CLOSE_GRACE, self._transport.abort)

    # -- timers ---------------------------------------------------------------------------------

    def _bound(self) -> None:
        self._state = State.BOUND
        self._last_received = self._loop.time()
        # Until now it slept towards the session_init timer.
        if self._timer is not None:
            self._timer.cancel()
        self._tick()

    def _tick(self) -> None:
        """The session's only timer: it sleeps until the next thing that could be due."""
        if self._state is State.CLOSED:
            return
        now = self._loop.time()
        if self._state is State.OPEN:
            due = self._opened_at + self.timers.session_init
            if now >= due:
                self._close(CloseReason.NOT_BOUND)
                return
        else:
            due = min(self._watch_silence(now), self._watch_responses(now))
        if self.close_reason is None:
            self._timer = self._loop.call_at(due, self._tick)

    def _watch_silence(self, now: float) -> float:
        if self._is_backlogged:
            # It is this side that does not listen, and its owner that is slow.
            self._last_received = now
        if self._enquired_at is not None and self._last_received < self._enquired_at:
            due = self._enquired_at + self.timers.enquire_link_timeout
            if now < due:
                return due
            # After a pause of this process (a long garbage collection, a busy machine) timers run
            # before the sockets are read: look again once they have been.
            if not self._suspected:
                self._suspected = True
                return now + _STALL_GRACE
            self._cut(CloseReason.SILENT)
            return now
        self._suspected = False
        self._enquired_at = None
        due = self._last_received + self.timers.enquire_link
        if now < due:
            return due
        self._enquired_at = now
        self._send(_ENQUIRE_LINK, 0, self._next_sequence())
        return now + self.timers.enquire_link_timeout

    def _watch_responses(self, now: float) -> float:
        overdue = 0
        due = now + self.timers.response
        for sequence, (future, _, sent_at) in self._pending.items():
            if sent_at + self.timers.response > now:
                due = sent_at + self.timers.response
                break
            overdue += 1
            if not future.done():
                late = self._overdue[sequence] = self._loop.create_future()
                future.set_exception(ResponseTimeout(f"after {self.timers.response} s", late))
        if overdue >= self.window and overdue == len(self._pending):
            self._cut(CloseReason.STALLED)
        return due

    def _cut(self, reason: CloseReason) -> None:
        self.close_reason = reason
        self.abort()
