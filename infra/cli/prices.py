"""`hermes prices`: what messages cost, by route and destination."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from infra.cli.administration import Administration, with_administration
from infra.cli.client import ApiError
from infra.cli.console import as_json, console, print_json, say
from infra.cli.plain_table import day, plain_table
from infra.cli.removal import asked_first, confirm_removal

Json = dict[str, Any]
_OF_REQUEST = re.compile(r"^  /prices/(\d+)(?:/(\w+))?(?=:)", re.MULTILINE)
_PAGE = 1000
_AT_ONCE = 300
_COLUMNS = ("tenant", "channel", "route", "prefix", "amount", "currency", "rule", "valid_from")


@click.group()
def prices() -> None:
    """Say what a segment costs, by channel, route and number.

    \b
      hermes prices add sms 0.0075 EUR --prefix 45
      hermes prices add sms 0.0069 EUR --prefix 45 --route tdc --tenant acme
      hermes prices import prices.csv

    What has no price is free. A tenant's own prices go before the general ones, those that name
    the carrier or adapter before those for any route, the longest prefix before shorter ones. A
    price is never changed: add one that holds from a later moment on.
    """


@prices.command("list")
@click.option("--tenant", help="Only this tenant's own; '' for the general ones.")
@click.option("--channel", help="Only this channel's.")
@click.option("--route", help="Only those that name this route.")
@as_json
@with_administration
def list_prices(
    admin: Administration,
    tenant: str | None,
    channel: str | None,
    route: str | None,
    json_output: bool,
) -> None:
    """List the prices, by what they are for."""
    found: list[Json] = []
    cursor: str | None = None
    while True:
        page = admin.ask(
            "GET", "prices", tenant=tenant, channel=channel, route=route, limit=_PAGE, cursor=cursor
        )
        found += page["prices"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if json_output:
        print_json({"prices": found})
        return
    if not found:
        console().print("No prices: everything is free.", style="quiet")
        return
    table = plain_table(
        "channel", "for", "route", "numbers", "a segment", "owed when", "from", "id",
        right=("a segment",),
    )  # fmt: skip
    now = datetime.now(UTC)
    for price in found:
        later = datetime.fromisoformat(price["valid_from"]) > now
        table.add_row(
            Text(price["channel"], style="channel"),
            Text(price["tenant"] or "everyone", style="" if price["tenant"] else "quiet"),
            _any(price["route"], "*"),
            Text(f"+{price['prefix']}…") if price["prefix"] else Text("any", style="quiet"),
            Text(f"{price['amount']} {price['currency']}", style="quiet" if later else "strong"),
            Text(price["rule"]),
            Text(day(price["valid_from"]), style="warn" if later else ""),
            Text(price["id"], style="quiet"),
        )
    console().print(table)


@prices.command()
@click.argument("channel")
@click.argument("amount")
@click.argument("currency")
@click.option("--route", default="*", help="Only by this carrier or adapter.")
@click.option("--prefix", default="", help="Only for numbers that begin so: 45, without the +.")
@click.option("--tenant", help="Only for this tenant.")
@click.option(
    "--rule",
    type=click.Choice(["submitted", "delivered"]),
    default="submitted",
    show_default=True,
    help="When it is owed: once the provider has the message, or once it has arrived.",
)
@click.option("--from", "valid_from", metavar="TIME", help="As 2026-06-01T00:00:00Z; else now.")
@click.option("--force", is_flag=True, help="Even in another currency than TENANT's account.")
@as_json
@with_administration
def add(
    admin: Administration,
    channel: str,
    amount: str,
    currency: str,
    route: str,
    prefix: str,
    tenant: str | None,
    rule: str,
    valid_from: str | None,
    force: bool,
    json_output: bool,
) -> None:
    """Add a price: AMOUNT in CURRENCY for one segment on CHANNEL."""
    line = {
        "channel": channel,
        "amount": amount,
        "currency": currency.upper(),
        "route": route,
        "prefix": prefix.lstrip("+"),
        "tenant": tenant,
        "rule": rule,
        "valid_from": valid_from,
    }
    forced = "true" if force else None
    [made] = admin.ask("POST", "prices", {"prices": [line]}, force=forced)["prices"]
    if json_output:
        print_json(made)
        return
    since = day(made["valid_from"])
    console().print(
        Text(f"{made['id']}: {made['amount']} {made['currency']} a segment from {since} on."),
        soft_wrap=True,
    )


@prices.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Even in other currencies than tenants' accounts.")
@as_json
@with_administration
def import_prices(admin: Administration, file: Path, force: bool, json_output: bool) -> None:
    """Add the prices of a CSV file, whose heading names the columns.

    \b
      channel,route,prefix,amount,currency,rule,tenant,valid_from
      sms,tdc,45,0.0069,EUR,submitted,,
      sms,*,46,0.0210,EUR,delivered,acme,2026-06-01T00:00:00Z

    Only channel, amount and currency are needed. Lines are added 300 at a time, all of those or
    none.
    """
    lines = _read(file)
    made = 0
    for start in range(0, len(lines), _AT_ONCE):
        portion = lines[start : start + _AT_ONCE]
        numbers = [number for number, _ in portion]
        given = [line for _, line in portion]
        try:
            added = admin.ask("POST", "prices", {"prices": given}, force="true" if force else None)
            made += len(added["prices"])
        except ApiError as error:
            say(f"{made} were added before; lines {numbers[0]} to {numbers[-1]}:", "bad")
            raise _of_file(error, numbers) from None
    if json_output:
        print_json({"added": made})
    else:
        console().print(f"{made:,} prices are added.")


@prices.command()
@click.argument("price_id")
@click.option("--force", is_flag=True, help="Even if routes in use are free without it.")
@asked_first
@as_json
@with_administration
def remove(admin: Administration, price_id: str, force: bool, yes: bool, json_output: bool) -> None:
    """Strike a price out; what was charged by it stays charged."""
    confirm_removal(price_id, f"Strike {price_id} out?", yes=yes)
    admin.ask("DELETE", f"prices/{price_id}", force="true" if force else None)
    if json_output:
        print_json({"id": price_id, "removed": True})
    else:
        console().print(Text(f"{price_id} is removed."), soft_wrap=True)


def _of_file(error: ApiError, numbers: list[int]) -> ApiError:
    """The same error with the file's lines for the request's."""

    def line(place: re.Match[str]) -> str:
        number, column = place.groups()
        return f"  line {numbers[int(number)]}" + (f", {column}" if column else "")

    return ApiError(_OF_REQUEST.sub(line, error.message), error.problem)


def _read(file: Path) -> list[tuple[int, Json]]:
    """The prices, each with the line on which it ends."""
    with file.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.DictReader(opened)
        unknown = set(reader.fieldnames or ()) - set(_COLUMNS)
        if unknown:
            raise click.UsageError(
                f"{file}: no column is called {', '.join(sorted(unknown))}. "
                f"Columns: {', '.join(_COLUMNS)}."
            )
        lines = [
            (
                reader.line_num,
                {name: value.strip() for name, value in row.items() if value and value.strip()},
            )
            for row in reader
        ]
    if not lines:
        raise click.UsageError(f"{file} has no prices.")
    return lines


def _any(value: str, anything: str) -> Text:
    return Text("any", style="quiet") if value == anything else Text(value)
