"""What a process enters in the ledger, how far behind it is, and whose accounts are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.telemetry.tenants import TenantCounter, by_tenant


class Queue(Protocol):
    """Who has movements that are not yet in the ledger."""

    @property
    def queue(self) -> int:
        """How many."""

    @property
    def lag(self) -> float:
        """Seconds for which the oldest has waited."""


class LedgerTelemetry(Collector):
    """The ledger as one process sees it. `entered` is for its `Ledger`s: each movement counts once,
    in the process that entered it first."""

    def __init__(self) -> None:
        self._queue: Queue | None = None
        self._entered = TenantCounter(
            "hermes_ledger_movements",
            "Movements that this process entered in the ledger: reserve, release, charge.",
            "kind",
        )
        self.entered = self._entered.add

    def follow(self, queue: Queue) -> None:
        """Tell of this queue from now on."""
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        yield from self._entered.collect()
        if self._queue is not None:
            yield GaugeMetricFamily(
                "hermes_ledger_queue",
                "Movements of this process that wait to be entered in the ledger.",
                value=self._queue.queue,
            )
            yield GaugeMetricFamily(
                "hermes_ledger_lag_seconds",
                "For how long the oldest of them has waited.",
                value=self._queue.lag,
            )


class AccountCollector(Collector):
    """Whose accounts are empty: `empty` says which tenants'."""

    def __init__(self, empty: Callable[[], Iterable[str]]) -> None:
        self._empty = empty

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        yield by_tenant(
            "hermes_account_empty",
            "1 for a tenant whose messages are refused because its account is empty.",
            dict.fromkeys(self._empty(), 1),
        )
