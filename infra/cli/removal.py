"""What every command that removes something does first: it asks on a terminal, and elsewhere wants
to be told --yes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def asked_first(command: Command) -> Command:
    """Give a command the option --yes, as the parameter `yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can answer.")(
        command
    )


def confirm_removal(what: str, question: str, *, yes: bool) -> None:
    """Ask the question, unless the answer is known. Raises Abort for a no, and UsageError, which
    says `what` would be removed, where there is no terminal to ask on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what} would be removed: say --yes")
    # What goes to standard output may be read by a program.
    click.confirm(question, abort=True, err=True)
