"""Durations as people write them on the command line."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType):
    """A number of seconds, or `30s`, `5m`, `2h`, `1d`."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip())
        if match is None or match[2] not in _UNITS:
            self.fail(f"{value!r} is not a duration such as 30, 30s, 5m, 2h or 1d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]
