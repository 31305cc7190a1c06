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
class Entry(Generic[T]):
    """An item that waits, as `push` returned it."""

    priority: int
    turn: float
    number: int
    item: T = field(compare=False)
    tenant: str = field(compare=False)
    weight: int = field(compare=False)
    gone: bool = field(default=False, compare=False)


class FairQueue(Generic[T]):
    """Items in the order in which they should be served; lower priorities first."""

    def __init__(self) -> None:
        self._heap: list[Entry[T]] = []
        self._number = itertools.count()
        self._clocks: dict[int, float] = {}
        self._turns: dict[tuple[int, str], float] = {}
        self._withdrawn = 0

    def __len__(self) -> int:
        return len(self._heap) - self._withdrawn

    def push(self, item: T, *, priority: int, tenant: str, weight: int = 1) -> Entry[T]:
        """Add an item; `weight` is how much of the service it takes."""
        clock = self._clocks.get(priority, 0.0)
        key = (priority, tenant)
        turn = max(clock, self._turns.get(key, 0.0)) + weight
        if len(self._turns) >= _TENANTS:
            self._turns = {k: t for k, t in self._turns.items() if t > self._clocks.get(k[0], 0.0)}
        self._turns[key] = turn
        entry = Entry(priority, turn, next(self._number), item, tenant, weight)
        heapq.heappush(self._heap, entry)
        return entry

    def withdraw(self, entry: Entry[T]) -> None:
        """Take out an item that still waits. Its tenant has its turn back: nobody pays for a
        service that was not given."""
        if entry.gone:
            return
        entry.gone = True
        self._withdrawn += 1
        key = (entry.priority, entry.tenant)
        if key in self._turns:
            self._turns[key] -= entry.weight
        if self._withdrawn * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry.gone]
            heapq.heapify(self._heap)
            self._withdrawn = 0
        self._drop_withdrawn()

    def peek(self) -> T:
        """The item whose turn it is. Raises IndexError when there is none."""
        return self._heap[0].item

    def pop(self) -> T:
        """Take it out."""
        entry = heapq.heappop(self._heap)
        entry.gone = True
        self._clocks[entry.priority] = entry.turn
        self._drop_withdrawn()
        return entry.item

    def first_priority(self) -> int | None:
        """The priority of the item whose turn it is."""
        return self._heap[0].priority if self._heap else None

    def drain(self) -> list[T]:
        """Take everything out, in order. All tenants are equal afterwards."""
        entries = sorted(entry for entry in self._heap if not entry.gone)
        for entry in entries:
            entry.gone = True
        self._heap.clear()
        self._turns.clear()
        self._withdrawn = 0
        return [entry.item for entry in entries]

    def _drop_withdrawn(self) -> None:
        while self._heap and self._heap[0].gone:
            heapq.heappop(self._heap)
            self._withdrawn -= 1
