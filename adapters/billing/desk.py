"""What the API knows of tenants' money."""

from __future__ import annotations

from pathlib import Path

from adapters.billing import accounts
from adapters.billing.accounts import AccountState
from adapters.billing.lists import PriceLists
from adapters.billing.usage import Asked, UsageLine, UsageTotal, report
from adapters.store.change import looking
from domain.billing.prices import digits_of
from domain.message import MessageOrder


class BillingDesk:
    """Reads accounts and usage from the database; what blocks is to be called in a thread."""

    def __init__(self, where: Path | str, lists: PriceLists) -> None:
        self._where = where
        self._lists = lists

    def cannot_pay(self, order: MessageOrder) -> bool:
        """Whether a message may come to cost something, by one of its steps, and its tenant's
        account is empty; from memory."""
        tenant = order.tenant
        if not self._lists.empty(tenant):
            return False
        book, at = self._lists.value, order.accepted_at
        return any(
            book.may_cost(tenant, step.channel, digits_of(order.to[step.channel]), at)
            for step in order.plan
        )

    def account(self, tenant: str) -> AccountState:
        """The tenant's account as it stands. It blocks. Raises UnknownAccount."""
        with looking(self._where) as database:
            return accounts.state_of(database, tenant)

    def usage(self, asked: Asked) -> tuple[list[UsageLine], list[UsageTotal]]:
        """See `adapters.billing.usage.report`. It blocks. Raises TooMuchUsage."""
        with looking(self._where) as database:
            return report(database, asked)
