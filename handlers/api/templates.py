"""/v1/templates: a tenant's templates, their versions, and what they say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.templates.store import (
    MAX_OCTETS,
    MAX_TEMPLATES,
    MAX_VERSIONS,
    Library,
    TemplateExists,
    TemplateStore,
    TooMany,
    UnknownTemplate,
    UnknownVersion,
    Version,
)
from domain.channels import CHANNELS
from domain.faults import faults_in
from domain.templates.definition import TEMPLATE_NAME, Definition, Faulty, compiled
from domain.tenancy import Scope
from handlers.api import body, operation
from handlers.api.answers import encode
from handlers.api.door import principal_of
from handlers.api.problems import FieldError, Problem, pointer, validation_failed
from handlers.api.template_limits import TemplateLimits
from handlers.api.template_shapes import (
    RemovedTemplate,
    RenderBody,
    Rendered,
    TemplateDraft,
    TemplateList,
    VersionChoiceBody,
    VersionDraft,
    rendered_content,
    template_summary,
    template_view,
    version_view,
)
from handlers.pipeline.templates import field_errors

MAX_DEFINITION: Final = 512 * 1024
MAX_BODY: Final = 64 * 1024

T = TypeVar("T")
_GOOD_NAME: Final = re.compile(TEMPLATE_NAME)
_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The template's name.",
    "schema": {"type": "string", "pattern": TEMPLATE_NAME},
    "example": "table-ready",
}
_VERSION: Final = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "The version's number.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 2**31},
    "example": 1,
}
_JSON_PROBLEMS: Final = (
    "body_required",
    "malformed_json",
    "body_too_large",
    "unsupported_media_type",
    "validation_failed",
)


class LibrarySection(Protocol):
    """The section of the templates."""

    @property
    def value(self) -> Library:
        """The templates at the moment."""

    def refresh(self) -> None:
        """Read them again; blocks."""


@dataclass(frozen=True, slots=True)
class TemplateResource:
    """What the resource works with."""

    library: LibrarySection
    store: TemplateStore


def add_routes(router: APIRouter, templates: TemplateResource | None) -> None:
    """Serve the resource; every path is `not_found` where there are no `templates`."""
    limits = TemplateLimits()

    def ours() -> TemplateResource:
        if templates is None:
            raise Problem("not_found")
        return templates

    async def list_templates(request: Request) -> Response:
        """Your templates, by name."""
        found = await asyncio.to_thread(ours().store.list, principal_of(request).tenant)
        return _answer(TemplateList([template_summary(one) for one in found]))

    async def create_template(request: Request) -> Response:
        """Make a template with its first version, which is used at once. Everything that is wrong
        with the definition is told together."""
        here = ours()
        raw = await body.read(request, MAX_DEFINITION)
        draft = _parse(raw, TemplateDraft)
        limits.take(principal_of(request).tenant, len(raw))
        faults = await asyncio.to_thread(_faults, draft.definition)
        if _GOOD_NAME.match(draft.name) is None:
            detail = "A name is a to z, 0 to 9 and . _ -, at most 64 characters."
            faults.insert(0, FieldError("invalid_value", detail, "/name"))
        if faults:
            raise validation_failed(faults)
        with _problems():
            made = await asyncio.to_thread(
                here.store.create,
                principal_of(request).tenant,
                draft.name,
                draft.definition,
                _actor(request),
            )
        await asyncio.to_thread(here.library.refresh)
        return _answer(template_view(made), 201)

    async def get_template(request: Request) -> Response:
        """A template: what its active version says, and all its versions."""
        with _problems():
            found = await asyncio.to_thread(ours().store.get, *_place(request))
        return _answer(template_view(found))

    async def publish_template_version(request: Request) -> Response:
        """Add a version. It never changes, and is used once it is activated. What says the same as
        the newest version is that version."""
        here = ours()
        raw = await body.read(request, MAX_DEFINITION)
        draft = _parse(raw, VersionDraft)
        limits.take(principal_of(request).tenant, len(raw))
        if faults := await asyncio.to_thread(_faults, draft.definition):
            raise validation_failed(faults)

        def publish() -> Version:
            return here.store.publish(
                *_place(request), draft.definition, _actor(request), activate=draft.activate
            )

        with _problems():
            version = await asyncio.to_thread(publish)
        await asyncio.to_thread(here.library.refresh)
        return _answer(version_view(_place(request)[1], version), 201)

    async def get_template_version(request: Request) -> Response:
        """One version of a template, as it was published."""
        number = _number(request)
        with _problems():
            found = await asyncio.to_thread(ours().store.version, *_place(request), number)
        return _answer(version_view(_place(request)[1], found))

    async def activate_template_version(request: Request) -> Response:
        """Use a version from now on, a newer or an older one. Messages that were accepted keep
        theirs."""
        here = ours()
        wanted = body.parse(await body.read(request, MAX_BODY), VersionChoiceBody)
        limits.take(principal_of(request).tenant)
        with _problems():
            found = await asyncio.to_thread(
                here.store.activate, *_place(request), wanted.version, _actor(request)
            )
        await asyncio.to_thread(here.library.refresh)
        return _answer(template_view(found))

    async def render_template(request: Request) -> Response:
        """What a template says on each channel, with the number of SMS segments. Nothing is
        sent."""
        here = ours()
        wanted = body.parse(await body.read(request, MAX_BODY), RenderBody)
        tenant, name = _place(request)
        library = here.library.value
        active = library.active(tenant, name)
        if active is None:
            raise Problem("template_not_found")
        version = active if wanted.version is None else wanted.version
        try:
            template = await library.get(tenant, name, version)
        except Faulty as faulty:
            raise validation_failed(list(field_errors(faulty))) from None
        if template is None:
            raise Problem("template_version_not_found")
        channels = _channels(wanted)
        language = template.language_for(wanted.language)
        try:
            values = template.values(wanted.variables, ("variables",))
            content = template.render(language, values, channels)
        except Faulty as faulty:
            raise validation_failed(list(field_errors(faulty))) from None
        by_channel = {channel: rendered_content(channel, content) for channel in channels}
        return _answer(Rendered(name, version, language, by_channel))

    async def remove_template(request: Request) -> Response:
        """Let no new message use a template, and forget its versions. What was accepted is sent; a
        template that is made under the name later goes on with the next number."""
        here, (tenant, name) = ours(), _place(request)
        limits.take(tenant)
        with _problems():
            await asyncio.to_thread(here.store.remove, tenant, name, _actor(request))
        await asyncio.to_thread(here.library.refresh)
        return _answer(RemovedTemplate(name, True))

    def add(method: str, path: str, endpoint: Any, summary: str, **options: Any) -> None:
        operation.add(
            router,
            method,
            f"/v1/templates{path}",
            endpoint,
            scope=options.pop("scope", Scope.READ if method == "GET" else Scope.TEMPLATES),
            tag="Templates",
            summary=summary,
            status=options.pop("status", 200),
            **options,
        )

    add("GET", "", list_templates, "List the templates", answer="TemplateList")
    add(
        "POST",
        "",
        create_template,
        "Make a template",
        status=201,
        answer="TemplateView",
        body="TemplateDraft",
        problems=[*_JSON_PROBLEMS, "template_exists", "too_many_templates", "rate_limited"],
    )
    add(
        "GET",
        "/{name}",
        get_template,
        "Look at a template",
        answer="TemplateView",
        parameters=[_NAME],
        problems=["template_not_found"],
    )
    add(
        "POST",
        "/{name}/versions",
        publish_template_version,
        "Add a version",
        status=201,
        answer="TemplateVersionView",
        body="VersionDraft",
        parameters=[_NAME],
        problems=[*_JSON_PROBLEMS, "template_not_found", "too_many_templates", "rate_limited"],
    )
    add(
        "GET",
        "/{name}/versions/{version}",
        get_template_version,
        "Look at a version",
        answer="TemplateVersionView",
        parameters=[_NAME, _VERSION],
        problems=["template_not_found", "template_version_not_found"],
    )
    add(
        "POST",
        "/{name}/activate",
        activate_template_version,
        "Use another version",
        answer="TemplateView",
        body="VersionChoiceBody",
        parameters=[_NAME],
        problems=[
            *_JSON_PROBLEMS,
            "template_not_found",
            "template_version_not_found",
            "rate_limited",
        ],
    )
    add(
        "POST",
        "/{name}/render",
        render_template,
        "See what a template says",
        scope=Scope.READ,
        answer="Rendered",
        body="RenderBody",
        parameters=[_NAME],
        problems=[*_JSON_PROBLEMS, "template_not_found", "template_version_not_found"],
    )
    add(
        "DELETE",
        "/{name}",
        remove_template,
        "Remove a template",
        answer="RemovedTemplate",
        parameters=[_NAME],
        problems=["template_not_found", "rate_limited"],
    )


def _parse(raw: bytes, model: type[T]) -> T:
    """A definition's JSON. Raises Problem with every fault of its shape."""
    body.check_text(raw)
    try:
        return msgspec.json.decode(raw, type=model)
    except msgspec.ValidationError:
        faults = faults_in(body.decode(raw), model)
        raise validation_failed(
            [FieldError(fault.code, fault.detail, pointer(fault.path)) for fault in faults]
        ) from None
    except msgspec.DecodeError as error:
        raise Problem("malformed_json", str(error)) from None
    except (UnicodeDecodeError, RecursionError):
        raise Problem("malformed_json") from None


def _faults(definition: Definition) -> list[FieldError]:
    try:
        compiled(definition)
    except Faulty as faulty:
        return [
            msgspec.structs.replace(error, pointer=f"/definition{error.pointer}")
            for error in field_errors(faulty)
        ]
    return []


def _channels(wanted: RenderBody) -> list[str]:
    """Raises Problem."""
    channels = list(CHANNELS) if wanted.channels is None else wanted.channels
    unknown = [
        FieldError(
            "unknown_channel", f"Channels: {', '.join(CHANNELS)}.", pointer(("channels", number))
        )
        for number, channel in enumerate(channels)
        if channel not in CHANNELS
    ]
    if unknown:
        raise validation_failed(unknown)
    return list(dict.fromkeys(channels))


def _number(request: Request) -> int:
    """Raises Problem: what is no number is no version."""
    text: str = request.path_params["version"]
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise Problem("template_version_not_found")
    return int(text)


def _place(request: Request) -> tuple[str, str]:
    return principal_of(request).tenant, request.path_params["name"]


def _actor(request: Request) -> str:
    return f"key:{principal_of(request).key_id}"


def _answer(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except UnknownTemplate:
        raise Problem("template_not_found") from None
    except UnknownVersion:
        raise Problem("template_version_not_found") from None
    except TemplateExists:
        raise Problem("template_exists") from None
    except TooMany:
        detail = (
            f"At most {MAX_TEMPLATES} templates, {MAX_VERSIONS} versions of each, and "
            f"{MAX_OCTETS:,} octets of JSON in all versions of all templates."
        )
        raise Problem("too_many_templates", detail) from None
