"""What Prometheus reads of the adapters, and who may."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.telemetry.adapters import (
    MOST_LINES,
    MOST_OF_LINE,
    MOST_OF_ONE,
    MOST_SERIES,
    AdapterCollector,
    GuestTelemetry,
    StrangerTelemetry,
)
from adapters.telemetry.exposition import Metrics
from adapters.wasm.installed import Health, Installed, Unread
from adapters.wasm.manifest import Manifest
from handlers.admin.metrics import metrics_app

KEY = "hok_a-key-of-the-operator"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
GUEST = "hermes_adapter_guest"


def samples(text):
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def installed(name):
    manifest = Manifest(name, "1.2.0", "1.0.0", "For a test.", ("sms",), ())
    return Installed("acme", name, "ab" * 32, 1, manifest, Path("none"), {}, {}, 100)


def exposed(*collectors):
    return samples(Metrics(*collectors).expose("")[0].decode())


def test_a_guests_figures_add_up_under_its_name():
    telemetry = GuestTelemetry()
    for value in (1.0, 2.5):
        telemetry.metric("acme", "twilio", "sent", value)
    telemetry.metric("globex", "twilio", "sent", 1.0)
    told = exposed(telemetry)
    assert told[GUEST, "twilio", "sent", "acme"] == 3.5
    assert told[GUEST, "twilio", "sent", "globex"] == 1.0


def test_a_flood_of_names_is_only_counted():
    telemetry = GuestTelemetry()
    for number in range(MOST_OF_ONE + 7):
        telemetry.metric("acme", "own", f"name_{number}", 1.0)
    telemetry.metric("acme", "own", "name_0", 1.0)
    telemetry.metric("globex", "own", "name_0", 1.0)
    told = exposed(telemetry)
    assert sum(name[0] == GUEST for name in told) == MOST_OF_ONE + 1
    assert told[GUEST, "own", "name_0", "acme"] == 2.0
    assert told[GUEST, "own", "name_0", "globex"] == 1.0
    assert told[f"{GUEST}_dropped_total",] == 7


def test_all_of_them_together_have_an_end_too():
    telemetry = GuestTelemetry()
    for number in range(MOST_SERIES + 7):
        telemetry.metric(f"tenant-{number}", "own", "name", 1.0)
    told = exposed(telemetry)
    assert sum(name[0] == GUEST for name in told) == MOST_SERIES
    assert told[f"{GUEST}_dropped_total",] == 7


@pytest.mark.parametrize(
    ("level", "shown"), [("debug", "DEBUG"), ("warn", "WARNING"), ("loud", "INFO")]
)
def test_a_guests_line_names_whose_it_is(caplog, level, shown):
    caplog.set_level("DEBUG", "hermes.adapter")
    GuestTelemetry().log("acme", "twilio", level, "refused: 21211")
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == (shown, "acme/twilio: refused: 21211")
    assert (record.tenant, record.adapter) == ("acme", "twilio")


def test_what_a_tenants_own_says_is_counted_and_not_written_down(caplog):
    caplog.set_level("DEBUG")
    telemetry = GuestTelemetry()
    stranger = StrangerTelemetry(telemetry)
    for level in ("info", "info", "error", "loud"):
        stranger.log("acme", "own", level, "Your code is 123456")
    stranger.metric("acme", "own", "sent", 2.0)
    assert caplog.records == []
    told = exposed(telemetry)
    lines = f"{GUEST}_lines_total"
    assert (told[lines, "own", "info", "acme"], told[lines, "own", "error", "acme"]) == (3, 1)
    assert told[GUEST, "own", "sent", "acme"] == 2.0


def test_where_they_are_written_down_they_are_marked_and_few(caplog):
    caplog.set_level("DEBUG", "hermes.adapter")
    telemetry, now = GuestTelemetry(), [100.0]
    stranger = StrangerTelemetry(telemetry, telemetry.log, lambda: now[0])
    for _ in range(MOST_LINES.count + 7):
        stranger.log("acme", "own", "info", "x" * 9_000)
    stranger.log("globex", "own", "info", "hello")
    assert len(caplog.records) == MOST_LINES.count + 1
    assert caplog.records[0].getMessage() == f"acme/own: [guest] {'x' * MOST_OF_LINE}"
    now[0] += MOST_LINES.seconds
    stranger.log("acme", "own", "info", "again")
    assert caplog.records[-1].getMessage() == "acme/own: [guest] again"


def test_health_and_webhooks():
    health = {"sick": Health(NOW, ok=False, sick=True), "well": Health(NOW, ok=True, sick=False)}
    seen = {("acme", "sick", "mismatch"): 3}
    told = exposed(
        AdapterCollector(
            lambda: [installed(name) for name in ("sick", "well", "new")],
            lambda tenant, adapter: health.get(adapter),
            lambda: seen,
            lambda: {("acme", "own"): Unread(waiting=3, given_up=1)},
        )
    )
    up = {
        name: told["hermes_adapter_up", name, "acme", "1.2.0"] for name in ("sick", "well", "new")
    }
    assert up == {"sick": 0, "well": 1, "new": 1}
    assert told["hermes_webhooks_unread", "own", "waiting", "acme"] == 3
    assert told["hermes_webhooks_unread", "own", "given_up", "acme"] == 1
    assert told["hermes_webhooks_total", "sick", "mismatch", "acme"] == 3


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/metrics", KEY, 200),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", "hok_another", 401),
        ("GET", "/metrics/more", KEY, 404),
        ("POST", "/metrics", KEY, 404),
    ],
)
async def test_the_operators_key_opens_it(method, path, key, status):
    app = metrics_app(Metrics(GuestTelemetry()), KEY)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://hermes.example"
    ) as client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        answer = await client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert ("hermes_adapter" in answer.text) == (status == 200)
