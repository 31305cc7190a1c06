"""Tenants on many threads, with host calls that fail: nothing of one reaches another."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from adapters.wasm.contract import Answer
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import AdapterFailed, Instance
from tests.unit.wasm.puppet import message, new_call

THREADS = 8
CALLS = 150
DECODER = msgspec.json.Decoder(Answer[list[str | None]])


class Failing:
    """A sink that keeps nothing: each call raises, with the tenant's name in the exception."""

    def log(self, tenant, adapter, level, message):
        raise RuntimeError(f"the log of {tenant}")

    def metric(self, tenant, adapter, name, value):
        raise RuntimeError(f"the figures of {tenant}")


@pytest.mark.parametrize("thread_switch", [None, 1e-6], ids=["calm", "switching all the time"])
def test_host_calls_that_fail_stay_with_their_call(linker, program, thread_switch):
    import sys

    before = sys.getswitchinterval()
    sys.setswitchinterval(thread_switch or before)
    start = threading.Barrier(THREADS)

    def work(number: int) -> list[str]:
        tenant = f"tenant-{number % 2}-{number}"
        limits = Limits(deadline_ms=1000)
        instance = None
        wrong: list[str] = []
        start.wait()
        for turn in range(CALLS):
            call = new_call(
                Failing(), tenant=tenant, limits=limits, values={"whose": f"{tenant} {turn}"}
            )
            if instance is None:
                instance = Instance(linker, program, limits, call)
                instance.configure(call, "{}")
            host = [["get", "whose"], ["config", "account"], ["set", "mine", tenant]]
            breaks = turn % 5 == 4
            script = {"answers": ['{"done": $HEARD}'], "host": host}
            script["do"] = "throw" if breaks else "log flood" if turn % 50 == 0 else "metrics"
            try:
                answer = instance.ask(call, "on-message", message(json.dumps(script)), DECODER)
            except AdapterFailed as error:
                instance = None
                if not breaks or error.kind != "trap" or "of its own" not in error.detail:
                    wrong.append(f"{tenant}: {error}")
            else:
                if breaks or answer.done != [f"{tenant} {turn}", f"account of {tenant}", "kept"]:
                    wrong.append(f"{tenant}: {answer}")
                if call.changes != {"mine": tenant}:
                    wrong.append(f"{tenant}: {call.changes}")
            if not isinstance(call.fault, RuntimeError) or tenant not in str(call.fault):
                wrong.append(f"{tenant}: {call.fault!r}")
        return wrong

    try:
        with ThreadPoolExecutor(THREADS) as threads:
            assert [fault for found in threads.map(work, range(THREADS)) for fault in found] == []
    finally:
        sys.setswitchinterval(before)
