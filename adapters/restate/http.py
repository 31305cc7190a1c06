"""HTTP/1.1 requests over kept-alive connections, as cheap as asyncio and httptools allow.

Every message costs two requests to the ingress, each on a loop that does little else, and there
a general client is the largest single cost: at 300 requests a second on one core aiohttp took
0.43 ms of CPU a request, pyreqwest 0.24, this 0.08. It knows no redirects, cookies, proxies or
compression, and needs none.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextvars import Context
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools


class Answer(NamedTuple):
    """A response's status and body."""

    status: int
    body: bytes


class ConnectionGone(ConnectionError):
    """The connection went before the answer came: the request may or may not have been heard."""


class TooLarge(ConnectionGone):
    """An answer is longer than it may be, and was not read to its end."""


class NoConnection(ConnectionError):
    """None was made in time: the request was not heard."""


class HttpClient:
    """A pool of connections to one server. Made on a running event loop.

    At most `connections` are open at once; further requests wait for one. `timeout` seconds bound
    each request from its call to the end of its answer, `connect_timeout` the making of a
    connection within it. `largest` bounds the octets of an answer's body. With `open_ended`, one
    whose length nothing says ends where the connection does; it may have been cut off.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections: int = 128,
        timeout: float = 10.0,
        connect_timeout: float | None = None,
        largest: int | None = None,
        open_ended: bool = False,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"not an http(s) address: {base_url}")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._host_header = f"host: {parts.netloc.rpartition('@')[2]}\r\n"
        self._loop = asyncio.get_running_loop()
        self._limit = connections
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self.largest = largest
        self._open_ended = open_ended
        self._open = 0
        self._idle: list[_Connection] = []
        self._waiting: deque[asyncio.Future[_Connection | None]] = deque()

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: str = ""
    ) -> Answer:
        """Send one request; `headers` are whole lines, each ended by CR LF.

        Raises OSError when there is no connection, ConnectionGone when it went in the middle, its
        kind TooLarge for an answer that was not read, and TimeoutError. Only after these may the
        request have been heard.
        """
        length = "" if body is None else f"content-length: {len(body)}\r\n"
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._host_header}{headers}{length}\r\n"
        async with asyncio.timeout(self._timeout):
            connection = await self._take()
            try:
                return await connection.exchange(head.encode("latin-1") + (body or b""))
            except BaseException:
                # Whatever the server still says belongs to nobody.
                connection.abort()
                raise

    async def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _take(self) -> _Connection:
        while True:
            while self._idle:
                idle = self._idle.pop()
                if idle.is_open:
                    return idle
            if self._open < self._limit:
                self._open += 1
                return await self._connect()
            # What becomes free goes to who has waited longest, not to who comes at that moment.
            turn: asyncio.Future[_Connection | None] = self._loop.create_future()
            self._waiting.append(turn)
            try:
                connection = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on(turn.result())
                raise
            if connection is None:
                return await self._connect()
            if connection.is_open:
                return connection

    async def _connect(self) -> _Connection:
        """One more, which `_open` has counted already."""
        connection = (_OpenEnded if self._open_ended else _Connection)(self)
        try:
            async with asyncio.timeout(self._connect_timeout):
                # Whoever is the first to use it must not live as long as the connection does.
                await self._loop.create_task(self._dial(connection), context=Context())
        except BaseException as error:
            # It may be there all the same: given up at the moment at which it was made.
            connection.disown()
            self.closed()
            if isinstance(error, TimeoutError):
                raise NoConnection("no connection in time") from error
            raise
        return connection

    async def _dial(self, connection: _Connection) -> None:
        await self._loop.create_connection(
            lambda: connection, self._host, self._port, ssl=self._tls
        )

    # What connections tell

    def idle(self, connection: _Connection) -> None:
        """A connection may be used again."""
        turn = self._next_turn()
        if turn is None:
            self._idle.append(connection)
        else:
            turn.set_result(connection)

    def closed(self, connection: _Connection | None = None) -> None:
        """A connection is gone."""
        if connection in self._idle:
            self._idle.remove(connection)
        turn = self._next_turn()
        if turn is None:
            self._open -= 1
        else:
            turn.set_result(None)

    def _pass_on(self, connection: _Connection | None) -> None:
        """The turn of one that does not want it any more."""
        if connection is None:
            self.closed()
        elif connection.is_open:
            self.idle(connection)

    def _next_turn(self) -> asyncio.Future[_Connection | None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None


class _Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, owner: HttpClient) -> None:
        self._owner = owner
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._room = owner.largest
        self._is_ours = True

    @property
    def is_open(self) -> bool:
        """Whether a request can be written."""
        return self._transport is not None and not self._transport.is_closing()

    def exchange(self, request: bytes) -> asyncio.Future[Answer]:
        """Write a request; the future has its answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_open:
            answer.set_exception(ConnectionGone("the connection is closed"))
            return answer
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._room = self._owner.largest
        self._transport.write(request)
        return answer

    def disown(self) -> None:
        """Close now, or as soon as it is there, and be counted no longer."""
        self._is_ours = False
        self.abort()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport  # type: ignore[assignment]
        if not self._is_ours:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._parser is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(ConnectionGone("the answer is not HTTP"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._is_ours:
            self._owner.closed(self)
        self._fail(ConnectionGone("the connection went before the answer"))
        # The parser has methods of ours: a circle, which would keep all that hangs on it.
        self._parser = self._answer = None
        self._body = []

    # httptools

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._room is not None:
            self._room -= len(body)
            if self._room < 0:
                self._body.clear()
                self._fail(TooLarge("the answer is too long"))
                self.abort()
                return
        self._body.append(body)

    def _fail(self, error: ConnectionGone) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        parser, answer = self._parser, self._answer
        assert parser is not None
        assert answer is not None
        self._parser = self._answer = None
        if parser.should_keep_alive() and not answer.cancelled():
            self._owner.idle(self)
        else:
            self.abort()
        if not answer.done():
            answer.set_result(Answer(parser.get_status_code(), b"".join(self._body)))


class _OpenEnded(_Connection):
    """One whose answers may end with it, where nothing says how long they are (RFC 9112, section
    6.3)."""

    def exchange(self, request: bytes) -> asyncio.Future[Answer]:
        """See `_Connection`."""
        self._has_length = self._has_head = False
        return super().exchange(request)

    def eof_received(self) -> None:
        """Called by asyncio."""
        if self._parser is not None and self._has_head and not self._has_length:
            self.on_message_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._has_head = True
