"""One message's progress inside its durable handler: what it hands over, waits for and hears.

`virtual_objects/message.py` tells the story, `book.py` keeps what is known, and this takes the
durable steps.
"""

from __future__ import annotations

import time
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

from adapters.restate.optimistic import insist, remembered
from adapters.restate.replay import replaying
from adapters.restate.serde import JsonSerde
from domain.cascade import retry_delay
from domain.delivery import (
    ADAPTER_SERVICE,
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
from domain.ports import DirectDelivery, MessageLog, SecondLook
from domain.providers import Providers
from domain.timeline import Event, Record, Snapshot, Status
from virtual_objects.book import WAITING, Book
from virtual_objects.happenings import (
    Barred,
    EndedBefore,
    Happening,
    PauseOver,
    TimedOut,
)

ORDER: JsonSerde[MessageOrder] = JsonSerde(MessageOrder)
SNAPSHOT: JsonSerde[Snapshot] = JsonSerde(Snapshot)
SIGNAL: JsonSerde[Signal] = JsonSerde(Signal)
REQUEST: JsonSerde[DeliveryRequest] = JsonSerde(DeliveryRequest)
SUBMISSION: JsonSerde[Submission] = JsonSerde(Submission)
RELEASE: JsonSerde[AttemptRef] = JsonSerde(AttemptRef)
_TIME: JsonSerde[datetime] = JsonSerde(datetime)

STATE = "message"
"""The object's one state key: each key is a journal entry a change, and they change together."""

STALE_AFTER = timedelta(seconds=5)
"""How long one relies on what was found at acceptance, or at a later look: what is sent after that
is asked about again."""
BEHIND_AFTER = STALE_AFTER
"""The same for a message that begins late, since whoever serves it was away or is behind. Only the
clock on the wall says so."""

SHORT = timedelta(seconds=30)
"""A step that lasts no longer is not tried directly, since nothing else is heard during a try."""
PATIENCE = timedelta(minutes=2)
"""How long a channel is waited for that was asked directly, within the step's time: as long as a
relay or a provider may take. Whoever is asked instead may be another process, which does not know
of an attempt that is still under way here and calls its outcome unknown."""
POOL_PATIENCE = timedelta(seconds=2.5)
"""Both for the bind pool. There, a request that waits for room goes on waiting when it is asked for
again, by Restate."""


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


class Attempted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a try leaves in the journal: the channel's answer, or how the message had ended before,
    or what a look found that had to come first. Without any, the channel is asked by Restate."""

    answer: Submission | None = None
    ended: Status | None = None
    looked: Looked | None = None


_TRY: RunOptions[Attempted] = RunOptions(
    serde=JsonSerde(Attempted),
    initial_retry_interval=_LOOK.initial_retry_interval,
    max_retry_interval=_LOOK.max_retry_interval,
)
_ENDING: RunOptions[Status | None] = RunOptions(serde=JsonSerde(Status))


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of asking a channel directly, and how many seconds it took; `late` says that it was
    not asked, since the message begins so late that somebody else is to be asked first."""

    took: float = 0.0
    answer: Submission | None = None
    late: bool = False


class Journey(Book):
    """One message's progress, from its order to its end."""

    def __init__(
        self,
        ctx: ObjectContext,
        order: MessageOrder,
        log: MessageLog,
        second_look: SecondLook,
        direct: DirectDelivery,
    ) -> None:
        super().__init__(order)
        self._ctx = ctx
        self._log = log
        self._second_look = second_look
        self._direct = direct
        self._busy = False
        self._early: list[Receipt] = []
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
        self._shown = False
        self._settled_directly = False
        self._ended_before = False

    def save(self) -> None:
        """Show the record to the shared handlers, from the next moment on in which the journey
        waits: what changes before that is one change."""
        self._unsaved = True

    def _show(self) -> None:
        if self._unsaved:
            self._unsaved = False
            self._shown = True
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
        self._take_up()
        self._submit()

    def _take_up(self) -> None:
        """Begin an attempt, and listen to what is reported on it."""
        self.attempt += 1
        self.resends += self._unsettled
        self._unsettled = False
        self._steps_of_attempts[self.attempt] = self._step
        if self.attempt not in self._signals:
            self._open(self.attempt)

    def _submit(self) -> None:
        service, request = self._request()
        self._call_for(service, request)

    def _call_for(self, service: str, request: DeliveryRequest) -> None:
        self._call = self._ctx.generic_call(  # type: ignore[assignment]
            service, "deliver", REQUEST.serialize(request)
        )
        self.save()

    def _request(self) -> tuple[str, DeliveryRequest]:
        """The service that the current attempt goes to, and what it is asked now."""
        service, provider = self._whose_turn()
        self.tries += 1
        self._pause = None
        if service == ADAPTER_SERVICE:
            self._by_adapter.add(self.attempt)
        else:
            self._by_adapter.discard(self.attempt)
        self.repeats = self.may_have_arrived_by(self._step.channel)
        self._open_attempts.add(self.attempt)
        return service, DeliveryRequest(
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

    def _may_go_directly(self) -> bool:
        """Whether what is due is a step's first attempt that need not be asked about again, on a
        channel that answers before the step is over.

        It follows from the order and the journal alone: a replay comes to the same.
        """
        begins = self._begins and self._due_now == self._begin and self._question is None
        if not begins or not self.order.direct or self._in_sandbox:
            return False
        if self._shown and self._unsaved:
            # Whoever cancels it speaks to what is shown, and would not be heard after the try.
            return False
        left = (self.order.expires_at - self.now).total_seconds()
        short = POOL_PATIENCE if self._goes_to_pool else SHORT
        lasts = min(self._step.timeout, left) > short.total_seconds()
        return lasts and self.now - self._looked < STALE_AFTER

    @property
    def _goes_to_pool(self) -> bool:
        """Whether the current attempt is for the bind pool."""
        service, _ = self._whose_turn()
        return service == delivery_service("sms")

    @property
    def _patience(self) -> timedelta:
        return POOL_PATIENCE if self._goes_to_pool else PATIENCE

    async def _go_directly(self) -> Submission | EndedBefore | Barred | TimedOut | None:
        """Ask the channel itself, and write down what it said, or None to have it asked by Restate.

        The one place where something is done that the journal does not know of beforehand. That is
        sound because a channel does an attempt once, however often it is asked. If the process dies
        before the answer is journalled, the next one asks again and hears what became of it. An
        answer that ends the message needs no journal at all: all that follows is the log's last
        entry, which may be written twice, and the handler's return. Most messages end like this,
        with one invocation and four records in Restate's log instead of two and fifteen.

        Without an answer the log is asked, too: a process before this one may have had the answer,
        and have died between the entry and the return. Otherwise the message would go on, to the
        next channel in the end, should this one not answer again before its step is over.

        A message that begins late is looked at again first, and then handed over by Restate.
        """
        self._due_now = None
        self._begins = False
        lasting = self.count_from_now()
        self._take_up()
        service, request = self._request()
        tried: Tried = remembered().get(self.attempt, Tried())
        if self.attempt not in remembered() and not replaying():
            if datetime.now(UTC) - self._looked >= BEHIND_AFTER:
                tried = Tried(late=True)
            else:
                began = time.monotonic()
                patience = min(self._patience, lasting).total_seconds()
                answer = await self._direct.deliver(service, request, patience)
                tried = Tried(time.monotonic() - began, answer)
            remembered()[self.attempt] = tried
        if tried.answer is not None and self._settles(tried.answer):
            self._settled_directly = True
            return self._received(tried.answer)

        async def found() -> Attempted:
            if tried.answer is not None:
                return Attempted(tried.answer)
            ended = await self._ending()
            if ended is not None or not tried.late:
                return Attempted(ended=ended)
            return await self._look_first(service, request)

        noted = self._ctx.run_typed("try", found, _TRY)
        self._go_on_timing(lasting - timedelta(seconds=tried.took))
        known = await noted
        if known.ended is not None:
            return self._ended_as(known.ended)
        if known.looked is not None:
            return self._begin_late(known.looked)
        if known.answer is None:
            self._call_for(service, request)
            return None
        self.save()
        return self._received(known.answer)

    async def _look_first(self, service: str, request: DeliveryRequest) -> Attempted:
        """What a late beginning finds. Where nothing may be sent any more, the channel is asked all
        the same, with a time that is over: a process that died may have handed it over."""
        looked = await self._look()
        if looked.failure is None and looked.at < self.order.expires_at:
            return Attempted(looked=looked)
        over = min(looked.at, self.order.expires_at)
        asked = msgspec.structs.replace(request, not_after=over)
        answer = await self._direct.deliver(service, asked, POOL_PATIENCE.total_seconds())
        if answer is None:
            unknown = Failure(FailureCode.OUTCOME_UNKNOWN)
            answer = Submission(SubmissionState.UNKNOWN, at=looked.at, failure=unknown)
        failure = answer.failure
        if failure is not None and failure.code is FailureCode.TOO_LATE:
            return Attempted(looked=looked)
        return Attempted(answer)

    def _begin_late(self, looked: Looked) -> Barred | TimedOut | None:
        """Hand over what was not tried, unless it may not be sent any more."""
        self.now = self._looked = max(self.now, looked.at)
        self.tries = 0
        self._open_attempts.discard(self.attempt)
        if looked.failure is not None:
            return Barred(looked.failure)
        if self.expired:
            return TimedOut(self.now)
        self._begins = True
        self._due_now = self._submit
        return None

    async def ended_elsewhere(self) -> EndedBefore | None:
        """Whether another process has ended the message. To be asked before anything else is sent
        after an attempt of unknown outcome: a process that has lost Restate may have heard the
        answer all the same, and what it wrote is the message's end."""
        status = await self._ctx.run_typed("ended before", self._ending, _ENDING)
        return None if status is None else self._ended_as(status)

    async def _ending(self) -> Status | None:
        return await ended_as(self._log, self._ctx.key())

    def _ended_as(self, status: Status) -> EndedBefore:
        self._ended_before = True
        return EndedBefore(status)

    def _go_on_timing(self, left: timedelta) -> None:
        """Start the timer for what a try has left of the step's time.

        Without waiting until the try is in the journal, which may take a while. A replay finds the
        timer there and does not start another, whatever it asks for. Where a process died during
        the try, nobody knows how long that was: the step's time begins anew, but never goes beyond
        the message's.
        """
        alive = self.order.expires_at - datetime.now(UTC)
        self._timeout = self._ctx.sleep(max(min(left, alive), timedelta(0)))

    def _settles(self, answer: Submission) -> bool:
        """Whether nothing remains to be done or heard after this answer, so that no entry of the
        journal follows it."""
        proven = [answer.level, answer.receipt.level if answer.receipt is not None else None]
        arrived = any(level is not None and level.reaches(self._step.success) for level in proven)
        last_word = answer.receipt is not None and answer.receipt.final
        return (
            answer.state is SubmissionState.TAKEN
            and arrived
            and not self._shown
            and self._open_attempts == {self.attempt}
            and (last_word or not self._is_reported_on(self.attempt))
        )

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
                self.save()

    async def leave_step(self) -> None:
        """Drop the step's timers and take back a submission that was not answered in time.

        Receipts of the step's attempts are still listened to.
        """
        self._pause = None
        self._timeout = None
        self._withdraw()
        self.listen_again()
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

    async def next(self) -> Happening:
        """The next thing that happens: a submission's answer, a signal, or a timer.

        A receipt may overtake the answer of its own submission; it is kept until that is told, or
        the step's time is up. What `begin_attempt` or `submit` left to be handed over goes first;
        while it is not known whether it may, the step's time stands still.
        """
        while True:
            if self._may_go_directly():
                answer = await self._go_directly()
                if answer is not None:
                    return answer
            elif self._due_now is not None and self.now == self.order.accepted_at:
                # Nothing has told the time yet, and it may begin late.
                await self.clock()
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
        return self._received(answer)

    def _received(self, answer: Submission) -> Submission:
        if answer.receipt is not None and not self._knows(answer.receipt):
            self._early.append(answer.receipt)
        return answer

    # What the record says

    @property
    def refused_for(self) -> Failure | None:
        """Why the step's every try was refused, where that was always the same; the last time's."""
        if self._call is not None or len(self._refusals) != 1:
            return None
        return next(iter(self._refusals.values()))

    def note_receipt(self, receipt: Receipt) -> None:
        """Add a receipt to the book. Whatever comes of what it reports on, the provider has it:
        it is not sent again."""
        super().note_receipt(receipt)
        settles = self._unsettled and receipt.attempt == self.attempt
        if self.step_of(receipt) is self._step and (settles or receipt.level is not None):
            self._unsettled = False
            self._pause = None
            self._withdraw()

    # The end

    async def close(self, status: Status) -> Record:
        """End the message: the log has its record before the state is gone."""
        self.record.status = status
        if status in (Status.SENT, Status.DELIVERED):
            self.record.failure = None
        if status is Status.DELIVERED:
            self.record.channel = self._arrived_by
        self.record.refs = {}
        if self._settled_directly:
            insist(self._ctx)
            self._sign_off(self.record, await self._log_end())
            return self.record
        if not self._ended_before:
            self._sign_off(self.record, await self._logged())
        if self._shown:
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
        for attempt in sorted(filter(self._is_reported_on, self._open_attempts)):
            channel = self._steps_of_attempts[attempt].channel
            ref = AttemptRef(self._ctx.key(), attempt)
            self._ctx.generic_send(delivery_service(channel), "release", RELEASE.serialize(ref))

    async def _log_start(self) -> None:
        await self._log.started(self._ctx.key(), self.order)

    async def _log_end(self) -> datetime:
        # A retry must not sign the shared record twice.
        record = msgspec.structs.replace(self.record, timeline=list(self.record.timeline))
        ended_at = max(datetime.now(UTC), self.now)
        self._sign_off(record, ended_at)
        await self._log.ended(self._ctx.key(), self.order, record)
        return ended_at


async def ended_as(log: MessageLog, message: str) -> Status | None:
    """How a message ended, as far as the log knows."""
    listed = await log.get(message)
    return listed.record.status if listed is not None and listed.record is not None else None
