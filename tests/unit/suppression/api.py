"""The API before real lists: a tenant's requests, its mails' links, and the operator's door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from adapters.limits.quota import Quotas
from adapters.suppression.hashing import Hasher
from adapters.suppression.jobs import ImportJobs
from adapters.suppression.links import UnsubscribeLinks
from domain.tenancy import Tenant
from handlers.admin.served import OperatorApi
from handlers.admin.suppressions import suppressions
from handlers.api.app import create_app
from handlers.api.services import OwnServices
from handlers.api.suppression_requests import SuppressionDesk
from handlers.pipeline.dnc import Dnc
from handlers.pipeline.draft import Layer
from handlers.pipeline.layers import in_order
from handlers.pipeline.rate import Rate, RateGate
from tests.fakes import FakeClock, FakeEngine, FakeKeys, FakeLog
from tests.unit.suppression.conftest import SECRET, World

ACME, GLOBEX, OPERATOR = "key-of-acme", "key-of-globex", "the-operators-own-key"
PUBLIC = "https://hermes.example"


@dataclass
class Settings:
    """The tenants' settings, changed by a test as it likes."""

    tenants: dict[str, Tenant]

    def tenant(self, tenant: str) -> Tenant | None:
        return self.tenants.get(tenant)


@dataclass
class Api:
    """Requests are acme's unless `key` says otherwise."""

    client: httpx.AsyncClient
    operators: httpx.AsyncClient
    desk: SuppressionDesk
    engine: FakeEngine
    settings: Settings
    app: Any
    operator_app: Any
    quotas: Quotas

    async def ask(self, method: str, path: str, body: Any = None, *, key: str = ACME, **options):
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        client = self.operators if path.startswith("/admin/") else self.client
        return await client.request(method, path, json=body, headers=headers, **options)

    async def send(self, address: str = "+4520123456", *, key: str = ACME, **more: Any):
        """Send a message by SMS."""
        body = {
            "to": {"sms": address},
            "content": {"text": "Hello. Reply STOP to opt out."},
            **more,
        }
        return await self.ask("POST", "/v1/messages", body, key=key)

    async def close(self) -> None:
        await self.client.aclose()
        await self.operators.aclose()
        await self.quotas.close()


def serve(world: World, clock: FakeClock | None = None, dedup: Layer | None = None) -> Api:
    """An API process with all of it; the limits' seconds are those of the clock."""
    process = world.process()
    hasher = Hasher(SECRET)
    jobs = ImportJobs(world.where, process.directory, SECRET)
    desk = SuppressionDesk(world.store, jobs, process.lists, UnsubscribeLinks(hasher, PUBLIC))
    clock = clock or FakeClock()
    engine = FakeEngine()
    settings = Settings({"acme": Tenant("acme"), "globex": Tenant("globex")})
    quotas = Quotas(world.where)
    rate = Rate(quotas, lambda: clock().timestamp())
    app = create_app(
        FakeKeys({ACME: "acme", GLOBEX: "globex"}),
        FakeLog(),
        engine,
        clock=clock,
        tenants=settings,
        pipeline=in_order(
            providers=OwnServices(),
            dnc=Dnc(process.lists, hasher),
            rate=rate,
            dedup=dedup,
        ),
        suppressions=desk,
        limiter=RateGate(rate, settings),
    )
    operators = OperatorApi(suppressions(desk), OPERATOR, title="", description="")

    def client(app: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC)

    return Api(
        client(app), client(operators.app), desk, engine, settings, app, operators.app, quotas
    )
