"""The operator's door, on the bind pool's listener beside the handlers that Restate calls."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from adapters.smpp.carriers.operations import CarrierOperations
from adapters.smpp.correlator import Correlator
from adapters.smpp.pool import BindPool
from adapters.telemetry.exposition import Metrics
from handlers.admin.carriers import carriers
from handlers.admin.looking import looking
from handlers.admin.openapi import document
from handlers.admin.operation import Operation, answer, routes
from handlers.admin.operator import OperatorKey
from handlers.admin.problems import PREFIX
from handlers.api.door import Door
from handlers.api.problems import Problem

PATHS: Final = (PREFIX, "/metrics")
"""What the paths of this application begin with."""


class AdminApi:
    """The admin API behind the Door: every path needs the operator's key."""

    def __init__(
        self,
        operations: CarrierOperations,
        pool: BindPool,
        correlator: Correlator,
        metrics: Metrics,
        key: str,
    ) -> None:
        served = [*carriers(operations), *looking(pool, correlator, metrics)]

        async def openapi(request: Request) -> Response:
            """This API in OpenAPI 3.1."""
            return answer(document(served))

        served.append(Operation("GET", PREFIX + "openapi.json", openapi))
        self.routes = routes(served)
        router = Starlette(
            routes=self.routes,
            exception_handlers={Problem: _problem, HTTPException: _http_exception},
        )
        router.router.redirect_slashes = False
        self.app: ASGIApp = Door(router, OperatorKey(key), {})


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_exception(_request: Request, error: Exception) -> Response:
    """What the router itself refuses."""
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    return Problem(code, headers=error.headers).response()
