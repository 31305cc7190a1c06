"""The adapters as a process has them: those in use, the host that runs them, and its telemetry."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters import wasm
from adapters.telemetry.adapters import AdapterCollector, GuestTelemetry
from adapters.wasm.egress import Egress
from adapters.wasm.host import AdapterHost
from adapters.wasm.installed import Installed
from adapters.wasm.store.management import AdapterStore, Bundle
from adapters.wasm.store.registry import SqliteRegistry
from adapters.wasm.store.values import SqliteValueStore
from adapters.wasm.upload.archive import bundle_of
from adapters.wasm.upload.lifecycle import Lifecycle
from infra.key_files import reference_key
from infra.operator_key import operator_key
from infra.processes.serving import AsgiApp
from infra.settings import Settings

logger = logging.getLogger(__name__)

_PROVIDERS: Final = Path(wasm.__file__).parent / "providers"
_REFRESHED_EVERY: Final = 0.25
_STARTED: Final = 2.0
"""Seconds after which a new adapter is asked for its health: it is wanted soon."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """What the handlers of a process need."""

    registry: SqliteRegistry
    host: AdapterHost
    telemetry: GuestTelemetry
    reference_key: bytes


@asynccontextmanager
async def adapters(settings: Settings, *, checks: bool) -> AsyncIterator[Adapters]:
    """The tenants' adapters, kept up to date. One process `checks` their health."""
    key = reference_key(settings)
    registry = SqliteRegistry(settings.message_log, settings.data_dir)
    values = SqliteValueStore(settings.message_log)
    egress = Egress(reroute=settings.adapters.reroute)
    telemetry = GuestTelemetry()
    host = AdapterHost(
        registry,
        egress,
        telemetry,
        public_url=settings.webhooks_url,
        reference_key=key,
        artifacts=settings.data_dir / "artifacts",
        values=values,
    )
    tasks = [asyncio.create_task(_follow(registry))]
    if checks:
        tasks.append(asyncio.create_task(_check(registry, host, settings.adapters.health_interval)))
    try:
        yield Adapters(registry, host, telemetry, key)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await host.close()
        await egress.close()
        await values.close()
        await registry.close()


def lifecycle(settings: Settings, host: AdapterHost) -> Lifecycle:
    """The tenants' changes to their adapters; those that come with Hermes are offered to all."""
    store = AdapterStore(settings.message_log, settings.data_dir)
    store.offer(list(_built_in()))
    return Lifecycle(store, host)


def _built_in() -> Iterator[Bundle]:
    for directory in sorted(path.parent for path in _PROVIDERS.glob("*/manifest.json")):
        files = {
            "manifest.json": directory / "manifest.json",
            "adapter.wasm": directory / "dist" / "adapter.wasm",
            "README.md": directory / "README.md",
        }
        if not files["adapter.wasm"].is_file():
            logger.warning("the adapter %s is not built: make setup", directory.name)
            continue
        contents = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        digest = hashlib.sha256()
        for name, content in sorted(contents.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        yield bundle_of(contents, digest.hexdigest())


def metrics(
    settings: Settings, ours: Adapters, webhooks: Mapping[tuple[str, str, str], int] | None = None
) -> asyncio.Future[AsgiApp]:
    """`/metrics` of a process; imported while the process serves already."""

    def make() -> AsgiApp:
        from adapters.telemetry.exposition import Metrics
        from handlers.admin.metrics import metrics_app

        collector = AdapterCollector(
            ours.registry.all_active, ours.registry.health, lambda: webhooks or {}
        )
        return metrics_app(Metrics(ours.telemetry, collector), operator_key(settings))

    return asyncio.ensure_future(asyncio.to_thread(make))


async def _follow(registry: SqliteRegistry) -> None:
    while True:
        try:
            await registry.refresh()
        except Exception:
            # What was known holds; the next time may find the disk back.
            logger.exception("the adapters in use could not be read")
        await asyncio.sleep(_REFRESHED_EVERY)


async def _check(registry: SqliteRegistry, host: AdapterHost, interval: float) -> None:
    """Ask every adapter in use for its health: once soon after it is, then at the interval."""
    loop = asyncio.get_running_loop()
    due: dict[tuple[str, str, str, int], float] = {}
    running: set[asyncio.Task[None]] = set()

    async def check(installed: Installed) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await registry.note_health(installed, await host.check(installed))
            except Exception:
                logger.exception("health of %s/%s", installed.tenant, installed.adapter)

    while True:
        now = loop.time()
        active = {(a.tenant, a.adapter, a.version, a.revision): a for a in registry.all_active()}
        due = {key: due.get(key, now + _STARTED) for key in active}
        for key, at in due.items():
            if at <= now:
                due[key] = now + interval
                task = loop.create_task(check(active[key]))
                running.add(task)
                task.add_done_callback(running.discard)
        await asyncio.sleep(1.0)
