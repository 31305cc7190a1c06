"""What a message cost, as clients see it: amounts are decimal text, never floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from domain.billing.cost import Cost, Rule
from domain.billing.money import text
from domain.billing.settlement import Kind, Settled

State = Literal["reserved", "charged", "refunded"]


class CostView(msgspec.Struct, frozen=True):
    """What an attempt costs: `amount`, in `currency`, for all of its segments. By the rule
    `submitted` it is owed once the provider has taken the message, by `delivered` once it is proven
    to have arrived."""

    amount: str
    currency: str
    segments: int
    rule: Rule


class AttemptCost(msgspec.Struct, frozen=True):
    """Where one attempt's cost stands. `reserved` is decided by the message's end or a receipt,
    and ends as `charged` or `refunded`."""

    attempt: int
    amount: str
    state: State


class MessageCost(msgspec.Struct, frozen=True):
    """What the message came to so far, by the ledger. `reserved` may still become due, or is given
    back. The ledger follows an attempt within a second."""

    currency: str
    charged: str
    reserved: str
    attempts: list[AttemptCost]


def cost_view(cost: Cost | None) -> CostView | None:
    """An attempt's cost."""
    if cost is None:
        return None
    return CostView(text(cost.amount), cost.currency, cost.segments, cost.rule)


def message_cost(bill: Sequence[Settled]) -> MessageCost | None:
    """What the ledger has for a message; None when nothing in it had a price."""
    if not bill:
        return None
    # One message is charged in one currency, unless prices were moved to another meanwhile.
    currency = bill[-1].currency
    amounts: dict[int, dict[Kind, int]] = {}
    for settled in bill:
        if settled.currency == currency:
            amounts.setdefault(settled.attempt, {})[settled.kind] = abs(settled.amount)
    charged = sum(kinds.get(Kind.CHARGE, 0) for kinds in amounts.values())
    reserved = sum(kinds[Kind.RESERVE] for kinds in amounts.values() if _state(kinds) == "reserved")
    attempts = [
        AttemptCost(attempt, text(max(kinds.values())), _state(kinds))
        for attempt, kinds in sorted(amounts.items())
    ]
    return MessageCost(currency, text(charged), text(reserved), attempts)


def _state(kinds: dict[Kind, int]) -> State:
    if Kind.CHARGE in kinds:
        return "charged"
    return "refunded" if Kind.RELEASE in kinds else "reserved"
