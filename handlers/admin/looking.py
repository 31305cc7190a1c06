"""What else an operator looks at: unmatched receipts, queues, metrics, and this API itself."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.smpp.correlator import Correlator
from adapters.smpp.flow.pressure import CarrierReport, PoolReport, QueueReport
from adapters.smpp.pool import BindPool
from adapters.smpp.store.journal import StoredReceipt
from adapters.telemetry.exposition import Metrics
from handlers.admin.operation import Operation, answer
from handlers.admin.problems import PREFIX

NEWEST: Final = 50
"""Unmatched receipts that are shown."""


class UnmatchedReceipts(msgspec.Struct, frozen=True):
    """Receipts that this process holds because no attempt fits them; the newest first."""

    count: int
    newest: Sequence[StoredReceipt]


def looking(pool: BindPool, correlator: Correlator, metrics: Metrics) -> list[Operation]:
    """The operations that change nothing."""
    boot = secrets.token_hex(8)

    async def unmatched_receipts(request: Request) -> Response:
        """How many receipts fit no attempt that is known, and the newest of them. Some wait for
        the response that will name them; what stays is not ours, or came too late."""
        return answer(UnmatchedReceipts(correlator.unmatched, correlator.newest_unmatched(NEWEST)))

    async def queues(request: Request) -> Response:
        """What waits for the carriers, by tenant and category, and how fast they take it."""
        return answer(
            PoolReport(
                boot=boot,
                lag_s=pool.lag,
                arrived=dict(pool.arrived),
                queues=[
                    QueueReport(queue.tenant, queue.category, queue.waiting, queue.per_second)
                    for queue in pool.queues()
                ],
                carriers=[
                    CarrierReport(
                        carrier.name,
                        carrier.config.prefixes,
                        None if carrier.usable else carrier.why_not(),
                        round(carrier.queued / max(carrier.drain_rate, 1.0), 3),
                    )
                    for carrier in pool.mesh.carriers
                ],
            )
        )

    async def metrics_text(request: Request) -> Response:
        """Everything that is counted, for Prometheus."""
        body, content_type = metrics.expose(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return [
        Operation("GET", PREFIX + "receipts/unmatched", unmatched_receipts),
        Operation("GET", PREFIX + "queues", queues),
        Operation("GET", "/metrics", metrics_text, media_type="text/plain"),
    ]
