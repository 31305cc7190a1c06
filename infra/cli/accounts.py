"""`hermes accounts`: what tenants may spend."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import click
from rich.text import Text

from domain.billing.money import MICROS, text
from infra.cli.administration import Administration, database, with_administration
from infra.cli.console import as_json, console, print_json
from infra.cli.plain_table import day, plain_table

Json = dict[str, Any]
_SHOWN = 20
_PAGE = 500


@click.group()
def accounts() -> None:
    """Open accounts, post payments, and see what is left.

    \b
      hermes accounts set acme EUR                 paid in advance
      hermes accounts pay acme 250.00
      hermes accounts set acme EUR --credit 1000   may be overdrawn so far
      hermes accounts set acme EUR --no-limit

    A tenant without an account is charged without a limit.
    """


@accounts.command("list")
@as_json
@with_administration
def list_accounts(admin: Administration, json_output: bool) -> None:
    """List the accounts as they stand."""
    found = admin.ask("GET", "accounts")
    if json_output:
        print_json(found)
        return
    if not found["accounts"]:
        console().print(
            "No accounts. hermes accounts set TENANT CURRENCY opens one.", style="quiet"
        )
        return
    _print(found["accounts"])


@accounts.command()
@click.argument("tenant")
@as_json
@with_administration
def show(admin: Administration, tenant: str, json_output: bool) -> None:
    """Show TENANT's account, and what was posted to it last."""
    account = admin.ask("GET", f"accounts/{tenant}")
    if json_output:
        posted = admin.ask("GET", f"accounts/{tenant}/entries", limit=_SHOWN)["entries"]
        print_json({**account, "entries": posted})
        return
    posted = list(_entries(admin, tenant))
    _print([account])
    console().print()
    console().print(_sum(account, posted), soft_wrap=True)
    if not posted:
        return
    table = plain_table("when", "what", "amount", "reference", "by", "note", right=("amount",))
    for entry in posted[:_SHOWN]:
        table.add_row(
            day(entry["at"]),
            entry["kind"].replace("_", "-"),
            _money(entry["amount"], entry["currency"]),
            Text(entry["reference"]),
            Text(entry["actor"], style="quiet"),
            Text(entry["note"]),
        )
    console().print()
    console().print(table)


@accounts.command("set")
@click.argument("tenant")
@click.argument("currency")
@click.option("--credit", default="0", help="How far it may be overdrawn.", show_default=True)
@click.option("--no-limit", is_flag=True, help="However far.")
@click.option("--force", is_flag=True, help="Even if no price is in CURRENCY: all is free then.")
@as_json
@with_administration
def set_terms(
    admin: Administration,
    tenant: str,
    currency: str,
    credit: str,
    no_limit: bool,
    force: bool,
    json_output: bool,
) -> None:
    """Open TENANT's account in CURRENCY, or change what it allows.

    A new one begins with what TENANT was charged in CURRENCY before, and so below zero or at it:
    without credit nothing that has a price is accepted until what is paid in goes beyond that.
    """
    body = {"currency": currency.upper(), "credit": None if no_limit else credit}
    account = admin.ask("PUT", f"accounts/{tenant}", body, force="true" if force else None)
    if json_output:
        print_json(account)
    else:
        _print([account])


# An amount below zero is no option.
@accounts.command(context_settings={"ignore_unknown_options": True})
@click.argument("tenant")
@click.argument("amount")
@click.option("--reference", help="What the payment is known by; posted once. Else made up.")
@click.option("--correction", is_flag=True, help="No payment; the amount may be below zero.")
@click.option("--note", default="", help="For whoever reads it later.")
@as_json
@with_administration
def pay(
    admin: Administration,
    tenant: str,
    amount: str,
    reference: str | None,
    correction: bool,
    note: str,
    json_output: bool,
) -> None:
    """Post a payment of AMOUNT to TENANT's account."""
    entry = admin.ask(
        "POST",
        f"accounts/{tenant}/entries",
        {
            "amount": amount,
            "reference": reference or f"by hand {secrets.token_hex(4)}",
            "kind": "adjustment" if correction else "top_up",
            "note": note,
        },
    )
    if json_output:
        print_json(entry)
        return
    account = admin.ask("GET", f"accounts/{tenant}")
    left = f"{account['balance']} {account['currency']}"
    console().print(
        Text(
            f"{entry['amount']} {entry['currency']} posted as {entry['reference']!r}; now {left}."
        ),
        soft_wrap=True,
    )


@accounts.command()
@as_json
def check(json_output: bool) -> None:
    """Prove that the money adds up: every balance and every report again from the ledger, and the
    ledger from the messages.

    Reads the whole database, while it is in use. Exit code 1 when something does not add up.
    """
    from adapters.billing.check import check as check_all

    findings = check_all(database())
    if json_output:
        print_json(
            [
                {
                    "name": finding.name,
                    "ok": finding.ok,
                    "of": finding.of,
                    "wrong": finding.wrong,
                    "examples": list(finding.examples),
                }
                for finding in findings
            ]
        )
    else:
        out = console()
        for finding in findings:
            mark, style = ("✓", "good") if finding.ok else ("✗", "bad")
            line = Text.assemble((f"{mark} ", style), finding.name, (f"  {finding.of:,}", "quiet"))
            if not finding.ok:
                line.append(f"  {finding.wrong:,} wrong", style="bad")
            out.print(line)
            for example in finding.examples:
                out.print(Text(f"    {example}", style="quiet"), soft_wrap=True)
    if not all(finding.ok for finding in findings):
        sys.exit(1)


def _entries(admin: Administration, tenant: str) -> Iterator[Json]:
    cursor: str | None = None
    while True:
        page = admin.ask("GET", f"accounts/{tenant}/entries", limit=_PAGE, cursor=cursor)
        yield from page["entries"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _sum(account: Json, posted: list[Json]) -> Text:
    """How the balance comes about: what was posted, less what messages were charged since the
    first of them, also before the account was opened, and what is set aside for those under way."""
    balance, set_aside = Decimal(account["balance"]), Decimal(account["reserved"])
    paid = sum((Decimal(entry["amount"]) for entry in posted), Decimal(0))
    charged = paid - balance - set_aside
    return Text(
        f"{_plain(paid)} posted - {_plain(charged)} charged since the first message"
        f" - {_plain(set_aside)} set aside = {_plain(balance)} {account['currency']}"
    )


def _plain(amount: Decimal) -> str:
    return text(int(amount * MICROS))


def _print(found: list[Json]) -> None:
    numbers = ("balance", "set aside", "credit")
    table = plain_table("tenant", *numbers, "status", right=numbers)
    for account in found:
        currency = account["currency"]
        credit = account["credit"]
        table.add_row(
            Text(account["tenant"], style="strong"),
            _money(account["balance"], currency),
            Text(f"{account['reserved']} {currency}", style="quiet"),
            Text("no limit", style="quiet") if credit is None else Text(f"{credit} {currency}"),
            Text("empty", style="bad") if account["empty"] else Text("good", style="good"),
        )
    console().print(table)


def _money(amount: str, currency: str) -> Text:
    return Text(f"{amount} {currency}", style="bad" if amount.startswith("-") else "strong")
