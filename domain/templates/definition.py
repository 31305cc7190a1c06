"""A template's definition, as a tenant writes it, and what it is made into once to be rendered."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec

from domain.channels import CHANNELS
from domain.faults import Fault, Path
from domain.message import Content, Template, Variant
from domain.templates.html import Html, whole_url
from domain.templates.places import (
    NAME,
    Choice,
    Key,
    Parts,
    Place,
    Plain,
    SyntaxProblem,
    Writer,
    fill,
    parse,
    places,
)
from domain.templates.values import (
    CODES as VALUE_CODES,
)
from domain.templates.values import (
    FORMATS,
    Tongue,
    ValueProblem,
    Variable,
    VariableType,
    checked,
    locale_of,
    written,
)

TEMPLATE_NAME: Final = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
MAX_VARIABLES: Final = 100
MAX_LANGUAGES: Final = 60
MAX_TEXT: Final = 20_000
MAX_HTML: Final = 100_000
MAX_SUBJECT: Final = 1000
MAX_DATA: Final = 50
MAX_DATA_TEXT: Final = 4096
MAX_PARAMETER: Final = 1024
"""Characters that one text of `data`, and one parameter of WhatsApp's, may come to: what a message
may have that no template made."""
MAX_ALL_PLACES: Final = 10_000
"""In all texts of a definition: each takes a hundred times the memory of the characters."""

CODES: Final[dict[str, str]] = {
    "template_syntax": (
        "The template cannot be read there: places are {{name}} or {{name|format}}, choices "
        "{{#if name}} … {{else}} … {{/if}}; in HTML, places stand in text or in quoted attributes."
    ),
    "undeclared_variable": "The template has a place for a variable that it does not declare.",
    "unknown_format": "A variable of this type cannot be written in this format.",
    "unsafe_place": "In HTML, an address begins with a variable only if its type is `url`.",
    "unknown_language": "A language is written as in da or pt-BR, and is one that CLDR knows.",
    "no_default_language": "The default language is not among the languages.",
    "invalid_default": "The default is not a value that the variable could have.",
    "invalid_variable_name": "A variable's name is a to z, 0 to 9 and _, beginning with a letter.",
    "too_many_places": f"All texts together have more than {MAX_ALL_PLACES:,} places.",
    "rendered_too_long": "With these values, the text is longer than any channel could carry.",
    **VALUE_CODES,
}
"""Every code of a fault in a definition or in what it is rendered with."""

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Subject = Annotated[str, msgspec.Meta(max_length=MAX_SUBJECT)]
_ONE_LINE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NAME: Final = re.compile(rf"{NAME}\Z")
_SMS: Final = "sms"


class ProviderTemplate(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """WhatsApp's own approved template, sent instead of the text; its parameters may have
    places."""

    name: str
    language: str
    parameters: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=100)] = ()


class Wording(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the template says in one language. `text` is for every channel that has no variant;
    `subject` is the email's, and a push's title; `html` the email's."""

    text: _Text
    subject: _Subject | None = None
    html: Annotated[str, msgspec.Meta(max_length=MAX_HTML)] | None = None
    data: Annotated[dict[str, _Text], msgspec.Meta(max_length=MAX_DATA)] = {}
    variants: dict[str, Variant] = {}
    whatsapp: ProviderTemplate | None = None


class Definition(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One version of a template. `time_zone` is the clock by which times are written."""

    languages: Annotated[dict[str, Wording], msgspec.Meta(min_length=1, max_length=MAX_LANGUAGES)]
    default_language: str
    variables: Annotated[dict[str, Variable], msgspec.Meta(max_length=MAX_VARIABLES)] = {}
    time_zone: str = "UTC"


class Faulty(Exception):
    """A definition, or the values for one, with all faults together."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class _Bodies:
    """One language's texts as trees."""

    text: Parts
    subject: Parts | None
    html: Parts | None
    data: tuple[tuple[str, Parts], ...]
    variants: tuple[tuple[str, Parts | None, Parts | None], ...]
    whatsapp: tuple[str, str, tuple[Parts, ...]] | None


class _Texts(dict[Key, str]):
    """The text of each place that is asked for, made once."""

    def __init__(
        self, variables: Mapping[str, Variable], values: Mapping[str, Any], tongue: Tongue
    ) -> None:
        super().__init__()
        self._variables = variables
        self._values = values
        self._tongue = tongue

    def __missing__(self, key: Key) -> str:
        name, format_ = key
        text = ""
        if name in self._values:
            type_ = self._variables[name].type
            text = written(type_, self._values[name], format_, self._tongue)
        self[key] = text
        return text


class Compiled:
    """A definition ready to be rendered, any number of times and from any thread."""

    def __init__(self, definition: Definition, bodies: Mapping[str, _Bodies]) -> None:
        self.definition = definition
        self._bodies = bodies
        self._variables = definition.variables
        self._required = tuple(
            name
            for name, variable in definition.variables.items()
            if variable.required and variable.default is None
        )
        self._defaults = {
            name: checked(variable, variable.default)
            for name, variable in definition.variables.items()
            if variable.default is not None
        }

    def language_for(self, wanted: str | None) -> str:
        """The language to render in: the one that is wanted, or the same without its country, or
        the default."""
        while wanted:
            found = self._find(wanted)
            if found is not None:
                return found
            wanted = wanted.replace("_", "-").rpartition("-")[0]
        return self.definition.default_language

    def values(self, given: Mapping[str, Any], where: Path) -> dict[str, Any]:
        """The values as their variables' own, defaults filled in. Raises Faulty with all faults,
        whose paths begin with `where`."""
        faults: list[Fault] = []
        found = dict(self._defaults)
        for name, value in given.items():
            variable = self._variables.get(name)
            if variable is None:
                faults.append(_value_fault("unknown_variable", (*where, name)))
                continue
            if value is None or value == "":
                continue
            try:
                found[name] = checked(variable, value)
            except ValueProblem as problem:
                faults.append(Fault(problem.code, (*where, name), problem.detail))
        wrong = {fault.path[-1] for fault in faults}
        faults += [
            _value_fault("variable_missing", (*where, name))
            for name in self._required
            if name not in found and name not in wrong
        ]
        if faults:
            raise Faulty(faults)
        return found

    def render(
        self, language: str, values: Mapping[str, Any], channels: Collection[str]
    ) -> Content:
        """What these channels carry. `language` is one of `language_for`, `values` those of
        `values`. Raises Faulty when it is too long for any of them."""
        bodies = self._bodies[language]
        tongue = Tongue(language, self.definition.time_zone)
        texts = _Texts(self._variables, values, tongue)

        def filled(parts: Parts, most: int = MAX_TEXT) -> str:
            out: list[str] = []
            fill(parts, texts, values, out)
            # Before it is put together: a small template makes megabytes of a long value, and
            # whoever looks at them does so where all other messages wait.
            if sum(map(len, out)) > most:
                raise Faulty([Fault("rendered_too_long", (), CODES["rendered_too_long"])])
            return "".join(out)

        variants = {
            channel: Variant(
                None if own is None else filled(own),
                None if subject is None else filled(subject),
            )
            for channel, own, subject in bodies.variants
            if channel in channels
        }
        sms = variants.pop(_SMS, None)
        if sms is None or sms.text is None:
            text = filled(bodies.text)
        else:
            # Whoever counts segments reads `text`: it is always the one of the SMS.
            text = sms.text
            for channel in channels:
                own = variants.get(channel) or Variant()
                if channel != _SMS and own.text is None:
                    common = filled(bodies.text)
                    variants[channel] = msgspec.structs.replace(own, text=common)
        by_email = "email" in channels
        return Content(
            text=text,
            subject=(
                filled(bodies.subject)
                if bodies.subject is not None and (by_email or "push" in channels)
                else None
            ),
            html=(
                filled(bodies.html, 2 * MAX_HTML) if bodies.html is not None and by_email else None
            ),
            template=self._provider_template(bodies, channels, filled),
            data=(
                {key: filled(parts, MAX_DATA_TEXT) for key, parts in bodies.data}
                if "push" in channels
                else {}
            ),
            variants=variants,
        )

    def _provider_template(
        self, bodies: _Bodies, channels: Collection[str], filled: Any
    ) -> Template | None:
        if bodies.whatsapp is None or "whatsapp" not in channels:
            return None
        name, language, parameters = bodies.whatsapp
        lines = tuple(_one_line(filled(parts, MAX_PARAMETER)) for parts in parameters)
        return Template(name, language, lines)

    def _find(self, language: str) -> str | None:
        if language in self._bodies:
            return language
        plain = language.replace("_", "-").lower()
        return next((known for known in self._bodies if known.lower() == plain), None)


def compiled(definition: Definition) -> Compiled:
    """The definition ready to be rendered. Raises Faulty with everything that is wrong in it."""
    faults: list[Fault] = []
    _check_variables(definition, faults)
    if not _is_zone(definition.time_zone):
        path: Path = ("time_zone",)
        faults.append(Fault("unknown_time_zone", path, "There is no such IANA time zone."))
    if definition.default_language not in definition.languages:
        path = ("default_language",)
        faults.append(Fault("no_default_language", path, CODES["no_default_language"]))
    bodies, counts = {}, [0]
    for language, wording in definition.languages.items():
        where: Path = ("languages", language)
        try:
            locale_of(language)
        except ValueError:
            faults.append(Fault("unknown_language", where, CODES["unknown_language"]))
            continue
        bodies[language] = _bodies(wording, definition.variables, where, faults, counts)
    if sum(counts) > MAX_ALL_PLACES:
        faults.append(Fault("too_many_places", ("languages",), CODES["too_many_places"]))
    if faults:
        raise Faulty(faults)
    return Compiled(definition, bodies)


def _check_variables(definition: Definition, faults: list[Fault]) -> None:
    for name, variable in definition.variables.items():
        where: Path = ("variables", name)
        if _NAME.match(name) is None:
            faults.append(Fault("invalid_variable_name", where, CODES["invalid_variable_name"]))
        if variable.default is None:
            continue
        try:
            checked(variable, variable.default)
        except ValueProblem as problem:
            faults.append(Fault("invalid_default", (*where, "default"), problem.detail))


def _bodies(
    wording: Wording,
    variables: Mapping[str, Variable],
    where: Path,
    faults: list[Fault],
    counts: list[int],
) -> _Bodies:
    """`counts` hears of the places in each text."""

    def tree(source: str, writer: Writer, *path: str | int) -> Parts:
        at = (*where, *path)
        try:
            parts = parse(source, writer)
        except SyntaxProblem as problem:
            line = source.count("\n", 0, problem.at) + 1
            column = problem.at - (source.rfind("\n", 0, problem.at) + 1) + 1
            detail = f"Line {line}, column {column}: {problem}."
            faults.append(Fault("template_syntax", at, detail))
            return ()
        found = list(places(parts))
        counts.append(len(found))
        for one in found:
            faults.extend(_place_faults(one, variables, at))
        return parts

    def maybe(source: str | None, writer: Writer, *path: str | int) -> Parts | None:
        return None if source is None else tree(source, writer, *path)

    one_line = Plain(_one_line)
    if not wording.text.strip():
        faults.append(Fault("empty_text", (*where, "text"), "The text is empty."))
    variants = []
    for channel, variant in wording.variants.items():
        if channel not in CHANNELS:
            detail = f"Channels: {', '.join(CHANNELS)}."
            faults.append(Fault("unknown_channel", (*where, "variants", channel), detail))
            continue
        at = ("variants", channel)
        variants.append(
            (
                channel,
                maybe(variant.text, Plain(), *at, "text"),
                maybe(variant.subject, one_line, *at, "subject"),
            )
        )
    provider = wording.whatsapp
    return _Bodies(
        text=tree(wording.text, Plain(), "text"),
        subject=maybe(wording.subject, one_line, "subject"),
        html=maybe(wording.html, Html(), "html"),
        data=tuple(
            (key, tree(source, Plain(), "data", key)) for key, source in wording.data.items()
        ),
        variants=tuple(variants),
        whatsapp=(
            None
            if provider is None
            else (
                provider.name,
                provider.language,
                tuple(
                    tree(source, Plain(), "whatsapp", "parameters", number)
                    for number, source in enumerate(provider.parameters)
                ),
            )
        ),
    )


def _place_faults(
    place: Place | Choice, variables: Mapping[str, Variable], at: Path
) -> Iterator[Fault]:
    name, format_ = place.key if isinstance(place, Place) else (place.name, None)
    variable = variables.get(name)
    if variable is None:
        yield Fault("undeclared_variable", at, f"{name} is not among the variables.")
        return
    if format_ is not None and format_ not in FORMATS[variable.type]:
        known = ", ".join(FORMATS[variable.type]) or "none"
        detail = f"{name} is a {variable.type.value}; formats: {known}."
        yield Fault("unknown_format", at, detail)
    is_url = variable.type is VariableType.URL
    if isinstance(place, Place) and place.write is whole_url and not is_url:
        yield Fault("unsafe_place", at, f"{name} begins an address, and is no url.")


def _value_fault(code: str, path: Path) -> Fault:
    return Fault(code, path, CODES[code])


def _one_line(text: str) -> str:
    return _ONE_LINE.sub(" ", text)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
