"""How much waits for the carriers, whose it is, and how long it will take.

A request that finds no room is told when to come back, each a little later than the one before, so
that what waits in Restate comes back about as fast as the carriers take it: asking more often
would only cost. The API reads from here whether a tenant's queue outlives its limit.

Pure: the time comes from the caller, in seconds of any clock that only goes forwards.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from domain.message import Category

PRIORITY: dict[Category, int] = {
    Category.OTP: 0,
    Category.TRANSACTIONAL: 1,
    Category.MARKETING: 2,
}
"""Lower goes first."""

SOONEST_RETURN = 0.5
LATEST_RETURN = 30.0
_EAGERNESS = 1.2
"""How much faster waiting requests come back than the carriers took them: some do not come back,
and the carriers should never wait for us."""
_BLIND_RATE = 200.0
"""Returns a second while nothing is taken and nobody knows how fast it will go."""
_LONG_GONE = 10.0
"""Seconds after its appointed return when a request counts as canceled."""
_MEASURED_OVER = 5.0
_SETTLING = 1.0
"""Seconds for which something must have waited before its pace is believed."""
_LAG_VALID = 5.0


@dataclass(frozen=True, slots=True)
class Queue:
    """What a tenant has waiting in one category.

    `per_second` is how many of the tenant's messages the carriers take while some wait, None until
    that is known.
    """

    tenant: str
    category: Category
    waiting: int
    per_second: float | None


class Backlog:
    """The requests that wait, held here or told to come back."""

    def __init__(self, now: float) -> None:
        self.arrived: Counter[str] = Counter()
        """Messages of each tenant that have come here since the start."""
        self._waiting: dict[tuple[str, int], tuple[str, Category, float]] = {}
        self._counts: Counter[tuple[str, Category]] = Counter()
        self._next_return = now
        self._taken: deque[tuple[float, str, int]] = deque()
        self._pressed_since: float | None = None
        self._lag = 0.0
        self._lag_at = now

    def __len__(self) -> int:
        return len(self._waiting)

    def arrives(self, tenant: str, lag: float, now: float) -> None:
        """A message comes for the first time, `lag` seconds after it began its way."""
        self.arrived[tenant] += 1
        self._lag += (max(lag, 0.0) - self._lag) * 0.05
        self._lag_at = now

    def holds(
        self, key: tuple[str, int], tenant: str, category: Category, now: float, until: float
    ) -> None:
        """A request waits here until it has room, at most until then."""
        if key not in self._waiting:
            self._counts[tenant, category] += 1
            if self._pressed_since is None:
                self._pressed_since = now
        self._waiting[key] = (tenant, category, until)

    def returns(
        self, key: tuple[str, int], tenant: str, category: Category, now: float, rate: float
    ) -> float:
        """A request is sent away; the seconds after which it should come back.

        `rate` is what the carriers take a second. Urgent ones come back soonest: they will not
        have to wait again.
        """
        if category is Category.OTP:
            after = SOONEST_RETURN
        else:
            apart = 1 / (max(rate * _EAGERNESS, 1.0) if rate else _BLIND_RATE)
            earliest = now + SOONEST_RETURN
            self._next_return = max(self._next_return + apart, earliest)
            self._next_return = min(self._next_return, now + LATEST_RETURN)
            after = self._next_return - now
        self.holds(key, tenant, category, now, now + after)
        return after

    def left(self, key: tuple[str, int]) -> None:
        """A request does not wait any more."""
        found = self._waiting.pop(key, None)
        if found is not None:
            self._counts[found[0], found[1]] -= 1
            if not self._waiting:
                self._pressed_since = None

    def took(self, tenant: str, now: float) -> None:
        """The carriers took one of a tenant's messages."""
        # One entry a tenth of a second and tenant, however fast.
        if self._taken and self._taken[-1][1] == tenant and now - self._taken[-1][0] < 0.1:
            at, _, count = self._taken[-1]
            self._taken[-1] = (at, tenant, count + 1)
        else:
            self._taken.append((now, tenant, 1))
            self._forget_taken(now)

    def lag(self, now: float) -> float:
        """Seconds that messages have taken from their beginning to here, of late."""
        return self._lag if now - self._lag_at < _LAG_VALID else 0.0

    def queues(self, now: float) -> list[Queue]:
        """Every queue that is not empty."""
        self._forget(now)
        self._forget_taken(now)
        pace = self._pace(now)
        return [
            Queue(tenant, category, waiting, None if pace is None else pace[tenant])
            for (tenant, category), waiting in self._counts.items()
            if waiting > 0
        ]

    def _pace(self, now: float) -> dict[str, float] | None:
        """What the carriers take of each waiting tenant's messages a second, while there is a
        queue; None before that can be said."""
        if self._pressed_since is None:
            return None
        span = min(now - self._pressed_since, _MEASURED_OVER)
        if span < _SETTLING:
            return None
        taken: Counter[str] = Counter()
        for at, tenant, count in self._taken:
            if at >= now - span:
                taken[tenant] += count
        waiting = {tenant for (tenant, _), count in self._counts.items() if count > 0}
        # A tenant who has just begun will get a fair share, whatever it had so far.
        share = taken.total() / len(waiting | set(taken))
        return {tenant: max(taken[tenant], share) / span for tenant in waiting}

    def _forget(self, now: float) -> None:
        gone = [key for key, (_, _, due) in self._waiting.items() if due + _LONG_GONE < now]
        for key in gone:
            self.left(key)

    def _forget_taken(self, now: float) -> None:
        while self._taken and self._taken[0][0] < now - _MEASURED_OVER:
            self._taken.popleft()
