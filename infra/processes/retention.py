"""Forgetting as a process has it: on request, and by age."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapters.retention.erasure import Erasures
from adapters.retention.sweeper import Sweeper
from adapters.store.recipients import Places
from domain.ports import TenantDirectory
from domain.retention import Retention
from infra.key_files import hashing_key
from infra.settings import Settings


@asynccontextmanager
async def forgetting(settings: Settings, directory: TenantDirectory) -> AsyncIterator[Erasures]:
    """What forgets on request; meanwhile messages are redacted whose time is over, by one of all
    processes that have this."""
    erasures = erasing(settings)
    sweeper = Sweeper(settings.database, settings.smpp_journal, retention_of(directory), erasures)
    sweeper.start()
    try:
        yield erasures
    finally:
        await asyncio.to_thread(sweeper.close)


def erasing(settings: Settings) -> Erasures:
    """What forgets on request."""
    return Erasures(settings.database, settings.smpp_journal, hashing_key(settings))


def places(settings: Settings) -> Places:
    """Where the message log finds whoever is to be forgotten."""
    return Places(hashing_key(settings))


def retention_of(directory: TenantDirectory) -> Callable[[str], Retention]:
    """How long a tenant's messages name people; those of a tenant that is gone, by default."""

    def retention(tenant: str) -> Retention:
        found = directory.tenant(tenant)
        return Retention() if found is None else found.retention

    return retention
