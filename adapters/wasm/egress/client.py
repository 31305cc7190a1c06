"""Kept-alive connections to providers, each to an address that was checked."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from adapters.wasm.egress.connection import Connection, RawAnswer
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.resolution import Resolver

MAX_CONNECTIONS: Final = 1_000
"""To one host, for one tenant; further requests wait for one."""
MAX_ALL: Final = 4_096
"""To all hosts, for all tenants; at most half the files that the process may have open."""
KEPT_ALIVE: Final = 4.0
"""Seconds that a connection is kept without a request. Node's servers close after five, most others
later; a request that meets the close may or may not have been heard, and costs an unknown outcome.
"""
_ONE_ADDRESS: Final = 3.0
"""Seconds for one of several addresses, before the next is tried."""


class Origin(NamedTuple):
    """Whose connections to where. Tenants share none: what one of them can make a server say on a
    connection is never another's answer."""

    tenant: str
    host: str
    port: int


class Reroute(NamedTuple):
    """Where to connect instead, for development. With `tls`, the certificate still has to be the
    original host's."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> Reroute:
        """From `http://host:port` or `https://host:port`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"not http(s)://host:port: {url}")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)


class Client:
    """Makes requests that are bytes already. Made on a running event loop.

    `reroute` maps names of hosts to addresses; `trust` replaces the system's authorities.
    """

    def __init__(
        self,
        *,
        reroute: Mapping[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._reroute = {host: Reroute.of(url) for host, url in (reroute or {}).items()}
        self._tls = trust or _system_trust()
        self._resolver = resolver or Resolver()
        self._pools: dict[Origin, _Pool] = {}
        self._most = _most()
        self._places = 0
        self._wanting: deque[_Pool] = deque()

    async def exchange(
        self, origin: Origin, request: bytes, *, cap: int, deadline: float
    ) -> RawAnswer:
        """The answer to a request. Raises HttpFault.

        `cap` bounds its body in bytes; `deadline` is of the loop's clock.
        """
        loop = asyncio.get_running_loop()
        pool = self._pool(origin)
        connection = pool.at_once()
        if connection is None:
            try:
                async with asyncio.timeout_at(deadline):
                    connection = await pool.take()
            except TimeoutError as error:
                raise _late("a connection", origin, sent=False) from error
        if loop.time() >= deadline:
            # Not a byte leaves then, even where nothing had to be waited for.
            connection.discard()
            raise _late("a connection", origin, sent=False)
        try:
            answer = connection.exchange(request, cap)
            # A timer of its own costs a fifth of what asyncio.timeout does.
            timer = loop.call_at(deadline, _give_up, answer)
            try:
                return await answer
            finally:
                timer.cancel()
        except BaseException as error:
            # Whatever the server still says belongs to nobody.
            connection.discard()
            if isinstance(error, TimeoutError):
                raise _late("an answer", origin, sent=True) from error
            raise

    async def close(self) -> None:
        """Close every connection; what is under way fails."""
        for pool in list(self._pools.values()):
            pool.close()
        await self._resolver.close()

    def _pool(self, origin: Origin) -> _Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool(origin, self)
        return pool

    # For the pools

    async def dial(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """A new connection to an address of the origin. Raises HttpFault."""
        reroute = self._reroute.get(origin.host)
        if reroute is not None:
            tls = self._tls if reroute.tls else None
            return await _open(make(), origin, reroute.host, reroute.port, tls)
        *others, last = await self._resolver.addresses(origin.host, origin.port, origin.tenant)
        for address in others:
            try:
                async with asyncio.timeout(_ONE_ADDRESS):
                    return await _open(make(), origin, address, origin.port, self._tls)
            except TimeoutError:
                continue
            except HttpFault as fault:
                if fault.kind != "connect":
                    raise
        return await _open(make(), origin, last, origin.port, self._tls)

    def forget(self, origin: Origin) -> None:
        """A pool has nothing any more."""
        self._pools.pop(origin, None)

    @property
    def crowded(self) -> bool:
        """Whether a pool waits for another's place."""
        return bool(self._wanting)

    def take_place(self, pool: _Pool) -> bool:
        """A place for one more connection, made by closing an idle one if need be.

        Without one the pool gets a turn when there is.
        """
        if self._places >= self._most and not any(each.yield_one() for each in self._others(pool)):
            self._wanting.append(pool)
            return False
        self._places += 1
        return True

    def leave_place(self) -> None:
        """A connection is no more, or did not come to be."""
        self._places -= 1
        self.pass_on()

    def pass_on(self) -> None:
        """Give a turn to a pool that waits for a place, if there is one."""
        while self._wanting and self._places < self._most:
            if self._wanting.popleft().next_turn():
                return

    def _others(self, pool: _Pool) -> list[_Pool]:
        return [each for each in self._pools.values() if each is not pool]


def _give_up(answer: asyncio.Future[RawAnswer]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _late(what: str, origin: Origin, *, sent: bool) -> HttpFault:
    return HttpFault("timeout", f"there was not {what} of {origin.host} in time", maybe_sent=sent)


def _most() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_ALL if files == resource.RLIM_INFINITY else max(1, min(MAX_ALL, files // 2))


def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _open(
    connection: Connection, origin: Origin, host: str, port: int, tls: ssl.SSLContext | None
) -> Connection:
    name = origin.host if tls else None
    loop = asyncio.get_running_loop()

    async def opened() -> None:
        await loop.create_connection(lambda: connection, host, port, ssl=tls, server_hostname=name)

    try:
        # Whoever is the first to use it must not live as long as the connection does.
        await loop.create_task(opened(), context=Context())
    except BaseException as error:
        connection.discard()
        if isinstance(error, ssl.SSLError):
            why = getattr(error, "verify_message", None) or error.reason or "no handshake"
            raise HttpFault("tls", f"no trusted connection to {origin.host}: {why}") from error
        if isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            raise HttpFault("connect", f"no connection to {origin.host}: {why}") from error
        raise
    return connection


class _Pool:
    """The connections of one origin."""

    def __init__(self, origin: Origin, client: Client) -> None:
        self._origin = origin
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        # Those of them that have a place; one that is being made has its dial's.
        self._placed: set[Connection] = set()
        self._places = 0
        self._idle: list[Connection] = []
        self._takers = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    def at_once(self) -> Connection | None:
        """A connection that is idle, if there is one; else `take` is to be asked next."""
        # What is closed on the way does not take the pool with it.
        self._takers += 1
        try:
            return self._freshest()
        finally:
            self._takers -= 1

    async def take(self) -> Connection:
        """A connection that nobody else has. Raises HttpFault."""
        self._takers += 1
        try:
            while True:
                connection = self._freshest()
                if connection is not None:
                    return connection
                if self._places < MAX_CONNECTIONS and self._client.take_place(self):
                    return await self._dial()
                await self._turn()
        finally:
            self._takers -= 1
            self._forget_if_unused()
            # It may have had a turn for a place that it did not need.
            self._client.pass_on()

    def close(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._all):
            connection.discard()

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for one of these."""
        return any(not turn.done() for turn in self._waiting)

    def yield_one(self) -> bool:
        """Close the connection that has been idle longest, if one is; its place is free then."""
        while self._idle:
            connection = self._idle.pop(0)
            held = connection in self._placed
            connection.discard()
            if held:
                return True
        return False

    def _freshest(self) -> Connection | None:
        """The idle connection used last, so that the others grow old and go."""
        oldest = self._loop.time() - KEPT_ALIVE
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since >= oldest:
                return connection
            connection.discard()
        return None

    async def _dial(self) -> Connection:
        self._places += 1
        try:
            connection = await self._client.dial(self._origin, self._made)
            if not connection.usable:
                connection.discard()
                raise HttpFault("connect", f"{self._origin.host} closed the connection at once")
        except BaseException:
            self._leave()
            raise
        self._placed.add(connection)
        return connection

    def _leave(self) -> None:
        self._places -= 1
        self.next_turn()
        self._client.leave_place()

    def _made(self) -> Connection:
        connection = Connection(self._released, self._gone)
        self._all.add(connection)
        return connection

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.next_turn()
            raise

    def next_turn(self) -> bool:
        """Have one of those who wait look again; False when nobody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False

    # What connections tell

    def _released(self, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        if self._client.crowded and not self.waited_for:
            connection.discard()
            return
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEPT_ALIVE, self._sweep)
        self.next_turn()

    def _gone(self, connection: Connection) -> None:
        if connection in self._all:
            self._all.remove(connection)
            if connection in self._placed:
                self._placed.remove(connection)
                self._leave()
            self._forget_if_unused()

    def _sweep(self) -> None:
        self._sweeping = None
        oldest = self._loop.time() - KEPT_ALIVE
        young = [connection for connection in self._idle if connection.idle_since > oldest]
        for connection in self._idle[: len(self._idle) - len(young)]:
            connection.discard()
        self._idle = young
        if young:
            self._sweeping = self._loop.call_later(KEPT_ALIVE / 2, self._sweep)

    def _forget_if_unused(self) -> None:
        if not self._all and not self._takers:
            self._client.forget(self._origin)
