"""How well the ways to a country have worked of late: deliveries and their time, in a window.

A country is its calling code here, which a receipt tells without a look-up.

Counted by when a message was submitted, in buckets of two minutes over half an hour; a bucket's
weight halves every five minutes, so that a way that breaks is left within a minute or two of
traffic, and one that was bad is given another chance once its past has faded. What was submitted
and never reported on counts as not delivered when its bucket is old enough: a way that swallows
messages looks as bad as one that refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from domain.failures import POLICIES, FailureCode, Fault
from domain.message import Category

BUCKET: Final = 120
"""Seconds of a bucket."""
WINDOW: Final = 15 * BUCKET
_HALF_LIFE: Final = 300.0
_REPORTED_AFTER: Final = 180.0
"""Seconds after the end of a bucket from which on missing reports count."""
_PRIOR_RATE: Final = 0.95
_PRIOR_LATENCY: Final = 5.0
_PRIOR_WEIGHT: Final = 10.0
"""What is assumed of a way before it is known, as strongly as so many messages."""
_LONGEST: Final = 600.0
"""Seconds of latency beyond which it makes no difference: phones are off for hours."""
_TRACKED: Final = 20_000
"""Buckets that are kept; the oldest go first."""
_SLOW: Final = 60.0
_LATENESS: Final = {Category.OTP: 0.3}
_LATENESS_ELSE: Final = 0.1
"""How much of the score a latency of a minute or more costs."""


class Outcome(Enum):
    """What a way's report means for its quality."""

    DELIVERED = "delivered"
    FAILED = "failed"
    NEUTRAL = "neutral"  # it says nothing of the way


def outcome_of(code: FailureCode) -> Outcome:
    """What a failure says of the way. An address that does not exist, a sender or a text that is
    not allowed would fail on any; a phone that cannot be reached is what bad ways say, too."""
    if code in (FailureCode.RECIPIENT_UNREACHABLE, FailureCode.RECIPIENT_EXPIRED):
        return Outcome.FAILED
    if code is FailureCode.PROVIDER_THROTTLED:
        return Outcome.NEUTRAL
    return Outcome.FAILED if POLICIES[code].fault is Fault.PROVIDER else Outcome.NEUTRAL


class Count(NamedTuple):
    """One bucket of one way to one country. `latency` is the sum over the delivered, in
    milliseconds."""

    way: str
    country: str
    bucket: int
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    latency: int = 0


class Estimate(NamedTuple):
    """How good a way is: the share that is delivered, seconds until then, and how much stands
    behind it, in messages, each weighted by its age."""

    rate: float
    latency: float
    seen: float

    def score(self, category: Category) -> float:
        """Both in one number up to 1, the higher the better. One-time passwords want to be
        quick."""
        lateness = _LATENESS.get(category, _LATENESS_ELSE)
        return self.rate - lateness * min(self.latency, _SLOW) / _SLOW


UNKNOWN: Final = Estimate(_PRIOR_RATE, _PRIOR_LATENCY, 0.0)
"""Of a way that has carried nothing to a country of late."""


class _Bucket:
    __slots__ = ("delivered", "failed", "latency", "sent")

    def __init__(self) -> None:
        self.sent = self.delivered = self.failed = self.latency = 0

    def add(self, count: Count) -> None:
        self.sent += count.sent
        self.delivered += count.delivered
        self.failed += count.failed
        self.latency += count.latency


_Place = tuple[str, str]
_Buckets = dict[_Place, dict[int, _Bucket]]


class Quality:
    """The window of one process: what it counts itself, and what it is told others have.

    All times are seconds since the epoch. What it has counted is `take`n to be shared with other
    processes; what all of them have shared comes back by `learn`.
    """

    def __init__(self) -> None:
        self._known: _Buckets = {}
        self._untold: _Buckets = {}
        self._kept = self._pending = 0
        self._open: dict[tuple[str, str, int], tuple[_Bucket, _Bucket]] = {}
        self._estimates: dict[_Place, Estimate] = {}
        self._estimated_at = 0
        self._weights: dict[int, tuple[float, bool]] = {}

    def sent(self, way: str, country: str, at: float) -> None:
        """A message was handed over."""
        for bucket in self._buckets(way, country, at):
            bucket.sent += 1

    def delivered(self, way: str, country: str, sent_at: float, at: float) -> None:
        """One that was handed over at `sent_at` has arrived."""
        latency = int(1000 * min(max(at - sent_at, 0.0), _LONGEST))
        for bucket in self._buckets(way, country, sent_at):
            bucket.delivered += 1
            bucket.latency += latency

    def failed(self, way: str, country: str, sent_at: float) -> None:
        """One that was handed over at `sent_at`, or refused then, does not arrive."""
        for bucket in self._buckets(way, country, sent_at):
            bucket.failed += 1

    def take(self) -> list[Count]:
        """What was counted here since the last time, to be shared."""
        untold, self._untold, self._pending = self._untold, {}, 0
        self._open.clear()
        return [
            Count(*place, number, b.sent, b.delivered, b.failed, b.latency)
            for place, buckets in untold.items()
            for number, b in buckets.items()
        ]

    def put_back(self, counts: Iterable[Count]) -> None:
        """What was taken could not be shared: it is to be taken again."""
        for count in counts:
            _add(self._untold, count)

    def learn(self, counts: Iterable[Count]) -> None:
        """All that has been shared, by this process and others; it stands in the place of what was
        known before. What was not taken yet counts in addition."""
        self._known, self._kept = {}, 0
        self._open.clear()
        self._estimates.clear()
        for count in counts:
            self._keep(count)
        for place, buckets in self._untold.items():
            for number, b in buckets.items():
                self._keep(Count(*place, number, b.sent, b.delivered, b.failed, b.latency))

    def of(self, way: str, country: str, now: float) -> Estimate:
        """How good a way to a country is; `country` is "" where addresses have none. New at most
        once a second."""
        second = int(now)
        if second != self._estimated_at:
            self._estimates.clear()
            self._estimated_at = second
            self._weights = _weights(now)
        place = (way, country)
        estimate = self._estimates.get(place)
        if estimate is None:
            buckets = self._known.get(place)
            estimate = UNKNOWN if buckets is None else _estimate(buckets, self._weights)
            self._estimates[place] = estimate
        return estimate

    def ways(self) -> list[_Place]:
        """The ways and countries of which something is known."""
        return list(self._known)

    def _buckets(self, way: str, country: str, at: float) -> tuple[_Bucket, _Bucket]:
        """Where something is counted: in what is to be told, and in what is known."""
        key = (way, country, int(at // BUCKET))
        found = self._open.get(key)
        if found is None:
            empty = Count(*key)
            self._pending += _add(self._untold, empty)
            if self._pending > _TRACKED:
                # Nobody takes it.
                self._untold, self._pending = {}, 0
                self._open.clear()
                _add(self._untold, empty)
            self._keep(empty)
            place, number = key[:2], key[2]
            found = (self._untold[place][number], self._known[place][number])
            self._open[key] = found
        return found

    def _keep(self, count: Count) -> None:
        if self._kept >= _TRACKED:
            self._forget(count.bucket - WINDOW // BUCKET)
            self._open.clear()
        self._kept += _add(self._known, count)

    def _forget(self, oldest: int) -> None:
        """Drop what is beyond the window; if that is not enough, the ways not used for longest."""
        for place in list(self._known):
            kept = {n: b for n, b in self._known[place].items() if n >= oldest}
            if kept:
                self._known[place] = kept
            else:
                del self._known[place]
        self._kept = sum(map(len, self._known.values()))
        by_last = sorted(self._known, key=lambda place: max(self._known[place]))
        for place in by_last:
            # Some more than needed: sorting is not for every message.
            if self._kept < _TRACKED * 9 // 10:
                break
            self._kept -= len(self._known.pop(place))


def _add(to: _Buckets, count: Count) -> bool:
    """Add it; True when it needed a bucket that was not there."""
    buckets = to.get((count.way, count.country))
    if buckets is None:
        buckets = to[count.way, count.country] = {}
    bucket = buckets.get(count.bucket)
    new = bucket is None
    if bucket is None:
        bucket = buckets[count.bucket] = _Bucket()
    bucket.add(count)
    return new


def _weights(now: float) -> dict[int, tuple[float, bool]]:
    """What each bucket of the window counts, and whether its missing reports do."""
    newest = int(now // BUCKET)
    found = {newest + 1: (1.0, False)}  # another process's clock may be ahead
    for number in range(newest, newest - WINDOW // BUCKET, -1):
        age = now - (number + 1) * BUCKET
        weight = 0.5 ** (age / _HALF_LIFE) if age > 0 else 1.0
        found[number] = (weight, age > _REPORTED_AFTER)
    return found


def _estimate(buckets: dict[int, _Bucket], weights: dict[int, tuple[float, bool]]) -> Estimate:
    seen = arrived = late = 0.0
    for number, bucket in buckets.items():
        counts = weights.get(number)
        if counts is None:
            continue
        weight, mature = counts
        reported = bucket.delivered + bucket.failed
        # A report may be known without its submission: a process that died had that.
        seen += weight * (max(bucket.sent, reported) if mature else reported)
        arrived += weight * bucket.delivered
        late += weight * bucket.latency
    return Estimate(
        (arrived + _PRIOR_RATE * _PRIOR_WEIGHT) / (seen + _PRIOR_WEIGHT),
        (late / 1000 + _PRIOR_LATENCY * _PRIOR_WEIGHT) / (arrived + _PRIOR_WEIGHT),
        seen,
    )
