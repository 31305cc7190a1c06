"""A network between the pool and an SMSC that can go silent: connections stay open, nothing comes.

As when a firewall forgets a connection: neither side hears of it, and a new connection works.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self, cast

from infra.local.ports import HOST


class Relay:
    """Passes octets on between whoever connects and `port`. Made on a running event loop."""

    def __init__(self, port: int) -> None:
        self.answered_at: dict[int, float] = {}
        """By the number of a connection, from 0, when the SMSC's first octets came through it, in
        time.monotonic()'s seconds."""
        self._to = port
        self._pairs: list[_Pair] = []
        self._server: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        """Take connections on this port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, HOST, port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for pair in self._pairs:
            pair.cut()

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._pairs)

    def silence(self) -> None:
        """From now on nothing passes the connections that are open."""
        for pair in self._pairs:
            pair.silent = True

    def _connected(self) -> _End:
        pair = _Pair(len(self._pairs), self)
        self._pairs.append(pair)
        return pair.near

    async def connect(self, pair: _Pair) -> None:
        """Reach the SMSC for a connection that was taken."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: pair.far, HOST, self._to)
        except OSError:
            pair.cut()


class _Pair:
    """The two ends of a connection."""

    def __init__(self, number: int, relay: Relay) -> None:
        self.silent = False
        self.near = _End(self)
        self.far = _End(self)
        self._number = number
        self._relay = relay
        self._early: list[bytes] = []
        # Nobody asks for it, but the loop itself would let go of a task that nobody holds.
        self._dialing: asyncio.Task[None] | None = None

    def opened(self, end: _End) -> None:
        if end is self.near:
            dial = self._relay.connect(self)
            self._dialing = asyncio.get_running_loop().create_task(dial)
            return
        for data in self._early:
            self.passed(self.near, data)
        self._early.clear()

    def passed(self, end: _End, data: bytes) -> None:
        if self.silent:
            return
        other = self.far if end is self.near else self.near
        if end is self.far:
            self._relay.answered_at.setdefault(self._number, time.monotonic())
        if other.transport is None:
            self._early.append(data)
        else:
            other.transport.write(data)

    def closed(self) -> None:
        # The other side of a silent connection never hears of it.
        if not self.silent:
            self.cut()

    def cut(self) -> None:
        """End both."""
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()


class _End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, pair: _Pair) -> None:
        self.transport: asyncio.Transport | None = None
        self._pair = pair

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self._pair.opened(self)

    def data_received(self, data: bytes) -> None:
        self._pair.passed(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.closed()
