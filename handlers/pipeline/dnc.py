"""Do not contact: whoever is on the tenant's suppression list, or the operator's, is left alone.

A channel on which the recipient is suppressed is taken out of the plan; a message that has no other
is refused. Two looks a channel, of 2 µs each, in memory.
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters.store.sections import Section
from adapters.suppression.hashing import Hasher
from adapters.suppression.index import Lists
from domain.mode import Mode
from domain.sandbox import is_suppressed
from domain.suppression import EVERYBODY, RULES, Reason, bit, of_order, unpacked
from domain.verdict import Outcome, Verdict
from handlers.api.problems import Problem
from handlers.pipeline.draft import Draft

SUPPRESSED: Final = "recipient_suppressed"
_PASSED: Final = Verdict("dnc")


class Dnc:
    """The layer. `lists` and `hasher` have to be of one database."""

    name = "dnc"

    def __init__(self, lists: Section[Lists], hasher: Hasher) -> None:
        self._lists = lists
        self._key = hasher.key

    def check(self, draft: Draft) -> Verdict:
        """Raises Problem `recipient_suppressed`."""
        order = draft.order
        find = self._lists.value.find
        key = self._key
        asked = bit(order.category)
        found: dict[str, str] | None = None
        free: list[str] = []
        for step in order.plan:
            channel = step.channel
            if channel in free or (found is not None and channel in found):
                continue
            if order.mode is Mode.TEST and is_suppressed(channel, order.to[channel]):
                found = found or {}
                found[channel] = RULES[Reason.STOP].meaning
                continue
            address = of_order(channel, order.to[channel])
            held = find(key(order.tenant, channel, address))
            everybody = find(key(EVERYBODY, channel, address))
            if held or everybody:
                reason = _reason(held, everybody, asked)
                if reason is not None:
                    found = found or {}
                    found[channel] = reason
                    continue
            free.append(channel)
        if found is None:
            return _PASSED
        detail = "; ".join(f"{channel}: {reason}" for channel, reason in found.items())
        if not free:
            raise Problem(SUPPRESSED, f"{detail}.")
        plan = tuple(step for step in order.plan if step.channel not in found)
        draft.order = msgspec.structs.replace(order, plan=plan)
        return Verdict(self.name, Outcome.CHANGE, SUPPRESSED, detail)


def _reason(held: bytes, everybody: bytes, asked: int) -> str | None:
    """Why a category is blocked; None when it is not. What is on the operator's list is nobody
    else's business."""
    for octet in held:
        if octet & asked:
            return RULES[unpacked(octet).reason].meaning
    if any(octet & asked for octet in everybody):
        return "the operator of this service has blocked the address"
    return None
