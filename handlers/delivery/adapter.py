"""Every channel through adapters: one service in front of all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec
from restate import Context, Service

from adapters.under_way import UnderWay
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.ports import AttemptJournal, ProviderChoice
from domain.providers import OWN
from handlers.delivery.charging import Around, free
from handlers.delivery.options import REQUEST, SUBMISSION, Attempts, delivery


class AdapterHost(Protocol):
    """Runs adapters."""

    async def deliver(self, request: DeliveryRequest, adapter: str) -> Submission:
        """Let the tenant's adapter hand over one attempt, unless it is too late for it. Raises
        nothing but cancellation."""


Closed = Callable[[str, str, str], bool]
"""Whether no route of a tenant's leads to an adapter for a channel any more: an operator disabled
them, or the tenant's rules exclude them. From memory."""
OPEN: Final[Closed] = lambda tenant, channel, adapter: False  # noqa: E731


def create_adapter_delivery(
    host: AdapterHost,
    choice: ProviderChoice,
    attempts: AttemptJournal,
    around: Around = free,
    closed: Closed = OPEN,
    under_way: Attempts | None = None,
) -> Service:
    """The service in front of the host; `around` charges for it.

    `attempts` remembers what was begun, as for e-mail: a call that is repeated after a crash
    never sends the same attempt twice. `under_way` has what is being handed over. `choice` serves
    requests that name no adapter, of plans that no API completed. An adapter that is `closed` by
    now is passed over: the step's next provider gets the message.
    """
    adapters = delivery(None)
    doing: Attempts = UnderWay() if under_way is None else under_way

    @adapters.handler(input_serde=REQUEST, output_serde=SUBMISSION)
    async def deliver(ctx: Context, request: DeliveryRequest) -> Submission:
        """Hand one attempt to a provider, or say what became of it."""
        adapter = request.provider or _chosen(choice, request, closed)
        if adapter is None:
            # Before it went, another call may have handed the attempt to it.
            known = await attempts.known(request.message, request.attempt)
            return known or _nobody(f"no active adapter for {request.channel}")
        if request.provider is None:
            request = msgspec.structs.replace(request, provider=adapter)
        key = (request.message, request.attempt)
        return await doing.join(key, lambda: around(request, hand_over))

    async def hand_over(request: DeliveryRequest) -> Submission:
        assert request.provider is not None
        if not await attempts.begin(request.message, request.attempt):
            return await attempts.outcome(request.message, request.attempt)
        if closed(request.tenant, request.channel or "", request.provider):
            submission = _nobody(f"no route leads to {request.provider} any more")
        else:
            submission = await host.deliver(request, request.provider)
        await attempts.settle(request.message, request.attempt, submission)
        return submission

    return adapters


def _chosen(choice: ProviderChoice, request: DeliveryRequest, closed: Closed) -> str | None:
    tenant, channel = request.tenant, request.channel or ""
    names = choice.choose(tenant, channel, None) or ()
    taken = (name for name in names if name != OWN and not closed(tenant, channel, name))
    return next(taken, None)


def _nobody(detail: str) -> Submission:
    failure = Failure(FailureCode.NOT_SUPPORTED, detail=detail)
    return Submission(SubmissionState.FAILED, at=datetime.now(UTC), failure=failure)
