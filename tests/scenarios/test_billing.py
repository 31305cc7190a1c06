"""What messages cost, through the whole stack."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from adapters.billing import accounts, prices
from adapters.billing.accounts import EntryKind
from adapters.billing.check import check
from adapters.store.change import change
from adapters.store.schema import open_store
from domain.billing.cost import Rule
from domain.billing.prices import PriceRow
from tests.scenarios.driver import Driver, email, entry, mailbox, number, sms
from tests.waiting import known_everywhere, until

ON_SUBMISSION, ON_DELIVERY, MAIL = 7_500, 9_000, 200


@pytest.fixture(scope="module")
def priced_stack(tmp_path_factory):
    """A stack of its own: prices and accounts are the same for all tests on one."""
    driver = Driver(tmp_path_factory.mktemp("priced"), smsc=("--late-delay", "2.5"))
    try:
        yield driver.start()
    finally:
        driver.close()


@pytest.fixture
def hermes(priced_stack):
    """The stack, its simulators' memory empty."""
    priced_stack.forget()
    return priced_stack


def database(hermes):
    return hermes.stack.data_dir / "hermes.db"


def price(hermes, amount, **more):
    since = datetime.now(UTC) - timedelta(minutes=1)
    channel = more.pop("channel", "sms")
    row = PriceRow(prices.new_id(), channel, amount, "EUR", since, **more)
    with change(database(hermes), prices.SECTION) as opened:
        prices.add(opened, [row], "operator")


def account(hermes, tenant, amount):
    with change(database(hermes), accounts.SECTION) as opened:
        accounts.set_terms(opened, tenant, "EUR", 0, "operator")
        if amount:
            kind = EntryKind.TOP_UP
            accounts.post(opened, tenant, "at first", kind, amount, "", "operator")


def balance(hermes, tenant="acme"):
    with closing(open_store(database(hermes), "hermes")) as opened:
        return accounts.state_of(opened, tenant).balance


def settled(hermes, message_id):
    """The message once nothing of it is reserved any more."""

    def probe():
        message = hermes.message(message_id)
        cost = message["cost"]
        done = cost and all(one["state"] != "reserved" for one in cost["attempts"])
        return message if message["ended_at"] and done else None

    return until(probe)


def test_what_messages_cost_from_their_prices_to_the_check(hermes):
    """One story, since each part of it changes what the next finds."""
    free = hermes.ended(hermes.send(sms(), to_sms=number()))
    assert free["cost"] is None
    assert "cost" not in entry(free, "submitted")

    # The accounts first: a process that knew the prices alone would charge globex without a limit.
    account(hermes, "acme", 1_000_000)
    account(hermes, "globex", 0)
    price(hermes, ON_SUBMISSION)
    price(hermes, MAIL, channel="email", rule=Rule.SUBMITTED)

    def refused():
        order = hermes.order(sms(), to_sms=number())
        answer = hermes.request("POST", "/v1/messages", tenant="globex", json=order)
        return answer if answer.status_code == 402 else None

    assert until(refused).json()["code"] == "account_empty"
    known_everywhere()

    # The provider took it and the person did not get it: owed all the same, and so is the mail.
    message = settled(
        hermes, hermes.send(sms(timeout=60), email(), to_sms=number("9903"), to_email=mailbox())
    )
    assert entry(message, "submitted", channel="sms")["cost"] == {
        "amount": "0.0075",
        "currency": "EUR",
        "segments": 1,
        "rule": "submitted",
    }
    assert message["cost"]["charged"] == "0.0077"
    assert [one["state"] for one in message["cost"]["attempts"]] == ["charged", "charged"]

    # Not taken: not owed.
    rejected = hermes.ended(hermes.send(sms(), to_sms=number("9905")))
    assert rejected["cost"] is None

    # Owed on delivery from now on.
    price(hermes, ON_DELIVERY, tenant="acme", rule=Rule.DELIVERED)

    def by_delivery():
        message = settled(hermes, hermes.send(sms(), to_sms=number()))
        return message if entry(message, "submitted")["cost"]["rule"] == "delivered" else None

    delivered = until(by_delivery)
    assert delivered["cost"]["charged"] == "0.009"
    undelivered = settled(hermes, hermes.send(sms(), to_sms=number("9903")))
    assert undelivered["cost"] == {
        "currency": "EUR",
        "charged": "0.00",
        "reserved": "0.00",
        "attempts": [{"attempt": 1, "amount": "0.009", "state": "refunded"}],
    }

    usage = hermes.request("GET", "/v1/usage").json()
    assert {line["channel"] for line in usage["lines"]} == {"sms", "email"}
    assert sum(line["refunded"] for line in usage["lines"]) == 1
    [total] = usage["totals"]
    spent = 1_000_000 - until(lambda: balance(hermes))
    assert round(float(total["cost"]) * 1_000_000) == spent
    assert hermes.request("GET", "/v1/usage", tenant="globex").json()["lines"] == []
    assert [finding.name for finding in check(database(hermes)) if not finding.ok] == []
