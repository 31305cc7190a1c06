"""Who goes next: by priority, and within one priority every tenant in turn.

Start-time fair queueing: each tenant's requests are numbered on a virtual clock that runs with
the service, so a tenant with one message waits for one turn, not for another's ten thousand.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
_TENANTS = 10_000


@dataclass(order=True, slots=True)
class _Entry(Generic[T]):
    priority: int
    turn: float
    number: int
    item: T = field(compare=False)


class FairQueue(Generic[T]):
    """Items in the order in which they should be served; lower priorities first."""

    def __init__(self) -> None:
        self._heap: list[_Entry[T]] = []
        self._number = itertools.count()
        self._clocks: dict[int, float] = {}
        self._turns: dict[tuple[int, str], float] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, item: T, *, priority: int, tenant: str, weight: int = 1) -> None:
        """Add an item; `weight` is how much of the service it takes."""
        clock = self._clocks.get(priority, 0.0)
        key = (priority, tenant)
        turn = max(clock, self._turns.get(key, 0.0)) + weight
        if len(self._turns) >= _TENANTS:
            self._turns = {k: t for k, t in self._turns.items() if t > self._clocks.get(k[0], 0.0)}
        self._turns[key] = turn
        heapq.heappush(self._heap, _Entry(priority, turn, next(self._number), item))

    def peek(self) -> T:
        """The item whose turn it is. Raises IndexError when there is none."""
        return self._heap[0].item

    def pop(self) -> T:
        """Take it out."""
        entry = heapq.heappop(self._heap)
        self._clocks[entry.priority] = entry.turn
        return entry.item

    def first_priority(self) -> int | None:
        """The priority of the item whose turn it is."""
        return self._heap[0].priority if self._heap else None

    def drain(self) -> list[T]:
        """Take everything out, in order."""
        items = [entry.item for entry in sorted(self._heap)]
        self._heap.clear()
        return items
