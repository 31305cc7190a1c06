"""One run of a job at a time, however many ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class UnderWay(Generic[K, T]):
    """The jobs that one event loop is doing, by key."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Future[T]] = {}

    def get(self, key: K) -> asyncio.Future[T] | None:
        """The job, if it is being done."""
        return self._tasks.get(key)

    def all(self) -> list[asyncio.Future[T]]:
        """Every job that is being done."""
        return list(self._tasks.values())

    async def finished(self, within: float) -> None:
        """Wait until no job is being done, for so many seconds at most."""
        if self._tasks:
            await asyncio.wait(self.all(), timeout=within)

    async def join(self, key: K, begin: Callable[[], Awaitable[T]]) -> T:
        """The result of the job that is being done under this key; begins it if there is none.
        Whoever gives up waiting does not take the job with it. Raises what the job raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(begin())
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return await asyncio.shield(task)
