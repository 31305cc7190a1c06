"""The ESME's side: it connects, binds, submits, and is given what the SMSC delivers."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from adapters.smpp.protocol.constants import RESPONSE_BIT, CommandId, CommandStatus
from adapters.smpp.protocol.pdu import (
    Bind,
    BindReceiver,
    DataSm,
    DeliverSm,
    PduError,
    SubmitSm,
    SubmitSmResp,
    decode_body,
)
from adapters.smpp.protocol.session.base import (
    DEFAULT_BACKLOG,
    DEFAULT_TIMERS,
    Session,
    State,
    Timers,
)
from adapters.smpp.protocol.session.errors import BindRefused, CloseReason, NotBound

# Plain integers for the paths that run for every message.
_SUBMIT_SM = int(CommandId.SUBMIT_SM)
_SUBMIT_SM_RESP = int(CommandId.SUBMIT_SM_RESP)
_DELIVER_SM = int(CommandId.DELIVER_SM)
_DATA_SM = int(CommandId.DATA_SM)
_ALERT_NOTIFICATION = int(CommandId.ALERT_NOTIFICATION)
_OUTBIND = int(CommandId.OUTBIND)


class EsmeSession(Session):
    """The ESME's side: it submits, and is given what the SMSC delivers. Made by `connect`."""

    __slots__ = (
        "_on_deliver",
        "bind",
    )

    def __init__(
        self,
        *,
        bind: Bind,
        on_deliver: "OnDeliver",
        window: int,
        timers: Timers = DEFAULT_TIMERS,
        on_free: Callable[[], None] | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> None:
        super().__init__(window=window, timers=timers, on_free=on_free, backlog=backlog)
        self.bind: Final = bind
        self._on_deliver = on_deliver

    def submit(self, pdu: SubmitSm | bytes) -> asyncio.Future[tuple[int, str]]:
        """Send a submit_sm, given as a PDU or as its encoded body.

        Resolves to (command_status, message_id); the id is empty when the SMSC refused, and also
        when it accepted without a readable one. Fails with LinkLost or ResponseTimeout when
        nobody can know the outcome; a ResponseTimeout has the late response, if one comes.
        Canceling the future does not free its slot.

        Raises:
            NotBound: not bound, or bound as a receiver.
            WindowFull: no slot is free.
            PduError: a field does not fit.
        """
        if isinstance(self.bind, BindReceiver):
            raise NotBound("a receiver does not submit")
        body = pdu if isinstance(pdu, bytes) else pdu.encode_body()
        return self._request_windowed(_SUBMIT_SM, body)

    def acknowledge(self, sequence: int, command_id: int, status: int = 0) -> None:
        """Answer the deliver_sm or data_sm that came with `sequence`: each one, once.

        `command_id` is the request's. On a link that has gone this does nothing: the SMSC will
        deliver again.
        """
        self.unanswered -= 1
        if self._is_backlogged:
            self._fewer()
        # Both responses have a message_id, unused and empty (sections 4.6.2 and 4.7.2).
        self._send(command_id | RESPONSE_BIT, status, sequence, b"\0")

    def _result(
        self, command_id: int, command_status: int, data: bytes, start: int, end: int
    ) -> tuple[int, str]:
        if command_status or command_id != _SUBMIT_SM_RESP:
            return command_status, ""
        try:
            return 0, SubmitSmResp.decode_body(data, start, end).message_id
        except PduError:
            # The status says that the message was accepted; that its id is unreadable does not
            # make it less so.
            return 0, ""

    def _handle(self, command_id: int, sequence: int, data: bytes, start: int, end: int) -> bool:
        if command_id == _DELIVER_SM:
            pdu: DeliverSm | DataSm = DeliverSm.decode_body(data, start, end)
        elif command_id == _DATA_SM:
            pdu = DataSm.decode_body(data, start, end)
        elif command_id in (_ALERT_NOTIFICATION, _OUTBIND):
            # Neither has a response, and nothing here waits for either.
            decode_body(command_id, 0, data, start, end)
            return True
        else:
            return False
        if self._state is State.OPEN:
            raise PduError(CommandStatus.ESME_RINVBNDSTS, "delivery before the bind")
        self.unanswered += 1
        if self.unanswered >= self._backlog:
            self._too_many()
        self._on_deliver(self, sequence, pdu)
        return True

    async def request_bind(self) -> None:
        """Send the bind and wait for its answer; `connect` does this. Raises as `connect` does."""
        status = await self._request_control(self.bind.command_id, self.bind.encode_body())
        if status:
            self._close(CloseReason.NOT_BOUND)
            raise BindRefused(status)


OnDeliver = Callable[[EsmeSession, int, DeliverSm | DataSm], None]
"""Called with the session, the sequence number to acknowledge, and what was delivered."""


async def connect(
    host: str,
    port: int,
    *,
    bind: Bind,
    on_deliver: OnDeliver,
    window: int = 10,
    timers: Timers = DEFAULT_TIMERS,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    on_free: Callable[[], None] | None = None,
) -> EsmeSession:
    """Connect and bind; `bind` is a BindTransceiver, BindTransmitter or BindReceiver.

    With `tls`, the certificate is checked as the context says, against `server_name`, else `host`.
    `on_deliver` may be called before this returns: an SMSC delivers what waits as soon as it has
    accepted the bind.

    `on_free` is called when responses, late ones included, have freed window slots: once a read,
    after all responses of that read, and before the futures' own callbacks. What it submits leaves
    in the same write as everything else that read gave rise to. It is not told of the bind nor of
    the end of the session.

    Raises:
        BindRefused: the SMSC answered with an error.
        OSError: no connection, no answer within `timers.session_init` (TimeoutError), or a link
            that went before the answer (LinkLost).
        PduError: a field of `bind` does not fit.
    """
    session = EsmeSession(
        bind=bind, on_deliver=on_deliver, window=window, timers=timers, on_free=on_free
    )
    try:
        async with asyncio.timeout(timers.session_init):
            await asyncio.get_running_loop().create_connection(
                lambda: session, host, port, ssl=tls, server_hostname=server_name if tls else None
            )
            await session.request_bind()
    except BindRefused:
        raise
    except BaseException:
        session.abort()
        raise
    return session
