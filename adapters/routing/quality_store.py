"""The quality window, shared by the processes of one database, and remembered over restarts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from adapters.store.database import Database
from adapters.store.schema import open_store
from domain.routing.quality import BUCKET, WINDOW, Count, Quality

logger = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two exchanges: what a process that is killed may forget."""
_ADD: Final = (
    "INSERT INTO route_quality (way, country, bucket, sent, delivered, failed, latency)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (way, country, bucket) DO UPDATE SET"
    " sent = route_quality.sent + excluded.sent,"
    " delivered = route_quality.delivered + excluded.delivered,"
    " failed = route_quality.failed + excluded.failed,"
    " latency = route_quality.latency + excluded.latency"
)
_READ: Final = (
    "SELECT way, country, bucket, sent, delivered, failed, latency FROM route_quality"
    " WHERE bucket >= ?"
)
_PRUNE: Final = "DELETE FROM route_quality WHERE bucket < ?"


class SharedQuality:
    """Brings what this process counts to the others, and back. Made on a running event loop.

    `quality` is up to date once `start` returns. A database that is away does no harm: what is
    counted meanwhile is brought later.
    """

    def __init__(self, where: Path | str, quality: Quality | None = None) -> None:
        self.quality = quality or Quality()
        self._where = where
        self._database: Database | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="route-quality")
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn what is known, and go on exchanging."""
        await self.exchange()
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def exchange(self) -> None:
        """Bring what was counted, and learn what is shared. Never raises."""
        loop = asyncio.get_running_loop()
        counts = self.quality.take()
        try:
            known = await loop.run_in_executor(self._thread, self._exchange, counts)
        except Exception as error:
            logger.warning("the routes' quality could not be shared: %s", error)
            self.quality.put_back(counts)
        else:
            self.quality.learn(known)

    async def close(self) -> None:
        """Bring what is left."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self.exchange()
        self._thread.shutdown()
        if self._database is not None:
            self._database.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.exchange()

    def _exchange(self, counts: Sequence[Count]) -> list[Count]:
        if self._database is None:
            self._database = open_store(self._where, "hermes")
        database = self._database
        oldest = int((time.time() - WINDOW) // BUCKET)
        if counts:
            with database.transaction():
                # In one order, so that two processes never wait for each other.
                for count in sorted(counts):
                    database.execute(_ADD, count)
                database.execute(_PRUNE, (oldest,))
        return [Count(*row) for row in database.execute(_READ, (oldest,)).fetchall()]
