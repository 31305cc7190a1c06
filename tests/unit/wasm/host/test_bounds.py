"""What a tenant's calls may hold: time, memory, threads and the event loop."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest

from adapters.wasm import host as host_module
from adapters.wasm.contract import HttpResponse, Webhook
from adapters.wasm.manifest import Limits
from adapters.wasm.runtime import AdapterFailed, timely
from adapters.wasm.runtime.room import BUDGET_MB
from domain.delivery import SubmissionState
from domain.failures import FailureCode
from tests.unit.wasm.host.conftest import PATIENT
from tests.unit.wasm.host.test_deliver import CREATED, Held, failed, request
from tests.unit.wasm.puppet import GET, OK, POST, Heard, script
from tests.waiting import eventually

FAILED, UNKNOWN = SubmissionState.FAILED, SubmissionState.UNKNOWN
in_threads = pytest.mark.parametrize("stage", ["in threads"], indirect=True)
on_the_loop = pytest.mark.parametrize("stage", ["on the loop"], indirect=True)

# Time


class Slow:
    """A provider whose first answer takes until the message's time is up."""

    def __init__(self, clock, answer):
        self.clock, self.answer, self.methods = clock, answer, []

    async def send(self, request):
        self.methods.append(request.method)
        self.clock.now += 120
        return self.answer


LATE = [
    # the guest's answers, the provider's, what left, what comes of it
    ([GET, POST, OK], CREATED, ["GET"], FAILED, "too_late"),
    ([GET, failed("provider_error")], CREATED, ["GET"], FAILED, "too_late"),
    ([POST, failed("provider_error")], HttpResponse(500), ["POST"], FAILED, "provider_error"),
    ([POST, POST, failed("provider_error")], CREATED, ["POST"], FAILED, "provider_error"),
    ([POST, POST, OK], CREATED, ["POST"], UNKNOWN, "outcome_unknown"),
]


@pytest.mark.parametrize(("says", "answer", "left", "state", "code"), LATE)
async def test_nothing_leaves_after_not_after(stage, monkeypatch, says, answer, left, state, code):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timely, "time", SimpleNamespace(monotonic=lambda: clock.now))
    stage.install()
    slow = stage.way.answers["acme"] = Slow(clock, answer)
    submission = await stage.host.deliver(request(script(*says)), "puppet")
    assert slow.methods == left
    assert (submission.state, submission.failure.code.value) == (state, code)


@in_threads
async def test_who_waits_too_long_for_its_turn_is_too_late(stage):
    stage.install(limits=Limits(fuel=2_000_000_000, deadline_ms=200))
    http = stage.answer(CREATED)
    loop = asyncio.create_task(stage.host.deliver(request(script(do="loop")), "puppet"))
    await eventually(lambda: any(turn.locked() for turn in stage.host._tenants.values()))
    soon = datetime.now(UTC) + timedelta(milliseconds=50)
    late = await stage.host.deliver(request(script(POST, OK), not_after=soon), "puppet")
    assert (late.state, late.failure.code) == (FAILED, FailureCode.TOO_LATE)
    assert http.requests == []
    await loop


# Memory

LARGE = msgspec.structs.replace(PATIENT, memory_mb=64)
MOST = BUDGET_MB // 64


@in_threads
async def test_a_tenant_whose_calls_hold_its_budget_is_busy(stage, monkeypatch):
    monkeypatch.setattr(host_module, "_ROOM_WITHIN", 0.05)
    installed = stage.install(limits=LARGE)
    stage.install("other")
    stage.answer(CREATED, tenant="other")
    held = stage.way.answers["acme"] = Held()
    order = request(script(POST, OK))
    calls = [asyncio.create_task(stage.host.deliver(order, "puppet")) for _ in range(MOST)]
    await eventually(lambda: held.asked == MOST)
    busy = await stage.host.deliver(order, "puppet")
    assert (busy.state, busy.retry_after) == (SubmissionState.BUSY, 1.0)
    assert busy.failure.code is FailureCode.PROVIDER_THROTTLED
    assert busy.failure.provider_code == "adapter_busy"
    assert held.asked == MOST
    other = await stage.host.deliver(request(script(POST, OK), tenant="other"), "puppet")
    assert other.state is SubmissionState.TAKEN
    # Reports and checks wait, for a while.
    hook = Webhook("POST", {}, "application/json", script({"done": {}}))
    with pytest.raises(AdapterFailed, match="no room") as late:
        await stage.host.report("acme", "puppet", hook)
    assert late.value.kind == "deadline"
    assert await stage.host.check(installed) is None
    monkeypatch.setattr(host_module, "_ROOM_WITHIN", 10.0)
    report = asyncio.create_task(stage.host.report("acme", "puppet", hook))
    held.go.set()
    await report
    assert {each.state for each in await asyncio.gather(*calls)} == {SubmissionState.TAKEN}
    assert (await stage.host.deliver(order, "puppet")).state is SubmissionState.TAKEN


@on_the_loop
async def test_hermes_own_adapters_are_counted_as_what_they_take(stage):
    stage.install(limits=LARGE)
    held = stage.way.answers["acme"] = Held()
    order = request(script(POST, OK))
    calls = [asyncio.create_task(stage.host.deliver(order, "puppet")) for _ in range(4 * MOST)]
    await eventually(lambda: held.asked == 4 * MOST)
    held.go.set()
    assert {each.state for each in await asyncio.gather(*calls)} == {SubmissionState.TAKEN}


@in_threads
async def test_what_waits_for_one_adapter_leaves_room_for_another(stage):
    first = stage.install(limits=LARGE)
    second = replace(first, adapter="second")
    stage.tenants.activate(second)
    for adapter in ("puppet", "second"):
        held = stage.way.answers["acme"] = Held()
        calls = [
            asyncio.create_task(stage.host.deliver(request(script(POST, OK)), adapter))
            for _ in range(MOST)
        ]
        await eventually(lambda held=held: held.asked == MOST)
        held.go.set()
        await asyncio.gather(*calls)
        idle = sum(each.idle_mb for each in stage.host._guests.values())
        assert idle == BUDGET_MB


# The event loop and the threads

ON_WHICH = [(on, size) for on in ("in threads", "on the loop") for size in (10, 40_000)]


@pytest.mark.parametrize(("stage", "size"), ON_WHICH, indirect=["stage"])
async def test_much_to_read_is_not_read_on_the_loop(stage, request, size):
    heard_in = []
    stage.sink.log = lambda *line: heard_in.append(threading.current_thread())
    stage.install()
    body = script({"done": {}}, host=[["log", "info", "here"]], padding="x" * size)
    await stage.host.report("acme", "puppet", Webhook("POST", {}, "application/json", body))
    on_loop = heard_in[-1] is threading.main_thread()
    assert on_loop == ("on the loop" in request.node.name and size < 32_768)


@in_threads
async def test_a_guest_that_was_given_up_has_its_tenants_turn_until_it_ends(stage):
    begun, go, order = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go.wait(10)
        order.append("first")

    run = partial(stage.host._in_thread, "acme")
    given_up = asyncio.create_task(run(first))
    await eventually(begun.is_set)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    second = asyncio.create_task(run(order.append, "second"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(second), 0.05)
    go.set()
    await second
    assert order == ["first", "second"]


async def test_what_a_tenants_own_says_goes_elsewhere(stage, request, monkeypatch):
    strangers = Heard()
    monkeypatch.setattr(stage.host, "_strangers", strangers)
    stage.install()
    body = script({"done": {}}, host=[["log", "info", "Your code is 123456"]])
    await stage.host.report("acme", "puppet", Webhook("POST", {}, "application/json", body))
    on_loop = "on the loop" in request.node.name
    assert (len(stage.sink.lines), len(strangers.lines)) == ((1, 0) if on_loop else (0, 1))
