"""What an attempt costs, around its delivery: set aside before, entered in the ledger after.

A message whose route has no price passes with one look at the price lists. For any other one, the
most that the attempt may come to is set aside from the tenant's account before a provider hears of
it. Where the account has not got that, the attempt is limited to the routes that it can pay for.
What it comes to is in the answer (`Submission.cost`), from which the message's end settles it; what
was not spent goes back at once.

An attempt that was begun before a crash is not refused for want of money: it may have been sent.
Nor is it moved to a cheaper route then: what was sent is owed at the price of whoever has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from adapters.billing.spending import Answer, Spending
from domain.billing.prices import PriceBook, digits_of
from domain.billing.settlement import submitted
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.ports import AttemptJournal
from domain.sms.segmentation import segments_of

ASK_AGAIN: Final = 1.0
"""Seconds after which a message asks again whose account's money other processes have leased."""

Submit = Callable[[DeliveryRequest], Awaitable[Submission]]
Around = Callable[[DeliveryRequest, Submit], Awaitable[Submission]]
"""Calls what hands an attempt over, and does something before and after."""
Routes = Callable[[DeliveryRequest], Sequence[str]]
"""The carriers or adapters that may get an attempt."""
Refused = Callable[[DeliveryRequest, Submission], Awaitable[Submission]]
"""What to answer for an attempt that cannot be paid for: the refusal, if it never began."""

_PERHAPS_SENT: Final = (SubmissionState.TAKEN, SubmissionState.UNKNOWN)


class KnownPrices(Protocol):
    """The price lists, in memory: a Section."""

    @property
    def value(self) -> PriceBook:
        """As they are now."""


async def free(request: DeliveryRequest, submit: Submit) -> Submission:
    """The Around where nothing has a price."""
    return await submit(request)


class Charging:
    """Charges the tenants of one process. `clock` gives aware UTC times."""

    def __init__(
        self,
        prices: KnownPrices,
        spending: Spending,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._prices = prices
        self._spending = spending
        self._clock = clock

    def around(
        self,
        channel: str | None,
        routes: Routes,
        refused: Refused,
        candidates: Routes | None = None,
    ) -> Around:
        """The Around of a delivery service; `channel` None is for one that serves several.

        `candidates` are those of the `routes` that this very attempt may take, which costs more to
        know: it is asked only where the account may not have got what the dearest route costs.
        """
        fitting = candidates or routes

        async def charged(request: DeliveryRequest, submit: Submit) -> Submission:
            book = self._prices.value
            if not book:
                return await submit(request)
            named = channel or request.channel or ""
            return await self._charge(
                book, named, request, routes(request), fitting, submit, refused
            )

        return charged

    async def _charge(
        self,
        book: PriceBook,
        channel: str,
        request: DeliveryRequest,
        routes: Sequence[str],
        candidates: Routes,
        submit: Submit,
        refused: Refused,
    ) -> Submission:
        now, digits = self._clock(), digits_of(request.to)
        highest = book.highest(request.tenant, routes, channel, digits, now)
        if highest is None:
            return await submit(request)
        segments = segments_of(channel, request.content.text)
        most = highest.micros * segments
        limited, held = request, 0
        if most:
            taken = self._spending.take(request.tenant, most)
            if taken is None:
                names = candidates(request)
                prices = [book.highest(request.tenant, (n,), channel, digits, now) for n in names]
                costs = [0 if price is None else price.micros * segments for price in prices]
                answer, taken = await self._set_aside(request.tenant, costs or [most])
                if answer is not Answer.SET_ASIDE:
                    # Nothing was set aside for it, but what was sent before is owed.
                    submission = await refused(request, _refusal(answer, now))
                    return self._entered(book, channel, request, routes, submission, segments, 0)
                payable = tuple(n for n, cost in zip(names, costs, strict=True) if cost <= taken)
                if len(payable) < len(names):
                    limited = msgspec.structs.replace(request, carriers=payable)
            held = taken
        try:
            submission = await submit(limited)
        except BaseException:
            self._spending.give_back(request.tenant, held)
            raise
        return self._entered(book, channel, request, routes, submission, segments, held)

    async def _set_aside(self, tenant: str, costs: Sequence[int]) -> tuple[Answer, int]:
        """Set aside the highest of some costs that the account can pay. What is free is not a way
        out of an empty account."""
        for cost in sorted({cost for cost in costs if cost}, reverse=True):
            taken = self._spending.take(tenant, cost)
            if taken is not None:
                return Answer.SET_ASIDE, taken
            answer = await self._spending.ask(tenant, cost)
            if answer is not Answer.NEVER:
                return answer, cost
        return (Answer.NEVER if any(costs) else Answer.SET_ASIDE), 0

    def _entered(
        self,
        book: PriceBook,
        channel: str,
        request: DeliveryRequest,
        routes: Sequence[str],
        submission: Submission,
        segments: int,
        held: int,
    ) -> Submission:
        """The answer with its cost, which is on its way into the ledger."""
        priced = None
        if submission.state in _PERHAPS_SENT:
            # Whoever does not know the outcome may not know who had it, either.
            taken_by = routes if submission.provider is None else (submission.provider,)
            digits = digits_of(request.to)
            priced = book.highest(request.tenant, taken_by, channel, digits, submission.at)
        if priced is None:
            self._spending.give_back(request.tenant, held)
            return submission
        submission = msgspec.structs.replace(
            submission, cost=priced.of(submission.segments or segments)
        )
        movement = submitted(request.message, request.attempt, request.tenant, channel, submission)
        assert movement is not None
        self._spending.enter(held, movement)
        return submission


def begun_before(attempts: AttemptJournal) -> Refused:
    """The Refused of a channel whose attempts are kept in this journal. A refusal leaves nothing in
    it: whoever asks again may be told otherwise."""

    async def refused(request: DeliveryRequest, refusal: Submission) -> Submission:
        return await attempts.known(request.message, request.attempt) or refusal

    return refused


def _refusal(answer: Answer, now: datetime) -> Submission:
    if answer is Answer.NEVER:
        failure = Failure(FailureCode.INSUFFICIENT_FUNDS)
        return Submission(SubmissionState.FAILED, at=now, failure=failure)
    failure = Failure(
        FailureCode.INSUFFICIENT_FUNDS, detail="waiting for what is set aside for other messages"
    )
    return Submission(SubmissionState.BUSY, at=now, failure=failure, retry_after=ASK_AGAIN)
