"""How fast to submit: a token bucket, and a rate that learns from a carrier's refusals.

Pure: the time comes from the caller, in seconds of any clock that only goes forwards.
"""

from __future__ import annotations

import math
from collections import deque

BURST = 0.1
"""Seconds' worth of tokens that a bucket holds: smooth enough for a carrier that counts over a
second, and large enough that timers are not armed for every message."""

_MEASURED_OVER = 1.0
_CUT_TO = 0.95
_SLOWEST = 10.0
_LEAST_GROWTH = 2.0
_FIRST_HOLD, _LONGEST_HOLD = 0.05, 1.0
_GROW_EVERY = 0.1
_PATIENCE = 5.0
_FIRST_GROWTH, _FASTEST_GROWTH = 0.01, 0.5
_FORGOTTEN = 100_000.0


class TokenBucket:
    """Lets `rate` tokens a second through, and at most `BURST` seconds' worth at once.

    Without a rate it lets everything through.
    """

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = rate
        self._at = now
        self._tokens = self._capacity()

    @property
    def rate(self) -> float | None:
        """Tokens a second, None without a limit."""
        return self._rate

    def set_rate(self, rate: float | None, now: float) -> None:
        """Change the rate; tokens that are there are kept up to the new burst."""
        self._fill(now)
        self._rate = rate
        self._tokens = min(self._tokens, self._capacity())

    def wait(self, now: float) -> float:
        """Seconds until a token is there, 0 when one is."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate

    def take(self, count: int) -> None:
        """Take tokens after `wait` said 0. The parts of one message go together, so the bucket
        may go below zero, and the next one waits for it."""
        self._tokens -= count

    def give_back(self, count: int) -> None:
        """Return tokens that were not used."""
        self._tokens = min(self._tokens + count, self._capacity())

    def _capacity(self) -> float:
        return math.inf if self._rate is None else max(1.0, self._rate * BURST)

    def _fill(self, now: float) -> None:
        if self._rate is not None:
            self._tokens = min(
                self._tokens + max(now - self._at, 0.0) * self._rate, self._capacity()
            )
        self._at = now


class AdaptiveRate:
    """The rate at which a carrier takes what it is given, at most `limit`.

    Additive increase, multiplicative decrease, except that the decrease starts from what the
    carrier did take during the last second: that is known, so there is no need to fall further
    and to lose a half of what it would have carried. Growth begins at 1 % a second, at least 2
    parts a second, and doubles after every 5 s without a refusal: probing an old limit is gentle,
    forgetting one is quick.
    """

    def __init__(self, limit: float | None, now: float) -> None:
        self.limit = limit
        self.rate = limit
        """What to submit a second now, None without any limit."""
        self.throttled_count = 0
        self._accepted: deque[tuple[float, int]] = deque()
        self._accepted_sum = 0
        self._cut_at = -math.inf
        self._grown_at = now
        self._hold = _FIRST_HOLD
        self._held_until = -math.inf

    def set_limit(self, limit: float | None, now: float) -> None:
        """Change the configured limit; what was learned is kept below it."""
        learned = self.rate != self.limit
        self.limit = limit
        if not learned or (limit is not None and (self.rate is None or self.rate > limit)):
            self.rate = limit
        self._grown_at = now

    def measured(self, now: float) -> int:
        """What was accepted during the last second."""
        while self._accepted and self._accepted[0][0] <= now - _MEASURED_OVER:
            self._accepted_sum -= self._accepted.popleft()[1]
        return self._accepted_sum

    def accepted(self, now: float) -> None:
        """The carrier took a part."""
        self._accepted_sum += 1
        # One entry a centisecond, however fast.
        if self._accepted and now - self._accepted[-1][0] < 0.01:
            at, count = self._accepted[-1]
            self._accepted[-1] = (at, count + 1)
        else:
            self._accepted.append((now, 1))
            self.measured(now)

    def throttled(self, now: float, sent_at: float) -> None:
        """The carrier refused a part that was sent at `sent_at`.

        What had been sent before the last cut says nothing about the rate after it.
        """
        self.throttled_count += 1
        if sent_at < self._cut_at:
            return
        # Refused again although nothing was taken since: it wants silence, not another rate.
        taken = any(at > self._cut_at for at, _ in self._accepted)
        self._hold = _FIRST_HOLD if taken else min(self._hold * 2, _LONGEST_HOLD)
        self._held_until = now + self._hold
        if taken or self.rate is None:
            rate = self.measured(now) * _CUT_TO
            if self.rate is not None:
                rate = min(rate, self.rate * _CUT_TO)
            # One refusal while little was sent says nothing about how much could be.
            self.rate = max(rate, min(_SLOWEST, self.limit or _SLOWEST))
        self._cut_at = self._grown_at = now

    def wait(self, now: float) -> float:
        """Seconds of silence that the carrier's last refusal asks for."""
        return max(self._held_until - now, 0.0)

    def grow(self, now: float) -> bool:
        """Let the rate grow for the time that has gone; True when it changed."""
        if self.rate is None or self.rate == self.limit:
            return False
        elapsed = now - self._grown_at
        if elapsed < _GROW_EVERY:
            return False
        doublings = int((now - self._cut_at) / _PATIENCE) if self._cut_at > -math.inf else 0
        growth = min(_FIRST_GROWTH * 2 ** min(doublings, 10), _FASTEST_GROWTH)
        rate = self.rate + max(self.rate * growth, _LEAST_GROWTH) * min(elapsed, 1.0)
        self._grown_at = now
        if self.limit is not None:
            self.rate = min(rate, self.limit)
        else:
            self.rate = None if rate > _FORGOTTEN else rate
        return True
