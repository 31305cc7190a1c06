"""The cost of one attempt, as it travels from the delivery handler to the message's record."""

from __future__ import annotations

from enum import Enum

import msgspec

from domain.billing.money import text


class Rule(str, Enum):
    """When a route's price is owed."""

    SUBMITTED = "submitted"  # once the provider has taken the message
    DELIVERED = "delivered"  # once it is proven to have arrived; otherwise never


class Cost(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt costs if its `rule` makes it due: `amount` in millionths of `currency`, for
    all of its `segments` together.

    In Restate's journal this is an array, so a field may only be added at the end, with a default.
    """

    amount: int
    currency: str
    rule: Rule
    segments: int = 1

    def __str__(self) -> str:
        return f"{text(self.amount)} {self.currency}"
