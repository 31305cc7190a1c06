"""[pipeline] What the nine layers cost for a typical message, their caches warm.

Of each figure the quickest of several batches counts: what else the machine does makes a batch
slower, and never quicker. The figure for a layer is the difference that it makes at its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import uvloop

from adapters.limits.quota import Quotas
from adapters.store import senders as sender_store
from adapters.store.recent_content import RecentContent
from adapters.store.sections import Sections
from adapters.store.tenants import add_tenant
from domain.compliance.senders import Sender, SenderStatus
from domain.ports import Principal
from domain.tenancy import EVERYTHING, Tenant
from handlers.api import body
from handlers.api.services import OwnServices, utc_now
from handlers.pipeline.dedup import Dedup
from handlers.pipeline.dnc import Dnc
from handlers.pipeline.draft import Draft
from handlers.pipeline.layers import in_order
from handlers.pipeline.pipeline import Pipeline
from handlers.pipeline.rate import Rate
from infra.bench.scenario import Check, Run, Scenario, at_most, exactly
from infra.processes.suppression import suppressing
from infra.settings import Settings

_BATCHES = 25
_CALLS = 400
_LAYERS = 9

LAYERS = at_most("CPU of all layers, from parsed body to order", 150, "µs")
PARSING = at_most("CPU of parsing the body, before them", 50, "µs")
ORDER = at_most("octets of verdicts and recipient in the order", 512)
LOST = exactly("lost verdicts", 0)

_MESSAGE = {
    "to": {"sms": "+4520123456", "email": "anna@example.com"},
    "content": {
        "text": "Your table for four is ready at 19:30. See the menu: https://menu.example.com/t/1",
        "subject": "Your table",
    },
    "plan": [
        {"channel": "sms", "timeout": 60, "success": "delivered", "sender": "Bistro"},
        {"channel": "email", "timeout": 300, "success": "sent"},
    ],
    "ttl": 3600,
    "metadata": {"order": "1234"},
}
_SETTINGS = {
    "content": {
        "max_segments": 3,
        "links": {"hosts": ["example.com"]},
        "keywords": [{"words": ["casino", "free money", "lottery"]}],
    },
    "compliance": {
        "senders": "refuse",
        "transactional": {"start": "00:00", "end": "00:00"},
        "time_zone": "Europe/Copenhagen",
    },
    "limits": {
        "tenant": {"count": 1_000_000_000, "seconds": 1},
        "key": {"count": 1_000_000_000, "seconds": 1},
        "recipient": {"transactional": {"count": 1_000_000_000, "seconds": 1}},
    },
}
"""A tenant that uses every rule there is."""


def run(run: Run) -> Sequence[Check]:
    """One message again and again through the layers as the API has them, with its stores."""
    run.phase("messages")
    return uvloop.run(_measure(run))


async def _measure(run: Run) -> Sequence[Check]:
    settings = Settings(data_dir=run.directory)
    add_tenant(settings.database, "acme", _SETTINGS, actor="bench")
    sender = Sender("acme", "Bistro", SenderStatus.APPROVED)
    sender_store.put(settings.database, sender, actor="bench")
    tenant = msgspec.convert({"id": "acme", **_SETTINGS}, Tenant)
    raw = msgspec.json.encode(_MESSAGE)
    parsed = body.parse_message(raw)
    principal = Principal("acme", "0123456789ab", EVERYTHING)

    def draft() -> Draft:
        return Draft(
            id="msg_01JG3T5C8VE7Q9X2B4N6M8P0RS",
            principal=principal,
            tenant=tenant,
            raw=raw,
            body=parsed,
            now=utc_now(),
        )

    async with AsyncExitStack() as stack:
        pipeline = _pipeline(settings, stack)
        order = await pipeline.admit(draft())
        bare = msgspec.structs.replace(order, verdicts=(), recipient=None)
        whole = await _each(lambda: pipeline.admit(draft()))
        parsing = _each_call(lambda: body.parse_message(raw))
    return (
        LAYERS.check(whole),
        PARSING.check(parsing),
        ORDER.check(len(msgspec.json.encode(order)) - len(msgspec.json.encode(bare))),
        LOST.check(_LAYERS - len(order.verdicts)),
    )


def _pipeline(settings: Settings, stack: AsyncExitStack) -> Pipeline:
    sections = Sections(settings.database)
    stack.callback(sections.close)
    suppressions = suppressing(settings, sections)
    quotas = Quotas(settings.database)
    stack.push_async_callback(quotas.close)
    recent = RecentContent(settings.database)
    stack.push_async_callback(recent.close)
    return in_order(
        providers=OwnServices(),
        dnc=Dnc(suppressions.lists, suppressions.store.hasher),
        rate=Rate(quotas),
        senders=sections.register(sender_store.SECTION, sender_store.load),
        dedup=Dedup(recent, b"k" * 32, _unknown),
        operators=_Operators(),
    )


async def _unknown(message: str) -> bool:
    return False


class _Operators:
    """An operator from memory."""

    def __init__(self) -> None:
        self._known = {"+4520123456": "23801"}

    def operator_of(self, number: str) -> str | None:
        return self._known.get(number)


async def _each(work: Callable[[], Coroutine[Any, Any, object]]) -> float:
    """Microseconds."""
    batches = []
    for _ in range(_BATCHES):
        began = time.thread_time()
        for _ in range(_CALLS):
            await work()
        batches.append((time.thread_time() - began) / _CALLS * 1e6)
    return min(batches)


def _each_call(work: Callable[[], object]) -> float:
    """Microseconds."""
    batches = []
    for _ in range(_BATCHES):
        began = time.thread_time()
        for _ in range(_CALLS):
            work()
        batches.append((time.thread_time() - began) / _CALLS * 1e6)
    return min(batches)


SCENARIO = Scenario(
    "pipeline",
    "a typical message through all nine layers, caches warm, by a tenant that uses every rule",
    (LAYERS, PARSING, ORDER, LOST),
    run,
)
