"""What processes spend of an account: from memory, and together never more than there is."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from adapters.billing import spending as module
from adapters.billing.check import check
from adapters.billing.ledger import Ledger
from adapters.billing.spending import DEAD, FRESH, LOOK, REFUSED_FOR, RENEW, Answer
from adapters.store.change import looking
from domain.billing.settlement import Kind
from tests.unit.billing.conftest import Money, movement
from tests.waiting import eventually


@dataclass
class Clock:
    """A monotonic clock that a test moves."""

    now: float = 1000.0
    moved: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


def leased(money: Money, tenant: str = "acme") -> int:
    return money.state(tenant).leased


async def test_a_tenant_without_a_limit_asks_nobody(money: Money):
    money.account("rich", credit=None)
    process = money.process()
    assert process.take("rich", 10**9) == 0
    assert process.take("without an account", 10**9) == 0
    process.enter(0, movement("m", amount=-5, tenant="rich"))
    await process.flush()
    assert (money.state("rich").balance, leased(money, "rich")) == (-5, 0)


async def test_what_is_taken_is_leased_once_and_spent_from_memory(money: Money):
    money.account("acme", 1000)
    process = money.process()
    assert process.take("acme", 10) is None
    assert await process.ask("acme", 10) is Answer.SET_ASIDE
    lease = leased(money)
    assert 10 <= lease <= 250
    for number in range(10):
        held = process.take("acme", 10)
        assert held == 10
        process.enter(held, movement(f"m{number}", amount=-9))
    process.give_back("acme", 10)
    await process.flush()
    assert money.state("acme").balance == 1000 - 90
    await process.close()
    assert (leased(money), money.state("acme").balance) == (0, 910)


async def test_an_account_that_is_used_up(money: Money):
    money.price(10)
    money.account("acme", 25)
    process = money.process()
    for number in range(2):
        assert await process.ask("acme", 10) is Answer.SET_ASIDE
        process.enter(10, movement(f"m{number}"))
    assert await process.ask("acme", 10) is Answer.NEVER
    await eventually(lambda: money.empty("acme"))
    # What is left of the lease goes back with this round or with the next sign of life.
    await eventually(lambda: (money.state("acme").balance, leased(money)) == (5, 0))
    money.pay("acme", 100, "more")
    assert not money.empty("acme")

    async def can_be_spent() -> bool:
        return await process.ask("acme", 10) is Answer.SET_ASIDE

    await eventually(can_be_spent)


async def test_credit_may_be_overdrawn_as_far_as_it_goes(money: Money):
    money.account("acme", credit=20)
    process = money.process()
    for number in range(2):
        assert await process.ask("acme", 10) is Answer.SET_ASIDE
        process.enter(10, movement(f"m{number}"))
    assert await process.ask("acme", 1) is Answer.NEVER
    await process.flush()
    assert money.state("acme").balance == -20


async def test_money_that_another_process_has_leased_is_worth_waiting_for(money: Money):
    clock = Clock()
    money.account("acme", 100)
    first, second = money.process(clock=clock), money.process(clock=clock)
    assert await first.ask("acme", 60) is Answer.SET_ASIDE
    assert await second.ask("acme", 60) is Answer.LATER
    assert not money.empty("acme")
    first.give_back("acme", 60)
    clock.now += RENEW + 0.1
    # Whatever wakes it, it sees that nobody has spent this for a while.
    first.enter(0, movement("of another", amount=-1, tenant="other"))
    await eventually(lambda: leased(money) == 0)
    assert await second.ask("acme", 60) is Answer.SET_ASIDE


async def test_several_who_wait_share_what_is_there(money: Money):
    money.account("acme", 35)
    process = money.process()
    answers = await asyncio.gather(*(process.ask("acme", 10) for _ in range(5)))
    assert answers.count(Answer.SET_ASIDE) == 3
    assert answers.count(Answer.LATER) == 2


async def test_what_attempts_under_way_hold_is_worth_waiting_for(money: Money):
    """Each holds what the dearest route costs, and most of that comes back."""
    clock = Clock()
    money.price(1)
    money.account("acme", 100)
    process = money.process(clock=clock)
    for _ in range(10):
        assert await process.ask("acme", 10) is Answer.SET_ASIDE
    assert await process.ask("acme", 10) is Answer.LATER
    assert await process.ask("acme", 10) is Answer.LATER, "remembered"
    assert await process.ask("acme", 101) is Answer.LATER, "remembered, too"
    clock.now += REFUSED_FOR
    assert await process.ask("acme", 101) is Answer.NEVER, "whatever comes back"
    for number in range(10):
        process.enter(10, movement(f"m{number}", amount=-1))
    await process.flush()
    clock.now += REFUSED_FOR
    assert process.take("acme", 10) or await process.ask("acme", 10) is Answer.SET_ASIDE
    assert not money.empty("acme")


async def test_a_cheaper_price_lets_messages_in_again(money: Money):
    clock = Clock()
    money.price(10)
    money.account("acme", 5)
    process = money.process(clock=clock)
    assert await process.ask("acme", 10) is Answer.NEVER
    await eventually(lambda: money.empty("acme"))
    money.price(5, route="tdc")
    clock.now += LOOK
    process.enter(0, movement("m", Kind.RESERVE, -10, tenant="rich"))
    await eventually(lambda: not money.empty("acme"))


@pytest.mark.parametrize(("has", "cheapest", "empty"), [(40, 1, False), (40, 41, True)])
async def test_one_message_that_is_too_dear_does_not_empty_the_account(
    money: Money, has: int, cheapest: int, empty: bool
):
    money.price(cheapest)
    money.account("acme", has)
    process = money.process()
    assert await process.ask("acme", 50) is Answer.NEVER
    await process.close()
    assert money.empty("acme") is empty
    assert money.state("acme").leased == 0


async def test_a_refund_that_comes_when_nobody_spends_lets_messages_in_again(money: Money):
    clock = Clock()
    money.price(10)
    money.account("acme", 5)
    process = money.process(clock=clock)
    assert await process.ask("acme", 10) is Answer.NEVER
    await eventually(lambda: money.empty("acme"))
    clock.now += LOOK
    process.enter(0, movement("m1", Kind.RESERVE, -10, tenant="rich"))
    await process.flush()
    assert money.empty("acme")
    with looking(money.where) as database, database.transaction():
        Ledger().enter(database, [movement("m2", Kind.RELEASE, 10)])
    clock.now += LOOK
    process.enter(0, movement("m3", Kind.RESERVE, -10, tenant="rich"))
    await eventually(lambda: not money.empty("acme"))


async def test_a_killed_process_returns_what_it_had_not_spent(money: Money, monkeypatch):
    money.account("acme", 100)
    killed = money.process()
    assert await killed.ask("acme", 80) is Answer.SET_ASIDE
    assert leased(money) >= 80
    later = module.time.time() + DEAD + 1
    monkeypatch.setattr(module.time, "time", lambda: later)
    other = money.process()
    # The first request shows that it lives, and sees who does not.
    assert await other.ask("acme", 80) in (Answer.LATER, Answer.SET_ASIDE)
    await eventually(lambda: leased(money) <= 25 or leased(money) == 80)
    answer = await other.ask("acme", 15)
    assert answer is Answer.SET_ASIDE


async def test_a_process_that_could_not_show_itself_spends_nothing(money: Money):
    clock = Clock()
    money.account("acme", 1000)
    process = money.process(clock=clock)
    assert await process.ask("acme", 10) is Answer.SET_ASIDE
    process.give_back("acme", 10)
    assert process.take("acme", 10) == 10
    clock.now += FRESH + 0.1
    assert process.take("acme", 10) is None
    assert await process.ask("acme", 10) is Answer.SET_ASIDE
    process.give_back("acme", 10)
    assert process.take("acme", 10) == 10


async def test_what_costs_more_than_was_set_aside_is_entered_all_the_same(money: Money):
    money.account("acme", 100)
    process = money.process()
    assert await process.ask("acme", 10) is Answer.SET_ASIDE
    process.enter(10, movement("m", amount=-30))
    await process.flush()
    assert money.state("acme").balance == 70
    assert leased(money) <= 70


@pytest.mark.parametrize("seed", range(3))
async def test_two_processes_never_spend_more_than_there_is(
    money: Money, seed: int, monkeypatch: pytest.MonkeyPatch
):
    """Messages of random prices, some refunded, on two processes, until the account is dry."""
    monkeypatch.setattr(module, "REFUSED_FOR", 0.0)
    random_ = random.Random(seed)
    money.account("acme", 3_000)
    processes = [money.process(renew=0.02), money.process(renew=0.02)]
    spent = refused = 0

    async def message(number: int) -> None:
        nonlocal spent, refused
        process, amount = random_.choice(processes), random_.randrange(1, 40)
        held = process.take("acme", amount)
        if held is None:
            while (answer := await process.ask("acme", amount)) is Answer.LATER:
                pass
            if answer is Answer.NEVER:
                refused += 1
                return
            held = amount
        if random_.random() < 0.3:
            process.give_back("acme", held)
            return
        cost = random_.randrange(1, amount + 1)
        spent += cost
        process.enter(held, movement(f"m{number}", amount=-cost))

    for start in range(0, 600, 30):
        await asyncio.gather(*(message(number) for number in range(start, start + 30)))
        state = money.state("acme")
        assert state.balance - state.leased >= 0
    for process in processes:
        await process.flush()
    assert refused
    assert money.state("acme").balance == 3_000 - spent >= 0
    with looking(money.where) as database:
        rows = database.execute("SELECT COUNT(*) FROM ledger WHERE kind = ?", (Kind.CHARGE.value,))
        assert rows.fetchone()[0]
    assert all(finding.ok for finding in check(money.where))


async def test_what_is_entered_is_counted_once_and_what_waits_is_seen(money: Money):
    from adapters.telemetry.billing import LedgerTelemetry
    from adapters.telemetry.exposition import Metrics
    from tests.unit.admin.test_metrics import samples

    clock, telemetry = Clock(), LedgerTelemetry()
    ledger = Ledger(entered=telemetry.entered)
    process = money.process(ledger=ledger, clock=clock, linger=60)
    telemetry.follow(process)

    def found() -> dict[tuple[str, ...], float]:
        return samples(Metrics(telemetry).expose("")[0].decode())

    for message in ("m1", "m2"):
        process.enter(0, movement(message, Kind.RESERVE))
    clock.now += 7
    assert (found()["hermes_ledger_queue",], found()["hermes_ledger_lag_seconds",]) == (2, 7)
    await process.flush()
    assert (found()["hermes_ledger_queue",], found()["hermes_ledger_lag_seconds",]) == (0, 0)
    # The message's end enters the first one again.
    with looking(money.where) as database, database.transaction():
        again = [movement("m1", Kind.RESERVE), movement("m1", Kind.RELEASE, 10)]
        ledger.enter(database, again)
    assert found()["hermes_ledger_movements_total", "reserve", "acme"] == 2
    assert found()["hermes_ledger_movements_total", "release", "acme"] == 1
