"""A process's metrics in the formats of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


class Metrics:
    """What the collectors tell, and this process's CPU time, memory and file descriptors."""

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type, in the format that an Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
