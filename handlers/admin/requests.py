"""What the operator's requests say, checked."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request

from domain.faults import fault_of, faults_in
from handlers.api.problems import FieldError, Problem, pointer, validation_failed

OPERATOR: Final = "operator"
NAME_HEADER: Final = "hermes-operator"
"""Who of those with the operator's key it is, as they say themselves: for the audit log."""
LARGEST_BODY: Final = 64 * 1024

_MEDIA_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})
_LONGEST_NAME: Final = 64
_decode = msgspec.json.Decoder().decode
T = TypeVar("T", bound=msgspec.Struct)


def actor(request: Request) -> str:
    """Whom the audit log names. Raises Problem."""
    said = request.headers.getlist(NAME_HEADER)
    if not said:
        return OPERATOR
    name = said[0]
    if len(said) > 1 or not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
        error = FieldError(
            "invalid_value", f"1 to {_LONGEST_NAME} printable characters.", parameter=NAME_HEADER
        )
        raise validation_failed([error])
    return f"{OPERATOR}:{name}"


async def json_object(request: Request, *, required: bool = True) -> dict[str, Any]:
    """The JSON object in a request's body, {} for none that is not `required`. Raises Problem."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise Problem("body_too_large", f"The body may have {LARGEST_BODY} bytes.")
    if not body:
        if required:
            raise Problem("body_required")
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES or "content-encoding" in request.headers:
        raise Problem("unsupported_media_type")
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("malformed_json", str(error)) from None
    except RecursionError:
        raise Problem("malformed_json", "It is nested too deeply.") from None
    if not isinstance(value, dict):
        raise validation_failed([FieldError("wrong_type", "Not an object.", "")])
    if b"\\u0000" in body and _has_nul(value):
        raise validation_failed([FieldError("nul_character", "U+0000 is not allowed.", "")])
    return value


async def body_of(request: Request, kind: type[T], *, required: bool = True) -> T:
    """The body as a struct. Raises Problem with every fault of its shape."""
    value = await json_object(request, required=required)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        faults = faults_in(value, kind)
    raise validation_failed(
        [FieldError(fault.code, fault.detail, pointer(fault.path)) for fault in faults]
    )


def query_of(request: Request, kind: type[T]) -> T:
    """The query's parameters as a struct, which names those that there are. Raises Problem."""
    faults = []
    values: dict[str, str] = {}
    for name in request.query_params:
        given = request.query_params.getlist(name)
        if name not in kind.__struct_fields__:
            faults.append(
                FieldError("unknown_parameter", "There is no such parameter.", parameter=name)
            )
        elif len(given) > 1:
            faults.append(FieldError("repeated_parameter", "Given twice.", parameter=name))
        elif "\0" in given[0]:
            faults.append(FieldError("nul_character", "U+0000 is not allowed.", parameter=name))
        else:
            values[name] = given[0]
    if not faults:
        try:
            found = msgspec.convert(values, kind, strict=False)
            # What is written `null` would count as left out.
            faults += [
                FieldError("wrong_type", "A value, or not there at all.", parameter=name)
                for name in values
                if getattr(found, name) is None
            ]
            if not faults:
                return found
        except msgspec.ValidationError as error:
            fault = fault_of(error)
            name = str(fault.path[0]) if fault.path else ""
            faults.append(FieldError(fault.code, fault.detail, parameter=name))
    raise validation_failed(faults)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))
