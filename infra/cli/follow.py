"""Show a message's timeline as it happens."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from infra.cli.timeline import TimelineReader, clock, rests_until, route, waiting_for

_POLL_INTERVAL = 0.15
_LONGEST_INTERVAL = 2.0
_COUNTDOWN_INTERVAL = 0.1
_RAIL = 13  # the column of the timeline's rail, where the spinner turns
TERMINAL = frozenset({"sent", "delivered", "failed", "expired", "canceled"})


def follow(
    message_id: str,
    get: Callable[[str], Mapping[str, Any]],
    console: Console,
    *,
    patience: float = math.inf,
) -> Mapping[str, Any]:
    """Print each entry as it comes, until the message has ended; returns it as it is then.

    `get` fetches the message as the API answers it; what it raises ends the following. On a
    terminal a line below says what is being waited for. A message that rests for more than
    `patience` seconds, until its time or the end of quiet hours, is left to it: the last line says
    until when, and how to look again.
    """
    message = get(message_id)
    console.print(Text(f"  {message_id}", style="strong"))
    console.print(route(message))
    console.print()
    shown: Counter[Hashable] = Counter()
    interval = _POLL_INTERVAL
    reader = TimelineReader(message)
    spinner = Spinner("dots", style="channel")
    waiting = Padding(spinner, (0, 0, 0, _RAIL))
    with Live(waiting, console=console, transient=True, refresh_per_second=12) as live:
        while True:
            reader.message = message
            for line in reader.lines(_unseen(message.get("timeline") or (), shown)):
                console.print(line)
                interval = _POLL_INTERVAL
            if message.get("status") in TERMINAL:
                live.update(Text(""))
                return message
            until = rests_until(message)
            if until is not None and (until - datetime.now(UTC)).total_seconds() > patience:
                live.update(Text(""))
                again = f"hermes messages show {message_id} --follow"
                said = f"\nIt waits until {clock(until)}. To look again: {again}"
                console.print(Text(said, style="quiet"), soft_wrap=True)
                return message
            asks_again = time.monotonic() + interval
            while (left := asks_again - time.monotonic()) > 0:
                sentence = waiting_for(message, datetime.now(UTC))
                spinner.update(text=Text(f"{'':9}{sentence}", style="quiet"))
                time.sleep(min(left, _COUNTDOWN_INTERVAL))
            interval = min(interval * 1.1, _LONGEST_INTERVAL)
            message = get(message_id)


def _unseen(
    entries: Iterable[Mapping[str, Any]], shown: Counter[Hashable]
) -> list[Mapping[str, Any]]:
    """The entries that have not been shown, wherever they stand; counts them as shown.

    A timeline does not only grow at its end: late receipts and callbacks stand at their time.
    """
    present: Counter[Hashable] = Counter()
    unseen = []
    for entry in entries:
        known = _identity(entry)
        present[known] += 1
        if present[known] > shown[known]:
            shown[known] += 1
            unseen.append(entry)
    return unseen


def _identity(entry: Mapping[str, Any]) -> Hashable:
    """What stays the same of an entry, and tells it from the others."""
    if callback := entry.get("callback"):
        return callback.get("id")
    layer = (entry.get("verdict") or {}).get("layer")
    at = datetime.fromisoformat(entry["at"])
    return (at, entry.get("event"), entry.get("step"), entry.get("attempt"), layer)
