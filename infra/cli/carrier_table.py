"""Draw the carriers: one line each, one a connection, and below what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from infra.cli.console import seconds

_STATES = {
    "up": "good",
    "connecting": "warn",
    "down": "bad.strong",
    "suspended": "warn",
    "draining": "warn",
    "drained": "quiet",
    "removed": "quiet",
    "invalid": "bad",
}
_NUMBERS = ("binds", "in flight", "per s", "limit", "queued", "throttled", "unknown", "receipts")
_LEAST_NEEDED = ("receipts", "unknown", "throttled", "limit", "queued")
_ANY = 1000
Json = dict[str, Any]


class CarrierTable:
    """A line a carrier. `per s` is what it took during the last second, `limit` what it is given
    at most. A narrow terminal gets fewer columns, not narrower ones."""

    def __init__(self, carriers: Iterable[Json]) -> None:
        self._carriers = list(carriers)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(_NUMBERS)
        for least in ("", *_LEAST_NEEDED):
            columns = [name for name in columns if name != least]
            table = self._table(columns)
            if console.measure(table, options=options.update(width=_ANY)).maximum <= (
                options.max_width
            ):
                break
        yield table

    def _table(self, columns: Sequence[str]) -> Table:
        table = _table("carrier", "state", *columns)
        for carrier in self._carriers:
            state = carrier["state"]
            row = [Text(carrier["name"], style="strong"), Text(state, style=_STATES.get(state, ""))]
            if carrier.get("health"):
                numbers = dict(zip(_NUMBERS, _numbers(carrier["health"]), strict=True))
                row += [numbers[name] for name in columns]
            table.add_row(*row)
        return table


def connection_table(carriers: Iterable[Json]) -> Table:
    """A line a connection."""
    table = _table("connection", "host", "bound for", "binds made", "in flight")
    for carrier in carriers:
        for connection in (carrier.get("health") or {}).get("connections", ()):
            table.add_row(*_connection(connection))
    return table


def troubles(carriers: Iterable[Json]) -> list[Text]:
    """What a person should know beside the numbers, a line each."""
    return [line for carrier in carriers for line in _troubles(carrier)]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="quiet", show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    return table


def _numbers(health: Json) -> Iterator[Text]:
    connections = health["connections"]
    bound = sum(connection["bound"] for connection in connections)
    in_flight = sum(connection["in_flight"] for connection in connections)
    window = sum(connection["window"] for connection in connections if connection["bound"])
    style = "" if bound == len(connections) else "warn" if bound else "bad"
    yield Text(f"{bound}/{len(connections)}" if connections else "", style=style)
    yield Text(f"{in_flight}/{window}" if window else "")
    yield _count(health["accepted_per_second"])
    yield _limit(health["rate"], health["configured_rate"])
    yield _count(health["queued"], "warn")
    yield _count(health["throttled"], "warn")
    yield _count(health["unknown"], "warn")
    yield _count(health["receipts"])


def _limit(rate: float | None, configured: float | None) -> Text:
    if rate is None:
        return Text("none", style="quiet")
    if configured is None:
        return Text(f"{rate:,.0f} learned", style="warn")
    if rate < configured:
        return Text(f"{rate:,.0f} of {configured:,g}", style="warn")
    return Text(f"{configured:,g}")


def _count(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style=style if number else "quiet")


def _connection(connection: Json) -> Iterator[Text]:
    yield Text(connection["name"])
    yield Text(connection["host"] or "", style="quiet")
    if connection["bound"]:
        bound_for = max(time.time() - connection["bound_at"], 1.0)
        yield Text(seconds(int(bound_for)), style="good")
    else:
        yield Text("not bound", style="bad")
    yield _count(connection["binds"])
    yield Text(f"{connection['in_flight']}/{connection['window']}")


def _troubles(carrier: Json) -> Iterator[Text]:
    name = carrier["name"]
    if carrier.get("problem"):
        yield _trouble(name, carrier["problem"], "bad")
    if carrier["state"] == "removed":
        yield _trouble(name, f"in the settings, removed here: hermes carriers resume {name}")
    health = carrier.get("health")
    if not health:
        return
    errors: dict[str, list[str]] = {}
    for connection in health["connections"]:
        if connection["last_error"] and not connection["bound"]:
            errors.setdefault(connection["last_error"], []).append(connection["name"])
    for error, names in errors.items():
        which = names[0] if len(names) == 1 else f"{name}, {len(names)} connections"
        yield _trouble(which, error, "bad")
    if health["last_refusal"]:
        yield _trouble(name, f"its last refusal was {health['last_refusal']}")


def _trouble(name: str, text: str, style: str = "quiet") -> Text:
    mark = "✗" if style == "bad" else "·"
    return Text.assemble((f"{mark} {name}: ", style), text, style=style, overflow="fold")
