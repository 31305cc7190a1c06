"""Places for what takes long, of which nobody has all."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary


class Share:
    """One tenant's part of the places. `async with` takes one, and waits for it."""

    def __init__(self, most: int, everybodys: asyncio.Semaphore) -> None:
        self._own = asyncio.Semaphore(most)
        self._everybodys = everybodys

    async def __aenter__(self) -> None:
        """Who waits for room in its own share has nobody else's place."""
        await self._own.acquire()
        try:
            await self._everybodys.acquire()
        except BaseException:
            self._own.release()
            raise

    async def __aexit__(self, *_: Any) -> None:
        """Leave the place to others."""
        self._everybodys.release()
        self._own.release()


class Shares:
    """`most` places in all, of which each tenant has `share` at most: where one tenant's work has
    to wait, others' does not. For one event loop."""

    def __init__(self, most: int, share: int) -> None:
        self._everybodys = asyncio.Semaphore(most)
        self._share = share
        # As long as somebody uses them: there may be many tenants.
        self._shares: WeakValueDictionary[str, Share] = WeakValueDictionary()

    def of(self, tenant: str) -> Share:
        """A tenant's share, to be held as long as it is used."""
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = Share(self._share, self._everybodys)
        return share
