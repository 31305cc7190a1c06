"""`hermes senders`: which senders of SMS are whose, and where they are registered."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click
from rich.text import Text

from infra.cli.administration import Administration, with_administration
from infra.cli.console import as_json, console, print_json
from infra.cli.plain_table import day, plain_table
from infra.cli.removal import asked_first, confirm_removal

Json = dict[str, Any]
_PAGE = 500
_STYLES = {"approved": "good", "pending": "warn", "rejected": "bad"}


@click.group()
def senders() -> None:
    """Say which senders of SMS are whose, and where they are registered.

    \b
      hermes senders approve acme AcmeBank --country IN --country SG
      hermes senders approve acme AcmeBank --reserved
      hermes senders reject acme Casino

    What a country takes is checked for every sender; those of a tenant that are not in this list
    are its own affair, unless its setting compliance.senders says otherwise.
    """


@senders.command("list")
@click.option("--tenant", help="Only this tenant's.")
@as_json
@with_administration
def list_senders(admin: Administration, tenant: str | None, json_output: bool) -> None:
    """List the senders."""
    found: list[Json] = []
    cursor: str | None = None
    while True:
        page = admin.ask("GET", "senders", tenant=tenant, limit=_PAGE, cursor=cursor)
        found += page["senders"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if json_output:
        print_json({"senders": found})
        return
    if not found:
        console().print("No senders. hermes senders approve adds one.", style="quiet")
        return
    table = plain_table("tenant", "sender", "status", "countries", "since", "note")
    for one in found:
        table.add_row(
            one["tenant"],
            Text(one["sender"], style="strong"),
            _status(one),
            Text(" ".join(one["countries"])) if one["countries"] else Text("any", style="quiet"),
            day(one["changed_at"]),
            Text(one["note"]),
        )
    console().print(table)


@senders.command()
@click.argument("tenant")
@click.argument("sender")
@click.option(
    "--country",
    "countries",
    multiple=True,
    metavar="CC",
    help="Where it is registered or meant for, such as DK; may be repeated. Left out: wherever no "
    "registration is needed.",
)
@click.option("--reserved", is_flag=True, help="Keep it from all other tenants.")
@click.option("--pending", is_flag=True, help="It is asked for, but not registered yet.")
@click.option("--note", default="", help="For operators.")
@as_json
@with_administration
def approve(
    admin: Administration,
    tenant: str,
    sender: str,
    countries: tuple[str, ...],
    reserved: bool,
    pending: bool,
    note: str,
    json_output: bool,
) -> None:
    """Let TENANT send as SENDER. What was said about it before is replaced."""
    body = {
        "status": "pending" if pending else "approved",
        "countries": [country.upper() for country in countries],
        "reserved": reserved,
        "note": note,
    }
    put = admin.ask("PUT", _path(tenant, sender), body)
    where = f" in {', '.join(put['countries'])}" if put["countries"] else ""
    _tell(put, f"{put['sender']} is {put['status']} for {tenant}{where}.", json_output)


@senders.command()
@click.argument("tenant")
@click.argument("sender")
@click.option("--note", default="", help="Why.")
@as_json
@with_administration
def reject(admin: Administration, tenant: str, sender: str, note: str, json_output: bool) -> None:
    """Never let TENANT send as SENDER."""
    put = admin.ask("PUT", _path(tenant, sender), {"status": "rejected", "note": note})
    _tell(put, f"{put['sender']} is rejected for {tenant}.", json_output)


@senders.command()
@click.argument("tenant")
@click.argument("sender")
@asked_first
@as_json
@with_administration
def remove(admin: Administration, tenant: str, sender: str, yes: bool, json_output: bool) -> None:
    """Forget what was said about SENDER of TENANT: it is then one like any other."""
    confirm_removal(sender, f"Remove {sender} of {tenant}?", yes=yes)
    removed = admin.ask("DELETE", _path(tenant, sender))
    _tell(removed, f"{sender} of {tenant} is removed.", json_output)


def _path(tenant: str, sender: str) -> str:
    return f"senders/{quote(tenant, safe='')}/{quote(sender, safe='')}"


def _status(sender: Json) -> Text:
    status = sender["status"]
    text = Text(status, style=_STYLES.get(status, ""))
    if sender["reserved"]:
        text.append(", reserved", style="quiet")
    return text


def _tell(answer: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(answer)
    else:
        console().print(Text(sentence))
