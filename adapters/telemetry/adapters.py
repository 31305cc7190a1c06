"""What adapters say: their lines in the log, their figures as metrics, both bounded."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from adapters.limits.buckets import Buckets
from adapters.wasm.installed import Health, Installed, Unread
from domain.limits import Cap

MOST_SERIES: Final = 2_000
"""Of the guests' own figures in one process; what comes beyond is only counted."""
MOST_OF_ONE: Final = 50
"""Of one tenant's adapter: nobody's names take the place of another's."""

MOST_LINES: Final = Cap(count=100, seconds=10.0)
"""Of one tenant's adapter in one process, where they are written down at all."""
MOST_OF_LINE: Final = 200

LineSink = Callable[[str, str, str, str], None]
"""Writes a line down: tenant, adapter, level, text."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_log: Final = logging.getLogger("hermes.adapter")


class GuestTelemetry(Collector):
    """The `GuestSink` of a process, and the collector of its figures. Used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str, str], float] = {}
        self._names: Counter[tuple[str, str]] = Counter()
        self._lines: Counter[tuple[str, str, str]] = Counter()
        self._dropped = 0

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        """One line of a guest, under its tenant's and its own name."""
        _log.log(
            _LEVELS.get(level.lower(), logging.INFO),
            "%s/%s: %s",
            tenant,
            adapter,
            message,
            extra={"tenant": tenant, "adapter": adapter},
        )

    def heard(self, tenant: str, adapter: str, level: str) -> None:
        """Count a line that is not written down."""
        key = (tenant, adapter, level if level in _LEVELS else "info")
        with self._lock:
            self._lines[key] += 1

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        """Add to a guest's figure."""
        key = (tenant, adapter, name)
        with self._lock:
            if key in self._sums:
                self._sums[key] += value
            elif self._names[key[:2]] < MOST_OF_ONE and len(self._sums) < MOST_SERIES:
                self._sums[key] = value
                self._names[key[:2]] += 1
            else:
                self._dropped += 1

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        with self._lock:
            sums, lines, dropped = dict(self._sums), dict(self._lines), self._dropped
        figures = GaugeMetricFamily(
            "hermes_adapter_guest",
            "The sums of what adapters emitted, under the names that they chose.",
            labels=("tenant", "adapter", "name"),
        )
        for key, value in sums.items():
            figures.add_metric(key, value)
        yield figures
        said = CounterMetricFamily(
            "hermes_adapter_guest_lines",
            "Lines that tenants' own adapters logged. What they say is mostly not written down.",
            labels=("tenant", "adapter", "level"),
        )
        for line, count in lines.items():
            said.add_metric(line, count)
        yield said
        yield CounterMetricFamily(
            "hermes_adapter_guest_dropped",
            f"What adapters emitted beyond {MOST_OF_ONE} figures each or {MOST_SERIES:,} in all.",
            value=dropped,
        )


class StrangerTelemetry:
    """The `GuestSink` of tenants' own adapters. Their figures are kept as everybody's are; of their
    lines only the number is, since authors log what they are working on, and that is messages.

    With `lines` they are written down after all, for whoever runs only adapters that they trust:
    cut, marked as a guest's, and no more than MOST_LINES. `clock` is seconds that never go back.
    """

    def __init__(
        self,
        telemetry: GuestTelemetry,
        lines: LineSink | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._telemetry = telemetry
        self._lines = lines
        self._clock = clock
        self._lock = threading.Lock()
        self._said: Buckets[tuple[str, str]] = Buckets()

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        """One line of a guest."""
        self._telemetry.heard(tenant, adapter, level)
        if self._lines is None:
            return
        with self._lock:
            if self._said.take((tenant, adapter), MOST_LINES, self._clock()):
                return
        self._lines(tenant, adapter, level, f"[guest] {message[:MOST_OF_LINE]}")

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        """See `GuestTelemetry`."""
        self._telemetry.metric(tenant, adapter, name, value)


class AdapterCollector(Collector):
    """Which adapters are in use, whether they are well, and what became of their webhooks."""

    def __init__(
        self,
        active: Callable[[], list[Installed]],
        health: Callable[[str, str], Health | None],
        webhooks: Callable[[], Mapping[tuple[str, str, str], int]] = dict,
        unread: Callable[[], Mapping[tuple[str, str], Unread]] = dict,
    ) -> None:
        self._active = active
        self._health = health
        self._webhooks = webhooks
        self._unread = unread

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        up = GaugeMetricFamily(
            "hermes_adapter_up",
            "1 while an adapter is in the choice, 0 while it is taken out for its health.",
            labels=("tenant", "adapter", "version"),
        )
        for one in self._active():
            health = self._health(one.tenant, one.adapter)
            sick = health is not None and health.sick
            up.add_metric((one.tenant, one.adapter, one.manifest.version), 0 if sick else 1)
        yield up
        webhooks = CounterMetricFamily(
            "hermes_webhooks",
            "Webhooks of providers, by what became of them.",
            labels=("tenant", "adapter", "outcome"),
        )
        for key, count in self._webhooks().items():
            webhooks.add_metric(key, count)
        yield webhooks
        unread = GaugeMetricFamily(
            "hermes_webhooks_unread",
            "Webhooks that an adapter could not read: those that wait, and those given up lately.",
            labels=("tenant", "adapter", "state"),
        )
        for (tenant, adapter), each in self._unread().items():
            unread.add_metric((tenant, adapter, "waiting"), each.waiting)
            unread.add_metric((tenant, adapter, "given_up"), each.given_up)
        yield unread
