"""Many questions to the journal, asked in few queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Batched(Generic[K, V]):
    """Looks up keys; those that are asked for while a query runs go together into the next one."""

    def __init__(self, query: Callable[[Sequence[K]], Awaitable[dict[K, V]]]) -> None:
        self._query = query
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """What the query, begun after this call, gives for a key. Raises what it raises."""
        loop = asyncio.get_running_loop()
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = loop.create_future()
        if self._running is None:
            self._running = loop.create_task(self._run())
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    found = await self._query(list(asked))
                except Exception as error:
                    for answer in asked.values():
                        answer.set_exception(error)
                        # Perhaps nobody waits for it any more.
                        answer.exception()
                else:
                    for key, answer in asked.items():
                        answer.set_result(found.get(key))
        finally:
            self._running = None
