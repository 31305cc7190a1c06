"""Whether a message may still be sent that was accepted some time ago: two looks by primary key.

Asked for scheduled messages, later steps and later tries only. So the process that asks keeps no
lists of millions in its memory: it asks the database, on a thread and a connection of its own.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from adapters.store.schema import open_store
from adapters.store.tenant_settings import read
from adapters.suppression.hashing import Hasher, stored
from adapters.suppression.store import open_lists
from domain.failures import Failure, FailureCode
from domain.message import MessageOrder
from domain.suppression import Reason, packed, why_suppressed

_TENANT: Final = "SELECT settings_json FROM tenants WHERE id = ?"
_HELD: Final = "SELECT reason, categories FROM suppressions WHERE tenant = ? AND key = ?"


class StoredSecondLook:
    """See `domain.ports.SecondLook`."""

    def __init__(self, where: Path | str, hasher: Hasher) -> None:
        """Raises WrongKey for a `hasher` that would recognise nobody on the lists."""
        self._hasher = hasher
        self._database = open_store(where, "hermes")
        try:
            open_lists(self._database, hasher)
        except BaseException:
            self._database.close()
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="second-look")

    async def close(self) -> None:
        """Answer what was asked, and close the database."""
        await asyncio.to_thread(self._thread.shutdown)
        self._database.close()

    async def refusal(self, order: MessageOrder, channel: str) -> Failure | None:
        """Why the message may not be sent on a channel now, None when it may. Raises what the
        database raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._look, order, channel)

    def _look(self, order: MessageOrder, channel: str) -> Failure | None:
        if self._suspended(order.tenant):
            return Failure(FailureCode.ACCOUNT_SUSPENDED)
        reason = why_suppressed(order, channel, self._held)
        if reason is None:
            return None
        return Failure(FailureCode.RECIPIENT_BLOCKED, detail=reason)

    def _suspended(self, tenant: str) -> bool:
        row = self._database.execute(_TENANT, (tenant,)).fetchone()
        if row is None:
            # By the trusted door, which asks for no tenant: nobody suspended that one.
            return False
        try:
            return read(tenant, row[0]).suspended
        except msgspec.DecodeError:
            # As in every process's memory: see `load_tenants`, which logs it.
            return True

    def _held(self, owner: str, channel: str, address: str) -> bytes:
        key = stored(self._hasher.key(owner, channel, address))
        rows = self._database.execute(_HELD, (owner, key)).fetchall()
        return bytes(packed(Reason(reason), categories) for reason, categories in rows)
