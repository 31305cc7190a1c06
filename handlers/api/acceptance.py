"""Taking a message: hand it to Restate, then list it, once for each idempotency key."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from starlette.requests import Request

from domain.ids import RANDOMNESS, derived_id, fresh_id
from domain.message import MessageOrder
from domain.mode import Mode
from domain.ports import Principal
from domain.providers import OWN
from domain.tenancy import Tenant
from handlers.api import orders
from handlers.api.problems import Problem
from handlers.api.routes import routed
from handlers.api.schemas import MessageBody
from handlers.api.services import Services
from handlers.api.tracing import Trace
from handlers.pipeline.draft import Draft

_log: Final = logging.getLogger("hermes.api")
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.25
_MAX_KEY_LENGTH: Final = 255
_LONGEST_RETRY_AFTER: Final = 60
_PAUSED: Final = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class Submission:
    """One message of a request. `index` is its place in a batch, None for a single one.

    `raw` is its JSON as the client sent it, `body` the same parsed.
    """

    principal: Principal
    raw: bytes
    body: MessageBody
    trace: Trace
    key: str | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A message that Restate holds. `replayed` says that an earlier request had brought it."""

    id: str
    order: MessageOrder
    replayed: bool


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header. Raises Problem when it is there and cannot be one."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    key = values[0]
    fits = 1 <= len(key) <= _MAX_KEY_LENGTH and key.isascii() and key.isprintable()
    if len(values) > 1 or not fits:
        raise Problem("invalid_idempotency_key")
    return key


async def accept(services: Services, submission: Submission) -> Acceptance:
    """Take the message durably, or find that it was taken before.

    Raises Problem when it is refused, EngineUnavailable when Restate did not confirm it; then
    nothing has been listed.
    """
    if submission.key is None:
        return await _take(services, submission)
    return await _take_once(services, submission, submission.key)


async def _take(services: Services, submission: Submission) -> Acceptance:
    _turn_away(services, submission)
    now = services.clock()
    draft = _draft(services, submission, fresh_id(now, os.urandom(RANDOMNESS)), now, None)
    order = await _admitted(services, draft)
    await _hand_over(services, draft.id, order, submission.trace, repeatable=False)
    await _list(services, draft.id, order)
    return Acceptance(draft.id, order, replayed=False)


async def _take_once(services: Services, submission: Submission, key: str) -> Acceptance:
    principal = submission.principal
    message_id = derived_id(principal.tenant, key, submission.index, mode=principal.mode)
    fingerprint = orders.fingerprint_of(submission.raw)
    # Before the checks that depend on the clock: what was right the first time stays right.
    listed = await services.log.get(message_id)
    if listed is not None:
        return _replay(message_id, listed.order, fingerprint)
    _turn_away(services, submission)
    draft = _draft(services, submission, message_id, services.clock(), fingerprint)
    order = await _admitted(services, draft)
    if await _hand_over(services, message_id, order, submission.trace, repeatable=True):
        await _list(services, message_id, order)
        return Acceptance(message_id, order, replayed=False)
    # Another request with this key is under way, or one broke off before it was listed. What the
    # message says stays claimed: it is there, under this id.
    draft.claim = None
    services.pipeline.give_back(draft)
    first = await _first_order(services, message_id)
    replay = _replay(message_id, first, fingerprint)
    await _list(services, message_id, first)
    return replay


def _draft(
    services: Services,
    submission: Submission,
    message_id: str,
    now: datetime,
    fingerprint: str | None,
) -> Draft:
    principal = submission.principal
    # Not yet in memory, or gone since the key was checked: without settings of its own.
    tenant = services.tenants.tenant(principal.tenant) or Tenant(principal.tenant)
    return Draft(
        id=message_id,
        principal=principal,
        tenant=tenant,
        raw=submission.raw,
        body=submission.body,
        now=now,
        trace_id=submission.trace.id,
        fingerprint=fingerprint,
        index=submission.index,
    )


def _turn_away(services: Services, submission: Submission) -> None:
    """Refuse what there is no room for, before the layers look at it: a flood is little else, and
    must not take the time of those who have room. Raises Problem."""
    body, principal = submission.body, submission.principal
    if principal.mode is not Mode.LIVE or body.send_at is not None:
        return
    if body.plan is not None:
        channel, named = body.plan[0].channel, body.plan[0].provider
    elif len(body.to) == 1:
        [channel], named = body.to, None
    else:
        return
    after = services.pressure.excess(principal.tenant, channel, body.category)
    if after > 0 and services.providers.choose(principal.tenant, channel, named) != ():
        # A way past the channel's queue may be there: the router knows.
        after = services.pressure.excess(principal.tenant, None, body.category)
    if after > 0:
        raise _no_room(services, channel, after)


async def _admitted(services: Services, draft: Draft) -> MessageOrder:
    """The order, once it may be handed over; its times count from then.

    Raises the Problem of the layer that refuses it, `account_empty` when it has a price and the
    tenant's account has not got what it would set aside, or `queue_full` or `carriers_down` when
    the message would wait too long for its first step.
    """
    order = await services.pipeline.admit(draft)
    if order.mode is Mode.LIVE and services.penniless(draft.id, order):
        services.pipeline.give_back(draft)
        raise Problem("account_empty")
    try:
        order = routed(services.router, draft.id, order)
    except Problem:
        services.pipeline.give_back(draft)
        raise
    if tell := services.followed(order.tenant):
        order = msgspec.structs.replace(order, tell=tell)
    if not _is_due(order):
        return order
    after = await services.pressure.admit(order.tenant, _queue(order), order.category)
    if after > 0:
        services.pipeline.give_back(draft)
        raise _no_room(services, order.plan[0].channel, after)
    now = services.clock()
    return orders.later(order, now) if now - order.accepted_at > _PAUSED else order


def _no_room(services: Services, channel: str, after: float) -> Problem:
    headers = {"Retry-After": str(math.ceil(min(max(after, 1), _LONGEST_RETRY_AFTER)))}
    standstill = services.pressure.standstill(channel)
    if standstill is not None:
        detail = f"No carrier takes messages now: {standstill}. Nothing was accepted."
        return Problem("carriers_down", detail, headers=headers)
    return Problem("queue_full", headers=headers)


def _queue(order: MessageOrder) -> str | None:
    """The channel of ours that its first step waits for, if it does."""
    step = order.plan[0]
    return step.channel if not step.adapters or step.adapters[0] == OWN else None


async def _hand_over(
    services: Services, message_id: str, order: MessageOrder, trace: Trace, *, repeatable: bool
) -> bool:
    """Give the message to Restate; False when it had it already. Raises EngineUnavailable."""
    new = False
    try:
        new = await services.engine.start(
            message_id, order, traceparent=trace.traceparent, repeatable=repeatable
        )
    finally:
        if _is_due(order):
            services.pressure.handed_over(order.tenant, _queue(order), there=new)
    return new


def _is_due(order: MessageOrder) -> bool:
    """Whether it is on its way to somebody at once."""
    return order.send_at is None and order.mode is Mode.LIVE


def _replay(message_id: str, first: MessageOrder, fingerprint: str) -> Acceptance:
    if first.fingerprint != fingerprint:
        raise Problem("idempotency_key_reused")
    return Acceptance(message_id, first, replayed=True)


async def _first_order(services: Services, message_id: str) -> MessageOrder:
    """The order that the first request with this id brought.

    Restate shows it once its handler runs, the log once it is written: wait for either. Raises
    Problem `request_in_progress` when neither has it in time.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + services.limits.repeat_patience
    pause = _FIRST_PAUSE
    while True:
        live = await services.engine.status(message_id)
        if live is not None:
            return live[0]
        listed = await services.log.get(message_id)
        if listed is not None:
            return listed.order
        if loop.time() >= give_up:
            raise Problem("request_in_progress", headers={"Retry-After": "1"})
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _list(services: Services, message_id: str, order: MessageOrder) -> None:
    """Add the message to the log.

    Restate holds the message already, and its end writes the row in any case: a failure here must
    not turn the answer into an error, for the client would send a second message.
    """
    try:
        await services.log.accepted(message_id, order)
    except Exception:
        _log.exception(
            "message %s is under way but could not be listed",
            message_id,
            extra={"message_id": message_id, "tenant": order.tenant},
        )
