"""What is wrong with a carrier's settings, and what would be right, key by key.

Values never show: one of them is a password.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from pydantic_core import ErrorDetails

from adapters.smpp.carriers.config import CarrierConfig

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `path` leads to the key, `kind` is pydantic's name for what happened."""

    path: Path
    kind: str
    wrong: str
    right: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'carrier'}: {self.wrong}; right is {self.right}"


class CarrierInvalid(ValueError):
    """A carrier's settings are refused, whole; `faults` has every fault, at least one."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


_FORMATS: Final[dict[str, str]] = {
    "name": "1 to 32 of a-z, 0-9, _ and -, for example telia-2",
    "hosts": "a list of host:port, for example smsc.example:2775",
    "password": "a text, env:NAME or file:/path",
    "tls": "true, false, or an object with ca_file, cert_file, key_file, server_name",
    "command_status": "an object such as "
    '{"ESME_RSYSERR": "throttled", "0x0408": "content_rejected"}',
    "prefixes": "a list of digits with or without +, for example +4520",
    "price": "an amount for each part, such as 0.0062, or null",
    "ids": "an object with response and receipt: both text, or each hex or decimal",
}
"""What the schema cannot say of itself, by the first key."""
_SHORT: Final[dict[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "there is no such key",
}
_MOST_NAMED = 8


def faults_of(errors: Iterable[ErrorDetails]) -> list[Fault]:
    """What pydantic found in a carrier's settings, once for each key."""
    found: dict[Path, Fault] = {}
    for details in errors:
        path = _path(details["loc"])
        if path in found:
            continue
        kind = details["type"]
        wrong = _SHORT.get(kind) or _sentence(details["msg"])
        found[path] = Fault(path, kind, wrong, right(path, kind))
    return list(found.values())


def right(path: Path, kind: str = "") -> str:
    """What would be right at a path, for people."""
    if kind == "extra_forbidden":
        known = sorted(_keys_at(path[:-1]))
        close = get_close_matches(str(path[-1]), known, n=1)
        return close[0] if close else f"one of {', '.join(known)}"
    if not path:
        return "an object with name, hosts, system_id and password at least"
    first = str(path[0])
    if first in _FORMATS and (len(path) == 1 or not _keys_at(path[:-1])):
        return _FORMATS[first]
    return _described(_schema_at(path)) or "another value"


def json_type(path: Path) -> str | None:
    """What JSON calls the value that belongs at a path; None when that is not one type, or there
    is no such key."""
    kinds = {each.get("type") for each in _alternatives(_schema_at(path))} - {"null"}
    return kinds.pop() if len(kinds) == 1 else None


def _path(location: Sequence[str | int]) -> Path:
    """Where a fault is, without the names that pydantic gives to alternatives and to keys."""
    if location[:1] == ("command_status",):
        return tuple(location[:2])
    return tuple(key for key in location if isinstance(key, int) or "[" not in key)


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return message if len(message) < 100 else "is none of the known values"


@cache
def _schema() -> dict[str, Any]:
    return CarrierConfig.model_json_schema()


def _keys_at(path: Path) -> set[str]:
    """The keys of the table at a path."""
    return {key for each in _alternatives(_schema_at(path)) for key in each.get("properties", {})}


def _alternatives(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [_resolved(each) for each in node.get("anyOf", [node])]


def _schema_at(path: Path) -> dict[str, Any]:
    """The schema of the value at a path, empty where there is none."""
    node = _resolved(_schema())
    for key in path:
        for each in _alternatives(node):
            if isinstance(key, int) and "items" in each:
                node = _resolved(each["items"])
                break
            if key in each.get("properties", {}):
                node = _resolved(each["properties"][key])
                break
            if isinstance(each.get("additionalProperties"), dict):
                node = _resolved(each["additionalProperties"])
                break
        else:
            return {}
    return node


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    if reference is None:
        return node
    found: dict[str, Any] = _schema()["$defs"][reference.rpartition("/")[2]]
    return found


def _described(node: dict[str, Any]) -> str:
    """A schema in words."""
    if "anyOf" in node:
        described = [_described(each) for each in _alternatives(node)]
        return " or ".join(dict.fromkeys(filter(None, described)))
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        values = [str(value) for value in node["enum"]]
        more = ["…"] if len(values) > _MOST_NAMED else []
        return "one of " + ", ".join(values[:_MOST_NAMED] + more)
    kind = node.get("type")
    if kind in ("integer", "number"):
        return _number(node)
    if kind == "string" and "maxLength" in node:
        return f"a text of {node.get('minLength', 0)} to {node['maxLength']} characters"
    if kind == "object" and "properties" in node:
        return f"an object with {', '.join(node['properties'])}"
    return {"string": "a text", "boolean": "true or false", "null": "null"}.get(str(kind), "")


def _number(node: Mapping[str, Any]) -> str:
    noun = "a whole number" if node["type"] == "integer" else "a number"
    most = f"{node['maximum']:g}" if "maximum" in node else None
    if "exclusiveMinimum" in node:
        return f"{noun} above {node['exclusiveMinimum']:g}" + (f", at most {most}" if most else "")
    if "minimum" in node and most:
        return f"{noun} from {node['minimum']:g} to {most}"
    return noun
