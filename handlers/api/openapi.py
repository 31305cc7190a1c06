"""The OpenAPI document: FastAPI's paths with the schemas of our own types."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from domain.callback import CallbackEvent
from domain.failures import POLICIES
from domain.tenancy import Scope
from handlers.api.adapter_answers import AdapterList, AdapterView, RemovedAdapter, VersionView
from handlers.api.adapter_bodies import ActivationBody, ConfigurationBody
from handlers.api.answers import (
    AcceptedMessage,
    BatchAnswer,
    Cancellation,
    Health,
    MessagePage,
    MessageView,
)
from handlers.api.callback_shapes import (
    EVENT_DOCUMENT,
    CallbackBody,
    CallbackChangeBody,
    CallbackList,
    CallbackTest,
    CallbackView,
    RemovedCallback,
    ReplayBody,
    Replayed,
    RotationBody,
    TellingPage,
)
from handlers.api.examples import EXAMPLES
from handlers.api.problems import FIELD_ERRORS, PROBLEMS, ProblemDetails
from handlers.api.recipients import ErasureAnswer, RecipientBody
from handlers.api.route_answers import ExplanationView
from handlers.api.routes import ExplainBody
from handlers.api.schemas import BatchBody, MessageBody, TemplateUseBody
from handlers.api.senders import SenderList
from handlers.api.suppression_shapes import (
    ImportView,
    RemovedSuppression,
    SuppressionBody,
    SuppressionLookup,
    SuppressionLookupBody,
    SuppressionPage,
    SuppressionView,
)
from handlers.api.template_shapes import (
    RemovedTemplate,
    RenderBody,
    Rendered,
    TemplateDraft,
    TemplateList,
    TemplateVersionView,
    TemplateView,
    VersionChoiceBody,
    VersionDraft,
)
from handlers.api.usage import AccountView, UsageReport

_ANSWERS: Final = (
    AcceptedMessage,
    BatchAnswer,
    MessageView,
    MessagePage,
    Cancellation,
    Health,
    AdapterList,
    AdapterView,
    VersionView,
    RemovedAdapter,
    CallbackList,
    CallbackView,
    RemovedCallback,
    CallbackTest,
    TellingPage,
    Replayed,
    CallbackEvent,
    TemplateDraft,
    VersionDraft,
    TemplateList,
    TemplateView,
    TemplateVersionView,
    RemovedTemplate,
    Rendered,
    ErasureAnswer,
    ExplanationView,
    SuppressionPage,
    SuppressionView,
    SuppressionLookup,
    RemovedSuppression,
    ImportView,
    UsageReport,
    AccountView,
    SenderList,
    ProblemDetails,
)
_BODIES: Final = (
    MessageBody,
    RecipientBody,
    BatchBody,
    ConfigurationBody,
    ActivationBody,
    CallbackBody,
    CallbackChangeBody,
    RotationBody,
    ReplayBody,
    TemplateUseBody,
    VersionChoiceBody,
    RenderBody,
    ExplainBody,
    SuppressionBody,
    SuppressionLookupBody,
)
_TEMPLATE: Final = "#/components/schemas/"
_DESCRIPTION: Final = """\
Hermes delivers a message on the channels you name, one after the other, until one succeeds, \
within a deadline, and accounts for every step.

- Every error is `application/problem+json` with a stable `code`; its `type` leads to a page.
- Times are RFC 3339 in UTC. Fields may be added to answers; ignore those you do not know.
- A message's content is never returned: it may hold one-time passwords.
"""


def build(app: FastAPI) -> dict[str, Any]:
    """The document for the app's routes, OpenAPI 3.1."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=_DESCRIPTION,
        routes=app.routes,
    )
    document["webhooks"] = EVENT_DOCUMENT
    components = document.setdefault("components", {})
    components["schemas"] = {**_answer_schemas(), **_body_schemas()}
    components["securitySchemes"] = {
        "api_key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key of your tenant: `Authorization: Bearer hk_…`. Each "
            "operation names the scope that the key needs:\n\n"
            + "\n".join(f"- `{scope.value}`: {scope.meaning}" for scope in Scope),
        }
    }
    schemas = components["schemas"]
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    schemas["ProblemDetails"]["properties"]["code"]["enum"] = list(PROBLEMS)
    schemas["FieldError"]["properties"]["code"] = _documented(FIELD_ERRORS)
    schemas["FailureCode"]["description"] = "\n".join(
        f"- `{code.value}`: {policy.meaning}" for code, policy in POLICIES.items()
    )
    # As JSON reads it: tuples that are defaults become arrays.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return plain


def _body_schemas() -> dict[str, Any]:
    _, definitions = models_json_schema(
        [(model, "validation") for model in _BODIES],
        ref_template=_TEMPLATE + "{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _answer_schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(_ANSWERS, ref_template=_TEMPLATE + "{name}")
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    return dict(schemas)


def _documented(codes: dict[str, str]) -> dict[str, Any]:
    lines = (f"- `{code}`: {text}" for code, text in codes.items())
    return {"type": "string", "enum": list(codes), "description": "\n".join(lines)}
