"""A bucket lets through what its cap says, tells exactly when there is room, and has an end."""

from __future__ import annotations

import random

import pytest

from adapters.limits.buckets import Buckets
from domain.limits import Cap

CAPS = [Cap(1, 1.0), Cap(5, 3600.0), Cap(100, 1.0), Cap(7, 3.0), Cap(20_000, 60.0)]


@pytest.mark.parametrize("cap", CAPS, ids=str)
def test_a_full_bucket_gives_its_count_at_once_and_no_more(cap):
    buckets: Buckets[str] = Buckets()
    taken = min(cap.count, 10_000)
    assert all(buckets.take("a", cap, 1e6) == 0 for _ in range(taken))
    assert buckets.left("a", cap, 1e6) == cap.count - taken
    if taken == cap.count:
        assert buckets.take("a", cap, 1e6) > 0
    assert buckets.take("b", cap, 1e6) == 0


@pytest.mark.parametrize("cap", CAPS[:4], ids=str)
def test_the_wait_is_exact(cap):
    buckets: Buckets[str] = Buckets()
    now = 1e6
    for _ in range(cap.count):
        buckets.take("a", cap, now)
    wait = buckets.take("a", cap, now)
    assert wait == pytest.approx(cap.interval, rel=1e-6)
    assert buckets.take("a", cap, now + wait * 0.99) > 0
    assert buckets.take("a", cap, now + wait) == 0
    assert buckets.take("a", cap, now + wait) == pytest.approx(cap.interval, rel=1e-6)


def test_who_is_refused_does_not_wait_longer_for_it():
    buckets: Buckets[str] = Buckets()
    cap = Cap(2, 10.0)
    waits = [buckets.take("a", cap, 0.0) for _ in range(50)]
    assert waits[:2] == [0, 0]
    assert set(waits[2:]) == {5.0}


def test_what_is_given_back_can_be_taken_again():
    buckets: Buckets[str] = Buckets()
    cap = Cap(2, 10.0)
    buckets.take("a", cap, 0.0)
    buckets.take("a", cap, 0.0)
    buckets.give_back("a", cap)
    assert [buckets.take("a", cap, 0.0) == 0 for _ in range(2)] == [True, False]
    buckets.give_back("nobody", cap)
    assert buckets.left("nobody", cap, 0.0) == 2


def test_over_a_long_time_the_rate_is_the_caps():
    rng = random.Random(1)
    buckets: Buckets[str] = Buckets()
    cap = Cap(10, 1.0)
    now, passed = 0.0, 0
    while now < 100:
        passed += buckets.take("a", cap, now) == 0
        now += rng.random() / 50
    assert 1_000 <= passed <= 1_011


def test_memory_has_an_end_and_the_longest_unused_goes():
    buckets: Buckets[int] = Buckets(most=100)
    cap = Cap(1, 1e6)
    for name in range(1_000):
        assert buckets.take(name, cap, float(name)) == 0
        assert name < 50 or buckets.take(name - 50, cap, float(name)) > 0
    assert len(buckets) == 100
    assert buckets.take(999, cap, 1_000.0) > 0
    assert buckets.take(0, cap, 1_000.0) == 0
