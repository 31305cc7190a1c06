"""Every channel's test messages: a provider that follows a script and reaches nobody.

It opens no socket and knows no account. The receipts are the script's, told to the Message object
by Restate, so that a restart loses none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from restate import Context, Service

from adapters.restate.serde import JsonSerde
from domain.delivery import SANDBOX_SERVICE, DeliveryRequest, Receipt, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.mode import Mode
from domain.sandbox import PROVIDER, play
from handlers.delivery.options import SUBMISSION

REQUEST: JsonSerde[DeliveryRequest] = JsonSerde(DeliveryRequest)
RECEIPT: JsonSerde[Receipt] = JsonSerde(Receipt)


def create_sandbox_delivery() -> Service:
    """The service. Unlike the others it keeps a journal while it runs: what it sends are
    receipts, and a repeated call must not find another time for them."""
    sandbox = Service(
        SANDBOX_SERVICE,
        journal_retention=timedelta(0),
        idempotency_retention=timedelta(0),
        ingress_private=True,
    )

    @sandbox.handler(input_serde=REQUEST, output_serde=SUBMISSION)
    async def deliver(ctx: Context, request: DeliveryRequest) -> Submission:
        """Play one attempt of a test message."""
        now = datetime.fromtimestamp(await ctx.time(), UTC)
        if request.mode is not Mode.TEST or request.channel is None:
            # It would be called delivered, and reach nobody.
            failure = Failure(FailureCode.INTERNAL, detail="the sandbox takes test messages only")
            return Submission(SubmissionState.FAILED, at=now, provider=PROVIDER, failure=failure)
        playing = play(request, now)
        for after, receipt in playing.receipts:
            ctx.generic_send(
                "Message",
                "receipt",
                RECEIPT.serialize(receipt),
                key=request.message,
                send_delay=after or None,
            )
        if playing.pause:
            await ctx.sleep(playing.pause)
        return playing.submission

    return sandbox
