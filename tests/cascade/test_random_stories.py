"""Random stories, many at once, against a model of the cascade that fits on a page."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from domain.delivery import DeliveryRequest, Submission
from domain.failures import FailureCode
from domain.message import DeliveryPolicy, Level, Step
from domain.timeline import Status
from tests.cascade.channels import Behaviour, Hanging, busy, failed, taken, unknown
from tests.cascade.world import Cascade, email, order, receipt, sms

STORIES = 50
SOON, PATIENT = 2.0, 20.0

FATES = {
    "sms": [
        "arrives",
        "arrives",
        "is reported piece by piece",
        "is reported twice",
        "is not delivered",
        "falls silent",
        "is refused",
        "is refused for now",
        "is busy",
        "loses its answer",
        "loses its answer and arrives",
        "hangs",
    ],
    "email": [
        "arrives",
        "is refused",
        "is refused for now",
        "is busy",
        "loses its answer",
        "hangs",
    ],
}
_RUNS_OUT_OF_TIME = {"falls silent", "hangs"}


@dataclass
class Story:
    """A plan, what its calls meet, and what has to come of it."""

    policy: DeliveryPolicy
    plan: list[Step] = field(default_factory=list)
    script: list[Behaviour] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    in_doubt: set[str] = field(default_factory=set)
    status: Status | None = None
    channel: str | None = None

    @property
    def ending(self) -> tuple[Status, str | None]:
        """The status, and the channel of a message that arrived."""
        return self.status or Status.FAILED, self.channel


def invent(chance: random.Random, cascade: Cascade) -> Story:
    """A story of one to four steps, with its ending as the model sees it."""
    story = Story(chance.choice(list(DeliveryPolicy)))
    for _ in range(chance.randint(1, 4)):
        channel = chance.choice(["sms", "sms", "email"])
        fate = chance.choice(FATES[channel])
        time = SOON if fate in _RUNS_OUT_OF_TIME else PATIENT
        story.plan.append(sms(time) if channel == "sms" else email(time))
        story.told.append(f"{channel} {fate}")
        if story.status is None:
            _tell(story, channel, fate, chance, cascade)
    return story


def _tell(story: Story, channel: str, fate: str, chance: random.Random, cascade: Cascade) -> None:
    careful = story.policy is DeliveryPolicy.AT_MOST_ONCE
    if careful and channel in story.in_doubt:
        return
    early = chance.random() < 0.3
    proof = [Level.DELIVERED] if channel == "sms" else []
    arrives = Reported(cascade, taken(), proof, early=early)
    met: list[Behaviour]
    arrived = True
    match fate:
        case "arrives":
            met = [arrives]
        case "is reported piece by piece":
            met = [Reported(cascade, taken(Level.ACCEPTED), [Level.SENT, *proof], early=early)]
        case "is reported twice":
            met = [Reported(cascade, taken(), proof * 2, early=early)]
        case "is refused for now":
            met = [failed(FailureCode.PROVIDER_ERROR, 0.01), arrives]
        case "is busy":
            met = [busy()] * chance.randint(1, 2) + [arrives]
        case "loses its answer":
            arrived = not careful
            met = [unknown(), arrives] if arrived else [unknown()]
            story.in_doubt.add(channel)
        case "loses its answer and arrives":
            met = [Reported(cascade, unknown(), proof, early=early)]
        case "is not delivered":
            met, arrived = (
                [Reported(cascade, taken(), [FailureCode.RECIPIENT_UNREACHABLE], early=early)],
                False,
            )
        case "falls silent":
            met, arrived = [taken()], False
        case "is refused":
            met, arrived = [failed(FailureCode.RECIPIENT_INVALID)], False
        case "hangs":
            met, arrived = [Hanging()], False
            story.in_doubt.add(channel)
        case _:
            raise AssertionError(fate)
    story.script += met
    if arrived:
        story.status = Status.DELIVERED if channel == "sms" else Status.SENT
        story.channel = channel


@dataclass
class Reported:
    """Behaves as another, and brings reports: before its answer (`early`) or after it."""

    cascade: Cascade
    answer: Behaviour
    reports: Sequence[Level | FailureCode]
    early: bool

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def __call__(self, request: DeliveryRequest) -> Submission:
        """Called on the endpoint's loop; the reports go out from the scenario's."""
        sent = asyncio.run_coroutine_threadsafe(self._report(request), self.loop)
        if self.early:
            await asyncio.wrap_future(sent)
        return await self.answer(request)

    async def _report(self, request: DeliveryRequest) -> None:
        last = len(self.reports) - 1
        if last == 0:
            # As a bind pool does with the first that is final.
            said = receipt(self.reports[0], request.attempt)
            await self.cascade.engine.resolve(request.receipt_ref, said)
            return
        for index, said in enumerate(self.reports):
            report = receipt(said, request.attempt, final=index == last)
            await self.cascade.engine.report(request.message, report)


@pytest.mark.parametrize("seed", [1])
async def test_every_story_ends_as_the_model_says(cascade: Cascade, seed: int):
    chance = random.Random(seed)
    stories = [invent(chance, cascade) for _ in range(STORIES)]

    async def live(story: Story) -> tuple[Status, str | None]:
        message = await cascade.send(order(*story.plan, policy=story.policy), *story.script)
        record = await cascade.ended(message, within=30)
        assert len(cascade.channels.calls[message]) == len(story.script), story.told
        arrived = record.status in (Status.SENT, Status.DELIVERED)
        return record.status, record.channel if arrived else None

    endings = await asyncio.gather(*map(live, stories))
    wrong = [
        (story.policy.value, story.told, story.ending, ending)
        for story, ending in zip(stories, endings, strict=True)
        if story.ending != ending
    ]
    assert wrong == []


@pytest.mark.parametrize("seed", [3])
async def test_a_cancellation_at_any_moment_ends_every_story(cascade: Cascade, seed: int):
    chance = random.Random(seed)

    async def live(story: Story, calls: int) -> None:
        message = await cascade.send(order(*story.plan, policy=story.policy), *story.script)
        calls = min(calls, len(story.script))
        await cascade.called(message, calls, within=30)
        promised = await cascade.engine.cancel(message)
        record = await cascade.ended(message, within=30)
        # The object may have been ending already; it is never left without an ending.
        assert promised or record.status is not Status.CANCELED
        assert record.status in (Status.CANCELED, story.ending[0]), story.told

    stories = [invent(chance, cascade) for _ in range(STORIES)]
    await asyncio.gather(*(live(story, chance.randint(1, 4)) for story in stories))
