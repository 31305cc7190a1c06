"""One-for-one supervision: a child that ends is started again, and too many ends are told.

The tree is mesh → carrier → connection. A connection that ends is redialed by its carrier's
supervisor alone; when connections keep ending, the supervisor escalates: the carrier is marked
down, and its children are started ever more rarely until one stays.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: after `lasted` seconds of service, 0 when it never came up.

    `hopeless` says that another try will fail in the same way until somebody acts (a password
    that is refused).
    """

    reason: str
    lasted: float = 0.0
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Intensity:
    """How a child is restarted; times in seconds.

    The first restart after a steady service is immediate. Then pauses double from `first_pause`
    to `longest_pause`. More than `failures` ends within `period` escalate, and from then on the
    pause is `slow_pause` until a child has served for `steady` seconds; a hopeless end escalates
    at once and pauses for `hopeless_pause`. Every pause is shortened by up to a half at random.
    """

    first_pause: float = 0.2
    longest_pause: float = 2.0
    slow_pause: float = 5.0
    hopeless_pause: float = 60.0
    steady: float = 2.0
    failures: int = 10
    period: float = 60.0


class Supervisor:
    """Keeps children alive. Made on a running event loop.

    `on_escalate` hears True when the supervisor gives up hoping and False when a child has served
    steadily again.
    """

    def __init__(self, intensity: Intensity, on_escalate: Callable[[bool], None]) -> None:
        self._intensity = intensity
        self._on_escalate = on_escalate
        self._loop = asyncio.get_running_loop()
        self._ends: deque[float] = deque(maxlen=intensity.failures + 1)
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._last_lives: set[Hashable] = set()
        self.escalated = False
        self.restarts = 0

    def start(self, child: Hashable, name: str, life: Callable[[], Awaitable[Exit]]) -> None:
        """Supervise a child: `life` is one life of it, from its start to its end. `child` is what
        it is known by here, `name` what people read."""
        self._tasks[child] = self._loop.create_task(self._keep(child, name, life))

    def retire(self, child: Hashable) -> None:
        """Let the child's present life be its last."""
        if child in self._tasks:
            self._last_lives.add(child)

    async def stop(self, child: Hashable) -> None:
        """Stop supervising a child; its present life is canceled."""
        task = self._tasks.pop(child, None)
        self._last_lives.discard(child)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Stop every child."""
        await asyncio.gather(*(self.stop(child) for child in list(self._tasks)))

    def steady(self) -> None:
        """A child has served for a while: what was escalated is over."""
        self._ends.clear()
        if self.escalated:
            self.escalated = False
            self._on_escalate(False)

    async def _keep(self, child: Hashable, name: str, life: Callable[[], Awaitable[Exit]]) -> None:
        pause = 0.0
        while True:
            if pause:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            try:
                end = await life()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                # A fault of ours in one connection is no reason to lose it for good.
                logger.exception("%s failed", name)
                end = Exit(f"{type(error).__name__}: {error}")
            if child in self._last_lives:
                return
            self.restarts += 1
            logger.warning("%s: %s", name, end.reason)
            pause = self._next_pause(end, pause)

    def _next_pause(self, end: Exit, pause: float) -> float:
        limits = self._intensity
        now = self._loop.time()
        if end.lasted >= limits.steady:
            self._ends.clear()
        self._ends.append(now)
        too_many = len(self._ends) > limits.failures and now - self._ends[0] <= limits.period
        if (end.hopeless or too_many) and not self.escalated:
            self.escalated = True
            self._on_escalate(True)
        if end.hopeless:
            return limits.hopeless_pause
        if end.lasted >= limits.steady:
            return 0.0
        if self.escalated:
            return limits.slow_pause
        return min(max(pause * 2, limits.first_pause), limits.longest_pause)
