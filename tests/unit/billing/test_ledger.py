"""The ledger counts each movement once, and the sums are those of its rows."""

from __future__ import annotations

import random
import threading
from contextlib import closing

import pytest

from adapters.billing.check import check
from adapters.billing.ledger import Ledger, movements_of
from adapters.store.schema import open_store
from domain.billing.cost import Rule
from domain.billing.settlement import Kind, Proof
from domain.message import Level
from tests.unit.billing.conftest import movement

RESERVE = movement("m", Kind.RESERVE, -10, rule=Rule.DELIVERED)
RELEASE = movement("m", Kind.RELEASE, 10, rule=Rule.DELIVERED)
CHARGE = movement("m", Kind.CHARGE, -10, rule=Rule.DELIVERED, reserved=True)

USAGE = (
    "SELECT SUM(charges), SUM(segments), SUM(charged), SUM(open), SUM(reserved), SUM(refunds)"
    " FROM usage WHERE tenant = 'acme'"
)


def entered(database, *movements, ledger=None):
    with database.transaction():
        (ledger or Ledger()).enter(database, movements)


def balance(database, tenant="acme"):
    sums = database.execute("SELECT SUM(amount) FROM balances WHERE tenant = ?", (tenant,))
    return int(sums.fetchone()[0] or 0)


def usage(database):
    return [int(number or 0) for number in database.execute(USAGE).fetchone()]


@pytest.mark.parametrize(
    ("movements", "sums"),
    [
        ([], [0, 0, 0, 0, 0, 0]),
        ([movement("m", segments=3)], [1, 3, 10, 0, 0, 0]),
        ([RESERVE], [0, 0, 0, 1, 10, 0]),
        ([RESERVE, RELEASE], [0, 0, 0, 0, 0, 1]),
        ([RESERVE, RELEASE, CHARGE], [1, 1, 10, 0, 0, 0]),
        ([CHARGE, RELEASE, RESERVE], [1, 1, 10, 0, 0, 0]),
    ],
)
def test_what_the_usage_shows(database, movements, sums):
    for one in movements:
        entered(database, one)
    assert usage(database) == sums
    entered(database, *movements)
    assert usage(database) == sums
    assert balance(database) == sum(one.amount for one in movements)


def test_days_and_routes_are_counted_apart(database):
    night = movement("a").at + 43_199
    entered(
        database,
        movement("a"),
        movement("b", at=night),
        movement("c", at=night + 1),
        movement("d", route="telia"),
        movement("e", channel="email", route="smtp"),
    )
    rows = database.execute(
        "SELECT day, channel, route, charges FROM usage ORDER BY day, channel, route"
    ).fetchall()
    assert [tuple(row) for row in rows] == [
        ("2026-05-01", "email", "smtp", 1),
        ("2026-05-01", "sms", "tdc", 2),
        ("2026-05-01", "sms", "telia", 1),
        ("2026-05-02", "sms", "tdc", 1),
    ]


def test_the_same_movement_twice_in_one_go_counts_once(database):
    entered(database, movement("m"), movement("m"), movement("m", attempt=2))
    assert balance(database) == -20
    assert [one.attempt for one in movements_of(database, "m")] == [1, 2]


def test_a_transaction_that_fails_leaves_neither_row_nor_sum(database):
    entered(database, movement("first"))

    def fails():
        with database.transaction():
            Ledger().enter(database, [movement("second")])
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        fails()
    assert (balance(database), movements_of(database, "second")) == (-10, [])


@pytest.mark.parametrize(("level", "charged"), [(Level.DELIVERED, 10), (Level.SENT, 0), (None, 0)])
def test_a_receipt_after_the_end(database, level, charged):
    entered(database, RESERVE, RELEASE)
    for _ in range(2):
        entered(database, Proof("m", 1, level), Proof("m", 2, level), Proof("other", 1, level))
    assert balance(database) == -charged
    assert usage(database)[2:] == [charged, 0, 0, 0 if charged else 1]


def test_many_movements_in_one_go(database):
    many = [movement(f"m{number:04d}", amount=-number) for number in range(1, 300)]
    entered(database, *many)
    assert balance(database) == -sum(range(1, 300))


def test_processes_that_enter_the_same_movements_at_once(where, database):
    """Both are told of every message, in different orders: each counts once."""
    many = [movement(f"m{number:03d}", amount=-number) for number in range(200)]
    failures: list[BaseException] = []

    def process(seed: int) -> None:
        order = many[:]
        random.Random(seed).shuffle(order)
        try:
            with closing(open_store(where, "hermes")) as own:
                for start in range(0, len(order), 20):
                    entered(own, *order[start : start + 20], ledger=Ledger(shard=1))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=process, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert balance(database) == -sum(range(200))
    assert all(finding.ok for finding in check(where))


def test_the_check_finds_a_balance_that_is_no_sum(where, database):
    entered(database, movement("m"))
    assert [finding.name for finding in check(where) if not finding.ok] == []
    database.execute("UPDATE balances SET amount = amount + 1")
    [wrong] = [finding for finding in check(where) if not finding.ok]
    assert (wrong.name, wrong.wrong) == ("balances are the sum of the ledger", 1)
    assert wrong.examples[0].startswith("acme EUR")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE usage SET charged = 0", "usage is the sum of the ledger"),
        (
            "UPDATE ledger SET amount = 9 WHERE kind = 'release'",
            "charges and refunds are what was reserved",
        ),
        ("DELETE FROM ledger WHERE kind = 'reserve'", "charges and refunds are what was reserved"),
        ("INSERT INTO leases VALUES ('p', 'acme', -1, 0)", "no lease is negative"),
    ],
)
def test_the_check_finds_what_was_tampered_with(where, database, statement, name):
    entered(database, RESERVE, RELEASE, CHARGE)
    database.execute(statement)
    assert name in [finding.name for finding in check(where) if not finding.ok]
