"""What is wrong with a value, all of it, in words and with its place."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from domain.faults import MOST_FAULTS, faults_in


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1, le=10)]
    code: Annotated[str, msgspec.Meta(pattern="^[0-9]+$", examples=["42"])] = "1"


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=5)]
    part: Part | None = None
    parts: Annotated[tuple[Part, ...], msgspec.Meta(max_length=3)] = ()
    by_colour: dict[Colour, Part] = {}
    tone: Literal["high", "low"] = "low"
    width: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if self.name == "never":
            raise ValueError("never is no name")


CASES: dict[str, tuple[Any, list[tuple[str, str, str]]]] = {
    "missing": ({}, [("required", "name", "It must be there.")]),
    "unknown": (
        {"name": "a", "x": 1},
        [("unknown_field", "x", "There is no such field here.")],
    ),
    "type": ({"name": 1}, [("wrong_type", "name", "A text, not a whole number.")]),
    "type or null": (
        {"name": "a", "width": "wide"},
        [("wrong_type", "width", "A number or null, not a text.")],
    ),
    "not an object": ([], [("wrong_type", "", "An object, not a list.")]),
    "too short": ({"name": ""}, [("too_short", "name", "At least 1 character.")]),
    "too long": ({"name": "abcdef"}, [("too_long", "name", "At most 5 characters.")]),
    "too many": (
        {"name": "a", "parts": [{"size": 1}] * 4},
        [("too_long", "parts", "At most 3 items.")],
    ),
    "too large": (
        {"name": "a", "part": {"size": 11}},
        [("out_of_range", "part.size", "At most 10.")],
    ),
    "too small": (
        {"name": "a", "width": 0},
        [("out_of_range", "width", "More than 0.")],
    ),
    "not of the form": (
        {"name": "a", "part": {"size": 1, "code": "x"}},
        [("invalid_value", "part.code", "It is written as in 42.")],
    ),
    "a key": (
        {"name": "a", "by_colour": {"green": {"size": 1}}},
        [("unknown_value", "by_colour.green", "green: one of red, blue.")],
    ),
    "a choice": (
        {"name": "a", "tone": "loud"},
        [("unknown_value", "tone", "loud: one of high, low.")],
    ),
    "what the type says itself": (
        {"name": "never"},
        [("invalid_value", "", "Never is no name.")],
    ),
    "several": (
        {
            "y": 1,
            "part": {},
            "parts": [{"size": 1}, {"size": 0}],
            "by_colour": {"red": {"size": 99}},
        },
        [
            ("unknown_field", "y", "There is no such field here."),
            ("required", "name", "It must be there."),
            ("required", "part.size", "It must be there."),
            ("out_of_range", "parts.1.size", "At least 1."),
            ("out_of_range", "by_colour.red.size", "At most 10."),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "faults"), CASES.values(), ids=CASES)
def test_faults(value: Any, faults: list[tuple[str, str, str]]):
    found = [(code, ".".join(map(str, path)), said) for code, path, said in faults_in(value, Whole)]
    assert found == faults
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, Whole)


def test_nothing_is_wrong_with_what_can_be_taken():
    assert faults_in({"name": "a", "part": None, "parts": [{"size": 3, "code": "7"}]}, Whole) == []


def test_a_bounded_number_of_faults_is_told():
    value = {str(key): 1 for key in range(1000)}
    assert len(faults_in(value, Whole)) == MOST_FAULTS
