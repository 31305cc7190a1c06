"""A small Restate service that calls SmsDelivery as the cascade does, and nothing more.

`python -m infra.bench.durable_caller`, in the place of the endpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import restate

from adapters.restate.serde import JsonSerde
from domain.delivery import DeliveryRequest, Receipt, Submission, SubmissionState, delivery_service
from infra.processes.serving import AsgiApp, main
from infra.settings import Settings

SERVICE = "DurablePath"
REQUEST: JsonSerde[DeliveryRequest] = JsonSerde(DeliveryRequest)
_SUBMISSION: JsonSerde[Submission] = JsonSerde(Submission)
_RECEIPT: JsonSerde[Receipt] = JsonSerde(Receipt)
_BUSY_PAUSE = 0.5


class Walked(msgspec.Struct, frozen=True):
    """How one message went: the last submission's state, how often the pool was busy, and the
    level that the receipt proved."""

    state: SubmissionState
    busy: int
    level: str | None = None


WALKED: JsonSerde[Walked] = JsonSerde(Walked)


def caller() -> restate.Service:
    """The service."""
    options: dict[str, Any] = {
        "journal_retention": timedelta(0),
        "idempotency_retention": timedelta(0),
    }
    service = restate.Service(SERVICE, **options)

    @service.handler(input_serde=REQUEST, output_serde=WALKED)
    async def one(ctx: restate.Context, request: DeliveryRequest) -> Walked:
        """Deliver one message and wait for its receipt. `receipt_ref` is filled in here."""
        ref, receipt = ctx.awakeable(serde=_RECEIPT)
        told = msgspec.structs.replace(request, receipt_ref=ref, with_receipt=True)
        body = REQUEST.serialize(told)
        busy = 0
        while True:
            answer = await ctx.generic_call(delivery_service("sms"), "deliver", body)
            submission = _SUBMISSION.read(answer)
            if submission.state is not SubmissionState.BUSY:
                break
            busy += 1
            await ctx.sleep(timedelta(seconds=submission.retry_after or _BUSY_PAUSE))
        if submission.state is SubmissionState.FAILED:
            return Walked(submission.state, busy)
        level = (submission.receipt or await receipt).level
        return Walked(submission.state, busy, None if level is None else level.value)

    return service


@asynccontextmanager
async def endpoint(settings: Settings) -> AsyncIterator[AsgiApp]:
    """The service's application."""
    yield restate.app([caller()])


if __name__ == "__main__":
    main("caller", endpoint, lambda settings: settings.endpoint, http="2")
