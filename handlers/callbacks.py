"""Tells a tenant's own endpoint how a message ended."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from restate import Context, Service, TerminalError

from adapters.callbacks.sender import CallbackForbidden, CallbackSender
from adapters.restate.serde import JsonSerde
from domain.callback import StatusCallback
from handlers.retries import for_three_days

CALLBACK: JsonSerde[StatusCallback] = JsonSerde(StatusCallback)
_encode = msgspec.json.Encoder().encode

_RETRIES = for_three_days(first=timedelta(seconds=5), then="kill")


def create_status_callback(sender: CallbackSender) -> Service:
    """The service that posts callbacks. Restate repeats it until the receiver answers 2xx."""
    callbacks = Service(
        "StatusCallback",
        ingress_private=True,
        inactivity_timeout=timedelta(minutes=1),
        journal_retention=timedelta(0),
        idempotency_retention=timedelta(0),
        invocation_retry_policy=_RETRIES,
    )

    @callbacks.handler(input_serde=CALLBACK)
    async def deliver(ctx: Context, callback: StatusCallback) -> None:
        """Post one callback. Repeating is what the receiver expects, by `webhook-id`, so the post
        needs no journal entry: the handler has no other step."""
        body = _encode(callback.event)
        try:
            await sender.post(callback.tenant, callback.url, callback.id, body)
        except CallbackForbidden as error:
            raise TerminalError(str(error), status_code=403) from error

    return callbacks
