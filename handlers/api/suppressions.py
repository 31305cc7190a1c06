"""/v1/suppressions: a tenant's own list of whom not to write to."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from domain.message import Category
from domain.tenancy import Scope
from handlers.api import body, operation
from handlers.api.answers import encode
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, Problem, validation_failed
from handlers.api.suppression_requests import CSV, DEFAULT_LIMIT, MOST, SuppressionDesk
from handlers.api.suppression_shapes import (
    SuppressionBody,
    SuppressionLookupBody,
    import_view,
    suppression_view,
)

_LARGEST_BODY: Final = 4096
_JSON_PROBLEMS: Final = (
    "body_required",
    "malformed_json",
    "body_too_large",
    "unsupported_media_type",
    "validation_failed",
)
_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id of the address on your list.",
    "schema": {"type": "string", "pattern": "^sup_[0-9A-HJKMNP-TV-Z]{13}$"},
    "example": "sup_07JYQ3V5R9M2A",
}
_IMPORT: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The import's id.",
    "schema": {"type": "string", "pattern": "^imp_[0-9a-f]{20}$"},
    "example": "imp_9f2c4b7a1d3e5f608192",
}
_LIST_PARAMETERS: Final = [
    {
        "name": "limit",
        "in": "query",
        "description": "Entries on a page.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
    },
    {
        "name": "cursor",
        "in": "query",
        "description": "`next_cursor` of the page before.",
        "schema": {"type": "string"},
    },
]
_IMPORT_PARAMETERS: Final = [
    {
        "name": "channel",
        "in": "query",
        "required": True,
        "description": "The channel of all addresses in the file.",
        "schema": {"type": "string"},
        "example": "sms",
    },
    {
        "name": "category",
        "in": "query",
        "description": "A category that is blocked; may come several times. Without, all are.",
        "schema": {"type": "array", "items": {"type": "string", "enum": list(Category)}},
    },
]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _ListQuery(_Query):
    limit: Annotated[int, Field(ge=1, le=MOST)] = DEFAULT_LIMIT
    cursor: str | None = None


class _ImportQuery(_Query):
    channel: Annotated[str, Field(max_length=32)]
    category: Annotated[tuple[Category, ...], Field(max_length=3)] | None = None


Query = TypeVar("Query", bound=_Query)


def add_routes(router: APIRouter, desk: SuppressionDesk | None) -> None:
    """Serve the resource; every path is `not_found` where there is no `desk`."""

    def served() -> SuppressionDesk:
        if desk is None:
            raise Problem("not_found")
        return desk

    async def list_suppressions(request: Request) -> Response:
        """Your list, newest first: whom you put on it one by one, who wrote STOP, unsubscribed or
        complained, and addresses that do not exist. What was imported is not listed; look an
        address up instead."""
        query = _query(request, _ListQuery)
        return _answer(await served().page(_owner(request), query.limit, query.cursor))

    async def add_suppression(request: Request) -> Response:
        """Put an address on your list. `201` when that changed something, else `200`. It holds for
        every message that is accepted a second later, or before. An address that is on the list
        blocks what it did and the new categories: to narrow it, take it off first."""
        raw = await body.read(request, _LARGEST_BODY)
        wanted = body.parse(raw, SuppressionBody)
        entry, new = await served().add(
            _owner(request), wanted.channel, wanted.address, wanted.categories, _actor(request)
        )
        return _answer(suppression_view(entry), 201 if new else 200)

    async def lookup_suppression(request: Request) -> Response:
        """What is held against an address, and its id, by which it can be taken off the list."""
        raw = await body.read(request, _LARGEST_BODY)
        wanted = body.parse(raw, SuppressionLookupBody)
        return _answer(await served().lookup(_owner(request), wanted.channel, wanted.address))

    async def remove_suppression(request: Request) -> Response:
        """Take an address off your list, for whatever reason it is there. Whoever opted out has to
        opt in again first: that you know it is up to you."""
        removed = await served().remove(_owner(request), request.path_params["id"], _actor(request))
        return _answer(removed)

    async def import_suppressions(request: Request) -> Response:
        """Put every address of a CSV file on your list: the first cell of each line, with or
        without a heading. The answer comes when the file is stored; look at the import for its
        progress. One at a time; the same file may be sent again. What is blocked already stays
        blocked, as with single addresses."""
        query = _query(request, _ImportQuery)
        job = await served().begin_import(
            request, _owner(request), query.channel, query.category or None, _actor(request)
        )
        return _answer(import_view(job), 202)

    async def get_suppression_import(request: Request) -> Response:
        """How far an import is."""
        job = await served().get_import(_owner(request), request.path_params["id"])
        return _answer(import_view(job))

    table: list[dict[str, Any]] = [
        {
            "method": "GET",
            "path": "/v1/suppressions",
            "endpoint": list_suppressions,
            "names_people": True,
            "scope": Scope.READ,
            "summary": "List suppressed addresses",
            "answer": "SuppressionPage",
            "parameters": _LIST_PARAMETERS,
            "problems": ["validation_failed", "invalid_cursor"],
        },
        {
            "method": "POST",
            "path": "/v1/suppressions",
            "endpoint": add_suppression,
            "scope": Scope.SUPPRESSIONS,
            "summary": "Suppress an address",
            "status": 201,
            "also": 200,
            "body": "SuppressionBody",
            "answer": "SuppressionView",
            "problems": _JSON_PROBLEMS,
        },
        {
            "method": "POST",
            "path": "/v1/suppressions/lookup",
            "endpoint": lookup_suppression,
            "names_people": True,
            "scope": Scope.READ,
            "summary": "Look an address up",
            "body": "SuppressionLookupBody",
            "answer": "SuppressionLookup",
            "problems": _JSON_PROBLEMS,
        },
        {
            "method": "DELETE",
            "path": "/v1/suppressions/{id}",
            "endpoint": remove_suppression,
            "scope": Scope.SUPPRESSIONS,
            "summary": "Take an address off the list",
            "answer": "RemovedSuppression",
            "parameters": [_ID],
            "problems": ["suppression_not_found"],
        },
        {
            "method": "POST",
            "path": "/v1/suppressions/imports",
            "endpoint": import_suppressions,
            "scope": Scope.SUPPRESSIONS,
            "summary": "Import a list",
            "status": 202,
            "upload": CSV,
            "answer": "ImportView",
            "parameters": _IMPORT_PARAMETERS,
            "problems": [
                "body_required",
                "body_too_large",
                "unsupported_media_type",
                "validation_failed",
                "import_busy",
            ],
        },
        {
            "method": "GET",
            "path": "/v1/suppressions/imports/{id}",
            "endpoint": get_suppression_import,
            "names_people": True,
            "scope": Scope.READ,
            "summary": "Look at an import",
            "answer": "ImportView",
            "parameters": [_IMPORT],
            "problems": ["import_not_found"],
        },
    ]
    for one in table:
        operation.add(router, tag="Suppressions", **{"status": 200, **one})


def _owner(request: Request) -> str:
    return principal_of(request).tenant


def _actor(request: Request) -> str:
    return f"key:{principal_of(request).key_id}"


def _query(request: Request, model: type[Query]) -> Query:
    """The query's parameters. Raises Problem."""
    values: dict[str, Any] = {}
    faults = []
    for name in request.query_params:
        given = request.query_params.getlist(name)
        if name not in model.model_fields:
            detail = "There is no such parameter."
            faults.append(FieldError("unknown_parameter", detail, parameter=name))
        elif any("\0" in text for text in given):
            faults.append(FieldError("nul_character", "U+0000 is not allowed.", parameter=name))
        elif name == "category":
            values[name] = given
        elif len(given) > 1:
            faults.append(FieldError("repeated_parameter", "Given twice.", parameter=name))
        else:
            values[name] = given[0]
    if faults:
        raise validation_failed(faults)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = body.field_errors(
            error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise validation_failed(
            [
                FieldError(fault.code, fault.detail, parameter=(fault.pointer or "").split("/")[1])
                for fault in found
            ]
        ) from None


def _answer(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")
