"""/healthz and /readyz: is the process alive, and can it take messages?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from domain.ids import PREFIX
from handlers.api import operation
from handlers.api.answers import Health, encode
from handlers.api.problems import Problem
from handlers.api.services import Services

_NO_MESSAGE: Final = PREFIX + "0" * 26
_log: Final = logging.getLogger("hermes.api")


def add_routes(router: APIRouter, services: Services) -> None:
    """Serve both probes."""

    async def healthz(_request: Request) -> Response:
        """The process is up. Restart it when this does not answer."""
        return Response(encode(Health("ok")), media_type="application/json")

    async def readyz(_request: Request) -> Response:
        """Messages can be taken: Restate and the message log answer."""
        patience = services.limits.probe_timeout
        engine, log = await asyncio.gather(
            _answers("engine", services.engine.ready(), patience),
            _answers("log", _log_answers(services), patience),
        )
        if engine and log:
            return Response(encode(Health("ready")), media_type="application/json")
        missing = " and ".join(name for name, up in (("engine", engine), ("log", log)) if not up)
        raise Problem("not_ready", f"No answer from: {missing}.", headers={"Retry-After": "2"})

    operation.add(
        router,
        "GET",
        "/healthz",
        healthz,
        tag="Health",
        summary="Liveness",
        status=200,
        answer="Health",
        open_to_all=True,
    )
    operation.add(
        router,
        "GET",
        "/readyz",
        readyz,
        tag="Health",
        summary="Readiness",
        status=200,
        answer="Health",
        problems=["not_ready"],
        open_to_all=True,
    )


async def _log_answers(services: Services) -> bool:
    await services.log.get(_NO_MESSAGE)
    return True


async def _answers(name: str, check: Awaitable[bool], patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            return await check
    except Exception as error:
        # A probe reports every fault in the one way it has.
        _log.warning("readiness: %s does not answer: %r", name, error, extra={"check": name})
        return False
