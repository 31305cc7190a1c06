"""Routes that read the raw request, and what the OpenAPI document says about them.

FastAPI's own parameter handling cost 20 to 45 µs a request when measured, as much as checking a
whole message, so endpoints take the request as it is and state here what FastAPI would otherwise
have derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from domain.ids import PATTERN
from domain.mode import Mode
from domain.tenancy import Scope
from handlers.api.door import Endpoint, principal_of, require
from handlers.api.paths import ByPath
from handlers.api.problems import MEDIA_TYPE, PROBLEMS, Problem

ALWAYS: Final = (
    "missing_key",
    "invalid_key",
    "scope_missing",
    "live_key_required",
    "store_unavailable",
    "internal_error",
)
"""What every authenticated operation can answer."""

MESSAGE_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The message's id.",
    "schema": {"type": "string", "pattern": f"^{PATTERN}$"},
    "example": "msg_01JG3T5C8VE7Q9X2B4N6M8P0RS",
}
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: the same key with the same JSON (white "
    "space and the order of keys aside) gets the first answer again, with "
    "`Idempotent-Replayed: true`, and nothing is sent twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
TRACEPARENT: Final = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "description": "W3C Trace Context; the message's work joins this trace.",
    "schema": {"type": "string"},
}


class Operation(ByPath):
    """A route that FastAPI documents and Starlette serves. `scope` is what it asks of a key, None
    for a route without one."""

    scope: Scope | None = None

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.scope = getattr(endpoint, "scope", None)
        self.app = request_response(endpoint)


def add(
    router: APIRouter,
    method: str,
    path: str,
    endpoint: Endpoint,
    *,
    tag: str,
    summary: str,
    status: int,
    answer: str | None,
    problems: Iterable[str] = (),
    parameters: Iterable[Mapping[str, Any]] = (),
    body: str | None = None,
    body_required: bool = True,
    upload: str | None = None,
    example: Any = None,
    headers: Mapping[str, str] | None = None,
    scope: Scope | None = None,
    open_to_all: bool = False,
    also: int | None = None,
    other_types: Iterable[str] = (),
    names_people: bool = False,
) -> Endpoint:
    """Serve `endpoint` and document it; its docstring is the description. Returns what is served:
    the endpoint behind the check that the key has `scope`.

    Every route has a scope, or is `open_to_all`; ValueError for one that has not. `answer` and
    `body` name component schemas; an `answer` of None says nothing. `also` is another status of
    success with the same answer, `other_types` are media types in which it comes as text.
    `problems` are codes of PROBLEMS, `headers` the answer's own headers with their descriptions.
    `upload` is the media type of a body that is no JSON. What `names_people` to whom live messages
    go is not for test keys, whatever the scope.
    """
    if open_to_all is (scope is not None):
        raise ValueError(f"{method} {path}: a route has a scope, or is open to all")
    served = endpoint if scope is None else _scoped(endpoint, scope, names_people)
    codes = [*problems, *(("internal_error",) if open_to_all else ALWAYS)]
    success: dict[str, Any] = {"description": "Success"}
    if answer is not None:
        success["content"] = {"application/json": {"schema": _reference(answer)}}
        success["content"] |= {other: {"schema": {"type": "string"}} for other in other_types}
    if headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    if example is not None:
        success["content"]["application/json"]["example"] = example
    extra: dict[str, Any] = {
        "parameters": list(parameters),
        "security": [] if scope is None else [{"api_key": [scope.value]}],
    }
    if body is not None:
        extra["requestBody"] = {
            "required": body_required,
            "content": {"application/json": {"schema": _reference(body)}},
        }
    if upload is not None:
        extra["requestBody"] = {"required": True, "content": {upload: {}}}
    router.add_api_route(
        path,
        served,
        methods=[method],
        tags=[tag],
        summary=summary,
        description=endpoint.__doc__,
        operation_id=endpoint.__name__,
        status_code=status,
        response_model=None,
        response_class=Response,
        responses={
            **({} if also is None else {also: success}),
            status: success,
            **_problem_responses(codes),
        },
        openapi_extra=extra,
        route_class_override=Operation,
    )
    return served


def _scoped(endpoint: Endpoint, scope: Scope, names_people: bool) -> Endpoint:
    async def served(request: Request) -> Response:
        principal = principal_of(request)
        require(principal, scope)
        if names_people and principal.mode is Mode.TEST:
            raise Problem("live_key_required")
        return await endpoint(request)

    served.__name__, served.__doc__ = endpoint.__name__, endpoint.__doc__
    served.scope = scope  # type: ignore[attr-defined]
    return served


def _problem_responses(codes: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = PROBLEMS[code]
        response = responses.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": _reference("ProblemDetails"), "examples": {}}},
            },
        )
        response["description"] = "; ".join(filter(None, (response["description"], kind.title)))
        response["content"][MEDIA_TYPE]["examples"][code] = {
            "summary": kind.title,
            "description": kind.documentation,
            "value": {
                "type": f"/problems/{code}",
                "title": kind.title,
                "status": kind.status,
                "code": code,
            },
        }
    return responses


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
