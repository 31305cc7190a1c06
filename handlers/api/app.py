"""The API as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.billing.desk import BillingDesk
from adapters.retention.erasure import Erasures
from adapters.wasm.upload.lifecycle import Lifecycle
from domain.message import MessageOrder
from domain.ports import (
    CascadeEngine,
    KeyRing,
    MessageLog,
    Pressure,
    ProviderChoice,
    TenantDirectory,
)
from handlers.api import adapters as adapter_routes
from handlers.api import (
    batch,
    docs,
    health,
    listing,
    messages,
    openapi,
    paths,
    recipients,
    unsubscribe,
    usage,
)
from handlers.api import callbacks as callback_routes
from handlers.api import routes as route_routes
from handlers.api import senders as sender_routes
from handlers.api import suppressions as suppression_routes
from handlers.api import templates as template_routes
from handlers.api.callbacks import Callbacks
from handlers.api.door import Door
from handlers.api.problems import Problem
from handlers.api.refusals import Refused, uncounted
from handlers.api.routes import AsItIs, Explains, NothingToExplain, RoutesSteps
from handlers.api.services import (
    Limiter,
    Limits,
    NoLimiter,
    NoPressure,
    NoSettings,
    OwnServices,
    Services,
    utc_now,
)
from handlers.api.suppression_requests import SuppressionDesk
from handlers.api.templates import TemplateResource
from handlers.pipeline.compliance import SenderSource
from handlers.pipeline.layers import NoSenders, in_order
from handlers.pipeline.pipeline import Pipeline
from handlers.webhooks.routes import Webhooks
from handlers.webhooks.routes import add_routes as add_webhooks

VERSION = "1"
"""Of the API, as in its paths."""


class HermesApi(FastAPI):
    """FastAPI behind the Door, with the OpenAPI document of `openapi.build`."""

    door: Door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self.door(scope, receive, send)

    async def through_router(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request that the Door has let in."""
        await super().__call__(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Without Starlette's outermost layer: it would answer a failure in words of its own,
        before the Door hears of it."""
        return ExceptionMiddleware(self.router, handlers=self.exception_handlers)

    def openapi(self) -> dict[str, Any]:
        """The document; built once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.build(self)
        return self.openapi_schema


def _penniless(
    billing: BillingDesk | None, router: RoutesSteps
) -> Callable[[str, MessageOrder], bool]:
    if billing is None:
        return lambda message_id, order: False
    return lambda message_id, order: billing.cannot_pay(
        order, lambda step: router.ways(message_id, order, step)
    )


def create_app(
    keys: KeyRing,
    log: MessageLog,
    engine: CascadeEngine,
    *,
    clock: Callable[[], datetime] = utc_now,
    limits: Limits | None = None,
    allow_private_callbacks: bool = False,
    pressure: Pressure | None = None,
    providers: ProviderChoice | None = None,
    webhooks: Webhooks | None = None,
    adapters: Lifecycle | None = None,
    tenants: TenantDirectory | None = None,
    pipeline: Pipeline | None = None,
    callbacks: Callbacks | None = None,
    templates: TemplateResource | None = None,
    router: RoutesSteps | None = None,
    explainer: Explains | None = None,
    erasures: Erasures | None = None,
    suppressions: SuppressionDesk | None = None,
    limiter: Limiter | None = None,
    billing: BillingDesk | None = None,
    senders: SenderSource | None = None,
    refused: Refused = uncounted,
) -> HermesApi:
    """The ASGI application. It owns none of its ports: the caller opens and closes them.

    `clock` gives aware UTC times. `pressure` says how long the queues are, `tenants` what is set
    for each, `providers` what a step may take, and `pipeline` has the layers that a message goes
    through. Without one it goes through those that need no store, and `allow_private_callbacks`
    admits http and private hosts in `status_callback`, for development; `webhooks` is the
    providers' door, `adapters` the tenants' changes to their adapters, `callbacks` their endpoints,
    `erasures` what forgets people. `billing` has their accounts and `senders` their senders;
    `router` puts a step's providers in order, `explainer` says how
    it would; `refused` counts what is refused.
    """
    services = Services(
        keys=keys,
        log=log,
        engine=engine,
        clock=clock,
        limits=limits or Limits(),
        pressure=pressure or NoPressure(),
        tenants=tenants or NoSettings(),
        providers=providers or OwnServices(),
        pipeline=pipeline
        or in_order(
            providers=providers or OwnServices(), private_callbacks=allow_private_callbacks
        ),
        router=router or AsItIs(),
        followed=callbacks.followed if callbacks is not None else lambda tenant: (),
        penniless=_penniless(billing, router or AsItIs()),
        limiter=limiter or NoLimiter(),
        refused=refused,
    )
    app = HermesApi(
        title="Hermes",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, _http_exception)
    send_message = messages.add_routes(app.router, services)
    express = {("POST", "/v1/messages"): send_message}
    app.door = Door(app.through_router, keys, express, refused)
    batch.add_routes(app.router, services)
    listing.add_routes(app.router, services)
    health.add_routes(app.router, services)
    callback_routes.add_routes(app.router, callbacks)
    template_routes.add_routes(app.router, templates)
    route_routes.add_routes(app.router, explainer or NothingToExplain())
    adapter_routes.add_routes(app.router, adapters, tenants)
    add_webhooks(app.router, webhooks)
    recipients.add_routes(app.router, erasures)
    suppression_routes.add_routes(app.router, suppressions)
    unsubscribe.add_routes(app.router, suppressions, services.tenants)
    usage.add_routes(app.router, billing)
    sender_routes.add_routes(app.router, senders or NoSenders())
    docs.add_routes(app.router, app)
    paths.settle(app.router.routes)
    return app


async def _http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses, for the Door to answer as it does all problems."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = paths.allowed(request.app.router.routes, request.scope)
        raise Problem("method_not_allowed", headers={"Allow": allow})
    raise Problem("not_found", headers=error.headers)
