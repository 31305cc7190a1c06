"""The adapters' own small stores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from adapters.store.database import Database, connect, is_postgres
from adapters.store.schema import open_store

MAX_KEYS: Final = 1024
MAX_BYTES: Final = 1_048_576
"""Of keys and values together, in UTF-8. Both are the most that a manifest may ask for."""

_LOAD: Final = "SELECT key, value FROM adapter_values WHERE tenant = ? AND adapter = ?"
_DELETE: Final = "DELETE FROM adapter_values WHERE tenant = ? AND adapter = ? AND key = ?"
_WRITE: Final = (
    "INSERT INTO adapter_values (tenant, adapter, key, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (tenant, adapter, key) DO UPDATE SET value = excluded.value"
)
_TURN: Final = "UPDATE adapters SET priority = priority WHERE tenant = ? AND adapter = ?"
_SIZE: Final = (
    "SELECT count(*), sum(length(CAST(key AS BLOB)) + length(CAST(value AS BLOB)))"
    " FROM adapter_values WHERE tenant = ? AND adapter = ?"
)


class QuotaExceeded(Exception):
    """The changes would make the store larger than it may be; none of them was written."""


class NotText(Exception):
    """A key or value has a character that no database keeps; none of the changes was written."""


class _Save(NamedTuple):
    tenant: str
    adapter: str
    changes: Mapping[str, str | None]
    done: asyncio.Future[None]


class SqliteValueStore:
    """See `adapters.wasm.installed.ValueStore`. Each save is written whole or not at all; those
    that come while one commits are committed together."""

    def __init__(
        self, where: Path | str, *, max_keys: int = MAX_KEYS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._reader = open_store(where, "hermes")
        self._writer = connect(where)
        self._reads = ThreadPoolExecutor(1, "adapter-reads") if is_postgres(where) else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="adapter-values")
        self._max_keys = max_keys
        self._max_bytes = max_bytes
        self._pending: list[_Save] = []
        self._flushing: asyncio.Task[None] | None = None

    async def load(self, tenant: str, adapter: str) -> dict[str, str]:
        """See `ValueStore`. A file is read on the caller's thread: microseconds, and no reader
        waits for a writer. A server is asked on another: it may be away."""

        def look() -> dict[str, str]:
            return dict(self._reader.execute(_LOAD, (tenant, adapter)).fetchall())

        if self._reads is None:
            return look()
        return await asyncio.get_running_loop().run_in_executor(self._reads, look)

    async def save(self, tenant: str, adapter: str, changes: Mapping[str, str | None]) -> None:
        """See `ValueStore`. On disk when it returns. Raises QuotaExceeded."""
        if not changes:
            return
        loop = asyncio.get_running_loop()
        save = _Save(tenant, adapter, dict(changes), loop.create_future())
        self._pending.append(save)
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        await save.done

    async def close(self) -> None:
        """Write what is queued and close the database."""
        while self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        if self._reads is not None:
            await asyncio.to_thread(self._reads.shutdown)
        self._writer.close()
        self._reader.close()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                saves, self._pending = self._pending, []
                try:
                    refused = await loop.run_in_executor(self._thread, self._write, saves)
                except Exception as error:
                    _end(saves, dict.fromkeys(range(len(saves)), error))
                else:
                    _end(saves, refused)
        finally:
            self._flushing = None

    def _write(self, saves: list[_Save]) -> dict[int, Exception]:
        """Write all that fit, in one transaction; what is refused, by its place."""
        refused: dict[int, Exception] = {}
        database = self._writer
        with database.transaction():
            # Two processes that save for one adapter at once: neither counts without the other's
            # keys, and all wait for each other in one order.
            for owner in sorted({(save.tenant, save.adapter) for save in saves}):
                database.execute(_TURN, owner)
            for place, save in enumerate(saves):
                database.execute("SAVEPOINT one")
                try:
                    self._write_one(database, save)
                except (QuotaExceeded, NotText, UnicodeEncodeError) as error:
                    refused[place] = error
                    database.execute("ROLLBACK TO one")
                database.execute("RELEASE one")
        return refused

    def _write_one(self, database: Database, save: _Save) -> None:
        for key, value in save.changes.items():
            if "\0" in key or (value is not None and "\0" in value):
                raise NotText("U+0000 cannot be kept")
            if value is None:
                database.execute(_DELETE, (save.tenant, save.adapter, key))
            else:
                database.execute(_WRITE, (save.tenant, save.adapter, key, value))
        keys, size = database.execute(_SIZE, (save.tenant, save.adapter)).fetchone()
        if keys > self._max_keys or (size or 0) > self._max_bytes:
            raise QuotaExceeded(
                f"{keys:,} keys and {size or 0:,} bytes; at most {self._max_keys:,} and "
                f"{self._max_bytes:,}"
            )


def _end(saves: list[_Save], refused: Mapping[int, Exception]) -> None:
    for place, save in enumerate(saves):
        if save.done.done():
            continue
        error = refused.get(place)
        if error is None:
            save.done.set_result(None)
        else:
            save.done.set_exception(error)
