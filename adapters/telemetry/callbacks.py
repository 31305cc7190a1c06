"""What tenants' endpoints were told, what waits for them, and which are disabled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.callbacks.events import Waiting
from adapters.callbacks.outbox import HasDirectory
from adapters.callbacks.pump import Outcome
from adapters.telemetry.tenants import TenantCounter, by_tenant


class CallbackTelemetry(Collector):
    """The callbacks of one process; what waits, and is disabled, is the same in every process."""

    def __init__(self, endpoints: HasDirectory, clock: Callable[[], float] = time.time) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._waiting: Sequence[Waiting] = ()
        self._told = TenantCounter(
            "hermes_callbacks",
            "Tries to tell an endpoint something, by what came of them.",
            "outcome",
        )

    def told(self, tenant: str, outcome: Outcome) -> None:
        """Count a try."""
        self._told.add(tenant, outcome)

    def wait(self, waiting: Sequence[Waiting]) -> None:
        """Note what waits now."""
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        yield from self._told.collect()
        now = self._clock()
        count: dict[str, float] = {}
        oldest: dict[str, float] = {}
        for each in self._waiting:
            count[each.tenant] = count.get(each.tenant, 0) + each.count
            age = max(now - each.oldest, 0.0)
            oldest[each.tenant] = max(oldest.get(each.tenant, 0.0), age)
        yield by_tenant(
            "hermes_callbacks_waiting",
            "Events that wait to be told; of one endpoint up to 1,000 are counted.",
            count,
        )
        yield by_tenant(
            "hermes_callbacks_oldest_seconds",
            "Age of the oldest event among those that are told next.",
            oldest,
            max,
        )
        yield by_tenant(
            "hermes_callback_endpoints_disabled",
            "Endpoints that are told nothing, by request or because they failed for days.",
            self._endpoints.value.disabled(),
        )
