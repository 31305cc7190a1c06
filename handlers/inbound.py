"""Tells a tenant's own endpoint of a message from a person."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from restate import Context, RunOptions, Service
from restate.serde import BytesSerde

from adapters.callbacks.sender import CallbackSender
from adapters.restate.serde import JsonSerde
from domain.inbound import InboundDelivery, with_opt_out
from handlers.opt_outs import OBEYED, OptOuts
from handlers.retries import for_three_days

DELIVERY: JsonSerde[InboundDelivery] = JsonSerde(InboundDelivery)
_encode = msgspec.json.Encoder().encode

RETRIES = for_three_days(first=timedelta(seconds=1), then="pause")
"""Paused in the end, not killed: nobody else has the message."""

RECOGNISED = timedelta(days=1)
"""How long a second call with the same idempotency key is known for what it is: longer than the
bind pool is away after it handed a message over and before it could mark it."""


def create_inbound(sender: CallbackSender, opt_outs: OptOuts | None = None) -> Service:
    """The service that posts inbound messages. Restate repeats it until the receiver answers 2xx.

    The bind pool calls it through the ingress, with the event's id as the idempotency key.
    `opt_outs` obeys STOP, START and HELP before the tenant is told.
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
        needs no journal entry: it is the last step, and but for opt-outs the only one.

        An address that must not be called and a tenant that is not known are the operator's
        mistakes, which can be mended while the message waits.
        """
        delivery = DELIVERY.read(body)
        said = None if opt_outs is None else opt_outs.command(delivery)
        if opt_outs is not None and said is not None:
            obeyed = await ctx.run_typed(
                "opt out", opt_outs.obey, RunOptions(serde=OBEYED), delivery=delivery, said=said
            )
            if obeyed.reply is not None and obeyed.reply_id is not None:
                ctx.generic_send("Message", "send", _encode(obeyed.reply), key=obeyed.reply_id)
            if obeyed.command is not None:
                delivery = with_opt_out(delivery, obeyed.command.value)
        if not delivery.url:
            return
        await sender.post(delivery.tenant, delivery.url, delivery.id, _encode(delivery.event))

    return inbound
