"""A bind pool by itself, as fast as it goes: `python -m infra.bench.pool_process`.

A process of its own, so that the operating system's account of it is the pool's price. Receipts
end in a sink that counts them where Restate would be. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from adapters.smpp.carriers.config import CarrierConfig
from adapters.smpp.correlator import Correlator
from adapters.smpp.pool import BindPool
from adapters.smpp.store.journal import Journal
from domain.delivery import DeliveryRequest, Receipt, SubmissionState
from domain.message import Content
from infra.bench.load import recipient
from infra.bench.smsc import account

WINDOW = 50
_CARRIER = "bench"
_WARM_UP = 2_000
_CONCURRENCY = 400
"""Deliveries under way at once: enough to fill the window while as many again are written down."""
_NOT_AFTER = timedelta(hours=1)
_QUIET = 15.0
"""Seconds without a receipt after which no more are expected."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run found. `seconds` and `cpu_seconds` run from the first delivery to the last
    receipt; `submitting` is the seconds to the last answer. `parts` and `receipts` are what the
    journal holds in the end: parts accepted, receipts forwarded."""

    messages: int
    taken: int
    correlated: int
    busy: int
    seconds: float
    submitting: float
    cpu_seconds: float
    parts: int
    receipts: int


class Sink:
    """Restate's place: counts each awakeable once."""

    def __init__(self) -> None:
        self.resolved: set[str] = set()
        self.last_at = 0.0

    async def resolve(self, ref: str, receipt: Receipt) -> None:
        self.resolved.add(ref)
        self.last_at = time.monotonic()

    async def report(self, message_id: str, receipt: Receipt) -> None:
        """A second report; none is expected, and none counts."""


class Load:
    """Deliveries in a closed loop."""

    def __init__(self, pool: BindPool, label: str) -> None:
        self.taken = 0
        self.busy = 0
        self._pool = pool
        self._label = label

    async def deliver(self, count: int) -> None:
        """Deliver so many messages; returns when each has been taken."""
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONCURRENCY):
                tasks.create_task(self._work(numbers))

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            request = self._request(number)
            for attempt in itertools.count(1):
                submission = await self._pool.deliver(request)
                if submission.state is not SubmissionState.BUSY:
                    break
                self.busy += 1
                assert attempt < 1_000, submission
                await asyncio.sleep(submission.retry_after or 0.1)
            if submission.state is SubmissionState.TAKEN:
                self.taken += 1

    def _request(self, number: int) -> DeliveryRequest:
        message = f"{self._label}-{number:06}"
        return DeliveryRequest(
            message=message,
            attempt=1,
            tenant="acme",
            to=recipient(number),
            content=Content(f"{message}: your code is 4711"),
            receipt_ref=message,
            not_after=datetime.now(UTC) + _NOT_AFTER,
        )


async def measure(port: int, messages: int, database: Path) -> Measured:
    """Deliver `messages` to a carrier on this port and wait for their receipts."""
    sink = Sink()
    journal = Journal(database)
    correlator = Correlator(journal, sink)
    carrier = CarrierConfig.model_validate(account(_CARRIER, port, window=WINDOW))
    pool = BindPool([carrier], journal, correlator)
    try:
        await Load(pool, "warm-up").deliver(_WARM_UP)
        await _quiet(sink, _WARM_UP)
        sink.resolved.clear()
        # As serving.py does for the real process.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

        load = Load(pool, "pool")
        began, cpu = time.monotonic(), time.process_time()
        await load.deliver(messages)
        submitting = time.monotonic() - began
        await _quiet(sink, messages)
        cpu_seconds = time.process_time() - cpu
        seconds = sink.last_at - began
    finally:
        await pool.close()
        await correlator.close()
        await journal.close()
    parts, receipts = _journalled(database)
    return Measured(
        messages,
        load.taken,
        len(sink.resolved),
        load.busy,
        seconds,
        submitting,
        cpu_seconds,
        parts,
        receipts,
    )


async def _quiet(sink: Sink, expected: int) -> None:
    """Wait for so many receipts, or until none has come for a while."""
    asked_at = time.monotonic()
    while len(sink.resolved) < expected:
        await asyncio.sleep(0.02)
        if time.monotonic() - max(sink.last_at, asked_at) > _QUIET:
            return


def _journalled(database: Path) -> tuple[int, int]:
    """Parts accepted and receipts forwarded, as the file has them, without the warm-up's."""
    connection = sqlite3.connect(database)
    try:
        [parts] = connection.execute(
            "SELECT count(*) FROM parts WHERE state = 'accepted' AND message LIKE 'pool-%'"
        ).fetchone()
        [receipts] = connection.execute(
            "SELECT count(*) FROM receipts JOIN parts USING (carrier, smsc_id)"
            " WHERE forwarded = 1 AND message LIKE 'pool-%'"
        ).fetchone()
    finally:
        connection.close()
    return int(parts), int(receipts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.pool_process")
    parser.add_argument("--port", type=int, required=True, help="the carrier's")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--database", type=Path, required=True, help="a new journal")
    arguments = parser.parse_args()
    measured = uvloop.run(measure(arguments.port, arguments.messages, arguments.database))
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")


if __name__ == "__main__":
    main()
