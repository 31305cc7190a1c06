"""One HTTP/1.1 connection to a provider: one request at a time, and no more answer than allowed.

A client of its own, because `maybe_sent`, the caps and the checked address have to be exact, and
it costs no more: over TLS with 500 calls in flight 0.10 ms of CPU a call with every rule applied,
where aiohttp without them takes 0.18. The parser is llhttp, strict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import httptools

from adapters.wasm.egress.faults import HttpFault, malformed, too_large

MAX_HEAD: Final = 65_536
"""Bytes of an answer's head."""
MAX_HEADERS: Final = 128
_MAX_FRAMING: Final = 8
"""How often an answer's cap its chunks, trailers and interim answers may take on the wire."""


class RawAnswer(NamedTuple):
    """A response as it came. Header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Connection(asyncio.Protocol):
    """Made by a pool: `released` hears when it may be used again, `gone` when it is closed."""

    def __init__(
        self, released: Callable[[Connection], None], gone: Callable[[Connection], None]
    ) -> None:
        self.idle_since = 0.0
        self._released = released
        self._gone = gone
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[RawAnswer] | None = None
        self._cap = self._received = 0
        self._begin()

    @property
    def usable(self) -> bool:
        """Whether a request may be written."""
        return self._transport is not None and not self._transport.is_closing()

    def exchange(self, request: bytes, cap: int) -> asyncio.Future[RawAnswer]:
        """Write a request; the future has its answer, of at most `cap` bytes, or HttpFault."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._cap = cap
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._begin()
        self._transport.write(request)
        return self._answer

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def discard(self) -> None:
        """Close now, and be counted no longer."""
        self.abort()
        self._gone(self)

    def _begin(self) -> None:
        self._head = 0
        self._headers: list[tuple[str, str]] = []
        self._in_head = True
        self._body = bytearray()

    def _fail(self, fault: HttpFault) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)
        self._answer = None
        self.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._answer is None:
            # Nobody has asked.
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
            if self._answer is not None and self._received > self._most():
                raise too_large("the answer", self._cap)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, HttpFault) else malformed("it cannot be read"))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(malformed("it is not HTTP"))
        except HttpFault as fault:
            self._fail(fault)

    def eof_received(self) -> bool:
        """Called by asyncio."""
        # An answer without a length ends with its connection (RFC 9112, section 6.3).
        if self._answer is not None and not self._in_head and self._unframed():
            self._complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._gone(self)
        self._fail(HttpFault("reset", "the connection ended before the answer", maybe_sent=True))
        # The parser has methods of ours: a circle, which would keep all that hangs on it.
        vars(self).pop("_parser", None)

    # httptools

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._answer is None:
            raise malformed("there are two")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser; for trailers as well, which are dropped."""
        if self._in_head:
            self._head += len(name) + len(value)
            if self._head > MAX_HEAD:
                raise too_large("the answer's head", MAX_HEAD)
            if len(self._headers) >= MAX_HEADERS:
                raise too_large("the number of the answer's headers", MAX_HEADERS)
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if len(self._body) + len(body) > self._cap:
            raise too_large("the answer", self._cap)
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._parser.get_status_code() < 200:
            # An interim answer, like 103; what was asked for follows.
            self._begin()
        else:
            self._complete()

    def _complete(self) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        wanted = not answer.done()
        if wanted:
            status, headers = self._parser.get_status_code(), tuple(self._headers)
            answer.set_result(RawAnswer(status, headers, bytes(self._body)))
        if wanted and self.usable and self._parser.should_keep_alive():
            self._released(self)
        else:
            self.discard()

    def _most(self) -> int:
        """Bytes on the wire: with it goes whatever the parser tells nothing of, such as a header
        that does not end."""
        return MAX_HEAD + (0 if self._in_head else _MAX_FRAMING * self._cap)

    def _unframed(self) -> bool:
        framing = {"content-length", "transfer-encoding"}
        return not any(name in framing for name, _ in self._headers)
