"""Faults that a scenario strikes a running site with; each mends what it broke before it returns.

A kind of fault is a file here and an entry in the table of whoever uses it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.bench.site import Site

Strike = Callable[[Site, random.Random], Coroutine[Any, Any, None]]
"""Breaks something, waits, and mends it. What is random about it comes from the argument only."""


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


async def strike(site: Site, blows: Sequence[Blow]) -> None:
    """Let all of them happen at their time; returns when everything is mended."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for blow in blows:
            if not blow.fault.possible:
                continue
            await asyncio.sleep(began + blow.at - time.monotonic())
            tasks.create_task(blow.fault.strike(site, random.Random(blow.seed)))
