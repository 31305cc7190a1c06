"""What the pipeline's layers of an API process work with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from adapters.hlr.cache import OperatorCache
from adapters.hlr.http import HttpLookup
from adapters.store import senders
from adapters.store.recent_content import RecentContent
from adapters.store.sections import Section, Sections
from domain.compliance.senders import Senders
from domain.ports import CascadeEngine, MessageLog, OperatorLookup
from handlers.pipeline.dedup import Dedup
from handlers.pipeline.layers import NoOperators
from infra.key_files import hashing_key
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Checks:
    """The tenants' senders, the layer `dedup`, and who knows the operators of numbers."""

    senders: Section[Senders]
    dedup: Dedup
    operators: OperatorLookup


@asynccontextmanager
async def checking(
    settings: Settings, sections: Sections, log: MessageLog, engine: CascadeEngine
) -> AsyncIterator[Checks]:
    """What compliance, dedup and enrich need, until the block ends."""
    key = hashing_key(settings)

    async def known(message: str) -> bool:
        return await log.get(message) is not None or await engine.status(message) is not None

    async with AsyncExitStack() as stack:
        recent = RecentContent(settings.database)
        stack.push_async_callback(recent.close)
        yield Checks(
            sections.register(senders.SECTION, senders.load),
            Dedup(recent, key, known),
            await _operators(settings, key, stack),
        )


async def _operators(settings: Settings, key: bytes, stack: AsyncExitStack) -> OperatorLookup:
    """Whoever the settings name, and nobody without: an operator that is made up would lead
    messages astray."""
    lookup = settings.number_lookup
    if lookup is None:
        return NoOperators()
    authorization = lookup.authorization
    provider = HttpLookup(
        lookup.url,
        field=lookup.field,
        authorization=None if authorization is None else authorization.get_secret_value(),
        timeout=lookup.timeout,
    )
    stack.push_async_callback(provider.close)
    cache = OperatorCache(settings.database, provider, key, concurrency=lookup.concurrency)
    stack.push_async_callback(cache.close)
    return cache
