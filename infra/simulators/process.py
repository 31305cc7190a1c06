"""What a simulator needs as a process: a fast loop, a control port, a quick end."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

_SHUTDOWN_TIMEOUT = 0.1
"""Seconds an HTTP request in progress gets when the process ends."""


class Simulator(Protocol):
    """What `run` drives."""

    async def stop(self) -> None:
        """Close every socket."""


class ControlServer:
    """The HTTP port through which a developer or a test looks at a simulator."""

    def __init__(self, routes: list[web.RouteDef]) -> None:
        application = web.Application()
        application.add_routes(routes)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; the port bound, which matters for port 0.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Close the port and its connections."""
        await self._runner.cleanup()


def run(start: Callable[[], Awaitable[Simulator]]) -> None:
    """Start a simulator and stop it on SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        simulator = await start()
        await stopping.wait()
        await simulator.stop()

    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(main())


def _new_event_loop() -> asyncio.AbstractEventLoop:
    # uvloop does not exist for every platform a developer may use.
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
