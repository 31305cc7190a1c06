"""`hermes messages`: look at messages and withdraw them."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json, seconds, status_style
from infra.cli.follow import TERMINAL
from infra.cli.follow import follow as follow_message
from infra.cli.pairs import Pair
from infra.cli.timeline import Timeline

_MOST: Final = 500
_LONGEST_STATUS: Final = len("processing")
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
@click.option(
    "--metadata",
    type=Pair(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Only those with this label; once for each.",
)
@click.option(
    "--created-after", metavar="TIME", help="Created then or later: 2026-01-31T09:00:00+01:00."
)
@click.option("--created-before", metavar="TIME", help="Created before.")
@click.option("--limit", type=click.IntRange(1, _MOST), default=20, show_default=True)
@click.option("--cursor", help="Where the page before ended.")
@as_json
@with_api
def list_messages(
    api: ApiClient,
    statuses: tuple[str, ...],
    channel: str | None,
    mode: str | None,
    metadata: tuple[tuple[str, str], ...],
    created_after: str | None,
    created_before: str | None,
    limit: int,
    cursor: str | None,
    json_output: bool,
) -> None:
    """List the newest messages."""
    labels: dict[str, list[str]] = {}
    for key, value in metadata:
        labels.setdefault(f"metadata.{key}", []).append(value)
    filters: dict[str, Any] = {
        "status": statuses,
        "channel": channel,
        "mode": mode,
        **labels,
        "created_after": created_after,
        "created_before": created_before,
    }
    page = api.list(**filters, limit=limit, cursor=cursor)
    if json_output:
        print_json(page)
        return
    out = console()
    if not page["data"]:
        out.print("No messages.", style="quiet")
        return
    table = Table(box=None, pad_edge=False, header_style="quiet", show_edge=False)
    # Where there is no room for all, the id is what `--json` has, too.
    table.add_column("id", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("status", no_wrap=True, min_width=_LONGEST_STATUS)
    table.add_column("channel", no_wrap=True)
    table.add_column("created", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("why not", overflow="ellipsis", no_wrap=True)
    for message in page["data"]:
        table.add_row(*_row(message))
    out.print(table)
    if page.get("next_cursor"):
        more = f"\nMore: hermes messages list {_said(filters)}--cursor {page['next_cursor']}"
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


def watch(
    api: ApiClient, message_id: str, json_output: bool, *, patience: float = math.inf
) -> None:
    """Show a message's timeline as it happens; exit code 1 when it did not get through.

    One that rests for more than `patience` seconds is shown until it does.
    """
    out = console(sys.stderr) if json_output else console()
    seen = follow_message(message_id, api.get, out, patience=patience)
    if json_output:
        print_json(seen)
    if seen.get("status") in TERMINAL - {"sent", "delivered"}:
        sys.exit(1)


def _said(filters: Mapping[str, Any]) -> str:
    """The filters as they are given to the command again, for a shell."""
    options: list[str] = []
    for name, given in filters.items():
        for value in given if isinstance(given, (list, tuple)) else [given]:
            if value is None:
                continue
            label = name.removeprefix("metadata.")
            options += (
                ["--metadata", f"{label}={value}"]
                if label != name
                else [f"--{name.replace('_', '-')}", str(value)]
            )
    return "".join(f"{shlex.quote(option)} " for option in options)


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
