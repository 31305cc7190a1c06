"""[durable-path] The pool's Restate service, called as the cascade calls it, in a closed loop."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import uvloop

from adapters.restate.http import HttpClient
from domain.delivery import DeliveryRequest
from domain.message import Content, Level
from infra.bench import meter
from infra.bench.durable_caller import REQUEST, SERVICE, WALKED
from infra.bench.load import recipient
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly
from infra.bench.site import TENANT, Peer, Site, site

BINDS = 4
_CALLERS = 300
"""Messages under way at once: more only wait longer."""
_WARM_UP = 3.0
_PATIENCE = 60.0

RATE = at_least("throughput, as fast as this machine allows", 1, "messages/s")
LOST = exactly("lost", 0)
UNCORRELATED = exactly("receipts not correlated", 0)
CPU = at_most("CPU of the pool's process", 0.6, "s per 1,000")
DUPLICATES = exactly("duplicates at the SMSC", 0)
DIFFERENCE = exactly("messages that only one side knows", 0)


@dataclass
class Count:
    """What the callers saw. `unproven` were answered without a receipt of delivery."""

    begun: int = 0
    delivered: int = 0
    unproven: int = 0
    unanswered: list[str] = field(default_factory=list)


def run(run: Run) -> Sequence[Check]:
    """Restate, the pool, the simulator, and a service beside them that calls the pool's."""
    with site(
        run,
        Peer(account={"binds": BINDS}),
        components=("restate", "endpoint", "pool"),
        commands={"endpoint": (sys.executable, "-m", "infra.bench.durable_caller")},
    ) as stage:
        return uvloop.run(_measure(stage))


async def _measure(site: Site) -> Sequence[Check]:
    site.run.phase("warming up")
    await _load(site, "warm-up", _WARM_UP)
    await site.smsc.reset()
    pids = {"pool": site.stack.pids()["pool"]}
    before = meter.cpu_seconds(pids)["pool"]
    began = time.monotonic()
    count = await _load(site, "durable", site.run.duration)
    seconds = time.monotonic() - began
    cpu = meter.cpu_seconds(pids)["pool"] - before
    seen = await site.seen()
    return (
        RATE.check(count.delivered / seconds),
        LOST.check(len(count.unanswered)),
        UNCORRELATED.check(count.unproven),
        CPU.check(cpu / max(count.delivered, 1) * 1000),
        DUPLICATES.check(seen.duplicates),
        DIFFERENCE.check(abs(len(seen.taken) - count.begun)),
    )


async def _load(site: Site, label: str, seconds: float) -> Count:
    """Keep all callers busy for so long, then wait for what they began."""
    http = HttpClient(site.stack.ingress_url, connections=_CALLERS, timeout=_PATIENCE)
    count, numbers = Count(), itertools.count()
    until = time.monotonic() + seconds

    async def call() -> None:
        while time.monotonic() < until:
            number = next(numbers)
            site.run.progress(f"{label}, {site.run.duration:g} s", number, 0)
            await _one(http, f"{label}-{number:06}", recipient(number), count)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CALLERS):
            tasks.create_task(call())
    await http.close()
    return count


async def _one(http: HttpClient, message: str, to: str, count: Count) -> None:
    request = DeliveryRequest(
        message=message,
        attempt=1,
        tenant=TENANT,
        to=to,
        content=Content(f"{message}: your code is 4711"),
        receipt_ref="",
        not_after=datetime.now(UTC) + timedelta(hours=1),
    )
    count.begun += 1
    try:
        answer = await http.request(
            "POST",
            f"/{SERVICE}/one",
            REQUEST.serialize(request),
            "content-type: application/json\r\n",
        )
    except (OSError, TimeoutError) as error:
        count.unanswered.append(f"{message}: {type(error).__name__}")
        return
    if answer.status != HTTPStatus.OK:
        count.unanswered.append(f"{message}: {answer.status}")
    elif WALKED.read(answer.body).level == Level.DELIVERED.value:
        count.delivered += 1
    else:
        count.unproven += 1


SCENARIO = Scenario(
    "durable-path",
    f"Through the pool's Restate service, {_CALLERS} messages under way, {BINDS} binds",
    (RATE, LOST, UNCORRELATED, CPU, DUPLICATES, DIFFERENCE),
    run,
    duration=60.0,
)
