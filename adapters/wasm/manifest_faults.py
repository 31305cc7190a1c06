"""What is wrong with a manifest that cannot be read: all of it together, in words for its author.

msgspec ends at the first fault and names it by regular expressions and paths of its own. Here the
same types are gone through once more, past every fault.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect as types

MOST_FAULTS: Final = 50
NO_SUCH_KEY: Final = "is a key that there is not"
_MOST_SHOWN: Final = 40
"""Characters of a value that is repeated."""

_JSON: Final[tuple[tuple[type, str], ...]] = (
    # A boolean is an integer to Python.
    (bool, "true or false"),
    (str, "a text"),
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "an object"),
)


_WANTED: Final[dict[type[types.Type], str]] = {
    types.StrType: "a text",
    types.IntType: "a whole number",
    types.BoolType: "true or false",
    types.StructType: "an object",
}
_OTHER: Final = tuple(f"has to be {name}, not " for name in _WANTED.values())


class ManifestFault(NamedTuple):
    """One fault: a JSON Pointer (RFC 6901) into manifest.json, and the rest of a sentence that
    begins with what is there."""

    pointer: str
    words: str

    def __str__(self) -> str:
        return f"{self.pointer or 'manifest.json'} {self.words}"


def faults_of(document: Any, wanted: Any, forms: Mapping[str, str]) -> Iterator[ManifestFault]:
    """How decoded JSON differs from a type of msgspec's. `forms` says of each regular expression
    in it, as the rest of a sentence, what it stands for."""
    yield from _Walk(forms).value("", document, types.type_info(wanted))


class _Walk:
    def __init__(self, forms: Mapping[str, str]) -> None:
        self._forms = forms

    def value(self, at: str, value: Any, kind: types.Type) -> Iterator[ManifestFault]:
        match kind:
            case types.StructType():
                yield from self._struct(at, value, kind)
            case types.UnionType():
                yield from self._union(at, value, kind)
            case types.ListType() | types.VarTupleType():
                yield from self._list(at, value, kind)
            case types.DictType():
                yield from self._dict(at, value, kind)
            case types.LiteralType(values=values):
                if value not in values:
                    said = _shown(value)
                    yield ManifestFault(at, f"has to be {_either(values)}, not {said}")
            case types.StrType():
                yield from self._text(at, value, kind)
            case types.IntType(ge=least, le=most):
                if type(value) is not int:
                    yield _no("a whole number", at, value)
                elif (least is not None and value < least) or (most is not None and value > most):
                    yield ManifestFault(
                        at, f"has to be between {least:,} and {most:,}, not {value:,}"
                    )
            case types.BoolType():
                if type(value) is not bool:
                    yield _no("true or false", at, value)
            case types.NoneType():
                if value is not None:
                    yield _no("null", at, value)
            case _:
                raise TypeError(f"no words for {kind}")

    def _struct(self, at: str, value: Any, kind: types.StructType) -> Iterator[ManifestFault]:
        if not isinstance(value, dict):
            yield _no("an object", at, value)
            return
        fields = {field.encode_name: field for field in kind.fields}
        known = [*fields, *([kind.tag_field] if kind.tag_field else [])]
        count = 0
        if kind.tag_field and value.get(kind.tag_field) != kind.tag:
            count += 1
            yield _no_tag(at, value, kind.tag_field, [kind.tag])
        for key in value:
            if key not in known:
                count += 1
                close = difflib.get_close_matches(str(key)[:64], known, n=1)
                perhaps = f"; perhaps it is {close[0]}" if close else ""
                yield ManifestFault(_in(at, key), f"{NO_SUCH_KEY}{perhaps}")
        for name, field in fields.items():
            if name not in value:
                if field.required:
                    count += 1
                    yield ManifestFault(_in(at, name), "is missing")
            else:
                for fault in self.value(_in(at, name), value[name], field.type):
                    count += 1
                    yield fault
        if not count:
            yield from self._whole(at, value, kind)

    def _whole(self, at: str, value: Any, kind: types.StructType) -> Iterator[ManifestFault]:
        """What only the whole object shows: the type's own check."""
        try:
            msgspec.convert(value, kind.cls)
        except msgspec.ValidationError as error:
            cause = error.__cause__
            if isinstance(cause, Inconsistent):
                for fault in cause.faults:
                    yield ManifestFault(at + fault.pointer, fault.words)
            else:
                yield ManifestFault(at, f"is not right: {_plain(str(error))}")

    def _union(self, at: str, value: Any, kind: types.UnionType) -> Iterator[ManifestFault]:
        structs = [each for each in kind.types if isinstance(each, types.StructType)]
        if value is None and any(isinstance(each, types.NoneType) for each in kind.types):
            return
        if structs and isinstance(value, dict):
            tag = structs[0].tag_field
            if tag is None:
                yield from self._struct(at, value, structs[0])
                return
            named = [each for each in structs if each.tag == value.get(tag)]
            if named:
                yield from self._struct(at, value, named[0])
            else:
                yield _no_tag(at, value, tag, [each.tag for each in structs])
            return
        some = [each for each in kind.types if not isinstance(each, types.NoneType)]
        attempts = [list(self.value(at, value, each)) for each in some]
        if all(attempts):
            wanted = [_WANTED[type(each)] for each in kind.types if type(each) in _WANTED]
            own = [each for each in attempts if not any(f.words.startswith(_OTHER) for f in each)]
            # Where the kind of JSON is right, what is wrong with the value.
            yield from own[0] if own else [_no(_either(wanted), at, value)]

    def _list(
        self, at: str, value: Any, kind: types.ListType | types.VarTupleType
    ) -> Iterator[ManifestFault]:
        if not isinstance(value, list):
            yield _no("a list", at, value)
            return
        yield from _sized(at, len(value), kind.min_length, kind.max_length, "items")
        for number, each in enumerate(value[: 2 * MOST_FAULTS]):
            yield from self.value(_in(at, number), each, kind.item_type)

    def _dict(self, at: str, value: Any, kind: types.DictType) -> Iterator[ManifestFault]:
        if not isinstance(value, dict):
            yield _no("an object", at, value)
            return
        yield from _sized(at, len(value), kind.min_length, kind.max_length, "keys")
        for key, each in value.items():
            for fault in self.value(_in(at, key), key, kind.key_type):
                yield ManifestFault(fault.pointer, f"has a name that {fault.words}")
            yield from self.value(_in(at, key), each, kind.value_type)

    def _text(self, at: str, value: Any, kind: types.StrType) -> Iterator[ManifestFault]:
        if not isinstance(value, str):
            yield _no("a text", at, value)
            return
        found = list(_sized(at, len(value), kind.min_length, kind.max_length, "characters"))
        if not found and kind.pattern is not None and not re.search(kind.pattern, value):
            form = self._forms.get(kind.pattern, f"has to match {kind.pattern}")
            found = [ManifestFault(at, f"{form}, not {_shown(value)}")]
        yield from found


class Inconsistent(ValueError):
    """Parts of a manifest contradict each other. `faults` has a pointer for each, from the object
    that was checked."""

    def __init__(self, faults: list[ManifestFault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def _sized(
    at: str, size: int, least: int | None, most: int | None, what: str
) -> Iterator[ManifestFault]:
    if (least is None or size >= least) and (most is None or size <= most):
        return
    bounds = f"at most {most:,}" if not least else f"{least:,} to {most:,}"
    if most is None:
        bounds = f"at least {least:,}"
    yield ManifestFault(at, f"has to have {bounds} {what}, not {size:,}")


def _no_tag(at: str, value: dict[str, Any], field: str, tags: list[Any]) -> ManifestFault:
    if field not in value:
        return ManifestFault(_in(at, field), "is missing")
    said = _shown(value[field])
    return ManifestFault(_in(at, field), f"has to be {_either(tags)}, not {said}")


def _no(wanted: str, at: str, value: Any) -> ManifestFault:
    found = next((name for kind, name in _JSON if isinstance(value, kind)), "null")
    return ManifestFault(at, f"has to be {wanted}, not {found}")


def _either(values: Any) -> str:
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _plain(text: str) -> str:
    return text.partition(" - at `")[0]


def _in(at: str, key: object) -> str:
    return f"{at}/{str(key)[:256].replace('~', '~0').replace('/', '~1')}"
