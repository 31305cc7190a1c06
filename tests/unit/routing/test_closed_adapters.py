"""An adapter whose routes were closed after a message was accepted gets no more of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from adapters.routing.library import Routing
from adapters.store.attempts import SqliteAttemptJournal
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.failures import FailureCode
from domain.message import Content
from domain.providers import OWN, Providers, Turn
from domain.routing.routes import Kind, Route
from domain.routing.rules import NO_RULES, RoutingRules
from handlers.delivery.adapter import create_adapter_delivery

NOW = datetime.now(UTC)
REQUEST = DeliveryRequest(
    message="msg_1",
    attempt=1,
    tenant="acme",
    to="+4520123456",
    content=Content("Hello"),
    receipt_ref="sign_1",
    not_after=NOW + timedelta(minutes=1),
    channel="sms",
    provider="twilio",
)


def route(name: str = "twilio", provider: str = "twilio", **more) -> Route:
    return Route(**{"channel": "sms", "kind": Kind.ADAPTER, **more}, name=name, provider=provider)


OFF = {"enabled": False}
# the routes, the tenant's rules, whether twilio is closed for acme's SMS
CLOSED = {
    "a route by itself": ((), NO_RULES, False),
    "a route by itself, excluded": ((), RoutingRules(exclude=("twilio",)), True),
    "another is excluded": ((), RoutingRules(exclude=("vonage",)), False),
    "its route": ((route(),), NO_RULES, False),
    "disabled": ((route(**OFF),), NO_RULES, True),
    "one of two is disabled": ((route(**OFF), route("second")), NO_RULES, False),
    "both are disabled": ((route(**OFF), route("second", **OFF)), NO_RULES, True),
    "one disabled, one excluded": (
        (route(**OFF), route("second")),
        RoutingRules(exclude=("second",)),
        True,
    ),
    "its route is not called so": (
        (route("second"),),
        RoutingRules(exclude=("twilio",)),
        False,
    ),
    "another tenant's now": ((route(tenants=("globex",)),), NO_RULES, True),
    "acme's own": ((route(tenants=("globex", "acme")),), NO_RULES, False),
    "another channel's": ((route(channel="whatsapp", **OFF),), NO_RULES, False),
    "another adapter's": ((route("vonage", "vonage", **OFF),), NO_RULES, False),
    "a carrier of the same name": ((route(kind=Kind.CARRIER, **OFF),), NO_RULES, False),
    # Where it leads was looked at when the message was accepted.
    "to another country": ((route(prefixes=("46",)),), NO_RULES, False),
}


@pytest.mark.parametrize(("routes", "rules", "closed"), CLOSED.values(), ids=CLOSED)
def test_when_an_adapter_is_closed(routes, rules, closed):
    routing = Routing(lambda: routes, lambda tenant: rules)
    assert routing.closed("acme", "sms", "twilio") is closed


class Host:
    """Takes everything."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def deliver(self, request: DeliveryRequest, adapter: str) -> Submission:
        self.taken.append(adapter)
        return Submission(SubmissionState.TAKEN, at=NOW, provider=adapter)


class Both:
    """A tenant that has two adapters."""

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        return (OWN, "twilio", "vonage")


class Delivery:
    """The service in front of a host, called as Restate calls it."""

    def __init__(self, where) -> None:
        self.routes: tuple[Route, ...] = ()
        self.host = Host()
        self.attempts = SqliteAttemptJournal(where)
        closed = Routing(lambda: self.routes).closed
        service = create_adapter_delivery(self.host, Both(), self.attempts, closed=closed)
        self._handler = service.handlers["deliver"].fn

    async def __call__(self, **more) -> Submission:
        return await self._handler(None, msgspec.structs.replace(REQUEST, **more))


@pytest.fixture
async def delivery(tmp_path):
    made = Delivery(tmp_path / "hermes.db")
    yield made
    await made.attempts.close()


async def test_a_route_that_is_disabled_carries_nothing_that_was_accepted_before(delivery):
    assert (await delivery()).state is SubmissionState.TAKEN
    delivery.routes = (route(**OFF),)
    refused = await delivery(attempt=2)
    assert delivery.host.taken == ["twilio"]
    assert refused.state is SubmissionState.FAILED
    assert refused.failure is not None
    assert refused.failure.code is FailureCode.NOT_SUPPORTED
    assert Providers(["twilio", "vonage"]).pass_on(refused.failure) is Turn.ANOTHER
    assert (await delivery(attempt=3, provider="vonage")).state is SubmissionState.TAKEN


async def test_what_was_handed_over_before_is_not_denied(delivery):
    first = await delivery()
    delivery.routes = (route(**OFF),)
    assert await delivery() == first


async def test_what_was_refused_stays_refused(delivery):
    delivery.routes = (route(**OFF),)
    first = await delivery()
    delivery.routes = ()
    assert await delivery() == first
    assert delivery.host.taken == []


async def test_a_step_that_names_nobody_takes_one_that_is_open(delivery):
    delivery.routes = (route(**OFF),)
    assert (await delivery(provider=None)).provider == "vonage"
