"""Charging in a process that delivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from adapters.billing.ledger import Ledger
from adapters.billing.leftovers import settle_for_ever
from adapters.billing.lists import PriceLists
from adapters.billing.spending import Spending
from adapters.telemetry.billing import LedgerTelemetry
from handlers.delivery.charging import Charging
from infra.settings import Settings


@asynccontextmanager
async def charging(
    settings: Settings, lists: PriceLists, telemetry: LedgerTelemetry | None = None
) -> AsyncIterator[Charging]:
    """What charges for the attempts of one process."""
    telemetry = telemetry or LedgerTelemetry()
    ledger = Ledger(entered=telemetry.entered)
    spending = Spending(settings.database, lists.terms, ledger=ledger)
    telemetry.follow(spending)
    try:
        yield Charging(lists, spending)
    finally:
        await spending.close()


@asynccontextmanager
async def settling(settings: Settings) -> AsyncIterator[None]:
    """Ends reservations that no message's end knew of. One process is enough; several do no
    harm."""
    task = asyncio.create_task(settle_for_ever(settings.database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
