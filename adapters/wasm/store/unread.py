"""Webhooks that an adapter could not read: how many wait to be read again, and how many were given
up. What they say stays with Restate, and is in no table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from adapters.store.database import Database, connect
from adapters.store.sections import touch
from adapters.wasm.installed import NOTHING_UNREAD, Unread

SECTION: Final = "adapter_unread"
KEPT: Final = 8 * 86_400.0
"""Seconds that one which was given up is counted."""

_NOTE: Final = (
    "INSERT INTO adapter_unread"
    " (tenant, adapter, webhook, received_at, failed_at, tries, kind, given_up)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (tenant, adapter, webhook) DO UPDATE SET failed_at = excluded.failed_at,"
    " tries = excluded.tries, kind = excluded.kind, given_up = excluded.given_up"
)
_FORGET: Final = "DELETE FROM adapter_unread WHERE tenant = ? AND adapter = ? AND webhook = ?"
_COUNTS: Final = "SELECT tenant, adapter, given_up, count(*), min(received_at), min(kind)"
_GROUPS: Final = "GROUP BY tenant, adapter, given_up"
_COUNT: Final = f"{_COUNTS} FROM adapter_unread {_GROUPS}"
_COUNT_ONE: Final = f"{_COUNTS} FROM adapter_unread WHERE tenant = ? AND adapter = ? {_GROUPS}"
_SWEEP: Final = "DELETE FROM adapter_unread WHERE given_up = 1 AND failed_at < ?"


class UnreadNotes:
    """Notes what could not be read. On an event loop; seldom used, and so without a connection of
    its own. `clock` gives seconds since the epoch."""

    def __init__(self, where: Path | str, clock: Callable[[], float] = time.time) -> None:
        self._where = where
        self._clock = clock

    async def failed(
        self,
        tenant: str,
        adapter: str,
        webhook: str,
        received_at: datetime,
        tries: int,
        kind: str,
        *,
        given_up: bool,
    ) -> None:
        """A webhook could not be read, for the `tries`th time; `kind` says why, in one word."""
        row = (
            *(tenant, adapter, webhook, received_at.timestamp()),
            *(self._clock(), tries, kind, int(given_up)),
        )

        def note(database: Database) -> None:
            database.execute(_NOTE, row)
            # Whoever counts need not look again each time that one more try has failed.
            if tries == 1 or given_up:
                touch(database, SECTION)

        await self._write(note)

    async def read(self, tenant: str, adapter: str, webhook: str) -> None:
        """It could be read at last."""

        def forget(database: Database) -> None:
            if database.execute(_FORGET, (tenant, adapter, webhook)).rowcount:
                touch(database, SECTION)

        await self._write(forget)

    def sweep(self) -> None:
        """Forget what was given up long ago. Blocks."""
        with closing(connect(self._where)) as database, database.transaction():
            if database.execute(_SWEEP, (self._clock() - KEPT,)).rowcount:
                touch(database, SECTION)

    async def _write(self, change: Callable[[Database], None]) -> None:
        def write() -> None:
            with closing(connect(self._where)) as database, database.transaction():
                change(database)

        await asyncio.to_thread(write)


def of_one(database: Database, tenant: str, adapter: str) -> Unread:
    """What one adapter has not read."""
    rows = database.execute(_COUNT_ONE, (tenant, adapter)).fetchall()
    return _summed(rows).get((tenant, adapter), NOTHING_UNREAD)


def count(database: Database) -> Mapping[tuple[str, str], Unread]:
    """What is unread, by tenant and adapter: the loader of SECTION."""
    return _summed(database.execute(_COUNT).fetchall())


def _summed(rows: list[Any]) -> dict[tuple[str, str], Unread]:
    found: dict[tuple[str, str], Unread] = {}
    for tenant, adapter, given_up, number, since, kind in rows:
        before = found.get((tenant, adapter), NOTHING_UNREAD)
        oldest = datetime.fromtimestamp(since, UTC)
        found[tenant, adapter] = Unread(
            waiting=before.waiting + (0 if given_up else number),
            given_up=before.given_up + (number if given_up else 0),
            since=oldest if before.since is None else min(before.since, oldest),
            kind=kind if before.kind is None or not given_up else before.kind,
        )
    return found
