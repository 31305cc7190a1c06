"""Serving an ASGI application from one event loop in one process, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

import uvloop
from granian.server.embed import Server
from restate.server import install_shutdown_hook

from infra.settings import ConfigurationError, Listener, Settings, load

AsgiApp = Callable[..., Awaitable[None]]
Component = Callable[[Settings], AbstractAsyncContextManager[AsgiApp]]

_CONCURRENT_REQUESTS = 100_000
_GENERATION_THRESHOLDS = (50_000, 20, 100)
"""The collector took over a quarter of the endpoint's time at Python's defaults; what is alive
after start-up is frozen, and short-lived garbage is freed by reference counting anyway."""


def main(
    name: str,
    component: Component,
    listener: Callable[[Settings], Listener],
    *,
    http: Literal["1", "auto"],
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
        sys.exit(f"hermes: wrong settings\n{error}")
    uvloop.run(_serve(component, settings, listener(settings), http))


async def _serve(
    component: Component, settings: Settings, listener: Listener, http: Literal["1", "auto"]
) -> None:
    async with component(settings) as app:
        server = Server(
            app,
            address=listener.host,
            port=listener.port,
            interface="asginl",  # type: ignore[arg-type]
            http=http,  # type: ignore[arg-type]
            websockets=False,
            log_enabled=False,
            backlog=1024,
            # A message that waits for its receipt holds a stream for as long as Restate's
            # inactivity timeout lets it: thousands at a time are normal.
            backpressure=_CONCURRENT_REQUESTS,
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # The SDK installs a SIGTERM handler of its own; its hook is the way to share the signal.
        install_shutdown_hook(loop, stop.set, signal.SIGTERM)
        install_shutdown_hook(loop, stop.set, signal.SIGINT)
        serving: asyncio.Task[Any] = loop.create_task(server.serve())
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GENERATION_THRESHOLDS)
        await asyncio.wait([serving, loop.create_task(stop.wait())], return_when="FIRST_COMPLETED")
        server.stop()
        await asyncio.wait([serving], timeout=0.5)
