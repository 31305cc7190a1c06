"""The demonstration, and the simulators' numbers, after a lot of messages that did not arrive."""

import io
import time

import pytest
from rich.console import Console

from adapters.email.relay import PROVIDER
from adapters.routing.library import Routing
from adapters.routing.providers import ProviderRouter
from adapters.smpp.flow.pressure import CarrierReport
from adapters.store.tenants import change_tenant, get_tenant
from domain.providers import OWN
from domain.routing.quality import Quality
from infra.cli.client import ApiClient, ApiError
from infra.local.demo import PLAN, demonstrate
from infra.local.demo_adapters import FIRST, TENANT, prefer_simulators
from infra.local.demo_keys import ensure_demo_keys
from infra.local.stack import SIMULATED_CARRIER, Stack
from tests.unit.routing.test_providers import Adapters, World


@pytest.fixture
def database(tmp_path):
    database = tmp_path / "hermes.db"
    ensure_demo_keys(tmp_path, database)
    return database


def rules(database):
    return get_tenant(database, TENANT).tenant.routing


def world(rules):
    """One in which the simulator and the relay have failed 60 messages each."""
    now = time.time()
    quality = Quality()
    for way, country in ((f"carrier:{SIMULATED_CARRIER}", "45"), ("own:email", "")):
        for _ in range(60):
            quality.sent(way, country, now)
            quality.failed(way, country, now)
    world = World(rules=rules)
    carriers = {SIMULATED_CARRIER: CarrierReport(SIMULATED_CARRIER)}
    routing = Routing(rules=lambda tenant: rules, quality=quality)
    adapters = Adapters(twilio=("sms", 100), sendgrid=("email", 100))
    world.router = ProviderRouter(routing, adapters, lambda: carriers)
    return world


@pytest.mark.parametrize(("channel", "adapter"), [("sms", "twilio"), ("email", "sendgrid")])
def test_messages_meet_the_simulators_first_however_badly_those_do(database, channel, adapter):
    step = (channel, (OWN, adapter))
    assert world(rules(database)).adapters_of(*step) == (adapter, OWN)
    prefer_simulators(database)
    assert world(rules(database)).adapters_of(*step) == (OWN, adapter)


def test_the_demonstration_goes_to_the_simulators():
    named = [(step["channel"], step["provider"]) for step in PLAN]
    assert named == [("sms", SIMULATED_CARRIER), ("email", PROVIDER)]


def test_the_demonstration_sends_its_plan(monkeypatch):
    sent = []

    def send(self, message):
        sent.append(message)
        raise ApiError("enough")

    monkeypatch.setattr(ApiClient, "send", send)
    stack = Stack()
    stack.keys = {TENANT: "hk_test"}
    with pytest.raises(ApiError, match="enough"):
        demonstrate(stack, Console(file=io.StringIO()))
    assert sent[0]["plan"] == PLAN


def test_rules_that_are_there_are_kept(database):
    own = {"order": ["twilio"]}
    change_tenant(database, TENANT, {"routing": own})
    prefer_simulators(database)
    assert rules(database).order == ("twilio",)


def test_a_tier_without_rules_is_left_alone(database):
    change_tenant(database, TENANT, {"tier": "shared"})
    prefer_simulators(database)
    assert rules(database).order == ()


def test_it_is_done_once(database):
    prefer_simulators(database)
    prefer_simulators(database)
    assert rules(database).order == FIRST
