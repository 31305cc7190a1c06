"""The carriers' health as metrics, read when they are asked for: nothing is counted twice, and
nothing on the way of a message.

Cardinality is bounded by what an operator configures; tenants only show while something of theirs
waits, and beyond `MOST_TENANTS` they are one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.smpp.carriers.carrier import CarrierHealth, CarrierState
from adapters.smpp.flow.backlog import Queue

MOST_TENANTS: Final = 100
OTHERS: Final = "(others)"
_RESULTS: Final = ("accepted", "refused", "throttled", "unknown")


@dataclass(frozen=True, slots=True)
class PoolGauges:
    """Where the collector reads: each is called once a scrape."""

    carriers: Callable[[], Iterable[CarrierHealth]]
    queues: Callable[[], Sequence[Queue]]
    unmatched: Callable[[], int]
    lag: Callable[[], float]


class CarrierCollector(Collector):
    """Metrics of one bind pool."""

    def __init__(self, gauges: PoolGauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        carriers = list(self._gauges.carriers())
        yield from _of_carriers(carriers)
        yield from _of_connections(carriers)
        yield self._queue()
        yield GaugeMetricFamily(
            "hermes_smpp_receipts_unmatched",
            "Receipts held because no attempt fits them.",
            value=self._gauges.unmatched(),
        )
        yield GaugeMetricFamily(
            "hermes_smpp_lag_seconds",
            "From a cascade's decision to its arrival at this pool, of late.",
            value=self._gauges.lag(),
        )

    def _queue(self) -> Metric:
        waiting: Counter[tuple[str, str]] = Counter()
        queues = sorted(self._gauges.queues(), key=lambda queue: -queue.waiting)
        shown = dict.fromkeys(queue.tenant for queue in queues)
        named = set(list(shown)[:MOST_TENANTS])
        for queue in queues:
            tenant = queue.tenant if queue.tenant in named else OTHERS
            waiting[tenant, queue.category.value] += queue.waiting
        family = GaugeMetricFamily(
            "hermes_smpp_queue",
            "Messages that wait for a carrier, here or told to come back.",
            labels=("tenant", "category"),
        )
        for labels, count in waiting.items():
            family.add_metric(labels, count)
        return family


def _of_carriers(carriers: Sequence[CarrierHealth]) -> Iterator[Metric]:
    up = _gauge("carrier_up", "1 while the carrier takes messages.")
    down = _gauge(
        "carrier_down",
        "1 while its binds keep failing: alert on this. 0 when an operator took it out.",
    )
    rate = _gauge("rate_limit", "Parts a second it is given at most now; absent without a limit.")
    configured = _gauge("rate_configured", "The rate that is configured; absent without one.")
    waiting = _gauge("waiting", "Requests that wait in this pool for its window or rate.")
    submits = CounterMetricFamily(
        "hermes_smpp_submits", "Parts by what the carrier answered.", labels=("carrier", "result")
    )
    receipts = _counter("receipts", "Receipts that the carrier sent.")
    restarts = _counter(
        "restarts",
        "Connections that ended and dials that failed.",
    )
    for carrier in carriers:
        name = [carrier.name]
        up.add_metric(name, carrier.state is CarrierState.UP)
        down.add_metric(name, carrier.state is CarrierState.DOWN)
        waiting.add_metric(name, carrier.queued)
        receipts.add_metric(name, carrier.receipts)
        restarts.add_metric(name, carrier.restarts)
        if carrier.rate is not None:
            rate.add_metric(name, carrier.rate)
        if carrier.configured_rate is not None:
            configured.add_metric(name, carrier.configured_rate)
        for result in _RESULTS:
            submits.add_metric([carrier.name, result], getattr(carrier, result))
    yield from (up, down, rate, configured, waiting, submits, receipts, restarts)


def _of_connections(carriers: Sequence[CarrierHealth]) -> Iterator[Metric]:
    labels = ("carrier", "connection")
    up = _gauge("bind_up", "1 while the connection is bound.", labels)
    in_flight = _gauge("in_flight", "Submits without an answer.", labels)
    window = _gauge("window", "Submits that may be without an answer.", labels)
    for carrier in carriers:
        for connection in carrier.connections:
            values = [carrier.name, connection.name.rpartition("/")[2]]
            up.add_metric(values, connection.bound)
            in_flight.add_metric(values, connection.in_flight)
            window.add_metric(values, connection.window)
    yield from (up, in_flight, window)


def _gauge(name: str, meaning: str, labels: Sequence[str] = ("carrier",)) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hermes_smpp_{name}", meaning, labels=labels)


def _counter(name: str, meaning: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"hermes_smpp_{name}", meaning, labels=("carrier",))
