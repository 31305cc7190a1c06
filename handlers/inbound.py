"""Tells a tenant's own endpoint of a message from a person."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from restate import Context, Service
from restate.serde import BytesSerde

from adapters.callbacks.sender import CallbackSender
from adapters.restate.serde import JsonSerde
from domain.inbound import InboundDelivery
from handlers.retries import for_three_days

DELIVERY: JsonSerde[InboundDelivery] = JsonSerde(InboundDelivery)
_encode = msgspec.json.Encoder().encode

RETRIES = for_three_days(first=timedelta(seconds=1), then="pause")
"""Paused in the end, not killed: nobody else has the message."""

RECOGNISED = timedelta(days=1)
"""How long a second call with the same idempotency key is known for what it is: longer than the
bind pool is away after it handed a message over and before it could mark it."""


def create_inbound(sender: CallbackSender) -> Service:
    """The service that posts inbound messages. Restate repeats it until the receiver answers 2xx.

    The bind pool calls it through the ingress, with the event's id as the idempotency key.
    """
    inbound = Service(
        "Inbound",
        inactivity_timeout=timedelta(minutes=1),
        journal_retention=timedelta(0),
        idempotency_retention=RECOGNISED,
        invocation_retry_policy=RETRIES,
    )

    @inbound.handler(input_serde=BytesSerde())
    async def deliver(ctx: Context, body: bytes) -> None:
        """Post one message. Repeating is what the receiver expects, by `webhook-id`, so the post
        needs no journal entry: the handler has no other step.

        An address that must not be called and a tenant that is not known are the operator's
        mistakes, which can be mended while the message waits.
        """
        delivery = DELIVERY.read(body)
        await sender.post(delivery.tenant, delivery.url, delivery.id, _encode(delivery.event))

    return inbound
