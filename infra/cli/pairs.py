"""NAME=VALUE, as an option's value."""

from __future__ import annotations

from typing import Any

import click


class Pair(click.ParamType):
    """NAME=VALUE."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """See click's ParamType."""
        if isinstance(value, tuple):
            return value
        name, separator, rest = str(value).partition("=")
        if not (name and separator and rest):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, rest
