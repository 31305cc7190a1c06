"""A tenant's settings between JSON and `domain.tenancy.Tenant`.

Those that come are checked to the letter. Those that are in the database were checked when they
came, perhaps by a later Hermes that knows more of them: what is not known here is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from domain.faults import Fault, Path, faults_in
from domain.tenancy import Tenant

_encode = msgspec.json.Encoder(order="sorted").encode


class SettingsInvalid(Exception):
    """The settings are wrong; nothing was changed."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, f.path))}: {f.detail}" for f in faults))
        self.faults = faults


def merged(tenant: Tenant, patch: Mapping[str, Any]) -> Tenant:
    """The tenant with a JSON merge patch (RFC 7386) applied; its id stays. Null is back to the
    default, but none where a setting can be none and is not by default. Raises SettingsInvalid with
    every fault."""
    faults = [
        Fault("unknown_field", path, "There is no such setting.")
        for path in _unknown(patch, Tenant)
    ]
    if "id" in patch:
        faults.append(Fault("invalid_value", ("id",), "An id never changes."))
    known = {key: value for key, value in _known(patch, Tenant).items() if key != "id"}
    after = _merge(msgspec.to_builtins(tenant), known, Tenant)
    try:
        made = msgspec.convert(after, Tenant)
    except msgspec.ValidationError:
        faults += faults_in(after, Tenant)
    if faults:
        raise SettingsInvalid(faults)
    return made


def stored(tenant: Tenant) -> str:
    """What is kept of a tenant's settings: those that are not the defaults."""
    settings = msgspec.to_builtins(tenant)
    del settings["id"]
    return _encode(settings).decode()


def read(tenant: str, settings: str | bytes) -> Tenant:
    """A tenant from what was kept. Raises msgspec.DecodeError."""
    kept = msgspec.json.decode(settings, type=dict[str, Any])
    return msgspec.convert({**_known(kept, Tenant), "id": tenant}, Tenant)


def complete(value: Any) -> Any:
    """A value as JSON has it, with the defaults that its encoding leaves out."""
    if isinstance(value, msgspec.Struct):
        return {name: complete(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else msgspec.to_builtins(key, str_keys=True): complete(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [complete(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((complete(item) for item in value), key=str)
    return msgspec.to_builtins(value)


def _merge(target: Any, patch: Any, kind: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    structure = _struct(kind)
    fields = {} if structure is None else get_type_hints(structure)
    may_be_none = set() if structure is None else _none_against_default(structure, fields)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None and key not in may_be_none:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value, fields.get(key))
    return result


def _none_against_default(structure: type[msgspec.Struct], fields: Mapping[str, Any]) -> set[str]:
    return {
        field.name
        for field in msgspec.structs.fields(structure)
        if NoneType in get_args(fields[field.name])
        and field.default not in (None, msgspec.NODEFAULT)
    }


def _unknown(value: Any, kind: Any, path: Path = ()) -> Iterator[Path]:
    """Where an object has keys that its type has not."""
    structure = _struct(kind)
    if structure is None or not isinstance(value, Mapping):
        return
    fields = get_type_hints(structure)
    for key, item in value.items():
        if key not in fields:
            yield (*path, key)
        else:
            yield from _unknown(item, fields[key], (*path, key))


def _known(value: Any, kind: Any) -> Any:
    """The same without keys that its type has not."""
    structure = _struct(kind)
    if structure is None or not isinstance(value, Mapping):
        return value
    fields = get_type_hints(structure)
    return {key: _known(item, fields[key]) for key, item in value.items() if key in fields}


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a type is, or may be, as an object of JSON."""
    # Of a mapping the arguments are its keys' and values' types.
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    for one in (kind, *choices):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return None if one.__struct_config__.array_like else one
    return None
