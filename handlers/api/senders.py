"""/v1/senders: which senders of SMS are the tenant's own."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from domain.compliance.senders import SenderStatus
from domain.tenancy import Scope
from handlers.api import operation
from handlers.api.answers import encode
from handlers.api.door import principal_of
from handlers.pipeline.compliance import SenderSource


class SenderView(msgspec.Struct, frozen=True):
    """A sender. `countries` (ISO 3166-1 alpha-2) are those that it is registered or meant for;
    without any, it is for every country that needs no registration."""

    sender: str
    status: SenderStatus
    countries: tuple[str, ...]
    reserved: bool


class SenderList(msgspec.Struct, frozen=True):
    """The tenant's senders, by name."""

    data: list[SenderView]


def add_routes(router: APIRouter, senders: SenderSource) -> None:
    """Serve the resource."""

    async def list_senders(request: Request) -> Response:
        """Your senders of SMS, and where they may be used. Whoever runs Hermes registers them."""
        own = senders.value.of(principal_of(request).tenant)
        views = [SenderView(one.sender, one.status, one.countries, one.reserved) for one in own]
        return Response(encode(SenderList(views)), media_type="application/json")

    operation.add(
        router,
        "GET",
        "/v1/senders",
        list_senders,
        scope=Scope.READ,
        tag="Senders",
        summary="List your senders",
        status=200,
        answer="SenderList",
    )
