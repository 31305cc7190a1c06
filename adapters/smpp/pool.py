"""The bind pool: takes delivery requests, submits them, and brings the receipts home.

The order of writing is what makes it trustworthy: attempt journalled → submit_sm; response
journalled → answer; receipt journalled → deliver_sm_resp → Restate.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from adapters.routing.library import Routing
from adapters.smpp.carriers.carrier import Carrier, Lease, Unavailable
from adapters.smpp.carriers.choice import CarrierChoice
from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.carriers.connection import NotWritten
from adapters.smpp.carriers.ids import comparable
from adapters.smpp.carriers.mesh import Mesh
from adapters.smpp.carriers.outgoing import REFERENCES, bodies, cut
from adapters.smpp.correlator import Correlator, Forwarding
from adapters.smpp.flow.backlog import PRIORITY, Backlog, Queue
from adapters.smpp.protocol.constants import CommandStatus
from adapters.smpp.protocol.pdu import DataSm, DeliverSm, PduError
from adapters.smpp.protocol.session import (
    EsmeSession,
    NotBound,
    OnDeliver,
    OutcomeUnknownError,
    ResponseTimeout,
)
from adapters.smpp.store.journal import Journal, Part, PartState
from adapters.under_way import UnderWay
from domain.delivery import AttemptRef, DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level

logger = logging.getLogger(__name__)

HOLD = 10.0
"""Seconds that a request waits here for room: cheaper than going back to Restate."""
HELD = 2000
"""Requests of one priority or higher ones that wait here at once; more are told to come back."""
REBIND_PATIENCE = 1.0
"""Seconds that a request waits for a carrier to come back when all are gone."""
SAID_BEFORE = 0.25
"""Seconds before a request's `not_after` at which waiting for a carrier ends."""
LINGER = 1.0
"""Seconds that an answer waits for its receipt, if it may: one call of Restate's instead of two."""
LINGERING = 1000
"""Answers that wait so at once; further ones are given without."""
KEEP = 8 * 86400.0
"""Seconds for which the journal is kept: longer than any message lives."""

_PRUNE_EVERY = 3600.0
_LOOK_AGAIN = 0.1
_ALWAYS_ONE_PART = 35
"""Characters that fit a short message even if each is a surrogate pair."""
_PERHAPS_SENT = (SubmissionState.TAKEN, SubmissionState.UNKNOWN)
_Pdus = list[tuple[Part, bytes]]

Submit = Callable[[DeliveryRequest], Awaitable[Submission]]
Around = Callable[[DeliveryRequest, Submit], Awaitable[Submission]]
"""Calls what submits an attempt, and does something before and after: it charges for it."""

OnInbound = Callable[[str, EsmeSession, int, DeliverSm | DataSm], None]
"""Takes what a carrier, named first, delivers and is no receipt; it must be acknowledged."""


class BindPool:
    """Every carrier connection of one process. Made on a running event loop."""

    def __init__(
        self,
        carriers: Iterable[CarrierConfig],
        journal: Journal,
        correlator: Correlator,
        on_inbound: OnInbound | None = None,
        routing: Routing | None = None,
        around: Around | None = None,
    ) -> None:
        self._journal = journal
        self._correlator = correlator
        self._on_inbound = on_inbound
        self._around = around
        self._loop = asyncio.get_running_loop()
        self.mesh = Mesh(self._deliverer)
        self.choice = CarrierChoice(self.mesh, routing)
        correlator.on_settled = self.choice.reported
        for config in carriers:
            self.mesh.add(config)
        self._backlog = Backlog(self._loop.time())
        self._reference = random.randrange(REFERENCES)
        self._under_way: UnderWay[tuple[str, int], Submission] = UnderWay()
        self._lingering = 0
        self._pruning = self._loop.create_task(self._prune())

    @property
    def lag(self) -> float:
        """Seconds from a message's beginning to the arrival of its first request here, of late; 0
        when none has come of late. Requests that come again do not count."""
        return self._backlog.lag(self._loop.time())

    @property
    def arrived(self) -> Mapping[str, int]:
        """Messages whose first request has come since the start, by tenant."""
        return self._backlog.arrived

    def queues(self) -> list[Queue]:
        """What waits for the carriers, by tenant and category."""
        return self._backlog.queues(self._loop.time())

    async def close(self) -> None:
        """Let what is under way finish for a moment, then unbind from every carrier."""
        self._pruning.cancel()
        self._lingering = LINGERING
        self._correlator.expect_nothing()
        await self._under_way.finished(within=0.3)
        await self.mesh.close()

    async def deliver(self, request: DeliveryRequest) -> Submission:
        """Submit one attempt, or say what became of it when it was begun before."""
        # A caller that gives up must not take the submission with it.
        key = (request.message, request.attempt)
        return await self._under_way.join(key, lambda: self._begin(request))

    async def release(self, ref: AttemptRef) -> None:
        """From now on, receipts of this attempt go to the Message object."""
        under_way = self._under_way.get((ref.message, ref.attempt))
        if under_way is not None:
            # Given up by the cascade before its answer: what it will be known by comes with that.
            await asyncio.wait([under_way])
        await self._correlator.release(ref.message, ref.attempt)

    async def begun_before(self, request: DeliveryRequest) -> Submission | None:
        """What became of an attempt that was begun before; None when nothing has been sent. For
        `around`, before it submits."""
        return await self._known(request, _now())

    # One attempt

    async def _begin(self, request: DeliveryRequest) -> Submission:
        if self._around is None:
            return await self._deliver(request)
        return await self._around(request, self._deliver)

    async def _deliver(self, request: DeliveryRequest) -> Submission:
        key = (request.message, request.attempt)
        begun_at = _now()
        if request.since is not None:
            lag = (begun_at - request.since).total_seconds()
            self._backlog.arrives(request.tenant, lag, self._loop.time())
        busy = False
        # From before the submission on: the receipt may overtake its answer.
        receipt = self._correlator.expect(*key) if self._may_linger(request) else None
        told = False
        try:
            try:
                routed = self.choice.choose(request)
                submission = await self._attempt(request, begun_at, routed.carriers)
                self.choice.answered(request, submission)
                submission = routed.told(submission)
                busy = submission.state is SubmissionState.BUSY
            finally:
                if not busy:
                    self._backlog.left(key)
            if submission.state is SubmissionState.TAKEN:
                self._backlog.took(request.tenant, self._loop.time())
            if receipt is not None and submission.state in _PERHAPS_SENT:
                submission = await self._with_receipt(request, submission, receipt)
                told = submission.receipt is not None
        finally:
            if receipt is not None:
                self._correlator.conclude(*key, told=told)
        return submission

    def _may_linger(self, request: DeliveryRequest) -> bool:
        # A receipt that comes to another process goes to the cascade, which keeps it until it has
        # this answer: it would wait for nothing.
        return request.with_receipt and self._lingering < LINGERING and not self._journal.shared

    async def _with_receipt(
        self, request: DeliveryRequest, submission: Submission, receipt: asyncio.Future[Forwarding]
    ) -> Submission:
        """The answer with its receipt, should that come within a moment."""
        if submission.receipt is not None:
            return submission
        left = (request.not_after - _now()).total_seconds() - SAID_BEFORE
        if submission.state is SubmissionState.TAKEN and left > 0 and not receipt.done():
            self._lingering += 1
            try:
                await asyncio.wait([receipt], timeout=min(LINGER, left))
            finally:
                self._lingering -= 1
        if not receipt.done() or receipt.cancelled():
            return submission
        return msgspec.structs.replace(submission, receipt=receipt.result()[1])

    async def _attempt(
        self, request: DeliveryRequest, begun_at: datetime, candidates: Sequence[Carrier]
    ) -> Submission:
        if not candidates:
            detail = f"no carrier {request.provider}" if request.provider else "no carrier fits"
            nobody = _failed(Failure(FailureCode.NOT_SUPPORTED, detail=detail), begun_at)
            return await self._known(request, begun_at) or nobody
        time_left = (request.not_after - begun_at).total_seconds()
        if time_left <= 0:
            too_late = _failed(Failure(FailureCode.TOO_LATE), begun_at)
            return await self._known(request, begun_at) or too_late
        # Said before the step's own timer fires, that nothing was sent is still heard.
        until = self._loop.time() + max(min(HOLD, time_left - SAID_BEFORE), 0.0)
        try:
            lease = await self._lease(request, candidates, until)
        except Unavailable as unavailable:
            return await self._known(request, begun_at) or self._busy(
                request, candidates[0].name, begun_at, str(unavailable), down=unavailable.down
            )
        except ValueError as error:
            return _failed(Failure(FailureCode.CONTENT_REJECTED, detail=str(error)), begun_at)
        try:
            pdus = self._encode(request, lease.carrier.config, begun_at)
            if not await self._journal.begin([part for part, _ in pdus]):
                known = await self._settled(request, until)
                if any(part.state is not PartState.RETURNED for part in known):
                    if not any(part.state is PartState.RETURNED for part in known):
                        return await self._told_again(request, known, begun_at)
                    # The parts of one message stay together.
                    first = known[0].carrier
                    if lease.carrier.name != first:
                        lease.give_back()
                        lease = await self._lease(request, [self.mesh.get(first)], until)
                    pdus = self._encode(request, lease.carrier.config, begun_at, known)
                for part, _ in pdus:
                    if part.state is PartState.RETURNED:
                        part.state = PartState.BEGUN
                if not await self._journal.reopen([part for part, _ in pdus]):
                    # Another process was faster.
                    known = await self._settled(request, until)
                    return await self._told_again(request, known, begun_at)
            return await self._submit(request, lease, pdus, until, begun_at)
        except PduError as error:
            failure = lease.carrier.means(error.command_status).failure(error.command_status)
            return _failed(failure, begun_at, lease.carrier.name)
        except ValueError as error:
            return _failed(Failure(FailureCode.CONTENT_REJECTED, detail=str(error)), begun_at)
        except (Unavailable, LookupError) as error:
            return self._busy(request, lease.carrier.name, begun_at, str(error), down=True)
        finally:
            lease.give_back()

    async def _known(self, request: DeliveryRequest, begun_at: datetime) -> Submission | None:
        """What became of an attempt that was begun before; None when nothing has been sent."""
        parts = await self._settled(request, self._loop.time() + HOLD)
        if not parts or any(part.state is PartState.RETURNED for part in parts):
            return None
        return await self._told_again(request, parts, begun_at)

    async def _told_again(
        self, request: DeliveryRequest, parts: Sequence[Part], begun_at: datetime
    ) -> Submission:
        """What became of an attempt that was begun before: nobody may have heard the answer, nor
        the receipt that went with it."""
        submission = self._verdict(request, parts, begun_at)
        if not request.with_receipt or submission.state not in _PERHAPS_SENT:
            return submission
        return msgspec.structs.replace(submission, receipt=await self._correlator.known(parts))

    async def _settled(self, request: DeliveryRequest, until: float) -> list[Part]:
        """The parts of an attempt that was begun before; waits, but not beyond `until`, for a
        process that is submitting them."""
        while True:
            parts = await self._journal.parts_of(request.message, request.attempt)
            if self._loop.time() >= until or not await self._journal.under_way(parts):
                return parts
            await asyncio.sleep(_LOOK_AGAIN)

    async def _lease(
        self, request: DeliveryRequest, candidates: Sequence[Carrier], until: float
    ) -> Lease:
        """Room on the first carrier that has some, waited for until then (loop time).

        Raises Unavailable, and ValueError for a text that no short messages can carry.
        """
        priority = PRIORITY[request.category]
        rebound_by = min(self._loop.time() + REBIND_PATIENCE, until)
        while True:
            usable = [carrier for carrier in candidates if carrier.usable]
            for carrier in usable:
                lease = carrier.try_lease(self._parts(request, carrier), priority)
                if lease is not None:
                    return lease
            now = self._loop.time()
            if usable:
                carrier = min(usable, key=_congestion)
                if now >= until or carrier.queued_before(priority) >= HELD:
                    raise Unavailable("the carriers take no more", down=False)
                key = (request.message, request.attempt)
                self._backlog.holds(key, request.tenant, request.category, now, until)
                try:
                    return await carrier.lease(
                        self._parts(request, carrier),
                        priority=priority,
                        tenant=request.tenant,
                        patience=until - now,
                    )
                except Unavailable as unavailable:
                    if not unavailable.down:
                        raise
            elif now >= rebound_by or not await self.mesh.change(rebound_by - now):
                reasons = {carrier.why_not() for carrier in candidates}
                raise Unavailable("; ".join(sorted(reasons)), down=True)

    def _parts(self, request: DeliveryRequest, carrier: Carrier) -> int:
        text = request.content.text
        # In whatever alphabet: most messages are not cut twice for this.
        return 1 if len(text) <= _ALWAYS_ONE_PART else len(cut(text, carrier.config, 0).parts)

    def _encode(
        self,
        request: DeliveryRequest,
        config: CarrierConfig,
        begun_at: datetime,
        known: Sequence[Part] = (),
    ) -> _Pdus:
        """The attempt's parts, new or as they are known, each with its submit_sm body."""
        reference = known[0].reference if known else self._reference
        text = cut(request.content.text, config, reference)
        total = len(text.parts)
        if not known:
            self._reference = (reference + total) % REFERENCES
        parts = known or [
            Part(
                message=request.message,
                attempt=request.attempt,
                part=index,
                parts=total,
                carrier=config.name,
                destination=request.to.lstrip("+"),
                reference=(reference + index) % REFERENCES,
                receipt_ref=request.receipt_ref,
                begun_at=begun_at.timestamp(),
            )
            for index in range(total)
        ]
        if len(parts) != total:
            raise ValueError("the carrier's settings changed between the parts of this message")
        return list(zip(parts, bodies(request, config, text, reference), strict=True))

    async def _submit(
        self,
        request: DeliveryRequest,
        lease: Lease,
        pdus: _Pdus,
        until: float,
        begun_at: datetime,
    ) -> Submission:
        """Write the parts that are begun, in order, until the carrier has answered each: what it
        throttled is tried again until then."""
        carrier = lease.carrier
        begun = [pdu for pdu in pdus if pdu[0].state is PartState.BEGUN]
        while True:
            await self._write(lease, begun, until)
            back = [pdu for pdu in begun if pdu[0].state is PartState.RETURNED]
            if not back or not carrier.usable or self._loop.time() >= until:
                break
            lease.give_back()
            try:
                lease = await carrier.lease(
                    len(back),
                    priority=PRIORITY[request.category],
                    tenant=request.tenant,
                    patience=until - self._loop.time(),
                )
            except Unavailable:
                break
            for part, _ in back:
                part.state = PartState.BEGUN
            begun = back
        lease.give_back()
        parts = [part for part, _ in pdus]
        settled = [self._journal.settle(p) for p in parts if p.state is not PartState.BEGUN]
        for written in settled:
            await written
        return self._verdict(request, parts, begun_at)

    async def _write(self, lease: Lease, pdus: _Pdus, until: float) -> None:
        carrier = lease.carrier
        sent_at = self._loop.time()
        answers = []
        for part, body in pdus:
            self._correlator.submitting(part)
            answers.append((part, lease.submit(body, until)))
        for part, answer in answers:
            try:
                status, smsc_id = await answer
            except (NotWritten, NotBound):
                part.state = PartState.RETURNED
            except OutcomeUnknownError as lost:
                carrier.counters.unknown += 1
                logger.warning("%s/%d: no answer: %s", part.message, part.attempt, lost)
                if isinstance(lost, ResponseTimeout):
                    self._await_late(carrier, part, lost.late, sent_at)
            else:
                self._note_answer(carrier, part, status, smsc_id, sent_at)
            self._correlator.answered(part)

    def _note_answer(
        self, carrier: Carrier, part: Part, status: int, smsc_id: str, sent_at: float
    ) -> None:
        carrier.answered(status, sent_at)
        part.command_status = status
        if not status:
            part.state = PartState.ACCEPTED
            part.smsc_id = comparable(smsc_id, carrier.config.ids.response) if smsc_id else None
        elif carrier.means(status).throttled:
            part.state = PartState.RETURNED
        else:
            part.state = PartState.REFUSED

    def _await_late(
        self,
        carrier: Carrier,
        part: Part,
        late: asyncio.Future[tuple[int, str]],
        sent_at: float,
    ) -> None:
        """A response that comes after its timer still brings the id that a receipt will name."""

        def known(written: asyncio.Future[int]) -> None:
            if not written.cancelled() and written.exception() is None:
                self._correlator.answered(part)

        def came(answer: asyncio.Future[tuple[int, str]]) -> None:
            if answer.cancelled() or answer.exception() is not None or part.smsc_id is not None:
                return
            self._note_answer(carrier, part, *answer.result(), sent_at)
            if part.state is PartState.RETURNED:
                # The cascade has been told that nobody knows, and acts on that.
                part.state = PartState.REFUSED
            self._journal.settle(part).add_done_callback(known)

        late.add_done_callback(came)

    # What it means

    def _verdict(
        self, request: DeliveryRequest, parts: Sequence[Part], begun_at: datetime
    ) -> Submission:
        """What the parts' states mean for the attempt."""
        carrier = parts[0].carrier
        states = {part.state for part in parts}
        if PartState.REFUSED in states:
            refused = next(part for part in parts if part.state is PartState.REFUSED)
            status = refused.command_status or 0
            return _failed(self.mesh.failure(carrier, status), begun_at, carrier)
        if PartState.BEGUN in states:
            return Submission(
                SubmissionState.UNKNOWN,
                at=_now(),
                begun_at=begun_at,
                provider=carrier,
                failure=Failure(FailureCode.OUTCOME_UNKNOWN),
            )
        if PartState.RETURNED in states:
            returned = next(part for part in parts if part.state is PartState.RETURNED)
            status = returned.command_status or 0
            return self._busy(request, carrier, begun_at, None, status=status)
        return Submission(
            SubmissionState.TAKEN,
            at=_now(),
            begun_at=begun_at,
            provider=carrier,
            level=Level.SENT,
            provider_ids=tuple(part.smsc_id or "" for part in parts),
            segments=len(parts),
        )

    def _busy(
        self,
        request: DeliveryRequest,
        carrier: str,
        begun_at: datetime,
        detail: str | None,
        *,
        status: int = 0,
        down: bool = False,
    ) -> Submission:
        rate = sum(c.drain_rate for c in self.mesh.carriers)
        after = self._backlog.returns(
            (request.message, request.attempt),
            request.tenant,
            request.category,
            self._loop.time(),
            rate,
        )
        if status:
            failure = self.mesh.failure(carrier, status)
        else:
            code = FailureCode.PROVIDER_UNAVAILABLE if down else FailureCode.PROVIDER_THROTTLED
            failure = Failure(code, detail=detail)
        return Submission(
            SubmissionState.BUSY,
            at=_now(),
            begun_at=begun_at,
            provider=carrier,
            failure=failure,
            retry_after=round(after, 3),
        )

    # What the carriers deliver

    def _deliverer(self, carrier: str) -> OnDeliver:
        def on_deliver(session: EsmeSession, sequence: int, pdu: DeliverSm | DataSm) -> None:
            config = self.mesh.get(carrier).config
            if self._correlator.on_receipt(carrier, session, sequence, pdu, config.ids.receipt):
                self.mesh.get(carrier).counters.receipts += 1
            elif self._on_inbound is not None:
                self._on_inbound(carrier, session, sequence, pdu)
            else:
                # Inbound messages have nowhere to go: refused, so that the carrier knows.
                logger.warning("carrier %s: deliver_sm is not a receipt, refused", carrier)
                session.acknowledge(sequence, pdu.command_id, CommandStatus.ESME_RX_P_APPN)

        return on_deliver

    async def _prune(self) -> None:
        while True:
            await self._journal.prune(time.time() - KEEP)
            await asyncio.sleep(_PRUNE_EVERY)


def _congestion(carrier: Carrier) -> float:
    """Roughly how long its queue is, in seconds."""
    return carrier.queued / max(carrier.drain_rate, 1.0)


def _failed(failure: Failure, begun_at: datetime, carrier: str | None = None) -> Submission:
    return Submission(
        SubmissionState.FAILED, at=_now(), begun_at=begun_at, provider=carrier, failure=failure
    )


def _now() -> datetime:
    return datetime.now(UTC)
