"""How fast to submit: a token bucket, and a rate that learns from a carrier's refusals.

Pure: the time comes from the caller, in seconds of any clock that only goes forwards.
"""

from __future__ import annotations

import math
from collections import deque

BURST = 0.05
"""Seconds' worth of tokens that a bucket holds: a half of what carriers are known to count over,
and large enough that timers are not armed for every message."""

_MEASURED_OVER = 1.0
_PEAK_OVER = 0.1
_RECENT = 2.0
_CUT_TO = 0.97
_THIN = 10
"""Parts below which an estimate is more noise than signal."""
_THIN_CUT_TO = 0.7
_UNUSED = 0.5
_SLOWEST = 10.0
_FIRST_GUESS = 100.0
_LEAST_GROWTH = 2.0
_FIRST_HOLD, _LONGEST_HOLD = 0.05, 1.0
_GROW_EVERY = 0.1
_PATIENCE = 5.0
_LEAST_LEFT = 0.9
_BACK_TO, _BACK_IN = 0.97, 1.5
_LAST_PARTS, _FEW_REFUSED = 2_000, 0.008
_RTT_WEIGHT = 1 / 16
_STALL = 0.03
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
        if self._rate is None:
            # What went through without a limit is not owed.
            self._tokens = math.inf
        self._rate = rate
        self._tokens = min(self._tokens, self._capacity())

    def empty(self) -> None:
        """Lose the tokens that are there: no burst may come next."""
        self._tokens = min(self._tokens, 0.0)

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
    carrier is known to take. A carrier that refuses has nothing left to give, so between two
    refusals it took exactly what its rate allows: there is no need to fall further and to lose a
    half of what it would have carried. After a refusal that came out of the blue, the bound is
    what it took at its peak, and no less than a half of what was allowed: a burst, or one refusal
    while little is sent, does not say how much could be. And after each refusal single parts ask,
    ever more rarely, until one is taken: a carrier that counts by the second refuses everything
    until its second is over.

    A refusal may come of a moment in which one side stood still, and what had piled up went at
    once. So the first one for a second takes a tenth at most, the rate is soon back at where it
    was refused, halfway there if it is refused on the way, and no more is in flight than the rate
    needs: `room`. All of that as long as refusals are few: it costs some.

    From there growth begins at 1 % a second, at least 2 parts a second, and doubles after every
    5 s without a refusal: probing an old limit is gentle, forgetting one is quick.
    """

    def __init__(self, limit: float | None, now: float) -> None:
        self.limit = limit
        self.rate = limit
        """What it is believed to take a second, None without any limit."""
        self.throttled_count = 0
        self._accepted: deque[tuple[float, int]] = deque()
        self._accepted_sum = 0
        self._since_cut = 0
        self._cut_at = -math.inf
        self._exhausted_at = -math.inf
        self._grown_at = now
        self._hold = _FIRST_HOLD
        self._asking = False
        self._refused_at = 0.0
        self._round_trip = 0.0
        self._refused_share = 0.0

    @property
    def room(self) -> int | None:
        """Parts that may be in flight while a refusal is remembered, None without a bound."""
        if self.rate is None or self.rate == self.limit:
            return None
        return max(math.ceil(self.rate * (2 * self._round_trip + _STALL)), 2)

    @property
    def _few_refused(self) -> bool:
        return self._refused_share < _FEW_REFUSED

    @property
    def pace(self) -> float | None:
        """What to submit a second now, None without any limit."""
        if self._asking:
            return min(1 / self._hold, self.rate or math.inf)
        return self.rate

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

    def accepted(self, now: float, sent_at: float) -> bool:
        """The carrier took a part that was sent at `sent_at`; True when that changes the pace."""
        # One answer that was held up is not what answers take.
        took = min(now - sent_at, 4 * self._round_trip + 0.01)
        self._round_trip += (took - self._round_trip) * _RTT_WEIGHT
        self._refused_share -= self._refused_share / _LAST_PARTS
        self._accepted_sum += 1
        self._since_cut += 1
        # One entry a centisecond, however fast.
        if self._accepted and now - self._accepted[-1][0] < 0.01:
            at, count = self._accepted[-1]
            self._accepted[-1] = (at, count + 1)
        else:
            self._accepted.append((now, 1))
            self.measured(now)
        if not self._asking:
            return False
        self._asking = False
        if self._hold == _FIRST_HOLD:
            # Taken at the first try: it counts by a bucket, which may have been full meanwhile.
            # Otherwise by a period, which had to end, and what it takes is of a whole one.
            self._exhausted_at = now
        return True

    def throttled(self, now: float, sent_at: float) -> bool:
        """The carrier refused a part that was sent at `sent_at`; True when that changes the pace.

        What had been sent before the last cut says nothing about the rate after it.
        """
        self.throttled_count += 1
        self._refused_share += (1 - self._refused_share) / _LAST_PARTS
        if sent_at < self._cut_at:
            return False
        if self._since_cut or self.rate is None:
            reduced = self._reduced(now)
            self._hold = _FIRST_HOLD
            self._exhausted_at = now
            slowest = _SLOWEST if self.limit is None else min(_SLOWEST, self.limit)
            if self.rate is None or not self._refused_at:
                self._refused_at = reduced
            else:
                if now - self._cut_at > _MEASURED_OVER and self._few_refused:
                    reduced = max(reduced, self.rate * _LEAST_LEFT)
                self._refused_at = (max(self._refused_at, self.rate) + self.rate) / 2
            self.rate = max(reduced, slowest)
        else:
            # Refused again although nothing was taken since: it wants silence, not another rate.
            self._hold = min(self._hold * 2, _LONGEST_HOLD)
        self._cut_at = self._grown_at = now
        self._since_cut = 0
        self._asking = True
        return True

    def _reduced(self, now: float) -> float:
        """The rate after a refusal."""
        since = now - self._exhausted_at
        if since < _RECENT:
            known = self._since_cut / max(since, 0.001)
            if self.rate is not None and self._since_cut < _THIN:
                known = max(known, self.rate * _THIN_CUT_TO)
            if since >= _MEASURED_OVER:
                # Asking took some of that time, and nothing was taken in it.
                known = max(known, self.measured(now))
        else:
            known = self.measured(now)
            if self.rate is None or known < self.rate * _UNUSED:
                floor = _FIRST_GUESS if self.rate is None else self.rate * _UNUSED
                known = max(known, self._peak(now), floor)
        return (known if self.rate is None else min(known, self.rate)) * _CUT_TO

    def _peak(self, now: float) -> float:
        """The speed at which the last burst was accepted."""
        last = sum(count for at, count in self._accepted if at > now - _PEAK_OVER)
        return last / _PEAK_OVER

    def grow(self, now: float) -> bool:
        """Let the rate grow for the time that has gone; True when it changed."""
        if self.rate is None or self.rate == self.limit or self._asking:
            return False
        elapsed = now - self._grown_at
        if elapsed < _GROW_EVERY:
            return False
        doublings = int((now - self._cut_at) / _PATIENCE) if self._cut_at > -math.inf else 0
        growth = min(_FIRST_GROWTH * 2 ** min(doublings, 10), _FASTEST_GROWTH)
        back = (self._refused_at * _BACK_TO - self.rate) / _BACK_IN if self._few_refused else 0.0
        rate = self.rate + max(self.rate * growth, _LEAST_GROWTH, back) * min(elapsed, 1.0)
        self._grown_at = now
        if self.limit is not None:
            self.rate = min(rate, self.limit)
        else:
            self.rate = None if rate > _FORGOTTEN else rate
        return True
