"""`hermes prices`, `hermes accounts` and `hermes usage`, straight in the database."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapters.billing.ledger import Ledger
from adapters.store.change import change
from adapters.store.schema import open_store
from adapters.store.tenants import create_tenant
from infra.cli.main import hermes
from tests.unit.billing.conftest import movement


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a tenant, which the settings name."""
    monkeypatch.setenv("HERMES_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("HERMES_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    create_tenant(tmp_path / "hermes.db", "acme")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(hermes, words)


def as_json(*words: str):
    answer = run(*words, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.output)


def test_prices_from_their_adding_to_their_end(data_dir: Path):
    assert "everything is free" in run("prices", "list").output
    made = as_json("prices", "add", "sms", "0.0075", "eur", "--prefix", "+45", "--route", "tdc")
    assert (made["amount"], made["currency"], made["prefix"]) == ("0.0075", "EUR", "45")
    table = run("prices", "list").output
    assert "0.0075 EUR" in table
    assert "+45…" in table
    assert run("prices", "remove", made["id"], "--yes").exit_code == 0
    assert run("prices", "remove", made["id"], "--yes").exit_code == 1


def test_a_price_list_in_a_file(data_dir: Path):
    file = data_dir / "prices.csv"
    file.write_text(
        "channel,route,prefix,amount,currency,rule,tenant,valid_from\n"
        "sms,*,46,0.021,EUR,delivered,acme,2027-06-01T00:00:00Z\n"
        "email,,,0.0002,EUR,,,\n"
    )
    assert as_json("prices", "import", str(file)) == {"added": 2}
    rules = [price["rule"] for price in as_json("prices", "list")["prices"]]
    assert rules == ["submitted", "delivered"]


@pytest.mark.parametrize(
    ("content", "exit_code"),
    [
        ("channel,amount,currency\n", 2),
        ("channel,price\nsms,1\n", 2),
        ("channel,amount,currency\nsms,1,EUR\nfax,1,EUR\n", 1),
        ("channel,amount,currency,valid_from\nsms,1,EUR,9999-12-31T23:59:59-05:00\n", 1),
    ],
)
def test_a_file_that_is_no_price_list_adds_nothing(data_dir: Path, content: str, exit_code: int):
    file = data_dir / "prices.csv"
    file.write_text(content)
    assert run("prices", "import", str(file)).exit_code == exit_code
    assert as_json("prices", "list")["prices"] == []


def test_faults_of_a_file_are_told_by_its_lines(data_dir: Path):
    file = data_dir / "prices.csv"
    file.write_text("channel,amount,currency\nsms,1,EUR\n\nsms,one,EUR\n")
    refused = run("prices", "import", str(file)).output
    assert "  line 4, amount: For one segment: decimal text" in refused
    assert "/prices/" not in refused
    file.write_text("channel,amount,currency\nsms,1,EUR\nfax,1,eur\n")
    refused = run("prices", "import", str(file)).output
    assert "  line 3, channel: Channels: sms" in refused
    assert "  line 3, currency: Not a currency of ISO 4217, such as EUR." in refused


def test_an_account_that_is_not_there_is_opened_by_a_command(data_dir: Path):
    refused = run("accounts", "show", "acme")
    assert refused.exit_code == 1
    assert "hermes accounts set TENANT CURRENCY" in refused.output


def test_a_currency_in_which_nothing_has_a_price_is_forced_or_refused(data_dir: Path):
    run("prices", "add", "sms", "0.0075", "eur")
    refused = run("accounts", "set", "acme", "usd")
    assert (refused.exit_code, "USD" in refused.output) == (1, True)
    assert run("accounts", "set", "acme", "usd", "--force").exit_code == 0
    mine = ("prices", "add", "sms", "0.005", "eur", "--tenant", "acme")
    assert run(*mine).exit_code == 1
    assert run(*mine, "--force").exit_code == 0
    file = data_dir / "prices.csv"
    file.write_text("channel,amount,currency,tenant\nemail,1,EUR,acme\n")
    assert run("prices", "import", str(file)).exit_code == 1
    assert as_json("prices", "import", str(file), "--force") == {"added": 1}


def test_an_account_and_what_is_paid_in(data_dir: Path):
    assert "empty" in run("accounts", "set", "acme", "eur").output
    assert as_json("accounts", "pay", "acme", "250.00", "--reference", "r")["amount"] == "250.00"
    assert run("accounts", "pay", "acme", "-3", "--correction").exit_code == 0
    assert run("accounts", "pay", "acme", "-3").exit_code == 1
    shown = as_json("accounts", "show", "acme")
    assert (shown["balance"], shown["empty"]) == ("247.00", False)
    assert "247.00 EUR" in run("accounts", "list").output


def test_an_account_shows_how_its_balance_comes_about(data_dir: Path):
    with change(data_dir / "hermes.db") as database:
        Ledger().enter(database, [movement("m", amount=-7_500)])
    assert run("accounts", "set", "acme", "EUR").exit_code == 0
    unpaid = run("accounts", "show", "acme").output
    assert "0.00 posted - 0.0075 charged since the first message - 0.00 set aside" in unpaid
    for number in range(22):
        as_json("accounts", "pay", "acme", "10", "--reference", f"r{number}")
    shown = run("accounts", "show", "acme").output
    assert "220.00 posted - 0.0075 charged since the first message" in shown
    assert "= 219.9925 EUR" in shown
    assert shown.count("top-up") == 20


def test_usage_as_a_table_and_as_csv(data_dir: Path):
    with change(data_dir / "hermes.db") as database:
        Ledger().enter(database, [movement("m", amount=-7_500)])
    days = ("--first", "2026-05-01", "--last", "2026-05-31")
    assert "0.0075 EUR" in run("usage", *days).output
    heading, line = run("usage", *days, "--csv").output.splitlines()
    assert heading.startswith("tenant,day,channel,route,currency")
    assert line == "acme,2026-05-01,sms,tdc,EUR,1,1,0.0075,0,0.00,0"
    assert "Nothing was charged" in run("usage", "--last", "2020-01-31").output


def test_the_check_fails_when_something_does_not_add_up(data_dir: Path):
    assert run("accounts", "check").exit_code == 0
    with closing(open_store(data_dir / "hermes.db", "hermes")) as database:
        database.execute("INSERT INTO balances VALUES ('acme', 'EUR', 1, 5)")
    failed = run("accounts", "check")
    assert failed.exit_code == 1
    assert "acme EUR" in failed.output
