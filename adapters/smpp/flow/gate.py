"""Lets messages in no faster than they get through, each tenant in turn.

Open as long as nothing is behind. Then its pace follows what does get through, a little above it or
below, so that those under way are always as many as get through in `LAG` seconds: fewer would leave
the machine idle, more would only wait elsewhere. It opens once nobody has waited for a while.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from adapters.smpp.flow.fairness import FairQueue
from adapters.smpp.flow.rate import TokenBucket

PATIENCE = 0.75
"""Seconds that a message waits here at most."""
LAG = 0.5
"""Seconds behind from which on it is not open, and that its pace then aims at."""

_GAIN = 0.5
"""How much faster the pace is than what gets through when nothing is behind at all."""
_SLOWEST_SHARE = 0.1
"""Of what gets through, however much is behind. What gets through is all that does, also from other
API processes: with so many beside each other, each lets in its share once it is behind enough."""
_SLOWEST = 100.0
"""Messages a second that are let in whatever is behind: one slow moment is no flood."""
_OPENS_AFTER = 2.0
"""Seconds in which nobody waited and nothing was behind."""


class Gate:
    """A bucket whose rate follows what gets through, and the queue before it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._bucket = TokenBucket(None, loop.time())
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._waiting: Counter[str] = Counter()
        self._by_priority: Counter[int] = Counter()
        self._busy_at = loop.time()
        self._wake: asyncio.TimerHandle | None = None

    @property
    def pace(self) -> float | None:
        """Messages a second that are let in, None while it is open."""
        return self._bucket.rate

    def adapt(self, behind: float, getting_through: float, now: float) -> None:
        """Set the pace from how many seconds Restate is behind and what got through a second.

        To be called a few times a second.
        """
        if behind > LAG or len(self._queue):
            self._busy_at = now
        if behind > LAG or self._bucket.rate is not None:
            share = 1 + _GAIN * (LAG - behind) / LAG
            pace = max(getting_through * max(share, _SLOWEST_SHARE), _SLOWEST)
            opens = now - self._busy_at >= _OPENS_AFTER
            self._bucket.set_rate(None if opens else pace, now)
        self._let_in()

    def full(self, tenant: str, priority: int) -> float:
        """0 while there is room for one more of a tenant's, else the seconds after which there is
        a better chance. What is less urgent takes no room, and who has less than an equal share of
        the queue finds some in a full one."""
        pace = self._bucket.rate
        if pace is None:
            return 0.0
        before = sum(count for other, count in self._by_priority.items() if other <= priority)
        if before / pace < PATIENCE:
            return 0.0
        if self._waiting[tenant] * len(self._waiting) < len(self._queue):
            return 0.0
        return before / pace - PATIENCE + 1

    async def enter(self, tenant: str, priority: int) -> float:
        """Wait for one's turn; 0, or the seconds after which there is a better chance."""
        if self._bucket.rate is None:
            return 0.0
        if not len(self._queue) and self._bucket.wait(self._loop.time()) == 0:
            self._bucket.take(1)
            return 0.0
        if after := self.full(tenant, priority):
            return after
        turn: asyncio.Future[None] = self._loop.create_future()
        entry = self._queue.push(turn, priority=priority, tenant=tenant)
        self._waiting[tenant] += 1
        self._by_priority[priority] += 1
        self._let_in()
        try:
            async with asyncio.timeout(PATIENCE):
                await turn
        except TimeoutError:
            self._queue.withdraw(entry)
            return 1.0
        except BaseException:
            self._queue.withdraw(entry)
            raise
        finally:
            self._by_priority[priority] -= 1
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]
        return 0.0

    def _let_in(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        while len(self._queue):
            wait = self._bucket.wait(self._loop.time())
            if wait > 0:
                self._wake = self._loop.call_later(wait, self._let_in)
                return
            turn = self._queue.pop()
            if not turn.done():
                if self._bucket.rate is not None:
                    self._bucket.take(1)
                turn.set_result(None)
