"""Who goes next, and that nobody pays for what was not given."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smpp.flow.fairness import FairQueue


def served(queue, count=None):
    """The next items, in order."""
    return [queue.pop() for _ in range(len(queue) if count is None else count)]


def filled(*items):
    """A queue of (tenant, priority, how many)."""
    queue = FairQueue()
    for tenant, priority, count in items:
        for number in range(count):
            queue.push(f"{tenant}{number}", priority=priority, tenant=tenant)
    return queue


CASES = [
    # what was pushed, in this order; who is served
    ([("a", 1, 3)], "a0 a1 a2"),
    ([("a", 1, 3), ("b", 1, 2)], "a0 b0 a1 b1 a2"),
    ([("a", 1, 2), ("b", 0, 2)], "b0 b1 a0 a1"),
    ([("a", 2, 2), ("b", 1, 1), ("c", 2, 1), ("d", 0, 1)], "d0 b0 a0 c0 a1"),
]


@pytest.mark.parametrize(("pushed", "order"), CASES)
def test_order(pushed, order):
    assert served(filled(*pushed)) == order.split()


def test_a_tenant_with_one_message_waits_for_one_turn():
    queue = filled(("bulk", 1, 10_000))
    served(queue, 500)
    queue.push("other", priority=1, tenant="other")
    assert "other" in served(queue, 2)


def test_who_was_away_has_saved_up_nothing():
    queue = filled(("a", 1, 100), ("b", 1, 1))
    served(queue, 51)
    for number in range(50):
        queue.push(f"b{number}", priority=1, tenant="b")
    shares = Counter(item[0] for item in served(queue, 20))
    assert shares["a"] == pytest.approx(10, abs=1)


def test_weight_is_how_much_of_the_service_it_takes():
    queue = FairQueue()
    for number in range(30):
        queue.push(("long", number), priority=1, tenant="long", weight=3)
        queue.push(("short", number), priority=1, tenant="short")
    shares = Counter(tenant for tenant, _ in served(queue, 20))
    assert shares["short"] == pytest.approx(15, abs=1)


def test_who_gave_up_is_not_served():
    queue = FairQueue()
    entries = [queue.push(n, priority=1, tenant="a") for n in range(6)]
    for n in (0, 3, 5):
        queue.withdraw(entries[n])
    queue.withdraw(entries[3])
    assert len(queue) == 3
    assert queue.peek() == 1
    assert served(queue) == [1, 2, 4]
    queue.withdraw(entries[1])
    assert (len(queue), queue.first_priority()) == (0, None)


def test_a_tenant_does_not_pay_for_what_gave_up():
    queue = FairQueue()
    gone = [queue.push(n, priority=1, tenant="a") for n in range(1000)]
    for entry in gone:
        queue.withdraw(entry)
    for number in range(10):
        queue.push(f"b{number}", priority=1, tenant="b")
        queue.push(f"a{number}", priority=1, tenant="a")
    assert Counter(item[0] for item in served(queue, 10)) == {"a": 5, "b": 5}


def test_what_gave_up_is_not_kept_behind_what_waits():
    """Bulk that times out behind urgent messages."""
    queue = filled(("urgent", 0, 1))
    for number in range(10_000):
        queue.withdraw(queue.push(number, priority=2, tenant="bulk"))
    assert len(queue._heap) < 10
    assert queue.first_priority() == 0


def test_drain_gives_everything_in_order_and_makes_all_equal():
    queue = filled(("a", 1, 50), ("b", 0, 1))
    entry = queue.push("gone", priority=0, tenant="c")
    queue.withdraw(entry)
    drained = queue.drain()
    assert (drained[0], len(drained), len(queue)) == ("b0", 51, 0)
    for tenant in "cab":
        queue.push(tenant, priority=1, tenant=tenant)
    assert served(queue) == ["c", "a", "b"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["push", "pop", "withdraw"]),
        st.integers(0, 2),
        st.sampled_from("abc"),
        st.integers(0, 50),
    ),
    max_size=150,
)


@given(steps)
def test_nothing_is_lost_nor_served_twice_and_tenants_are_first_in_first_out(steps):
    queue, waiting, number = FairQueue(), {}, 0
    for step, priority, tenant, choice in steps:
        if step == "push":
            number += 1
            waiting[number] = (queue.push(number, priority=priority, tenant=tenant), priority)
        elif step == "pop" and waiting:
            item = queue.pop()
            entry, its_priority = waiting.pop(item)
            assert its_priority == min([its_priority, *(p for _, p in waiting.values())])
            mates = [
                n for n, (e, p) in waiting.items() if (e.tenant, p) == (entry.tenant, its_priority)
            ]
            assert item < min(mates, default=number + 1)
        elif step == "withdraw" and waiting:
            item = sorted(waiting)[choice % len(waiting)]
            queue.withdraw(waiting.pop(item)[0])
        assert len(queue) == len(waiting)
    assert sorted(queue.drain()) == sorted(waiting)


def test_ten_thousand_tenants_are_not_remembered_for_ever():
    queue, began = FairQueue(), time.process_time()
    for number in range(30_000):
        queue.push(number, priority=1, tenant=f"tenant_{number}")
        queue.pop()
    assert len(queue._turns) <= 10_000
    assert time.process_time() - began < 5
