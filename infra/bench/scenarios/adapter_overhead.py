"""[adapter-overhead] What an adapter costs beside its HTTP.

Of each figure the quickest of several batches counts: what else the machine does makes a batch
slower, and never quicker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import uvloop
from wasmtime import wat2wasm

from adapters.wasm.contract import Answer, HealthResult
from adapters.wasm.runtime import Artifacts, Engine, Instance, link
from domain.delivery import SubmissionState
from infra.bench.adapter_site import AtOnce, Quiet, Tenants, host, new_call, request, twilio
from infra.bench.scenario import Check, Run, Scenario, at_most, exactly

_BARE = Path(__file__).parents[1] / "guests" / "bare.wat"
_BATCHES = 15
_CALLS = 200
_HEALTH = msgspec.json.Decoder(Answer[HealthResult])

WHOLE = at_most("CPU of a whole on-message call", 200, "µs")
BARE = at_most("CPU of a bare export call", 15, "µs")
FRESH = at_most("CPU of a new instance, configured", 1_000, "µs")
LOST = exactly("lost messages", 0)


def run(run: Run) -> Sequence[Check]:
    """The adapter for Twilio, one call after another, answered without a socket."""
    run.phase("calls")
    return uvloop.run(_measure(run))


async def _measure(run: Run) -> Sequence[Check]:
    installed = twilio()
    tenants = Tenants()
    tenants.add(installed)
    wrong = 0
    async with host(run.directory, tenants, AtOnce()) as running:
        await running.deliver(request("acme"), "twilio")
        batches = []
        for _ in range(_BATCHES):
            messages = [request("acme") for _ in range(_CALLS)]
            began = time.thread_time()
            taken = [await running.deliver(each, "twilio") for each in messages]
            batches.append((time.thread_time() - began) / _CALLS * 1e6)
            wrong += sum(each.state is not SubmissionState.TAKEN for each in taken)
    bare, fresh = _past_the_host(run)
    return (
        WHOLE.check(min(batches)),
        BARE.check(bare),
        FRESH.check(fresh),
        LOST.check(wrong),
    )


def _past_the_host(run: Run) -> tuple[float, float]:
    """Microseconds of an export that does nothing, and of an instance."""
    engine = Engine()
    try:
        installed = twilio()
        linker, artifacts = link(engine), Artifacts(run.directory / "artifacts", engine)
        limits, call = installed.manifest.limits, new_call(installed, Quiet())

        component = run.directory / "bare.wasm"
        component.write_bytes(wat2wasm(_BARE.read_text()))
        least = Instance(linker, artifacts.load(component), limits, call)

        def bare() -> None:
            least.ask(call, "on-health-check", None, _HEALTH)

        program = artifacts.load(installed.component)
        configuration = json.dumps(dict(installed.values))

        def fresh() -> None:
            instance = Instance(linker, program, limits, call)
            instance.configure(call, configuration)
            instance.close()

        return _each(bare), _each(fresh)
    finally:
        engine.close()


def _each(work: Callable[[], None]) -> float:
    work()
    batches = []
    for _ in range(_BATCHES):
        began = time.thread_time()
        for _ in range(_CALLS):
            work()
        batches.append((time.thread_time() - began) / _CALLS * 1e6)
    return min(batches)


SCENARIO = Scenario(
    "adapter-overhead",
    "Twilio's adapter answered without a socket: what the host and the guest cost",
    (WHOLE, BARE, FRESH, LOST),
    run,
)
