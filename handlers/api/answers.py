"""What clients get: the answers' shapes, and how they are made from what the core knows.

The OpenAPI document takes their schemas from these types. A message's content is in none of
them: it may hold one-time passwords.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from domain.billing.settlement import Settled
from domain.callback import Telling, TellingState
from domain.enrichment import Recipient
from domain.failures import POLICIES, Failure, FailureCode, Fault
from domain.message import Category, DeliveryPolicy, Level, MessageOrder, Step, TemplateUse
from domain.mode import Mode
from domain.ports import LoggedMessage
from domain.sms.segmentation import count_segments
from domain.timeline import Entry, Event, Record, Status
from domain.verdict import Outcome, Verdict
from handlers.api.bill import CostView, MessageCost, cost_view, message_cost
from handlers.api.problems import ProblemDetails
from handlers.api.route_answers import RouteView, route_view

encode: Final = msgspec.json.Encoder().encode

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time in UTC; the annotation gives it its format in the OpenAPI document."""


class Links(msgspec.Struct, frozen=True):
    """Where to go from here."""

    self: str


class SmsSize(msgspec.Struct, frozen=True):
    """How the text travels as SMS; carriers charge for each segment."""

    encoding: Literal["gsm7", "ucs2"]
    segments: int


class AcceptedMessage(msgspec.Struct, frozen=True):
    """A message that Hermes holds durably. `sms` is null when the plan has no SMS step. `verdicts`
    are those of the layers that changed it, put it off or flagged it: most messages have none."""

    id: str
    status: Status
    created_at: Instant
    send_at: Instant | None
    expires_at: Instant
    sms: SmsSize | None
    mode: Mode
    verdicts: list[VerdictView]
    links: Links


class BatchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message in the same place of the request: either `message` or `problem` is there."""

    message: AcceptedMessage | None = None
    problem: ProblemDetails | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """One result for each message, in the request's order, and how many of each kind."""

    accepted: int
    refused: int
    results: list[BatchItem]


class FailureView(msgspec.Struct, frozen=True):
    """Why it failed. `permanent` says that the same attempt can never succeed later.

    `fault` says who could have prevented it, `provider_code` what the provider said, verbatim.
    """

    code: FailureCode
    permanent: bool
    fault: Fault
    meaning: str
    provider_code: str | None
    detail: str | None


class VerdictView(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a layer of the pipeline found before the message was accepted. `code` names the rule
    that applied, where one did."""

    layer: str
    outcome: Outcome
    code: str | None = None
    detail: str | None = None


class CallbackLine(msgspec.Struct, frozen=True):
    """What an endpoint of yours was told, or will be: one line however often it is tried. `id` is
    its `webhook-id`, `error` what the last try came to, if it failed."""

    id: str
    endpoint: str
    type: str
    state: TellingState
    tries: int
    next_try_at: Instant | None
    error: str | None


class EntryView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the timeline. `step` and `attempt` count from 1; what does not apply is absent.

    `late` marks a receipt that came after its step: proof of delivery still ends a message that
    is under way, and changes nothing about one that has ended. `until` is when a message goes on
    that waits for its time, or for the end of quiet hours.
    """

    at: Instant
    event: Event
    step: int | None = None
    channel: str | None = None
    attempt: int | None = None
    provider: str | None = None
    level: Level | None = None
    failure: FailureView | None = None
    provider_ids: tuple[str, ...] = ()
    provider_status: str | None = None
    segments: int | None = None
    retry_after: float | None = None
    possible_duplicate: bool = False
    late: bool = False
    status: Status | None = None
    verdict: VerdictView | None = None
    route: RouteView | None = None
    callback: CallbackLine | None = None
    cost: CostView | None = None
    until: Instant | None = None


_OF_ENTRIES: Final = tuple(
    name for name in EntryView.__struct_fields__ if name not in ("verdict", "callback", "until")
)


class MessageView(msgspec.Struct, frozen=True):
    """A message and its whole story, without its content. When its time is over, or the person has
    asked to be forgotten, its addresses are empty and its labels are gone.

    `recipient` is what was known about it when the message was accepted. `channel` is the current
    or last one, `level` the furthest level proven, `cost` null where
    nothing had a price.
    """

    id: str
    mode: Mode
    status: Status
    created_at: Instant
    send_at: Instant | None
    expires_at: Instant
    ended_at: Instant | None
    category: Category
    delivery_policy: DeliveryPolicy
    to: dict[str, str]
    plan: tuple[Step, ...]
    metadata: dict[str, str]
    recipient: Recipient | None
    channel: str | None
    level: Level | None
    failure: FailureView | None
    trace_id: str | None
    template: TemplateUse | None
    cost: MessageCost | None
    timeline: list[EntryView]
    links: Links


class MessageSummary(msgspec.Struct, frozen=True):
    """A message in the listing; its own page has the timeline."""

    id: str
    mode: Mode
    status: Status
    created_at: Instant
    send_at: Instant | None
    ended_at: Instant | None
    category: Category
    to: dict[str, str]
    metadata: dict[str, str]
    channel: str | None
    level: Level | None
    failure: FailureView | None
    links: Links


class MessagePage(msgspec.Struct, frozen=True):
    """A page of messages, newest first. `next_cursor` is null on the last page."""

    data: list[MessageSummary]
    next_cursor: str | None


class Cancellation(msgspec.Struct, frozen=True):
    """Cancellation was asked for; `status` is the message's at that moment.

    A message that a provider already has may still arrive.
    """

    id: str
    status: Status


class Health(msgspec.Struct, frozen=True):
    """The process can do its work."""

    status: Literal["ok", "ready"]


def accepted_message(message_id: str, order: MessageOrder) -> AcceptedMessage:
    """The answer to the request that made the order, the same each time."""
    size = None
    if any(step.channel == "sms" for step in order.plan):
        size = SmsSize(*count_segments(order.content.text))
    return AcceptedMessage(
        id=message_id,
        status=Status.PROCESSING if order.send_at is None else Status.SCHEDULED,
        created_at=order.accepted_at,
        send_at=order.send_at,
        expires_at=order.expires_at,
        sms=size,
        mode=order.mode,
        verdicts=[
            _verdict(verdict)
            for verdict in order.verdicts
            if verdict.code is not None or verdict.outcome is not Outcome.PASS
        ],
        links=_links(message_id),
    )


def message_view(
    message_id: str,
    order: MessageOrder,
    record: Record,
    late: Iterable[Entry] = (),
    callbacks: Sequence[Telling] = (),
    bill: Sequence[Settled] = (),
) -> MessageView:
    """The message with `late` receipts and the endpoints' `callbacks` in their place in time."""
    entries = sorted([*record.timeline, *late], key=lambda entry: entry.at)
    timeline = _timeline(order, entries)
    if callbacks:
        timeline = sorted([*timeline, *map(_told, callbacks)], key=lambda line: line.at)
    return MessageView(
        id=message_id,
        mode=order.mode,
        status=record.status,
        created_at=order.accepted_at,
        send_at=order.send_at,
        expires_at=order.expires_at,
        ended_at=record.ended_at,
        category=order.category,
        delivery_policy=order.policy,
        to=order.to,
        plan=tuple(msgspec.structs.replace(step, adapters=(), route=None) for step in order.plan),
        metadata=order.metadata,
        recipient=order.recipient,
        channel=record.channel,
        level=record.level,
        failure=_failure(record.failure),
        trace_id=order.trace_id,
        template=order.template,
        cost=message_cost(bill),
        timeline=timeline,
        links=_links(message_id),
    )


def message_summary(row: LoggedMessage) -> MessageSummary:
    """The row as the listing shows it."""
    record = row.record
    return MessageSummary(
        id=row.id,
        mode=row.order.mode,
        status=row.status,
        created_at=row.created_at,
        send_at=row.order.send_at,
        ended_at=row.ended_at,
        category=row.order.category,
        to=row.order.to,
        metadata=row.order.metadata,
        channel=row.channel,
        level=record.level if record else None,
        failure=_failure(record.failure) if record else None,
        links=_links(row.id),
    )


def _links(message_id: str) -> Links:
    return Links(f"/v1/messages/{message_id}")


def _timeline(order: MessageOrder, entries: Sequence[Entry]) -> list[EntryView]:
    """The layers' verdicts behind the acceptance that they led to, then what happened."""
    verdicts = [
        EntryView(
            at=order.accepted_at,
            event=Event.VERDICT,
            verdict=_verdict(verdict),
        )
        for verdict in order.verdicts
    ]
    shown = [_entry(entry, order) for entry in entries]
    first = 1 if shown and shown[0].event is Event.ACCEPTED else 0
    return [*shown[:first], *verdicts, *shown[first:]]


def _verdict(verdict: Verdict) -> VerdictView:
    return VerdictView(verdict.layer, verdict.outcome, verdict.code, verdict.detail)


def _entry(entry: Entry, order: MessageOrder) -> EntryView:
    shown = {name: getattr(entry, name) for name in _OF_ENTRIES}
    shown["failure"] = _failure(entry.failure)
    shown["route"] = route_view(entry.route)
    shown["cost"] = cost_view(entry.cost)
    return EntryView(**shown, until=_until(entry, order))


def _until(entry: Entry, order: MessageOrder) -> datetime | None:
    if entry.event is Event.SCHEDULED:
        return order.send_at
    if entry.event is Event.QUIET_HOURS and entry.channel is not None:
        end = order.quiet_until(entry.channel, entry.at)
        return None if end is None else min(end, order.expires_at)
    return None


def _told(telling: Telling) -> EntryView:
    line = CallbackLine(
        telling.id,
        telling.endpoint,
        telling.type,
        telling.state,
        telling.tries,
        telling.next_try_at,
        telling.error,
    )
    return EntryView(at=telling.at, event=Event.CALLBACK, callback=line)


def _failure(failure: Failure | None) -> FailureView | None:
    if failure is None:
        return None
    policy = POLICIES[failure.code]
    return FailureView(
        code=failure.code,
        permanent=policy.permanent,
        fault=policy.fault,
        meaning=policy.meaning,
        provider_code=failure.provider_code,
        detail=failure.detail,
    )
