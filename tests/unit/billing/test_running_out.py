"""An account that runs out: the API that accepts and the pool that charges, on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.billing.desk import BillingDesk
from adapters.routing.library import Routing
from adapters.routing.prices import BookPrices
from adapters.routing.providers import ProviderRouter
from adapters.smpp.carriers.carrier import Order
from adapters.smpp.carriers.choice import CarrierChoice
from adapters.smpp.carriers.mesh import Mesh
from adapters.smpp.flow.pressure import CarrierReport
from adapters.store.tenants import create_tenant
from domain.delivery import DeliveryRequest, Submission, SubmissionState
from domain.message import Level, MessageOrder
from handlers.api.app import create_app
from handlers.delivery.charging import Charging
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.billing.conftest import Money
from tests.unit.smpp_pool.conftest import config_for

CARRIERS = ("cheap", "dear")
MESSAGE = {"to": {"sms": "+4520123456"}, "content": {"text": "Hello"}}


class NoAdapters:
    def active(self, tenant, adapter):
        return None

    def choose(self, tenant, channel):
        return []


class Deployment:
    """An API process and a pool with two carriers, one of them cheap."""

    def __init__(self, money: Money) -> None:
        self.money = money
        create_tenant(money.where, "acme")
        self.mesh = Mesh(lambda name: None)
        for name in CARRIERS:
            self.mesh.add(config_for(1, name=name), Order.DRAINED)
        self.choice = CarrierChoice(self.mesh, self._routing())
        self.spending = money.process()
        self.around = Charging(money.lists, self.spending).around(
            "sms",
            lambda request: self.choice.providers(request.provider),
            self._refused,
            lambda request: tuple(one.name for one in self.choice.choose(request).carriers),
        )
        self.engine = FakeEngine()
        reports = {name: CarrierReport(name) for name in CARRIERS}
        app = create_app(
            FakeKeys({"key": "acme"}),
            FakeLog(),
            self.engine,
            router=ProviderRouter(self._routing(), NoAdapters(), lambda: reports),
            billing=BillingDesk(money.where, money.lists),
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://hermes"
        )

    async def send(self, **more) -> tuple[int, str]:
        """A message on its whole way: the API's status and code, or what became of it and who
        took it."""
        answer = await self.client.post(
            "/v1/messages", headers={"Authorization": "Bearer key"}, json={**MESSAGE, **more}
        )
        if answer.status_code != 202:
            return answer.status_code, answer.json()["code"]
        id_ = answer.json()["id"]
        submission = await self.around(_request(id_, self.engine.held[id_]), self._submit)
        await self.spending.flush()
        self.money.lists.refresh()
        failure = submission.failure
        return 202, submission.provider if failure is None else failure.code.value

    async def account(self) -> dict:
        answer = await self.client.get("/v1/account", headers={"Authorization": "Bearer key"})
        return answer.json()

    async def close(self) -> None:
        await self.client.aclose()
        await self.mesh.close()

    def _routing(self) -> Routing:
        return Routing(prices=BookPrices(lambda: self.money.lists.value))

    async def _submit(self, request: DeliveryRequest) -> Submission:
        first = self.choice.choose(request).carriers[0].name
        now = datetime.now(UTC)
        return Submission(SubmissionState.TAKEN, at=now, provider=first, level=Level.SENT)

    @staticmethod
    async def _refused(request: DeliveryRequest, refusal: Submission) -> Submission:
        return refusal


def _request(id_: str, order: MessageOrder) -> DeliveryRequest:
    return DeliveryRequest(
        message=id_,
        attempt=1,
        tenant=order.tenant,
        to=order.to["sms"],
        content=order.content,
        receipt_ref="ref",
        not_after=datetime.now(UTC) + timedelta(minutes=1),
        provider=order.plan[0].provider,
    )


@pytest.fixture
async def deployment(money: Money) -> AsyncIterator[Deployment]:
    money.price(7_500, prefix="45")
    money.price(5_000, prefix="45", route="cheap")
    running = Deployment(money)
    yield running
    await running.close()


@pytest.mark.parametrize("terms", [{"amount": 15_000}, {"credit": 15_000}], ids=["paid", "credit"])
async def test_an_account_is_used_up_to_the_last_message_that_it_can_pay(
    deployment: Deployment, terms
):
    deployment.money.account("acme", **terms)
    assert [await deployment.send() for _ in range(3)] == [(202, "cheap")] * 3
    assert await deployment.send() == (402, "account_empty")
    assert (await deployment.account())["empty"] is True
    deployment.money.pay("acme", 5_000)
    assert await deployment.send() == (202, "cheap")
    assert await deployment.send() == (402, "account_empty")


async def test_an_account_with_nothing_left_accepts_not_even_one(deployment: Deployment):
    deployment.money.account("acme", 0)
    assert await deployment.send() == (402, "account_empty")
    deployment.money.pay("acme", 4_999)
    assert await deployment.send() == (402, "account_empty")
    assert (await deployment.account())["empty"] is True


async def test_a_dear_route_that_is_asked_for_is_refused_while_the_cheap_one_goes(
    deployment: Deployment,
):
    deployment.money.account("acme", 5_000)
    dear = {"plan": [{"channel": "sms", "provider": "dear"}]}
    assert await deployment.send(**dear) == (202, "insufficient_funds")
    assert await deployment.send(**dear) == (402, "account_empty")
    assert (await deployment.account())["empty"] is False
    assert await deployment.send() == (202, "cheap")
    assert await deployment.send() == (402, "account_empty")


async def test_what_has_no_price_is_accepted_all_the_same(deployment: Deployment):
    deployment.money.account("acme", 0)
    assert (await deployment.send(to={"sms": "+46701234567"}))[0] == 202
