"""Adapters on a bench: a host with tenants in memory, and messages for them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from adapters.wasm.contract import HttpError, HttpPort, HttpRequest, HttpResponse
from adapters.wasm.host import PROVIDERS, AdapterHost, Ports
from adapters.wasm.installed import Health, Installed
from adapters.wasm.manifest import Limits, Manifest, read_manifest
from adapters.wasm.runtime import Call, GuestSink
from adapters.wasm.sdk.build import build
from domain.delivery import DeliveryRequest
from domain.ids import fresh_id
from domain.message import Content

PUPPET: Final = Path(__file__).parent / "guests" / "puppet"
"""A guest that does what its message says: good and bad."""

TEXT: Final = "Your code is 123456. It is valid for ten minutes. Do not tell it to anybody."
_ACCOUNT: Final = "AC" + "0" * 32


@dataclass
class Tenants:
    """The adapters in use, in memory. See `adapters.wasm.installed.Registry`."""

    installed: dict[tuple[str, str], Installed] = field(default_factory=dict)

    def add(self, installed: Installed) -> Installed:
        """Put a version to use."""
        self.installed[installed.tenant, installed.adapter] = installed
        return installed

    async def refresh(self) -> bool:
        return False

    def active(self, tenant: str, adapter: str) -> Installed | None:
        return self.installed.get((tenant, adapter))

    async def pinned(self, tenant: str, adapter: str, version: str) -> Installed | None:
        return self.active(tenant, adapter)

    def all_active(self) -> list[Installed]:
        return list(self.installed.values())

    def of(self, tenant: str) -> list[Installed]:
        return [each for each in self.installed.values() if each.tenant == tenant]

    def choose(self, tenant: str, channel: str) -> list[Installed]:
        return [each for each in self.installed.values() if each.tenant == tenant]

    async def note_health(self, installed: Installed, health: Health) -> None:
        pass


class NoStore:
    """A store in which nothing is. See `adapters.wasm.installed.ValueStore`."""

    async def load(self, tenant: str, adapter: str) -> dict[str, str]:
        return {}

    async def save(self, tenant: str, adapter: str, changes: Mapping[str, str | None]) -> None:
        pass


class Quiet:
    """A sink for what nobody reads. See `adapters.wasm.runtime.GuestSink`."""

    def log(self, tenant: str, adapter: str, level: str, message: str) -> None:
        pass

    def metric(self, tenant: str, adapter: str, name: str, value: float) -> None:
        pass


class AtOnce:
    """A way out that answers at once, as Twilio does, without a socket."""

    _ANSWER = HttpResponse(
        201,
        (("content-type", "application/json"),),
        json.dumps({"sid": "SM" + "0" * 32, "status": "queued", "num_segments": "1"}),
    )

    def port(self, installed: Installed) -> HttpPort:
        return self

    def placeholder(self, installed: Installed, name: str) -> str:
        return f"{{{{secret:{name}}}}}"

    async def send(self, request: HttpRequest) -> HttpResponse | HttpError:
        return self._ANSWER


def twilio(tenant: str = "acme") -> Installed:
    """Hermes's own adapter for Twilio, with an account; built if it is not."""
    directory = PROVIDERS / "twilio"
    return Installed(
        tenant=tenant,
        adapter="twilio",
        version="a" * 64,
        revision=1,
        manifest=read_manifest((directory / "manifest.json").read_bytes()),
        component=build(directory),
        values={"account_sid": _ACCOUNT, "from": "HERMES"},
        secrets={"auth_token": SecretStr("a secret token")},
        priority=10,
    )


def puppet(tenant: str, *, hosts: tuple[str, ...] = (), limits: Limits | None = None) -> Installed:
    """A tenant's own adapter, which does what its messages say."""
    manifest = Manifest(
        "puppet",
        "1.0.0",
        "1.0.0",
        "does what it is told",
        ("sms",),
        hosts,
        limits=limits or Limits(),
    )
    component = build(PUPPET)
    return Installed(tenant, "puppet", "b" * 64, 1, manifest, component, {}, {}, 10)


def request(tenant: str, text: str = TEXT) -> DeliveryRequest:
    """A message that may be sent within the next minute."""
    now = datetime.now(UTC)
    return DeliveryRequest(
        message=fresh_id(now, bytes(10)),
        attempt=1,
        tenant=tenant,
        to="+4520123456",
        content=Content(text),
        receipt_ref="",
        not_after=now + timedelta(minutes=1),
        channel="sms",
    )


def new_call(installed: Installed, sink: Any, values: Mapping[str, str] | None = None) -> Call:
    """A call to an instance, past the host."""
    return Call(
        installed.tenant,
        installed.adapter,
        limits=installed.manifest.limits,
        sink=sink,
        configuration={"whose": installed.tenant},
        values=values or {},
    )


@asynccontextmanager
async def host(
    directory: Path, tenants: Tenants, way: Ports, sink: GuestSink | None = None
) -> AsyncIterator[AdapterHost]:
    """A host with its artefacts in a directory. What guests do wrong is not logged."""
    logger = logging.getLogger("adapters.wasm.host")
    before, logger.disabled = logger.disabled, True
    running = AdapterHost(
        tenants,
        way,
        sink or Quiet(),
        public_url="https://hermes.example",
        reference_key=bytes(32),
        artifacts=directory / "artifacts",
        values=NoStore(),
    )
    try:
        yield running
    finally:
        await running.close()
        logger.disabled = before
