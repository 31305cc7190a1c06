"""What puts an address on a list by itself: bounces, complaints, unsubscriptions at the provider.

None of it may disturb a delivery: what cannot be noted is logged, and comes again with the next
bounce.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from adapters.suppression.store import SuppressionStore
from domain.channels.rules import AddressProblem
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.message import MessageOrder
from domain.ports import MessageLog
from domain.providers import OWN
from domain.suppression import Reason, is_hard_bounce

logger = logging.getLogger(__name__)

CHANNEL: Final = "email"
"""The only channel of which such things are reported."""

Submit = Callable[[DeliveryRequest], Awaitable[Submission]]
Around = Callable[[DeliveryRequest, Submit], Awaitable[Submission]]


class AutomaticSuppression:
    """For the handlers that hear of it. `log` knows to whom a message went."""

    def __init__(self, store: SuppressionStore, log: MessageLog) -> None:
        self._store = store
        self._log = log

    def around(self, channel: str | None, inner: Around) -> Around:
        """A delivery service's Around, which also notes the addresses that were refused for good;
        `channel` None is for a service that has several."""

        async def watched(request: DeliveryRequest, submit: Submit) -> Submission:
            submission = await inner(request, submit)
            failure = submission.failure
            if (
                failure is not None
                and submission.state is SubmissionState.FAILED
                and is_hard_bounce(channel or request.channel or "", failure)
            ):
                await self._put(request.tenant, request.to, Reason.HARD_BOUNCE, request.message)
            return submission

        return watched

    async def reported(self, tenant: str, adapter: str, message: str, reason: Reason) -> None:
        """A provider reported this about a tenant's message. Raises what the log raises."""
        logged = await self._log.get(message)
        if logged is None or logged.tenant != tenant:
            logger.info("%s: a report about %s, which is not known", tenant, message)
            return
        address = logged.order.to.get(CHANNEL)
        if address is not None and _by(logged.order, adapter):
            await self._put(tenant, address, reason, message)

    async def _put(self, tenant: str, address: str, reason: Reason, message: str) -> None:
        try:
            entry = self._store.entry(tenant, CHANNEL, address, reason, source=message)
            await asyncio.to_thread(self._store.put, tenant, [entry])
        except AddressProblem:
            # Redacted since: who was forgotten is not known any more.
            logger.info("%s: the address of %s is not there any more", tenant, message)
        except Exception:
            logger.exception("%s: %s was not noted for %s", tenant, reason.value, message)


def _by(order: MessageOrder, adapter: str) -> bool:
    """Whether an adapter may have carried the message as e-mail, rather than on another channel."""
    return any(
        step.channel == CHANNEL
        and (adapter in step.adapters or not any(name != OWN for name in step.adapters))
        for step in order.plan
    )
