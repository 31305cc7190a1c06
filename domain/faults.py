"""What is wrong with a value that came as JSON: a code, the place, and words for a person."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

Path = tuple[str | int, ...]
"""Keys and indexes from the whole value to a part of it."""

_SAID: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_BOUND: Final = re.compile(r"Expected `(?:int|float|decimal)` [<>]")


class Fault(NamedTuple):
    """One fault. `code` is of the API's field errors."""

    code: str
    path: Path
    detail: str


def fault_of(error: msgspec.ValidationError) -> Fault:
    """What msgspec says in one sentence, taken apart. It tells of the first fault only."""
    match = _SAID.match(str(error))
    assert match is not None
    path: list[str | int] = [
        name or (int(index) if index.isdigit() else "-")
        for name, index in _STEP.findall(match["path"] or "")
    ]
    what = match["what"]
    if missing := _MISSING.match(what):
        return Fault("required", (*path, missing[1]), "It must be there.")
    if unknown := _UNKNOWN.match(what):
        return Fault("unknown_field", (*path, unknown[1]), "There is no such field here.")
    return Fault(_code(what), tuple(path), f"{what.rstrip('.')}.")


def _code(what: str) -> str:
    if what.startswith("Invalid enum value"):
        return "unknown_value"
    if _BOUND.match(what):
        return "out_of_range"
    if "of length >" in what:
        return "too_short"
    if "of length <" in what:
        return "too_long"
    if "RFC3339" in what:
        return "invalid_datetime"
    if "matching regex" in what or not what.startswith("Expected"):
        return "invalid_value"
    return "wrong_type"
