"""An admin API: operations behind the operator's key, with the document that describes them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from handlers.admin.openapi import document
from handlers.admin.operation import Operation, answer, routes
from handlers.admin.operator import OperatorKey
from handlers.admin.problems import OPERATOR_PROBLEMS, PREFIX
from handlers.api.door import Door
from handlers.api.problems import Problem


class _Router(Starlette):
    """Without Starlette's outermost layer: it would answer a failure in words of its own, before
    the Door hears of it."""

    def build_middleware_stack(self) -> ASGIApp:
        return ExceptionMiddleware(self.router, handlers=self.exception_handlers)


class OperatorApi:
    """Every path of `app` needs the operator's key; `router` is what is behind that door."""

    def __init__(
        self, operations: Iterable[Operation], key: str, *, title: str, description: str
    ) -> None:
        served = list(operations)

        async def openapi(request: Request) -> Response:
            """This API in OpenAPI 3.1."""
            return answer(document(served, title=title, description=description))

        served.append(Operation("GET", PREFIX + "openapi.json", openapi))
        served.append(
            Operation("GET", PREFIX + "problems/{code}", problem, media_type="text/plain")
        )
        self.operations = tuple(served)
        self.routes = routes(served)
        self.router = _Router(
            routes=self.routes,
            exception_handlers={Problem: _problem, HTTPException: _http_exception},
        )
        self.router.router.redirect_slashes = False
        self.app: ASGIApp = Door(self.router, OperatorKey(key), {})


async def problem(request: Request) -> Response:
    """What a problem of this API means; its `type` leads here."""
    code = request.path_params["code"]
    if code not in OPERATOR_PROBLEMS:
        raise Problem("not_found")
    kind = OPERATOR_PROBLEMS[code]
    return Response(
        f"{kind.status} {kind.title}\n\n{kind.documentation}\n", media_type="text/plain"
    )


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_exception(_request: Request, error: Exception) -> Response:
    """What the router itself refuses."""
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    return Problem(code, headers=error.headers).response()
