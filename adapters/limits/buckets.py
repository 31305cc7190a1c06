"""Token buckets, one number each.

A bucket is the time at which it will be full again (the "theoretical arrival time" of the generic
cell rate algorithm, ITU-T I.371): nothing has to be refilled, a bucket whose time is past is the
same as none, and how long to wait is a subtraction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from domain.limits import Cap

MOST: Final = 200_000
"""Buckets in memory, of some 150 octets each. Beyond, the one that was used longest ago goes, and
who had it may begin anew: a limit that is a little too wide, and memory that has an end."""

_ROUNDING: Final = 1e-3
"""Tokens by which thousands of sums in floating point may be wrong."""

Name = TypeVar("Name", bound=Hashable)


class Buckets(Generic[Name]):
    """Buckets by name. Times are seconds of one clock that never goes back."""

    def __init__(self, most: int = MOST) -> None:
        # Not a dict: finding its first item again and again costs what was taken out before it.
        self._full_at: OrderedDict[Name, float] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: Name, cap: Cap, now: float) -> float:
        """Take one token: 0 if there was one, else the seconds until there will be."""
        buckets = self._full_at
        full_at = max(buckets.get(name, now), now)
        interval = cap.interval
        wait = _wait(full_at, cap, now)
        if wait:
            return wait
        buckets[name] = full_at + interval
        buckets.move_to_end(name)
        if len(buckets) > self._most:
            buckets.popitem(last=False)
        return 0.0

    def wait(self, name: Name, cap: Cap, now: float) -> float:
        """What `take` would give, without taking."""
        return _wait(max(self._full_at.get(name, now), now), cap, now)

    def give_back(self, name: Name, cap: Cap) -> None:
        """Undo a `take`."""
        full_at = self._full_at.get(name)
        if full_at is not None:
            self._full_at[name] = full_at - cap.interval

    def left(self, name: Name, cap: Cap, now: float) -> int:
        """Tokens that could be taken at once."""
        waiting = max(self._full_at.get(name, now) - now, 0.0)
        return max(int((cap.seconds - waiting) / cap.interval + _ROUNDING), 0)


def _wait(full_at: float, cap: Cap, now: float) -> float:
    # As many as `count` at once: the last of them fills the bucket's time up to `seconds`.
    interval = cap.interval
    wait = full_at + interval - now - cap.seconds
    return wait if wait > _ROUNDING * interval else 0.0
