"""Messages from people: stored, acknowledged, put together, routed and handed to Restate.

The order of writing is that of receipts: a part is on disk before its deliver_sm_resp, and marked
as handed on after Restate has the message. Between the two, every start and every second begin
again from the store, so nothing is in memory that the store does not have. A message that is
handed over twice is recognised by its id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from adapters.smpp.inbound.parts import Alphabet, Group, gather, put_together, read_part
from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.pdu import DataSm, DeliverSm, PduError
from adapters.smpp.protocol.receipt import is_receipt
from adapters.smpp.protocol.session import EsmeSession
from adapters.smpp.store.inbound_store import REPEATED_WITHIN, InboundPart
from domain.inbound import InboundDelivery, Routes
from domain.optout import addressed
from domain.ports import EngineRefused, EngineUnavailable

logger = logging.getLogger(__name__)

PARTS_TIMEOUT: Final = 60.0
"""Seconds that a message waits for its parts, from the first one on."""

MOST_IN_HAND: Final = 1000
"""Parts on their way to Restate, or waiting for it, in memory at once; the store has the others."""
_SENDERS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_SWEEP_EVERY = 1.0

# A message of one part has no reference. When the same text comes again it is either the carrier's
# repetition, because our answer to the first was lost, or the person's. Answers are lost with
# their link or their process, and a silent link is noticed within 5 s.
_LOST_WITH_LINK = 10.0
_LOST_WITH_PROCESS = 60.0


class InboundStore(Protocol):
    """Where parts are kept; `adapters.smpp.store.inbound_store` says what each method means."""

    def store_inbound(
        self, part: InboundPart, *, repeated_within: float, repeated_before: float
    ) -> asyncio.Future[int]: ...

    async def inbound_parts(
        self, carrier: str, source: str, destination: str, reference: int, total: int
    ) -> list[InboundPart]: ...

    async def inbound_waiting(self, before: float) -> list[InboundPart]: ...

    async def inbound_forwarded(self, ids: Sequence[str]) -> None: ...

    async def inbound_held(self, ids: Sequence[str]) -> None: ...

    async def inbound_reopen(self) -> None: ...


class InboundSink(Protocol):
    """Where messages go."""

    async def inbound(self, delivery: InboundDelivery) -> None:
        """To the service that tells the tenant; once, however often it is called with one id.

        Raises EngineUnavailable and may be repeated, or EngineRefused.
        """


@dataclass(slots=True)
class InboundCounts:
    """What came since the start: parts `received` (stored), `repeated` ones, `refused` ones that
    could not be stored, `malformed` ones; messages `forwarded`, those of them that were
    `incomplete`, and those `held` because they have no route."""

    received: int = 0
    repeated: int = 0
    refused: int = 0
    malformed: int = 0
    forwarded: int = 0
    incomplete: int = 0
    held: int = 0


class Inbound:
    """Takes the carriers' messages and forwards them to their tenants. Made on a running event
    loop.

    `alphabet` says what a carrier means by data_coding 0. `timeout` is PARTS_TIMEOUT.
    """

    def __init__(
        self,
        store: InboundStore,
        sink: InboundSink,
        routes: Routes,
        *,
        alphabet: Callable[[str], Alphabet] = lambda carrier: "gsm7",
        timeout: float = PARTS_TIMEOUT,
    ) -> None:
        self.counts = InboundCounts()
        self._store = store
        self._sink = sink
        self._routes = routes
        self._alphabet = alphabet
        self._timeout = timeout
        self._started_at = time.time()
        self._sessions: set[EsmeSession] = set()
        self._doubts: dict[str, tuple[float, float]] = {}
        self._in_hand: set[str] = set()
        self._outbox: asyncio.Queue[tuple[InboundDelivery, Group]] = asyncio.Queue()
        self._closed = False
        loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._senders = [loop.create_task(self._send()) for _ in range(_SENDERS)]
        self._sweeper = loop.create_task(self._sweep())

    @property
    def in_hand(self) -> int:
        """Parts of messages that are on their way to Restate."""
        return len(self._in_hand)

    async def recover(self) -> None:
        """Take up what an earlier process stored and did not hand on, and what it held: there may
        be a route now. Messages with parts missing wait for them anew, since the carrier may have
        kept them meanwhile."""
        await self._store.inbound_reopen()
        await self._look_at_all()

    async def use(self, routes: Routes) -> None:
        """Route by these from now on, also what has been held."""
        self._routes = routes
        await self._store.inbound_reopen()

    async def close(self) -> None:
        """Stop forwarding; what is left is taken up by `recover`."""
        self._closed = True
        tasks = [self._sweeper, *self._senders, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the carriers tell

    def on_deliver(
        self, carrier: str, session: EsmeSession, sequence: int, pdu: DeliverSm | DataSm
    ) -> None:
        """Take a deliver_sm or data_sm that is no receipt. Acknowledged once it is on disk.

        One that cannot be stored is answered with ESME_RX_T_APPN, so the carrier brings it again;
        one that cannot be read, or is a receipt after all, with ESME_RX_P_APPN. Never raises.
        """
        try:
            if is_receipt(pdu):
                raise PduError(CommandStatus.ESME_RX_P_APPN, "a receipt that names no message")
            part = read_part(carrier, pdu, time.time())
        except PduError as error:
            self.counts.malformed += 1
            logger.warning("carrier %s: message refused: %s", carrier, error.reason)
            session.acknowledge(sequence, pdu.command_id, CommandStatus.ESME_RX_P_APPN)
            return
        self._watch(carrier, session)

        def stored(written: asyncio.Future[int]) -> None:
            if written.cancelled() or written.exception() is not None:
                self.counts.refused += 1
                logger.error("carrier %s: a message was not stored", carrier)
                session.acknowledge(sequence, pdu.command_id, CommandStatus.ESME_RX_T_APPN)
                return
            session.acknowledge(sequence, pdu.command_id)
            if not written.result():
                self.counts.repeated += 1
                return
            self.counts.received += 1
            if not self._closed:
                self._stored(part)

        self._write(part).add_done_callback(stored)

    def _write(self, part: InboundPart) -> asyncio.Future[int]:
        if part.total > 1:
            within, before = REPEATED_WITHIN, float("inf")
        else:
            since, before = self._doubts.get(part.carrier) or self._before_start()
            within = part.received_at - since
        return self._store.store_inbound(part, repeated_within=within, repeated_before=before)

    def _before_start(self) -> tuple[float, float]:
        return self._started_at - _LOST_WITH_PROCESS, self._started_at

    def _watch(self, carrier: str, session: EsmeSession) -> None:
        """Note when a link goes: the answers of its last seconds may not have arrived."""
        if session in self._sessions:
            return
        self._sessions.add(session)

        def gone(_: object) -> None:
            self._sessions.discard(session)
            until = time.time()
            since = until - _LOST_WITH_LINK
            earlier_since, earlier_until = self._doubts.get(carrier) or self._before_start()
            # Several links of one carrier often go together.
            together = earlier_until >= since
            self._doubts[carrier] = (min(since, earlier_since) if together else since, until)

        session.closed.add_done_callback(gone)

    # Putting together

    def _stored(self, part: InboundPart) -> None:
        if part.total == 1:
            self._forward(Group({1: part}))
        else:
            self._spawn(self._look_at(part))

    async def _look_at(self, part: InboundPart) -> None:
        """Forward what is complete of the messages that this part may be of."""
        try:
            groups = gather(await self._parts_like(part))
        except Exception as error:
            # The sweep looks again.
            logger.warning("carrier %s: parts not read: %s", part.carrier, type(error).__name__)
            return
        for group in groups:
            if group.complete:
                self._forward(group)

    async def _sweep(self) -> None:
        """Every second, whatever waits: for its time to be over, or because something failed."""
        while True:
            await asyncio.sleep(min(_SWEEP_EVERY, self._timeout / 4))
            try:
                await self._look_at_all()
            except Exception as error:
                logger.warning("inbound messages not read: %s", type(error).__name__)

    async def _look_at_all(self) -> None:
        waiting = self._not_in_hand(await self._store.inbound_waiting(time.time()))
        for group in gather(waiting):
            if group.complete:
                self._forward(group)
            elif self._is_due(group):
                # The store gives the oldest parts only; it may have more of this message.
                for whole in gather(await self._parts_like(group.first)):
                    if whole.complete or self._is_due(whole):
                        self._forward(whole)

    async def _parts_like(self, part: InboundPart) -> list[InboundPart]:
        return self._not_in_hand(
            await self._store.inbound_parts(
                part.carrier, part.source, part.destination, part.reference, part.total
            )
        )

    def _not_in_hand(self, parts: list[InboundPart]) -> list[InboundPart]:
        return [part for part in parts if part.id not in self._in_hand]

    def _is_due(self, group: Group) -> bool:
        waited_from = max(group.first.received_at, self._started_at)
        return time.time() - waited_from >= self._timeout

    # Forwarding

    def _forward(self, group: Group) -> None:
        if len(self._in_hand) >= MOST_IN_HAND or not self._in_hand.isdisjoint(group.ids):
            return
        message = put_together(group, self._alphabet(group.first.carrier))
        delivery = addressed(message, self._routes)
        self._in_hand.update(group.ids)
        if delivery is None:
            logger.warning("%s to %r has no route and is held", message.id, message.destination)
            self._spawn(self._mark_held(group))
        else:
            self._outbox.put_nowait((delivery, group))

    async def _send(self) -> None:
        while True:
            delivery, group = await self._outbox.get()
            try:
                await self._hand_over(delivery)
            except EngineRefused as error:
                # No repetition mends it; a person may.
                logger.error("%s is held: %s", delivery.id, error)
                await self._mark_held(group)
                continue
            self.counts.forwarded += 1
            self.counts.incomplete += not group.complete
            # The next need not wait for the disk.
            self._spawn(self._mark(group, self._store.inbound_forwarded))

    async def _hand_over(self, delivery: InboundDelivery) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._sink.inbound(delivery)
            except EngineUnavailable as error:
                logger.warning("%s waits: %s", delivery.id, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _mark_held(self, group: Group) -> None:
        self.counts.held += 1
        await self._mark(group, self._store.inbound_held)

    async def _mark(self, group: Group, mark: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        try:
            await mark(group.ids)
        except Exception as error:
            # Then the sweep takes it up again; what Restate has it knows by its id.
            logger.warning("a message was not marked: %s", type(error).__name__)
        finally:
            self._in_hand.difference_update(group.ids)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
