"""Which content went where lately: what the layer `dedup` asks, in any process.

A row is a keyed hash of addresses and content, never the content: it may be a one-time password,
which a plain hash would give away to whoever tries a million of them. Each question is one upsert
by primary key, and rows leave by the index of their expiry.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store

_CLAIM: Final = """
    INSERT INTO recent_content (tenant, digest, message, seen_at, expires_at)
    VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (tenant, digest) DO UPDATE SET
        message = excluded.message, seen_at = excluded.seen_at, expires_at = excluded.expires_at
    WHERE recent_content.seen_at <= ?
"""
_TAKE_OVER: Final = """
    UPDATE recent_content SET message = ?, seen_at = ?, expires_at = ?
    WHERE tenant = ? AND digest = ? AND message = ?
"""
_RELEASE: Final = "DELETE FROM recent_content WHERE tenant = ? AND digest = ? AND message = ?"
_FIND: Final = "SELECT message, seen_at FROM recent_content WHERE tenant = ? AND digest = ?"
_PRUNE: Final = """
    DELETE FROM recent_content WHERE expires_at <= ? AND digest IN
        (SELECT digest FROM recent_content WHERE expires_at <= ? LIMIT 500)
"""
PRUNED_EVERY: Final = 10.0
"""Seconds between two looks for rows that have expired; at most 500 leave in each."""


class Earlier(NamedTuple):
    """The message that had the content first, and when (seconds of the epoch)."""

    message: str
    seen_at: float


class RecentContent:
    """The table, written together with whatever else comes at the same moment."""

    def __init__(self, where: Path | str) -> None:
        self._writer = GroupCommit(open_store(where, "hermes"))
        self._pruned_at = 0.0

    async def claim(
        self, tenant: str, digest: bytes, message: str, *, now: float, window: float
    ) -> Earlier | None:
        """Say that `message` has this content, unless another had it within `window` seconds
        before `now`: then that one is returned. Durable on return."""
        self._prune(now)
        row = (tenant, digest, message, now, now + window, now - window)
        if await self._writer.write(_CLAIM, row):
            return None
        found = await self._writer.read(
            lambda database: database.execute(_FIND, (tenant, digest)).fetchone()
        )
        # Gone in between: it was given back.
        return (
            Earlier(*found)
            if found is not None
            else await self.claim(tenant, digest, message, now=now, window=window)
        )

    async def take_over(
        self,
        tenant: str,
        digest: bytes,
        message: str,
        *,
        instead_of: str,
        now: float,
        window: float,
    ) -> bool:
        """Put `message` in the place of one that never came to be; False when another was
        faster."""
        row = (message, now, now + window, tenant, digest, instead_of)
        return bool(await self._writer.write(_TAKE_OVER, row))

    def release(self, tenant: str, digest: bytes, message: str) -> None:
        """The message was not accepted after all."""
        self._writer.note(_RELEASE, (tenant, digest, message))

    async def close(self) -> None:
        """Write what is queued and close the database."""
        await self._writer.close()

    def _prune(self, now: float) -> None:
        if time.monotonic() - self._pruned_at >= PRUNED_EVERY:
            self._pruned_at = time.monotonic()
            self._writer.note(_PRUNE, (now, now))
