"""`hermes usage`: what was sent and what it cost."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.text import Text

from infra.cli.administration import Administration, with_administration
from infra.cli.console import as_json, console, print_json
from infra.cli.plain_table import plain_table

Json = dict[str, Any]
_COLUMNS = (
    "tenant", "day", "channel", "route", "currency", "attempts", "segments", "cost", "open",
    "reserved", "refunded",
)  # fmt: skip


@click.command()
@click.option("--tenant", help="Only this tenant's.")
@click.option("--first", metavar="DAY", help="As 2026-05-01; else the first of the month.")
@click.option("--last", metavar="DAY", help="As 2026-05-31; else today. Days are in UTC.")
@click.option("--channel", help="Only this channel.")
@click.option("--route", help="Only this carrier or adapter.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading instead of a table.")
@as_json
@with_administration
def usage(
    admin: Administration,
    tenant: str | None,
    first: str | None,
    last: str | None,
    channel: str | None,
    route: str | None,
    as_csv: bool,
    json_output: bool,
) -> None:
    """Show what was charged by tenant, day, channel and route.

    Only what has a price is counted. `set aside` is reserved for attempts that may still become
    due, and `refunds` had been.
    """
    report = admin.ask(
        "GET", "usage", tenant=tenant, first=first, last=last, channel=channel, route=route
    )
    if json_output:
        print_json(report)
        return
    if as_csv:
        _print_csv(report["lines"])
        return
    out = console()
    if not report["lines"]:
        out.print(f"Nothing was charged from {report['first']} to {report['last']}.", style="quiet")
        return
    numbers = ("attempts", "segments", "cost", "set aside", "refunds")
    table = plain_table("day", "tenant", "channel", "route", *numbers, right=numbers)
    for line in report["lines"]:
        table.add_row(
            line["day"],
            Text(line["tenant"], style="strong"),
            Text(line["channel"], style="channel"),
            Text(line["route"]),
            *_numbers(line),
        )
    table.add_section()
    for total in report["totals"]:
        table.add_row(Text("in all", style="strong"), "", "", "", *_numbers(total))
    out.print(table)


def _numbers(line: Json) -> tuple[Text, ...]:
    money = f"{line['cost']} {line['currency']}"
    aside = f"{line['reserved']} {line['currency']}" if line["open"] else ""
    return (
        Text(f"{line['attempts']:,}"),
        Text(f"{line['segments']:,}"),
        Text(money, style="strong"),
        Text(aside, style="warn"),
        Text(f"{line['refunded']:,}", style="" if line["refunded"] else "quiet"),
    )


def _print_csv(lines: list[Json]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([line[name] for name in _COLUMNS] for line in lines)
