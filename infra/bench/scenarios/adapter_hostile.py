"""[adapter-hostile] Guests that go too far in every way, beside a tenant who goes on sending."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop
from wasmtime import wat2wasm

from adapters.egress import refuse_private
from adapters.wasm.contract import HttpPort
from adapters.wasm.egress import Egress, Resolver
from adapters.wasm.host import AdapterHost
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import Limits
from domain.delivery import Submission, SubmissionState
from infra.bench.adapter_site import AtOnce, Tenants, host, puppet, request, twilio
from infra.bench.scenario import Check, Run, Scenario, at_most, exactly, percentile
from infra.local.ports import HOST

_ROUNDS: Final = 5
_EVERY: Final = 0.01
_LINES: Final = 51
"""Of one call's log: fifty, and one that says that there were more."""
_ELSEWHERE: Final = "127.0.0.2"
"""Stands for a public address, to which nobody listens."""

WASI: Final = """(component (import "wasi:{}" (instance (export "open" (func (result u32))))))"""
WANTED: Final = ("filesystem/preopens@0.2.0", "sockets/tcp@0.2.0", "cli/environment@0.2.0")

UNCONTAINED = exactly("deeds that were not contained, or not named", 0)
LONGEST = at_most("the longest deed", 2, "s")
REACHED = exactly("connections to what nobody may reach", 0)
LOST = exactly("lost messages of another tenant", 0)
LATE = at_most("p99 of another tenant's calls", 50, "ms")
MEMORY = at_most("memory for all of it", 400, "MB")


@dataclass(frozen=True, slots=True)
class Deed:
    """What a guest is told to do, and what has to come of it: words of the failure's code and
    detail."""

    name: str
    script: dict[str, Any]
    code: str
    words: str = ""
    limits: Limits = Limits()  # noqa: RUF009 - it is frozen


def _asking(name: str, url: str, words: str) -> Deed:
    """A guest that asks for a URL and tells what it was answered."""
    ask = {"sendHttp": {"method": "GET", "url": url}}
    tell = (
        '{"done": {"ok": false, "code": "provider_error", "provider_code": "x", "detail": $TEXT}}'
    )
    return Deed(name, {"answers": [ask, ask, tell]}, "x", words)


# Which of the two ends it must not depend on how busy the machine is.
_LITTLE: Final = Limits(fuel=20_000_000, deadline_ms=1_000)
# Each of these calls waits for the interpreter, which the loop has as well.
_SLOW: Final = Limits(deadline_ms=1_000)
_ENOUGH: Final = Limits(fuel=2_000_000_000)
_GET: Final = {"sendHttp": {"method": "GET", "url": "https://nobody.example/"}}
_FAILED: Final = {"done": {"ok": False, "code": "internal", "provider_code": "x"}}

DEEDS: Final = (
    Deed("endless loop, by its work", {"do": "loop"}, "adapter_fuel", limits=_LITTLE),
    Deed("endless loop, by its time", {"do": "loop"}, "adapter_deadline", limits=_ENOUGH),
    Deed("endless expression", {"do": "expression"}, "adapter_fuel", limits=_LITTLE),
    Deed("memory bomb", {"do": "memory"}, "adapter_memory"),
    Deed("recursion", {"do": "recursion"}, "adapter_trap", "stack"),
    Deed("100 MB of output", {"do": "100 MB"}, "adapter_memory"),
    Deed("log flood", {"do": "log flood", "answers": [_FAILED]}, "x", limits=_SLOW),
    Deed("flood of figures", {"do": "metric flood", "answers": [_FAILED]}, "x", limits=_SLOW),
    Deed("malformed JSON", {"answers": ['{"done": ']}, "adapter_malformed"),
    Deed("unknown keys", {"answers": [{"done": {"ok": True, "more": 1}}]}, "adapter_malformed"),
    Deed("a lie", {"answers": [{"done": {"ok": True, "level": "sent"}}]}, "adapter_lying"),
    Deed("requests without end", {"answers": [_GET] * 99}, "adapter_requests"),
    Deed("a file", {"do": "file"}, "adapter_trap", "not defined"),
    Deed("a socket", {"do": "socket"}, "adapter_trap", "not defined"),
)


def asking(port: int) -> tuple[Deed, ...]:
    """Guests that ask for what listens on this port of ours, or for what else is not theirs."""
    return (
        _asking("metadata", "https://169.254.169.254/latest/meta-data/", "forbidden"),
        _asking("IPv4 in IPv6", f"https://[::ffff:127.0.0.1]:{port}/", "forbidden"),
        _asking("one number", f"https://2130706433:{port}/", "forbidden"),
        _asking("octal", f"https://0177.0.0.1:{port}/", "forbidden"),
        _asking("without TLS", f"http://inner.example:{port}/", "forbidden"),
        _asking("a user before the host", f"https://inner.example:{port}@other/", "forbidden"),
        _asking("a name for loopback", f"https://inner.example:{port}/", "forbidden"),
        _asking("loopback as one of two", f"https://mixed.example:{port}/", "forbidden"),
        # Whoever was checked is who is called, and nobody listens there.
        _asking("a name that turns into loopback", f"https://turning.example:{port}/", "connect"),
        _asking("a redirect to loopback", "https://redirecting.example/", "302"),
    )


class Counted:
    """A sink that counts what it is told, by tenant."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        self.lines[tenant] += 1

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        pass


@dataclass
class _Ways:
    """The neighbour's provider answers at once; everybody else has the real way out."""

    egress: Egress
    at_once: AtOnce = field(default_factory=AtOnce)

    def _way(self, installed: Installed) -> Egress | AtOnce:
        return self.at_once if installed.tenant == "neighbour" else self.egress

    def port(self, installed: Installed) -> HttpPort:
        return self._way(installed).port(installed)

    def placeholder(self, installed: Installed, name: str) -> str:
        return self._way(installed).placeholder(installed, name)


@dataclass
class _Inside:
    """What must not be reached, and a provider that sends there."""

    connections: int = 0
    port: int = 0

    def reached(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    async def redirect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        to = f"https://inner.example:{self.port}/"
        head = f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close"
        writer.write(f"{head}\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def run(run: Run) -> Sequence[Check]:
    """Every deed in its own tenant, all at once, several times over."""
    run.phase("deeds")
    return uvloop.run(_measure(run))


async def _measure(run: Run) -> Sequence[Check]:
    inside, turned = _Inside(), Counter[str]()
    listening = await asyncio.start_server(inside.reached, HOST, 0)
    redirecting = await asyncio.start_server(inside.redirect, HOST, 0)
    inside.port = listening.sockets[0].getsockname()[1]
    redirect_port = redirecting.sockets[0].getsockname()[1]

    async def lookup(name: str, port: int) -> list[str]:
        turned[name] += 1
        if name == "mixed.example":
            return [_ELSEWHERE, HOST]
        return [_ELSEWHERE if name == "turning.example" and turned[name] == 1 else HOST]

    def check(address: str) -> None:
        if address != _ELSEWHERE:
            refuse_private(address)

    egress = Egress(
        reroute={"redirecting.example": f"http://{HOST}:{redirect_port}"},
        resolver=Resolver(lookup, check),
    )
    tenants, sink = Tenants(), Counted()
    tenants.add(twilio("neighbour"))
    ours = [f"{name}.example:{inside.port}" for name in ("inner", "mixed", "turning")]
    hosts = (*ours, "nobody.example", "redirecting.example")
    deeds = (*DEEDS, *asking(inside.port))
    for number, deed in enumerate(deeds):
        tenants.add(puppet(f"tenant-{number}", hosts=hosts, limits=deed.limits))
    _add_wanting(tenants, run.directory)
    before = psutil.Process().memory_info().rss
    async with host(run.directory, tenants, _Ways(egress), sink) as running:
        await running.deliver(request("neighbour"), "twilio")
        await running.configure(tenants.installed["tenant-0", "puppet"])  # it is compiled now
        neighbour = asyncio.create_task(_neighbour(running))
        wrong, longest = list[str](), 0.0
        for done in range(_ROUNDS):
            run.progress("deeds", done * len(deeds), _ROUNDS * len(deeds))
            found = await asyncio.gather(
                *(_deed(running, number, deed, sink) for number, deed in enumerate(deeds)),
                *(_wanting(running, number) for number in range(len(WANTED))),
            )
            wrong += [what for what, _ in found if what]
            longest = max(longest, *(took for _, took in found))
        neighbour.cancel()
        [(took, hurt)] = await asyncio.gather(neighbour)
    memory = psutil.Process().memory_info().rss - before
    await egress.close()
    for server in (listening, redirecting):
        server.close()
    late = percentile(took, 99)
    checks = [
        UNCONTAINED.check(len(wrong)),
        LONGEST.check(longest),
        REACHED.check(inside.connections),
        LOST.check(hurt),
        LATE.check(None if late is None else late * 1e3),
        MEMORY.check(memory / 1e6),
    ]
    # Which they were: the table has room for it only when it is needed.
    return (*checks, *(Check("not contained", what, "none", ok=False) for what in wrong))


async def _deed(
    running: AdapterHost, number: int, deed: Deed, sink: Counted
) -> tuple[str | None, float]:
    """What is wrong with what came of it, and the seconds that it took."""
    tenant = f"tenant-{number}"
    sink.lines.pop(tenant, None)
    began = time.perf_counter()
    submission = await running.deliver(request(tenant, json.dumps(deed.script)), "puppet")
    took = time.perf_counter() - began
    wrong = _unlike(submission, deed.code, deed.words)
    if sink.lines[tenant] > _LINES:
        wrong = f"{sink.lines[tenant]} lines"
    return (f"{deed.name}: {wrong}" if wrong else None), took


def _unlike(submission: Submission, code: str, words: str) -> str | None:
    failure = submission.failure
    if submission.state is not SubmissionState.FAILED or failure is None:
        return str(submission)
    if failure.provider_code != code or words not in (failure.detail or ""):
        return str(failure)
    return None


def _add_wanting(tenants: Tenants, directory: Path) -> None:
    """Components that import what only an operating system has."""
    for number, interface in enumerate(WANTED):
        component = directory / f"wanting-{number}.wasm"
        component.write_bytes(wat2wasm(WASI.format(interface)))
        tenants.add(replace(puppet(f"wanting-{number}"), component=component))


async def _wanting(running: AdapterHost, number: int) -> tuple[str | None, float]:
    began = time.perf_counter()
    submission = await running.deliver(request(f"wanting-{number}"), "puppet")
    wrong = _unlike(submission, "adapter_imports", f"wasi:{WANTED[number]}")
    return (f"{WANTED[number]}: {wrong}" if wrong else None), time.perf_counter() - began


async def _neighbour(running: AdapterHost) -> tuple[list[float], int]:
    """A tenant who sends all the time: the seconds of each call, and how many were not taken."""
    took: list[float] = []
    hurt = 0
    try:
        while True:
            began = time.perf_counter()
            submission = await running.deliver(request("neighbour"), "twilio")
            took.append(time.perf_counter() - began)
            hurt += submission.state is not SubmissionState.TAKEN
            await asyncio.sleep(_EVERY)
    except asyncio.CancelledError:
        return took, hurt


SCENARIO = Scenario(
    "adapter-hostile",
    f"{len(DEEDS) + len(asking(0)) + len(WANTED)} hostile guests at once, {_ROUNDS} times, beside"
    " a tenant who goes on sending",
    (UNCONTAINED, LONGEST, REACHED, LOST, LATE, MEMORY),
    run,
)
