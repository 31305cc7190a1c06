"""Kept-alive connections to providers, each to an address that was checked."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from adapters.wasm.egress.connection import Connection, RawAnswer
from adapters.wasm.egress.faults import HttpFault
from adapters.wasm.egress.resolution import Resolver

MAX_CONNECTIONS: Final = 1_000
"""To one host, for one tenant; further requests wait for one."""
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

    async def exchange(
        self, origin: Origin, request: bytes, *, cap: int, deadline: float
    ) -> RawAnswer:
        """The answer to a request. Raises HttpFault.

        `cap` bounds its body in bytes; `deadline` is of the loop's clock.
        """
        sent = False
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._pool(origin).take()
                try:
                    sent = True
                    return await connection.exchange(request, cap)
                except BaseException:
                    # Whatever the server still says belongs to nobody.
                    connection.discard()
                    raise
        except TimeoutError as error:
            what = "an answer" if sent else "a connection"
            message = f"there was not {what} of {origin.host} in time"
            raise HttpFault("timeout", message, maybe_sent=sent) from error

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
        *others, last = await self._resolver.addresses(origin.host, origin.port)
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


def _system_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _open(
    connection: Connection, origin: Origin, host: str, port: int, tls: ssl.SSLContext | None
) -> Connection:
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: connection, host, port, ssl=tls, server_hostname=origin.host if tls else None
        )
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
        self._idle: list[Connection] = []
        self._takers = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    async def take(self) -> Connection:
        """A connection that nobody else has. Raises HttpFault."""
        self._takers += 1
        try:
            while True:
                connection = self._freshest()
                if connection is not None:
                    return connection
                if len(self._all) < MAX_CONNECTIONS:
                    return await self._dial()
                await self._turn()
        finally:
            self._takers -= 1
            self._forget_if_unused()

    def close(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._all):
            connection.discard()

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
        connection = await self._client.dial(self._origin, self._made)
        if not connection.usable:
            connection.discard()
            raise HttpFault("connect", f"{self._origin.host} closed the connection at once")
        return connection

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
                self._next_turn()
            raise

    def _next_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    # What connections tell

    def _released(self, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEPT_ALIVE, self._sweep)
        self._next_turn()

    def _gone(self, connection: Connection) -> None:
        if connection in self._all:
            self._all.remove(connection)
            self._next_turn()
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
