"""How much of what comes is taken: a rate, or an evenly spread share."""

import time
from collections.abc import Callable


class TokenBucket:
    """So many a second, and so many seconds' worth of it at once."""

    def __init__(
        self, rate: float, burst_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Not the loop's clock: that stands still while what piled up meanwhile is read.
        self._clock = clock
        self.set(rate, burst_s)

    def set(self, rate: float, burst_s: float) -> None:
        """Start over, full. A rate of 0 takes everything; at least one is taken at once."""
        self._rate = rate
        self._burst = max(1.0, rate * burst_s)
        self._tokens = self._burst
        self._counted_at = self._clock()

    def takes(self) -> bool:
        """Whether the next one is taken."""
        if not self._rate:
            return True
        now = self._clock()
        earned = (now - self._counted_at) * self._rate
        self._tokens = min(self._burst, self._tokens + earned)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Share:
    """Which of many are meant when a fraction of them is: evenly spread, the same every time."""

    def __init__(self) -> None:
        self._due = 0.0

    def takes(self, fraction: float) -> bool:
        """Whether the next one is meant. 0.25 means each fourth."""
        self._due += fraction
        # As many additions of 0.1 as make 1 fall short of it by a rounding error.
        if self._due < 1 - 1e-9:
            return False
        self._due -= 1
        return True
