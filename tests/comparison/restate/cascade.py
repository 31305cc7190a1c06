"""The prototype's cascade on Restate and nothing else: SMS, its receipt, a timeout, and e-mail.

One invocation of a virtual object a message. What talks to providers are a service's handlers; a
receipt resolves an awakeable, or comes with the submission's answer if that was quick.

Line for line beside `tests/comparison/temporal/cascade.py`. What Hermes runs is
`virtual_objects/message.py`, which can do more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from restate import Context, ObjectContext, Service, VirtualObject, select

from adapters.restate.serde import JsonSerde

DELIVERED = "delivered"
SENT = "sent"
FAILED = "failed"


@dataclass(frozen=True)
class Order:
    """A message: where it may go, and the seconds that each step may take."""

    message: str
    sms: str
    email: str
    subject: str
    text: str
    sms_timeout: float
    email_timeout: float


@dataclass(frozen=True)
class Attempt:
    """What a handler is to send, until when (seconds since the epoch), and the awakeable that
    takes the receipt."""

    order: Order
    not_after: float
    receipt_ref: str | None = None


_ORDER: JsonSerde[Order] = JsonSerde(Order)
_ATTEMPT: JsonSerde[Attempt] = JsonSerde(Attempt)
_WORD: JsonSerde[str] = JsonSerde(str)


class Channels(Protocol):
    """The two channels. Both raise when a provider is busy: Restate tries again."""

    async def submit_sms(self, attempt: Attempt) -> str: ...

    async def send_mail(self, attempt: Attempt) -> str: ...


def create_cascade(channels: Channels) -> list[VirtualObject | Service]:
    """The object, and the service in front of the channels."""
    delivery = Service("CascadeDelivery")
    cascade = VirtualObject("Cascade")

    @delivery.handler(input_serde=_ATTEMPT, output_serde=_WORD)
    async def submit_sms(ctx: Context, attempt: Attempt) -> str:
        """Submit it once."""
        return await channels.submit_sms(attempt)

    @delivery.handler(input_serde=_ATTEMPT, output_serde=_WORD)
    async def send_mail(ctx: Context, attempt: Attempt) -> str:
        """Hand it to the relay once."""
        return await channels.send_mail(attempt)

    @cascade.handler(input_serde=_ORDER, output_serde=_WORD)
    async def run(ctx: ObjectContext, order: Order) -> str:
        """Walk through the two steps; ends with how far it came."""
        if await by_sms(ctx, order):
            return DELIVERED
        return SENT if await by_email(ctx, order) else FAILED

    async def by_sms(ctx: ObjectContext, order: Order) -> bool:
        until = await ctx.time() + order.sms_timeout
        receipt_ref, receipt = ctx.awakeable(serde=_WORD)
        timeout = ctx.sleep(timedelta(seconds=order.sms_timeout))
        answer = await ctx.service_call(submit_sms, Attempt(order, until, receipt_ref))
        if answer in (DELIVERED, FAILED):
            return answer == DELIVERED
        return await select(receipt=receipt, timeout=timeout) == ["receipt", DELIVERED]

    async def by_email(ctx: ObjectContext, order: Order) -> bool:
        until = await ctx.time() + order.email_timeout
        return await ctx.service_call(send_mail, Attempt(order, until)) == SENT

    return [delivery, cascade]
