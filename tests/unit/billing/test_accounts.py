"""Accounts: their terms, what is posted to them, and what they have."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.billing import accounts, prices
from adapters.billing.accounts import (
    BalanceTooLarge,
    CurrencyFixed,
    EntryExists,
    EntryKind,
    UnknownAccount,
)
from adapters.billing.check import check
from adapters.billing.ledger import Ledger
from adapters.store.audit import entries as audit_entries
from domain.billing.money import LARGEST, LARGEST_SUM
from domain.billing.prices import PriceRow
from domain.billing.terms import Terms, allowance


def opened(database, currency="EUR", credit=0):
    return accounts.set_terms(database, "acme", currency, credit, "operator")


def posted(database, amount, reference="first", kind=EntryKind.TOP_UP):
    return accounts.post(database, "acme", reference, kind, amount, "by bank", "operator")


@pytest.mark.parametrize(
    ("credit", "amount", "empty"),
    [(0, 0, True), (0, 1, False), (5, 0, False), (None, 0, False), (0, -5, True), (5, -5, True)],
)
def test_when_an_account_is_empty(database, credit, amount, empty):
    opened(database, credit=credit)
    if amount:
        posted(database, amount, kind=EntryKind.ADJUSTMENT)
    assert accounts.terms_of(database, "acme").short == (1 if empty and amount >= 0 else 0) or empty
    has, leased = accounts.funds(database, "acme")
    assert (has > 0) == (not empty) or credit is None
    assert leased == 0


def test_a_payment_counts_once_however_often_it_is_posted(database):
    opened(database)
    assert posted(database, 100) == posted(database, 100)
    assert accounts.state_of(database, "acme").balance == 100
    with pytest.raises(EntryExists):
        posted(database, 101)
    posted(database, 101, reference="second")
    state = accounts.state_of(database, "acme")
    assert (state.balance, state.reserved, state.leased) == (201, 0, 0)
    assert [e.reference for e in accounts.entries(database, "acme", limit=9)] == ["second", "first"]


def test_entries_come_a_page_at_a_time(database):
    opened(database)
    for number in range(5):
        posted(database, 1, reference=f"r{number}")
    first = accounts.entries(database, "acme", limit=3)
    last = first[-1]
    place = (last.at.timestamp(), last.reference)
    rest = accounts.entries(database, "acme", limit=3, before=place)
    assert [e.reference for e in (*first, *rest)] == ["r4", "r3", "r2", "r1", "r0"]


def priced(currency, tenant=""):
    at = datetime(2026, 5, 1, tzinfo=UTC)
    return PriceRow(f"prc_{currency}_{tenant}", "sms", 1, currency, at, tenant)


@pytest.mark.parametrize(
    ("lists", "currency", "refused"),
    [
        ([], "USD", False),
        ([priced("EUR")], "EUR", False),
        ([priced("EUR")], "USD", True),
        ([priced("EUR"), priced("USD")], "USD", False),
        ([priced("EUR"), priced("USD", "acme")], "USD", False),
        ([priced("EUR"), priced("USD", "other")], "USD", True),
    ],
)
def test_an_account_in_a_currency_without_prices_would_send_for_nothing(
    database, lists, currency, refused
):
    prices.add(database, lists, "operator")
    if refused:
        with pytest.raises(prices.CurrencyUnpriced), database.transaction():
            opened(database, currency)
        accounts.set_terms(database, "acme", currency, 0, "operator", force=True)
    else:
        opened(database, currency)
    assert accounts.terms_of(database, "acme").currency == currency


def test_the_last_price_in_an_accounts_currency_stays(database):
    prices.add(database, [priced("EUR"), priced("USD")], "operator")
    opened(database, "USD")
    with pytest.raises(prices.CurrencyUnpriced) as caught, database.transaction():
        prices.remove(database, ["prc_USD_"], "operator")
    assert (caught.value.tenant, caught.value.currency) == ("acme", "USD")
    prices.remove(database, ["prc_USD_"], "operator", force=True)
    # Neither what has been so before, nor that nothing has a price, is in the way.
    prices.remove(database, ["prc_EUR_"], "operator")


@pytest.mark.parametrize("sign", [1, -1])
def test_payments_stay_below_what_the_sums_can_hold(database, sign):
    opened(database)
    Ledger().post(database, "acme", "EUR", sign * (LARGEST_SUM - LARGEST))
    posted(database, sign * LARGEST, "the last", EntryKind.ADJUSTMENT)
    assert accounts.state_of(database, "acme").balance == sign * LARGEST_SUM
    with pytest.raises(BalanceTooLarge), database.transaction():
        posted(database, sign, "one more", EntryKind.ADJUSTMENT)
    posted(database, -sign, "back", EntryKind.ADJUSTMENT)


def test_an_account_that_was_used_keeps_its_currency(database):
    opened(database)
    assert opened(database, "USD").currency == "USD"
    posted(database, 1)
    with pytest.raises(CurrencyFixed):
        opened(database, "EUR")
    assert opened(database, "USD", credit=7) == Terms("USD", 7, 0)


def test_a_tenant_without_an_account_has_none(database):
    with pytest.raises(UnknownAccount):
        accounts.state_of(database, "acme")
    with pytest.raises(UnknownAccount):
        posted(database, 1)


def test_every_change_is_in_the_audit_log(database):
    opened(database)
    opened(database, credit=None)
    posted(database, 5_000_000)
    lines = audit_entries(database, tenant="acme", limit=9)
    assert [(line.action, line.subject) for line in reversed(lines)] == [
        ("account.open", "acme"),
        ("account.change", "acme"),
        ("account.top_up", "first"),
    ]
    assert lines[0].detail == {"amount": "5.00", "currency": "EUR"}
    assert lines[1].detail["after"] == {"currency": "EUR", "credit": None}


def test_what_is_posted_is_part_of_the_check(where, database):
    opened(database)
    posted(database, 100)
    assert all(finding.ok for finding in check(where))


@pytest.mark.parametrize(
    ("funds", "needed", "wanted", "granted"),
    [
        (0, 1, 10, 0),
        (-5, 0, 10, 0),
        (10, 11, 100, 0),
        (10, 10, 100, 10),
        (100, 10, 1000, 25),
        (100, 10, 20, 20),
        (100, 0, 0, 1),
    ],
)
def test_how_much_a_process_may_take(funds, needed, wanted, granted):
    assert allowance(funds, needed, wanted) == granted
