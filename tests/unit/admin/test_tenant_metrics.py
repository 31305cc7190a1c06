"""Figures of tenants stay bounded, and a counter never goes back."""

import pkgutil
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

from prometheus_client.registry import Collector

import adapters.telemetry
from adapters.callbacks.endpoints import Directory
from adapters.telemetry.adapters import AdapterCollector, GuestTelemetry
from adapters.telemetry.billing import AccountCollector, LedgerTelemetry
from adapters.telemetry.callbacks import CallbackTelemetry
from adapters.telemetry.carriers import CarrierCollector, PoolGauges
from adapters.telemetry.exposition import Metrics
from adapters.telemetry.refusals import refusals
from adapters.telemetry.routes import RouteCollector
from adapters.telemetry.tenants import (
    MOST_SERIES,
    MOST_TENANTS,
    OTHERS,
    TenantCounter,
    by_tenant,
)
from domain.routing.quality import Quality
from tests.unit.admin.test_metrics import samples
from tests.unit.isolation.world import ALICE, opened


def read(*collectors):
    text, _ = Metrics(*collectors).expose("")
    return {k: v for k, v in samples(text.decode()).items() if k[0].startswith("hermes_")}


def test_a_flood_of_tenants_makes_no_flood_of_series():
    counter = TenantCounter("hermes_things", "Things.", "code")
    for number in range(MOST_SERIES + 50):
        counter.add(f"tenant-{number}", "bad")
    before = read(counter)
    assert len(before) == MOST_SERIES + 1
    assert before["hermes_things_total", "bad", OTHERS] == 50
    for number in range(MOST_SERIES + 50):
        counter.add(f"tenant-{number}", "bad")
    after = read(counter)
    assert after.keys() == before.keys()
    assert all(after[key] > before[key] for key in before)


def test_the_largest_are_named_and_the_others_together():
    figures = {f"tenant-{number}": float(number) for number in range(MOST_TENANTS + 10)}
    found = {
        sample.labels["tenant"]: sample.value for sample in by_tenant("x", "", figures).samples
    }
    assert len(found) == MOST_TENANTS + 1
    assert found[OTHERS] == sum(range(10))
    oldest = by_tenant("x", "", figures, max).samples
    assert {sample.labels["tenant"]: sample.value for sample in oldest}[OTHERS] == 9


def test_whose_account_is_empty():
    assert read(AccountCollector(lambda: ["acme"])) == {("hermes_account_empty", "acme"): 1}


class Nothing:
    """Where there is nothing to tell."""

    queue, lag = 0, 0.0
    value = Directory([], {})


def test_every_metric_is_documented():
    """Of every collector that there is; whoever adds one adds it here, and to the document."""
    ledger = LedgerTelemetry()
    ledger.follow(Nothing())
    collectors = [
        CarrierCollector(PoolGauges(list, list, lambda: 0, lambda: 0.0)),
        RouteCollector(Counter(), Quality()),
        GuestTelemetry(),
        AdapterCollector(list, lambda tenant, adapter: None),
        CallbackTelemetry(Nothing()),
        ledger,
        AccountCollector(list),
        refusals(),
    ]
    defined = {
        each
        for module in pkgutil.iter_modules(adapters.telemetry.__path__)
        for each in vars(import_module(f"adapters.telemetry.{module.name}")).values()
        if isinstance(each, type)
        and Collector in each.__mro__
        and each.__module__.startswith(adapters.telemetry.__name__)
    }
    assert {type(one) for one in collectors} == defined, "a collector is missing above"
    there = {
        family.name + ("_total" if family.type == "counter" else "")
        for one in collectors
        for family in one.collect()
    }
    document = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert set(re.findall(r"^\| `(hermes_\w+)`", document.read_text(), re.M)) == there


async def test_an_api_process_tells_what_it_refused(tmp_path, monkeypatch):
    async with opened(tmp_path / "hermes.db", tmp_path / "data", monkeypatch) as world:
        assert (await world.ask("POST", "/v1/messages", ALICE, {})).status == 422
        world.keys["operator"] = world.operator
        text = (await world.ask("GET", "/metrics", "operator")).text
        found = samples(text)
        assert found["hermes_refused_total", "validation_failed", "schema", ALICE] == 1
        assert "hermes_account_empty" in text
