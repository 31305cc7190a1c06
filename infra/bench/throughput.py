"""`hermes bench`: messages at a steady rate through everything, and the price of each."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec
import uvloop

from domain.ports import LoggedMessage
from domain.timeline import Event, Status
from infra.bench import engine, meter
from infra.bench.ledger import drain, messages
from infra.bench.load import Sent, send
from infra.bench.scenario import Progress, percentile
from infra.local.ports import Ports
from infra.local.stack import CARRYING, ROOT, Stack

TENANT = "acme"
PRODUCT = ("api", "restate", "endpoint", "pool")
"""The processes that a message's price is counted over; the simulators are the other side."""

_WARM_UP_SECONDS = 4.0
_DRAIN_SECONDS = 90.0


@dataclass(frozen=True)
class Result:
    """What a run measured. Times in ms, None where there was nothing to take the time of; memory
    in MB, CPU in ms a delivered message.

    `p50_ms` and `p99_ms` run from when the request was due to the message's end; `step_p99_ms`
    from a step's beginning to the carrier's answer. CPU is counted from the first request to the
    last message's end, as are the kB (1,000 bytes) that each process wrote to storage and what
    restate-server says that it did.
    """

    rate: float
    duration_s: float
    offered: int
    accepted: int
    refused: dict[str, int]
    delivered: int
    failed: int
    lost: int
    duplicates: int
    delivered_per_s: float
    accept_p99_ms: float | None
    p50_ms: float | None
    p99_ms: float | None
    step_p99_ms: float | None
    cpu_ms_per_message: dict[str, float]
    other_side_cpu_ms_per_message: dict[str, float]
    rss_mb: dict[str, float]
    written_kb_per_message: dict[str, float] = field(default_factory=dict)
    restate_per_message: dict[str, float] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether every message that was offered was delivered, once."""
        return 0 < self.offered == self.accepted == self.delivered and not self.duplicates

    def as_dict(self) -> dict[str, object]:
        """The result as JSON has it."""
        return asdict(self)


def run(*, rate: float, duration: float, progress: Progress) -> Result:
    """Start a stack of its own on free ports, warm it up, load it, take it down."""
    parent = ROOT / ".hermes"
    parent.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    try:
        progress("starting", 0, 1)
        with Stack(ports=Ports.free(), data_dir=directory, components=CARRYING) as stack:
            return uvloop.run(_measure(stack, rate, duration, progress))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(stack: Stack, rate: float, duration: float, progress: Progress) -> Result:
    log, key = stack.data_dir / "hermes.db", stack.keys[TENANT]
    warm_up = int(rate * _WARM_UP_SECONDS)
    await send(stack.api_url, key, rate=rate, count=warm_up, label="warm-up")
    await drain(log, [TENANT], _DRAIN_SECONDS)
    await asyncio.to_thread(_control, stack, "/reset", "POST")

    count = int(rate * duration)
    pids = stack.pids()
    engine_before = await asyncio.to_thread(engine.work, stack.ports.fabric)
    written_before = meter.written_bytes(pids)
    cpu_before, began = meter.cpu_seconds(pids), time.monotonic()
    sent = await send(
        stack.api_url,
        key,
        rate=rate,
        count=count,
        label="bench",
        progress=lambda done: progress("sending", done, count),
    )
    progress("waiting for the last receipts", count, count)
    await drain(log, [TENANT], _DRAIN_SECONDS)
    elapsed = time.monotonic() - began
    cpu_after, rss = meter.cpu_seconds(pids), meter.rss_mb(pids)
    written_after = meter.written_bytes(pids)
    engine_after = await asyncio.to_thread(engine.work, stack.ports.fabric)

    progress("counting", count, count)
    found = await messages(log, TENANT, sent.due.keys())
    duplicates = json.loads(await asyncio.to_thread(_control, stack, "/duplicates"))
    cpu = {name: cpu_after[name] - cpu_before[name] for name in pids}
    result = reckoned(rate, duration, elapsed, sent, found, duplicates["count"], cpu, rss)
    many = max(result.delivered, 1)
    return replace(
        result,
        written_kb_per_message={
            name: round((written_after[name] - written_before[name]) / 1000 / many, 2)
            for name in PRODUCT
        },
        restate_per_message=engine.each(engine_before, engine_after, many),
    )


def reckoned(
    rate: float,
    duration: float,
    elapsed: float,
    sent: Sent,
    messages: Sequence[LoggedMessage],
    duplicates: int,
    cpu: dict[str, float],
    rss: dict[str, float],
) -> Result:
    """What was sent, and what came of it in so many seconds, as figures."""
    statuses = Counter(message.status for message in messages)
    delivered = [message for message in messages if message.status is Status.DELIVERED]
    ended = [
        (message.ended_at.timestamp() - sent.due[message.id]) * 1000
        for message in delivered
        if message.ended_at is not None
    ]
    steps = [step for message in delivered for step in _step_ms(message)]
    each = {
        name: round(seconds * 1000 / max(len(delivered), 1), 3) for name, seconds in cpu.items()
    }
    price = {name: each[name] for name in PRODUCT}
    price["total"] = round(sum(price.values()), 3)
    terminal = sum(count for status, count in statuses.items() if status.terminal)
    return Result(
        rate=rate,
        duration_s=duration,
        offered=sent.answered,
        accepted=len(sent.due),
        refused=sent.refused,
        delivered=len(delivered),
        failed=terminal - len(delivered),
        lost=len(sent.due) - terminal,
        duplicates=duplicates,
        delivered_per_s=round(len(delivered) / elapsed, 1),
        accept_p99_ms=_percentile(sent.accept_ms, 99),
        p50_ms=_percentile(ended, 50),
        p99_ms=_percentile(ended, 99),
        step_p99_ms=_percentile(steps, 99),
        cpu_ms_per_message=price,
        other_side_cpu_ms_per_message={n: each[n] for n in each if n not in PRODUCT},
        rss_mb={name: rss[name] for name in PRODUCT},
    )


def _step_ms(message: LoggedMessage) -> Iterable[float]:
    assert message.record is not None
    begun = message.created_at
    for entry in message.record.timeline:
        if entry.event is Event.STEP:
            begun = entry.at
        elif entry.event is Event.SUBMITTED:
            yield (entry.at - begun).total_seconds() * 1000


def _control(stack: Stack, path: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(stack.smsc_url + path, method=method)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())


def _percentile(values: Sequence[float], percent: float) -> float | None:
    found = percentile(values, percent)
    return None if found is None else round(found, 1)


def encode(result: Result) -> bytes:
    """The result as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(result.as_dict()), indent=2) + b"\n"
