"""Names of hosts that users name, to addresses: public ones only, kept for as long as connections
are made to them.

A name whose servers do not answer holds a thread for a minute, and a tenant may name as many as it
likes. So lookups have threads of their own, of which a tenant has a few at a time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.egress import ForbiddenAddress, refuse_private

KEPT: Final = 30.0
"""Seconds. The system's resolver tells no lifetime, and providers change addresses by minutes."""
_MOST: Final = 4_096
AT_ONCE: Final = 4
"""Lookups of one tenant's that may be under way."""
THREADS: Final = 32
"""Lookups that a resolver has under way at all."""

Lookup = Callable[[str, int], Awaitable[list[str]]]

# The loop's own threads are few, and needed for the database. Two resolvers in a process, at most.
_THREADS: Final = ThreadPoolExecutor(max_workers=2 * THREADS, thread_name_prefix="resolver")


class HostNotFound(OSError):
    """The host has no address."""


class NoTurn(Exception):
    """Too many lookups are under way; nobody was asked."""


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
        self._asked: dict[tuple[str, int], asyncio.Task[tuple[str, ...] | OSError]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._room = asyncio.Semaphore(THREADS)

    async def addresses(
        self,
        host: str,
        port: int,
        tenant: str = "",
        *,
        turn_within: float | None = None,
        answer_within: float | None = None,
    ) -> tuple[str, ...]:
        """The addresses to connect to, each of them checked.

        It is the `tenant` who waits when too many of its hosts are being looked up: without a bound
        in seconds, or for `turn_within`; the name's servers have `answer_within`. Raises NoTurn,
        TimeoutError for an answer that does not come, HostNotFound and ForbiddenAddress.
        """
        key = (host, port)
        if (known := self._fresh(key)) is not None:
            return known
        if key not in self._asked:
            turn = await self._turn(tenant, turn_within)
            if key in self._asked or self._fresh(key) is not None:
                # Somebody was faster.
                self._release(turn)
            else:
                self._begin(key, turn)
        if (known := self._fresh(key)) is not None:
            return known
        async with asyncio.timeout(answer_within):
            # One who gives up takes nobody with him.
            found = await asyncio.shield(self._asked[key])
        if isinstance(found, OSError):
            # One exception for all who wait would collect all their tracebacks.
            raise type(found)(str(found))
        return found

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

    async def _turn(self, tenant: str, within: float | None) -> asyncio.Semaphore:
        turn = self._turns.get(tenant)
        if turn is None:
            turn = self._turns[tenant] = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.timeout(within):
                await turn.acquire()
                try:
                    await self._room.acquire()
                except BaseException:
                    turn.release()
                    raise
        except TimeoutError:
            raise NoTurn from None
        return turn

    def _release(self, turn: asyncio.Semaphore) -> None:
        self._room.release()
        turn.release()

    def _begin(self, key: tuple[str, int], turn: asyncio.Semaphore) -> None:
        task = self._asked[key] = asyncio.create_task(self._ask(*key))

        def answered(done: asyncio.Task[tuple[str, ...] | OSError]) -> None:
            self._release(turn)
            self._answered(key, done)

        task.add_done_callback(answered)

    async def _ask(self, host: str, port: int) -> tuple[str, ...] | OSError:
        try:
            found = await self._lookup(host, port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            return HostNotFound(f"{host} was not found")
        for address in found:
            try:
                self._check(address)
            except (ForbiddenAddress, ValueError):
                # Which one is told to nobody: it may be that of a name inside our own network.
                return ForbiddenAddress(f"{host} has an address that is not public")
        return tuple(found)

    def _answered(
        self, key: tuple[str, int], task: asyncio.Task[tuple[str, ...] | OSError]
    ) -> None:
        del self._asked[key]
        if task.cancelled() or task.exception() is not None:
            return
        found = task.result()
        if isinstance(found, OSError):
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (asyncio.get_running_loop().time() + KEPT, found)


TENANT: Final[ContextVar[str]] = ContextVar("tenant", default="")
"""Whose lookup it is that aiohttp asks for."""


class PublicResolver(AbstractResolver):
    """For aiohttp: the addresses that a Resolver has checked.

    The connection goes to those very addresses, so a name that changes its answer in between (DNS
    rebinding) gains nothing.
    """

    def __init__(self, names: Resolver | None = None) -> None:
        self._names = names or Resolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The host's addresses. Raises ForbiddenAddress, or OSError when it has none."""
        found = await self._names.addresses(host, port, TENANT.get())
        results = [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found
        ]
        return [one for one in results if family in (socket.AF_UNSPEC, one["family"])]

    async def close(self) -> None:
        """Give up what is being asked."""
        await self._names.close()
