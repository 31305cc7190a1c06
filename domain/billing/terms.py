"""A tenant's account, and how much of it one process may spend without asking again.

An account is not a key that every message has to pass. Each process takes an allowance from it,
spends that from memory, and takes the next one before it is used up; what is left goes back.
"""

from __future__ import annotations

from typing import Final

import msgspec

SHARE: Final = 4
"""A process takes at most one part in so many of what an account still has, unless it needs more
at once: others may want some, too."""


class Terms(msgspec.Struct, frozen=True):
    """What an account allows.

    It may be overdrawn by `credit` millionths of `currency`: 0 for one that is paid in advance,
    None for one without a limit. `short` is the least amount that it is known not to have: what
    costs as much is refused; 0 while nothing had to be.
    """

    currency: str
    credit: int | None = 0
    short: int = 0

    def lacks(self, amount: int) -> bool:
        """Whether it is known that there is not so much."""
        return self.credit is not None and 0 < self.short <= amount

    def empty(self, cheapest: int) -> bool:
        """Whether nothing that has a price can be sent any more; `cheapest` is the lowest one."""
        return self.lacks(max(cheapest, 1))


def allowance(funds: int, needed: int, wanted: int) -> int:
    """How much of `funds` a process may take that needs `needed` now, and would like `wanted`;
    0 when there is not what it needs. All in millionths, none of what it asks for negative."""
    if funds < max(needed, 1):
        return 0
    return max(needed, min(wanted, funds // SHARE), 1)
