"""Do not contact: whoever is on the tenant's suppression list, or the operator's, is left alone.

A channel on which the recipient is suppressed is taken out of the plan; a message that has no other
is refused. Two looks a channel, of 2 µs each, in memory. The rule is `why_suppressed`: what is sent
later is asked about again, by the endpoint (`adapters/suppression/second_look.py`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters.store.sections import Section
from adapters.suppression.hashing import Hasher
from adapters.suppression.index import Lists
from domain.suppression import why_suppressed
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

        def look(owner: str, channel: str, address: str) -> bytes:
            return find(key(owner, channel, address))

        found: dict[str, str] | None = None
        free: list[str] = []
        for step in order.plan:
            channel = step.channel
            if channel in free or (found is not None and channel in found):
                continue
            reason = why_suppressed(order, channel, look)
            if reason is None:
                free.append(channel)
            else:
                found = found or {}
                found[channel] = reason
        if found is None:
            return _PASSED
        detail = "; ".join(f"{channel}: {reason}" for channel, reason in found.items())
        if not free:
            raise Problem(SUPPRESSED, f"{detail}.")
        plan = tuple(step for step in order.plan if step.channel not in found)
        draft.order = msgspec.structs.replace(order, plan=plan)
        return Verdict(self.name, Outcome.CHANGE, SUPPRESSED, detail)
