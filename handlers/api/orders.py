"""From a request of the right shape to an order: defaults filled in, everything checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from domain.callback import is_callable
from domain.channels import CHANNELS, AddressProblem, ChannelRules, ContentProblem, SenderProblem
from domain.channels import plan as plans
from domain.compliance.quiet_hours import zone
from domain.message import (
    DEFAULT_TTL,
    MAX_SCHEDULE_AHEAD,
    Content,
    MessageOrder,
    Step,
    Template,
)
from domain.mode import Mode
from domain.ports import ProviderChoice
from handlers.api.body import decode
from handlers.api.problems import FieldError, pointer, validation_failed
from handlers.api.schemas import ContentBody, MessageBody, StepBody

NO_SENDERS: Final[Mapping[str, str]] = {}
CLOCK_TOLERANCE: Final = timedelta(minutes=1)
"""A `send_at` this far in the past means now: clients' clocks differ."""


def make_order(
    body: MessageBody,
    *,
    tenant: str,
    now: datetime,
    fingerprint: str | None,
    trace_id: str | None,
    private_callbacks: bool,
    providers: ProviderChoice,
    mode: Mode = Mode.LIVE,
    senders: Mapping[str, str] = NO_SENDERS,
    rendered: Content | None = None,
) -> MessageOrder:
    """The order that the request stands for, accepted `now` (aware UTC).

    `senders` are the tenant's, by channel, for steps that name none; `rendered` is what a template
    made, in the place of the request's own content.

    Raises Problem `validation_failed` with all faults together.
    """
    faults: list[FieldError] = []
    # Milliseconds survive every store unchanged, and a repeated request must see the same times.
    accepted_at = _to_milliseconds(now)
    send_at = _send_at(body, accepted_at, faults)
    addresses = _addresses(body, faults)
    ttl = DEFAULT_TTL[body.category] if body.ttl is None else timedelta(seconds=body.ttl)
    steps = _plan(body, ttl, tenant, providers, senders, faults)
    content = _content(body, rendered, faults)
    callback = body.status_callback
    if callback is not None and not is_callable(callback, private=private_callbacks):
        detail = "Not an absolute https URL with a public host."
        faults.append(FieldError("invalid_callback_url", detail, "/status_callback"))
    if body.recipient is not None and body.recipient.time_zone is not None:
        _check_zone(body.recipient.time_zone, faults)
    if faults:
        raise validation_failed(faults)
    return MessageOrder(
        tenant=tenant,
        to=addresses,
        content=content,
        plan=steps,
        accepted_at=accepted_at,
        expires_at=_to_milliseconds((send_at or accepted_at) + ttl),
        send_at=send_at,
        category=body.category,
        policy=body.delivery_policy,
        status_callback=callback,
        metadata=body.metadata,
        fingerprint=fingerprint,
        trace_id=trace_id,
        mode=mode,
    )


def later(order: MessageOrder, now: datetime) -> MessageOrder:
    """An order that is due at once, accepted `now` after it had to wait: its time to live counts
    from then."""
    accepted_at = _to_milliseconds(now)
    expires_at = order.expires_at + (accepted_at - order.accepted_at)
    return msgspec.structs.replace(order, accepted_at=accepted_at, expires_at=expires_at)


def fingerprint_of(raw: bytes) -> str:
    """A SHA-256 over the request's JSON; white space and the order of keys make no difference.
    Raises Problem for what is no JSON to the letter."""
    canonical = msgspec.json.encode(decode(raw), order="sorted")
    return hashlib.sha256(canonical).hexdigest()


def _send_at(body: MessageBody, now: datetime, faults: list[FieldError]) -> datetime | None:
    if body.send_at is None:
        return None
    if body.send_at > now + MAX_SCHEDULE_AHEAD:
        detail = f"At most {MAX_SCHEDULE_AHEAD.days} days ahead."
        faults.append(FieldError("send_at_too_far", detail, "/send_at"))
        return None
    if body.send_at <= now:
        if body.send_at < now - CLOCK_TOLERANCE:
            detail = f"It is {now:%Y-%m-%dT%H:%M:%SZ} now."
            faults.append(FieldError("send_at_in_past", detail, "/send_at"))
        return None
    return _to_milliseconds(body.send_at.astimezone(UTC))


def _check_zone(name: str, faults: list[FieldError]) -> None:
    if zone(name) is None:
        detail = "An IANA time zone is written as Europe/Copenhagen."
        faults.append(FieldError("unknown_time_zone", detail, "/recipient/time_zone"))


def _addresses(body: MessageBody, faults: list[FieldError]) -> dict[str, str]:
    addresses = {}
    for channel, address in body.to.items():
        rules = CHANNELS.get(channel)
        if rules is None:
            faults.append(_unknown_channel(("to", channel)))
            continue
        try:
            addresses[channel] = rules.parse_address(address)
        except AddressProblem as problem:
            faults.append(FieldError(problem.code, problem.detail, pointer(("to", channel))))
    return addresses


def _plan(
    body: MessageBody,
    ttl: timedelta,
    tenant: str,
    providers: ProviderChoice,
    senders: Mapping[str, str],
    faults: list[FieldError],
) -> tuple[Step, ...]:
    """The completed plan; empty when it has faults."""
    known = len(faults)
    if body.plan is None:
        draft = plans.default_draft(body.to)
        wheres = [pointer(("to", step.channel)) for step in draft]
    else:
        draft = [_draft(index, step, body, faults) for index, step in enumerate(body.plan)]
        wheres = [f"/plan/{index}" for index in range(len(draft))]
    draft = [
        _provided(step, where, tenant, providers, senders, faults)
        for step, where in zip(draft, wheres, strict=True)
    ]
    if len(faults) > known:
        return ()
    try:
        return plans.complete(draft, category=body.category, ttl=ttl)
    except plans.PlanProblem as problem:
        where = "/ttl" if body.plan is None else f"/plan/{problem.step}/timeout"
        faults.append(FieldError(problem.code, problem.detail, where))
        return ()


def _draft(
    index: int, step: StepBody, body: MessageBody, faults: list[FieldError]
) -> plans.DraftStep:
    where = f"/plan/{index}"
    rules = CHANNELS.get(step.channel)
    sender = step.sender
    if rules is None:
        faults.append(_unknown_channel(("plan", index, "channel")))
    else:
        if step.channel not in body.to:
            detail = f"`to` has no address for {step.channel}."
            faults.append(FieldError("no_address_for_channel", detail, f"{where}/channel"))
        if sender is not None:
            sender = _sender(rules, sender, f"{where}/sender", faults)
    return plans.DraftStep(
        channel=step.channel,
        timeout=step.timeout,
        success=step.success,
        failover_on=None if step.failover_on is None else tuple(step.failover_on),
        provider=step.provider,
        sender=sender,
    )


def _provided(
    step: plans.DraftStep,
    where: str,
    tenant: str,
    providers: ProviderChoice,
    senders: Mapping[str, str],
    faults: list[FieldError],
) -> plans.DraftStep:
    """The step with the adapters that it may take, and the tenant's sender if it names none."""
    rules = CHANNELS.get(step.channel)
    if rules is None:
        return step
    adapters = providers.choose(tenant, step.channel, step.provider)
    if adapters is None:
        if step.provider is None:
            detail = f"No adapter for {step.channel} is active."
        else:
            detail = f"There is no provider named {step.provider} for {step.channel}."
            where = f"{where}/provider"
        faults.append(FieldError("no_provider_for_channel", detail, where))
        return step
    provable = rules.own if not any(adapters) and rules.own is not None else rules.provable
    if step.success is not None and not provable.reaches(step.success):
        detail = f"{step.channel} can prove at most {provable.value}."
        faults.append(FieldError("success_not_provable", detail, f"{where}/success"))
    sender = step.sender
    if sender is None and step.channel in senders:
        sender = _sender(rules, senders[step.channel], where, faults)
    if adapters == step.adapters and sender == step.sender:
        return step
    return replace(step, adapters=adapters, sender=sender)


def _sender(rules: ChannelRules, sender: str, where: str, faults: list[FieldError]) -> str | None:
    try:
        return rules.parse_sender(sender)
    except SenderProblem as problem:
        faults.append(FieldError(problem.code, problem.detail, where))
        return None


def _content(body: MessageBody, rendered: Content | None, faults: list[FieldError]) -> Content:
    """The content as the plan's channels complete it, whether or not the plan has faults."""
    content = _content_of(body.content) if rendered is None else rendered
    channels = body.to if body.plan is None else [step.channel for step in body.plan]
    for name, rules in CHANNELS.items():
        if name not in channels:
            continue
        try:
            content = _prepared(rules, content)
        except ContentProblem as problem:
            fault = FieldError(problem.code, problem.detail, f"/content/{problem.field}")
            if fault not in faults:
                faults.append(fault)
    return content


def _prepared(rules: ChannelRules, content: Content) -> Content:
    """The content as one channel completes it, when channels may carry different ones."""
    if not content.variants:
        return rules.prepare(content)
    own = content.on(rules.name)
    prepared = rules.prepare(own)
    text = prepared.text if prepared.text != own.text else content.text
    subject = prepared.subject if prepared.subject != own.subject else content.subject
    return msgspec.structs.replace(prepared, text=text, subject=subject, variants=content.variants)


def _content_of(body: ContentBody | None) -> Content:
    assert body is not None
    asked = body.template
    template = None
    if asked is not None:
        template = Template(asked.name, asked.language, tuple(asked.parameters))
    return Content(
        body.text,
        body.subject,
        body.html,
        template,
        body.data,
    )


def _unknown_channel(path: tuple[str | int, ...]) -> FieldError:
    return FieldError("unknown_channel", f"Channels: {', '.join(CHANNELS)}.", pointer(path))


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
