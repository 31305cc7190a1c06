"""A tenant's server for scenarios with callbacks, in a process of its own: `/well` takes everything
at once, `/slow` after SLOW seconds. Prints its port."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

SLOW: Final = 2.0


async def well(request: web.Request) -> web.Response:
    """Take it."""
    await request.read()
    return web.Response(status=204)


async def slow(request: web.Request) -> web.Response:
    """Take it, late."""
    await asyncio.sleep(SLOW)
    return await well(request)


async def serve() -> None:
    """Until the process ends."""
    app = web.Application()
    app.router.add_post("/well", well)
    app.router.add_post("/slow", slow)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
