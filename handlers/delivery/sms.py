"""SMS over SMPP. Served by the bind pool's own process, so that a delivery is one hop."""

from __future__ import annotations

from restate import Context, Service

from adapters.smpp.pool import BindPool
from domain.delivery import AttemptRef, DeliveryRequest, Submission
from handlers.delivery.options import ATTEMPT_REF, REQUEST, SUBMISSION, delivery


def create_sms_delivery(pool: BindPool) -> Service:
    """The service in front of a bind pool.

    The pool's journal makes `deliver` safe to repeat, so its side effect needs no journal entry
    of Restate's: the handler has no other step, and its answer is what Restate records.
    """
    sms = delivery("sms")

    @sms.handler(input_serde=REQUEST, output_serde=SUBMISSION)
    async def deliver(ctx: Context, request: DeliveryRequest) -> Submission:
        """Submit one attempt to a carrier, or say what became of it."""
        return await pool.deliver(request)

    @sms.handler(input_serde=ATTEMPT_REF)
    async def release(ctx: Context, ref: AttemptRef) -> None:
        """The cascade no longer listens: later receipts go to the Message object."""
        await pool.release(ref)

    return sms
