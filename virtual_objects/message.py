"""The Message object: one message, one key, one durable walk through its plan.

`send` is the only exclusive handler, so one message has one writer. `status`, `cancel` and
`receipt` are shared: they answer while `send` waits, for minutes or for weeks. The object's state
lasts as long as `send` does; the end, and what comes after it, is the message log's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from restate import ObjectContext, ObjectSharedContext, RunOptions, TerminalError, VirtualObject
from restate.serde import BytesSerde

from adapters.restate.serde import JsonSerde
from domain.cascade import (
    MAX_RESENDS,
    UNKNOWN_GRACE,
    fails_over,
    leaves,
    retries_submission,
    status_when_barred,
    status_when_exhausted,
    status_when_reached,
)
from domain.channels import CHANNELS
from domain.delivery import Cancel, Receipt, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import INTERRUPTING, DeliveryPolicy, MessageOrder, Step
from domain.ports import DirectDelivery, MessageLog, SecondLook
from domain.providers import Turn
from domain.timeline import RECEIPTS_LISTED, Entry, Event, Record, Snapshot, Status
from virtual_objects.happenings import Barred, EndedBefore, PauseOver, TimedOut
from virtual_objects.journey import ORDER, SIGNAL, SNAPSHOT, STATE, Journey, ended_as

_BODY = BytesSerde()
_RECEIPT: JsonSerde[Receipt] = JsonSerde(Receipt)
_FORGOTTEN = timedelta(0)
LOOK_AGAIN = timedelta(seconds=1)
"""When `cancel` and `receipt` check that they were heard: an awakeable takes one value, and
another may have been faster."""
LOOK_SOON = timedelta(milliseconds=200)
"""When `receipt` checks it first. Providers tell `sent` and `delivered` in one breath."""

_RESOLVED = "hermes-resolved"
"""The header of a report that an awakeable was resolved with before."""
_LOOKS = "hermes-looks"
"""The header in which a report carries how often it was looked at in vain."""
_PAUSES = (1, *(2,) * 60, *(2**n for n in range(2, 12)))
"""Pauses between such looks, in LOOK_AGAINs: short ones for as long as a channel may be asked
directly, which nobody sees until it has answered, and then ever longer ones, since the attempt may
never come, where an operator killed the message."""
_LOOKS_COUNTED = tuple(map(str, range(len(_PAUSES))))

_LISTED_BY = 6
"""The look by which a message is in the log: it is written a moment after Restate has taken it."""


class Outcome(msgspec.Struct, frozen=True):
    """What `send` returns, and keeps for as long as its journal is kept."""

    status: Status


_OUTCOME: JsonSerde[Outcome] = JsonSerde(Outcome)
_ANSWER: JsonSerde[bool] = JsonSerde(bool)
_EARLY: RunOptions[bool] = RunOptions(serde=_ANSWER)
_ENDING: RunOptions[Status | None] = RunOptions(serde=JsonSerde(Status))


def create_message_object(
    log: MessageLog,
    second_look: SecondLook,
    direct: DirectDelivery,
    *,
    journal_retention: timedelta,
) -> VirtualObject:
    """The object, bound to the log that its endings are written to, to whom it asks before it sends
    later than at once, and to the channels' direct way.

    `journal_retention` is how long the invocation can be inspected after the end.
    """
    message = VirtualObject("Message", description="One message on its way through its plan.")

    @message.handler(input_serde=_BODY, output_serde=_OUTCOME, journal_retention=journal_retention)
    async def send(ctx: ObjectContext, body: bytes) -> Outcome:
        """Walk the plan until a step succeeds, the time is over, or the message is canceled."""
        order = ORDER.read(body)
        check(order)
        if not order.fresh:
            ending = await ctx.run_typed("ended before", ended_as, _ENDING, log, ctx.key())
            if ending is not None:
                return Outcome(ending)

        journey = Journey(ctx, order, log, second_look, direct)
        try:
            status = await walk(journey)
        except TerminalError as canceled_by_operator:
            journey.record.failure = Failure(
                FailureCode.CANCELED, detail=canceled_by_operator.message
            )
            status = Status.CANCELED
        await journey.close(status)
        return Outcome(status)

    @message.handler(
        kind="shared",
        output_serde=SNAPSHOT,
        journal_retention=_FORGOTTEN,
        idempotency_retention=_FORGOTTEN,
    )
    async def status(ctx: ObjectSharedContext) -> Snapshot | None:
        """The message as it stands, None when Restate does not hold it."""
        return await ctx.get(STATE, serde=SNAPSHOT)

    @message.handler(
        kind="shared",
        output_serde=_ANSWER,
        journal_retention=_FORGOTTEN,
        idempotency_retention=_FORGOTTEN,
    )
    async def cancel(ctx: ObjectSharedContext) -> bool:
        """Ask a message that has not ended to stop; False when there is nothing to stop."""
        held = await ctx.get(STATE, serde=SNAPSHOT)
        if held is None or held.record.status.terminal:
            return False
        refs = held.record.refs
        at = datetime.fromtimestamp(await ctx.time(), UTC)
        ctx.resolve_awakeable(refs[max(refs)], Cancel(at), serde=SIGNAL)
        # A receipt may have used that awakeable a moment before: look again until the end.
        ctx.object_send(cancel, ctx.key(), None, send_delay=LOOK_AGAIN)
        return True

    @message.handler(
        name="receipt",
        kind="shared",
        input_serde=_BODY,
        journal_retention=_FORGOTTEN,
        idempotency_retention=_FORGOTTEN,
    )
    async def reported(ctx: ObjectSharedContext, body: bytes) -> None:
        """Take a provider's report, from whoever does not know the attempt's awakeable.

        After the end it changes nothing any more, and is added to the timeline as late. While a
        channel is asked directly, the object does not know of the attempt yet: it is looked for
        again.
        """
        receipt = identified(_RECEIPT.read(body))
        held = await ctx.get(STATE, serde=SNAPSHOT)
        record = held.record if held is not None else None
        if record is not None and (
            record.has_receipt(receipt.id) or record.has_enough_of(receipt.level)
        ):
            return
        ref = record.refs.get(receipt.attempt) if record is not None else None
        if ref is None:
            begun = record is not None and receipt.attempt <= max(record.refs, default=0)
            carried = ctx.request().headers.get(_LOOKS)
            listed = looked_before(carried) + 1 >= _LISTED_BY
            early = await ctx.run_typed(
                "log it", log_late, _EARLY, log, ctx.key(), receipt, begun, listed
            )
            if early:
                pause, looks = look_again(carried)
                headers = {_LOOKS: looks}
                ctx.object_send(reported, ctx.key(), body, send_delay=pause, headers=headers)
            return
        ctx.resolve_awakeable(ref, receipt, serde=SIGNAL)
        # An awakeable takes one value, and another report may have been faster: look again until
        # the timeline shows this one.
        pause = LOOK_AGAIN if _RESOLVED in ctx.request().headers else LOOK_SOON
        ctx.object_send(reported, ctx.key(), body, send_delay=pause, headers={_RESOLVED: "1"})

    return message


def check(order: MessageOrder) -> None:
    """Refuse an order that no door of ours would have let in.

    Raises TerminalError(400): the trusted door reaches this object without the API's checks.
    """
    if not order.plan:
        raise TerminalError("plan: at least one step is needed", status_code=400)
    for number, step in enumerate(order.plan):
        if step.channel not in CHANNELS:
            raise TerminalError(f"plan[{number}]: no channel {step.channel}", status_code=400)
        if step.channel not in order.to:
            raise TerminalError(f"to: no address for {step.channel}", status_code=400)
        if not step.timeout > 0:
            raise TerminalError(f"plan[{number}]: timeout must be positive", status_code=400)


async def walk(journey: Journey) -> Status:
    """Take the plan's steps in order until one decides the message's status."""
    order = journey.order
    if order.send_at is not None:
        canceled = await journey.wait_until(order.send_at)
        if canceled is not None:
            return cancel(journey, canceled)

    for step in order.plan:
        if journey.expired:
            journey.record.failure = Failure(FailureCode.TTL_EXPIRED)
            return Status.EXPIRED
        at_most_once = order.policy is DeliveryPolicy.AT_MOST_ONCE
        if at_most_once and journey.may_have_arrived_by(step.channel):
            continue
        status = await rest(journey, step)
        if status is not None:
            return status
        status = await take(journey, step)
        await journey.leave_step()
        if status is not None:
            return status
    return status_when_exhausted(journey.record.level, journey.record.failure)


async def rest(journey: Journey, step: Step) -> Status | None:
    """Wait with a step while the recipient's telephone is to be left alone.

    Returns the message's final status, if it came to its end meanwhile, or None.
    """
    if not journey.order.quiet or step.channel not in INTERRUPTING:
        return None
    # The true time: after an outage, the book may believe that it is still day.
    until = journey.order.quiet_until(step.channel, await journey.clock())
    if until is None:
        return None
    journey.rest(step.channel, min(until, journey.order.expires_at))
    while True:
        match happening := await journey.next():
            case TimedOut():
                if not journey.expired:
                    return None
                journey.record.failure = Failure(FailureCode.TTL_EXPIRED)
                return Status.EXPIRED
            case Cancel():
                return cancel(journey, happening)
            case Receipt(level=level):
                # Of a step before, on another channel.
                journey.note_receipt(happening)
                if level is not None and level.reaches(journey.step_of(happening).success):
                    return status_when_reached(journey.record.level or level)
                journey.listen_again()
                journey.save()


async def take(journey: Journey, step: Step) -> Status | None:
    """Try one channel until it succeeds, fails or runs out of time.

    Returns the message's final status, or None when the next step's turn has come.
    """
    journey.turn_to(step)
    journey.begin_attempt()

    while True:
        happening = await journey.next()
        match happening:
            case Submission(state=SubmissionState.TAKEN, level=level) if level is not None:
                journey.note_submission(
                    Event.SUBMITTED, happening, possible_duplicate=journey.repeats
                )
                journey.reached(level, step.channel)
                if level.reaches(step.success):
                    return status_when_reached(journey.record.level or level)
                journey.save()

            case Submission(state=SubmissionState.BUSY, retry_after=seconds, failure=failure):
                journey.note_submission(Event.DEFERRED, happening, retry_after=seconds)
                if failure is not None and journey.pass_on(failure) is Turn.ANOTHER:
                    journey.submit()
                    continue
                journey.pause(seconds, busy=True)
                journey.save()

            case Submission(state=SubmissionState.UNKNOWN):
                journey.note_submission(
                    Event.OUTCOME_UNKNOWN, happening, possible_duplicate=journey.repeats
                )
                journey.wait_for_proof(UNKNOWN_GRACE)
                journey.save()

            case Submission(failure=Failure(code=FailureCode.TOO_LATE), at=at) if (
                at < journey.order.expires_at
            ):
                # Not by the step's timer: the message had to wait before its handler began, and
                # the book believed the order's time.
                journey.note_submission(Event.DEFERRED, happening)
                journey.discard_attempt()
                journey.count_from_now()
                journey.begin_attempt()

            case Submission(failure=failure):
                failure = failure or Failure(FailureCode.INTERNAL)
                journey.fail(failure)
                journey.note_submission(Event.FAILED, happening)
                turn = Turn.NOBODY if leaves(step, failure) else journey.pass_on(failure)
                if turn is Turn.NOBODY and not retries_submission(step, failure):
                    return None
                journey.discard_attempt()
                if turn is Turn.ANOTHER:
                    journey.begin_attempt()
                    continue
                journey.pause(happening.retry_after)
                journey.save()

            case PauseOver() if journey.unsettled:
                ended = await journey.ended_elsewhere()
                if ended is not None:
                    return ended.status
                if not may_resend(journey):
                    journey.fail(Failure(FailureCode.OUTCOME_UNKNOWN))
                    return None
                journey.begin_attempt()

            case PauseOver(busy=True):
                journey.submit()

            case PauseOver():
                journey.begin_attempt()

            case Receipt(level=level, failure=failure, attempt=attempt):
                journey.note_receipt(happening)
                if level is not None and level.reaches(journey.step_of(happening).success):
                    return status_when_reached(journey.record.level or level)
                if failure is not None and attempt == journey.attempt:
                    journey.fail(failure)
                    if fails_over(step, failure):
                        if leaves(step, failure) or journey.pass_on(failure) is not Turn.ANOTHER:
                            return None
                        journey.listen_again()
                        journey.begin_attempt()
                        continue
                journey.listen_again()
                journey.save()

            case Cancel():
                return cancel(journey, happening)

            case EndedBefore(status=status):
                return status

            case Barred(failure=failure):
                journey.note_barred(failure)
                # What may have arrived is not said to have failed for what came later.
                in_doubt = journey.unsettled
                journey.fail(Failure(FailureCode.OUTCOME_UNKNOWN) if in_doubt else failure)
                return status_when_barred(journey.record.level, failure)

            case TimedOut(at=at):
                if journey.unsettled and (ended := await journey.ended_elsewhere()):
                    return ended.status
                journey.note_timeout(at)
                journey.fail(time_is_up(journey))
                return None


def may_resend(journey: Journey) -> bool:
    """True when an attempt of unknown outcome may be repeated on the same channel."""
    policy = journey.order.policy
    return policy is DeliveryPolicy.AT_LEAST_ONCE and journey.resends < MAX_RESENDS


def time_is_up(journey: Journey) -> Failure:
    """Why a step ended without success; what the provider said last is worth knowing.

    Where every try was refused for one reason, that is the reason, and not the time.
    """
    refused = journey.refused_for
    if refused is not None and not journey.expired:
        return refused
    last = journey.step_failure or Failure(FailureCode.TIMEOUT)
    code = FailureCode.TTL_EXPIRED if journey.expired else FailureCode.TIMEOUT
    return Failure(code, provider_code=last.provider_code, detail=last.detail)


def cancel(journey: Journey, request: Cancel) -> Status:
    """End a message that its sender withdrew."""
    journey.note(Event.CANCEL_REQUESTED, request.at)
    journey.record.failure = Failure(FailureCode.CANCELED)
    return Status.CANCELED


def identified(receipt: Receipt) -> Receipt:
    """The receipt with an id, by which its repetition is known: what it says stands in for one."""
    if receipt.id is not None:
        return receipt
    said = receipt.level or (receipt.failure and receipt.failure.code)
    name = f"{receipt.attempt}/{receipt.at.isoformat()}/{said.value if said else ''}"
    return msgspec.structs.replace(receipt, id=name)


def look_again(looks: str | None) -> tuple[timedelta, str]:
    """After how long a report is looked at again whose attempt is not known, and what it then
    carries."""
    before = looked_before(looks)
    return LOOK_AGAIN * _PAUSES[before], _LOOKS_COUNTED[min(before + 1, len(_PAUSES) - 1)]


def looked_before(looks: str | None) -> int:
    """How often a report that carries this was looked at in vain."""
    return int(looks) if looks in _LOOKS_COUNTED else 0


async def log_late(
    log: MessageLog, message: str, receipt: Receipt, begun: bool, must_be_listed: bool
) -> bool:
    """Add a receipt that nobody waits for to the log: each report once, and no flood of them.

    True, and nothing is added, when the message may still come to the log, or to an attempt that
    has not `begun` as far as Restate knows.
    """
    listed = await log.get(message)
    if listed is None:
        return not must_be_listed
    if listed.record is None and not begun and datetime.now(UTC) < listed.order.expires_at:
        return True
    if len(listed.late) < RECEIPTS_LISTED and (
        listed.record is None or not listed.record.has_receipt(receipt.id)
    ):
        await log.late_receipt(message, late(receipt, listed.record))
    return False


def late(receipt: Receipt, record: Record | None) -> Entry:
    """The timeline entry of a receipt that came after the end, and stands after it: providers'
    clocks differ, and some tell whole seconds."""
    ended_at = record.ended_at if record is not None else None
    told = record.timeline if record is not None else []
    return Entry(
        receipt.at if ended_at is None else max(receipt.at, ended_at),
        Event.RECEIPT,
        channel=next((e.channel for e in told if e.attempt == receipt.attempt), None),
        attempt=receipt.attempt,
        provider=receipt.provider,
        level=receipt.level,
        failure=receipt.failure,
        provider_status=receipt.provider_status,
        receipt_id=receipt.id,
        late=True,
    )
