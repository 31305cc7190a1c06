import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from adapters.wasm.host import AdapterHost
from adapters.wasm.installed import Installed
from adapters.wasm.manifest import Limits, read_manifest
from adapters.wasm.sdk.build import build
from tests.unit.wasm.puppet import SOURCE, Heard, Scripted

KEY = b"k" * 32
PATIENT = Limits(fuel=200_000_000, deadline_ms=1000)
"""Which of the two ends a loop must not depend on how busy the machine is."""
MANIFEST = {
    "name": "puppet",
    "version": "1.0.0",
    "contract": "1.0.0",
    "summary": "does what it is told",
    "channels": ["sms", "email"],
    "hosts": ["api.example.com"],
    "configuration": {
        "refuse": {"type": "string", "description": "what on-configure says"},
        "health": {"type": "string", "description": "what on-health-check does"},
        "count": {"type": "integer", "description": "a number", "default": 5},
        "key": {"type": "string", "description": "a secret", "secret": True},
    },
}


@dataclass
class Tenants:
    """A registry in memory."""

    installed: dict[tuple[str, str], Installed] = field(default_factory=dict)
    older: list[Installed] = field(default_factory=list)

    def activate(self, installed: Installed) -> None:
        before = self.installed.get((installed.tenant, installed.adapter))
        self.older += [before] if before else []
        self.installed[installed.tenant, installed.adapter] = installed

    def active(self, tenant: str, adapter: str) -> Installed | None:
        return self.installed.get((tenant, adapter))

    async def pinned(self, tenant: str, adapter: str, version: str) -> Installed | None:
        known = [*self.older, *self.installed.values()]
        return next(
            (
                each
                for each in known
                if (each.tenant, each.adapter) == (tenant, adapter)
                and each.version.startswith(version)
            ),
            None,
        )


@dataclass
class Values:
    """A store in memory."""

    kept: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    broken: bool = False

    async def load(self, tenant: str, adapter: str) -> dict[str, str]:
        return dict(self.kept.get((tenant, adapter), {}))

    async def save(self, tenant: str, adapter: str, changes: dict[str, str | None]) -> None:
        if self.broken:
            raise OSError("the disk is full")
        self.kept.setdefault((tenant, adapter), {}).update(changes)


@dataclass
class Way:
    """A way out that answers by tenant."""

    answers: dict[str, Any] = field(default_factory=dict)

    def port(self, installed: Installed) -> Any:
        return self.answers[installed.tenant]

    def placeholder(self, installed: Installed, name: str) -> str:
        return f"{{{{secret:{name}:sealed}}}}"


@dataclass
class Stage:
    """A host with everything around it."""

    host: AdapterHost
    tenants: Tenants
    values: Values
    way: Way
    sink: Heard

    def install(
        self,
        tenant: str = "acme",
        *,
        version: str = "a",
        limits: Limits | None = None,
        **values: Any,
    ) -> Installed:
        manifest = read_manifest(msgspec.json.encode(MANIFEST))
        manifest = msgspec.structs.replace(manifest, limits=limits or PATIENT)
        installed = Installed(
            tenant=tenant,
            adapter="puppet",
            version=version * 64,
            revision=1,
            manifest=manifest,
            component=build(SOURCE),
            values=values,
            secrets={"key": SecretStr("s3cret")},
            priority=10,
        )
        self.tenants.activate(installed)
        self.way.answers.setdefault(tenant, Scripted([]))
        return installed

    def configure(self, installed: Installed, **values: Any) -> Installed:
        changed = replace(installed, values=values, revision=installed.revision + 1)
        self.tenants.activate(changed)
        return changed

    def answer(self, *answers: Any, tenant: str = "acme") -> Scripted:
        http = self.way.answers[tenant] = Scripted(list(answers))
        return http


@pytest.fixture(params=["in threads", "on the loop"])
async def stage(compiled, request, tmp_path):
    tenants, values, way, sink = Tenants(), Values(), Way(), Heard()
    host = AdapterHost(
        tenants,
        way,
        sink,
        public_url="https://hermes.example/",
        reference_key=KEY,
        artifacts=compiled,
        values=values,
        own=SOURCE.parent if request.param == "on the loop" else tmp_path,
    )
    stage = Stage(host, tenants, values, way, sink)
    yield stage
    async with asyncio.timeout(10):
        await host.close()
