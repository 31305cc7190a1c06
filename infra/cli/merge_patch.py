"""`KEY=VALUE` on the command line as a JSON merge patch (RFC 7386)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

Path = tuple[str, ...]


def merge_patch(settings: Iterable[str], value: Callable[[Path, str], Any]) -> dict[str, Any]:
    """The patch, where a key may lead into a table: `ids.response`. `value` reads what was written
    for a key. Raises UsageError."""
    patch: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = tuple(key.split("."))
        if not equals or not all(path):
            raise click.UsageError(f"{setting!r} is no KEY=VALUE")
        table = patch
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise click.UsageError(f"{key} cannot be set beside {part}")
        table[path[-1]] = value(path, text)
    return patch
