"""`hermes routes`: which ways messages may take, and which one a message would take now."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

import click
from rich.text import Text

from infra.cli.administration import Administration, administration
from infra.cli.client import load_settings
from infra.cli.console import as_json, console, print_json, say, seconds
from infra.cli.merge_patch import merge_patch
from infra.cli.plain_table import plain_table
from infra.cli.removal import asked_first, confirm_removal
from infra.cli.route_words import left_out_in_words, why_in_words

Json = dict[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

_LISTS: Final = (
    "prefixes",
    "countries",
    "operators",
    "number_types",
    "categories",
    "senders",
    "tenants",
)
_NUMBERS: Final = ("priority", "weight")
_UNLIMITING: Final = frozenset({*_NUMBERS, "note"})
"""Keys that leave a route what it carries."""
_SHOWN: Final = 4
"""Values of a list that a table shows."""


def with_running_api(command: Command) -> Command:
    """Give a command the option --api, as the parameter `admin`: the API that runs here, if it is
    not told another. Routes are looked at together with what is up, which only that knows."""

    @click.option("--api", "base", metavar="URL", help="Where the API is [HERMES_API_URL].")
    def connected(*args: Any, base: str | None, **options: Any) -> Any:
        with administration(base or os.environ.get("HERMES_API_URL") or _running()) as admin:
            return command(*args, admin=admin, **options)

    connected.__name__ = command.__name__
    connected.__doc__ = command.__doc__
    connected.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
        *connected.__click_params__,  # type: ignore[attr-defined]
    ]
    return connected  # type: ignore[return-value]


@click.group()
def routes() -> None:
    """Say which provider may carry which messages, and see which one would.

    \b
      hermes routes add dk-cheap provider=telia prefixes=45 priority=40
      hermes routes add acme-own provider=tdc tenants=acme
      hermes routes set dk-cheap enabled=false
      hermes routes explain --to +4520123456 --tenant acme

    A provider that no route names is a route by itself, for everybody. A change is used by every
    process within a second, and is in `hermes audit`.
    """


@click.group()
def route() -> None:
    """Ask which route a message would take: hermes route explain."""


@routes.command("list")
@as_json
@with_running_api
def list_routes(admin: Administration, json_output: bool) -> None:
    """List the routes in their order."""
    found: list[Json] = admin.ask("GET", "routes")["routes"]
    if json_output:
        print_json({"routes": found})
        return
    if not found:
        console().print(
            "No routes: each carrier and adapter is one by itself. hermes routes add NAME …",
            style="quiet",
        )
        return
    table = plain_table("route", "channel", "provider", "priority", "weight", "for")
    for one in found:
        table.add_row(
            Text(one["name"], style="strong" if one["enabled"] else "quiet"),
            Text(one["channel"], style="channel"),
            _provider(one),
            str(one["priority"]),
            str(one["weight"]),
            _for(one),
        )
    console().print(table)


@routes.command()
@click.argument("name")
@as_json
@with_running_api
def show(admin: Administration, name: str, json_output: bool) -> None:
    """Show all of the route NAME."""
    found = admin.ask("GET", _path(name))
    if json_output:
        print_json(found)
        return
    table = plain_table("key", "value")
    for key, value in found.items():
        table.add_row(key, _value(value))
    console().print(table)


@routes.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="KEY=VALUE...")
@click.option("--force", is_flag=True, help="Also if tenants lose their last route.")
@as_json
@with_running_api
def add(
    admin: Administration, name: str, settings: tuple[str, ...], force: bool, json_output: bool
) -> None:
    """Add the route NAME, behind the others.

    \b
    The keys: channel (sms), kind (carrier, adapter, own), provider; what limits it: prefixes,
    countries, operators, number_types, categories, senders, tenants; priority (the lowest goes
    first), weight, enabled, note. Lists are written with commas.
      hermes routes add twilio-us kind=adapter provider=twilio countries=US,CA
    """
    document = {"channel": "sms", **_patch(settings), "name": name}
    made = admin.ask("POST", "routes", document, force=_said(force))
    _tell(made, f"{name} is added: {_for(made).plain}.", json_output)
    if not json_output:
        _warn_of_limits(admin, made)


@routes.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--force", is_flag=True, help="Also if tenants lose their last route.")
@as_json
@with_running_api
def change(
    admin: Administration, name: str, settings: tuple[str, ...], force: bool, json_output: bool
) -> None:
    """Change keys of the route NAME; null is back to the default."""
    patch = _patch(settings)
    changed = admin.ask("PATCH", _path(name), patch, force=_said(force))
    shown = ", ".join(f"{key} is {_value(changed[key]).plain}" for key in patch)
    _tell(changed, f"{name}: {shown}.", json_output)
    if not json_output and not _UNLIMITING.issuperset(patch):
        _warn_of_limits(admin, changed)


@routes.command()
@click.argument("name")
@as_json
@with_running_api
def enable(admin: Administration, name: str, json_output: bool) -> None:
    """Let the route NAME carry messages."""
    _tell(admin.ask("PATCH", _path(name), {"enabled": None}), f"{name} is enabled.", json_output)


@routes.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Also if tenants lose their last route.")
@as_json
@with_running_api
def disable(admin: Administration, name: str, force: bool, json_output: bool) -> None:
    """Give the route NAME no more messages; what it has goes on."""
    changed = admin.ask("PATCH", _path(name), {"enabled": False}, force=_said(force))
    _tell(changed, f"{name} is disabled: it carries nothing more.", json_output)
    if not json_output:
        _warn_of_limits(admin, changed)


@routes.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Also if tenants lose their last route.")
@asked_first
@as_json
@with_running_api
def remove(admin: Administration, name: str, force: bool, yes: bool, json_output: bool) -> None:
    """Remove the route NAME. A provider that no other route names then serves everybody again:
    disable the route instead, to keep it from that."""
    confirm_removal(name, f"Remove {name}?", yes=yes)
    _tell(admin.ask("DELETE", _path(name), force=_said(force)), f"{name} is removed.", json_output)


@click.command()
@click.option("--to", required=True, help="An address of the channel, such as +4520123456.")
@click.option("--tenant", required=True, help="Whose message it is.")
@click.option("--channel", default="sms", show_default=True, help="On which channel.")
@click.option("--category", default="transactional", show_default=True, help="Why it is sent.")
@click.option("--sender", help="Who the recipient sees.")
@click.option("--provider", help="The provider or route that the message asks for.")
@click.option("--operator", help="The number's network: MCC and MNC, such as 23801.")
@click.option("--message", "id_", metavar="ID", help="A message's id: where traffic is divided.")
@as_json
@with_running_api
def explain(
    admin: Administration,
    to: str,
    tenant: str,
    channel: str,
    category: str,
    sender: str | None,
    provider: str | None,
    operator: str | None,
    id_: str | None,
    json_output: bool,
) -> None:
    """Tell which route a message would take now, and why the others would not. Nothing is sent."""
    asked = {
        "to": to,
        "tenant": tenant,
        "channel": channel,
        "category": category,
        "sender": sender,
        "provider": provider,
        "operator": operator,
        "id": id_,
    }
    said = {key: value for key, value in asked.items() if value is not None}
    found = admin.ask("POST", "routes/explain", said)
    if json_output:
        print_json(found)
        return
    _draw(found, f"{channel} to {to} for {tenant}")


routes.add_command(explain)
route.add_command(explain)


def _draw(found: Json, what: str) -> None:
    out = console()
    chosen = found["chosen"]
    head = Text.assemble((what, "strong"), "  ")
    if chosen:
        head.append(f"→ {chosen}", style="good.strong")
    else:
        head.append("→ no route", style="bad.strong")
    head.append(f"  by {found['strategy']}", style="quiet")
    out.print(head)
    if found["candidates"]:
        out.print()
        out.print(_candidates(found["candidates"], chosen))
    if found["left_out"]:
        out.print()
        table = plain_table("left out", "provider", "why")
        for one in found["left_out"]:
            table.add_row(
                Text(one["route"], style="quiet"),
                _provider(one),
                Text(left_out_in_words(one["why"]), style="quiet"),
            )
        out.print(table)


def _candidates(candidates: list[Json], chosen: str | None) -> Any:
    priced = any(one["price"] for one in candidates)
    prioritized = len({one["priority"] for one in candidates}) > 1
    columns: list[str] = ["", "route", "provider", "state"]
    columns += ["priority"] * prioritized + ["price"] * priced
    table = plain_table(*columns, "delivered", "score", "why")
    for place, one in enumerate(candidates, 1):
        wins = one["route"] == chosen
        cells: list[Text | str] = [
            Text(str(place), style="quiet"),
            Text(one["route"], style="good.strong" if wins else "strong"),
            _provider(one),
            _state(one),
        ]
        if prioritized:
            cells.append(str(one["priority"]))
        if priced:
            price = f"{one['price']} {one['currency'] or ''}".strip() if one["price"] else "none"
            cells.append(Text(price, style="" if one["price"] else "quiet"))
        known = one["seen"] >= 1
        quality = f"{one['rate']:.1%} in {seconds(one['latency'])}" if known else "not known"
        cells += [
            Text(quality, style="" if known else "quiet"),
            f"{one['score']:.3f}",
            Text(why_in_words(one["why"]), style="good" if wins else ""),
        ]
        table.add_row(*cells)
    return table


def _state(one: Json) -> Text:
    if not one["up"]:
        return Text(one["trouble"] or "down", style="bad")
    if one["wait"]:
        return Text(f"queue of {seconds(one['wait'])}", style="warn")
    return Text("up", style="good")


def _provider(one: Json) -> Text:
    if one["kind"] == "own":
        return Text("Hermes itself", style="quiet")
    kind = "" if one["kind"] == "carrier" else f"{one['kind']} "
    return Text.assemble((kind, "quiet"), one["provider"])


def _for(one: Json) -> Text:
    parts = []
    if not one["enabled"]:
        parts.append("disabled")
    prefixes = [f"+{prefix}" for prefix in one["prefixes"]]
    for name, values in (
        ("", [*prefixes, *one["countries"]]),
        ("network ", one["operators"]),
        ("", one["number_types"]),
        ("", one["categories"]),
        ("sender ", one["senders"]),
        ("tenant ", one["tenants"]),
    ):
        if values:
            more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
            parts.append(f"{name}{', '.join(values[:_SHOWN])}{more}")
    quiet = not parts or parts == ["disabled"]
    return Text("; ".join(parts) or "everything", style="quiet" if quiet else "")


def _patch(settings: tuple[str, ...]) -> Json:
    return merge_patch(settings, _read)


def _read(path: tuple[str, ...], text: str) -> Any:
    (name, *_) = path
    if text == "null":
        return None
    if name in _LISTS:
        values = json.loads(text) if text.startswith("[") else text.split(",")
        kept = [value.strip() for value in values if value.strip()]
        return [v.lstrip("+") for v in kept] if name == "prefixes" else kept
    if name in _NUMBERS or name == "enabled":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _value(value: Any) -> Text:
    if value in (None, [], ""):
        return Text("none", style="quiet")
    if isinstance(value, list):
        return Text(", ".join(map(str, value)))
    return Text(value if isinstance(value, str) else json.dumps(value))


def _path(name: str) -> str:
    return f"routes/{quote(name, safe='')}"


def _said(force: bool) -> str | None:
    return "true" if force else None


def _tell(found: Json, sentence: str, json_output: bool) -> None:
    if json_output:
        print_json(found)
    else:
        console().print(Text(sentence), soft_wrap=True)


def _warn_of_limits(admin: Administration, route: Json) -> None:
    """Say what is left of a provider that carried everything until a route named it."""
    same = ("channel", "kind", "provider")
    everywhere = [
        one
        for one in admin.ask("GET", "routes")["routes"]
        if one["enabled"] and all(one[key] == route[key] for key in same)
    ]
    if any(not any(one[key] for key in _LISTS) for one in everywhere):
        return
    who, channel = _provider(route).plain, route["channel"]
    if everywhere:
        kept = " / ".join(_for(one).plain for one in everywhere)
        say(f"! {who} now carries only {kept}; no other {channel} goes by it.", "warn")
    else:
        say(f"! {who} now carries no {channel} at all.", "warn")


def _running() -> str:
    from infra.local.running import find_running

    settings = load_settings()
    running = find_running(settings.data_dir)
    port = settings.api.port if running is None else running.ports.api
    return f"http://{settings.api.host}:{port}"
