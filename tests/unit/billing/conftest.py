"""Money in a real database: SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.billing import accounts, prices
from adapters.billing.accounts import EntryKind
from adapters.billing.lists import PriceLists
from adapters.billing.spending import Spending
from adapters.store.change import change
from adapters.store.database import Database
from adapters.store.schema import open_store
from adapters.store.sections import Sections
from domain.billing.cost import Rule
from domain.billing.prices import PriceRow
from domain.billing.settlement import Kind, Movement

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(where: Path | str) -> Iterator[Database]:
    """The database, migrated."""
    with closing(open_store(where, "hermes")) as opened:
        yield opened


class Money:
    """One deployment's money, and the processes that spend it."""

    def __init__(self, where: Path | str) -> None:
        self.where = where
        self.sections = Sections(where)
        self.lists = PriceLists(self.sections)
        self.processes: list[Spending] = []

    def account(self, tenant: str, amount: int = 0, credit: int | None = 0) -> None:
        """Open an account in EUR and pay something in; in millionths."""
        with change(self.where, accounts.SECTION) as database:
            accounts.set_terms(database, tenant, "EUR", credit, "operator")
        if amount:
            self.pay(tenant, amount)
        self.lists.refresh()

    def pay(self, tenant: str, amount: int, reference: str | None = None) -> None:
        """Pay something in."""
        with change(self.where, accounts.SECTION) as database:
            reference = reference or f"payment {amount}"
            kind = EntryKind.TOP_UP
            accounts.post(database, tenant, reference, kind, amount, "", "operator")
        self.lists.refresh()

    def price(self, amount: int, rule: Rule = Rule.SUBMITTED, **more: Any) -> str:
        """Add a price in EUR that is valid since NOON; its id."""
        row = PriceRow(
            prices.new_id(), more.pop("channel", "sms"), amount, "EUR", NOON, rule=rule, **more
        )
        with change(self.where, prices.SECTION) as database:
            prices.add(database, [row], "operator")
        self.lists.refresh()
        return row.id

    def process(self, **options: Any) -> Spending:
        """Another process that spends."""
        settings = {"linger": 0.001, **options}
        spending = Spending(self.where, self.lists.terms, **settings)
        self.processes.append(spending)
        return spending

    def state(self, tenant: str) -> accounts.AccountState:
        """The account as an operator sees it."""
        with closing(open_store(self.where, "hermes")) as database:
            return accounts.state_of(database, tenant)

    def empty(self, tenant: str) -> bool:
        """Whether the API would refuse the tenant's messages that have a price."""
        self.lists.refresh()
        return self.lists.empty(tenant)


@pytest.fixture
async def money(where: Path | str) -> AsyncIterator[Money]:
    deployment = Money(where)
    yield deployment
    for spending in deployment.processes:
        await spending.close()
    deployment.sections.close()


def movement(message: str, kind: Kind = Kind.CHARGE, amount: int = -10, **more: Any) -> Movement:
    """A movement of acme's by SMS."""
    facts = {
        "attempt": 1,
        "tenant": "acme",
        "currency": "EUR",
        "channel": "sms",
        "route": "tdc",
        "segments": 1,
        "at": NOON.timestamp(),
        "rule": Rule.SUBMITTED,
        **more,
    }
    return Movement(message=message, kind=kind, amount=amount, **facts)
