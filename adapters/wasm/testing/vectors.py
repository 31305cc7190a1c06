"""Test vectors: what an adapter is given and what it has to make of it, as data.

A file of `vectors/` holds one JSON object: `given`, what all of its vectors share, and `vectors`.
A vector's own `given` is laid over the shared one. With `each`, a vector stands for every code of
a table `{meaning: {code: words}}`: `"each": "codes.json#errors"` repeats it with ${meaning},
${code} and ${words} filled in; "${number}" is the code as a number. `codes.json#errors/timeout`
takes the codes of one meaning only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.wasm.contract import (
    HealthResult,
    HttpError,
    HttpResponse,
    Message,
    Reported,
    SendResult,
    Webhook,
)

Call = Literal["on-message", "on-delivery-report", "on-health-check", "on-configure"]

INPUTS: Final[dict[Call, Any]] = {"on-message": Message, "on-delivery-report": Webhook}
RESULTS: Final[dict[Call, Any]] = {
    "on-message": SendResult,
    "on-delivery-report": Reported,
    "on-health-check": HealthResult,
}

_FILLED: Final = re.compile(r"\$\{(\w+)\}")


class VectorsError(ValueError):
    """The vectors cannot be read; the text names the file and what is wrong with it."""


class ExpectedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request that the adapter has to make.

    `headers` are those that have to be among the request's, by name in any case. `form` and `json`
    compare what the body holds, `body` compares its characters; without any of them the body is
    not looked at. Secrets appear as the placeholders that the adapter writes.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    url: str
    headers: dict[str, str] = {}
    body: str | UnsetType = UNSET
    form: dict[str, str] | UnsetType = UNSET
    json: Any = UNSET


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the provider answers: `json` and `body` are two ways to write the body; `error` stands
    for a request without an answer."""

    status: Annotated[int, Meta(ge=100, le=599)] = 200
    headers: dict[str, str] = {}
    body: str = ""
    json: Any = UNSET
    error: HttpError | UnsetType = UNSET

    def made(self) -> HttpResponse | HttpError:
        """As the host would hand it to the adapter."""
        if self.error is not UNSET:
            return self.error
        body = self.body if self.json is UNSET else msgspec.json.encode(self.json).decode()
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        return HttpResponse(self.status, headers, body)


class Exchange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One request and its answer."""

    answer: Answer
    expect: ExpectedRequest | UnsetType = UNSET


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the adapter finds. `secrets` are the names of the secrets that are set: an adapter sees
    nothing else of them. `store` is what its store holds."""

    call: Call = "on-message"
    config: dict[str, str | int | bool] = {}
    secrets: tuple[str, ...] = ()
    store: dict[str, str] = {}
    input: Any = UNSET
    http: tuple[Exchange, ...] = ()


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What has to come of it.

    `done` is the whole result. `refused` are words of what on-configure says; null says that it
    accepts the configuration. `store` are the changes to the store, null for a key that is gone.
    """

    done: Any = UNSET
    refused: str | UnsetType | None = UNSET
    store: dict[str, str] | UnsetType = UNSET


class Vector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One vector. `origin` is the file that it comes from, `codes` the code of an `each`."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    given: Given
    expect: Expected
    origin: str
    code: str | None = None

    def __post_init__(self) -> None:
        call = self.given.call
        if call == "on-configure":
            if self.expect.refused is UNSET:
                raise ValueError("`expect` needs `refused`")
        elif self.expect.done is UNSET:
            raise ValueError("`expect` needs `done`")
        else:
            _fits(self.expect.done, RESULTS[call], "expect.done")
        if call in INPUTS:
            if self.given.input is UNSET:
                raise ValueError("`given` needs `input`")
            _fits(self.given.input, INPUTS[call], "given.input")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vectors: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1)]
    given: dict[str, Any] = {}


def read_vectors(directory: Path) -> list[Vector]:
    """Every vector of an adapter, in the order of files and lines.

    Raises VectorsError for what is no vector, and when there is none at all.
    """
    files = sorted((directory / "vectors").glob("*.json"))
    found = [vector for file in files for vector in _read(directory, file)]
    if not found:
        raise VectorsError(f"{directory / 'vectors'} holds no vectors")
    return found


def _read(directory: Path, path: Path) -> list[Vector]:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise VectorsError(f"{path.name}: {error}") from None
    found: list[Vector] = []
    for number, written in enumerate(file.vectors, 1):
        try:
            found += _expand(directory, path.stem, file.given, written)
        except (msgspec.ValidationError, VectorsError) as error:
            name = written.get("name", f"vector {number}")
            raise VectorsError(f"{path.name}: {name}: {error}") from None
    return found


def _expand(
    directory: Path, origin: str, shared: dict[str, Any], written: dict[str, Any]
) -> list[Vector]:
    whole = {**written, "given": _over(shared, written.get("given", {})), "origin": origin}
    table = whole.pop("each", None)
    if table is None:
        return [msgspec.convert(whole, Vector)]
    return [
        msgspec.convert({**_fill(whole, row), "code": row["code"]}, Vector)
        for row in _rows(directory, str(table))
    ]


def _rows(directory: Path, address: str) -> list[dict[str, Any]]:
    """The rows of a table, `codes.json#errors` or `codes.json#errors/timeout`."""
    name, _, inner = address.partition("#")
    key, _, only = inner.partition("/")
    try:
        table = msgspec.json.decode((directory / name).read_bytes())[key]
        rows = [
            {"meaning": meaning, "code": code, "words": words, "number": _number(code)}
            for meaning, codes in ({only: table[only]} if only else table).items()
            for code, words in codes.items()
        ]
    except (OSError, msgspec.DecodeError, KeyError, AttributeError, TypeError) as error:
        raise VectorsError(f"each: {address} is no table: {error!r}") from None
    if not rows:
        raise VectorsError(f"each: {address} is empty")
    return rows


def _number(code: str) -> int | str:
    return int(code) if code.isdigit() else code


def _fill(value: Any, row: dict[str, Any]) -> Any:
    """A copy with ${…} filled in. A text that is nothing else takes the value's own type."""
    if isinstance(value, dict):
        return {_fill(key, row): _fill(each, row) for key, each in value.items()}
    if isinstance(value, list):
        return [_fill(each, row) for each in value]
    if not isinstance(value, str):
        return value
    if (only := _FILLED.fullmatch(value)) and only[1] in row:
        return row[only[1]]
    return _FILLED.sub(lambda found: str(row.get(found[1], found[0])), value)


def _over(below: Any, above: Any) -> Any:
    """Objects are laid over each other key by key; anything else replaces what was there."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _over(below.get(key), each) for key, each in above.items()}}
    return above


def _fits(value: Any, type_: Any, place: str) -> None:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise ValueError(f"{place}: {error}") from None
