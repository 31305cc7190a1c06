"""One message's progress inside its durable handler: its record, its attempts, its signals.

`virtual_objects/message.py` tells the story; this keeps the book. Nothing here reads a clock: the
times come from the order, from delivery handlers and receipts, and from Restate where a timer
fired.
"""

from __future__ import annotations

from collections.abc import Callable
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
from domain.callback import PROGRESS
from domain.cascade import retry_delay
from domain.channels import CHANNELS
from domain.delivery import (
    ADAPTER_SERVICE,
    SANDBOX_SERVICE,
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
from domain.message import Level, MessageOrder, Step
from domain.mode import Mode
from domain.ports import MessageLog, SecondLook
from domain.providers import OWN, Providers, Turn
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

TRIES_LISTED = 20
"""Failed attempts of a step that each have a line of their own in the timeline."""

STALE_AFTER = timedelta(seconds=5)
"""How long one relies on what was found at acceptance, or at a later look: what is sent after that
is asked about again."""

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


@dataclass(frozen=True, slots=True)
class Barred:
    """What was to be sent may not be sent any more."""

    failure: Failure


Happening = Submission | Receipt | Cancel | TimedOut | PauseOver | Barred


class Looked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a second look found, as the journal keeps it: why nothing may be sent, if so."""

    at: datetime
    failure: Failure | None = None


# Without end: nobody knows, so it is neither sent nor failed. With intervals of its own, a run is
# not paused after the server's number of attempts; `_look` answers by itself once the message's
# time is over.
_LOOK: RunOptions[Looked] = RunOptions(
    serde=JsonSerde(Looked),
    initial_retry_interval=timedelta(milliseconds=200),
    max_retry_interval=timedelta(seconds=5),
)


class Journey:
    """The book of one message, from its order to its end."""

    def __init__(
        self, ctx: ObjectContext, order: MessageOrder, log: MessageLog, second_look: SecondLook
    ) -> None:
        self._ctx = ctx
        self._log = log
        self._second_look = second_look
        self.order = order
        self.now = order.accepted_at
        self.record = Record(
            status=Status.PROCESSING, timeline=[Entry(order.accepted_at, Event.ACCEPTED)]
        )
        self.attempt = WAITING
        self.tries = 0
        self.resends = 0
        self.repeats = False
        """Whether the recipient might have had the message already when it was last handed over:
        what became known later does not call it back."""
        self.step_failure: Failure | None = None
        self._refusals: dict[FailureCode | None, Failure | None] = {}
        self._busy = False
        self._unsettled = False
        self._unknown: set[int] = set()
        self._arrived_by: str | None = None
        self._step_number = 0
        self._step: Step = order.plan[0]
        self._providers = Providers(())
        self._steps_of_attempts: dict[int, Step] = {}
        self._by_adapter: set[int] = set()
        self._early: list[Receipt] = []
        self._open_attempts: set[int] = set()
        self._signals: dict[int, RestateDurableFuture[Signal]] = {}
        self._call: RestateDurableCallFuture[Submission] | None = None
        self._pause: RestateDurableFuture[None] | None = None
        self._timeout: RestateDurableFuture[None] | None = None
        self._due = order.expires_at
        self._begins = False
        self._rested = order.accepted_at
        self._looked = order.accepted_at
        self._asked = order.accepted_at
        self._question: RestateDurableFuture[Looked] | None = None
        self._due_now: Callable[[], None] | None = None
        self._time_is_up = False
        self._unsaved = False
        self._news: list[int] = []

    @property
    def expired(self) -> bool:
        """True when the message's time to live is over, as far as the book knows the time."""
        return self.now >= self.order.expires_at

    def note(self, event: Event, at: datetime, **facts: Any) -> None:
        """Add a line to the timeline, which never runs backwards: what is told late, or by a clock
        that is behind, counts from when the book knows of it."""
        self.now = max(self.now, at)
        if self.order.tell and event in PROGRESS:
            self._news.append(len(self.record.timeline))
        self.record.timeline.append(Entry(self.now, event, **facts))

    def save(self) -> None:
        """Show the record to the shared handlers, from the next moment on in which the journey
        waits: what changes before that is one change."""
        self._unsaved = True

    def _show(self) -> None:
        if self._unsaved:
            self._unsaved = False
            self._ctx.set(STATE, Snapshot(self.order, self.record), serde=SNAPSHOT)

    # Waiting for a scheduled time

    async def wait_until(self, send_at: datetime) -> Cancel | None:
        """Sleep until `send_at`; returns the cancellation if there is one before."""
        self.note(Event.SCHEDULED, self.now)
        self.record.status = Status.SCHEDULED
        self._open(WAITING)
        self.save()
        now = await self.clock()
        self._due = send_at
        self._timeout = self._ctx.sleep(max(send_at - now, timedelta(0)))
        while not isinstance(happening := await self.next(), TimedOut):
            if isinstance(happening, Cancel):
                return happening
            # A report on a message that was never sent.
            self.listen_again()
            self.save()
        self.record.status = Status.PROCESSING
        await self._ctx.run_typed("log the start", self._log_start)
        return None

    def rest(self, channel: str, until: datetime) -> None:
        """Let the next step wait for the end of the recipient's quiet hours; `next` says
        TimedOut then."""
        self.note(Event.QUIET_HOURS, self.now, channel=channel)
        if not self.record.refs:
            self._open(WAITING)
        self.save()
        self._due = until
        self._time_is_up = False
        self._timeout = self._ctx.sleep(max(until - self.now, timedelta(0)))

    # Steps and attempts

    def turn_to(self, step: Step) -> None:
        """Begin a step: its timer starts when its first attempt is handed over."""
        self._step = step
        self._providers = Providers(() if self._in_sandbox else step.adapters)
        self._step_number += 1
        self._unsettled = False
        self.resends = 0
        self.tries = 0
        self.step_failure = None
        self._refusals = {}
        self.record.channel = step.channel
        self.note(
            Event.STEP, self.now, step=self._step_number, channel=step.channel, route=step.route
        )
        self._time_is_up = False
        self._timeout = None
        self._begins = True

    def count_from_now(self) -> timedelta:
        """Fix the end of the step's time, and return how far away it is."""
        left = (self.order.expires_at - self.now).total_seconds()
        lasting = timedelta(seconds=max(min(self._step.timeout, left), 0))
        self._due = self.now + lasting
        return lasting

    def begin_attempt(self) -> None:
        """Open a new attempt on the current step and hand it to the channel; `next` does so first,
        if it may."""
        self._due_now = self._begin

    def submit(self) -> None:
        """Hand the current attempt to the channel, again if it was too busy to take it; `next` does
        so first, if it may."""
        self._due_now = self._submit

    def _begin(self) -> None:
        self.attempt += 1
        self.resends += self._unsettled
        self._unsettled = False
        self._steps_of_attempts[self.attempt] = self._step
        if self.attempt not in self._signals:
            self._open(self.attempt)
        self._submit()

    def _submit(self) -> None:
        self.tries += 1
        self._pause = None
        service, provider = self._whose_turn()
        self.repeats = self.may_have_arrived_by(self._step.channel)
        self._open_attempts.add(self.attempt)
        request = DeliveryRequest(
            message=self._ctx.key(),
            attempt=self.attempt,
            tenant=self.order.tenant,
            to=self.order.to[self._step.channel],
            content=self.order.content.on(self._step.channel),
            receipt_ref=self.record.refs[self.attempt],
            not_after=self._due,
            category=self.order.category,
            policy=self.order.policy,
            provider=provider,
            sender=self._step.sender,
            since=self.now if self.attempt == self.tries == 1 else None,
            with_receipt=self._step.success.reaches(Level.DELIVERED),
            channel=None if service == self._own_service else self._step.channel,
            tries=self.tries if self._in_sandbox else 1,
            mode=self.order.mode,
            recipient=self.order.recipient,
        )
        self._call = self._ctx.generic_call(  # type: ignore[assignment]
            service, "deliver", REQUEST.serialize(request)
        )
        self.save()

    def _hand_over(self) -> None:
        """Do what is due now, or ask first whether it may be done.

        What was found at acceptance holds for a message that is sent at once, which asks nobody and
        has no entry for it in its journal. After STALE_AFTER it is asked again, before every step
        and every try: whoever wrote STOP meanwhile gets nothing more. The answer is journalled, and
        whether to ask follows from times that are: a replay asks at the same places, and hears the
        same.

        A message that began with code from before this was here may have journalled a later
        submission without this entry, and would not fit. It is pinned to the deployment that it
        began on, where that code still runs (CONTRIBUTING.md, "the durable handlers"). `hermes up`,
        which registers new code in the old one's place, carries on with all that wait for their
        time, for the end of quiet hours or in their first step's first try: there, both journals
        are the same up to here.
        """
        if self._due_now is None or self._question is not None:
            return
        if self.now - self._looked < STALE_AFTER:
            due, self._due_now = self._due_now, None
            if self._begins:
                self._start_timer()
            due()
        else:
            self._asked = self.now
            self._question = self._ctx.run_typed("look again", self._look, _LOOK)

    async def _answered(self, question: RestateDurableFuture[Looked]) -> Barred | TimedOut | None:
        """Do what was due, or say why it is not done."""
        looked = await question
        self._question = None
        self.now = self._looked = max(self.now, looked.at)
        due, self._due_now = self._due_now, None
        assert due is not None
        if looked.failure is not None:
            return Barred(looked.failure)
        if self.expired:
            return TimedOut(self.now)
        if self._begins:
            self._start_timer()
        else:
            # The database may have been away for long.
            self._due = min(self._due + (self.now - self._asked), self.order.expires_at)
            self._timeout = self._ctx.sleep(max(self._due - self.now, timedelta(0)))
        due()
        return None

    def _start_timer(self) -> None:
        self._begins = False
        self._timeout = self._ctx.sleep(self.count_from_now())

    def _withdraw(self) -> None:
        """Hand nothing over after all."""
        self._due_now = None
        self._question = None

    async def _look(self) -> Looked:
        now = datetime.now(UTC)
        if now >= self.order.expires_at:
            # Nothing will be sent any more, whatever the answer would be.
            return Looked(now)
        failure = await self._second_look.refusal(self.order, self._step.channel)
        return Looked(datetime.now(UTC), failure)

    def _whose_turn(self) -> tuple[str, str | None]:
        """The service that the current attempt goes to, and the provider that it is to take."""
        step, name = self._step, self._providers.current
        if self._in_sandbox:
            return SANDBOX_SERVICE, step.provider
        if name == OWN or (name is None and CHANNELS[step.channel].own is not None):
            self._by_adapter.discard(self.attempt)
            return self._own_service, step.provider
        self._by_adapter.add(self.attempt)
        return ADAPTER_SERVICE, name or step.provider

    @property
    def _own_service(self) -> str:
        return delivery_service(self._step.channel)

    @property
    def _in_sandbox(self) -> bool:
        return self.order.mode is not Mode.LIVE

    def pass_on(self, failure: Failure) -> Turn:
        """Let the step's next provider try after this failure, if it may succeed."""
        return self._providers.pass_on(failure)

    def pause(self, seconds: float | None, *, busy: bool = False) -> None:
        """Wait before the next submission, as long as the provider asks or by backoff."""
        self._busy = busy
        self._rest(retry_delay(self.tries, seconds))

    def wait_for_proof(self, grace: timedelta) -> None:
        """Give a receipt the chance to settle an attempt whose outcome is unknown."""
        self._unsettled = True
        self._busy = False
        self._unknown.add(self.attempt)
        self._rest(grace)

    def _rest(self, time: timedelta) -> None:
        self._pause = self._ctx.sleep(time)
        self._rested = self.now + time

    def may_have_arrived_by(self, channel: str) -> bool:
        """True when an attempt on this channel had an outcome that nobody knew, and has not failed
        since: sending again may give the recipient the message twice."""
        return any(self._steps_of_attempts[attempt].channel == channel for attempt in self._unknown)

    def discard_attempt(self) -> None:
        """Let the next attempt take over the awakeable of one that was certainly not sent, so
        that a cancellation is heard in between."""
        self._signals[self.attempt + 1] = self._signals.pop(self.attempt)
        self.record.refs[self.attempt + 1] = self.record.refs.pop(self.attempt)

    def listen_again(self) -> None:
        """Open a new awakeable for every attempt whose last one has been used."""
        for attempt in self.record.refs:
            if attempt not in self._signals:
                self._open(attempt)

    async def leave_step(self) -> None:
        """Drop the step's timers and take back a submission that was not answered in time.

        Receipts of the step's attempts are still listened to.
        """
        self._pause = None
        self._timeout = None
        self._withdraw()
        if self._call is not None:
            await self._call.cancel_invocation()
            self._call = None
            # It may have been sent, and nobody will say so but a receipt.
            if not self._reported(self.attempt):
                self._unknown.add(self.attempt)
                self.note(
                    Event.OUTCOME_UNKNOWN,
                    self.now,
                    step=self._step_number,
                    channel=self._step.channel,
                    attempt=self.attempt,
                    failure=Failure(FailureCode.OUTCOME_UNKNOWN),
                    possible_duplicate=self.repeats,
                )

    def _reported(self, attempt: int) -> bool:
        return any(
            entry.event is Event.RECEIPT and entry.attempt == attempt
            for entry in self.record.timeline
        )

    def step_of(self, receipt: Receipt) -> Step:
        """The step that the receipt's attempt belongs to."""
        return self._steps_of_attempts.get(receipt.attempt, self._step)

    async def next(self) -> Happening:
        """The next thing that happens: a submission's answer, a signal, or a timer.

        A receipt may overtake the answer of its own submission; it is kept until that is told, or
        the step's time is up. What `begin_attempt` or `submit` left to be handed over goes first;
        while it is not known whether it may, the step's time stands still.
        """
        while True:
            self._hand_over()
            if self._early and (self._call is None or self._time_is_up):
                return self._early.pop(0)
            if self._time_is_up:
                return TimedOut(await self.clock())
            self._show()
            if self._news:
                await self._tell()
            timers = (self._pause, self._timeout) if self._question is None else ()
            waited = (self._call, self._question, *self._signals.values(), *timers)
            completed, _ = await wait_completed(*(f for f in waited if f is not None))
            first = completed[0]
            if first is self._call:
                call, self._call = self._call, None
                return await self._answer(call)
            if self._question is not None and first is self._question:
                refused = await self._answered(self._question)
                if refused is not None:
                    return refused
                continue
            if first is self._pause:
                self._pause = None
                self.now = max(self.now, self._rested)
                return PauseOver(self._busy)
            if first is self._timeout:
                self._timeout = None
                self._time_is_up = True
                self.now = max(self.now, self._due)
                continue
            heard = await self._hear(first)
            if isinstance(heard, Cancel):
                return heard
            if heard is not None:
                if self._call is None or heard.attempt != self.attempt:
                    return heard
                self._early.append(heard)
            self.listen_again()
            self.save()

    async def _tell(self) -> None:
        """Write down what the tenant's endpoints follow, before anything else happens to the
        message: they are told in order. What is left at the end is told with it."""
        lines = [(place, self.record.timeline[place]) for place in self._news]
        self._news = []

        async def log() -> None:
            await self._log.progressed(self._ctx.key(), self.order, lines)

        await self._ctx.run_typed("tell", log)

    async def clock(self) -> datetime:
        """The wall clock, journalled."""
        self.now = max(self.now, datetime.fromtimestamp(await self._ctx.time(), UTC))
        return self.now

    def _open(self, attempt: int) -> None:
        ref, signal = self._ctx.awakeable(serde=SIGNAL)
        self._signals[attempt] = signal
        self.record.refs[attempt] = ref

    async def _hear(self, signal: RestateDurableFuture[Signal]) -> Signal | None:
        """What an awakeable brought: None for what is unreadable, rejected, or known already."""
        attempt = next(a for a, listened in self._signals.items() if listened is signal)
        del self._signals[attempt]
        try:
            heard = await signal
        except TerminalError:
            return None
        if isinstance(heard, Receipt) and self.record.has_enough_of(heard.level):
            return None
        return None if isinstance(heard, Receipt) and self._knows(heard) else heard

    def _knows(self, receipt: Receipt) -> bool:
        """Whether the same report has been heard before."""
        return receipt.id is not None and (
            self.record.has_receipt(receipt.id) or any(r.id == receipt.id for r in self._early)
        )

    async def _answer(self, call: RestateDurableCallFuture[Any]) -> Submission:
        try:
            answer = SUBMISSION.deserialize(await call)
        except TerminalError as error:
            # Killed or canceled by an operator: nobody can say whether the provider has it.
            failure = Failure(FailureCode.OUTCOME_UNKNOWN, detail=error.message)
            return Submission(SubmissionState.UNKNOWN, at=await self.clock(), failure=failure)
        assert answer is not None
        if answer.receipt is not None and not self._knows(answer.receipt):
            self._early.append(answer.receipt)
        return answer

    # What the record says

    @property
    def unsettled(self) -> bool:
        """True while the current attempt's outcome is unknown."""
        return self._unsettled

    def fail(self, failure: Failure) -> None:
        """Remember why the message has not arrived so far."""
        self.record.failure = self.step_failure = failure

    @property
    def refused_for(self) -> Failure | None:
        """Why the step's every try was refused, where that was always the same; the last time's."""
        if self._call is not None or len(self._refusals) != 1:
            return None
        return next(iter(self._refusals.values()))

    def note_submission(self, event: Event, submission: Submission, **facts: Any) -> None:
        """Add a submission's answer to the timeline.

        A provider that is busy for the same reason in a row is one line, and so is one that fails
        again and again: a step may try for days.
        """
        failure = submission.failure
        if submission.state not in (SubmissionState.FAILED, SubmissionState.BUSY):
            self._refusals[None] = None
        elif failure is not None and failure.code is not FailureCode.TOO_LATE:
            self._refusals[failure.code] = failure
        if submission.state in (SubmissionState.FAILED, SubmissionState.BUSY):
            self._open_attempts.discard(self.attempt)
            busy = submission.state is SubmissionState.BUSY
            last = self.record.timeline[-1]
            told = (event, self._step_number, submission.failure)
            repeated = (last.event, last.step, last.failure) == told
            if repeated and (busy or self.tries > TRIES_LISTED):
                return
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
            cost=submission.cost,
            route=submission.route,
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
        if receipt.failure is not None:
            # One that arrived after all makes what was sent again a duplicate, now certainly.
            self._unknown.discard(receipt.attempt)
        if step is self._step:
            settles = self._unsettled and receipt.attempt == self.attempt
            if settles or receipt.level is not None:
                # Whatever comes of it, the provider has it: it is not sent again.
                self._unsettled = False
                self._pause = None
                self._withdraw()
        if receipt.level is not None:
            self.reached(receipt.level, step.channel)
            if receipt.level.reaches(step.success):
                self.record.channel = step.channel

    def note_barred(self, failure: Failure) -> None:
        """Add that the step may not send any more."""
        self.note(
            Event.FAILED,
            self.now,
            step=self._step_number,
            channel=self._step.channel,
            failure=failure,
        )

    def note_timeout(self, at: datetime) -> None:
        """Add the step's timeout."""
        self.note(Event.TIMEOUT, at, step=self._step_number, channel=self._step.channel)

    def reached(self, level: Level, channel: str) -> None:
        """Remember the furthest level proven, and the channel that brought the message home."""
        if self.record.level is None or level.reaches(self.record.level):
            self.record.level = level
        if level.reaches(Level.DELIVERED):
            self._arrived_by = channel

    # The end

    async def close(self, status: Status) -> Record:
        """End the message: the log has its record before the state is gone."""
        self.record.status = status
        if status in (Status.SENT, Status.DELIVERED):
            self.record.failure = None
        if status is Status.DELIVERED:
            self.record.channel = self._arrived_by
        self.record.refs = {}
        ended_at = await self._logged()
        self._sign_off(self.record, ended_at)
        self._ctx.clear(STATE)
        self._release()
        return self.record

    async def _logged(self) -> datetime:
        while True:
            try:
                return await self._ctx.run_typed(
                    "log the end", self._log_end, RunOptions(serde=_TIME)
                )
            except TerminalError:
                # An operator cancels what is ending anyway: the end is written all the same.
                continue

    def _release(self) -> None:
        """Tell the channels that nobody listens any more to attempts that may still be reported
        on: what comes now goes to the Message object's `receipt`."""
        if self._in_sandbox:
            return
        for attempt in sorted(self._open_attempts):
            channel = self._steps_of_attempts[attempt].channel
            provable = CHANNELS[channel].own
            if attempt in self._by_adapter or provable is None:
                continue
            if provable.reaches(Level.DELIVERED):
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
        ended_at = max(datetime.now(UTC), self.now)
        self._sign_off(record, ended_at)
        await self._log.ended(self._ctx.key(), self.order, record)
        return ended_at
