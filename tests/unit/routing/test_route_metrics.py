"""What Prometheus is told of routes."""

from collections import Counter

from adapters.telemetry.exposition import Metrics
from adapters.telemetry.routes import MOST, RouteCollector
from domain.routing.choice import Why
from domain.routing.quality import Quality

NOW = 1_800_000_000.0


def exposed(chosen, quality):
    text, _ = Metrics(RouteCollector(chosen, quality, lambda: NOW)).expose("")
    return [line for line in text.decode().splitlines() if line.startswith("hermes_route")]


def test_choices_and_quality():
    quality = Quality()
    for _ in range(90):
        quality.sent("carrier:telia", "45", NOW)
        quality.delivered("carrier:telia", "45", NOW, NOW + 5)
    quality.sent("adapter:acme/twilio", "45", NOW)
    quality.failed("adapter:acme/twilio", "45", NOW)
    lines = exposed(Counter({("dk", Why.CHEAPEST): 3}), quality)
    assert 'hermes_route_chosen_total{route="dk",why="cheapest"} 3.0' in lines
    labels = '{calling_code="45",carrier="telia"}'
    assert f"hermes_route_latency_seconds{labels} 5.0" in lines
    assert f"hermes_route_seen{labels} 90.0" in lines
    assert not any("acme" in line for line in lines), "a tenant's own accounts are its own"


def test_the_number_of_series_is_bounded():
    quality = Quality()
    for n in range(MOST + 50):
        quality.sent(f"carrier:{n}", "45", NOW)
        quality.failed(f"carrier:{n}", "45", NOW)
    assert len(exposed(Counter(), quality)) == 3 * MOST
