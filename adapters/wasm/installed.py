"""What the host needs to know of the adapters that tenants have: stated here, kept by `store`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import SecretStr

from adapters.wasm.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Installed:
    """One version of one adapter as one tenant has configured it.

    `version` is the SHA-256 of the bundle in hexadecimal digits. `component` is the file of the
    WASM component, whose name is the SHA-256 of its content. `revision` changes with every change
    of the configuration. `secrets` are those of the configuration that the manifest marks.
    """

    tenant: str
    adapter: str
    version: str
    revision: int
    manifest: Manifest
    component: Path
    values: Mapping[str, Any]
    secrets: Mapping[str, SecretStr]
    priority: int


@dataclass(frozen=True, slots=True)
class Health:
    """What the last checks said. `failures` counts those in a row; `sick` takes the adapter out of
    the choice."""

    at: datetime
    ok: bool
    sick: bool
    failures: int = 0
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Webhooks that an adapter could not read: those that `waiting` are tried again, those that
    were `given_up` are not. `since` is when the oldest of them came, `kind` why in one word."""

    waiting: int = 0
    given_up: int = 0
    since: datetime | None = None
    kind: str | None = None


NOTHING_UNREAD: Final = Unread()


class Registry(Protocol):
    """The adapters in use. Reads come from memory; `refresh` brings it up to date."""

    async def refresh(self) -> bool:
        """Read what has changed since, by whichever process; True when something had."""

    def active(self, tenant: str, adapter: str) -> Installed | None:
        """The version that new attempts take; None when the tenant has none in use."""

    async def pinned(self, tenant: str, adapter: str, version: str) -> Installed | None:
        """A version that an earlier attempt began with, while it is kept; `version` may be the
        first eight digits."""

    def all_active(self) -> list[Installed]:
        """Every tenant's."""

    def of(self, tenant: str) -> list[Installed]:
        """One tenant's, by name."""

    def choose(self, tenant: str, channel: str) -> list[Installed]:
        """The tenant's active adapters for a channel that are not sick, by priority."""

    async def note_health(self, installed: Installed, health: Health) -> None:
        """Keep what a check found."""


class ValueStore(Protocol):
    """An adapter's own small store, per tenant and adapter. Keys and values are text."""

    async def load(self, tenant: str, adapter: str) -> dict[str, str]:
        """All of it."""

    async def save(self, tenant: str, adapter: str, changes: Mapping[str, str | None]) -> None:
        """Write the changes of one successful call, None deletes."""
