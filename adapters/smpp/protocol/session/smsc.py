"""The SMSC's side: it is bound to, is given what the ESME submits, and delivers."""

import asyncio
from collections.abc import Callable
from typing import cast

from adapters.smpp.protocol.constants import (
    INTERFACE_VERSION,
    RESPONSE_BIT,
    CommandId,
    CommandStatus,
    Tag,
)
from adapters.smpp.protocol.pdu import (
    PDU_TYPES,
    Bind,
    BindReceiver,
    BindTransmitter,
    DataSm,
    DeliverSm,
    PduError,
    SubmitSm,
    decode_body,
)
from adapters.smpp.protocol.session.base import (
    BINDS,
    DEFAULT_BACKLOG,
    DEFAULT_TIMERS,
    Session,
    State,
    Timers,
)
from adapters.smpp.protocol.session.errors import CloseReason, NotBound

# Plain integers for the paths that run for every message.
_SUBMIT_SM = int(CommandId.SUBMIT_SM)
_DELIVER_SM = int(CommandId.DELIVER_SM)
_DATA_SM = int(CommandId.DATA_SM)


class SmscSession(Session):
    """The SMSC's side: it is bound to, is given what the ESME submits, and delivers.

    `on_bind` gets each first bind and answers it with `accept_bind` or `refuse_bind`, then or
    later; until then the session is not bound. `on_submit` gets each submit_sm and data_sm and
    answers it with `respond`.
    """

    __slots__ = (
        "_on_bind",
        "_on_submit",
        "bind",
    )

    def __init__(
        self,
        *,
        on_bind: "OnBind",
        on_submit: "OnSubmit",
        window: int,
        timers: Timers = DEFAULT_TIMERS,
        backlog: int = DEFAULT_BACKLOG,
    ) -> None:
        super().__init__(window=window, timers=timers, backlog=backlog)
        self.bind: Bind | None = None
        """What the peer bound, or asks to bind, with."""
        self._on_bind = on_bind
        self._on_submit = on_submit

    @property
    def can_deliver(self) -> bool:
        """Whether the peer is bound to receive deliveries."""
        return self.is_bound and not isinstance(self.bind, BindTransmitter)

    def accept_bind(self, sequence: int, system_id: str) -> None:
        """Answer a bind with success; `system_id` names this SMSC."""
        if self.bind is None or self._state is not State.OPEN:
            return
        body = PDU_TYPES[self.bind.command_id | RESPONSE_BIT](
            system_id, {int(Tag.SC_INTERFACE_VERSION): bytes((INTERFACE_VERSION,))}
        ).encode_body()
        self._bound()
        self._send(self.bind.command_id | RESPONSE_BIT, 0, sequence, body)

    def refuse_bind(self, sequence: int, status: int) -> None:
        """Answer a bind with an error and close."""
        if self.bind is not None and self._state is State.OPEN:
            self._send(self.bind.command_id | RESPONSE_BIT, status, sequence)
            self._close(CloseReason.NOT_BOUND)

    def respond(
        self, sequence: int, command_id: int, status: int = 0, message_id: str = ""
    ) -> None:
        """Answer the submit_sm or data_sm that came with `sequence`: each one, once.

        `command_id` is the request's.

        An error goes without a message id, and without a body (section 4.4.2, note).
        """
        self.unanswered -= 1
        if self._is_backlogged:
            self._fewer()
        body = b"" if status else message_id.encode("latin-1") + b"\0"
        self._send(command_id | RESPONSE_BIT, status, sequence, body)

    def deliver(
        self, pdu: DeliverSm | DataSm | bytes, command_id: int = _DELIVER_SM
    ) -> asyncio.Future[int]:
        """Send a deliver_sm or data_sm; resolves to command_status.

        It is given as a PDU, or as an encoded body and the `command_id` that it belongs to.

        Fails with LinkLost or ResponseTimeout when the peer may or may not have it.

        Raises:
            NotBound: not bound, or bound as a transmitter.
            WindowFull: no slot is free.
            PduError: a field does not fit.
        """
        if not self.can_deliver:
            raise NotBound("the peer is not bound to receive")
        if not isinstance(pdu, bytes):
            return self._request_windowed(int(pdu.command_id), pdu.encode_body())
        return self._request_windowed(command_id, pdu)

    def _result(
        self, command_id: int, command_status: int, data: bytes, start: int, end: int
    ) -> int:
        return command_status

    def _handle(self, command_id: int, sequence: int, data: bytes, start: int, end: int) -> bool:
        if command_id == _SUBMIT_SM:
            pdu: SubmitSm | DataSm = SubmitSm.decode_body(data, start, end)
        elif command_id == _DATA_SM:
            pdu = DataSm.decode_body(data, start, end)
        elif command_id in BINDS:
            if self.bind is not None:
                raise PduError(CommandStatus.ESME_RALYBND, "bound or binding already")
            self.bind = cast(Bind, decode_body(command_id, 0, data, start, end))
            self._on_bind(self, sequence, self.bind)
            return True
        else:
            return False
        if self._state is State.OPEN or isinstance(self.bind, BindReceiver):
            raise PduError(CommandStatus.ESME_RINVBNDSTS, "not bound to submit")
        self.unanswered += 1
        if self.unanswered >= self._backlog:
            self._too_many()
        self._on_submit(self, sequence, pdu)
        return True


OnBind = Callable[[SmscSession, int, Bind], None]
"""Called with the session, the sequence number to answer, and the bind."""
OnSubmit = Callable[[SmscSession, int, SubmitSm | DataSm], None]
"""Called with the session, the sequence number to answer, and the submission."""
