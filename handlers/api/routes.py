"""/v1/routes/explain, and the last thing before a message is accepted: the order of providers."""

from __future__ import annotations

from typing import Annotated, Final, Protocol
from zlib import crc32

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from domain.channels import CHANNELS, AddressProblem, SenderProblem
from domain.message import Category, MessageOrder, Step
from domain.numbering.number import facts
from domain.routing.explanation import Asked, Explanation
from domain.routing.question import NoRoute
from domain.tenancy import Scope
from handlers.api import body, operation
from handlers.api.answers import encode
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, validation_failed
from handlers.api.route_answers import ExplanationView, explanation_view

MAX_BODY: Final = 16 * 1024
_Text = Annotated[str, Field(min_length=1, max_length=320)]


class ExplainBody(BaseModel):
    """A message that might be sent: to whom, on which channel, and what else tells routes apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: _Text = Field(description="An address of the channel.", examples=["+4520123456"])
    channel: str = "sms"
    category: Category = Category.TRANSACTIONAL
    sender: _Text | None = None
    provider: _Text | None = Field(None, description="The provider or route that is asked for.")
    operator: Annotated[str, Field(pattern="^[0-9]{5,6}$")] | None = Field(
        None, description="The number's network as MCC and MNC, if it is known.", examples=["23801"]
    )
    id: _Text | None = Field(
        None,
        description="A message's id, or any text in its place: where traffic is divided, it "
        "decides.",
    )


class Supposed(Protocol):
    """What is said of a message that might be sent; see `ExplainBody`."""

    @property
    def to(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def category(self) -> Category: ...
    @property
    def sender(self) -> str | None: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def operator(self) -> str | None: ...
    @property
    def id(self) -> str | None: ...


class Explains(Protocol):
    """Says what would become of a message."""

    async def explain(self, asked: Asked) -> Explanation:
        """The explanation, of this moment."""


class RoutesSteps(Protocol):
    """Puts the providers of a message's steps in order."""

    def order(self, message_id: str, order: MessageOrder) -> MessageOrder:
        """The message with its providers in order. Raises NoRoute."""

    def ways(self, message_id: str, order: MessageOrder, step: Step) -> tuple[str, ...] | None:
        """What price lists call the carriers or adapters that a step may take; None where that is
        not known."""


class AsItIs:
    """Where there is no router: the order that the message came with."""

    def order(self, message_id: str, order: MessageOrder) -> MessageOrder:
        """See `RoutesSteps`."""
        return order

    def ways(self, message_id: str, order: MessageOrder, step: Step) -> tuple[str, ...] | None:
        """See `RoutesSteps`."""
        return None


class NothingToExplain:
    """Where there is no router."""

    async def explain(self, asked: Asked) -> Explanation:
        """See `Explains`."""
        return Explanation("least-cost", None, [], [])


def routed(router: RoutesSteps, message_id: str, order: MessageOrder) -> MessageOrder:
    """The message with its providers in order. Raises Problem when a step has none."""
    try:
        return router.order(message_id, order)
    except NoRoute as none:
        by = order.plan[none.step].channel if none.named is None else none.named
        error = FieldError(
            "no_route", f"No route of yours leads there by {by}.", f"/plan/{none.step}"
        )
        raise validation_failed([error]) from None


def asked(said: Supposed, tenant: str) -> Asked:
    """What is asked, once it is checked. Raises Problem."""
    rules = CHANNELS.get(said.channel)
    if rules is None:
        detail = f"Channels: {', '.join(CHANNELS)}."
        raise validation_failed([FieldError("unknown_channel", detail, "/channel")])
    faults = []
    address, sender = said.to, said.sender
    try:
        address = rules.parse_address(said.to)
    except AddressProblem as problem:
        faults.append(FieldError(problem.code, problem.detail, "/to"))
    if sender is not None:
        try:
            sender = rules.parse_sender(sender)
        except SenderProblem as problem:
            faults.append(FieldError(problem.code, problem.detail, "/sender"))
    if faults:
        raise validation_failed(faults)
    number = facts(address) if address.startswith("+") else None
    return Asked(
        tenant=tenant,
        channel=said.channel,
        to=address,
        country=None if number is None else number.country,
        operator=said.operator,
        number_type=None if number is None else number.kind.value,
        category=said.category,
        sender=sender,
        named=said.provider,
        draw=crc32((said.id or address).encode()),
    )


def add_routes(router: APIRouter, explainer: Explains) -> None:
    """Serve the resource."""

    async def explain_route(request: Request) -> Response:
        """Which routes a message would take now, best first, and why. Nothing is sent.

        It is a POST because an address has no place in a URL, which is logged on its way.
        """
        said = body.parse(await body.read(request, MAX_BODY), ExplainBody)
        found = await explainer.explain(asked(said, principal_of(request).tenant))
        return Response(encode(explanation_view(found)), media_type="application/json")

    operation.add(
        router,
        "POST",
        "/v1/routes/explain",
        explain_route,
        tag="Routes",
        summary="Explain a choice of routes",
        status=200,
        answer=ExplanationView.__name__,
        body=ExplainBody.__name__,
        problems=[
            "body_required",
            "malformed_json",
            "body_too_large",
            "unsupported_media_type",
            "validation_failed",
        ],
        scope=Scope.READ,
    )
