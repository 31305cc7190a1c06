"""The admin API's operations, and the routes that serve them.

Starlette's own routes, not FastAPI's: importing FastAPI would double the time that a pool process
needs to start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]


class Operation(NamedTuple):
    """What a method does at a path. The endpoint's name and docstring document it.

    `body`, `query` and `answer` are msgspec structs (`body` may be a pydantic model); `upload` is
    the media type of a body that is a text and no JSON. `status` is that of success; `media_type`
    that of an answer which is no JSON, `other_types` those in which it also comes, as text.
    """

    method: str
    path: str
    endpoint: Endpoint
    body: Any = None
    answer: Any = None
    query: type[msgspec.Struct] | None = None
    status: int = 200
    media_type: str = "application/json"
    body_required: bool = True
    other_types: tuple[str, ...] = ()
    upload: str | None = None


def routes(operations: Iterable[Operation]) -> list[Route]:
    """One route for each path, so that a method it does not know is told those that it does."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation.endpoint
    return [_route(path, endpoints) for path, endpoints in paths.items()]


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _route(path: str, endpoints: dict[str, Endpoint]) -> Route:
    async def serve(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, serve, methods=list(endpoints))
