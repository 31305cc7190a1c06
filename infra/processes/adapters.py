"""The adapters as a process has them: those in use, the host that runs them, and its telemetry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client.registry import Collector

from adapters.store.sections import Section
from adapters.telemetry.adapters import AdapterCollector, GuestTelemetry, StrangerTelemetry
from adapters.wasm.egress import Egress
from adapters.wasm.host import AdapterHost
from adapters.wasm.installed import Health, Installed, Registry, Unread
from adapters.wasm.store.management import AdapterStore
from adapters.wasm.store.registry import SqliteRegistry
from adapters.wasm.store.unread import UnreadNotes
from adapters.wasm.store.values import SqliteValueStore
from adapters.wasm.upload.built_in import built_in
from adapters.wasm.upload.inspection import Inspector
from adapters.wasm.upload.lifecycle import Lifecycle
from infra.key_files import reference_key
from infra.operator_key import operator_key
from infra.processes.serving import AsgiApp
from infra.processes.suppression import unsubscribe_links
from infra.settings import Settings

logger = logging.getLogger(__name__)

_REFRESHED_EVERY: Final = 0.25
_SWEPT_EVERY: Final = 3600.0
_KEPT: Final = 86_400.0
"""Seconds that a version stays after its removal: providers report late."""
_STARTED: Final = 2.0
"""Seconds after which a new adapter is asked for its health: it is wanted soon."""
_LOOKED: Final = 1.0
"""Seconds between two looks at which adapters are due."""


class HealthCheck(Protocol):
    """Asks adapters how they are."""

    async def check(self, installed: Installed) -> Health | None:
        """What one says, None when it could not be asked. Raises nothing but cancellation."""


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
    registry = SqliteRegistry(settings.database, settings.data_dir)
    values = SqliteValueStore(settings.database)
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
        strangers=StrangerTelemetry(
            telemetry, telemetry.log if settings.adapters.log_guests else None
        ),
        unsubscribe=unsubscribe_links(settings).of,
    )
    tasks = [asyncio.create_task(_follow(registry))]
    if checks:
        interval = settings.adapters.health_interval
        tasks.append(asyncio.create_task(check_health(registry, host, interval)))
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


@asynccontextmanager
async def lifecycle(settings: Settings, host: AdapterHost) -> AsyncIterator[Lifecycle]:
    """The tenants' changes to their adapters; those that come with Hermes are offered to all."""
    keep = max(_KEPT, settings.journal_retention)
    store = AdapterStore(settings.database, settings.data_dir, keep=keep)
    store.offer(built_in())
    sweeping = asyncio.create_task(_sweep(store, host, UnreadNotes(settings.database)))
    try:
        yield Lifecycle(store, host, inspect=Inspector(host.adopt))
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


async def _sweep(store: AdapterStore, host: AdapterHost, unread: UnreadNotes) -> None:
    def sweep() -> None:
        store.sweep()
        unread.sweep()
        host.sweep(store.components())

    while True:
        try:
            await asyncio.to_thread(sweep)
        except Exception:
            logger.exception("adapters that were removed could not be swept away")
        await asyncio.sleep(_SWEPT_EVERY)


def metrics(
    settings: Settings,
    ours: Adapters,
    webhooks: Mapping[tuple[str, str, str], int] | None = None,
    unread: Section[Mapping[tuple[str, str], Unread]] | None = None,
    more: Iterable[Collector] = (),
) -> asyncio.Future[AsgiApp]:
    """`/metrics` of a process; imported while the process serves already. `more` is what is
    collected beside the adapters' figures."""

    def make() -> AsgiApp:
        from adapters.telemetry.exposition import Metrics
        from handlers.admin.metrics import metrics_app

        collector = AdapterCollector(
            ours.registry.all_active,
            ours.registry.health,
            lambda: webhooks or {},
            lambda: {} if unread is None else unread.value,
        )
        return metrics_app(Metrics(ours.telemetry, collector, *more), operator_key(settings))

    return asyncio.ensure_future(asyncio.to_thread(make))


async def _follow(registry: SqliteRegistry) -> None:
    while True:
        try:
            await registry.refresh()
        except Exception:
            # What was known holds; the next time may find the disk back.
            logger.exception("the adapters in use could not be read")
        await asyncio.sleep(_REFRESHED_EVERY)


async def check_health(
    registry: Registry,
    host: HealthCheck,
    interval: float,
    *,
    first_after: float = _STARTED,
    look_every: float = _LOOKED,
) -> None:
    """Ask every adapter in use for its health: once soon after it is, then at the interval.

    Ends by being canceled, and the checks under way with it.
    """
    loop = asyncio.get_running_loop()
    due: dict[tuple[str, str, str, int], float] = {}
    running: dict[tuple[str, str, str, int], asyncio.Task[None]] = {}

    async def check(installed: Installed) -> None:
        try:
            health = await host.check(installed)
            if health is not None:
                await registry.note_health(installed, health)
        except Exception:
            logger.exception("health of %s/%s", installed.tenant, installed.adapter)

    try:
        while True:
            now = loop.time()
            active = {
                (a.tenant, a.adapter, a.version, a.revision): a for a in registry.all_active()
            }
            due = {key: due.get(key, now + first_after) for key in active}
            running = {key: task for key, task in running.items() if not task.done()}
            for key, at in due.items():
                # One that has not ended yet is not begun a second time.
                if at <= now and key not in running:
                    due[key] = now + interval
                    running[key] = loop.create_task(check(active[key]))
            await asyncio.sleep(look_every)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
