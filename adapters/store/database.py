"""SQLite as Hermes uses it: write-ahead log, full fsync, numbered migrations, group commit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_MIGRATIONS = Path(__file__).parent / "migrations"


def connect(path: Path) -> sqlite3.Connection:
    """Open a database file, made if missing and then for its owner only: recipients and secrets
    are in it. Every commit is on disk when it returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the files beside it (-wal, -shm) the permissions of this one.
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=10000")
    return connection


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring a database up to date with `migrations/{name}_*.sql`; safe to run from several
    processes at once. `PRAGMA user_version` holds the number of the last one applied."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        steps = sorted(
            (int(file.stem.rpartition("_")[2]), file) for file in _MIGRATIONS.glob(f"{name}_*.sql")
        )
        for number, file in steps:
            if number <= version:
                continue
            for statement in file.read_text().split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


class GroupCommit:
    """Collects writes from the event loop and commits them together, in order, in one thread.

    A commit costs an fsync whatever its size, so `linger` seconds of company make each write
    cheaper and a little later. `write` returns once its data is on disk.
    """

    def __init__(self, connection: sqlite3.Connection, *, linger: float = 0.010) -> None:
        self._connection = connection
        self._linger = linger
        self._pending: list[tuple[str, Sequence[Any], asyncio.Future[int]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="group-commit")

    def write(self, sql: str, parameters: Sequence[Any]) -> asyncio.Future[int]:
        """Queue one statement; the future has its row count once it is durable. It raises
        sqlite3.Error when the commit failed: then nothing of the group was written."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._pending.append((sql, parameters, future))
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        return future

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in the writer's thread, so that it sees every write queued before it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, query, self._connection)

    async def close(self) -> None:
        """Write what is queued and close the database."""
        while self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._connection.close()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                await asyncio.sleep(self._linger)
                batch, self._pending = self._pending, []
                try:
                    counts = await loop.run_in_executor(self._thread, self._commit, batch)
                except Exception as error:
                    for _, _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for (_, _, future), count in zip(batch, counts, strict=True):
                        if not future.done():
                            future.set_result(count)
        finally:
            self._flushing = None

    def _commit(self, batch: list[tuple[str, Sequence[Any], asyncio.Future[int]]]) -> list[int]:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            counts = [execute(sql, parameters).rowcount for sql, parameters, _ in batch]
            execute("COMMIT")
            return counts
        except BaseException:
            execute("ROLLBACK")
            raise
