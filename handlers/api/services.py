"""What the API's handlers work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.channels import CHANNELS
from domain.message import Category
from domain.ports import CascadeEngine, KeyRing, MessageLog, Pressure, ProviderChoice


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the API; sizes in bytes, times in seconds.

    `batch_concurrency` bounds the messages that all batches together hand over at a time.
    `repeat_patience` is how long a repeated request waits for the first one's answer.
    `probe_timeout` bounds each check of /readyz.
    """

    message_body: int = 64 * 1024
    batch_body: int = 5_000_000
    batch_concurrency: int = 64
    repeat_patience: float = 2.0
    probe_timeout: float = 2.0


class NoPressure:
    """Where nobody counts: nothing ever waits."""

    async def admit(self, tenant: str, channel: str, category: Category) -> float:
        """See `domain.ports.Pressure`."""
        return 0.0

    def accepted(self, tenant: str, channel: str) -> None:
        """See `domain.ports.Pressure`."""


class OwnServices:
    """Where there are no adapters: the channels that Hermes serves itself."""

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        """See `domain.ports.ProviderChoice`."""
        return None if CHANNELS[channel].own is None else ()


@dataclass(frozen=True, slots=True)
class Services:
    """The ports, the clock (aware UTC times) and the limits."""

    keys: KeyRing
    log: MessageLog
    engine: CascadeEngine
    clock: Callable[[], datetime] = utc_now
    limits: Limits = field(default_factory=Limits)
    private_callbacks: bool = False
    pressure: Pressure = field(default_factory=NoPressure)
    providers: ProviderChoice = field(default_factory=OwnServices)
