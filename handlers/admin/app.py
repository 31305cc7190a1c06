"""The operator's door, on the bind pool's listener beside the handlers that Restate calls."""

from __future__ import annotations

from typing import Final

from adapters.smpp.carriers.operations import CarrierOperations
from adapters.smpp.correlator import Correlator
from adapters.smpp.pool import BindPool
from adapters.telemetry.exposition import Metrics
from handlers.admin.carriers import carriers
from handlers.admin.looking import looking
from handlers.admin.problems import PREFIX
from handlers.admin.routing import routing
from handlers.admin.served import OperatorApi

PATHS: Final = (PREFIX, "/metrics")
"""What the paths of this application begin with."""


class AdminApi(OperatorApi):
    """A bind pool's admin API."""

    def __init__(
        self,
        operations: CarrierOperations,
        pool: BindPool,
        correlator: Correlator,
        metrics: Metrics,
        key: str,
    ) -> None:
        super().__init__(
            [*carriers(operations), *looking(pool, correlator, metrics), *routing(pool.choice)],
            key,
            title="Hermes, for operators",
            description="Served by each bind pool. A change to a carrier is kept in the "
            "journal's database and followed by every pool on it within two seconds.",
        )
