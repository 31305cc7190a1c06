"""[adapter-hot-swap] Versions of an adapter change places while messages go through it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from adapters.wasm.egress import Egress
from adapters.wasm.host import PROVIDERS, AdapterHost
from adapters.wasm.sdk.build import build
from adapters.wasm.store.management import AdapterStore
from adapters.wasm.store.registry import SqliteRegistry
from adapters.wasm.store.values import SqliteValueStore
from adapters.wasm.upload.archive import pack
from adapters.wasm.upload.lifecycle import Lifecycle
from domain.delivery import SubmissionState
from infra.bench.adapter_site import Quiet, request
from infra.bench.processes import Processes
from infra.bench.scenario import Check, Run, Scenario, at_least, at_most, exactly
from infra.local.ports import HOST, Ports
from infra.local.supervision import http_ok
from infra.simulators.providers.accounts import TwilioAccount

_RATE = 200.0
_SWAP_EVERY = 0.5
_LATENCY = 20.0
_FOLLOWED_EVERY = 0.05
_WARMED_AT_ONCE = 20
_TENANT, _NAME = "acme", "messages"
_ACCOUNT = {
    "account_sid": TwilioAccount().account_sid,
    "auth_token": TwilioAccount().auth_token,
    "from": "+15005550006",
}

SWAPS = at_least("versions that were put to use", 10)
BOTH = at_least("messages that the version with fewer of them took", 100)
ERRORS = exactly("lost: messages that were not taken", 0)
LOST = exactly("requests that the provider did not see once", 0)
PAUSE = at_most("longest that a message took beyond the provider's time", 50, "ms")


@dataclass
class _Seen:
    """What came of the messages, and how long each took."""

    states: Counter[SubmissionState] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def run(run: Run) -> Sequence[Check]:
    """One process with the registry, the host and the real way out; the provider in another."""
    with Processes(run.directory) as processes:
        run.phase("starting")
        ports = Ports.free()
        command = [
            *(sys.executable, "-m", "infra.simulators.providers", "--host", HOST),
            *("--control-port", str(ports.providers), "--twilio-port", str(ports.twilio)),
            *("--sendgrid-port", str(ports.sendgrid), "--fcm-port", str(ports.fcm)),
            *("--whatsapp-port", str(ports.whatsapp)),
            *("--latency-ms", str(_LATENCY), "--no-callbacks"),
        ]
        processes.start("providers", command, http_ok(ports.providers, "/stats"))
        processes.wait_ready()
        return uvloop.run(_measure(run, ports.twilio, ports.providers))


async def _measure(run: Run, port: int, control: int) -> Sequence[Check]:
    database = run.directory / "hermes.db"
    registry = SqliteRegistry(database, run.directory)
    values = SqliteValueStore(database)
    egress = Egress(reroute={"api.twilio.com": f"http://{HOST}:{port}"})
    host = AdapterHost(
        registry,
        egress,
        Quiet(),
        public_url="https://hermes.example",
        reference_key=bytes(32),
        artifacts=run.directory / "artifacts",
        values=values,
    )
    try:
        lifecycle = Lifecycle(AdapterStore(database, run.directory), host)
        run.phase("compiling two versions")
        versions = [
            await _publish(lifecycle, run.directory, number) for number in ("1.0.0", "1.0.1")
        ]
        await registry.refresh()
        seen, swaps = await _load(run, registry, host, lifecycle)
        served = await _requests(control) - 2 * _WARMED_AT_ONCE
    finally:
        await host.close()
        await egress.close()
        await values.close()
        await registry.close()
    sent = sum(seen.states.values())
    return (
        SWAPS.check(swaps),
        BOTH.check(min(seen.versions[version] for version in versions)),
        ERRORS.check(sent - seen.states[SubmissionState.TAKEN]),
        LOST.check(abs(sent - served)),
        PAUSE.check(max(seen.seconds) * 1e3 - _LATENCY),
    )


async def _publish(lifecycle: Lifecycle, directory: Path, number: str) -> str:
    """Publish a version of Hermes's own adapter as the tenant's, configured and in use; its id."""
    folder = directory / f"twilio-{number}"
    shutil.copytree(PROVIDERS / "twilio", folder, ignore=shutil.ignore_patterns("dist"))
    manifest = folder / "manifest.json"
    manifest.write_text(
        manifest.read_text()
        .replace('"name": "twilio"', f'"name": "{_NAME}"')
        .replace('"version": "1.0.0"', f'"version": "{number}"')
    )
    script = folder / "adapter.js"
    script.write_text(f"{script.read_text()}\n// {number}\n")
    await asyncio.to_thread(build, folder)
    bundle = await asyncio.to_thread(pack, folder)

    async def upload() -> bytes:
        return bundle

    _, version = await lifecycle.publish(_TENANT, _NAME, upload)
    await lifecycle.configure(_TENANT, _NAME, _ACCOUNT, number)
    await lifecycle.activate(_TENANT, _NAME, number)
    return version.digest


async def _load(
    run: Run,
    registry: SqliteRegistry,
    host: AdapterHost,
    lifecycle: Lifecycle,
) -> tuple[_Seen, int]:
    """Send at the rate, whatever the answers take, and swap now and then; what was seen, and how
    many swaps there were."""
    for _ in range(2):
        # Both versions have served before: a swap finds the instances of neither.
        await asyncio.gather(*(_send(host, registry, _Seen()) for _ in range(_WARMED_AT_ONCE)))
        await lifecycle.rollback(_TENANT, _NAME)
        await registry.refresh()
    seen, swaps = _Seen(), [0]
    others = [
        asyncio.create_task(_follow(registry)),
        asyncio.create_task(_swap(lifecycle, swaps)),
    ]
    began = time.perf_counter()
    count = int(_RATE * run.duration)
    async with asyncio.TaskGroup() as messages:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / _RATE - time.perf_counter()))
            messages.create_task(_send(host, registry, seen))
            if number % 100 == 0:
                run.progress("sending", number, count)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return seen, swaps[0]


async def _send(host: AdapterHost, registry: SqliteRegistry, seen: _Seen) -> None:
    active = registry.active(_TENANT, _NAME)
    began = time.perf_counter()
    submission = await host.deliver(request(_TENANT), _NAME)
    while submission.state is SubmissionState.BUSY:
        # Nothing was sent: whoever delivers waits, as the cascade does. It counts as a pause.
        await asyncio.sleep(submission.retry_after or 0.0)
        submission = await host.deliver(request(_TENANT), _NAME)
    seen.seconds.append(time.perf_counter() - began)
    seen.states[submission.state] += 1
    seen.versions[active.version if active is not None else ""] += 1


async def _follow(registry: SqliteRegistry) -> None:
    while True:
        await registry.refresh()
        await asyncio.sleep(_FOLLOWED_EVERY)


async def _swap(lifecycle: Lifecycle, swaps: list[int]) -> None:
    while True:
        await asyncio.sleep(_SWAP_EVERY)
        await lifecycle.rollback(_TENANT, _NAME)
        swaps[0] += 1


async def _requests(control: int) -> int:
    """Messages that the provider has accepted so far."""
    url = f"http://{HOST}:{control}/stats"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return int((await answer.json())["twilio"]["accepted"])


SCENARIO = Scenario(
    "adapter-hot-swap",
    f"Two versions of an adapter change places every {_SWAP_EVERY:g} s at {_RATE:.0f} messages/s",
    (SWAPS, BOTH, ERRORS, LOST, PAUSE),
    run,
    duration=15.0,
)
