"""How much memory the calls of one tenant may hold at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

BUDGET_MB: Final = 1_024
"""Of one tenant in one process: sixteen calls of a guest that may have 64 MB."""
OWN_MB: Final = 1
"""What a call of Hermes's own adapters is counted as: 500 in flight hold 0.5 MB each, with their
connections. Their manifests' limits are never met."""


class Room:
    """Counts the megabytes of calls under way by tenant. On one event loop."""

    def __init__(self, budget: int = BUDGET_MB) -> None:
        self._budget = budget
        self._used: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}

    def used(self, tenant: str) -> int:
        """Megabytes."""
        return self._used.get(tenant, 0)

    def take(self, tenant: str, megabytes: int) -> bool:
        """Whether there was room, and nobody who waits for it."""
        if tenant in self._waiting or self.used(tenant) + megabytes > self._budget:
            return False
        self._used[tenant] = self.used(tenant) + megabytes
        return True

    async def wait(self, tenant: str, megabytes: int, seconds: float) -> None:
        """Take it when there is room, first come, first served. Raises TimeoutError."""
        if self.take(tenant, megabytes):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append((megabytes, turn))
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # It was given just now, to nobody.
                self.give_back(tenant, megabytes)
            else:
                turn.cancel()
                self._let_in(tenant)
            raise

    def give_back(self, tenant: str, megabytes: int) -> None:
        """The call has ended."""
        self._used[tenant] -= megabytes
        self._let_in(tenant)
        if not self._used[tenant]:
            del self._used[tenant]

    def _let_in(self, tenant: str) -> None:
        waiting = self._waiting.get(tenant, deque())
        while waiting:
            megabytes, turn = waiting[0]
            if not turn.done():
                if self.used(tenant) + megabytes > self._budget:
                    return
                self._used[tenant] = self.used(tenant) + megabytes
                turn.set_result(None)
            waiting.popleft()
        self._waiting.pop(tenant, None)
