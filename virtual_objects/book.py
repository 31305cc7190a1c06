"""What is known of one message: its record, its step, and its attempts.

Nothing here waits, and nothing reads a clock: the times come from the order, from delivery handlers
and receipts, and from Restate where a timer fired.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from domain.callback import PROGRESS
from domain.channels import CHANNELS
from domain.delivery import (
    ADAPTER_SERVICE,
    SANDBOX_SERVICE,
    Receipt,
    Submission,
    SubmissionState,
    delivery_service,
)
from domain.failures import Failure, FailureCode
from domain.message import Level, MessageOrder, Step
from domain.mode import Mode
from domain.providers import OWN, Providers, Turn
from domain.timeline import Entry, Event, Record, Status

TRIES_LISTED = 20
"""Failed attempts of a step that each have a line of their own in the timeline."""

WAITING = 0
"""The attempt number under which a scheduled message can be canceled."""


class Book:
    """The book of one message, from its order to its end."""

    def __init__(self, order: MessageOrder) -> None:
        self.order = order
        self.now = order.accepted_at
        """The time, as far as the book knows it."""
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
        self._step_number = 0
        self._step: Step = order.plan[0]
        self._providers = Providers(())
        self._steps_of_attempts: dict[int, Step] = {}
        self._open_attempts: set[int] = set()
        self._by_adapter: set[int] = set()
        self._refusals: dict[FailureCode | None, Failure | None] = {}
        self._unsettled = False
        self._unknown: set[int] = set()
        self._arrived_by: str | None = None
        self._news: list[int] = []

    @property
    def expired(self) -> bool:
        """True when the message's time to live is over, as far as the book knows the time."""
        return self.now >= self.order.expires_at

    @property
    def unsettled(self) -> bool:
        """True while the current attempt's outcome is unknown."""
        return self._unsettled

    @property
    def _in_sandbox(self) -> bool:
        return self.order.mode is not Mode.LIVE

    @property
    def _own_service(self) -> str:
        return delivery_service(self._step.channel)

    def _whose_turn(self) -> tuple[str, str | None]:
        """The service that the current attempt goes to, and the provider that it is to take."""
        step, name = self._step, self._providers.current
        if self._in_sandbox:
            return SANDBOX_SERVICE, step.provider
        if name == OWN or (name is None and CHANNELS[step.channel].own is not None):
            return self._own_service, step.provider
        return ADAPTER_SERVICE, name or step.provider

    def pass_on(self, failure: Failure) -> Turn:
        """Let the step's next provider try after this failure, if it may succeed."""
        return self._providers.pass_on(failure)

    def step_of(self, receipt: Receipt) -> Step:
        """The step that the receipt's attempt belongs to."""
        return self._steps_of_attempts.get(receipt.attempt, self._step)

    def may_have_arrived_by(self, channel: str) -> bool:
        """True when an attempt on this channel had an outcome that nobody knew, and has not failed
        since: sending again may give the recipient the message twice."""
        return any(self._steps_of_attempts[attempt].channel == channel for attempt in self._unknown)

    def _reported(self, attempt: int) -> bool:
        return any(
            entry.event is Event.RECEIPT and entry.attempt == attempt
            for entry in self.record.timeline
        )

    def _is_reported_on(self, attempt: int) -> bool:
        """Whether a channel of our own brings receipts on an attempt."""
        provable = CHANNELS[self._steps_of_attempts[attempt].channel].own
        by_adapter = attempt in self._by_adapter
        return not by_adapter and provable is not None and provable.reaches(Level.DELIVERED)

    def note(self, event: Event, at: datetime, **facts: Any) -> None:
        """Add a line to the timeline, which never runs backwards: what is told late, or by a clock
        that is behind, counts from when the book knows of it."""
        self.now = max(self.now, at)
        if self.order.tell and event in PROGRESS:
            self._news.append(len(self.record.timeline))
        self.record.timeline.append(Entry(self.now, event, **facts))

    def fail(self, failure: Failure) -> None:
        """Remember why the message has not arrived so far."""
        self.record.failure = self.step_failure = failure

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

    @staticmethod
    def _sign_off(record: Record, at: datetime) -> None:
        record.ended_at = at
        record.timeline.append(Entry(at, Event.ENDED, status=record.status))
