"""Writes from the event loop, committed together in one thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from adapters.store.database import Database, Statement

T = TypeVar("T")
logger = logging.getLogger(__name__)


_CROWD = 64
"""Writes that make a group worth its fsync without waiting for more."""


class GroupCommit:
    """Collects writes from the event loop and commits them together, in order, in one thread.

    A commit costs an fsync whatever its size, so `linger` seconds of company make each write
    cheaper and a little later; a crowd does not wait for more. `write` returns once its data is on
    disk.
    """

    def __init__(
        self,
        database: Database,
        *,
        linger: float = 0.010,
        beside: Callable[[Database, Sequence[Any]], None] | None = None,
    ) -> None:
        """`beside` writes, in a group's transaction, what was queued with `also`."""
        self._database = database
        self._linger = linger
        self._beside = beside
        self._besides: list[Any] = []
        self._pending: list[Statement] = []
        self._waiting: list[asyncio.Future[int] | None] = []
        self._flushing: asyncio.Task[None] | None = None
        self._lingering: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="group-commit")

    def write(self, sql: str, parameters: Sequence[Any]) -> asyncio.Future[int]:
        """Queue one statement; the future has its row count once it is durable. It raises the
        database's error when the commit failed: then nothing of the group was written.

        Statements are run in order, but for those whose values are all in one `VALUES (…)`: they
        are put together, and so may overtake each other. Whoever needs an order between two
        different ones of that kind awaits the first.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._pending.append((sql, parameters))
        self._waiting.append(future)
        self._came()
        return future

    def note(self, sql: str, parameters: Sequence[Any]) -> None:
        """Queue one statement that nobody waits for; if its commit fails, that is logged. Cheaper
        than `write`, for what may be lost without harm."""
        self._pending.append((sql, parameters))
        self._waiting.append(None)
        self._came()

    def also(self, items: Iterable[Any]) -> None:
        """Queue what `beside` writes: in the transaction of the statement that is queued next,
        and after all statements of that. If its commit fails, so does that statement."""
        self._besides.extend(items)

    async def read(self, query: Callable[[Database], T]) -> T:
        """Run a query in the writer's thread, so that it sees every write of the groups before
        it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, query, self._database)

    async def close(self) -> None:
        """Write what is queued and close the database."""
        while self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._database.close()

    def _came(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
        elif self._lingering is not None and len(self._pending) >= _CROWD:
            _release(self._lingering)

    async def _gather(self) -> None:
        """Wait for company, until `linger` is over or enough has come."""
        if len(self._pending) >= _CROWD:
            return
        loop = asyncio.get_running_loop()
        self._lingering = loop.create_future()
        timer = loop.call_later(self._linger, _release, self._lingering)
        try:
            await self._lingering
        finally:
            timer.cancel()
            self._lingering = None

    def _commit(self, statements: Sequence[Statement], besides: Sequence[Any]) -> list[int]:
        beside = self._beside
        if beside is None or not besides:
            return self._database.commit_group(statements)
        return self._database.commit_group(statements, lambda: beside(self._database, besides))

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                await self._gather()
                statements, self._pending = self._pending, []
                waiting, self._waiting = self._waiting, []
                besides, self._besides = self._besides, []
                try:
                    counts = await loop.run_in_executor(
                        self._thread, self._commit, statements, besides
                    )
                except Exception as error:
                    if None in waiting:
                        logger.error("notes of the journal are lost: %s", error)
                    for future in waiting:
                        if future is not None and not future.done():
                            future.set_exception(error)
                else:
                    for future, count in zip(waiting, counts, strict=True):
                        if future is not None and not future.done():
                            future.set_result(count)
        finally:
            self._flushing = None


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
