"""A bind pool's choices of routes, and how well the carriers do, as metrics.

Cardinality is bounded by what an operator configures: routes times the reasons that there are,
carriers times calling codes, of which no more than `MOST` are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from domain.routing.choice import Why
from domain.routing.quality import Quality
from domain.routing.routes import Kind

MOST: Final = 1_000
"""Pairs of a carrier and a calling code, those with the most messages first."""
_CARRIER: Final = f"{Kind.CARRIER.value}:"


class RouteCollector(Collector):
    """Reads when it is asked. `chosen` counts the choices by route and reason."""

    def __init__(
        self,
        chosen: Mapping[tuple[str, Why], int],
        quality: Quality,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chosen = chosen
        self._quality = quality
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        chosen = CounterMetricFamily(
            "hermes_route_chosen",
            "Attempts by the route that took them and why it did, where there was a choice.",
            labels=("route", "why"),
        )
        for (route, why), count in self._chosen.items():
            chosen.add_metric([route, why.value], count)
        yield chosen
        yield from self._qualities()

    def _qualities(self) -> Iterator[Metric]:
        labels = ("carrier", "calling_code")
        rate = GaugeMetricFamily(
            "hermes_route_delivered_ratio",
            "Share that the carrier delivers to the country, of late.",
            labels=labels,
        )
        latency = GaugeMetricFamily(
            "hermes_route_latency_seconds",
            "From submission to the receipt of delivery, of late.",
            labels=labels,
        )
        seen = GaugeMetricFamily(
            "hermes_route_seen",
            "Messages behind both, each weighted by its age.",
            labels=labels,
        )
        now = self._clock()
        known = [
            (way.removeprefix(_CARRIER), code, self._quality.of(way, code, now))
            for way, code in self._quality.ways()
            if way.startswith(_CARRIER)
        ]
        known.sort(key=lambda each: -each[2].seen)
        for carrier, code, estimate in known[:MOST]:
            if estimate.seen > 0:
                rate.add_metric([carrier, code], estimate.rate)
                latency.add_metric([carrier, code], estimate.latency)
                seen.add_metric([carrier, code], estimate.seen)
        yield from (rate, latency, seen)
