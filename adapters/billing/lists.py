"""Prices and accounts in the memory of a process."""

from __future__ import annotations

from adapters.billing import accounts, prices
from adapters.store.database import Database
from adapters.store.sections import Section, Sections
from domain.billing.prices import PriceBook
from domain.billing.terms import Terms


class PriceLists:
    """The price lists of the moment, and every account's `terms`. A change is seen within a
    second."""

    def __init__(self, sections: Sections) -> None:
        self.terms: Section[dict[str, Terms]] = sections.register(
            accounts.SECTION, accounts.load_terms
        )
        self._book: Section[PriceBook] = sections.register(prices.SECTION, self._load)

    @property
    def value(self) -> PriceBook:
        """The lists, the same object until a price changes."""
        return self._book.value

    def refresh(self) -> None:
        """See a change at once that was made by this process."""
        self._book.refresh()

    def empty(self, tenant: str) -> bool:
        """Whether nothing more can be sent at the expense of the tenant's account."""
        terms = self.terms.value.get(tenant)
        return terms is not None and terms.empty(self.cheapest(tenant))

    def all_empty(self) -> list[str]:
        """The tenants whose accounts are empty."""
        return [tenant for tenant in self.terms.value if self.empty(tenant)]

    def short(self, tenant: str) -> int:
        """The least amount that the tenant's account is known not to have; 0 when there is none."""
        terms = self.terms.value.get(tenant)
        return 0 if terms is None or terms.credit is None else terms.short

    def cheapest(self, tenant: str) -> int:
        """See `PriceBook.cheapest`."""
        return self._book.value.cheapest(tenant)

    def _load(self, database: Database) -> PriceBook:
        return PriceBook(prices.load_rows(database), self._currency_of)

    def _currency_of(self, tenant: str) -> str | None:
        terms = self.terms.value.get(tenant)
        return None if terms is None else terms.currency
