"""What the API's handlers work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from domain.channels import CHANNELS
from domain.message import Category, MessageOrder
from domain.ports import (
    CascadeEngine,
    KeyRing,
    MessageLog,
    Pressure,
    Principal,
    ProviderChoice,
    TenantDirectory,
)
from domain.tenancy import Tenant
from handlers.api.refusals import Refused, uncounted
from handlers.api.routes import AsItIs, RoutesSteps
from handlers.pipeline.layers import in_order
from handlers.pipeline.pipeline import Pipeline


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the API; sizes in bytes, times in seconds.

    `batch_concurrency` bounds the messages that all batches together hand over at a time, and
    `batch_share` those of one tenant: where its messages have to wait, others' do not.
    `repeat_patience` is how long a repeated request waits for the first one's answer.
    `probe_timeout` bounds each check of /readyz.
    """

    message_body: int = 64 * 1024
    batch_body: int = 5_000_000
    batch_concurrency: int = 64
    batch_share: int = 32
    repeat_patience: float = 2.0
    probe_timeout: float = 2.0


class NoPressure:
    """Where nobody counts: nothing ever waits."""

    def excess(self, tenant: str, queue: str | None, category: Category) -> float:
        """See `domain.ports.Pressure`."""
        return 0.0

    async def admit(self, tenant: str, queue: str | None, category: Category) -> float:
        """See `domain.ports.Pressure`."""
        return 0.0

    def standstill(self, channel: str) -> str | None:
        """See `domain.ports.Pressure`."""
        return None

    def handed_over(self, tenant: str, queue: str | None, *, there: bool) -> None:
        """See `domain.ports.Pressure`."""


class OwnServices:
    """Where there are no adapters: the channels that Hermes serves itself."""

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        """See `domain.ports.ProviderChoice`."""
        return None if CHANNELS[channel].own is None else ()


class NoSettings:
    """Where tenants have no settings of their own."""

    def tenant(self, tenant: str) -> Tenant | None:
        """See `domain.ports.TenantDirectory`."""
        return Tenant(tenant)


def _bare_pipeline() -> Pipeline:
    return in_order(providers=OwnServices())


class Limiter(Protocol):
    """What the door knows of limits."""

    def turn_away(self, principal: Principal) -> None:
        """Raises Problem for a caller who may send nothing at the moment."""

    def headers(self, principal: Principal) -> Mapping[str, str]:
        """What tells a caller of its limits."""


class NoLimiter:
    """Where there are no limits."""

    def turn_away(self, principal: Principal) -> None:
        """See `Limiter`."""

    def headers(self, principal: Principal) -> Mapping[str, str]:
        """See `Limiter`."""
        return {}


@dataclass(frozen=True, slots=True)
class Services:
    """The ports, the clock (aware UTC times), the layers that a message goes through, and the
    limits. `providers` says what a step may take, `followed` what a tenant's messages have to tell
    on their way (`MessageOrder.tell`), `penniless` which messages their tenant cannot pay for,
    `limiter` who is turned away before its request is read."""

    keys: KeyRing
    log: MessageLog
    engine: CascadeEngine
    clock: Callable[[], datetime] = utc_now
    limits: Limits = field(default_factory=Limits)
    pressure: Pressure = field(default_factory=NoPressure)
    tenants: TenantDirectory = field(default_factory=NoSettings)
    providers: ProviderChoice = field(default_factory=OwnServices)
    pipeline: Pipeline = field(default_factory=_bare_pipeline)
    router: RoutesSteps = field(default_factory=AsItIs)
    followed: Callable[[str], tuple[str, ...]] = lambda tenant: ()
    penniless: Callable[[str, MessageOrder], bool] = lambda message_id, order: False
    limiter: Limiter = field(default_factory=NoLimiter)
    refused: Refused = uncounted
