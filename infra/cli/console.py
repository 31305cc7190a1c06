"""How the commands speak: tables and colours to a person, JSON to a program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any, TypeVar

import click
from rich.console import Console
from rich.text import Text
from rich.theme import Theme

THEME = Theme(
    {
        "good": "green",
        "bad": "red",
        "warn": "yellow",
        "good.strong": "bold green",
        "bad.strong": "bold red",
        "warn.strong": "bold yellow",
        "channel.strong": "bold cyan",
        "strong.strong": "bold",
        "quiet": "bright_black",
        "strong": "bold",
        "channel": "cyan",
        "link": "blue",
    }
)
_PIPED_WIDTH = 100

Command = TypeVar("Command", bound=Callable[..., Any])


def console(file: IO[str] | None = None) -> Console:
    """A console for standard output, or for `file`.

    Colour only on a terminal, and not where NO_COLOR is set (rich sees to that). What is piped
    gets 100 columns unless COLUMNS says otherwise.
    """
    stream = file or sys.stdout
    piped = not stream.isatty()
    width = _PIPED_WIDTH if piped and not os.environ.get("COLUMNS") else None
    return Console(file=stream, theme=THEME, highlight=False, width=width)


def as_json(command: Command) -> Command:
    """Give a command the option --json, as the parameter `json_output`."""
    return click.option("--json", "json_output", is_flag=True, help="JSON instead of a table.")(
        command
    )


def print_json(value: Any) -> None:
    """Print JSON: indented for a person, one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent))


def status_style(status: str) -> str:
    """The colour of a message's status."""
    return {
        "delivered": "good",
        "sent": "good",
        "failed": "bad",
        "expired": "bad",
        "canceled": "warn",
        "scheduled": "channel",
        "processing": "channel",
    }.get(status, "strong")


def seconds(value: float) -> str:
    """A duration as people say it: `250 ms`, `3.1 s`, `5 min`, `2 h 5 min`, `3 d`."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.2f}".rstrip("0").rstrip(".") + " s"
    for size, unit, smaller, rest in (
        (86_400, "d", "h", 3_600),
        (3_600, "h", "min", 60),
        (60, "min", "s", 1),
    ):
        if value >= size:
            whole, left = divmod(value, size)
            more = f" {left // rest:.0f} {smaller}" if left >= rest else ""
            return f"{whole:.0f} {unit}{more}"
    raise AssertionError("unreachable")


def say(text: str, style: str = "") -> None:
    """Print a sentence to standard error, where it does not disturb what is piped."""
    console(sys.stderr).print(Text(text, style=style))
