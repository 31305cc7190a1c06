"""Things to do later, on one timer however many there are."""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any, Final

_TICK: Final = 0.02
"""Seconds. What falls due within one tick is done together, which keeps the CPU for the tested."""


class Schedule:
    """A heap of calls, and one timer for the first of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        self._ran_at = -math.inf
        self._running = False

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` in `delay` seconds, at most a tick late."""
        due = self._loop.time() + delay
        heapq.heappush(self._heap, (due, next(self._order), action, arguments))
        # While it runs, `_run` arms the timer itself, once.
        if due < self._armed_for and not self._running:
            self._arm(due)

    def drop(self, action: Callable[..., None]) -> None:
        """Forget every pending call of `action`."""
        self._heap = [entry for entry in self._heap if entry[2] != action]
        heapq.heapify(self._heap)

    def count(self, action: Callable[..., None]) -> int:
        """Pending calls of `action`."""
        return sum(1 for entry in self._heap if entry[2] == action)

    def stop(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = max(due, self._ran_at + _TICK)
        self._timer = self._loop.call_at(self._armed_for, self._run)

    def _run(self) -> None:
        self._running = True
        self._ran_at = now = self._loop.time()
        try:
            while self._heap and self._heap[0][0] <= now:
                _, _, action, arguments = heapq.heappop(self._heap)
                action(*arguments)
        finally:
            self._running = False
            self._armed_for = math.inf
            if self._heap:
                self._arm(self._heap[0][0])
