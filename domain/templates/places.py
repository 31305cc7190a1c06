"""The language of templates: places that values fill, and parts that stand only with a value.

```
Hi {{name}}, your table is ready{{#if table}} at {{table}}{{else}} soon{{/if}}.
You paid {{price}} on {{day|long}}.
```

Nothing else: no expressions, no loops, no access to anything but the values of declared variables.
What a template gives is bounded by its own length and by that of the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

MAX_PLACES: Final = 200
MAX_DEPTH: Final = 5
NAME: Final = r"[a-z][a-z0-9_]{0,39}"

# No braces inside: a source of nothing but {{ is read in one pass, too.
_TAG: Final = re.compile(r"\{\{([^{}]*)\}\}")
_PLACE: Final = re.compile(rf"\s*({NAME})\s*(?:\|\s*([a-z]{{1,16}})\s*)?\Z")
_IF: Final = re.compile(rf"\s*#if\s+({NAME})\s*\Z")
_ELSE: Final = re.compile(r"\s*else\s*\Z")
_END: Final = re.compile(r"\s*/if\s*\Z")

Write = Callable[[str], str] | None
"""How a value is written at its place; None: as it is."""
Key = tuple[str, str | None]
"""A variable and the format in which it is written; None is the type's own."""


class SyntaxProblem(Exception):
    """A template cannot be read; the message says why, `at` where (in characters)."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.at = at


class Writer(Protocol):
    """Follows the text that places stand in, and says how they are written."""

    def read(self, literal: str) -> None:
        """The next piece of text."""

    def place(self, at: int) -> Write:
        """How a value is written here. Raises SyntaxProblem where none may stand."""

    def mark(self) -> Any:
        """Where the text is now: equal for two places where the same may follow."""

    def back(self, mark: Any) -> None:
        """Be where the text was at `mark`."""


class Plain:
    """Text in which values stand as they are, or changed by one function."""

    def __init__(self, write: Write = None) -> None:
        self._write = write

    def read(self, literal: str) -> None:
        """See `Writer`."""

    def place(self, at: int) -> Write:
        """See `Writer`."""
        return self._write

    def mark(self) -> Any:
        """See `Writer`."""
        return None

    def back(self, mark: Any) -> None:
        """See `Writer`."""


class Place(NamedTuple):
    """Where a value stands; `key` is its variable and its format."""

    key: Key
    write: Write
    at: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A part that stands when a variable has a value, and one for when it has none."""

    name: str
    then: tuple[Part, ...]
    otherwise: tuple[Part, ...]
    at: int


Part = str | Place | Choice
Parts = tuple[Part, ...]


class _Literal(NamedTuple):
    text: str


class _Tag(NamedTuple):
    text: str
    at: int


_Tokens = Sequence[_Literal | _Tag]


def parse(source: str, writer: Writer) -> Parts:
    """A template as a tree. Raises SyntaxProblem."""
    tokens = list(_scanned(source))
    if sum(isinstance(token, _Tag) for token in tokens) > MAX_PLACES:
        raise SyntaxProblem(f"more than {MAX_PLACES} places", 0)
    parts, rest = _sequence(tokens, 0, 0, writer)
    if rest < len(tokens):
        stray = tokens[rest]
        assert isinstance(stray, _Tag)
        raise SyntaxProblem(f"{{{{{stray.text.strip()}}}}} without its {{{{#if}}}}", stray.at)
    return parts


def places(parts: Parts) -> Iterator[Place | Choice]:
    """Every place and every choice, wherever it stands."""
    for part in parts:
        if isinstance(part, Place):
            yield part
        elif isinstance(part, Choice):
            yield part
            yield from places(part.then)
            yield from places(part.otherwise)


def fill(parts: Parts, texts: Mapping[Key, str], present: Container[str], out: list[str]) -> None:
    """Append what a template says to `out`. `texts` has a text for every place, `present` are the
    variables that have a value."""
    for part in parts:
        if type(part) is str:
            out.append(part)
        elif type(part) is Place:
            text = texts[part.key]
            out.append(text if part.write is None else part.write(text))
        else:
            assert isinstance(part, Choice)
            chosen = part.then if part.name in present else part.otherwise
            fill(chosen, texts, present, out)


def _scanned(source: str) -> Iterator[_Literal | _Tag]:
    end = 0
    for match in _TAG.finditer(source):
        if match.start() > end:
            yield _literal(source, end, match.start())
        yield _Tag(match[1], match.start())
        end = match.end()
    if end < len(source):
        yield _literal(source, end, len(source))


def _literal(source: str, start: int, end: int) -> _Literal:
    for braces in ("{{", "}}"):
        at = source.find(braces, start, end)
        if at >= 0:
            raise SyntaxProblem(f"{braces} without its counterpart", at)
    return _Literal(source[start:end])


def _sequence(tokens: _Tokens, index: int, depth: int, writer: Writer) -> tuple[Parts, int]:
    parts: list[Part] = []
    while index < len(tokens):
        token = tokens[index]
        if isinstance(token, _Literal):
            writer.read(token.text)
            parts.append(token.text)
            index += 1
        elif _ELSE.match(token.text) or _END.match(token.text):
            break
        elif condition := _IF.match(token.text):
            if depth == MAX_DEPTH:
                raise SyntaxProblem(
                    f"more than {MAX_DEPTH} {{{{#if}}}} inside each other", token.at
                )
            choice, index = _choice(tokens, index, condition[1], depth, writer)
            parts.append(choice)
        else:
            place = _PLACE.match(token.text)
            if place is None:
                reason = (
                    "between {{ and }} stands a variable's name, perhaps with a format behind a "
                    "bar, or #if NAME, else, /if"
                )
                raise SyntaxProblem(reason, token.at)
            parts.append(Place((place[1], place[2]), writer.place(token.at), token.at))
            index += 1
    return tuple(parts), index


def _choice(
    tokens: _Tokens, index: int, name: str, depth: int, writer: Writer
) -> tuple[Choice, int]:
    opened = tokens[index]
    assert isinstance(opened, _Tag)
    before = writer.mark()
    then, index = _sequence(tokens, index + 1, depth + 1, writer)
    after = writer.mark()
    writer.back(before)
    otherwise: Parts = ()
    if index < len(tokens) and _is(_ELSE, tokens[index]):
        otherwise, index = _sequence(tokens, index + 1, depth + 1, writer)
    if index == len(tokens) or not _is(_END, tokens[index]):
        raise SyntaxProblem("{{#if}} without its {{/if}}", opened.at)
    if writer.mark() != after:
        raise SyntaxProblem("both parts of an {{#if}} have to open and close the same", opened.at)
    return Choice(name, then, otherwise, opened.at), index + 1


def _is(pattern: re.Pattern[str], token: _Literal | _Tag) -> bool:
    return isinstance(token, _Tag) and pattern.match(token.text) is not None
