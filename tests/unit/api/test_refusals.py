"""Whatever is refused is counted once, with its tenant, layer and code."""

import httpx
import pytest

from adapters.telemetry.exposition import Metrics
from adapters.telemetry.refusals import refusals
from domain.content_rules import Action, ContentRules, KeywordRule
from domain.ports import EngineUnavailable
from domain.tenancy import Tenant
from handlers.api.app import create_app
from handlers.api.problems import PROBLEMS
from handlers.api.refusals import LAYERS, counted
from handlers.api.services import OwnServices
from handlers.pipeline.layers import in_order
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.admin.test_metrics import samples
from tests.unit.api.conftest import ALICE, BOB, MESSAGE

SPAM = {**MESSAGE, "content": {"text": "free money"}}


class Tenants:
    """Bob is suspended, and Alice may not write of money."""

    def tenant(self, tenant):
        rules = ContentRules(keywords=(KeywordRule(("free money",), Action.REFUSE),))
        return Tenant(tenant, suspended=tenant == "bob", content=rules)


class Counted:
    """The API, and what it has counted."""

    def __init__(self):
        self.counter, self.engine = refusals(), FakeEngine()
        app = create_app(
            FakeKeys({ALICE: "alice", BOB: "bob"}),
            FakeLog(),
            self.engine,
            tenants=Tenants(),
            pipeline=in_order(providers=OwnServices()),
            refused=counted(self.counter.add),
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://hermes.example"
        )

    async def ask(self, method, path, body=None, key=ALICE):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.client.request(method, path, json=body, headers=headers)

    @property
    def found(self):
        """Counts by tenant, layer and code."""
        text, _ = Metrics(self.counter).expose("")
        return {
            (tenant, layer, code): count
            for (name, code, layer, tenant), count in (
                item for item in samples(text.decode()).items() if len(item[0]) == 4
            )
            if name == "hermes_refused_total"
        }


@pytest.fixture
async def api():
    counted = Counted()
    async with counted.client:
        yield counted


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "tenant", "layer", "code"),
    [
        ("POST", "/v1/messages", MESSAGE, None, "", "auth", "missing_key"),
        ("POST", "/v1/messages", MESSAGE, "wrong", "", "auth", "invalid_key"),
        ("POST", "/v1/messages", MESSAGE, BOB, "bob", "tenant", "tenant_suspended"),
        ("POST", "/v1/messages", {}, ALICE, "alice", "schema", "validation_failed"),
        ("POST", "/v1/messages", SPAM, ALICE, "alice", "content", "content_refused"),
        ("GET", "/v1/messages/nothing", None, ALICE, "alice", "api", "message_not_found"),
        ("GET", "/nowhere", None, ALICE, "alice", "api", "not_found"),
        ("PUT", "/v1/messages", None, ALICE, "alice", "api", "method_not_allowed"),
    ],
)
async def test_a_refusal(api, method, path, body, key, tenant, layer, code):
    answer = await api.ask(method, path, body, key)
    assert answer.json()["code"] == code
    assert api.found == {(tenant, layer, code): 1}


async def test_what_is_taken_is_not_counted(api):
    assert (await api.ask("POST", "/v1/messages", MESSAGE)).status_code == 202
    assert api.found == {}


async def test_each_refused_message_of_a_batch(api):
    answer = await api.ask("POST", "/v1/messages/batch", {"messages": [MESSAGE, SPAM, SPAM, {}]})
    assert answer.json()["refused"] == 3
    assert api.found == {
        ("alice", "content", "content_refused"): 2,
        ("alice", "schema", "validation_failed"): 1,
    }


async def test_a_batch_that_found_no_engine_is_one_refusal(api, monkeypatch):
    async def start(*_arguments, **_more):
        raise EngineUnavailable

    monkeypatch.setattr(api.engine, "start", start)
    answer = await api.ask("POST", "/v1/messages/batch", {"messages": [MESSAGE, MESSAGE]})
    assert answer.status_code == 503
    assert api.found == {("alice", "engine", "engine_unavailable"): 1}


def test_every_code_has_its_layer():
    assert LAYERS.keys() == PROBLEMS.keys()
