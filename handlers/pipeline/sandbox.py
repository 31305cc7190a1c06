"""What the layers do otherwise for a test key's message: as little as can be."""

from __future__ import annotations

from domain.ports import ProviderChoice
from domain.sandbox import PROVIDER


class SandboxChoice:
    """Providers as a tenant's live messages find them, and the sandbox for channels that nobody
    serves yet: to be tried out, a channel needs no account. Test messages reach none of them."""

    def __init__(self, live: ProviderChoice) -> None:
        self._live = live

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        """See `domain.ports.ProviderChoice`. A provider that is named has to be there."""
        found = self._live.choose(tenant, channel, named)
        return (PROVIDER,) if found is None and named is None else found
