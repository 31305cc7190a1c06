"""From bytes to a request: the body, bounded, and its faults in the API's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from handlers.api.problems import FieldError, Problem, pointer, validation_failed
from handlers.api.schemas import MessageBody

JSON: Final = "application/json"
Model = TypeVar("Model", bound=BaseModel)

# pydantic's error types, by what they mean to a client. Whatever is not here is `wrong_type`.
_CODES: Final[dict[str, str]] = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "enum": "unknown_value",
    "literal_error": "unknown_value",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_short": "too_short",
    "too_long": "too_long",
    "datetime_parsing": "invalid_datetime",
    "datetime_from_date_parsing": "invalid_datetime",
    "datetime_object_invalid": "invalid_datetime",
    "timezone_aware": "invalid_datetime",
}
# Fields whose emptiness or size has a name of its own. All of metadata's are one.
_FIELD_CODES: Final[dict[tuple[str, str], str]] = {
    ("to", "too_short"): "no_recipient",
    ("plan", "too_short"): "empty_plan",
    ("metadata", "too_long"): "metadata_too_large",
}


async def read(
    request: Request, limit: int, media_type: str = JSON, *, required: bool = True
) -> bytes:
    """The body's bytes. Raises Problem as soon as it is known to be over `limit` bytes."""
    headers = request.headers
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    if size == 0:
        if not required:
            return b""
        raise Problem("body_required")
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type or headers.get("content-encoding", "identity") != "identity":
        detail = f"Send `Content-Type: {media_type}` without a content encoding."
        raise Problem("unsupported_media_type", detail)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse_message(raw: bytes) -> MessageBody:
    """One message's JSON. Raises Problem with every fault of its shape."""
    return parse(raw, MessageBody)


def parse(raw: bytes, model: type[Model]) -> Model:
    """A body's JSON. Raises Problem with every fault of its shape."""
    try:
        body = model.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if faults[0]["type"] == "json_invalid":
            raise Problem("malformed_json", faults[0]["msg"]) from None
        raise validation_failed(field_errors(faults)) from None
    check_text(raw)
    return body


def decode(raw: bytes) -> Any:
    """A body's JSON as plain values. Raises Problem for what is none by the letter, also where
    pydantic lets it pass: NaN, 1e400."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise Problem("malformed_json", str(error)) from None
    except (UnicodeDecodeError, RecursionError):
        raise Problem("malformed_json") from None


def check_text(raw: bytes) -> None:
    """Raises Problem when valid JSON holds a NUL, which no store takes."""
    # The only form in which it can; the walk sorts out an escaped backslash.
    if b"\\u0000" in raw:
        errors = [
            FieldError("nul_character", "U+0000 is not allowed.", pointer(path))
            for path in _with_nul(decode(raw), ())
        ]
        if errors:
            raise validation_failed(errors)


def parse_batch(raw: bytes, most: int) -> list[msgspec.Raw]:
    """The batch's messages, each still JSON. Raises Problem when there are none or too many."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise validation_failed([FieldError("wrong_type", "Not an object.", "")]) from None
    except msgspec.DecodeError as error:
        raise Problem("malformed_json", str(error)) from None
    except (UnicodeDecodeError, RecursionError):
        raise Problem("malformed_json") from None
    faults = [
        FieldError("unknown_field", "Not a field of a batch.", pointer((name,)))
        for name in fields
        if name != "messages"
    ]
    if "messages" not in fields:
        faults.append(FieldError("required", "The field must be there.", "/messages"))
    if faults:
        raise validation_failed(faults)
    try:
        messages = msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])
    except msgspec.ValidationError:
        raise validation_failed([FieldError("wrong_type", "Not an array.", "/messages")]) from None
    if not messages:
        raise validation_failed([FieldError("too_short", "No messages.", "/messages")])
    if len(messages) > most:
        detail = f"{len(messages)} messages; at most {most}."
        raise validation_failed([FieldError("too_long", detail, "/messages")])
    return messages


def field_errors(faults: Sequence[ErrorDetails]) -> list[FieldError]:
    """Pydantic's errors in the API's codes and JSON Pointers."""
    errors = []
    for fault in faults:
        location = fault["loc"]
        code = _CODES.get(fault["type"], "wrong_type")
        # pydantic marks the fault of a mapping's key, as against its value, by a last "[key]".
        if location and location[-1] == "[key]":
            location = location[:-1]
        if len(location) == 1:
            code = _FIELD_CODES.get((str(location[0]), code), code)
        elif code in ("too_short", "too_long") and location[:1] == ("metadata",):
            code = "metadata_too_large"
        errors.append(FieldError(code, fault["msg"], pointer(location)))
    return errors


def _too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"The body may have {limit} bytes.")


def _with_nul(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _with_nul(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield (*path, key)
            yield from _with_nul(item, (*path, key))
