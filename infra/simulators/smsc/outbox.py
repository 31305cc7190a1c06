"""What the simulator delivers: receipts and messages to the ESME, as its binds have room."""

import asyncio
import functools
import itertools
import time
from collections import deque
from typing import Final

from msgspec import Struct

from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.session import OutcomeUnknownError, SmscSession
from infra.simulators.smsc.record import Link, Record, Submit
from infra.simulators.smsc.schedule import Schedule

REFUSED_DELIVERY_DELAY: Final = 1.0
"""Seconds until a delivery that the ESME refused for now is sent again."""

_ROK = int(CommandStatus.ESME_ROK)
_REFUSED_FOR_GOOD = {CommandStatus.ESME_RX_P_APPN, CommandStatus.ESME_RX_R_APPN}


class Delivery(Struct, gc=False):
    """One deliver_sm or data_sm on its way, encoded.

    `preferred` is the session that submitted what a receipt is about. `elsewhere` asks for any
    other. `response_at` is the loop's time at which the submission that it is `about` will be
    answered.
    """

    command_id: int
    body: bytes
    is_mo: bool = False
    preferred: SmscSession | None = None
    elsewhere: bool = False
    intermediate: bool = False
    response_at: float = 0.0
    about: Submit | None = None


class Outbox:
    """The deliveries of one account, in order, and its binds that can take them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, schedule: Schedule, record: Record) -> None:
        self.waiting: deque[Delivery] = deque()
        self.is_mute = False
        self._loop = loop
        self._schedule = schedule
        self._record = record
        self._links: dict[SmscSession, Link] = {}
        self._turns = itertools.count()

    def add_bind(self, session: SmscSession, link: Link) -> None:
        """A session was bound; what waits goes out on it if it can receive."""
        self._links[session] = link
        self.send()

    def remove_bind(self, session: SmscSession) -> None:
        """A session has ended."""
        self._links.pop(session, None)

    def clear(self) -> None:
        """Forget what waits and what would be sent again."""
        self.waiting.clear()
        self._schedule.drop(self.put)

    def put(self, delivery: Delivery) -> None:
        """Send it, or keep it until there is room."""
        self.waiting.append(delivery)
        self.send()

    def send(self) -> None:
        """Send what waits while any bind has room; each answer makes room for more."""
        if self.is_mute:
            return
        counters = self._record.counters
        while self.waiting:
            delivery = self.waiting[0]
            session = self._session_for(delivery)
            if session is None:
                return
            self.waiting.popleft()
            answer = session.deliver(delivery.body, delivery.command_id)
            if delivery.is_mo:
                counters.mo_sent += 1
                self._links[session].mo_sent += 1
            else:
                counters.receipts_sent += 1
                self._links[session].receipts_sent += 1
                if delivery.intermediate:
                    counters.intermediate_sent += 1
                elif delivery.about is not None and delivery.about.receipt_at is None:
                    delivery.about.receipt_at = time.time()
                if delivery.response_at and delivery.response_at > self._loop.time():
                    counters.receipts_early += 1
            answer.add_done_callback(functools.partial(self._answered, delivery))

    def _session_for(self, delivery: Delivery) -> SmscSession | None:
        preferred = delivery.preferred
        if (
            preferred is not None
            and not delivery.elsewhere
            and preferred.free > 0
            and preferred.can_deliver
        ):
            return preferred
        able = [session for session in self._links if session.free > 0 and session.can_deliver]
        if delivery.elsewhere and len(able) > 1 and preferred in able:
            able.remove(preferred)
        return able[next(self._turns) % len(able)] if able else None

    def _answered(self, delivery: Delivery, answer: "asyncio.Future[int]") -> None:
        counters = self._record.counters
        try:
            status = answer.result()
        except OutcomeUnknownError:
            if delivery.is_mo:
                counters.mo_unanswered += 1
            else:
                counters.receipts_unanswered += 1
            self.waiting.appendleft(delivery)
        else:
            self._record.answers["mo" if delivery.is_mo else "receipts", status] += 1
            if delivery.is_mo:
                if status == _ROK:
                    counters.mo_acked += 1
                else:
                    counters.mo_refused += 1
            elif status == _ROK:
                counters.receipts_acked += 1
            else:
                counters.receipts_refused += 1
            if status != _ROK and status not in _REFUSED_FOR_GOOD:
                self._schedule.after(REFUSED_DELIVERY_DELAY, self.put, delivery)
        self.send()
