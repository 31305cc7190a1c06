"""Serving an ASGI application from one event loop in one process, until SIGTERM or SIGINT.

Two servers, each the cheapest that was measured for its protocol: uvicorn for HTTP/1.1 (0.06 ms
of CPU a request at 300/s, granian 0.21), granian for HTTP/2, which Restate's streams need.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import uvicorn
import uvloop
from granian.server.embed import Server as Granian
from restate.server import install_shutdown_hook

from infra.settings import ConfigurationError, Listener, Settings, load

_log = logging.getLogger(__name__)

AsgiApp = Callable[..., Awaitable[None]]
Component = Callable[[Settings], AbstractAsyncContextManager[AsgiApp]]
Http = Literal["1.1", "2"]

_BACKLOG = 1024
_ACCEPTED_A_TURN = 16
"""Connections that a turn of the loop accepts, each by a descriptor of its own for the same socket:
libuv accepts one by each, and when turns are long, clients that connect would wait for seconds."""
_STREAMS = 100_000
_OPEN_FILES = 65_536
_FAREWELL = 0.5
_GENERATION_THRESHOLDS = (50_000, 20, 100)
"""The collector took over a quarter of the endpoint's time at Python's defaults; what is alive
after start-up is frozen, and short-lived garbage is freed by reference counting anyway."""


def main(
    name: str, component: Component, listener: Callable[[Settings], Listener], *, http: Http
) -> None:
    """Run one component as a process. Exits with 2 when the settings are wrong."""
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s",
    )
    try:
        settings = load()
    except ConfigurationError as error:
        sys.stderr.write(f"hermes: wrong settings\n{error}\n")
        sys.exit(2)
    _allow_open_files()
    uvloop.run(_serve(component, settings, listener(settings), http))


def _allow_open_files() -> None:
    """Every attempt that is waited for holds a connection, and shells allow 1,024 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(component: Component, settings: Settings, listener: Listener, http: Http) -> None:
    async with component(settings) as app:
        server: _HttpServer = _Uvicorn(app, listener) if http == "1.1" else _granian(app, listener)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # The SDK installs a SIGTERM handler of its own; its hook is the way to share the signal.
        install_shutdown_hook(loop, stop.set, signal.SIGTERM)
        install_shutdown_hook(loop, stop.set, signal.SIGINT)
        serving = loop.create_task(server.serve())
        stopping = loop.create_task(stop.wait())
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GENERATION_THRESHOLDS)
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        server.stop()
        await asyncio.wait([serving], timeout=_FAREWELL)


def beside(
    app: AsgiApp, admin: Awaitable[AsgiApp], paths: tuple[str, ...] = ("/metrics",)
) -> AsgiApp:
    """Both applications at one listener, `admin` (to be awaited more than once) for the paths that
    begin with one of `paths`. A message's request pays one comparison for it."""

    async def both(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"].startswith(paths):
            await (await admin)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return both


class _HttpServer(Protocol):
    async def serve(self) -> Any: ...

    def stop(self) -> None: ...


class _Uvicorn(uvicorn.Server):
    def __init__(self, app: AsgiApp, listener: Listener) -> None:
        self._listener = listener
        super().__init__(
            uvicorn.Config(
                app,
                host=listener.host,
                port=listener.port,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen and serve until told to stop. Exits with 1 when the address cannot be had."""
        try:
            sockets = await _listening(self._listener)
        except OSError as error:
            host, port = self._listener.host, self._listener.port
            _log.error("cannot listen at %s, port %d: %s", host, port, error.strerror)
            sys.exit(1)
        await super().serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us: uvicorn would raise them again before our own clean-up."""
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _listening(listener: Listener) -> list[socket.socket]:
    """Sockets at the listener's addresses, each as often as may be accepted from in a turn."""
    found = await asyncio.get_running_loop().getaddrinfo(
        listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, *_, address in dict.fromkeys(found):
        try:
            first = socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise
            # "localhost" has an IPv6 address on machines without IPv6, too.
            absent = error
        else:
            sockets += [first, *(first.dup() for _ in range(_ACCEPTED_A_TURN - 1))]
    if absent is not None and not sockets:
        raise absent
    return sockets


def _granian(app: AsgiApp, listener: Listener) -> _HttpServer:
    return Granian(
        app,
        address=listener.host,
        port=listener.port,
        interface="asginl",  # type: ignore[arg-type]
        websockets=False,
        log_enabled=False,
        backlog=_BACKLOG,
        # A message that waits for its receipt holds a stream for as long as Restate's inactivity
        # timeout lets it: thousands at a time are normal.
        backpressure=_STREAMS,
    )
