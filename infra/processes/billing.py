"""Charging in a process that delivers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.billing.lists import PriceLists
from adapters.billing.spending import Spending
from handlers.delivery.charging import Charging
from infra.settings import Settings


@asynccontextmanager
async def charging(settings: Settings, lists: PriceLists) -> AsyncIterator[Charging]:
    """What charges for the attempts of one process."""
    spending = Spending(settings.database, lists.terms)
    try:
        yield Charging(lists, spending)
    finally:
        await spending.close()
