"""How well adapters and Hermes's own services do, counted where they hand messages over."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from domain.delivery import DeliveryRequest, Receipt, Submission, SubmissionState
from domain.message import Level
from domain.routing.destinations import calling_code, digits_of
from domain.routing.quality import Outcome, Quality, outcome_of
from domain.routing.routes import Kind, Route
from domain.routing.table import way_of

Submit = Callable[[DeliveryRequest], Awaitable[Submission]]
Around = Callable[[DeliveryRequest, Submit], Awaitable[Submission]]
"""Calls what hands an attempt over, and does something before and after."""
_REMEMBERED: Final = 50_000
"""Attempts that are remembered until they are reported on; the oldest go first."""


class DeliveryQuality:
    """Counts for one process. A report on an attempt that is not remembered, since another process
    handed it over or too many came after it, is not counted."""

    def __init__(self, quality: Quality) -> None:
        self._quality = quality
        self._sent: OrderedDict[tuple[str, int], tuple[str, str, float]] = OrderedDict()

    def around(self, channel: str | None, inner: Around) -> Around:
        """The same, counted; `channel` None is for a service that has several."""

        async def counted(request: DeliveryRequest, submit: Submit) -> Submission:
            submission = await inner(request, submit)
            self.answered(request, submission, channel or request.channel or "")
            return submission

        return counted

    def answered(self, request: DeliveryRequest, submission: Submission, channel: str) -> None:
        """Count an answer; one without a provider of its own is by the channel's own service."""
        adapter = request.provider if request.channel is not None else None
        kind = Kind.OWN if adapter is None else Kind.ADAPTER
        way = way_of(Route("any", channel, kind, adapter or ""), request.tenant)
        code = calling_code(digits_of(channel, request.to))
        at = (submission.begun_at or submission.at).timestamp()
        failure = submission.failure
        if submission.state is SubmissionState.TAKEN:
            self._quality.sent(way, code, at)
            if kind is Kind.OWN:
                # Nothing more will be heard of it.
                self._quality.delivered(way, code, at, submission.at.timestamp())
                return
            self._sent[request.message, request.attempt] = (way, code, at)
            if len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)
        elif submission.state is SubmissionState.UNKNOWN or (
            submission.state is SubmissionState.FAILED
            and failure is not None
            and outcome_of(failure.code) is Outcome.FAILED
        ):
            self._quality.sent(way, code, at)
            self._quality.failed(way, code, at)

    def reported(self, message: str, receipt: Receipt) -> None:
        """Count a report; what is not final, or does not prove delivery, says nothing yet."""
        key = (message, receipt.attempt)
        known = self._sent.get(key)
        if known is None:
            return
        way, code, at = known
        if receipt.failure is not None:
            if outcome_of(receipt.failure.code) is Outcome.FAILED:
                self._quality.failed(way, code, at)
        elif receipt.level is not None and receipt.level.reaches(Level.DELIVERED):
            self._quality.delivered(way, code, at, receipt.at.timestamp())
        else:
            return
        del self._sent[key]
