"""From an upload to an adapter in use and back: every step checked before anything changes."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import SecretStr

from adapters.wasm import webhooks
from adapters.wasm.installed import Health, Installed
from adapters.wasm.manifest import Value
from adapters.wasm.runtime.faults import AdapterFailed
from adapters.wasm.store.management import (
    AdapterStore,
    Bundle,
    QuotaFull,
    Taken,
    UnknownAdapter,
    UnknownVersion,
)
from adapters.wasm.store.records import Adapter, Version
from adapters.wasm.upload.archive import read_bundle
from adapters.wasm.upload.inspection import Inspector
from adapters.wasm.upload.refusal import UNKNOWN, NotConfigured, Refused

TRIAL_PATIENCE: Final = 30.0
"""Seconds for on-configure and the health check together."""
_MOST_TOLD: Final = 1000
"""Characters of an adapter's own words."""


class Trial(Protocol):
    """Runs an adapter that is not in use yet, with everything as it would be."""

    async def configure(self, installed: Installed) -> None:
        """Call on-configure. Raises AdapterFailed with the adapter's own words, or why it
        failed."""

    async def check(self, installed: Installed) -> Health | None:
        """Call on-health-check; a failure is a health that is not ok, None that there was no room
        to ask. Raises nothing."""


class Busy(Exception):
    """The tenant's last change is not finished."""


class Lifecycle:
    """A tenant's changes to its adapters, one at a time. Every method may raise Busy, and
    `UnknownAdapter` for one that the tenant has not.

    Nothing is in use before it was tried, and what is in use stays until then.
    """

    def __init__(
        self,
        store: AdapterStore,
        trial: Trial,
        *,
        inspect: Callable[[Path], Awaitable[None]] | None = None,
        trial_patience: float = TRIAL_PATIENCE,
    ) -> None:
        self._store = store
        self._trial = trial
        self._inspect = inspect or Inspector()
        self._trial_patience = trial_patience
        self._busy: set[str] = set()
        self._trials = itertools.count(1)

    async def all(self, tenant: str) -> list[Adapter]:
        """The tenant's adapters and those that come with Hermes, by name."""
        return await asyncio.to_thread(self._store.all, tenant)

    async def get(self, tenant: str, name: str) -> Adapter:
        """One adapter."""
        return await asyncio.to_thread(self._store.get, tenant, name)

    async def publish(
        self, tenant: str, name: str, upload: Callable[[], Awaitable[bytes]]
    ) -> tuple[Adapter, Version]:
        """Check an uploaded zip and keep it; it is not in use by that. `upload` gives the zip, and
        is asked once the tenant has no other change under way. Raises Refused."""
        with self._alone(tenant):
            bundle = await asyncio.to_thread(read_bundle, await upload())
            if bundle.manifest.name != name:
                raise Refused("name", f"manifest.json says {bundle.manifest.name}, not {name}")
            with tempfile.TemporaryDirectory(prefix="hermes-upload-") as place:
                component = Path(place) / bundle.component_digest
                await asyncio.to_thread(component.write_bytes, bundle.component)
                await self._inspect(component)
                await self._try_upload(tenant, bundle, component)
            version = await asyncio.to_thread(self._keep, tenant, bundle)
            return await self.get(tenant, name), version

    async def configure(
        self,
        tenant: str,
        name: str,
        changes: Mapping[str, Value | None],
        version: str | None = None,
    ) -> Adapter:
        """Change values of the configuration, None removes. It has to suit the version in use, or
        the newest while none is, and `version` as well, when it is given.

        Raises NotConfigured, Refused, UnknownVersion and Overtaken.
        """
        with self._alone(tenant):
            adapter = await self.get(tenant, name)
            targets = [adapter.active_version or adapter.versions[0]]
            if version is not None and (named := _named(adapter, version)) not in targets:
                targets.append(named)
            _check_changes(adapter, targets, changes)
            proposed = self._store.configured(adapter, _marked(targets, changes))
            for target in targets:
                await self._try(self._complete(proposed, target))
            await asyncio.to_thread(self._store.configure, proposed)
            return await self.get(tenant, name)

    async def activate(
        self,
        tenant: str,
        name: str,
        version: str | None = None,
        priority: int | None = None,
    ) -> Adapter:
        """Put a version to use, by one switch. Without `version` the newest; but when there is
        only a `priority` to set, the one in use stays.

        Raises NotConfigured, Refused, UnknownVersion and Overtaken.
        """
        with self._alone(tenant):
            adapter = await self.get(tenant, name)
            active = adapter.active_version
            if version is not None:
                target = _named(adapter, version)
            elif priority is not None and active is not None:
                target = active
            else:
                target = adapter.versions[0]
            if target is not active:
                await self._try(self._complete(adapter, target))
            await asyncio.to_thread(self._store.activate, adapter, target.digest, priority)
            return await self.get(tenant, name)

    async def rollback(self, tenant: str, name: str) -> Adapter:
        """Go back to the version of before, at once: it has been in use, so it is not tried.

        Raises NotConfigured when it needs another configuration, NoPrevious and Overtaken.
        """
        with self._alone(tenant):
            adapter = await self.get(tenant, name)
            previous = adapter.version(adapter.previous)
            if previous is not None:
                self._complete(adapter, previous)
            await asyncio.to_thread(self._store.rollback, adapter)
            return await self.get(tenant, name)

    async def deactivate(self, tenant: str, name: str) -> Adapter:
        """Take an adapter out of use and keep all of it; what began with it may finish.

        Raises Overtaken.
        """
        with self._alone(tenant):
            adapter = await self.get(tenant, name)
            await asyncio.to_thread(self._store.deactivate, adapter)
            return await self.get(tenant, name)

    async def remove(self, tenant: str, name: str) -> None:
        """Take an adapter out of use and away; what began with it may finish."""
        with self._alone(tenant):
            await asyncio.to_thread(self._store.remove, tenant, name)

    async def remove_version(self, tenant: str, name: str, version: str) -> Version:
        """Take a version away; what began with it may finish. Raises UnknownVersion and
        VersionInUse."""
        with self._alone(tenant):
            found = _named(await self.get(tenant, name), version)
            await asyncio.to_thread(self._store.remove_version, tenant, name, found.digest)
            return found

    @contextmanager
    def _alone(self, tenant: str) -> Iterator[None]:
        # An upload holds its body in memory and a processor, a trial calls out: one at a time.
        if tenant in self._busy:
            raise Busy
        self._busy.add(tenant)
        try:
            yield
        finally:
            self._busy.remove(tenant)

    def _keep(self, tenant: str, bundle: Bundle) -> Version:
        try:
            return self._store.publish(tenant, bundle)
        except Taken:
            number = bundle.manifest.version
            raise Refused(
                "version", f"there is another bundle with the number {number}: raise it"
            ) from None
        except QuotaFull as full:
            raise Refused("quota", f"{full}: remove versions first") from None

    async def _try_upload(self, tenant: str, bundle: Bundle, component: Path) -> None:
        """Try a new version, if the tenant's configuration is one for it."""
        try:
            adapter = await self.get(tenant, bundle.manifest.name)
        except UnknownAdapter:
            adapter = Adapter(tenant, bundle.manifest.name, ())
        if bundle.manifest.configuration and not adapter.settings:
            return
        version = Version(
            digest=bundle.digest,
            component=bundle.component_digest,
            manifest=bundle.manifest,
            size=bundle.size,
            published_at=datetime.now(UTC),
            built_in=False,
        )
        try:
            candidate = self._complete(adapter, version)
        except NotConfigured:
            return
        await self._try(replace(candidate, component=component))

    def _complete(self, adapter: Adapter, version: Version) -> Installed:
        """The version with its configuration. Raises NotConfigured when that has faults."""
        installed = self._store.installed(adapter, version)
        given: dict[str, Any] = dict(installed.values)
        given |= {key: secret.get_secret_value() for key, secret in installed.secrets.items()}
        faults = version.manifest.faults(given)
        if version.manifest.webhook is not None:
            faults = webhooks.faults(version.manifest.webhook, given) | faults
        if faults:
            raise NotConfigured(faults)
        return installed

    async def _try(self, installed: Installed) -> None:
        # A revision of its own: a host that keeps guests for each must not take those of a trial,
        # whose configuration may never come to be, for another's.
        candidate = replace(installed, revision=-next(self._trials))
        try:
            async with asyncio.timeout(self._trial_patience):
                await self._trial.configure(candidate)
                health = await self._trial.check(candidate)
        except AdapterFailed as failed:
            own_words = failed.kind == "configure"
            finding = failed.detail if own_words else f"{failed.kind}: {failed.detail}"
            raise Refused("configure", _cut(finding)) from None
        except TimeoutError:
            finding = f"the trial has not ended within {self._trial_patience:g} s"
            raise Refused("health", finding) from None
        if health is None:
            raise Refused("health", "calls under way left no room to try it: ask again")
        if not health.ok:
            finding = _cut(health.detail or "the adapter says that it is not well")
            raise Refused("health", finding)


def _named(adapter: Adapter, name: str) -> Version:
    version = adapter.named(name)
    if version is None:
        raise UnknownVersion
    return version


def _check_changes(
    adapter: Adapter, targets: list[Version], changes: Mapping[str, Value | None]
) -> None:
    """Raises NotConfigured for what no version knows or takes."""
    faults: dict[str, str] = {}
    for key, value in changes.items():
        declared = [
            version.manifest.configuration[key]
            for version in targets
            if key in version.manifest.configuration
        ]
        if value is None:
            if not declared and key not in adapter.settings:
                faults[key] = UNKNOWN
        elif not declared:
            faults[key] = UNKNOWN
        else:
            found = [fault for each in declared if (fault := each.fault(value))]
            if found:
                faults[key] = found[0]
    if faults:
        raise NotConfigured(faults)


def _marked(
    targets: list[Version], changes: Mapping[str, Value | None]
) -> dict[str, Value | SecretStr | None]:
    """The changes with those marked that any of the versions keeps secret."""
    secret = {
        key
        for version in targets
        for key, declared in version.manifest.configuration.items()
        if declared.secret
    }
    return {
        key: SecretStr(value) if key in secret and isinstance(value, str) else value
        for key, value in changes.items()
    }


def _cut(text: str) -> str:
    return text[:_MOST_TOLD]
