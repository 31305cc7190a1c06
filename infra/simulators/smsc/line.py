"""A connection as the simulator sees it: a session behind a valve that can go mute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from adapters.smpp.protocol.session import SmscSession


class Line(asyncio.Protocol):
    """Stands between a connection and its session.

    While it is mute the socket stays open, nothing is read from it (the peer's octets pile up in
    the system's buffers, as they do for a process that hangs) and nothing is written to it. What
    the session wanted to write leaves when it speaks again; a session that ended meanwhile closes
    its socket only then. `on_lost` is called when the connection is gone.
    """

    def __init__(
        self, session: SmscSession, *, mute: bool, on_lost: Callable[[Line], None]
    ) -> None:
        self.session = session
        self._mute = mute
        self._on_lost = on_lost
        self._valve: _Valve | None = None
        self._transport: asyncio.Transport | None = None
        self._unread: list[bytes] = []

    def set_mute(self, mute: bool) -> None:
        """Fall silent, or speak again."""
        self._mute = mute
        if self._valve is not None:
            self._valve.set_mute(mute)
        if self._unread and not mute:
            unread = b"".join(self._unread)
            self._unread.clear()
            self.session.data_received(unread)

    def cut(self) -> None:
        """Cut the connection now, mute or not."""
        self.session.abort()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._valve = _Valve(self._transport, lambda: self.session.connection_lost(None))
        self._valve.set_mute(self._mute)
        self.session.connection_made(self._valve)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        # A loop may still read once after it was told to pause, and does on a new connection.
        if self._mute:
            self._unread.append(data)
        else:
            self.session.data_received(data)

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self.session.pause_writing()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self.session.resume_writing()

    def eof_received(self) -> bool | None:
        """Called by asyncio."""
        return self.session.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.session.connection_lost(exc)
        self._on_lost(self)


class _Valve(asyncio.Transport):
    """A transport that can be shut: reads nothing, holds what is written, and does not close."""

    def __init__(self, transport: asyncio.Transport, on_ended: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._on_ended = on_ended
        self._shut = False
        self._held: list[bytes] = []
        self._wants_reading = True
        self._ending: Callable[[], None] | None = None

    def set_mute(self, mute: bool) -> None:
        if mute == self._shut or self._transport.is_closing():
            return
        self._shut = mute
        self._set_reading()
        if mute:
            return
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()
        if self._ending is not None:
            self._ending()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._shut:
            self._held.append(bytes(data))
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._end(self._transport.close)

    def abort(self) -> None:
        self._end(self._transport.abort)

    def is_closing(self) -> bool:
        return self._ending is not None or self._transport.is_closing()

    def pause_reading(self) -> None:
        self._wants_reading = False
        self._set_reading()

    def resume_reading(self) -> None:
        self._wants_reading = True
        self._set_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + sum(map(len, self._held))

    def _end(self, how: Callable[[], None]) -> None:
        self._ending = how
        if self._shut:
            # For the session it is over; for the peer nothing has happened.
            asyncio.get_running_loop().call_soon(self._on_ended)
        else:
            how()

    def _set_reading(self) -> None:
        reads = self._wants_reading and not self._shut
        if self._transport.is_closing() or reads == self._transport.is_reading():
            return
        if reads:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
