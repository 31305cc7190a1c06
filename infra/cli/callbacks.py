"""`hermes callbacks`: a tenant's own endpoints, what waits for them, and what they were told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.table import Table
from rich.text import Text

from infra.cli.client import ApiClient, with_api
from infra.cli.console import as_json, console, print_json, say, seconds
from infra.cli.durations import Duration
from infra.cli.plain_table import day, plain_table
from infra.cli.removal import asked_first, confirm_removal

Json = dict[str, Any]
_PATH = "/v1/callbacks"
_STATES = {
    "well": "good",
    "failing": "warn",
    "down": "bad.strong",
    "disabled": "warn",
    "delivered": "good",
    "waiting": "channel",
    "given_up": "bad",
}
_EVENTS = (
    "message.submitted",
    "message.attempt_failed",
    "message.sent",
    "message.delivered",
    "message.failed",
    "message.expired",
    "message.canceled",
    "message.late_receipt",
)
_SHORT = "message."
_TRIAL = 30.0


class Event(click.ParamType):
    """A type of event; `delivered` stands for `message.delivered`."""

    name = "event"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        full = text if text.startswith(_SHORT) else f"{_SHORT}{text}"
        if full not in _EVENTS:
            known = ", ".join(event.removeprefix(_SHORT) for event in _EVENTS)
            self.fail(f"{text!r} is none of {known}", param, ctx)
        return full


@click.group()
def callbacks() -> None:
    """Where you are told what becomes of your messages, and what was told.

    \b
      hermes callbacks add https://shop.example/hermes
      hermes callbacks test ID
      hermes callbacks list
      hermes callbacks events ID --state waiting
      hermes callbacks replay ID --since 2026-05-01T00:00:00Z
    """


@callbacks.command("list")
@click.option("--limit", type=click.IntRange(1, 500), help="Hosts of messages on a page.")
@click.option("--cursor", help="Where the page before ended.")
@as_json
@with_api
def list_callbacks(
    api: ApiClient, limit: int | None, cursor: str | None, json_output: bool
) -> None:
    """List the endpoints with what waits for them.

    At the end are the hosts that messages name in their own status_callback, a page at a time.
    """
    asked = {"limit": limit, "cursor": cursor}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    page = api.ask("GET", f"{_PATH}?{query}" if query else _PATH)
    if json_output:
        print_json(page)
        return
    found = page["data"]
    if not found:
        console().print("No endpoints. hermes callbacks add URL makes one.", style="quiet")
        return
    table = plain_table("id", "state", "waiting", "oldest", "last error", "url", right=("waiting",))
    for endpoint in found:
        backlog = endpoint["backlog"]
        table.add_row(
            Text(endpoint["id"], style="strong"),
            _state(endpoint["state"]),
            _waiting(backlog),
            Text(_ago(backlog["oldest"])),
            Text(endpoint["health"]["error"] or "", style="bad"),
            Text(endpoint["url"], style="link"),
        )
    console().print(table)
    if page["next_cursor"]:
        say(f"More hosts: hermes callbacks list --cursor {page['next_cursor']}", "quiet")


@callbacks.command()
@click.argument("endpoint")
@as_json
@with_api
def show(api: ApiClient, endpoint: str, json_output: bool) -> None:
    """Show an ENDPOINT: what it is told, what waits for it, and how it does."""
    _page(api.ask("GET", _path(endpoint)), json_output)


@callbacks.command()
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, type=Event(),
    help="Tell it this type of event; several. Else the ends of messages.",
)  # fmt: skip
@click.option("--description", default="", help="For you.")
@as_json
@with_api
def add(
    api: ApiClient, url: str, events: tuple[str, ...], description: str, json_output: bool
) -> None:
    """Add an endpoint at URL. Its secret is shown this once."""
    body: Json = {"url": url, "description": description}
    if events:
        body["events"] = events
    made = api.ask("POST", _PATH, body)
    if json_output:
        print_json(made)
        return
    click.echo(made["id"])
    click.echo(made["secret"])
    say("The secret checks signatures (Standard Webhooks). Shown this once.", "quiet")
    say(f"Next: hermes callbacks test {made['id']}", "quiet")


@callbacks.command()
@click.argument("endpoint")
@click.option("--url")
@click.option("--event", "events", multiple=True, type=Event(), help="All of them, not only new.")
@click.option("--description")
@as_json
@with_api
def change(
    api: ApiClient,
    endpoint: str,
    url: str | None,
    events: tuple[str, ...],
    description: str | None,
    json_output: bool,
) -> None:
    """Change an ENDPOINT; what is not named stays."""
    wanted = {"url": url, "events": events or None, "description": description}
    given = {name: value for name, value in wanted.items() if value is not None}
    if not given:
        raise click.UsageError("name --url, --event or --description")
    _page(api.ask("PATCH", _path(endpoint), given), json_output)


@callbacks.command()
@click.argument("endpoint")
@as_json
@with_api
def disable(api: ApiClient, endpoint: str, json_output: bool) -> None:
    """Post nothing more to an ENDPOINT; its events wait."""
    found = api.ask("PATCH", _path(endpoint), {"enabled": False})
    _tell(found, f"{endpoint} is disabled; its events wait.", json_output)


@callbacks.command()
@click.argument("endpoint")
@as_json
@with_api
def enable(api: ApiClient, endpoint: str, json_output: bool) -> None:
    """Post to an ENDPOINT again, beginning with what waits."""
    found = api.ask("PATCH", _path(endpoint), {"enabled": True})
    waiting = _waiting(found["backlog"]).plain
    first = f", beginning with the {waiting} that waited" if waiting else ""
    _tell(found, f"{endpoint} is enabled: it is told of events again{first}.", json_output)


@callbacks.command()
@click.argument("endpoint")
@asked_first
@as_json
@with_api
def remove(api: ApiClient, endpoint: str, yes: bool, json_output: bool) -> None:
    """Take an ENDPOINT away; what waits for it is dropped."""
    confirm_removal(endpoint, f"Remove {endpoint} and what waits for it?", yes=yes)
    _tell(api.ask("DELETE", _path(endpoint)), f"{endpoint} is removed.", json_output)


@callbacks.command()
@click.argument("endpoint")
@click.option(
    "--grace", type=Duration(), default="24h", show_default=True,
    help="How long the secret of before goes on signing beside the new one.",
)  # fmt: skip
@as_json
@with_api
def rotate(api: ApiClient, endpoint: str, grace: float, json_output: bool) -> None:
    """Make a new secret for an ENDPOINT. It is shown this once."""
    found = api.ask("POST", f"{_path(endpoint)}/rotate", {"grace": grace})
    if json_output:
        print_json(found)
        return
    click.echo(found["secret"])
    before = f"signs, too, for {seconds(grace)}" if grace else "stops signing at once"
    say(f"Shown this once. The one of before {before}.", "quiet")


@callbacks.command()
@click.argument("endpoint")
@as_json
@with_api
def test(api: ApiClient, endpoint: str, json_output: bool) -> None:
    """Post a ping to an ENDPOINT now, and say what came of it.

    Exits with 1 when it was not taken.
    """
    found = api.ask("POST", f"{_path(endpoint)}/test", patience=_TRIAL)
    if json_output:
        print_json(found)
    elif found["delivered"]:
        took = seconds(found["took"])
        console().print(Text(f"Taken: HTTP {found['status']} after {took}.", style="good"))
    else:
        console().print(Text(f"Not taken: {found['error']}.", style="bad"))
    if not found["delivered"]:
        sys.exit(1)


@callbacks.command()
@click.argument("endpoint")
@click.option("--state", type=click.Choice(["waiting", "delivered", "given_up"]))
@click.option("--message", help="Only those about the message with this id.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@click.option("--cursor", help="Where the page before ended.")
@as_json
@with_api
def events(
    api: ApiClient,
    endpoint: str,
    state: str | None,
    message: str | None,
    limit: int,
    cursor: str | None,
    json_output: bool,
) -> None:
    """List what an ENDPOINT was told, or will be; newest first."""
    asked = {"state": state, "message": message, "limit": limit, "cursor": cursor}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    page = api.ask("GET", f"{_path(endpoint)}/events?{query}")
    if json_output:
        print_json(page)
        return
    if not page["data"]:
        console().print("No events.", style="quiet")
        return
    table = plain_table("happened", "event", "message", "state", "tries", "", right=("tries",))
    for event in page["data"]:
        table.add_row(
            Text(_moment(event["created_at"])),
            Text(event["type"].removeprefix(_SHORT), style="strong"),
            Text(event["message"]),
            _state(event["state"]),
            Text(str(event["tries"])),
            _remark(event),
        )
    console().print(table)
    if page["next_cursor"]:
        say(f"More: hermes callbacks events {endpoint} --cursor {page['next_cursor']}", "quiet")


@callbacks.command()
@click.argument("endpoint")
@click.option("--event", help="One event, by its id (webhook-id).")
@click.option("--since", metavar="TIME", help="All that happened since: 2026-05-01T00:00:00Z.")
@click.option("--until", metavar="TIME", help="And before this time.")
@click.option("--state", type=click.Choice(["delivered", "given_up"]), help="Only these.")
@as_json
@with_api
def replay(
    api: ApiClient,
    endpoint: str,
    event: str | None,
    since: str | None,
    until: str | None,
    state: str | None,
    json_output: bool,
) -> None:
    """Tell an ENDPOINT events again. They keep their ids."""
    if event is None and since is None:
        raise click.UsageError("say which: --event ID, or --since TIME")
    asked = {"event": event, "since": since, "until": until, "state": state}
    given = {name: value for name, value in asked.items() if value is not None}
    found = api.ask("POST", f"{_path(endpoint)}/replay", given, patience=_TRIAL)
    more = " There are more: repeat it." if found["more"] else ""
    if event is not None and not found["replayed"]:
        if json_output:
            print_json(found)
        raise click.ClickException(
            f"{endpoint} was told no event {event}{f' that is {state}' if state else ''}, and is "
            "told nothing again. hermes callbacks events lists what it was told."
        )
    _tell(found, f"{found['replayed']:,} events are told again.{more}", json_output)


def _page(endpoint: Json, json_output: bool) -> None:
    if json_output:
        print_json(endpoint)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="quiet", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _told(endpoint):
        table.add_row(name, text)
    out = console()
    out.print(Text.assemble((endpoint["id"], "strong.strong"), "  ", _state(endpoint["state"])))
    out.print(table)


def _told(endpoint: Json) -> Iterator[tuple[str, Text]]:
    yield "url", Text(endpoint["url"], style="link")
    if endpoint["description"]:
        yield "description", Text(endpoint["description"])
    yield "events", Text(", ".join(event.removeprefix(_SHORT) for event in endpoint["events"]))
    if endpoint["disabled_because"]:
        at, because = day(endpoint["disabled_at"]), endpoint["disabled_because"]
        yield "disabled", Text(f"{at}, {because}", style="warn")
    backlog, health = endpoint["backlog"], endpoint["health"]
    waiting = _waiting(backlog)
    if waiting.plain:
        oldest = _ago(backlog["oldest"])
        yield "waiting", Text.assemble(waiting, f", the oldest for {oldest}")
    if health["failures"]:
        times = "once" if health["failures"] == 1 else f"{health['failures']} times in a row"
        yield "failing", Text(f"{times}: {health['error']}", style="bad")
    if health["delivered_at"]:
        yield "delivered", Text(f"last {_ago(health['delivered_at'])} ago")
    for secret in endpoint["secrets"]:
        ends = f", signs until {day(secret['expires_at'])}" if secret["expires_at"] else ""
        yield "secret", Text(f"of {day(secret['created_at'])}{ends}", style="quiet")


def _remark(event: Json) -> Text:
    if event["next_try_at"]:
        return Text(f"{_next_try(event['next_try_at'])}: {event['error']}", style="warn")
    if event["state"] == "delivered":
        return Text(f"at {_moment(event['settled_at'])}", style="quiet")
    return Text(event["error"] or "", style="bad")


def _next_try(moment: str) -> str:
    """Of an event whose time has come and that still waits, the endpoint decides: it is down, or
    disabled, or has others before it."""
    at = datetime.fromisoformat(moment)
    return f"again at {_moment(moment)}" if at > datetime.now(at.tzinfo) else "again in its turn"


def _waiting(backlog: Json) -> Text:
    if not backlog["waiting"]:
        return Text("")
    return Text(f"{backlog['waiting']:,}" + ("+" if backlog["more"] else ""), style="warn")


def _state(state: str) -> Text:
    return Text(state.replace("_", " "), style=_STATES.get(state, ""))


def _moment(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%d %b %H:%M:%S}"


def _ago(moment: str | None) -> str:
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment)
    return seconds(float(max(round((datetime.now(at.tzinfo) - at).total_seconds()), 1)))


def _path(endpoint: str) -> str:
    return f"{_PATH}/{quote(endpoint, safe='')}"


def _tell(answer: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(answer)
    else:
        console().print(Text(sentence), soft_wrap=True)
