"""A provider that only answers, for load: `python -m infra.simulators.providers.load`.

Every request is answered after the latency as if its message had been accepted, in the form of the
provider that its path belongs to; nothing is checked, remembered or called back. It is made so
that hundreds of requests in flight cost the machine little beside what is measured.

    GET /stats    {"requests", "in_flight", "peak_in_flight", "connections"}
    POST /reset   set the counters to zero
"""

import argparse
import asyncio
import itertools
import json
import logging
from collections import deque
from typing import Final, cast

import httptools
import msgspec
from msgspec import Struct

from infra.simulators.process import run

_log = logging.getLogger(__name__)

_RESPONSE: Final = (
    b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
)
_SUBJECT: Final = b"__id__"


def _response(status: int, body: object, headers: bytes = b"") -> tuple[bytes, bytes]:
    """An answer in two halves, between which an id of 32 characters goes."""
    text = b"" if body is None else json.dumps(body).encode()
    length = len(text) + (32 - len(_SUBJECT)) * text.count(_SUBJECT)
    first, _, second = (_RESPONSE % (status, headers, length, text)).partition(_SUBJECT)
    return first, second


ANSWERS: Final[dict[bytes, tuple[bytes, bytes]]] = {
    b"/2010-04-01/": _response(
        201,
        {
            "sid": "SM__id__",
            "status": "queued",
            "num_segments": "1",
            "error_code": None,
            "error_message": None,
        },
    ),
    b"/v3/mail/send": _response(202, None, b"x-message-id: __id__\r\n"),
    b"/v1/projects/": _response(200, {"name": "projects/sandbox/messages/__id__"}),
    b"/token": _response(
        200, {"access_token": "ya29.__id__", "expires_in": 3599, "token_type": "Bearer"}
    ),
    b"/": _response(
        200,
        {
            "messaging_product": "whatsapp",
            "contacts": [{"input": "0", "wa_id": "0"}],
            "messages": [{"id": "wamid.__id__"}],
        },
    ),
}
"""By what a path begins with, the first that fits; WhatsApp's paths begin with any version."""


class Counters(Struct):
    """What `/stats` says."""

    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    connections: int = 0


class LoadProvider:
    """The server. Made on a running loop; `start` opens its port. `latency` is seconds."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.counters = Counters()
        self.ids = itertools.count(1)
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port bound.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), host, port, backlog=4096
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        _log.info("load provider ready: http://%s:%d", host, bound)
        return bound

    async def stop(self) -> None:
        """Cut every connection and close the port."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()

    def reset(self) -> None:
        """Set what can be counted anew to zero."""
        counters = self.counters
        counters.requests = 0
        counters.peak_in_flight = counters.in_flight


class _Connection(asyncio.Protocol):
    """One client. Requests are answered in their order: all take the same time."""

    def __init__(self, provider: LoadProvider, loop: asyncio.AbstractEventLoop) -> None:
        self._provider = provider
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._waiting: deque[asyncio.TimerHandle] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by their class.
        self._transport = cast(asyncio.Transport, transport)
        self._provider.connections.add(self)
        self._provider.counters.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._provider.connections.discard(self)
        self._provider.counters.connections -= 1
        self._provider.counters.in_flight -= len(self._waiting)
        for timer in self._waiting:
            timer.cancel()
        self._waiting.clear()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    # httptools calls these.

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_message_complete(self) -> None:
        counters = self._provider.counters
        path = self._path
        if path in (b"/stats", b"/reset"):
            self._control(path)
            return
        counters.requests += 1
        counters.in_flight += 1
        counters.peak_in_flight = max(counters.peak_in_flight, counters.in_flight)
        first, second = next(ANSWERS[start] for start in ANSWERS if path.startswith(start))
        answer = b"%s%032x%s" % (first, next(self._provider.ids), second)
        self._waiting.append(self._loop.call_later(self._provider.latency, self._answer, answer))

    def _answer(self, answer: bytes) -> None:
        self._waiting.popleft()
        self._provider.counters.in_flight -= 1
        self._transport.write(answer)

    def _control(self, path: bytes) -> None:
        if path == b"/reset":
            self._provider.reset()
        body = msgspec.json.encode(self._provider.counters)
        self._transport.write(_RESPONSE % (200, b"", len(body), body))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.simulators.providers.load",
        description="A provider that only answers, in the form of each provider's API, for load.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8039, help="default: %(default)s")
    parser.add_argument(
        "--latency-ms", type=float, default=100.0, metavar="MS", help="default: %(default)g"
    )
    arguments = parser.parse_args()

    async def start() -> LoadProvider:
        provider = LoadProvider(arguments.latency_ms / 1e3)
        await provider.start(arguments.host, arguments.port)
        return provider

    run(start)


if __name__ == "__main__":
    main()
