"""Names to addresses: public ones only, and kept for as long as connections are made to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from adapters.egress import ForbiddenAddress, refuse_private
from adapters.wasm.egress.faults import HttpFault

KEPT: Final = 30.0
"""Seconds. The system's resolver tells no lifetime, and providers change addresses by minutes."""
_MOST: Final = 4_096
AT_ONCE: Final = 4
"""Lookups of one tenant's that may be under way: with `*.` in its manifest a tenant names as many
hosts as it likes, and those that nobody answers for hold a thread each."""

Lookup = Callable[[str, int], Awaitable[list[str]]]


# Threads of their own: a name whose servers do not answer holds one for a minute, and the loop's
# are few and needed for the database.
_THREADS: Final = ThreadPoolExecutor(max_workers=32, thread_name_prefix="resolver")


async def system_lookup(host: str, port: int) -> list[str]:
    """Every address that the operating system has for a host. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_THREADS, ask)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Resolves hosts once for all who ask meanwhile. `check` raises ForbiddenAddress."""

    def __init__(
        self, lookup: Lookup = system_lookup, check: Callable[[str], None] = refuse_private
    ) -> None:
        self._lookup = lookup
        self._check = check
        self._known: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Task[tuple[str, ...]]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def addresses(self, host: str, port: int, tenant: str = "") -> tuple[str, ...]:
        """The addresses to connect to, each of them checked. Raises HttpFault dns or forbidden.

        It is the `tenant` who waits when too many of its hosts are being looked up.
        """
        key = (host, port)
        if (known := self._fresh(key)) is not None:
            return known
        if key not in self._asked:
            turn = self._turns.get(tenant)
            if turn is None:
                turn = self._turns[tenant] = asyncio.Semaphore(AT_ONCE)
            await turn.acquire()
            if key in self._asked or self._fresh(key) is not None:
                # Somebody was faster.
                turn.release()
                return await self.addresses(host, port, tenant)
            self._begin(key, turn)
        task = self._asked[key]
        try:
            # One who gives up takes nobody with him.
            return await asyncio.shield(task)
        except HttpFault as fault:
            # One exception for all who wait would collect all their tracebacks.
            raise HttpFault(fault.kind, fault.message) from None

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def _fresh(self, key: tuple[str, int]) -> tuple[str, ...] | None:
        known = self._known.get(key)
        if known is None or known[0] <= asyncio.get_running_loop().time():
            return None
        return known[1]

    def _begin(self, key: tuple[str, int], turn: asyncio.Semaphore) -> None:
        task = self._asked[key] = asyncio.create_task(self._ask(*key))

        def answered(done: asyncio.Task[tuple[str, ...]]) -> None:
            turn.release()
            self._answered(key, done)

        task.add_done_callback(answered)

    async def _ask(self, host: str, port: int) -> tuple[str, ...]:
        try:
            found = await self._lookup(host, port)
        except (OSError, UnicodeError) as error:
            raise HttpFault("dns", f"{host} was not found") from error
        if not found:
            raise HttpFault("dns", f"{host} was not found")
        for address in found:
            try:
                self._check(address)
            except (ForbiddenAddress, ValueError) as error:
                raise HttpFault("forbidden", f"{host} has an address that is not public") from error
        return tuple(found)

    def _answered(self, key: tuple[str, int], task: asyncio.Task[tuple[str, ...]]) -> None:
        del self._asked[key]
        if task.cancelled() or task.exception() is not None:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (asyncio.get_running_loop().time() + KEPT, task.result())
