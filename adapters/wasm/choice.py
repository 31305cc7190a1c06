"""Which of a tenant's adapters a step may take: by priority, for want of a router."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from adapters.wasm.installed import Installed, Registry
from domain.channels import CHANNELS
from domain.providers import OWN

OWN_PRIORITY: Final = 50
"""Of Hermes's own service for a channel, among the adapters' priorities; the lowest goes first."""


OwnProviders = Callable[[str], Collection[str]]
"""The providers that Hermes's own service for a channel has, by name: its carriers, its relay.
Nothing as long as that is not known."""


def _nothing_known(channel: str) -> Collection[str]:
    return ()


class ByPriority:
    """The `domain.ports.ProviderChoice` of the adapters that are in use.

    A name that is neither an adapter's nor one of `own`'s is refused, where those are known.
    """

    def __init__(self, registry: Registry, own: OwnProviders = _nothing_known) -> None:
        self._registry = registry
        self._own = own

    def choose(self, tenant: str, channel: str, named: str | None) -> tuple[str, ...] | None:
        """See `domain.ports.ProviderChoice`. A sick adapter is taken only when it is named."""
        own = CHANNELS[channel].own is not None
        if named is not None:
            active = self._registry.active(tenant, named)
            if active is not None and channel in active.manifest.channels:
                return (named,)
            if not own:
                return None
            known = self._own(channel)
            return () if not known or named in known else None
        adapters = self._registry.choose(tenant, channel)
        if not adapters and own:
            return ()
        # Where there is nobody else, one that is sick may be well again by the time it is asked.
        adapters = adapters or self._sick(tenant, channel)
        if not adapters:
            return None
        ranked = [(adapter.priority, adapter.adapter) for adapter in adapters]
        if own:
            ranked.append((OWN_PRIORITY, OWN))
        return tuple(name for _, name in sorted(ranked, key=lambda one: one[0]))

    def _sick(self, tenant: str, channel: str) -> list[Installed]:
        return [
            adapter for adapter in self._registry.of(tenant) if channel in adapter.manifest.channels
        ]
