"""Figures by tenant, bounded: however many tenants there are, a scrape stays small."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MOST_SERIES: Final = 1_000
"""Series of one counter in one process."""
MOST_TENANTS: Final = 100
OTHERS: Final = "(others)"
"""The tenant of whatever is beyond both."""


class TenantCounter(Collector):
    """A counter by tenant and other labels, those of a closed set. Used from any thread.

    Once there are MOST_SERIES, what has no series of its own yet counts for OTHERS: no series ever
    goes back.
    """

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self._name, self._meaning = name, meaning
        self._labels = ("tenant", *labels)
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, tenant: str, *values: str, by: int = 1) -> None:
        """Count `by` more for a tenant, "" for nobody's."""
        key = (tenant, *values)
        with self._lock:
            if key not in self._counts and len(self._counts) >= MOST_SERIES:
                key = (OTHERS, *values)
            self._counts[key] = self._counts.get(key, 0) + by

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        with self._lock:
            counts = dict(self._counts)
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for key, count in counts.items():
            family.add_metric(key, count)
        yield family


def by_tenant(
    name: str,
    meaning: str,
    figures: Mapping[str, float],
    together: Callable[[Iterable[float]], float] = sum,
) -> GaugeMetricFamily:
    """A gauge of the MOST_TENANTS tenants with the largest figures; the others' are one, made by
    `together`."""
    family = GaugeMetricFamily(name, meaning, labels=("tenant",))
    largest = sorted(figures.items(), key=lambda each: -each[1])
    for tenant, figure in largest[:MOST_TENANTS]:
        family.add_metric((tenant,), figure)
    if rest := largest[MOST_TENANTS:]:
        family.add_metric((OTHERS,), together([figure for _, figure in rest]))
    return family
