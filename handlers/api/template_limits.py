"""How often a tenant may change its templates: to check a definition takes time of everybody's
processor, and every process hears of every change."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from adapters.limits.buckets import Buckets
from domain.limits import Cap
from handlers.api.problems import Problem

LARGE: Final = 32 * 1024
"""Octets of a request from which it takes a hundredth of a second and more to check."""
CHANGES: Final = Cap(120, 60)
LARGE_CHANGES: Final = Cap(10, 60)


class TemplateLimits:
    """Of one process, for its event loop. `clock` is seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: Buckets[tuple[str, bool]] = Buckets()

    def take(self, tenant: str, octets: int = 0) -> None:
        """Count a change whose request has so many octets. Raises Problem `rate_limited`."""
        large = octets >= LARGE
        cap = LARGE_CHANGES if large else CHANGES
        wait = self._buckets.take((tenant, large), cap, self._clock())
        if wait:
            which = f" of {LARGE:,} octets or more" if large else ""
            raise Problem(
                "rate_limited",
                f"At most {cap.count} changes of templates{which} in {cap.seconds:g} seconds.",
                headers={"Retry-After": str(max(math.ceil(wait), 1))},
            )
