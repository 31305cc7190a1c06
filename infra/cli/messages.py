"""`hermes messages`: look at messages and withdraw them."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json, seconds, status_style
from infra.cli.follow import follow as follow_message
from infra.cli.timeline import Timeline

_STATUSES = ("scheduled", "processing", "sent", "delivered", "failed", "expired", "canceled")


@click.group()
def messages() -> None:
    """Look at messages and withdraw them."""


@messages.command("list")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(_STATUSES), help="Only these."
)
@click.option("--channel", help="Only those whose last channel this is.")
@click.option(
    "--mode", type=click.Choice(("live", "test")), help="Live or test ones [what the key sends]."
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--cursor", help="Where the page before ended.")
@as_json
@with_api
def list_messages(
    api: ApiClient,
    statuses: tuple[str, ...],
    channel: str | None,
    mode: str | None,
    limit: int,
    cursor: str | None,
    json_output: bool,
) -> None:
    """List the newest messages."""
    page = api.list(status=statuses, channel=channel, mode=mode, limit=limit, cursor=cursor)
    if json_output:
        print_json(page)
        return
    out = console()
    if not page["data"]:
        out.print("No messages.", style="quiet")
        return
    table = Table(box=None, pad_edge=False, header_style="quiet", show_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("channel", no_wrap=True)
    table.add_column("created", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("why not", overflow="ellipsis", no_wrap=True)
    for message in page["data"]:
        table.add_row(*_row(message))
    out.print(table)
    if page.get("next_cursor"):
        same = "" if mode is None else f"--mode {mode} "
        more = f"\nMore: hermes messages list {same}--cursor {page['next_cursor']}"
        out.print(more, style="quiet", soft_wrap=True)


@messages.command()
@click.argument("message_id")
@click.option("--follow", is_flag=True, help="Go on until the message has ended.")
@as_json
@with_api
def show(api: ApiClient, message_id: str, follow: bool, json_output: bool) -> None:
    """Draw a message's timeline."""
    if follow:
        watch(api, message_id, json_output)
        return
    message = api.get(message_id)
    if json_output:
        print_json(message)
    else:
        console().print(Timeline(message))


@messages.command()
@click.argument("message_id")
@as_json
@with_api
def cancel(api: ApiClient, message_id: str, json_output: bool) -> None:
    """Withdraw a message; what a provider already has may still arrive."""
    answer = api.cancel(message_id)
    if json_output:
        print_json(answer)
    else:
        console().print(
            f"Cancellation of {message_id} was asked for; it was {answer.get('status')}. "
            "The timeline has the outcome: hermes messages show",
            soft_wrap=True,
        )


def watch(api: ApiClient, message_id: str, json_output: bool) -> None:
    """Show a message's timeline as it happens; exit code 1 when it did not get through."""
    out = console(sys.stderr) if json_output else console()
    ended = follow_message(message_id, api.get, out)
    if json_output:
        print_json(ended)
    if ended.get("status") not in ("sent", "delivered"):
        sys.exit(1)


def _row(message: dict[str, Any]) -> tuple[Text, ...]:
    status = str(message.get("status"))
    created = datetime.fromisoformat(message["created_at"])
    took = ""
    if message.get("ended_at"):
        ended = datetime.fromisoformat(message["ended_at"])
        took = seconds(max((ended - created).total_seconds(), 0.0))
    return (
        Text(message["id"]),
        Text(status, style=status_style(status)),
        Text(message.get("channel") or "", style="channel"),
        Text(f"{created.astimezone():%d %b %H:%M:%S}"),
        Text(took),
        Text((message.get("failure") or {}).get("code", ""), style="quiet"),
    )
