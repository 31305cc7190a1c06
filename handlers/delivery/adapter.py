"""Every channel through adapters: one service in front of all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import msgspec
from restate import Context, Service

from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.ports import AttemptJournal, ProviderChoice
from domain.providers import OWN
from handlers.delivery.charging import Around, free
from handlers.delivery.options import REQUEST, SUBMISSION, delivery


class AdapterHost(Protocol):
    """Runs adapters."""

    async def deliver(self, request: DeliveryRequest, adapter: str) -> Submission:
        """Let the tenant's adapter hand over one attempt, unless it is too late for it. Raises
        nothing but cancellation."""


def create_adapter_delivery(
    host: AdapterHost, choice: ProviderChoice, attempts: AttemptJournal, around: Around = free
) -> Service:
    """The service in front of the host; `around` charges for it.

    `attempts` remembers what was begun, as for e-mail: a call that is repeated after a crash
    never sends the same attempt twice. `choice` serves requests that name no adapter, of plans
    that no API completed.
    """
    adapters = delivery(None)

    @adapters.handler(input_serde=REQUEST, output_serde=SUBMISSION)
    async def deliver(ctx: Context, request: DeliveryRequest) -> Submission:
        """Hand one attempt to a provider, or say what became of it."""
        adapter = request.provider or _chosen(choice, request)
        if adapter is None:
            return _nobody(f"no active adapter for {request.channel}")
        if request.provider is None:
            request = msgspec.structs.replace(request, provider=adapter)
        return await around(request, hand_over)

    async def hand_over(request: DeliveryRequest) -> Submission:
        assert request.provider is not None
        if not await attempts.begin(request.message, request.attempt):
            return await attempts.outcome(request.message, request.attempt)
        submission = await host.deliver(request, request.provider)
        await attempts.settle(request.message, request.attempt, submission)
        return submission

    return adapters


def _chosen(choice: ProviderChoice, request: DeliveryRequest) -> str | None:
    names = choice.choose(request.tenant, request.channel or "", None) or ()
    return next((name for name in names if name != OWN), None)


def _nobody(detail: str) -> Submission:
    failure = Failure(FailureCode.NOT_SUPPORTED, detail=detail)
    return Submission(SubmissionState.FAILED, at=datetime.now(UTC), failure=failure)
