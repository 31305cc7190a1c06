"""A message made from a tenant's template: rendered before its schema is checked.

No layer of its own: the schema is checked on what the template gave, and all faults are told
together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Final, Protocol

import msgspec

from adapters.templates.store import Library
from adapters.templates.versions import Versions
from domain.message import Content, TemplateUse
from domain.templates.definition import Compiled, Faulty
from domain.verdict import Outcome, Verdict
from handlers.api.problems import FieldError, Problem, pointer, validation_failed
from handlers.api.schemas import TemplateUseBody
from handlers.pipeline.draft import Draft, Layer

_STAND_IN: Final = Content(text="-")
"""In the place of content that cannot be made, so that the rest is checked all the same."""
_VALUES: Final = ("template", "variables")


class Templates(Protocol):
    """The section of the templates."""

    @property
    def value(self) -> Library:
        """The templates at the moment."""


class NoTemplates:
    """Where nobody has a template."""

    value = Library({}, Versions(lambda key: None))


class Templated:
    """The layer `schema`, with the content of a template where a message asks for one."""

    def __init__(self, schema: Layer, templates: Templates) -> None:
        self.name = schema.name
        self._check = schema.check
        self._templates = templates

    def check(self, draft: Draft) -> Verdict | Awaitable[Verdict]:
        """Raises Problem `validation_failed` with all faults together. There is something to
        await when the template is not in memory."""
        body = draft.body
        if body.template is None and body.content is not None:
            verdict = self._check(draft)
            assert isinstance(verdict, Verdict)
            return verdict
        if body.template is None:
            faults = [FieldError("required", "`content`, or a `template`.", "/content")]
            raise self._with_the_rest(draft, faults)
        return self._filled(draft, body.template)

    def _filled(self, draft: Draft, asked: TemplateUseBody) -> Verdict | Awaitable[Verdict]:
        faults: list[FieldError] = []
        if draft.body.content is not None:
            detail = "A message has `content` or a `template`, not both."
            faults.append(FieldError("content_and_template", detail, "/template"))
        library, tenant = self._templates.value, draft.tenant.id
        active = library.active(tenant, asked.name)
        if active is None:
            detail = "There is no template of this name."
            faults.append(FieldError("unknown_template", detail, "/template/name"))
            raise self._with_the_rest(draft, faults)
        version = active if asked.version is None else asked.version
        template = library.ready(tenant, asked.name, version)
        if template is None:
            return self._made_ready(library, draft, asked, version, faults)
        return self._said(draft, asked, version, template, faults)

    async def _made_ready(
        self,
        library: Library,
        draft: Draft,
        asked: TemplateUseBody,
        version: int,
        faults: list[FieldError],
    ) -> Verdict:
        try:
            template = await library.get(draft.tenant.id, asked.name, version)
        except Faulty as faulty:
            # It was good when it was published: the tables of languages or time zones are newer.
            faults += [FieldError(one.code, one.detail, "/template") for one in faulty.faults]
            raise self._with_the_rest(draft, faults) from None
        if template is None:
            detail = f"{asked.name} has no version {version}."
            faults.append(FieldError("unknown_template_version", detail, "/template/version"))
            raise self._with_the_rest(draft, faults)
        return self._said(draft, asked, version, template, faults)

    def _said(
        self,
        draft: Draft,
        asked: TemplateUseBody,
        version: int,
        template: Compiled,
        faults: list[FieldError],
    ) -> Verdict:
        use, draft.rendered = _render(draft, asked, version, template, faults)
        if use is None:
            raise self._with_the_rest(draft, faults)
        try:
            self._check(draft)
        except Problem as problem:
            raise _told(problem, faults) from None
        if faults:
            raise validation_failed(faults)
        draft.order = msgspec.structs.replace(draft.order, template=use)
        said = f"{use.name} {use.version} in {use.language}"
        return Verdict(self.name, Outcome.CHANGE, "template_rendered", said)

    def _with_the_rest(self, draft: Draft, faults: list[FieldError]) -> Problem:
        """The problem of these faults and of whatever else is wrong with the message."""
        draft.rendered = _STAND_IN
        try:
            self._check(draft)
        except Problem as problem:
            return _told(problem, faults)
        return validation_failed(faults)


def field_errors(faulty: Faulty, whole: str = "") -> Iterator[FieldError]:
    """Faults as the API tells them; `whole` is the place of one that has none."""
    for fault in faulty.faults:
        yield FieldError(fault.code, fault.detail, pointer(fault.path) or whole)


def _render(
    draft: Draft,
    asked: TemplateUseBody,
    version: int,
    template: Compiled,
    faults: list[FieldError],
) -> tuple[TemplateUse | None, Content]:
    language = template.language_for(asked.language or draft.locale)
    plan = draft.body.plan
    channels = draft.body.to if plan is None else {step.channel for step in plan}
    try:
        values = template.values(asked.variables, _VALUES)
        content = template.render(language, values, channels)
    except Faulty as faulty:
        faults += field_errors(faulty, "/template")
        return None, _STAND_IN
    return TemplateUse(asked.name, version, language), content


def _told(problem: Problem, faults: list[FieldError]) -> Problem:
    """A problem of the schema with the template's faults before it. What is wrong with the
    content is the template's."""
    if problem.code != "validation_failed":
        return problem
    others = [
        msgspec.structs.replace(error, pointer="/template")
        if (error.pointer or "").startswith("/content/")
        else error
        for error in problem.details.errors
    ]
    return validation_failed([*faults, *others])
