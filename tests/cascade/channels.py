"""Delivery services with the real contract and, behind them, a provider that follows a script."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime

from restate import Context, Service

from adapters.under_way import UnderWay
from domain.delivery import AttemptRef, DeliveryRequest, Receipt, Submission, SubmissionState
from domain.failures import Failure, FailureCode
from domain.message import Level
from handlers.delivery.options import ATTEMPT_REF, REQUEST, SUBMISSION, delivery

Behaviour = Callable[[DeliveryRequest], Awaitable[Submission]]
PROVIDER = "scripted"


def taken(level: Level = Level.SENT, receipt: Receipt | None = None) -> Behaviour:
    """The provider has it, and may have proven it already."""

    async def behave(request: DeliveryRequest) -> Submission:
        ids = (f"p{request.attempt}",)
        return _answer(SubmissionState.TAKEN, level=level, provider_ids=ids, receipt=receipt)

    return behave


def failed(code: FailureCode, retry_after: float | None = None) -> Behaviour:
    """It was not sent."""

    async def behave(request: DeliveryRequest) -> Submission:
        return _answer(SubmissionState.FAILED, failure=Failure(code), retry_after=retry_after)

    return behave


def busy(retry_after: float = 0.05) -> Behaviour:
    """It was not sent; the provider wants to be asked again."""

    async def behave(request: DeliveryRequest) -> Submission:
        failure = Failure(FailureCode.PROVIDER_THROTTLED)
        return _answer(SubmissionState.BUSY, failure=failure, retry_after=retry_after)

    return behave


def unknown() -> Behaviour:
    """The answer was lost."""

    async def behave(request: DeliveryRequest) -> Submission:
        return _answer(SubmissionState.UNKNOWN, failure=Failure(FailureCode.OUTCOME_UNKNOWN))

    return behave


def honest() -> Behaviour:
    """A provider that looks at the clock as ours do, and takes what is not too late."""

    async def behave(request: DeliveryRequest) -> Submission:
        late = datetime.now(UTC) >= request.not_after
        return await (failed(FailureCode.TOO_LATE) if late else taken())(request)

    return behave


def crashes() -> Behaviour:
    """The handler dies; Restate calls it again."""

    async def behave(request: DeliveryRequest) -> Submission:
        raise ConnectionError("the process of the delivery handler went away")

    return behave


class Hanging:
    """Answers when it is told to, as it is told to."""

    def __init__(self) -> None:
        self._told: Future[Behaviour] = Future()

    async def __call__(self, request: DeliveryRequest) -> Submission:
        behave = await asyncio.wrap_future(self._told)
        return await behave(request)

    def release(self, behaviour: Behaviour) -> None:
        """Let it answer like this, if it was not told before."""
        if not self._told.done():
            self._told.set_result(behaviour)


@dataclass
class Call:
    """One call of a delivery service, and its answer once there is one."""

    channel: str
    request: DeliveryRequest
    answer: Submission | None = None


@dataclass
class ScriptedChannels:
    """What each message meets: its calls take the behaviours of its script in their order.

    A message whose script is at its end is taken.
    """

    scripts: dict[str, list[Behaviour]] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    released: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    hanging: list[Hanging] = field(default_factory=list)

    def close(self) -> None:
        """Let go of every call that still hangs."""
        for behaviour in self.hanging:
            behaviour.release(taken())

    def services(self) -> list[Service]:
        """`SmsDelivery`, `EmailDelivery` and `AdapterDelivery`."""
        return [self._service("sms"), self._service("email"), self._service(None)]

    def _service(self, channel: str | None) -> Service:
        service = delivery(channel)
        under_way: UnderWay[tuple[str, int], Submission] = UnderWay()
        made: dict[tuple[str, int], Submission] = {}

        @service.handler(input_serde=REQUEST, output_serde=SUBMISSION)
        async def deliver(ctx: Context, request: DeliveryRequest) -> Submission:
            # As the product's channels do, whoever asks: an attempt is made once.
            key = (request.message, request.attempt)
            return made[key] if key in made else await under_way.join(key, lambda: begin(request))

        async def begin(request: DeliveryRequest) -> Submission:
            call = Call(channel or f"{request.channel} by adapter", request)
            self.calls[request.message].append(call)
            script = self.scripts.get(request.message)
            behave = script.pop(0) if script else taken()
            if isinstance(behave, Hanging):
                self.hanging.append(behave)
            call.answer = await behave(request)
            if call.answer.state is not SubmissionState.BUSY:
                # Also when whoever asked has gone meanwhile.
                made[request.message, request.attempt] = call.answer
            return call.answer

        @service.handler(input_serde=ATTEMPT_REF)
        async def release(ctx: Context, ref: AttemptRef) -> None:
            self.released[ref.message].append((channel or "adapter", ref.attempt))

        return service


def _answer(state: SubmissionState, **facts: object) -> Submission:
    return Submission(state, at=datetime.now(UTC), provider=PROVIDER, **facts)  # type: ignore[arg-type]
