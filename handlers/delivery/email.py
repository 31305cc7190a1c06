"""E-mail through an SMTP relay. Its acceptance is the last that is heard of a mail."""

from __future__ import annotations

from restate import Context, Service

from adapters.email.relay import Relay
from adapters.under_way import UnderWay
from domain.delivery import DeliveryRequest, Submission
from domain.ports import AttemptJournal
from handlers.delivery.charging import Around, free
from handlers.delivery.options import REQUEST, SUBMISSION, Attempts, delivery


def create_email_delivery(
    relay: Relay, attempts: AttemptJournal, around: Around = free, under_way: Attempts | None = None
) -> Service:
    """The service in front of a relay; `around` charges for it.

    `attempts` remembers what was begun, so a call that is repeated after a crash never sends the
    same attempt twice: it answers that the outcome is unknown, and the cascade decides. `under_way`
    has what is being handed over.
    """
    email = delivery("email")
    doing: Attempts = UnderWay() if under_way is None else under_way

    @email.handler(input_serde=REQUEST, output_serde=SUBMISSION)
    async def deliver(ctx: Context, request: DeliveryRequest) -> Submission:
        """Hand one mail to the relay, or say what became of it."""
        key = (request.message, request.attempt)
        return await doing.join(key, lambda: around(request, hand_over))

    async def hand_over(request: DeliveryRequest) -> Submission:
        # Before anything is noted: what waits when the process dies was not begun.
        async with relay.turn():
            if not await attempts.begin(request.message, request.attempt):
                return await attempts.outcome(request.message, request.attempt)
            submission = await relay.deliver(request)
        await attempts.settle(request.message, request.attempt, submission)
        return submission

    return email
