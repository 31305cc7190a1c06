"""The token bucket, and what the adaptive rate makes of carriers that throttle: on a clock of our
own."""

import heapq
import itertools
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smpp.flow.rate import BURST, AdaptiveRate, TokenBucket

# Token bucket

waits = st.lists(
    st.tuples(st.sampled_from(["sleep", "take"]), st.floats(0, 2)), min_size=1, max_size=200
)


@given(rate=st.floats(0.1, 10_000), steps=waits)
def test_never_more_than_the_rate_and_a_burst_over_any_interval(rate, steps):
    bucket, now, taken = TokenBucket(rate, 0.0), 0.0, []
    for step, seconds in steps:
        if step == "sleep":
            now += seconds
        elif bucket.wait(now) == 0:
            bucket.take(1)
            taken.append(now)
    burst = max(1.0, rate * BURST)
    for first, last in itertools.combinations_with_replacement(range(len(taken)), 2):
        assert last - first + 1 <= rate * (taken[last] - taken[first]) + burst + 1e-6


@given(rate=st.floats(0.1, 10_000), spent=st.integers(0, 2_000))
def test_wait_says_when_the_next_token_is_there(rate, spent):
    bucket = TokenBucket(rate, 0.0)
    bucket.take(spent)
    wait = bucket.wait(0.0)
    assert bucket.wait(wait * 0.999) > 0 or wait == 0
    assert bucket.wait(wait + 1e-9) <= 1e-9


def test_parts_of_one_message_go_together_and_the_next_waits():
    bucket = TokenBucket(10, 0.0)
    assert bucket.wait(0.0) == 0
    bucket.take(5)
    assert bucket.wait(0.0) == pytest.approx(0.5)
    bucket.give_back(3)
    assert bucket.wait(0.0) == pytest.approx(0.2)


def test_tokens_that_come_back_are_no_larger_burst():
    bucket = TokenBucket(100, 0.0)
    bucket.give_back(1000)
    bucket.take(5)
    assert bucket.wait(0.0) == pytest.approx(0.01)


def test_what_went_through_without_a_limit_is_not_owed():
    bucket = TokenBucket(10, 0.0)
    bucket.set_rate(None, 0.0)
    for _ in range(1000):
        assert bucket.wait(0.0) == 0
        bucket.take(1)
    bucket.set_rate(10, 1.0)
    assert bucket.wait(1.0) == 0


def test_a_lower_rate_keeps_no_burst_of_the_higher_one():
    bucket = TokenBucket(1000, 0.0)
    bucket.set_rate(10, 0.0)
    bucket.take(1)
    assert bucket.wait(0.0) == pytest.approx(0.1)


def test_an_empty_bucket_starts_from_nothing():
    bucket = TokenBucket(100, 0.0)
    bucket.empty()
    assert bucket.wait(0.0) == pytest.approx(0.01)


# Carriers that throttle


class Bucket:
    """A carrier that throttles by a token bucket, as our simulator does."""

    def __init__(self, rate, burst_s):
        self.rate = rate
        self._capacity = max(1.0, rate * burst_s)
        self._tokens = self._capacity
        self._at = 0.0

    def takes(self, now):
        earned = (now - self._at) * self.rate
        self._tokens, self._at = min(self._capacity, self._tokens + earned), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Second:
    """A carrier that counts, from nought in each second of its clock."""

    def __init__(self, rate):
        self.rate = rate
        self._second, self._count = -1, 0

    def takes(self, now):
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        if self._count >= self.rate:
            return False
        self._count += 1
        return True


@dataclass
class Flow:
    """What `run` saw."""

    accepted: int = 0
    refused: int = 0


@dataclass
class Stall:
    """A moment in which one side does nothing, while what comes to it piles up."""

    whose: str
    begins: float
    seconds: float


class Sender:
    """A flood through an AdaptiveRate and its bucket, as a carrier has them."""

    def __init__(self, smsc, *, limit, window=50, rtt=0.005, began=0.0, stalls=()):
        self.stalls = list(stalls)
        self.smsc, self.window, self.rtt, self.now = smsc, window, rtt, began
        self.adaptive = AdaptiveRate(limit, began)
        self.bucket = TokenBucket(limit, began)
        self._events, self._number, self._in_flight = [], itertools.count(), 0
        self._carrier_until = 0.0

    def run(self, seconds):
        end, flow = self.now + seconds, Flow()
        while self.now < end:
            if self.stalls and self.stalls[0].begins <= self.now:
                self._stands_still(self.stalls.pop(0))
            if self.adaptive.grow(self.now):
                self.bucket.set_rate(self.adaptive.pace, self.now)
            room = min(self.window, self.adaptive.room or self.window)
            while self._in_flight < room and self.bucket.wait(self.now) == 0:
                self.bucket.take(1)
                self._in_flight += 1
                self._at(self.now + self.rtt / 2, "arrives", self.now)
            wakes = [self._events[0][0]] if self._events else []
            if self._in_flight < room:
                wakes.append(self.now + self.bucket.wait(self.now))
            self.now = max(min(wakes), self.now + 1e-6)
            while self._events and self._events[0][0] <= self.now:
                self._happens(flow, *heapq.heappop(self._events)[2:])
        return flow

    def _stands_still(self, stall):
        if stall.whose == "ours":
            self.now += stall.seconds
            return
        until = self.now + stall.seconds
        late = [
            (max(when, until) if what == "arrives" else when, number, what, sent_at)
            for when, number, what, sent_at in self._events
        ]
        self._carrier_until = until
        heapq.heapify(late)
        self._events = late

    def _at(self, when, what, sent_at):
        if what == "arrives":
            when = max(when, self._carrier_until)
        heapq.heappush(self._events, (when, next(self._number), what, sent_at))

    def _happens(self, flow, what, sent_at):
        if what == "arrives":
            answer = "accepted" if self.smsc.takes(self.now) else "refused"
            self._at(self.now + self.rtt / 2, answer, sent_at)
            return
        self._in_flight -= 1
        if what == "accepted":
            flow.accepted += 1
            changed = self.adaptive.accepted(self.now, sent_at)
        else:
            flow.refused += 1
            if changed := self.adaptive.throttled(self.now, sent_at):
                self.bucket.empty()
        if changed:
            self.bucket.set_rate(self.adaptive.pace, self.now)


SMSCS = {
    "bucket of 0.1 s": lambda: Bucket(200, 0.1),
    "bucket of 1 s": lambda: Bucket(200, 1.0),
    "counts by the second": lambda: Second(200),
}


@pytest.mark.parametrize(("window", "rtt"), [(10, 0.005), (50, 0.005), (50, 0.05), (100, 0.1)])
@pytest.mark.parametrize("limit", [None, 1000, 250, 200])
@pytest.mark.parametrize("smsc", SMSCS)
@pytest.mark.parametrize("began", [0.0, 0.7])
def test_goodput_and_rejects_from_the_first_second(smsc, limit, window, rtt, began):
    sender = Sender(SMSCS[smsc](), limit=limit, window=window, rtt=rtt, began=began)
    flow = sender.run(60)
    assert flow.accepted >= 0.95 * 200 * 60
    assert flow.refused <= 0.02 * (flow.accepted + flow.refused)


@pytest.mark.parametrize("smsc", SMSCS)
@pytest.mark.parametrize("whose", ["ours", "the carrier's"])
@pytest.mark.parametrize("seconds", [0.05, 0.15])
def test_goodput_of_what_stalls_leave(smsc, whose, seconds):
    """What either side could not do while it stood still is lost, and little more."""
    rng = random.Random(seconds)
    begins = itertools.accumulate(rng.expovariate(1 / 2) + seconds for _ in range(60))
    stalls = [Stall(whose, begin, seconds) for begin in begins]
    flow = Sender(SMSCS[smsc](), limit=None, stalls=stalls).run(60)
    stood_still = sum(s.seconds for s in stalls if s.begins < 60)
    assert flow.accepted >= 0.95 * 200 * (60 - stood_still)
    assert flow.refused <= 0.02 * (flow.accepted + flow.refused)


def test_a_carrier_with_no_burst_at_all_is_used_nevertheless():
    """Each part that comes a moment early is refused."""
    flow = Sender(Bucket(200, 0.0), limit=None).run(60)
    assert flow.accepted >= 0.8 * 200 * 60
    assert flow.refused <= 0.02 * (flow.accepted + flow.refused)


@pytest.mark.parametrize("limit", [None, 1000])
def test_what_the_carrier_takes_more_again_is_found_again(limit):
    """Throttled to 50 for half a minute, then 500."""
    smsc = Bucket(50, 0.1)
    sender = Sender(smsc, limit=limit)
    sender.run(30)
    assert sender.adaptive.rate == pytest.approx(50, rel=0.1)
    smsc.rate, smsc._capacity = 500, 50
    sender.run(30)
    flow = sender.run(10)
    assert flow.accepted >= 0.95 * 500 * 10


def test_the_rate_comes_back_to_the_limit_and_stays_there():
    smsc = Bucket(50, 0.1)
    sender = Sender(smsc, limit=200)
    sender.run(20)
    smsc.rate, smsc._capacity = 10_000, 1000
    sender.run(30)
    assert sender.adaptive.rate == 200
    assert sender.run(10).accepted == pytest.approx(2000, rel=0.01)


def test_a_carrier_that_slows_down_is_followed_within_seconds():
    smsc = Bucket(1000, 0.1)
    sender = Sender(smsc, limit=1000)
    sender.run(10)
    smsc.rate, smsc._capacity = 100, 10
    sender.run(3)
    assert sender.adaptive.rate == pytest.approx(100, rel=0.15)


def test_a_full_queue_is_asked_rarely_and_left_as_fast_as_it_was_entered():
    """ESME_RMSGQFUL for half a minute, whatever the rate."""
    smsc = Bucket(1000, 0.1)
    sender = Sender(smsc, limit=300)
    sender.run(5)
    smsc.takes, takes = (lambda now: False), smsc.takes
    closed = sender.run(30)
    assert closed.refused <= 50
    smsc.takes = takes
    sender.run(2)
    assert sender.run(10).accepted >= 0.8 * 300 * 10


@pytest.mark.parametrize(("limit", "left"), [(None, 95), (500, 240)])
def test_one_refusal_in_low_traffic_does_not_strangle_it(limit, left):
    adaptive = AdaptiveRate(limit, 0.0)
    for second in range(10):
        adaptive.accepted(float(second), float(second))
    assert adaptive.throttled(10.0, 9.9)
    adaptive.accepted(10.1, 10.1)
    assert adaptive.rate >= left


def test_the_rate_is_forgotten_without_refusals():
    adaptive = AdaptiveRate(None, 0.0)
    adaptive.throttled(0.0, 0.0)
    adaptive.accepted(0.1, 0.1)
    now = 0.0
    while adaptive.rate is not None:
        now += 0.5
        adaptive.grow(now)
        assert now < 60


# Limits


def test_refusals_of_what_was_sent_before_the_cut_do_not_count():
    adaptive = AdaptiveRate(100, 0.0)
    for n in range(100):
        adaptive.accepted(n / 100, n / 100)
    assert adaptive.throttled(1.0, 0.95)
    rate = adaptive.rate
    assert not any(adaptive.throttled(1.01, 0.96) for _ in range(50))
    assert adaptive.rate == rate
    assert adaptive.throttled_count == 51


def test_after_a_refusal_one_part_asks_and_the_first_that_is_taken_ends_it():
    adaptive = AdaptiveRate(100, 0.0)
    assert not adaptive.accepted(0.5, 0.5)
    paces = []
    for second in range(1, 8):
        adaptive.throttled(float(second), float(second))
        paces.append(adaptive.pace)
    assert paces == sorted(paces, reverse=True)
    assert paces[-1] == 1
    assert adaptive.accepted(9.0, 9.0)
    assert adaptive.pace == adaptive.rate
    assert not adaptive.accepted(9.1, 9.1)


@pytest.mark.parametrize(
    ("old", "learned", "new", "rate"),
    [
        (100, False, 200, 200),
        (100, False, 50, 50),
        (100, False, None, None),
        (None, False, 70, 70),
        (100, True, 200, "learned"),
        (100, True, None, "learned"),
        (100, True, 20, 20),
        (None, True, 20, 20),
    ],
)
def test_set_limit(old, learned, new, rate):
    adaptive = AdaptiveRate(old, 0.0)
    if learned:
        adaptive.accepted(0.0, 0.0)
        adaptive.throttled(0.5, 0.4)
        adaptive.accepted(0.6, 0.6)
        assert adaptive.rate not in (old, None)
    before = adaptive.rate
    adaptive.set_limit(new, 1.0)
    assert adaptive.rate == (before if rate == "learned" else rate)


def test_no_limit_lets_everything_through():
    adaptive = AdaptiveRate(None, 0.0)
    assert adaptive.rate is adaptive.pace is None
    assert TokenBucket(None, 0.0).wait(0.0) == 0
    assert not adaptive.grow(math.inf)


def test_measured_is_of_the_last_second():
    adaptive = AdaptiveRate(None, 0.0)
    for n in range(300):
        adaptive.accepted(n / 100, n / 100)
    assert adaptive.measured(2.995) == 100
    assert adaptive.measured(3.495) == pytest.approx(50, abs=1)
    assert adaptive.measured(10.0) == 0
