"""[adapter-isolation] Two tenants on many threads, and a host whose every call fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec

from adapters.wasm.contract import Answer
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import AdapterFailed, Artifacts, Engine, Instance, link
from infra.bench.adapter_site import new_call, puppet
from infra.bench.scenario import Check, Run, Scenario, exactly

_THREADS: Final = 8
_CALLS: Final = 100_000
_BREAKS: Final = 100
"""Every so many calls, the guest ends with a fault of its own."""
_HEARD: Final = msgspec.json.Decoder(Answer[list[str | None]])

CROSSED = exactly("errors, values or lines of another tenant", 0)
UNTOLD = exactly("failures that their own call did not learn of", 0)
LOST = exactly("lost calls", 0)


class _Failing:
    """A sink that raises with the name of whoever spoke."""

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        raise RuntimeError(f"{tenant}: {message}")

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        raise RuntimeError(tenant)


@dataclass
class _Found:
    calls: int = 0
    crossed: int = 0
    untold: int = 0


def run(run: Run) -> Sequence[Check]:
    """Each thread has an instance; every call logs, which fails, and reads what is its own."""
    engine = Engine()
    try:
        installed = [puppet(f"tenant-{n}", limits=Limits(deadline_ms=1000)) for n in range(2)]
        artifacts = Artifacts(run.directory / "artifacts", engine)
        program = artifacts.load(installed[0].component)
        linker = link(engine)
        done = [0] * _THREADS
        ended = threading.Event()

        def work(thread: int) -> _Found:
            def fresh(of: Installed) -> Instance:
                return Instance(linker, program, of.manifest.limits, new_call(of, _Failing()))

            return _calls(installed[thread % 2], fresh, thread, done)

        with ThreadPoolExecutor(_THREADS) as threads:
            futures = [threads.submit(work, thread) for thread in range(_THREADS)]
            while not all(future.done() for future in futures):
                ended.wait(0.5)
                run.progress("calls", sum(done), _CALLS)
            found = [future.result() for future in futures]
    finally:
        engine.close()
    return (
        CROSSED.check(sum(each.crossed for each in found)),
        UNTOLD.check(sum(each.untold for each in found)),
        LOST.check(_CALLS - sum(each.calls for each in found)),
    )


def _calls(
    installed: Installed, fresh: Callable[[Installed], Instance], thread: int, done: list[int]
) -> _Found:
    found = _Found()
    instance = fresh(installed)
    for number in range(_CALLS // _THREADS):
        mine = f"{installed.tenant} {thread} {number}"
        breaks = number % _BREAKS == _BREAKS - 1
        call = new_call(installed, _Failing(), {"mine": mine})
        try:
            heard = instance.ask(call, "on-message", _message(mine, breaks), _HEARD).done
        except AdapterFailed as error:
            found.crossed += not breaks or mine not in error.detail
            instance = fresh(installed)
        else:
            found.crossed += breaks or heard != [mine, installed.tenant]
        found.crossed += mine not in str(call.fault)
        found.untold += call.fault is None
        found.calls += 1
        done[thread] = found.calls
    return found


def _message(mine: str, breaks: bool) -> bytes:
    script = {
        "answers": ['{"done": $HEARD}'],
        "host": [["get", "mine"], ["config", "whose"], ["log", "error", mine]],
    }
    if breaks:
        script["silently"] = "throw"
    return msgspec.json.encode({"content": {"text": json.dumps(script)}})


SCENARIO = Scenario(
    "adapter-isolation",
    f"Two tenants on {_THREADS} threads, every host call failing: {_CALLS:,} calls",
    (CROSSED, UNTOLD, LOST),
    run,
)
