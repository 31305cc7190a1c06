"""Show a message's timeline as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from infra.cli.timeline import TimelineReader, route, waiting_for

_POLL_INTERVAL = 0.15
_LONGEST_INTERVAL = 2.0
_COUNTDOWN_INTERVAL = 0.1
_RAIL = 13  # the column of the timeline's rail, where the spinner turns
TERMINAL = frozenset({"sent", "delivered", "failed", "expired", "canceled"})


def follow(
    message_id: str, get: Callable[[str], Mapping[str, Any]], console: Console
) -> Mapping[str, Any]:
    """Print each entry as it comes, until the message has ended; returns the ended message.

    `get` fetches the message as the API answers it; what it raises ends the following. On a
    terminal a line below says what is being waited for.
    """
    message = get(message_id)
    console.print(Text(f"  {message_id}", style="strong"))
    console.print(route(message))
    console.print()
    shown = 0
    interval = _POLL_INTERVAL
    reader = TimelineReader(message)
    spinner = Spinner("dots", style="channel")
    waiting = Padding(spinner, (0, 0, 0, _RAIL))
    with Live(waiting, console=console, transient=True, refresh_per_second=12) as live:
        while True:
            entries = message.get("timeline") or ()
            reader.message = message
            for line in reader.lines(entries[shown:]):
                console.print(line)
                interval = _POLL_INTERVAL
            shown = max(shown, len(entries))
            if message.get("status") in TERMINAL:
                live.update(Text(""))
                return message
            asks_again = time.monotonic() + interval
            while (left := asks_again - time.monotonic()) > 0:
                sentence = waiting_for(message, datetime.now(UTC))
                spinner.update(text=Text(f"{'':9}{sentence}", style="quiet"))
                time.sleep(min(left, _COUNTDOWN_INTERVAL))
            interval = min(interval * 1.1, _LONGEST_INTERVAL)
            message = get(message_id)
