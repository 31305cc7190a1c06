"""Lets endpoints know, through Restate, that something waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from adapters.callbacks.events import EventStore, Waiting
from adapters.callbacks.outbox import HasDirectory
from domain.ports import EngineUnavailable

logger = logging.getLogger(__name__)

_LINGER: Final = 0.02
"""Seconds in which the events of an endpoint become one call."""
SWEEP: Final = 20.0
"""Seconds between two looks for what waits though nobody was told: a process that dies between a
commit and its call leaves such."""
_LATE: Final = 5.0
"""Seconds after which an event that is due was forgotten by whoever should have come back to it."""
MOST_LOOKED_AT: Final = 1_000
"""Endpoints at a time."""
_PRUNED_EVERY: Final = 3600.0


class Waker:
    """Calls `tell` of an endpoint's object, `wake`, once for all that came at a time.

    `look_again` spares the call where a run of this process is under way.
    """

    def __init__(
        self,
        wake: Callable[[str], Awaitable[None]],
        look_again: Callable[[str], bool] = lambda endpoint: False,
    ) -> None:
        self._wake = wake
        self._look_again = look_again
        self._waiting: set[str] = set()
        self._calling: asyncio.Task[None] | None = None

    def __call__(self, endpoint: str) -> None:
        """Something waits for the endpoint."""
        if self._look_again(endpoint):
            return
        self._waiting.add(endpoint)
        if self._calling is None:
            self._calling = asyncio.get_running_loop().create_task(self._call())

    async def close(self) -> None:
        """Make the calls that are left."""
        if self._calling is not None:
            await self._calling

    async def _call(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_LINGER)
                waiting, self._waiting = self._waiting, set()
                for endpoint in waiting:
                    try:
                        await self._wake(endpoint)
                    except EngineUnavailable as error:
                        # The sweep finds it.
                        logger.info("callback endpoint %s was not woken: %s", endpoint, error)
        finally:
            self._calling = None


async def sweep(
    events: EventStore,
    endpoints: HasDirectory,
    waker: Waker,
    *,
    every: float = SWEEP,
    seen: Callable[[Sequence[Waiting]], None] = lambda waiting: None,
) -> None:
    """Wake what waits unknown to Restate, and drop what is too old, until canceled.

    Each time looks at up to MOST_LOOKED_AT endpoints for which something waits, and the next one
    goes on behind them. `seen` is told of whatever waits for the first of all.
    """
    loop = asyncio.get_running_loop()
    prune_at = loop.time()
    after = ""
    while True:
        try:
            found = await events.waiting(_LATE, after, MOST_LOOKED_AT)
            for endpoint, overdue in found:
                known = endpoints.value.get(endpoint)
                if overdue and (known is None or known.enabled):
                    waker(endpoint)
            if not after:
                backlogs = [await events.waits(endpoint) for endpoint, _ in found]
                seen([backlog for backlog in backlogs if backlog is not None])
            after = found[-1][0] if len(found) == MOST_LOOKED_AT else ""
            if loop.time() >= prune_at:
                await events.prune()
                prune_at = loop.time() + _PRUNED_EVERY
        except Exception:
            logger.exception("callbacks that wait could not be looked for")
        await asyncio.sleep(every)
