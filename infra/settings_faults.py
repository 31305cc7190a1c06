"""What is wrong with the settings, in words: the key, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from adapters.smpp.carriers.faults import faults_of

_FIXED: Final[dict[str, str]] = {
    "missing": "is missing",
    "string_type": "write a text",
    "path_type": "write a path",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "tuple_type": "write a list",
    "dict_type": "write a table",
    "model_type": "write a table",
}
_BOUNDED: Final[dict[str, str]] = {
    "greater_than": "write a number above {gt:g}",
    "greater_than_equal": "write a number of at least {ge:g}",
    "less_than": "write a number below {lt:g}",
    "less_than_equal": "write a number of at most {le:g}",
    "literal_error": "write {expected}",
    "string_too_short": "write a text whose length is at least {min_length}",
    "string_too_long": "write a text whose length is at most {max_length}",
}
"""With what pydantic knows of the fault."""


def line_of(error: ErrorDetails, settings: type[BaseModel]) -> str:
    """One line for a fault: the path of its key, what is wrong, and what would be right."""
    location = error["loc"]
    if location[:1] == ("carriers",) and len(location) > 2:
        [fault] = faults_of([{**error, "loc": location[2:]}])
        return f"carriers.{location[1]}.{fault}"
    path = ".".join(map(str, location))
    said = _said(error, settings)
    return f"{path}: {said}" if path else said


def _said(error: ErrorDetails, settings: type[BaseModel]) -> str:
    kind, location = error["type"], error["loc"]
    if kind == "extra_forbidden":
        known = list(_table_at(settings, location[:-1]).model_fields)
        close = get_close_matches(str(location[-1]), known, n=1)
        right = close[0] if close else f"one of {', '.join(sorted(known))}"
        return f"there is no such key; right is {right}"
    if kind in _BOUNDED:
        return _BOUNDED[kind].format(**error["ctx"])
    return _FIXED.get(kind) or error["msg"].removeprefix("Value error, ")


def _table_at(table: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    """The table at a path, which also leads through lists."""
    for key in path:
        if isinstance(key, str):
            [table] = _tables_of(table.model_fields[key].annotation)
    return table


def _tables_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in get_args(annotation) for table in _tables_of(part)]
