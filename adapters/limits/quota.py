"""Daily quotas: counted durably, never above the limit, without a write a message.

A process takes tokens from the tenant's row of the day in leases, so the row is written once in a
lease. What a process has left when it ends goes back; what it has left when it is killed is lost
for the day, at most one lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from adapters.store.database import Database
from adapters.store.group_commit import GroupCommit
from adapters.store.schema import open_store

logger = logging.getLogger(__name__)

LARGEST_LEASE: Final = 1_000
_SHARE: Final = 100
"""A lease is this part of the quota at most, so that what is lost with a process is little."""
_ASKED_AGAIN: Final = 10.0

# The value tells whether there was room: nothing is taken beyond the limit, whoever else takes.
_TAKE: Final = (
    "INSERT INTO quotas (tenant, day, taken) VALUES (?, ?, ?)"
    " ON CONFLICT (tenant, day) DO UPDATE SET taken = quotas.taken + excluded.taken"
    " WHERE quotas.taken + excluded.taken <= ?"
)
_FORGET: Final = "DELETE FROM quotas WHERE tenant = ? AND day < ?"
_KEPT: Final = timedelta(days=40)
_GIVE_BACK: Final = "UPDATE quotas SET taken = taken - ? WHERE tenant = ? AND day = ?"


@dataclass(slots=True)
class _Lease:
    """What a process has of a tenant's day. `exhausted` is the limit at which there was no more,
    `until` when to ask again: another process may have given some back."""

    day: str
    left: int = 0
    exhausted: int = 0
    until: float = 0.0
    renewing: asyncio.Task[None] | None = None


class Quotas:
    """The quotas of all tenants, as one process takes from them. On one event loop."""

    def __init__(self, where: Path | str) -> None:
        self._writer = GroupCommit(open_store(where, "hermes"))
        self._leases: dict[str, _Lease] = {}

    def take(self, tenant: str, day: str, limit: int) -> bool | Awaitable[bool]:
        """Take one of a tenant's `limit` messages of a day: whether there was one. To be awaited
        only when the lease in memory is used up."""
        lease = self._leases.get(tenant)
        if lease is None or lease.day != day:
            lease = self._turn(tenant, day)
        if lease.left > 0:
            lease.left -= 1
            if lease.left <= _size(limit) // 4 and not _exhausted(lease, limit):
                self._renew(tenant, lease, limit)
            return True
        if _exhausted(lease, limit):
            return False
        return self._wait(tenant, lease, limit)

    def give_back(self, tenant: str, day: str) -> None:
        """Undo a `take`."""
        lease = self._leases.get(tenant)
        if lease is not None and lease.day == day:
            lease.left += 1

    def left(self, tenant: str) -> int:
        """What this process may take without asking: the least that a tenant has left."""
        lease = self._leases.get(tenant)
        return 0 if lease is None else lease.left

    async def close(self) -> None:
        """Give back what was not used, and close the database."""
        for tenant, lease in self._leases.items():
            if lease.renewing is not None:
                with contextlib.suppress(Exception):
                    await lease.renewing
            if lease.left > 0:
                self._writer.note(_GIVE_BACK, (lease.left, tenant, lease.day))
        await self._writer.close()

    def _turn(self, tenant: str, day: str) -> _Lease:
        """Begin a day; what is left of the one before is not of use to anybody."""
        lease = self._leases[tenant] = _Lease(day)
        oldest = date.fromisoformat(day) - _KEPT
        self._writer.note(_FORGET, (tenant, oldest.isoformat()))
        return lease

    async def _wait(self, tenant: str, lease: _Lease, limit: int) -> bool:
        while lease.left <= 0 and not _exhausted(lease, limit):
            await asyncio.shield(self._renew(tenant, lease, limit))
        if lease.left <= 0:
            return False
        lease.left -= 1
        return True

    def _renew(self, tenant: str, lease: _Lease, limit: int) -> asyncio.Task[None]:
        if lease.renewing is None or lease.renewing.done():
            lease.renewing = asyncio.get_running_loop().create_task(
                self._lease_more(tenant, lease, limit)
            )
        return lease.renewing

    async def _lease_more(self, tenant: str, lease: _Lease, limit: int) -> None:
        """A whole lease, or what is left of the day."""
        size = _size(limit)
        if await self._writer.write(_TAKE, (tenant, lease.day, size, limit)):
            lease.left += size
            return

        def taken(database: Database) -> int:
            row = database.execute(
                "SELECT taken FROM quotas WHERE tenant = ? AND day = ?", (tenant, lease.day)
            ).fetchone()
            return 0 if row is None else int(row[0])

        rest = min(limit - await self._writer.read(taken), size)
        if rest <= 0:
            lease.exhausted = limit
            lease.until = asyncio.get_running_loop().time() + _ASKED_AGAIN
        elif await self._writer.write(_TAKE, (tenant, lease.day, rest, limit)):
            lease.left += rest


def _exhausted(lease: _Lease, limit: int) -> bool:
    return lease.exhausted == limit and asyncio.get_running_loop().time() < lease.until


def _size(limit: int) -> int:
    return max(1, min(limit // _SHARE, LARGEST_LEASE))
