"""[adapter-concurrency] Many messages at once, and a provider that takes its time.

Of the CPU the best round counts: what else the machine does makes a round dearer, never cheaper. Of
the times it is the worst.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

import psutil
import uvloop

from adapters.wasm.egress import Egress
from adapters.wasm.host import AdapterHost
from domain.delivery import SubmissionState
from infra.bench.adapter_site import Tenants, host, request, twilio
from infra.bench.processes import Processes
from infra.bench.scenario import Check, Run, Scenario, at_most, below, exactly, percentile
from infra.local.ports import HOST, Ports
from infra.local.supervision import http_ok

_CALLS = 500
_ROUNDS = 5
_LATENCY = 100.0

SECONDS = below(f"the slowest of {_ROUNDS} rounds of {_CALLS} calls", 0.4, "s")
CPU = at_most("CPU of the process a call, in the best round", 0.6, "ms")
LATE = at_most("p99 of what other handlers wait for the loop meanwhile", 10, "ms")
MEMORY = at_most("memory for those in flight", 400, "MB")
LOST = exactly("lost messages", 0)


def run(run: Run) -> Sequence[Check]:
    """The adapter for Twilio, through the real way out, to a stand-in on another process."""
    with Processes(run.directory) as processes:
        run.phase("starting")
        port = Ports.free().twilio
        command = [
            *(sys.executable, "-m", "infra.simulators.providers.load", "--host", HOST),
            *("--port", str(port), "--latency-ms", str(_LATENCY)),
        ]
        processes.start("provider", command, http_ok(port, "/stats"))
        processes.wait_ready()
        run.phase(f"{_CALLS} calls at once")
        return uvloop.run(_measure(run, port))


async def _measure(run: Run, port: int) -> Sequence[Check]:
    tenants = Tenants()
    tenants.add(twilio())
    egress = Egress(reroute={"api.twilio.com": f"http://{HOST}:{port}"})
    async with host(run.directory, tenants, egress) as running:
        await running.deliver(request("acme"), "twilio")
        before = psutil.Process().memory_info().rss
        # A process that has been working for a while: its instances and connections are there.
        await _round(running)
        seconds: list[float] = []
        waits: list[float] = []
        wrong = 0
        probe = asyncio.create_task(_probe(waits))
        cpu: list[float] = []
        for _ in range(_ROUNDS):
            began = time.process_time()
            took, refused = await _round(running)
            cpu.append(time.process_time() - began)
            seconds.append(took)
            wrong += refused
        probe.cancel()
        memory = psutil.Process().memory_info().rss - before
    await egress.close()
    late = percentile(waits, 99)
    return (
        SECONDS.check(max(seconds)),
        CPU.check(min(cpu) / _CALLS * 1e3),
        LATE.check(None if late is None else late * 1e3),
        MEMORY.check(memory / 1e6),
        LOST.check(wrong),
    )


async def _round(running: AdapterHost) -> tuple[float, int]:
    """Seconds for so many calls at once, and how many were not taken."""
    messages = [request("acme") for _ in range(_CALLS)]
    began = time.perf_counter()
    done = await asyncio.gather(*(running.deliver(each, "twilio") for each in messages))
    took = time.perf_counter() - began
    return took, sum(each.state is not SubmissionState.TAKEN for each in done)


async def _probe(waits: list[float]) -> None:
    """What another handler waits for its turn on the loop, asked all the time."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        waits.append(max(0.0, time.perf_counter() - began - 0.001))


SCENARIO = Scenario(
    "adapter-concurrency",
    f"{_CALLS} calls at once to a provider that takes {_LATENCY:.0f} ms, in one process",
    (SECONDS, CPU, LATE, MEMORY, LOST),
    run,
)
