"""`hermes recipients`: forget a person, and whom to send test messages to."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from domain.channels import CHANNELS
from domain.sandbox import SCRIPTS
from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json
from infra.cli.plain_table import plain_table
from infra.cli.removal import asked_first, confirm_removal

Json = dict[str, Any]


@click.group()
def recipients() -> None:
    """Forget a person; list the magic recipients of the sandbox.

    \b
      hermes recipients erase --to sms=+4520123456 --to email=anna@example.com
      hermes recipients magic
    """


@recipients.command()
@click.option(
    "--to", "to", multiple=True, required=True, metavar="CHANNEL=ADDRESS",
    help=f"The person's address; several. Channels: {', '.join(CHANNELS)}.",
)  # fmt: skip
@asked_first
@as_json
@with_api
def erase(api: ApiClient, to: tuple[str, ...], yes: bool, json_output: bool) -> None:
    """Take what names a person out of all your messages to these addresses.

    Ids, times, statuses and costs stay, and so does the entry on your suppression list, which has
    no address. It cannot be taken back.
    """
    addresses = dict(_address(text) for text in to)
    people = ", ".join(addresses.values())
    confirm_removal(people, f"Forget {people} for good?", yes=yes)
    found = api.ask("DELETE", "/v1/recipients", {"to": addresses}, patience=60)["recipients"]
    if json_output:
        print_json(found)
        return
    table = plain_table("channel", "erased", "under way")
    for channel, one in found.items():
        erased = f"{one['erased']:,}" + (" and more" if one["more"] else "")
        table.add_row(channel, erased, f"{one['under_way']:,}")
    console().print(table)
    if any(one["more"] for one in found.values()):
        click.echo("The others follow by themselves, within minutes.")
    if any(one["under_way"] for one in found.values()):
        click.echo("Those under way are erased once they have ended.")


@recipients.command()
@as_json
def magic(json_output: bool) -> None:
    """List what becomes of a test key's messages, by their recipient.

    The last four digits of a phone number choose, and so does the word that an e-mail address or
    a push token begins with.
    """
    if json_output:
        rows = [{"digits": s.digits, "word": s.word, "meaning": s.meaning} for s in SCRIPTS]
        print_json(rows)
        return
    table = plain_table("number", "address", "what happens")
    for script in SCRIPTS:
        table.add_row(f"…{script.digits}", f"{script.word}@…", Text(script.meaning))
    console().print(table)


def _address(text: str) -> tuple[str, str]:
    channel, equals, address = text.partition("=")
    if not equals or channel not in CHANNELS or not address:
        raise click.BadParameter(
            f"{text!r} is not CHANNEL=ADDRESS, as in sms=+4520123456", param_hint="--to"
        )
    return channel, address
