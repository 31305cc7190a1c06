"""One message's progress inside its durable handler: its record, its attempts, its signals.

`virtual_objects/message.py` tells the story; this keeps the book. Nothing here reads a clock: the
times come from the order, from delivery handlers and receipts, and from Restate where a timer
fired.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from restate import (
    ObjectContext,
    RestateDurableCallFuture,
    RestateDurableFuture,
    RunOptions,
    TerminalError,
    wait_completed,
)

from adapters.restate.serde import JsonSerde
from domain.cascade import retry_delay
from domain.channels import CHANNELS
from domain.delivery import (
    AttemptRef,
    Cancel,
    DeliveryRequest,
    Receipt,
    Signal,
    Submission,
    SubmissionState,
    delivery_service,
)
from domain.failures import Failure, FailureCode
from domain.message import NO_CONTENT, Level, MessageOrder, Step
from domain.ports import MessageLog
from domain.timeline import Entry, Event, Record, Snapshot, Status

ORDER: JsonSerde[MessageOrder] = JsonSerde(MessageOrder)
SNAPSHOT: JsonSerde[Snapshot] = JsonSerde(Snapshot)
SIGNAL: JsonSerde[Signal] = JsonSerde(Signal)
REQUEST: JsonSerde[DeliveryRequest] = JsonSerde(DeliveryRequest)
SUBMISSION: JsonSerde[Submission] = JsonSerde(Submission)
RELEASE: JsonSerde[AttemptRef] = JsonSerde(AttemptRef)
_TIME: JsonSerde[datetime] = JsonSerde(datetime)

STATE = "message"
"""The object's one state key: each key is a journal entry a change, and they change together."""

WAITING = 0
"""The attempt number under which a scheduled message can be canceled."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step's time is over."""

    at: datetime


@dataclass(frozen=True, slots=True)
class PauseOver:
    """The wait before another submission is over; `busy` when the last one was not taken up."""

    busy: bool


Happening = Submission | Receipt | Cancel | TimedOut | PauseOver


class Journey:
    """The book of one message, from its order to its end."""

    def __init__(self, ctx: ObjectContext, order: MessageOrder, log: MessageLog) -> None:
        self._ctx = ctx
        self._log = log
        self.order = order
        self.now = order.accepted_at
        self.record = Record(
            status=Status.PROCESSING, timeline=[Entry(order.accepted_at, Event.ACCEPTED)]
        )
        self.attempt = WAITING
        self.tries = 0
        self.resends = 0
        self._busy = False
        self._unsettled = False
        self._unknown_on: set[str] = set()
        self._step_number = 0
        self._step: Step = order.plan[0]
        self._steps_of_attempts: dict[int, Step] = {}
        self._early: list[Receipt] = []
        self._open_attempts: set[int] = set()
        self._signals: dict[int, RestateDurableFuture[Signal]] = {}
        self._call: RestateDurableCallFuture[Submission] | None = None
        self._pause: RestateDurableFuture[None] | None = None
        self._timeout: RestateDurableFuture[None] | None = None

    @property
    def expired(self) -> bool:
        """True when the message's time to live is over, as far as the book knows the time."""
        return self.now >= self.order.expires_at

    def note(self, event: Event, at: datetime, **facts: Any) -> None:
        """Add a line to the timeline."""
        self.now = max(self.now, at)
        self.record.timeline.append(Entry(at, event, **facts))

    def save(self) -> None:
        """Show the record to the shared handlers."""
        self._ctx.set(STATE, Snapshot(self.order, self.record), serde=SNAPSHOT)

    # Waiting for a scheduled time

    async def wait_until(self, send_at: datetime) -> Cancel | None:
        """Sleep until `send_at`; returns the cancellation if there is one before."""
        self.note(Event.SCHEDULED, self.now)
        self.record.status = Status.SCHEDULED
        self._open(WAITING)
        self.save()
        now = await self.clock()
        self._timeout = self._ctx.sleep(max(send_at - now, timedelta(0)))
        happening = await self.next()
        if isinstance(happening, Cancel):
            return happening
        self.record.status = Status.PROCESSING
        await self._ctx.run_typed("log the start", self._log_start)
        return None

    # Steps and attempts

    def turn_to(self, step: Step) -> None:
        """Begin a step: its timer starts now."""
        self._step = step
        self._step_number += 1
        self._unsettled = False
        self.resends = 0
        self.tries = 0
        self.record.channel = step.channel
        self.note(Event.STEP, self.now, step=self._step_number, channel=step.channel)
        left = (self.order.expires_at - self.now).total_seconds()
        self._timeout = self._ctx.sleep(timedelta(seconds=max(min(step.timeout, left), 0)))

    def begin_attempt(self) -> None:
        """Open a new attempt on the current step and hand it to the channel."""
        self.attempt += 1
        self.resends += self._unsettled
        self._unsettled = False
        self._steps_of_attempts[self.attempt] = self._step
        self._open(self.attempt)
        self.submit()

    def submit(self) -> None:
        """Hand the current attempt to the channel, again if it was too busy to take it."""
        self.tries += 1
        self._pause = None
        request = DeliveryRequest(
            message=self._ctx.key(),
            attempt=self.attempt,
            tenant=self.order.tenant,
            to=self.order.to[self._step.channel],
            content=self.order.content,
            receipt_ref=self.record.refs[self.attempt],
            not_after=self.order.expires_at,
            category=self.order.category,
            policy=self.order.policy,
            provider=self._step.provider,
            sender=self._step.sender,
        )
        self._call = self._ctx.generic_call(  # type: ignore[assignment]
            delivery_service(self._step.channel), "deliver", REQUEST.serialize(request)
        )
        self.save()

    def pause(self, seconds: float | None, *, busy: bool = False) -> None:
        """Wait before the next submission, as long as the provider asks or by backoff."""
        self._busy = busy
        self._pause = self._ctx.sleep(retry_delay(self.tries, seconds))

    def wait_for_proof(self, grace: timedelta) -> None:
        """Give a receipt the chance to settle an attempt whose outcome is unknown."""
        self._unsettled = True
        self._busy = False
        self._unknown_on.add(self._step.channel)
        self._pause = self._ctx.sleep(grace)

    def may_have_arrived_by(self, channel: str) -> bool:
        """True when an attempt on this channel has an outcome that nobody knows: sending again
        may give the recipient the message twice."""
        return channel in self._unknown_on

    def discard_attempt(self) -> None:
        """Stop listening for an attempt that was certainly not sent."""
        self._signals.pop(self.attempt, None)

    def listen_again(self, attempt: int) -> None:
        """Open a new awakeable for an attempt whose last one has been used."""
        if attempt not in self._signals:
            self._open(attempt)

    async def leave_step(self) -> None:
        """Drop the step's timers and take back a submission that was not answered in time.

        Receipts of the step's attempts are still listened to.
        """
        self._pause = None
        self._timeout = None
        if self._call is not None:
            await self._call.cancel_invocation()
            self._call = None

    def step_of(self, receipt: Receipt) -> Step:
        """The step that the receipt's attempt belongs to."""
        return self._steps_of_attempts.get(receipt.attempt, self._step)

    async def next(self) -> Happening:
        """The next thing that happens: a submission's answer, a signal, or a timer.

        A receipt may overtake the answer of its own submission; it is kept until that is told.
        """
        while True:
            if self._early and self._call is None:
                return self._early.pop(0)
            waited = [f for f in (self._call, self._pause, self._timeout) if f is not None]
            completed, _ = await wait_completed(*waited, *self._signals.values())
            first = completed[0]
            if first is self._call:
                call, self._call = self._call, None
                return await self._answer(call)
            if first is self._pause:
                self._pause = None
                return PauseOver(self._busy)
            if first is self._timeout:
                self._timeout = None
                return self._early.pop(0) if self._early else TimedOut(await self.clock())
            attempt = next(a for a, signal in self._signals.items() if signal is first)
            heard = await self._signals.pop(attempt)
            if self._call is None or isinstance(heard, Cancel) or attempt != self.attempt:
                return heard
            self._early.append(heard)
            self.listen_again(attempt)
            self.save()

    async def clock(self) -> datetime:
        """The wall clock, journalled."""
        self.now = max(self.now, datetime.fromtimestamp(await self._ctx.time(), UTC))
        return self.now

    def _open(self, attempt: int) -> None:
        ref, signal = self._ctx.awakeable(serde=SIGNAL)
        self._signals[attempt] = signal
        self.record.refs[attempt] = ref

    async def _answer(self, call: RestateDurableCallFuture[Any]) -> Submission:
        try:
            answer = SUBMISSION.deserialize(await call)
        except TerminalError as error:
            # Killed or canceled by an operator: nobody can say whether the provider has it.
            failure = Failure(FailureCode.OUTCOME_UNKNOWN, detail=error.message)
            return Submission(SubmissionState.UNKNOWN, at=await self.clock(), failure=failure)
        assert answer is not None
        return answer

    # What the record says

    @property
    def unsettled(self) -> bool:
        """True while the current attempt's outcome is unknown."""
        return self._unsettled

    def fail(self, failure: Failure) -> None:
        """Remember why the message has not arrived so far."""
        self.record.failure = failure

    def note_submission(self, event: Event, submission: Submission, **facts: Any) -> None:
        """Add a submission's answer to the timeline; the same answer in a row is one line."""
        last = self.record.timeline[-1]
        if (last.event, last.step, last.failure) == (event, self._step_number, submission.failure):
            return
        if submission.state in (SubmissionState.TAKEN, SubmissionState.UNKNOWN):
            self._open_attempts.add(self.attempt)
        self.note(
            event,
            submission.at,
            step=self._step_number,
            channel=self._step.channel,
            attempt=self.attempt,
            provider=submission.provider,
            level=submission.level,
            failure=submission.failure,
            provider_ids=submission.provider_ids,
            segments=submission.segments,
            **facts,
        )

    def note_receipt(self, receipt: Receipt) -> None:
        """Add a receipt to the timeline, and what it proves to the record."""
        step = self.step_of(receipt)
        self.note(
            Event.RECEIPT,
            receipt.at,
            channel=step.channel,
            attempt=receipt.attempt,
            provider=receipt.provider,
            level=receipt.level,
            failure=receipt.failure,
            provider_status=receipt.provider_status,
            late=step is not self._step,
            receipt_id=receipt.id,
        )
        if receipt.final:
            self._open_attempts.discard(receipt.attempt)
        if receipt.level is not None:
            self.reached(receipt.level)
            if receipt.level.reaches(step.success):
                self.record.channel = step.channel

    def note_timeout(self, at: datetime) -> None:
        """Add the step's timeout."""
        self.note(Event.TIMEOUT, at, step=self._step_number, channel=self._step.channel)

    def reached(self, level: Level) -> None:
        """Remember the furthest level proven."""
        if self.record.level is None or level.reaches(self.record.level):
            self.record.level = level

    # The end

    async def close(self, status: Status) -> Record:
        """End the message: the log has its record before the state says so."""
        self.record.status = status
        if status in (Status.SENT, Status.DELIVERED):
            self.record.failure = None
        self.record.refs = {}
        ended_at = await self._ctx.run_typed("log the end", self._log_end, RunOptions(serde=_TIME))
        self._sign_off(self.record, ended_at)
        self.order = msgspec.structs.replace(self.order, content=NO_CONTENT)
        self.save()
        self._release()
        return self.record

    def _release(self) -> None:
        """Tell the channels that nobody listens any more to attempts that may still be reported
        on: what comes now goes to the Message object's `receipt`."""
        for attempt in sorted(self._open_attempts):
            channel = self._steps_of_attempts[attempt].channel
            if CHANNELS[channel].provable.reaches(Level.DELIVERED):
                ref = AttemptRef(self._ctx.key(), attempt)
                self._ctx.generic_send(delivery_service(channel), "release", RELEASE.serialize(ref))

    @staticmethod
    def _sign_off(record: Record, at: datetime) -> None:
        record.ended_at = at
        record.timeline.append(Entry(at, Event.ENDED, status=record.status))

    async def _log_start(self) -> None:
        await self._log.started(self._ctx.key(), self.order)

    async def _log_end(self) -> datetime:
        # A retry must not sign the shared record twice.
        record = msgspec.structs.replace(self.record, timeline=list(self.record.timeline))
        ended_at = datetime.now(UTC)
        self._sign_off(record, ended_at)
        await self._log.ended(self._ctx.key(), self.order, record)
        return ended_at
