"""Which line of the price lists applies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.billing.cost import Cost, Rule
from domain.billing.prices import PriceBook, PriceRow, Use, digits_of, unpriced

MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def row(amount: int, *, at: datetime = MAY, currency: str = "EUR", channel: str = "sms", **more):
    return PriceRow(f"prc_{amount}", channel, amount, currency, at, **more)


BOOK = PriceBook(
    [
        row(10),
        row(11, at=JUNE),
        row(20, prefix="45"),
        row(21, prefix="4520"),
        row(30, route="telia"),
        row(31, route="telia", prefix="46"),
        row(40, tenant="acme"),
        row(41, tenant="acme", prefix="45"),
        row(42, tenant="acme", route="telia", prefix="45", rule=Rule.DELIVERED),
        row(50, channel="email"),
        row(60, tenant="dollar", currency="USD"),
        row(61, currency="USD"),
        row(70, channel="push", at=JUNE),
    ],
    {"dollar": "USD", "crown": "DKK"}.get,
)


@pytest.mark.parametrize(
    ("tenant", "route", "channel", "digits", "amount"),
    [
        # The longest prefix of the general list.
        ("other", "tdc", "sms", "4915112345", 10),
        ("other", "tdc", "sms", "4530123456", 20),
        ("other", "tdc", "sms", "4520123456", 21),
        # A number shorter than the prefix does not begin with it.
        ("other", "tdc", "sms", "45", 20),
        ("other", "tdc", "sms", "452", 20),
        ("other", "tdc", "sms", "", 10),
        # A line for the route goes before a longer prefix for any.
        ("other", "telia", "sms", "4520123456", 30),
        ("other", "telia", "sms", "46701234567", 31),
        # The tenant's own list goes before the general one, even where that names the route.
        ("acme", "telia", "sms", "46701234567", 40),
        ("acme", "tdc", "sms", "4520123456", 41),
        ("acme", "telia", "sms", "4520123456", 42),
        # What the tenant's own list does not have, the general one may.
        ("acme", "smtp", "email", "", 50),
        # Each in the account's currency.
        ("dollar", "tdc", "sms", "4520123456", 60),
        ("crown", "tdc", "sms", "4520123456", None),
        # Not yet.
        ("other", "fcm", "push", "", None),
        ("other", "any", "whatsapp", "4520123456", None),
    ],
)
def test_which_line_applies(tenant, route, channel, digits, amount):
    price = BOOK.price(tenant, route, channel, digits, MAY)
    assert (None if price is None else price.micros) == amount


def test_a_later_line_replaces_an_earlier_one_from_its_moment_on():
    def amount(at: datetime) -> int | None:
        price = BOOK.price("other", "tdc", "sms", "49", at)
        return None if price is None else price.micros

    second = timedelta(microseconds=1)
    assert [amount(MAY - second), amount(MAY), amount(JUNE - second), amount(JUNE)] == [
        None,
        10,
        10,
        11,
    ]


def test_a_price_is_decimal_and_counts_for_each_segment():
    price = BOOK.price("acme", "telia", "sms", "4520123456", MAY)
    assert price is not None
    assert (price.amount, price.currency, price.row) == (Decimal("0.000042"), "EUR", "prc_42")
    assert price.of(3) == Cost(126, "EUR", Rule.DELIVERED, 3)


def test_the_highest_of_several_routes():
    asked = ("sms", "4520123456", MAY)
    highest = BOOK.highest("other", ["tdc", "telia"], *asked)
    assert highest is not None
    assert highest.micros == 30
    assert BOOK.highest("crown", ["tdc", "telia"], *asked) is None
    assert BOOK.highest("other", [], *asked) is None


@pytest.mark.parametrize(
    ("currencies", "home"),
    [([], "EUR"), (["USD"], "USD"), (["USD", "DKK"], "DKK"), (["USD", "EUR", "DKK"], "EUR")],
)
def test_what_a_tenant_without_an_account_pays_in(currencies, home):
    assert PriceBook([row(1, currency=code) for code in currencies]).currency("acme") == home


@pytest.mark.parametrize(
    ("tenant", "cheapest"), [("other", 10), ("acme", 10), ("dollar", 60), ("crown", 0)]
)
def test_the_cheapest_segment_that_a_tenant_may_pay_for(tenant, cheapest):
    assert BOOK.cheapest(tenant) == cheapest


def test_what_is_free_is_not_the_cheapest():
    book = PriceBook([row(0), row(5, channel="email"), row(3, tenant="acme")])
    assert [book.cheapest(tenant) for tenant in ("other", "acme")] == [5, 3]
    assert PriceBook().cheapest("other") == 0


@pytest.mark.parametrize(
    ("tenant", "channel", "digits", "costs"),
    [
        ("other", "sms", "4915112345", True),
        ("other", "email", "", True),
        ("other", "push", "", False),
        ("crown", "sms", "4520123456", False),
        ("dollar", "sms", "4520123456", True),
    ],
)
def test_what_may_cost_something(tenant, channel, digits, costs):
    routes = BOOK.listed(tenant, channel)
    assert bool(BOOK.lowest(tenant, routes, channel, digits, MAY)) is costs


def test_the_lowest_price_that_is_none_of_free_routes():
    book = PriceBook(
        [row(0), row(5, route="telia", prefix="45"), row(7, route="tdc"), row(0, prefix="46")]
    )
    assert book.listed("acme", "sms") == {"*", "telia", "tdc"}

    def lowest(digits, *routes):
        return book.lowest("acme", routes, "sms", digits, MAY)

    assert [lowest(digits, "*", "telia", "tdc") for digits in ("4520", "4670")] == [5, 7]
    assert [lowest("4520", *routes) for routes in (("tdc",), ("*",), ())] == [7, 0, 0]


def test_an_empty_book_is_false_and_free():
    assert not PriceBook()
    assert PriceBook().price("acme", "tdc", "sms", "45", MAY) is None


@pytest.mark.parametrize(
    ("address", "digits"), [("+4520123456", "4520123456"), ("ada@example.com", ""), ("token", "")]
)
def test_what_an_address_is_priced_by(address, digits):
    assert digits_of(address) == digits


USES = [Use("acme", "sms", "telia"), Use("other", "sms", "tdc"), Use("crown", "sms", "tdc")]


@pytest.mark.parametrize(
    ("removed", "left_free"),
    [
        # Another line stands in.
        (["prc_42"], []),
        (["prc_20", "prc_21"], []),
        (["prc_30", "prc_31"], []),
        # The later line of the same place stands in only from then on.
        (["prc_10"], [Use("other", "sms", "tdc")]),
        (["prc_10", "prc_11", "prc_20", "prc_21"], [Use("other", "sms", "tdc")]),
        (
            ["prc_10", "prc_11", "prc_40"],
            [Use("other", "sms", "tdc")],
        ),
        # Nobody uses it.
        (["prc_50"], []),
        (["prc_61"], []),
    ],
)
def test_what_would_be_free_without_some_lines(removed, left_free):
    rows = [row for row in BOOK.rows if row.id in removed]
    assert unpriced(BOOK, BOOK.without(removed), rows, USES, MAY) == left_free
