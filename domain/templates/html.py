"""Where in HTML a value may stand, and how it is written there so that it stays a value.

The HTML is the tenant's own and trusted; the values come from whoever the tenant had them from.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any, Final
from urllib.parse import quote

from domain.templates.places import SyntaxProblem, Write

_RAW: Final = frozenset(
    {"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext"}
)
"""Elements whose content HTML reads in another way."""
_URLS: Final = frozenset({"href", "src", "action", "formaction", "background", "cite", "poster"})
_CODE: Final = frozenset({"style", "srcdoc", "srcset"})
_NAME: Final = re.compile(r"[a-zA-Z][^\s/>]*")
_ATTRIBUTE: Final = re.compile(r"[^\s=/>\"']{1,64}\Z")
_REMEMBERED: Final = 128
"""Characters of a tag that are looked at again: no attribute that counts has a longer name."""


def whole_url(text: str) -> str:
    """A value that is a URL by itself; only variables of that type may be."""
    return escape(text)


def part_of_url(text: str) -> str:
    """A value inside a URL."""
    return quote(text, safe="")


class Html:
    """Follows a template's HTML as a browser does. One for each template."""

    def __init__(self) -> None:
        self._state = "text"
        self._read = ""
        self._element = ""
        self._attribute = ""
        self._quote = ""
        self._begun = False

    def read(self, literal: str) -> None:
        """See `places.Writer`."""
        for character in literal:
            getattr(self, f"_in_{self._state}")(character)

    def place(self, at: int) -> Write:
        """See `places.Writer`."""
        if self._state == "text":
            return escape
        if self._state != "value":
            where = {
                "raw": f"inside of <{self._element}>",
                "comment": "in a comment",
                "opened": "behind a <",
            }.get(self._state, "in a tag, but in an attribute's quotation marks")
            raise SyntaxProblem(f"no value may stand {where}", at)
        begun, self._begun = self._begun, True
        if self._attribute in _CODE or self._attribute.startswith("on"):
            raise SyntaxProblem(f"no value may stand in the attribute {self._attribute}", at)
        if self._attribute not in _URLS:
            return escape
        return part_of_url if begun else whole_url

    def mark(self) -> Any:
        """See `places.Writer`."""
        return self._state, self._read, self._element, self._attribute, self._quote, self._begun

    def back(self, mark: Any) -> None:
        """See `places.Writer`."""
        self._state, self._read, self._element, self._attribute, self._quote, self._begun = mark

    def _in_text(self, character: str) -> None:
        if character == "<":
            self._state, self._read = "opened", ""

    def _in_opened(self, character: str) -> None:
        self._read += character
        if self._read == "!--":
            self._state, self._read = "comment", ""
        elif "!--".startswith(self._read):
            return
        elif self._read[0].isalpha() or self._read[0] in "/!?":
            self._state = "tag"
            self._element = ""
            if character == ">":
                self._end_tag()
        else:
            # A < that is only that.
            self._state, self._read = "text", ""
            self._in_text(character)

    def _in_comment(self, character: str) -> None:
        self._read = (self._read + character)[-3:]
        if self._read == "-->":
            self._state, self._read = "text", ""

    def _in_tag(self, character: str) -> None:
        if character == ">":
            self._end_tag()
            return
        if character.isspace() or character == "/":
            self._name_element()
        name = self._attribute_before() if character in "\"'" else ""
        if name:
            self._state, self._attribute = "value", name
            self._quote, self._begun, self._read = character, False, ""
        else:
            self._read = (self._read + character)[-_REMEMBERED:]

    def _attribute_before(self) -> str:
        """The name of the attribute whose value a quotation mark would begin here."""
        before = self._read.rstrip()
        if not before.endswith("="):
            return ""
        found = _ATTRIBUTE.search(before[:-1].rstrip())
        return found[0].lower() if found else ""

    def _in_value(self, character: str) -> None:
        if character == self._quote:
            self._state, self._attribute, self._quote = "tag", "", ""
            self._begun, self._read = False, " "
        else:
            self._begun = True

    def _in_raw(self, character: str) -> None:
        self._read = (self._read + character)[-32:]
        if character == ">" and self._read.lower().rstrip("> \n\t").endswith(f"</{self._element}"):
            self._state, self._read, self._element = "text", "", ""

    def _name_element(self) -> None:
        if not self._element and (name := _NAME.match(self._read)):
            self._element = name[0].lower()

    def _end_tag(self) -> None:
        self._name_element()
        self._state, self._read = "text", ""
        if self._element in _RAW:
            self._state = "raw"
        else:
            self._element = ""
