"""Draw a tenant's adapters: a line each, or one with all that there is to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from infra.cli.console import seconds

_STATES = {"active": "good", "sick": "bad.strong", "available": "quiet"}
_DIGITS = 12
Json = dict[str, Any]


def adapter_table(adapters: Iterable[Json]) -> Table:
    """A line an adapter."""
    table = _table("adapter", "state", "version", "channels", "priority", "")
    for adapter in adapters:
        active = adapter["active"]
        table.add_row(
            Text(adapter["name"], style="strong"),
            _state(adapter["state"]),
            Text(active["version"] if active else ""),
            Text(", ".join(adapter["channels"]), style="channel"),
            Text(str(adapter["priority"]) if active else ""),
            Text(adapter["summary"], style="quiet", overflow="ellipsis"),
        )
    return table


def adapter_page(adapter: Json) -> Group:
    """One adapter: what it is, its versions and its configuration."""
    head = Text.assemble((adapter["name"], "strong.strong"), "  ", _state(adapter["state"]))
    parts: list[Any] = [
        head,
        Text(adapter["summary"], style="quiet"),
        Text(),
        _facts(adapter),
    ]
    if adapter["configuration"]:
        parts += [Text(), _settings(adapter["configuration"])]
    return Group(*parts, Text(), _versions(adapter))


def _facts(adapter: Json) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="quiet", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _told(adapter):
        table.add_row(name, text)
    return table


def _told(adapter: Json) -> Iterator[tuple[str, Text]]:
    yield "channels", Text(", ".join(adapter["channels"]), style="channel")
    if adapter["active"]:
        yield "priority", Text(str(adapter["priority"]))
    if adapter["webhook"]:
        yield "webhook", Text(adapter["webhook"], style="link")
    if adapter["unread"]:
        yield "webhooks", _unread(adapter["unread"])
    health = adapter["health"]
    if health is None:
        return
    ago = seconds(max(_age(health["at"]), 0.0))
    if health["ok"]:
        yield "health", Text(f"well {ago} ago", style="good")
    else:
        said = f": {health['detail']}" if health["detail"] else ""
        times = "once" if health["failures"] == 1 else f"{health['failures']} times"
        yield "health", Text(f"not well {ago} ago, {times} in a row{said}", style="bad")


def _unread(unread: Json) -> Text:
    said = []
    if unread["waiting"]:
        said.append(f"{unread['waiting']:,} wait to be read again")
    if unread["given_up"]:
        said.append(f"{unread['given_up']:,} were given up")
    age = seconds(max(_age(unread["since"]), 0.0))
    return Text(f"{', '.join(said)}: {unread['kind']}, since {age} ago", style="bad")


def _settings(configuration: dict[str, Json]) -> Table:
    table = _table("configuration", "value", "")
    for key, setting in configuration.items():
        table.add_row(
            Text(key, style="strong"),
            _value(setting),
            Text(setting["description"], style="quiet", overflow="ellipsis"),
        )
    return table


def _value(setting: Json) -> Text:
    if setting["set"] and setting["secret"]:
        return Text("set", style="good")
    if setting["set"]:
        return Text(_shown(setting["value"]))
    if "default" in setting:
        return Text(f"{_shown(setting['default'])} (default)", style="quiet")
    return Text("missing", style="bad") if setting["required"] else Text("not set", style="quiet")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _versions(adapter: Json) -> Table:
    table = _table("version", "", "digest", "published", "")
    for version in adapter["versions"]:
        previous = (adapter["previous"] or {}).get("digest") == version["digest"]
        use = "active" if version["active"] else "previous" if previous else ""
        table.add_row(
            Text(version["version"], style="strong"),
            Text(use, style="good" if version["active"] else "quiet"),
            Text(version["digest"][:_DIGITS]),
            Text(f"{datetime.fromisoformat(version['published_at']).astimezone():%d %b %Y %H:%M}"),
            Text("comes with Hermes" if version["built_in"] else "", style="quiet"),
        )
    return table


def _state(state: str) -> Text:
    return Text(state, style=_STATES.get(state, ""))


def _age(at: str) -> float:
    moment = datetime.fromisoformat(at)
    return (datetime.now(moment.tzinfo) - moment).total_seconds()


def _table(*columns: str) -> Table:
    """The last column gets what the others leave, and is cut."""
    table = Table(box=None, pad_edge=False, header_style="quiet", show_edge=False, expand=True)
    for number, column in enumerate(columns, 1):
        table.add_column(column, no_wrap=True, ratio=1 if number == len(columns) else None)
    return table
