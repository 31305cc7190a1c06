"""What is wrong with a value that came as JSON: a code, the place, and words for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin
from typing import get_type_hints as hints_of

import msgspec

Path = tuple[str | int, ...]
"""Keys and indexes from the whole value to a part of it."""

MOST_FAULTS: Final = 100
"""Told of one value: who has more has sent something else than was meant."""

_SAID: Final = re.compile(
    r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL
)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_ENUM: Final = re.compile(r"Invalid enum value '?(?P<value>.*?)'?$", re.DOTALL)
_TYPES: Final = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")
_BOUND: Final = re.compile(r"Expected `(?:int|float|decimal)` (?P<sign>[<>]=?) (?P<bound>\S+)")
_LENGTH: Final = re.compile(r"Expected `(?P<kind>\w+)` of length (?P<sign>[<>]=) (?P<bound>\d+)")

_NAMES: Final[dict[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a decimal number",
    "str": "a text",
    "bool": "true or false",
    "datetime": "a time",
    "array": "a list",
    "object": "an object",
}
_SIGNS: Final = {">=": "At least", "<=": "At most", ">": "More than", "<": "Less than"}
_PARTS: Final = {"str": "character", "array": "item", "object": "key"}
_SHOWN: Final = 100
"""Characters that are quoted of a value."""


class Fault(NamedTuple):
    """One fault. `code` is of the API's field errors."""

    code: str
    path: Path
    detail: str


def fault_of(error: msgspec.ValidationError) -> Fault:
    """What msgspec says in one sentence, taken apart. It tells of the first fault only."""
    return _fault(error, Any)


def faults_in(value: Any, kind: Any) -> list[Fault]:
    """Everything for which `msgspec.convert` refuses a value of JSON, up to MOST_FAULTS."""
    return list(islice(_faults(value, kind, ()), MOST_FAULTS))


def _faults(value: Any, kind: Any, path: Path) -> Iterator[Fault]:
    inside = False
    for fault in _inside(value, kind, path):
        inside = True
        yield fault
    if inside:
        # What concerns the whole cannot be told while its parts are wrong.
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        fault = _fault(error, kind)
        yield fault._replace(path=(*path, *fault.path))


def _inside(value: Any, kind: Any, path: Path) -> Iterator[Fault]:
    """The faults of an object's and a list's parts."""
    for one in _alternatives(kind):
        origin, arguments = get_origin(one), get_args(one)
        if isinstance(value, Mapping):
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                yield from _in_struct(value, one, path)
            elif origin is dict:
                for key, item in value.items():
                    yield from _faults(key, arguments[0], (*path, key))
                    yield from _faults(item, arguments[1], (*path, key))
        elif isinstance(value, list) and arguments and _of_one_kind(origin, arguments):
            for index, item in enumerate(value):
                yield from _faults(item, arguments[0], (*path, index))


def _in_struct(value: Mapping[str, Any], kind: type[msgspec.Struct], path: Path) -> Iterator[Fault]:
    config = kind.__struct_config__
    if config.array_like or config.tag is not None:
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if config.forbid_unknown_fields:
        for key in value:
            if key not in fields:
                yield _unknown((*path, key))
    kinds = hints_of(kind, include_extras=True)
    for key, field in fields.items():
        if key in value:
            yield from _faults(value[key], kinds[field.name], (*path, key))
        elif field.required:
            yield _missing((*path, key))


def _of_one_kind(origin: Any, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis
    return origin in (list, set, frozenset)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a type may be, without what bounds them."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return tuple(one for each in get_args(kind) for one in _alternatives(each))
    return (kind,)


def _fault(error: msgspec.ValidationError, kind: Any) -> Fault:
    match = _SAID.match(str(error))
    assert match is not None
    path: list[str | int] = [
        name or (int(index) if index.isdigit() else "-")
        for name, index in _STEP.findall(match["path"] or "")
    ]
    what = match["what"]
    if missing := _MISSING.match(what):
        return _missing((*path, missing[1]))
    if unknown := _UNKNOWN.match(what):
        return _unknown((*path, unknown[1]))
    if match["key"] and (named := _ENUM.match(what)):
        path.append(named["value"])
    return Fault(_code(what), tuple(path), _words(what, Any if path else kind))


def _missing(path: Path) -> Fault:
    return Fault("required", path, "It must be there.")


def _unknown(path: Path) -> Fault:
    return Fault("unknown_field", path, "There is no such field here.")


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


def _words(what: str, kind: Any) -> str:
    """What msgspec says about a value of this type, for people."""
    if named := _ENUM.match(what):
        value, choices = named["value"][:_SHOWN], ", ".join(_choices(kind))
        return f"{value}: one of {choices}." if choices else f"{value} is not one of its values."
    if types := _TYPES.match(what):
        wanted = [_NAMES.get(name, name) for name in types["wanted"].split(" | ")]
        got = _NAMES.get(types["got"], types["got"])
        return f"{_sentence(' or '.join(wanted))}, not {got}."
    if bound := _BOUND.match(what):
        return f"{_SIGNS[bound['sign']]} {float(bound['bound']):,.15g}."
    if length := _LENGTH.match(what):
        number, part = int(length["bound"]), _PARTS.get(length["kind"], "part")
        return f"{_SIGNS[length['sign']]} {number:,} {part}{'' if number == 1 else 's'}."
    if "matching regex" in what:
        return _form(kind) or "It is not written in the form that it has to have."
    if "RFC3339" in what or "timezone component" in what:
        return "A time is RFC 3339 with an offset, such as 2026-01-31T09:00:00Z."
    return f"{_sentence(what.rstrip('.'))}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _choices(kind: Any) -> Iterator[str]:
    for one in _alternatives(kind):
        if isinstance(one, type) and issubclass(one, Enum):
            yield from (str(member.value) for member in one)
        elif get_origin(one) is Literal:
            yield from map(str, get_args(one))


def _form(kind: Any) -> str | None:
    """How a text of this type is written, as the type describes it."""
    if get_origin(kind) in (Union, UnionType):
        return next((form for one in get_args(kind) if (form := _form(one))), None)
    if get_origin(kind) is not Annotated:
        return None
    for meta in kind.__metadata__:
        if isinstance(meta, msgspec.Meta):
            said, example = meta.description, (meta.examples or [None])[0]
            if said and example:
                return f"{said.rstrip('.')}, such as {example}."
            if said or example:
                return said or f"It is written as in {example}."
    return None
