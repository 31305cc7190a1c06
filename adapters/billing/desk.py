"""What the API knows of tenants' money."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from adapters.billing import accounts
from adapters.billing.accounts import AccountState
from adapters.billing.lists import PriceLists
from adapters.billing.usage import Asked, UsageLine, UsageTotal, report
from adapters.store.change import looking
from domain.billing.prices import digits_of
from domain.message import MessageOrder, Step
from domain.sms.segmentation import segments_of

Ways = Callable[[Step], Iterable[str] | None]
"""What price lists call the carriers or adapters that a step may take; None where that is not
known."""


class BillingDesk:
    """Reads accounts and usage from the database; what blocks is to be called in a thread."""

    def __init__(self, where: Path | str, lists: PriceLists) -> None:
        self._where = where
        self._lists = lists

    def cannot_pay(self, order: MessageOrder, ways: Ways) -> bool:
        """Whether a message comes to cost something by some of its steps, and its tenant's account
        has not got what any of these would set aside at least; from memory."""
        short = self._lists.short(order.tenant)
        if not short:
            return False
        needed = [amount for step in order.plan if (amount := self._needed(order, step, ways))]
        return bool(needed) and min(needed) >= short

    def _needed(self, order: MessageOrder, step: Step, ways: Ways) -> int:
        book, tenant, channel = self._lists.value, order.tenant, step.channel
        digits = digits_of(order.to[channel])
        routes = ways(step)
        if routes is None:
            routes = book.listed(tenant, channel)
        price = book.lowest(tenant, routes, channel, digits, order.accepted_at)
        return price and price * segments_of(channel, order.content.text)

    def account(self, tenant: str) -> AccountState:
        """The tenant's account as it stands. It blocks. Raises UnknownAccount."""
        with looking(self._where) as database:
            return accounts.state_of(database, tenant)

    def usage(self, asked: Asked) -> tuple[list[UsageLine], list[UsageTotal]]:
        """See `adapters.billing.usage.report`. It blocks. Raises TooMuchUsage."""
        with looking(self._where) as database:
            return report(database, asked)
