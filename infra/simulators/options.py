"""Options of a simulator: each is a flag, and can be changed while it runs.

The kinds of values: a kind reads what JSON gives (a PATCH) and what a command line gives (text);
both say the same of a bad value: what would be right.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

Options = TypeVar("Options", bound=Struct)


class OptionsError(ValueError):
    """Options that cannot be set: by name, what is wrong with each and what would be right."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems: Final = dict(problems)


class Kind(Struct, frozen=True):
    """One kind of value. `read` raises ValueError or TypeError when it is none of this kind."""

    right: str
    """What a value of this kind looks like, to complete "expected …"."""
    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value
    """The value as JSON shows it."""
    metavar: str = "VALUE"

    def read_text(self, text: str) -> Any:
        """A value given on a command line: JSON, or bare text."""
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        return self.read(value)


def number(least: float = 0.0, most: float = math.inf, metavar: str = "N") -> Kind:
    """A number from `least` to `most`."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError
        if not (least <= value <= most and math.isfinite(value)):
            raise ValueError
        return float(value)

    bounds = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
    return Kind(f"a number, {bounds}", read, metavar=metavar)


def whole(least: int, most: int) -> Kind:
    """A whole number from `least` to `most`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError
        if not least <= value <= most:
            raise ValueError
        return value

    return Kind(f"a whole number, {least} to {most}", read, metavar="N")


def choice(*names: str) -> Kind:
    """One of `names`."""

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind(f"one of {', '.join(names)}", read, metavar="NAME")


class Option(Struct, frozen=True):
    """One line of a simulator's table of options."""

    group: str
    kind: Kind
    meaning: str


def changed(options: Options, table: Mapping[str, Option], changes: Mapping[str, Any]) -> Options:
    """These options with some changed; values are as JSON gives them.

    Raises:
        OptionsError: a name is unknown or a value is not right; every such one is named.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, value in changes.items():
        option = table.get(name)
        if option is None:
            problems[name] = f"no such option; there are {', '.join(table)}"
            continue
        try:
            values[name] = option.kind.read(value)
        except (ValueError, TypeError, AttributeError):
            problems[name] = f"expected {option.kind.right}, not {value!r}"
    if problems:
        raise OptionsError(problems)
    return msgspec.structs.replace(options, **values)


def as_json(options: Struct, table: Mapping[str, Option]) -> dict[str, Any]:
    """All that the table names, as `changed` takes it."""
    return {name: option.kind.show(getattr(options, name)) for name, option in table.items()}


def _read_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


SWITCH: Final = Kind("true or false", _read_switch)
SECONDS: Final = number(0, 86_400, metavar="SECONDS")
FRACTION: Final = number(0, 1, metavar="FRACTION")
