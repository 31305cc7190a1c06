"""What a stack's processes do from second to second while a scenario runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import psutil

from infra.bench import meter
from infra.local.stack import Stack

_EVERY = 1.0


@dataclass
class Series:
    """One entry a second: `at` in seconds since the epoch, of each process the processors it had
    (1 is one of them) and its resident memory in MB. A process that was down counts as none."""

    names: Sequence[str]
    at: list[float] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    rss: dict[str, list[float]] = field(default_factory=dict)

    def peak_mb(self, name: str) -> float | None:
        """The most memory that a process was seen with."""
        return max(self.rss.get(name, []), default=None)


@contextlib.asynccontextmanager
async def followed(stack: Stack, names: Sequence[str]) -> AsyncIterator[Series]:
    """The processes' series, which grows until the block ends."""
    series = Series(names, [], {name: [] for name in names}, {name: [] for name in names})
    task = asyncio.create_task(_follow(stack, series))
    try:
        yield series
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _follow(stack: Stack, series: Series) -> None:
    before: dict[str, tuple[int, float]] = {}
    then = time.monotonic()
    while True:
        await asyncio.sleep(_EVERY)
        now, pids = time.monotonic(), stack.pids()
        series.at.append(time.time())
        for name in series.names:
            used, rss = _look(pids.get(name))
            pid, already = before.get(name, (0, 0.0))
            # A successor's time counts from its own beginning.
            gained = used - already if pid == pids.get(name) else 0.0
            before[name] = (pids.get(name, 0), used)
            series.cpu[name].append(max(gained, 0.0) / (now - then))
            series.rss[name].append(rss)
        then = now


def _look(pid: int | None) -> tuple[float, float]:
    if pid is None:
        return 0.0, 0.0
    try:
        return meter.cpu_seconds({"it": pid})["it"], meter.rss_mb({"it": pid})["it"]
    except psutil.NoSuchProcess:
        return 0.0, 0.0
