"""How much waits, whose it is, and when it should come back: on a clock of our own."""

import pytest

from adapters.smpp.flow.backlog import LATEST_RETURN, SOONEST_RETURN, Backlog
from domain.message import Category

OTP, ALERT, BULK = Category.OTP, Category.TRANSACTIONAL, Category.MARKETING


def sizes(backlog, now=0.0):
    return {(q.tenant, q.category): q.waiting for q in backlog.queues(now)}


def test_what_waits_is_counted_once_however_often_it_comes_back():
    backlog = Backlog(0.0)
    for _ in range(3):
        backlog.holds(("msg_1", 1), "acme", BULK, 0.0, 10.0)
        backlog.returns(("msg_1", 1), "acme", BULK, 0.0, 100.0)
    backlog.holds(("msg_1", 2), "acme", BULK, 0.0, 10.0)
    assert (len(backlog), sizes(backlog)) == (2, {("acme", BULK): 2})
    backlog.left(("msg_1", 1))
    backlog.left(("msg_1", 1))
    assert (len(backlog), sizes(backlog)) == (1, {("acme", BULK): 1})
    backlog.left(("msg_1", 2))
    assert sizes(backlog) == {}


def test_queues_are_told_apart_by_tenant_and_category():
    backlog = Backlog(0.0)
    waiting = [("a", BULK, 3), ("a", OTP, 1), ("b", BULK, 2)]
    for tenant, category, count in waiting:
        for n in range(count):
            backlog.holds((f"{tenant}{category}{n}", 1), tenant, category, 0.0, 10.0)
    assert sizes(backlog) == {(tenant, category): n for tenant, category, n in waiting}


def test_who_never_comes_back_is_forgotten():
    backlog = Backlog(0.0)
    backlog.holds(("msg_1", 1), "acme", BULK, 0.0, 5.0)
    assert sizes(backlog, 14.9) == {("acme", BULK): 1}
    assert sizes(backlog, 15.1) == {}
    assert len(backlog) == 0


@pytest.mark.parametrize(("rate", "a_second"), [(100.0, 120.0), (1000.0, 1200.0), (0.0, 200.0)])
def test_they_come_back_a_little_faster_than_the_carriers_take_them(rate, a_second):
    backlog = Backlog(0.0)
    count = int(a_second * 5)
    returns = [backlog.returns((f"m{n}", 1), "acme", BULK, 0.0, rate) for n in range(count)]
    assert returns == sorted(returns)
    assert returns[0] >= SOONEST_RETURN
    assert returns[-1] - returns[0] == pytest.approx(5.0, rel=0.01)


def test_nobody_is_sent_away_for_longer_than_half_a_minute():
    backlog = Backlog(0.0)
    returns = [backlog.returns((f"m{n}", 1), "acme", BULK, 0.0, 10.0) for n in range(1000)]
    assert max(returns) == LATEST_RETURN


def test_urgent_ones_come_back_soonest_whatever_waits():
    backlog = Backlog(0.0)
    for n in range(1000):
        backlog.returns((f"m{n}", 1), "acme", BULK, 0.0, 10.0)
    assert backlog.returns(("otp", 1), "acme", OTP, 0.0, 10.0) == SOONEST_RETURN


def test_after_a_rest_they_come_back_soon_again():
    backlog = Backlog(0.0)
    for n in range(1000):
        backlog.returns((f"m{n}", 1), "acme", BULK, 0.0, 10.0)
    assert backlog.returns(("late", 1), "acme", BULK, 60.0, 10.0) == pytest.approx(SOONEST_RETURN)


def hold(backlog, tenant, count, category=BULK, now=0.0):
    for n in range(count):
        backlog.holds((f"{tenant}_{category.value}_{n}", 1), tenant, category, now, now + 60.0)


PACES = [
    # who waits; parts taken of each tenant in every tenth of a second; the pace of who waits
    ({"a": 100}, {"a": 1}, {"a": 10.0}),
    ({"a": 100}, {"a": 5}, {"a": 50.0}),
    ({"a": 100, "b": 1}, {"a": 3, "b": 1}, {"a": 30.0, "b": 20.0}),
    # Has just begun, and will get a fair share.
    ({"a": 100, "b": 1}, {"a": 4}, {"a": 40.0, "b": 20.0}),
    ({"a": 1}, {"b": 4}, {"a": 20.0}),
    ({"a": 1}, {}, {"a": 0.0}),
]


@pytest.mark.parametrize(("waiting", "taken", "paces"), PACES)
def test_pace(waiting, taken, paces):
    backlog = Backlog(0.0)
    for tenant, count in waiting.items():
        hold(backlog, tenant, count)
    for tenth in range(1, 51):
        for tenant, count in taken.items():
            for _ in range(count):
                backlog.took(tenant, tenth / 10)
    found = {queue.tenant: queue.per_second for queue in backlog.queues(5.0)}
    assert found == {tenant: pytest.approx(pace, rel=0.05) for tenant, pace in paces.items()}


def test_the_pace_is_not_known_at_once_and_not_that_of_a_time_without_a_queue():
    backlog = Backlog(0.0)
    for second in range(10):
        backlog.took("acme", float(second))
    hold(backlog, "acme", 10, now=10.0)
    [queue] = backlog.queues(10.1)
    assert queue.per_second is None
    for n in range(100):
        backlog.took("acme", 10.1 + n / 50)
    [queue] = backlog.queues(12.1)
    assert queue.per_second == pytest.approx(50, rel=0.1)


def test_arrivals_are_counted_by_tenant():
    backlog = Backlog(0.0)
    backlog.arrives("acme", 0.1, 0.0)
    backlog.arrives("acme", 0.1, 0.0)
    backlog.arrives("other", 0.1, 0.0)
    assert backlog.arrived == {"acme": 2, "other": 1}


def test_lag_follows_what_is_seen_and_is_never_negative():
    backlog = Backlog(0.0)
    for _ in range(100):
        backlog.arrives("acme", 2.0, 0.0)
    assert backlog.lag(0.0) == pytest.approx(2.0, rel=0.02)
    for _ in range(200):
        backlog.arrives("acme", -5.0, 1.0)
    assert 0 <= backlog.lag(1.0) < 0.01


def test_lag_is_not_remembered_when_nothing_comes():
    backlog = Backlog(0.0)
    for _ in range(100):
        backlog.arrives("acme", 2.0, 0.0)
    assert backlog.lag(1.0) > 1.9
    assert backlog.lag(60.0) == 0
