"""`/metrics` beside another application, for the operator."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.telemetry.exposition import Metrics
from handlers.admin.operator import OperatorKey
from handlers.api.door import Door
from handlers.api.problems import Problem


def metrics_app(metrics: Metrics, key: str) -> ASGIApp:
    """The application; it needs the operator's key, as every path of the admin API does."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path != "/metrics" or request.method not in ("GET", "HEAD"):
            raise Problem("not_found")
        body, content_type = metrics.expose(request.headers.get("accept", ""))
        await Response(body, headers={"content-type": content_type})(scope, receive, send)

    return Door(app, OperatorKey(key), {})
