"""The bind pool: takes delivery requests, submits them, and brings the receipts home.

The order of writing is what makes it trustworthy: attempt journalled → submit_sm; response
journalled → answer; receipt journalled → deliver_sm_resp → Restate.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from adapters.smpp.constants import CommandStatus, EsmClass, Tag, status_name
from adapters.smpp.correlator import Correlator
from adapters.smpp.journal import Journal, Part, PartState
from adapters.smpp.link import Account, Link, Slot, Unavailable
from adapters.smpp.outcomes import BUSY, refusal
from adapters.smpp.pdu import DataSm, DeliverSm, PduError, SubmitSm
from adapters.smpp.session import (
    EsmeSession,
    NotBound,
    OnDeliver,
    OutcomeUnknownError,
    WindowFull,
)
from domain.delivery import AttemptRef, DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level
from domain.sms.segmentation import SegmentedText, segment

logger = logging.getLogger(__name__)

SLOT_PATIENCE = 1.0
"""Seconds that a request waits for a window slot before the answer is "busy"."""
RETRY_AFTER = 0.5
"""Seconds after which a busy pool wants to be asked again."""
KEEP = 8 * 86400.0
"""Seconds for which the journal is kept: longer than any message lives."""

_INTERNATIONAL = 1
_ALPHANUMERIC = 5
_ISDN = 1
_RECEIPT_ALWAYS = 1
_PRUNE_EVERY = 3600.0
_REFERENCE_TLV = int(Tag.USER_MESSAGE_REFERENCE)
_UDHI = int(EsmClass.UDHI)
_REFERENCES = 0x10000


class BindPool:
    """Every carrier connection of one process. Made on a running event loop."""

    def __init__(
        self, accounts: Sequence[Account], journal: Journal, correlator: Correlator
    ) -> None:
        self._journal = journal
        self._correlator = correlator
        self._links = {
            account.name: Link(account, self._deliverer(account.name)) for account in accounts
        }
        self._reference = random.randrange(_REFERENCES)
        self._under_way: dict[tuple[str, int], asyncio.Task[Submission]] = {}
        self._pruning = asyncio.get_running_loop().create_task(self._prune())

    @property
    def links(self) -> Sequence[Link]:
        """The connections, for health checks."""
        return tuple(self._links.values())

    async def close(self) -> None:
        """Let what is under way finish for a moment, then unbind from every carrier."""
        self._pruning.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=0.3)
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def deliver(self, request: DeliveryRequest) -> Submission:
        """Submit one attempt, or say what became of it when it was begun before."""
        key = (request.message, request.attempt)
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._deliver(request))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # A caller that gives up must not take the submission with it.
        return await asyncio.shield(task)

    async def release(self, ref: AttemptRef) -> None:
        """From now on, receipts of this attempt go to the Message object."""
        under_way = self._under_way.get((ref.message, ref.attempt))
        if under_way is not None:
            # Given up by the cascade before its answer: what it will be known by comes with that.
            await asyncio.wait([under_way])
        await self._correlator.release(ref.message, ref.attempt)

    async def _deliver(self, request: DeliveryRequest) -> Submission:
        begun_at = _now()
        link = self._choose(request)
        if link is None:
            return _failed(Failure(FailureCode.NOT_SUPPORTED, detail="no such carrier"), begun_at)
        time_left = (request.not_after - begun_at).total_seconds()
        if time_left <= 0:
            too_late = _failed(Failure(FailureCode.TOO_LATE), begun_at)
            return await self._known(request, begun_at) or too_late
        try:
            slot = await link.slot(min(SLOT_PATIENCE, time_left))
        except Unavailable as unavailable:
            busy = _busy(link.account.name, begun_at, str(unavailable))
            return await self._known(request, begun_at) or busy
        try:
            pdus = self._encode(request, link.account, begun_at)
            if not await self._journal.begin([part for part, _ in pdus]):
                known = await self._journal.parts_of(request.message, request.attempt)
                verdict = _verdict(known, begun_at)
                if verdict.state is not SubmissionState.BUSY:
                    slot.give_back()
                    return verdict
                pdus = await self._take_up(request, link.account, known)
        except PduError as error:
            slot.give_back()
            return _failed(refusal(error.command_status), begun_at)
        except ValueError as error:
            slot.give_back()
            return _failed(Failure(FailureCode.CONTENT_REJECTED, detail=str(error)), begun_at)
        except BaseException:
            slot.give_back()
            raise
        await self._submit(link, slot, pdus)
        return _verdict([part for part, _ in pdus], begun_at)

    async def _known(self, request: DeliveryRequest, begun_at: datetime) -> Submission | None:
        """What became of an attempt that was begun before; None when nothing has been sent."""
        parts = await self._journal.parts_of(request.message, request.attempt)
        verdict = _verdict(parts, begun_at) if parts else None
        return None if verdict is None or verdict.state is SubmissionState.BUSY else verdict

    def _choose(self, request: DeliveryRequest) -> Link | None:
        if request.provider is not None:
            return self._links.get(request.provider)
        return next(iter(self._links.values()), None)

    def _encode(
        self, request: DeliveryRequest, account: Account, begun_at: datetime
    ) -> list[tuple[Part, bytes]]:
        """The attempt's parts, each with its submit_sm body."""
        text = segment(request.content.text, reference=self._reference & 0xFF)
        parts = [
            Part(
                message=request.message,
                attempt=request.attempt,
                part=index,
                parts=len(text.parts),
                carrier=account.name,
                destination=request.to.lstrip("+"),
                reference=(self._reference + index) % _REFERENCES,
                receipt_ref=request.receipt_ref,
                begun_at=begun_at.timestamp(),
            )
            for index in range(len(text.parts))
        ]
        self._reference = (self._reference + len(parts)) % _REFERENCES
        return _bodies(request, account, parts, text)

    async def _take_up(
        self, request: DeliveryRequest, account: Account, known: list[Part]
    ) -> list[tuple[Part, bytes]]:
        """An attempt that was begun before, of which some parts were certainly not taken."""
        text = segment(request.content.text, reference=known[0].reference & 0xFF)
        for part in known:
            if part.state is PartState.RETURNED:
                part.state = PartState.BEGUN
                await self._journal.settle(part)
        return _bodies(request, account, known, text)

    async def _submit(self, link: Link, slot: Slot, pdus: list[tuple[Part, bytes]]) -> None:
        """Write the parts that are begun, in order, and note what the carrier answers."""
        answers = []
        reserved: Slot | None = slot
        for part, body in pdus:
            if part.state is not PartState.BEGUN:
                continue
            try:
                reserved = reserved or await link.slot(SLOT_PATIENCE)
                self._correlator.submitting(part)
                answers.append((part, reserved.use(body)))
            except (Unavailable, NotBound, WindowFull):
                part.state = PartState.RETURNED
                self._correlator.answered(part)
            reserved = None
        for part, answer in answers:
            try:
                status, smsc_id = await answer
            except OutcomeUnknownError as lost:
                logger.warning("%s/%d: no answer: %s", part.message, part.attempt, lost)
            else:
                part.command_status = status
                if status == 0:
                    part.state, part.smsc_id = PartState.ACCEPTED, smsc_id or None
                else:
                    part.state = PartState.RETURNED if status in BUSY else PartState.REFUSED
            self._correlator.answered(part)
        for written in [self._journal.settle(p) for p, _ in pdus if p.state is not PartState.BEGUN]:
            await written

    def _deliverer(self, carrier: str) -> OnDeliver:
        def on_deliver(session: EsmeSession, sequence: int, pdu: DeliverSm | DataSm) -> None:
            if not self._correlator.on_receipt(carrier, session, sequence, pdu):
                # Inbound messages have nowhere to go: refused, so that the carrier knows.
                logger.warning("carrier %s: deliver_sm is not a receipt, refused", carrier)
                session.acknowledge(sequence, pdu.command_id, CommandStatus.ESME_RX_P_APPN)

        return on_deliver

    async def _prune(self) -> None:
        while True:
            await self._journal.prune(time.time() - KEEP)
            await asyncio.sleep(_PRUNE_EVERY)


def _bodies(
    request: DeliveryRequest, account: Account, parts: Sequence[Part], text: SegmentedText
) -> list[tuple[Part, bytes]]:
    sender = request.sender or account.default_sender
    numeric = sender.lstrip("+").isdigit()
    pdus = []
    for part, payload in zip(parts, text.parts, strict=True):
        udh = text.udh(part.part)
        pdu = SubmitSm(
            source_addr_ton=_INTERNATIONAL if numeric else _ALPHANUMERIC,
            source_addr_npi=_ISDN if numeric else 0,
            source_addr=sender.lstrip("+"),
            dest_addr_ton=_INTERNATIONAL,
            dest_addr_npi=_ISDN,
            destination_addr=part.destination,
            esm_class=_UDHI if udh else 0,
            registered_delivery=_RECEIPT_ALWAYS,
            data_coding=text.data_coding,
            short_message=udh + payload,
            tlvs={_REFERENCE_TLV: part.reference.to_bytes(2, "big")},
        )
        pdus.append((part, pdu.encode_body()))
    return pdus


def _verdict(parts: Sequence[Part], begun_at: datetime) -> Submission:
    """What the parts' states mean for the attempt."""
    carrier = parts[0].carrier
    states = {part.state for part in parts}
    if PartState.REFUSED in states:
        refused = next(part for part in parts if part.state is PartState.REFUSED)
        return _failed(refusal(refused.command_status or 0), begun_at, carrier)
    if PartState.BEGUN in states:
        return Submission(
            SubmissionState.UNKNOWN,
            at=_now(),
            begun_at=begun_at,
            provider=carrier,
            failure=Failure(FailureCode.OUTCOME_UNKNOWN),
        )
    if PartState.RETURNED in states:
        throttled = next(part for part in parts if part.state is PartState.RETURNED)
        return _busy(carrier, begun_at, None, throttled.command_status)
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
    carrier: str, begun_at: datetime, detail: str | None, command_status: int | None = None
) -> Submission:
    if command_status:
        name = status_name(command_status)
        failure = Failure(FailureCode.PROVIDER_THROTTLED, provider_code=name)
    else:
        failure = Failure(FailureCode.PROVIDER_UNAVAILABLE, detail=detail)
    return Submission(
        SubmissionState.BUSY,
        at=_now(),
        begun_at=begun_at,
        provider=carrier,
        failure=failure,
        retry_after=RETRY_AFTER,
    )


def _failed(failure: Failure, begun_at: datetime, carrier: str | None = None) -> Submission:
    return Submission(
        SubmissionState.FAILED, at=_now(), begun_at=begun_at, provider=carrier, failure=failure
    )


def _now() -> datetime:
    return datetime.now(UTC)
