"""An admin API's OpenAPI document, made when somebody asks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import cleandoc
from typing import Any, Final

import msgspec

from handlers.admin.operation import Operation
from handlers.admin.problems import OPERATOR_PROBLEMS
from handlers.admin.requests import NAME_HEADER
from handlers.api.problems import PROBLEMS

_SCHEMAS: Final = "#/components/schemas/"
_PROBLEM: Final = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "enum": [*OPERATOR_PROBLEMS, *PROBLEMS]},
        **{key: {"type": "string"} for key in ("type", "title", "detail", "instance")},
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    key: {"type": "string"}
                    for key in ("code", "pointer", "parameter", "detail", "right")
                },
            },
        },
    },
    "required": ["type", "title", "status", "code"],
}
_NAME: Final = {
    "name": NAME_HEADER,
    "in": "header",
    "required": False,
    "description": "Who makes the change, for the audit log. Nobody checks it.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[ -~]+$"},
}


def document(operations: Sequence[Operation], *, title: str, description: str) -> dict[str, Any]:
    """OpenAPI 3.1 for these operations."""
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, schemas)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    found = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, "Problem": _PROBLEM},
            "securitySchemes": {"operator_key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"operator_key": []}],
    }
    # As JSON reads it: tuples that are defaults become arrays.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return plain


class _Schemas:
    """The components that the operations need, and where each stands."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        wanted = [kind for one in operations for kind in (one.body, one.answer) if kind is not None]
        structs = list(dict.fromkeys(kind for kind in wanted if not _is_pydantic(kind)))
        schemas, self.components = msgspec.json.schema_components(
            structs, ref_template=_SCHEMAS + "{name}"
        )
        self._of = dict(zip(structs, schemas, strict=True))
        for kind in filter(_is_pydantic, wanted):
            schema = kind.model_json_schema(ref_template=_SCHEMAS + "{model}")
            self.components |= {**schema.pop("$defs", {}), kind.__name__: schema}
            self._of[kind] = {"$ref": _SCHEMAS + kind.__name__}
        for schema in self.components.values():
            if "description" in schema:
                schema["description"] = cleandoc(schema["description"])

    def __getitem__(self, kind: Any) -> dict[str, Any]:
        return dict(self._of[kind])


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    endpoint = operation.endpoint
    answer = {"type": "object"} if operation.answer is None else schemas[operation.answer]
    if operation.media_type != "application/json":
        answer = {"type": "string"}
    found: dict[str, Any] = {
        "operationId": getattr(endpoint, "__name__", ""),
        "description": cleandoc(endpoint.__doc__ or ""),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", operation.path)
        ],
        "responses": {
            str(operation.status): {
                "description": "Success",
                "content": {
                    operation.media_type: {"schema": answer},
                    **{other: {"schema": {"type": "string"}} for other in operation.other_types},
                },
            },
            "default": {
                "description": "A problem: see `code`",
                "content": {"application/problem+json": {"schema": {"$ref": _SCHEMAS + "Problem"}}},
            },
        },
    }
    if operation.query is not None:
        found["parameters"] += _parameters(operation.query, schemas)
    if operation.method != "GET":
        found["parameters"].append(_NAME)
    if operation.method == "PATCH":
        patch = {"type": "object"} if operation.body is None else schemas[operation.body]
        found["requestBody"] = _body("application/merge-patch+json", patch)
    elif operation.body is not None:
        found["requestBody"] = _body("application/json", schemas[operation.body])
        found["requestBody"]["required"] = operation.body_required
    elif operation.upload is not None:
        found["requestBody"] = _body(operation.upload, {"type": "string"})
    return found


def _parameters(query: type[msgspec.Struct], schemas: _Schemas) -> list[dict[str, Any]]:
    _, found = msgspec.json.schema_components([query], ref_template=_SCHEMAS + "{name}")
    own = found.pop(query.__name__)
    described, required = own["properties"], own.get("required", ())
    schemas.components |= found
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": one.pop("description", name),
            "schema": one,
        }
        for name, one in described.items()
    ]


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_json_schema")
