"""What operators do to prices and accounts, and what tenants see of it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from adapters.billing import accounts, prices
from adapters.billing.desk import BillingDesk
from adapters.billing.ledger import Ledger
from adapters.billing.lists import PriceLists
from adapters.store.change import change, looking
from adapters.store.database import Database
from adapters.store.sections import Sections
from adapters.store.tenants import create_tenant
from domain.billing.cost import Rule
from domain.billing.settlement import Kind
from handlers.admin.directory import DirectoryApi, stored
from handlers.api.app import create_app
from tests.fakes import FakeEngine, FakeKeys, FakeLog
from tests.unit.billing.conftest import Money, movement
from tests.waiting import until

KEY = "hok_the-operators-own-key"
PRICE = {"channel": "sms", "amount": "0.0075", "currency": "EUR", "prefix": "45"}
MESSAGE = {"to": {"sms": "+4520123456"}, "content": {"text": "Hello"}}


class Doors:
    """The operator's API and the tenants', on one database."""

    def __init__(self, money: Money) -> None:
        self.money = money
        for tenant in ("acme", "other"):
            create_tenant(money.where, tenant)
        operator = DirectoryApi(stored(money.where), KEY).app
        self.engine = FakeEngine()
        tenant = create_app(
            FakeKeys({"of-acme": "acme", "of-other": "other"}),
            FakeLog(),
            self.engine,
            billing=BillingDesk(money.where, money.lists),
        )
        self._operator = _client(operator)
        self._tenant = _client(tenant)

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """As the operator."""
        headers = {"Authorization": f"Bearer {KEY}"}
        more = {} if body is None else {"json": body}
        return await self._operator.request(
            method, f"/admin/v1/{path}", headers=headers, params=query, **more
        )

    async def as_tenant(self, method: str, path: str, key: str = "of-acme", **more: Any):
        """As a tenant."""
        headers = {"Authorization": f"Bearer {key}"}
        return await self._tenant.request(method, path, headers=headers, **more)

    def enter(self, *movements: Any) -> None:
        """Have something charged."""
        with change(self.money.where) as database:
            Ledger().enter(database, movements)

    async def close(self) -> None:
        await self._operator.aclose()
        await self._tenant.aclose()


def _client(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://hermes")


@pytest.fixture
async def doors(money: Money) -> AsyncIterator[Doors]:
    opened = Doors(money)
    yield opened
    await opened.close()


async def add(doors: Doors, *lines: dict[str, Any]) -> httpx.Response:
    return await doors.ask("POST", "prices", {"prices": list(lines)})


async def test_a_price_from_its_adding_to_its_end(doors: Doors):
    made = await add(doors, PRICE, {**PRICE, "tenant": "acme", "rule": "delivered"})
    assert made.status_code == 201, made.text
    doors.money.lists.refresh()
    assert len(doors.money.lists.value.rows) == 2
    listed = (await doors.ask("GET", "prices", tenant="acme")).json()["prices"]
    assert [(line["amount"], line["rule"]) for line in listed] == [("0.0075", "delivered")]
    for line in made.json()["prices"]:
        assert (await doors.ask("DELETE", f"prices/{line['id']}")).status_code == 204
    assert (await doors.ask("GET", "prices")).json() == {"prices": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ({"amount": "0.00000075"}, 422, "validation_failed"),
        ({"amount": "-1"}, 422, "validation_failed"),
        ({"amount": 0.0075}, 422, "validation_failed"),
        ({"amount": "1e3"}, 422, "validation_failed"),
        ({"currency": "EURO"}, 422, "validation_failed"),
        ({"channel": "fax"}, 422, "validation_failed"),
        ({"tenant": "nobody"}, 422, "validation_failed"),
        ({"prefix": "+45"}, 422, "validation_failed"),
        ({"route": "a b"}, 422, "validation_failed"),
        ({"rule": "never"}, 422, "validation_failed"),
        ({"valid_from": "2026-05-01T00:00:00"}, 422, "validation_failed"),
        ({"valid_from": "9999-12-31T23:59:59-05:00"}, 422, "validation_failed"),
        ({"valid_from": "9999-12-31T23:59:59Z"}, 422, "validation_failed"),
        ({"valid_from": "9001-01-01T00:00:00Z"}, 422, "validation_failed"),
        ({"valid_from": "1969-12-31T23:59:59Z"}, 422, "validation_failed"),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, 422, "validation_failed"),
        ({"amount": "1000000"}, 422, "validation_failed"),
        ({"unknown": 1}, 422, "validation_failed"),
    ],
)
async def test_a_price_that_is_none(doors: Doors, line, status, code):
    answer = await add(doors, PRICE, {**PRICE, **line})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await doors.ask("GET", "prices")).json()["prices"] == []


async def test_two_prices_for_the_same_from_the_same_moment_on(doors: Doors):
    line = {**PRICE, "valid_from": "2026-05-01T00:00:00Z"}
    assert (await add(doors, line)).status_code == 201
    again = await add(doors, {**line, "prefix": "46"}, line)
    assert (again.status_code, again.json()["code"]) == (409, "price_exists")
    assert len((await doors.ask("GET", "prices")).json()["prices"]) == 1


async def test_a_price_that_holds_already_is_not_added_again(doors: Doors):
    assert (await add(doors, PRICE)).status_code == 201
    again = await add(doors, PRICE)
    assert (again.status_code, again.json()["code"]) == (409, "price_exists")
    since = (await doors.ask("GET", "prices")).json()["prices"][0]["valid_from"]
    assert since[:19] in again.json()["detail"]
    assert (await add(doors, {**PRICE, "amount": "0.008"})).status_code == 201
    assert (await add(doors, PRICE)).status_code == 201, "back to what it was"
    assert (await add(doors, {**PRICE, "rule": "delivered"})).status_code == 201
    assert len((await doors.ask("GET", "prices")).json()["prices"]) == 4


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "9000-12-31T11:59:59-12:00"])
async def test_the_first_and_the_last_moment_that_a_price_may_hold_from(doors: Doors, at):
    assert (await add(doors, {**PRICE, "valid_from": at})).status_code == 201
    doors.money.lists.refresh()
    assert len(doors.money.lists.value.rows) == 1


async def test_a_price_that_cannot_be_read_stops_nobody_and_can_be_removed(doors: Doors, caplog):
    """As one of a moment that no calendar has."""
    await add(doors, PRICE)
    insert = (
        "INSERT INTO prices"
        " (id, tenant, currency, channel, route, prefix, valid_from, amount, rule)"
        " VALUES (?, '', 'EUR', 'sms', '*', '', ?, 5, 'submitted')"
    )
    with change(doors.money.where, prices.SECTION) as database:
        id_ = prices.new_id()
        database.execute(insert, (id_, 253402318799.0))
    sections = Sections(doors.money.where)
    assert len(PriceLists(sections).value.rows) == 1, "a process starts"
    sections.close()
    doors.money.lists.refresh()
    assert len((await doors.ask("GET", "prices")).json()["prices"]) == 1
    said = [record for record in caplog.records if id_ in record.getMessage()]
    assert len(said) == 1
    assert (await doors.ask("DELETE", f"prices/{id_}")).status_code == 204
    assert (await doors.ask("DELETE", f"prices/{id_}")).json()["code"] == "price_not_found"


async def test_a_tenants_price_is_in_its_accounts_currency(doors: Doors):
    doors.money.account("acme")
    line = {**PRICE, "tenant": "acme", "currency": "USD"}
    refused = await add(doors, PRICE, line)
    assert (refused.status_code, refused.json()["code"]) == (409, "currency_differs")
    assert refused.json()["detail"] == "acme pays in EUR, not in USD."
    assert (await doors.ask("GET", "prices")).json()["prices"] == []
    assert (await add(doors, {**line, "tenant": "other"})).status_code == 201
    forced = await doors.ask("POST", "prices", {"prices": [line]}, force="true")
    assert forced.status_code == 201


async def test_an_account_in_a_currency_without_prices(doors: Doors):
    [line] = (await add(doors, {**PRICE, "currency": "USD"})).json()["prices"]
    refused = await doors.ask("PUT", "accounts/acme", {"currency": "EUR"})
    assert (refused.status_code, refused.json()["code"]) == (409, "currency_unpriced")
    assert (await doors.ask("GET", "accounts/acme")).json()["code"] == "no_account"
    forced = await doors.ask("PUT", "accounts/acme", {"currency": "EUR"}, force="true")
    assert forced.status_code == 200
    assert (await doors.ask("PUT", "accounts/other", {"currency": "USD"})).status_code == 200
    await add(doors, PRICE)
    refused = await doors.ask("DELETE", f"prices/{line['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "currency_unpriced")
    assert "other pays in USD" in refused.json()["detail"]
    forced = await doors.ask("DELETE", f"prices/{line['id']}", force="true")
    assert forced.status_code == 204


async def test_the_last_price_of_a_currency_does_not_go_while_an_account_is_opened_in_it(
    postgres: str, monkeypatch
):
    """A SQLite file has one writer at a time anyway."""
    money = Money(postgres)
    doors = Doors(money)
    [line, _] = (await add(doors, PRICE, {**PRICE, "currency": "USD"})).json()["prices"]
    refusals: list[Exception] = []

    def remove() -> None:
        try:
            with change(postgres, prices.SECTION) as database:
                prices.remove(database, [line["id"]], "operator")
        except prices.CurrencyUnpriced as refusal:
            refusals.append(refusal)

    removing = threading.Thread(target=remove)
    look_again = accounts.look_again

    def meanwhile(database: Database, tenant: str) -> None:
        # In the transaction that opens the account, behind the look at the prices.
        removing.start()
        until(lambda: not removing.is_alive() or _somebody_waits(postgres))
        look_again(database, tenant)

    monkeypatch.setattr(accounts, "look_again", meanwhile)
    opened = await doors.ask("PUT", "accounts/acme", {"currency": "EUR"})
    removing.join()
    assert opened.status_code == 200
    assert [refusal.tenant for refusal in refusals] == ["acme"]
    await doors.close()
    money.sections.close()


def _somebody_waits(where: str) -> bool:
    with looking(where) as database:
        found = database.execute("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")
        return found.fetchone() is not None


async def test_a_price_that_a_route_in_use_needs(doors: Doors):
    [line] = (await add(doors, PRICE)).json()["prices"]
    doors.enter(movement("m", at=datetime.now(UTC).timestamp()))
    refused = await doors.ask("DELETE", f"prices/{line['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "price_needed")
    assert "acme by tdc" in refused.json()["detail"]
    forced = await doors.ask("DELETE", f"prices/{line['id']}", force="true")
    assert forced.status_code == 204
    assert (await doors.ask("DELETE", f"prices/{line['id']}")).json()["code"] == "price_not_found"


async def test_an_account_from_its_opening_to_a_payment(doors: Doors):
    assert (await doors.ask("GET", "accounts/acme")).json()["code"] == "no_account"
    assert (await doors.as_tenant("GET", "/v1/account")).json()["code"] == "account_not_found"
    opened = await doors.ask("PUT", "accounts/acme", {"currency": "EUR"})
    assert opened.json() == {
        "tenant": "acme",
        "currency": "EUR",
        "balance": "0.00",
        "reserved": "0.00",
        "credit": "0.00",
        "empty": True,
    }
    entry = {"amount": "250.00", "reference": "invoice 17"}
    for _ in range(2):
        posted = await doors.ask("POST", "accounts/acme/entries", entry)
        assert posted.status_code == 201
    other = await doors.ask("POST", "accounts/acme/entries", {**entry, "amount": "1"})
    assert other.json()["code"] == "entry_exists"
    seen = (await doors.as_tenant("GET", "/v1/account")).json()
    assert (seen["balance"], seen["empty"]) == ("250.00", False)
    listed = (await doors.ask("GET", "accounts/acme/entries")).json()["entries"]
    assert [line["reference"] for line in listed] == ["invoice 17"]
    assert (await doors.as_tenant("GET", "/v1/account", "of-other")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("accounts/nobody", {"currency": "EUR"}, "tenant_not_found"),
        ("accounts/acme", {"currency": "EURO"}, "validation_failed"),
        ("accounts/acme", {"currency": "EUR", "credit": "-1"}, "validation_failed"),
        ("accounts/acme", {"currency": "USD"}, "currency_fixed"),
    ],
)
async def test_terms_that_are_refused(doors: Doors, path, body, code):
    doors.money.account("acme", 10)
    assert (await doors.ask("PUT", path, body)).json()["code"] == code


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "2026-05-01T12:00:00|r",
        "0001-01-01T00:00:00+14:00|r",
        "9999-12-31T23:59:59-14:00|r",
    ],
)
async def test_a_cursor_of_entries_that_no_page_gave(doors: Doors, cursor: str):
    doors.money.account("acme")
    answer = await doors.ask("GET", "accounts/acme/entries", cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": "0"}, "validation_failed"),
        ({"amount": "-5"}, "validation_failed"),
        ({"amount": "1,5"}, "validation_failed"),
        ({"amount": "5", "kind": "gift"}, "validation_failed"),
        ({"amount": "5", "reference": ""}, "validation_failed"),
        ({"amount": "1000000000000"}, "validation_failed"),
    ],
)
async def test_entries_that_are_refused(doors: Doors, body, code):
    doors.money.account("acme")
    entry = {"reference": "r", **body}
    answer = await doors.ask("POST", "accounts/acme/entries", entry)
    assert answer.json()["code"] == code
    assert doors.money.state("acme").balance == 0


async def test_messages_of_an_empty_account_are_refused_until_something_is_paid_in(doors: Doors):
    doors.money.price(5)
    doors.money.account("acme")
    refused = await doors.as_tenant("POST", "/v1/messages", json=MESSAGE)
    assert (refused.status_code, refused.json()["code"]) == (402, "account_empty")
    assert not doors.engine.held
    assert (await doors.as_tenant("POST", "/v1/messages", "of-other", json=MESSAGE)).is_success
    doors.money.pay("acme", 4)
    still = await doors.as_tenant("POST", "/v1/messages", json=MESSAGE)
    assert still.status_code == 402, "not enough for one"
    doors.money.pay("acme", 1)
    assert (await doors.as_tenant("POST", "/v1/messages", json=MESSAGE)).status_code == 202


async def test_each_segment_has_to_be_paid(doors: Doors):
    doors.money.price(5)
    doors.money.account("acme", 4)
    doors.money.pay("acme", 5)
    with change(doors.money.where, accounts.SECTION) as database:
        accounts.mark_short(database, "acme", 10)
    doors.money.lists.refresh()
    long = {**MESSAGE, "content": {"text": "x" * 161}}
    assert (await doors.as_tenant("POST", "/v1/messages", json=long)).status_code == 402
    assert (await doors.as_tenant("POST", "/v1/messages", json=MESSAGE)).status_code == 202
    shown = (await doors.as_tenant("GET", "/v1/account")).json()
    assert shown["empty"] is False


@pytest.mark.parametrize(
    ("price", "refused"),
    [
        ({}, True),
        ({"prefix": "45"}, True),
        ({"prefix": "46"}, False),
        ({"channel": "email"}, False),
        ({"route": "tdc"}, True),
        ({"tenant": "acme"}, True),
        ({"tenant": "other"}, False),
        ({"amount": 0}, False),
    ],
)
async def test_an_empty_account_refuses_only_what_has_a_price(doors: Doors, price, refused):
    doors.money.account("acme")
    doors.money.price(**{"amount": 5, **price})
    answer = await doors.as_tenant("POST", "/v1/messages", json=MESSAGE)
    assert answer.status_code == (402 if refused else 202), answer.text


async def test_each_message_of_a_batch_is_refused(doors: Doors):
    doors.money.price(5)
    doors.money.account("acme")
    answer = await doors.as_tenant("POST", "/v1/messages/batch", json={"messages": [MESSAGE] * 2})
    assert answer.json()["refused"] == 2
    codes = {item["problem"]["code"] for item in answer.json()["results"]}
    assert codes == {"account_empty"}


async def test_usage_is_each_tenants_own(doors: Doors):
    doors.enter(
        movement("a", segments=2, amount=-15_000),
        movement("b", Kind.RESERVE, -7_500, rule=Rule.DELIVERED),
        movement("c", tenant="other"),
    )
    days = {"first": "2026-05-01", "last": "2026-05-31"}
    mine = (await doors.as_tenant("GET", "/v1/usage", params=days)).json()
    line = {
        "tenant": "acme",
        "day": "2026-05-01",
        "channel": "sms",
        "route": "tdc",
        "currency": "EUR",
        "attempts": 1,
        "segments": 2,
        "cost": "0.015",
        "open": 1,
        "reserved": "0.0075",
        "refunded": 0,
    }
    assert mine["lines"] == [line]
    everyone = (await doors.ask("GET", "usage", **days)).json()
    assert [one["tenant"] for one in everyone["lines"]] == ["acme", "other"]
    assert [total["attempts"] for total in everyone["totals"]] == [2]
    table = await doors.as_tenant("GET", "/v1/usage", params={**days, "format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines() == [
        ",".join(line),
        "acme,2026-05-01,sms,tdc,EUR,1,2,0.015,1,0.0075,0",
    ]


@pytest.mark.parametrize(
    "query",
    [
        {"first": "2026-05-02", "last": "2026-05-01"},
        {"first": "2024-05-01", "last": "2026-05-01"},
        {"first": "soon"},
        {"channel": "fax"},
        {"tenant": "other"},
        {"format": "xml"},
    ],
)
async def test_usage_that_cannot_be_asked_for(doors: Doors, query):
    answer = await doors.as_tenant("GET", "/v1/usage", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
