"""The admin API's OpenAPI document, made when somebody asks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import cleandoc
from typing import Any, Final

import msgspec

from adapters.smpp.carriers.config import CarrierConfig
from handlers.admin.operation import Operation
from handlers.admin.problems import OPERATOR_PROBLEMS

_REFERENCES: Final = "#/components/schemas/"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """OpenAPI 3.1 for these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hermes, for operators",
            "version": "1",
            "description": "Served by each bind pool. A change to a carrier is kept in the "
            "journal's database and followed by every pool on it within two seconds.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"operator_key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"operator_key": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    endpoint = operation.endpoint
    found: dict[str, Any] = {
        "operationId": getattr(endpoint, "__name__", ""),
        "description": cleandoc(endpoint.__doc__ or ""),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", operation.path)
        ],
        "responses": {
            "default": {
                "description": "Success, or a problem: see `code`",
                "content": {
                    "application/problem+json": {"schema": {"$ref": _REFERENCES + "Problem"}}
                },
            }
        },
    }
    if operation.method == "PATCH":
        found["requestBody"] = _body("application/merge-patch+json", {"type": "object"})
    elif operation.method == "POST" and "{" not in operation.path:
        found["requestBody"] = _body("application/json", {"$ref": _REFERENCES + "CarrierConfig"})
    return found


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _schemas() -> dict[str, Any]:
    carrier = CarrierConfig.model_json_schema(ref_template=_REFERENCES + "{model}")
    below = carrier.pop("$defs", {})
    problem = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "examples": list(OPERATOR_PROBLEMS)},
            **{key: {"type": "string"} for key in ("type", "title", "detail", "instance")},
            "status": {"type": "integer"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        key: {"type": "string"} for key in ("code", "pointer", "detail", "right")
                    },
                },
            },
        },
    }
    found = {"CarrierConfig": carrier, **below, "Problem": problem}
    # As JSON reads it: tuples that are defaults become arrays.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return plain
