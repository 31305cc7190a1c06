"""What clients send about templates, and what they get."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from adapters.templates.store import StoredTemplate, Version
from domain.message import Content
from domain.sms.segmentation import count_segments
from domain.templates.definition import Definition
from domain.templates.values import Variable
from handlers.api.answers import Instant, SmsSize
from handlers.api.schemas import LOCALE, ChannelName


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class VersionChoiceBody(_Body):
    """Which version to use from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 2}]})

    version: Annotated[int, Field(ge=1, le=2**31)]


class RenderBody(_Body):
    """What to render a template with, to see what it says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"language": "da", "variables": {"name": "Anna"}, "channels": ["sms"]}]
        }
    )

    version: Annotated[int, Field(ge=1, le=2**31)] | None = Field(
        None, description="Left out, the active one."
    )
    language: Annotated[str, Field(pattern=LOCALE)] | None = Field(
        None, description="Left out, the template's default language."
    )
    variables: Annotated[dict[str, Any], Field(max_length=100)] = {}
    channels: Annotated[list[ChannelName], Field(min_length=1, max_length=8)] | None = Field(
        None, description="Left out, all of them."
    )


class TemplateDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new template: its name, and its first version, which is active at once."""

    name: str
    definition: Definition


class VersionDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new version. It is used once it is activated, here or later."""

    definition: Definition
    activate: bool = False


class TemplateSummary(msgspec.Struct, frozen=True):
    """A template in the list; its own page has the versions."""

    name: str
    active: int
    languages: list[str]
    variables: dict[str, Variable]
    created_at: Instant
    changed_at: Instant


class TemplateList(msgspec.Struct, frozen=True):
    """Your templates, by name."""

    data: list[TemplateSummary]


class VersionSummary(msgspec.Struct, frozen=True):
    """One version; its own page has the definition."""

    version: int
    active: bool
    languages: list[str]
    created_at: Instant
    created_by: str


class TemplateView(msgspec.Struct, frozen=True):
    """A template: what its active version says, and all versions, newest first."""

    name: str
    active: int
    created_at: Instant
    changed_at: Instant
    definition: Definition
    versions: list[VersionSummary]


class TemplateVersionView(msgspec.Struct, frozen=True):
    """One version of a template, which never changes."""

    name: str
    version: int
    active: bool
    created_at: Instant
    created_by: str
    definition: Definition


class RemovedTemplate(msgspec.Struct, frozen=True):
    """No new message can use the template."""

    name: str
    removed: bool


class RenderedContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one channel carries. `sms` is there for SMS."""

    text: str
    subject: str | None = None
    html: str | None = None
    data: dict[str, str] = {}
    template: dict[str, Any] | None = None
    sms: SmsSize | None = None


class Rendered(msgspec.Struct, frozen=True):
    """What a template says, by channel, in the language that was found."""

    name: str
    version: int
    language: str
    channels: dict[str, RenderedContent]


def template_summary(template: StoredTemplate) -> TemplateSummary:
    """A template as the list shows it."""
    definition = template.definition
    return TemplateSummary(
        template.name,
        template.active,
        list(definition.languages),
        definition.variables,
        template.created_at,
        template.changed_at,
    )


def template_view(template: StoredTemplate) -> TemplateView:
    """A template with its versions."""
    return TemplateView(
        template.name,
        template.active,
        template.created_at,
        template.changed_at,
        template.definition,
        [
            VersionSummary(
                one.version,
                one.version == template.active,
                list(one.languages),
                one.created_at,
                one.created_by,
            )
            for one in template.versions
        ],
    )


def version_view(name: str, version: Version) -> TemplateVersionView:
    """One version of a template."""
    return TemplateVersionView(
        name,
        version.version,
        version.active,
        version.created_at,
        version.created_by,
        version.definition,
    )


def rendered_content(channel: str, content: Content) -> RenderedContent:
    """What one channel carries of a rendered content."""
    own = content.on(channel)
    if channel == "sms":
        return RenderedContent(own.text, sms=SmsSize(*count_segments(own.text)))
    return RenderedContent(
        own.text,
        own.subject if channel in ("email", "push") else None,
        own.html if channel == "email" else None,
        own.data if channel == "push" else {},
        msgspec.to_builtins(own.template)
        if channel == "whatsapp" and own.template is not None
        else None,
    )
