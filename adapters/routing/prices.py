"""The price lists as the router asks them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Final

from adapters.email.relay import PROVIDER
from domain.billing.prices import EVERYONE, PriceBook
from domain.routing.question import Price, Question
from domain.routing.routes import Kind, Route

OWN_SERVICES: Final = {"email": PROVIDER}
"""What Hermes's own services are called in price lists: the provider of their answers."""
_NO_PREFIXES: Final[tuple[tuple[int, frozenset[str]], ...]] = ()


class BookPrices:
    """See `domain.routing.question.Prices`. `book` gives the price lists of the moment."""

    def __init__(self, book: Callable[[], PriceBook]) -> None:
        self._book = book
        self._read: PriceBook | None = None
        self._prefixes: dict[str, tuple[tuple[int, frozenset[str]], ...]] = {}
        self._listed: frozenset[str] = frozenset()

    def of(self, route: Route, question: Question, at: datetime) -> Price | None:
        """See `Prices`."""
        book = self._book()
        name = OWN_SERVICES.get(route.channel, "") if route.kind is Kind.OWN else route.provider
        found = book.price(question.tenant, name, route.channel, question.digits, at)
        return None if found is None else Price(found.amount, found.currency)

    def zone(self, question: Question) -> Hashable:
        """See `Prices`."""
        book = self._book()
        if book is not self._read:
            self._learn(book)
        if not book:
            return None
        tenant, digits = question.tenant, question.digits
        prefix = ""
        for length, known in self._prefixes.get(question.channel, _NO_PREFIXES):
            if digits[:length] in known:
                prefix = digits[:length]
                break
        owner = tenant if tenant in self._listed else EVERYONE
        return prefix, owner, book.currency(tenant)

    def _learn(self, book: PriceBook) -> None:
        by_channel: dict[str, dict[int, set[str]]] = {}
        for row in book.rows:
            lengths = by_channel.setdefault(row.channel, {})
            lengths.setdefault(len(row.prefix), set()).add(row.prefix)
        self._prefixes = {
            channel: tuple(
                (length, frozenset(lengths[length])) for length in sorted(lengths, reverse=True)
            )
            for channel, lengths in by_channel.items()
        }
        self._listed = frozenset(row.tenant for row in book.rows)
        self._read = book
