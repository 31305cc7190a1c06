"""What the API knows of tenants' money."""

from __future__ import annotations

from pathlib import Path

from adapters.billing import accounts
from adapters.billing.accounts import AccountState
from adapters.billing.lists import PriceLists
from adapters.billing.usage import Asked, UsageLine, UsageTotal, report
from adapters.store.change import looking


class BillingDesk:
    """Reads accounts and usage from the database; what blocks is to be called in a thread."""

    def __init__(self, where: Path | str, lists: PriceLists) -> None:
        self._where = where
        self._lists = lists

    def empty(self, tenant: str) -> bool:
        """Whether nothing more can be sent at the expense of the tenant's account; from memory."""
        return self._lists.empty(tenant)

    def account(self, tenant: str) -> AccountState:
        """The tenant's account as it stands. It blocks. Raises UnknownAccount."""
        with looking(self._where) as database:
            return accounts.state_of(database, tenant)

    def usage(self, asked: Asked) -> tuple[list[UsageLine], list[UsageTotal]]:
        """See `adapters.billing.usage.report`. It blocks. Raises TooMuchUsage."""
        with looking(self._where) as database:
            return report(database, asked)
