"""Faults that a scenario strikes a running site with; each mends what it broke before it returns.

A kind of fault is a file here and an entry in the table of whoever uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.bench.site import Site


class Broken:
    """What is broken at present, each thing by one fault: of two that break the same, the first to
    end would undo the other one."""

    def __init__(self) -> None:
        self._things: set[str] = set()

    @contextlib.contextmanager
    def alone(self, *things: str) -> Iterator[bool]:
        """Keep others from these things for the block's time; False when one is broken already,
        and the block has to leave all of them alone."""
        if not self._things.isdisjoint(things):
            yield False
            return
        self._things.update(things)
        try:
            yield True
        finally:
            self._things.difference_update(things)


Strike = Callable[[Site, random.Random, Broken], Coroutine[Any, Any, bool]]
"""Breaks something, waits, and mends it; False when there was nothing to break: it is down, or
another fault has it. What is random about it comes from the argument only."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can go wrong. Of two, the one with twice the `weight` comes twice as often.
    One that is not `possible` on this machine has its turn all the same, so that a seed is the same
    course everywhere, and does nothing."""

    name: str
    strike: Strike
    weight: int = 1
    possible: bool = True


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault and when it strikes, in seconds from the beginning; `seed` is of its own chances."""

    at: float
    fault: Fault
    seed: int


PAUSE: Final = (2.0, 5.0)
"""Seconds between two blows: some overlap, as each lasts a few seconds itself."""
_LONGEST: Final = 10.0
"""Seconds before the end in which nothing new breaks."""


def draw(
    seed: int,
    seconds: float,
    faults: Sequence[Fault],
    *,
    pause: tuple[float, float] = PAUSE,
) -> list[Blow]:
    """What happens when: the same for the same seed, whatever comes of it."""
    chance = random.Random(seed)
    weights = [fault.weight for fault in faults]
    blows: list[Blow] = []
    at = chance.uniform(*pause)
    while at < max(seconds - _LONGEST, seconds / 2):
        [fault] = chance.choices(faults, weights)
        blows.append(Blow(at, fault, chance.randrange(2**32)))
        at += chance.uniform(*pause)
    return blows


async def strike(site: Site, blows: Sequence[Blow]) -> Counter[str]:
    """Let all of them happen at their time; returns when everything is mended, how often each fault
    struck, by its name."""
    began, broken = time.monotonic(), Broken()
    struck: Counter[str] = Counter()

    async def one(blow: Blow) -> None:
        hit = await blow.fault.strike(site, random.Random(blow.seed), broken)
        struck[blow.fault.name] += hit

    async with asyncio.TaskGroup() as tasks:
        for blow in blows:
            if not blow.fault.possible:
                continue
            await asyncio.sleep(began + blow.at - time.monotonic())
            tasks.create_task(one(blow))
    return struck
