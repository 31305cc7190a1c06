"""How much of one tenant's is taken at the providers' door."""

from __future__ import annotations

import pytest

from adapters.wasm.installed import Unread
from domain.limits import Cap
from handlers.api.problems import Problem
from handlers.unread import MOST_UNREAD
from handlers.webhooks.limits import WebhookLimits

KIB = 1024


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def refused(limits, *given):
    with pytest.raises(Problem) as problem:
        limits.take(*given)
    assert (problem.value.code, problem.value.status) == ("too_many_webhooks", 429)
    return int(problem.value.headers["Retry-After"])


def test_a_flood_is_one_tenants_wait(clock):
    limits = WebhookLimits(posts=Cap(count=10, seconds=20.0), clock=clock)
    for number in range(10):
        limits.take("alice", f"adapter{number % 3}", 100)
    assert refused(limits, "alice", "sms", 100) == 2
    limits.take("bob", "sms", 100)
    clock.now += 2
    limits.take("alice", "sms", 100)
    assert refused(limits, "alice", "sms", 100) == 2


def test_large_ones_count_by_their_size(clock):
    limits = WebhookLimits(octets=Cap(count=8, seconds=8.0), clock=clock)
    limits.take("alice", "mail", 320 * KIB)
    assert refused(limits, "alice", "mail", 256 * KIB) == 1
    # What was refused has taken nothing.
    limits.take("alice", "mail", 192 * KIB)
    assert refused(limits, "alice", "mail", 64 * KIB) == 1
    limits.take("alice", "mail", 63 * KIB)
    limits.take("bob", "mail", 512 * KIB)
    clock.now += 8
    limits.take("alice", "mail", 512 * KIB)


def test_what_is_refused_for_its_size_is_not_counted(clock):
    caps = {"posts": Cap(count=2, seconds=60.0), "octets": Cap(count=1, seconds=60.0)}
    limits = WebhookLimits(**caps, clock=clock)
    limits.take("alice", "mail", 64 * KIB)
    refused(limits, "alice", "mail", 64 * KIB)
    limits.take("alice", "mail", 1)
    refused(limits, "alice", "mail", 1)


# waiting, given up, whether another is taken
UNREAD = [
    (MOST_UNREAD - 1, 0, True),
    (MOST_UNREAD, 0, False),
    (5 * MOST_UNREAD, 0, False),
    (0, 5 * MOST_UNREAD, True),
]


@pytest.mark.parametrize(("waiting", "given_up", "taken"), UNREAD)
def test_what_an_adapter_cannot_read_waits_with_its_provider(clock, waiting, given_up, taken):
    unread = {("alice", "own"): Unread(waiting, given_up)}
    limits = WebhookLimits(lambda: unread, clock=clock)
    if taken:
        limits.take("alice", "own", 100)
    else:
        assert refused(limits, "alice", "own", 100) == 60
    limits.take("alice", "other", 100)
    limits.take("bob", "own", 100)
