"""Pages of the message log: on a connection and a thread of their own, so that a long list delays
no message."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from adapters.store.database import Database, Statement, connect
from domain.ports import MessageQuery
from domain.timeline import Status

_ORDER: Final = "ORDER BY created_at DESC, id DESC LIMIT ?"


class MessageListing:
    """Reads pages. What was written before, by whomever, is there."""

    def __init__(self, where: Path | str, columns: str) -> None:
        self._where = where
        self._columns = columns
        self._database: Database | None = None
        self._thread = ThreadPoolExecutor(1, "message-listing")

    async def page(self, query: MessageQuery) -> list[Any]:
        """The rows of a page, newest first."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, page(query, self._columns))

    async def close(self) -> None:
        """Close the connection, if there ever was one."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._database is not None:
            self._database.close()

    def _read(self, statement: Statement) -> list[Any]:
        if self._database is None:
            self._database = connect(self._where)
        return self._database.execute(*statement).fetchall()


def page(query: MessageQuery, columns: str) -> Statement:
    """The statement that reads a page.

    Both orders that it asks for are an index's: by time, and by status and time. Of several
    statuses each is read so by itself, and no further than the page is long; one list of all of
    them would have to be sorted first.
    """
    where, values = _conditions(query)
    if len(query.statuses) < 2:
        if query.statuses:
            where.append("status = ?")
            values.append(query.statuses[0].value)
        sql = f"SELECT {columns} FROM messages WHERE {' AND '.join(where)} {_ORDER}"
        return sql, [*values, query.limit]
    one = (
        f"SELECT * FROM (SELECT {columns} FROM messages WHERE {' AND '.join(where)}"
        f" AND status = ? {_ORDER}) AS part"
    )
    parts: list[Any] = []
    statuses = sorted(set(query.statuses), key=list(Status).index)
    for status in statuses:
        parts += [*values, status.value, query.limit]
    return f"{' UNION ALL '.join([one] * len(statuses))} {_ORDER}", [*parts, query.limit]


def _conditions(query: MessageQuery) -> tuple[list[str], list[Any]]:
    where = ["tenant = ?", "mode = ?"]
    values: list[Any] = [query.tenant, query.mode.value]
    if query.channel is not None:
        where.append("channel = ?")
        values.append(query.channel)
    if query.created_after is not None:
        where.append("created_at >= ?")
        values.append(query.created_after.timestamp())
    if query.created_before is not None:
        where.append("created_at < ?")
        values.append(query.created_before.timestamp())
    for key, value in query.metadata:
        where.append(
            "id IN (SELECT message FROM message_metadata"
            " WHERE tenant = ? AND key = ? AND value = ?)"
        )
        values += [query.tenant, key, value]
    if query.before is not None:
        where.append("(created_at, id) < (?, ?)")
        values += [query.before[0].timestamp(), query.before[1]]
    return where, values
