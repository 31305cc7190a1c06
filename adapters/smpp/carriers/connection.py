"""One connection to a carrier: a transceiver session, or a transmitter and a receiver together.

It owns its sessions, window and bucket, and shares nothing. `live` is one life, from the dial to
the loss; whether there is another one is its supervisor's business.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from adapters.smpp.carriers.config import CarrierConfig, Host, Tls, host_of
from adapters.smpp.carriers.supervisor import Exit
from adapters.smpp.flow.rate import TokenBucket
from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.pdu import BindReceiver, BindTransceiver, BindTransmitter, PduError
from adapters.smpp.protocol.session import (
    BindRefused,
    EsmeSession,
    NotBound,
    OnDeliver,
    Timers,
    WindowFull,
    connect,
)

logger = logging.getLogger(__name__)

Answer = asyncio.Future[tuple[int, str]]

_BAD_CREDENTIALS = frozenset({CommandStatus.ESME_RINVPASWD, CommandStatus.ESME_RINVSYSID})
_ANSWERED_WITHIN = 0.75
"""Of an enquire_link interval: silence is noticed, and a new bind made, well within two of them."""
_BRIEF = 2.0
"""Seconds below which a bind did not last."""


class NotWritten(Exception):
    """The link went, or the time was over, before the submit could be written: the carrier
    certainly does not have it."""


class Connection:
    """A place on a carrier. Made on a running event loop.

    `on_room` is called when it may take more, `on_bound` after each bind. What is submitted while
    the window is full waits here, in order, for the next response: so that what is being written
    to the journal and what is in flight do not have to share one window. As much as one more
    window may wait (`free`), and in flight there is never more than `window`.
    """

    def __init__(
        self,
        number: int,
        config: CarrierConfig,
        *,
        on_deliver: OnDeliver,
        on_room: Callable[[], None],
        on_bound: Callable[[Connection], None],
    ) -> None:
        self.number = number
        self.config = config
        self.reserved = 0
        """Submits that are promised and have not come yet."""
        self.binds = 0
        self.bound_at: float | None = None
        """When it was bound, seconds since the epoch; None while it is not."""
        self.last_error: str | None = None
        self.host: Host | None = None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.bucket = TokenBucket(config.bind_rate, loop.time())
        self._on_deliver = on_deliver
        self._on_room = on_room
        self._on_bound = on_bound
        self._sender: EsmeSession | None = None
        self._receiver: EsmeSession | None = None
        self._waiting: deque[tuple[bytes, Answer, float]] = deque()
        self._dials = number - 1
        self._window = config.window
        self._closing = False
        self._dialed_with: CarrierConfig | None = None

    @property
    def name(self) -> str:
        """`carrier/number`."""
        return f"{self.config.name}/{self.number}"

    @property
    def bound(self) -> bool:
        """Whether it takes submits now, as far as we know."""
        return self._sender is not None and self._sender.is_bound

    @property
    def dialed_with(self) -> CarrierConfig | None:
        """What its present sessions were bound with, or are being."""
        return self._dialed_with

    @property
    def in_flight(self) -> int:
        """Submits without an answer."""
        return self._sender.in_flight if self._sender is not None else 0

    @property
    def free(self) -> int:
        """Submits that may be promised now."""
        sender = self._sender
        if sender is None or not sender.is_bound:
            return 0
        return 2 * self._window - self.taken

    @property
    def taken(self) -> int:
        """Submits that are promised, wait for window or are without an answer."""
        return self.in_flight + len(self._waiting) + self.reserved

    @property
    def window(self) -> int:
        """Submits that may be unanswered."""
        return self._window

    def resize(self, window: int) -> None:
        """Change the window while it runs."""
        self._window = window
        if self._sender is not None:
            self._sender.window = window
            self._write_waiting()

    def submit(self, body: bytes, until: float) -> Answer:
        """Send a submit_sm that has been promised, at once or when the window lets it, but not
        after `until` (loop time).

        Resolves to (command_status, message_id). Fails with NotWritten, or as
        `EsmeSession.submit` does.
        """
        self.reserved -= 1
        sender = self._sender
        if sender is not None and not self._waiting:
            try:
                return sender.submit(body)
            except WindowFull:
                pass
            except NotBound:
                sender = None
        answer: Answer = self._loop.create_future()
        if sender is None or not sender.is_bound:
            answer.set_exception(NotWritten(self.last_error or "not bound"))
        else:
            self._waiting.append((body, answer, until))
        return answer

    def _write_waiting(self) -> None:
        sender = self._sender
        while self._waiting and sender is not None and sender.free > 0:
            body, answer, until = self._waiting.popleft()
            if answer.done():
                continue
            if self._loop.time() >= until:
                answer.set_exception(NotWritten("the window was full for too long"))
            else:
                sender.submit(body).add_done_callback(_passer(answer))

    def _fail_waiting(self, reason: str) -> None:
        while self._waiting:
            _, answer, _ = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(NotWritten(reason))

    def _has_room(self) -> None:
        self._write_waiting()
        self._on_room()

    async def live(self) -> Exit:
        """Dial, bind, serve until the link goes. Canceling it cuts the link."""
        self._dialed_with = self.config
        hosts = self.config.hosts
        self.host = host_of(hosts[self._dials % len(hosts)])
        began = self._loop.time()
        try:
            sessions = await self._dial(self.host)
        except BindRefused as refused:
            self._dials += 1
            hopeless = refused.command_status in _BAD_CREDENTIALS
            return self._ended(f"bind refused: {refused}", began=None, hopeless=hopeless)
        except PduError as error:
            return self._ended(f"the account fits no bind: {error}", began=None, hopeless=True)
        except (OSError, ssl.SSLError) as error:
            self._dials += 1
            return self._ended(f"cannot connect: {_said(error)}", began=None)
        began = self._loop.time()
        try:
            self._sender, self._receiver = sessions[0], sessions[-1]
            self._sender.window = self._window
            self.binds += 1
            self.bound_at = time.time()
            self.last_error = None
            logger.info("%s bound to %s:%d", self.name, *self.host)
            self._on_bound(self)
            self._on_room()
            # Half a pair is none: what could be sent could not be proven, or the reverse.
            done, _ = await asyncio.wait(
                [session.closed for session in sessions], return_when=asyncio.FIRST_COMPLETED
            )
            reason = next(iter(done)).result()
            if self._closing:
                # Each session of a pair takes its leave.
                await asyncio.wait([session.closed for session in sessions])
            elif self._loop.time() - began < _BRIEF:
                # Where a bind does not last, another host may do better.
                self._dials += 1
            return self._ended(f"link closed: {reason.value}", began=began)
        finally:
            self._dialed_with = None
            self._sender = self._receiver = None
            self.bound_at = None
            for session in sessions:
                session.abort()
            self._fail_waiting(self.last_error or "the link is closed")

    async def unbind(self, patience: float) -> None:
        """Say goodbye: wait for what is in flight, unbind, close, all within `patience` seconds,
        or else cut the link."""
        self._closing = True
        self._fail_waiting("the connection is taken out of service")
        sender, receiver = self._sender, self._receiver
        try:
            async with asyncio.timeout(patience):
                # The receiver last: until then there may be receipts.
                if sender is not None:
                    await sender.unbind()
                if receiver is not None:
                    await receiver.unbind()
        except TimeoutError:
            for session in (sender, receiver):
                if session is not None:
                    session.abort()

    def _ended(self, reason: str, *, began: float | None, hopeless: bool = False) -> Exit:
        if not self._closing:
            self.last_error = reason
        return Exit(reason, 0.0 if began is None else self._loop.time() - began, hopeless)

    async def _dial(self, host: Host) -> list[EsmeSession]:
        # It may be changed meanwhile: whatever is bound here is bound with the same.
        config = self.config
        # Reading the system's authorities takes 36 ms, in which nobody else would be heard.
        tls = await asyncio.to_thread(tls_context, config.tls) if config.tls else None
        if config.bind == "transceiver":
            return [await self._bind(BindTransceiver, config, host, tls)]
        # First the receiver: a receipt must have somewhere to come to.
        receiver = await self._bind(BindReceiver, config, host, tls)
        try:
            return [await self._bind(BindTransmitter, config, host, tls), receiver]
        except BaseException:
            receiver.abort()
            raise

    async def _bind(
        self,
        kind: type[BindTransceiver | BindTransmitter | BindReceiver],
        config: CarrierConfig,
        host: Host,
        tls: ssl.SSLContext | None,
    ) -> EsmeSession:
        name = config.tls.server_name if isinstance(config.tls, Tls) else None
        return await connect(
            host.name,
            host.port,
            bind=kind(
                system_id=config.system_id,
                password=config.password.get_secret_value(),
                system_type=config.system_type,
                address_range=config.address_range,
            ),
            on_deliver=self._on_deliver,
            on_free=self._has_room,
            window=self._window,
            timers=Timers(
                enquire_link=config.enquire_link_interval,
                enquire_link_timeout=config.enquire_link_interval * _ANSWERED_WITHIN,
                response=config.response_timeout,
            ),
            tls=tls,
            server_name=name,
        )


def tls_context(tls: Literal[True] | Tls) -> ssl.SSLContext:
    """The context for a carrier: certificates and host names are always verified. Reads files.

    Raises OSError (ssl.SSLError) when a file does not hold what it should.
    """
    if tls is True:
        return ssl.create_default_context()
    context = ssl.create_default_context(cafile=tls.ca_file and str(tls.ca_file))
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _passer(answer: Answer) -> Callable[[Answer], None]:
    def on_done(inner: Answer) -> None:
        error = inner.exception()
        if answer.done():
            return
        if error is None:
            answer.set_result(inner.result())
        else:
            answer.set_exception(error)

    return on_done


def _said(error: OSError) -> str:
    """The system's words, whichever loop adds its own: which host it was is said beside it. TLS
    and the resolver have words and numbers of their own; several addresses have no number."""
    if isinstance(error, (ssl.SSLError, socket.gaierror)) or not error.errno:
        return str(error) or type(error).__name__
    return os.strerror(error.errno)
