"""The GSM 03.38 default alphabet and its extension table.

Source: 3GPP TS 23.038 (GSM 03.38) section 6.2.1 (default alphabet) and 6.2.1.1 (extension table).
Text becomes unpacked septets: one octet a septet with the high bit clear, which is how SMPP carries
it under `data_coding` 0. An extension character takes two septets: ESC (0x1B) and its code.
"""

import codecs
from typing import Final

ESCAPE: Final = 0x1B
"""The septet that announces a character of the extension table."""

BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet; a character's index is its septet. Index 0x1B is ESC, no character."""

EXTENSION: Final[dict[str, int]] = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
"""The extension table: a character and the septet that follows ESC."""

# Python's fastest text codec is a 256-character map whose index 0 is U+0000. The septet 0 is "@",
# and extension characters need two octets, so text goes through a code page with one octet a
# character: basic characters keep their septet, extension characters sit at their code | 0x80, and
# "@" sits at 0x80. Then bytes.translate finishes the work, all of it in C.
_AT = 0x80
_UNDEFINED = "\ufffe"


def _code_page() -> str:
    page = [_UNDEFINED] * 256
    for septet, character in enumerate(BASIC):
        if septet not in (0, ESCAPE):
            page[septet] = character
    page[0] = "\0"
    page[_AT] = BASIC[0]
    for character, code in EXTENSION.items():
        page[0x80 | code] = character
    return "".join(page)


_TO_PAGE = codecs.charmap_build(_code_page())
_BASIC_OCTETS = bytes([*range(0x80), _AT])
_AT_TO_SEPTET = bytes.maketrans(bytes([_AT]), b"\0")
_ESCAPED = [(bytes([0x80 | code]), bytes([ESCAPE, code])) for code in EXTENSION.values()]
_EXTENSION_BY_CODE = {code: character for character, code in EXTENSION.items()}


def _to_page(text: str) -> bytes | None:
    try:
        page, _ = codecs.charmap_encode(text, "strict", _TO_PAGE)
    except UnicodeEncodeError:
        return None
    return None if b"\0" in page else page


def count_septets(text: str) -> int | None:
    """The number of septets `text` takes, or None when a character is not in the alphabet."""
    page = _to_page(text)
    if page is None:
        return None
    return len(page) + len(page.translate(None, _BASIC_OCTETS))


def encode(text: str) -> bytes | None:
    """`text` as unpacked septets, or None when a character is not in the alphabet.

    None rather than an exception: that a text needs UCS-2 is an ordinary answer.
    """
    page = _to_page(text)
    if page is None:
        return None
    septets = page.translate(_AT_TO_SEPTET)
    if page.translate(None, _BASIC_OCTETS):
        for octet, escaped in _ESCAPED:
            septets = septets.replace(octet, escaped)
    return septets


def decode(septets: bytes) -> str:
    """Text from unpacked septets.

    As TS 23.038 section 6.2.1.1 asks of a receiver, an unknown extension code shows the basic
    character of that code, and a lone ESC at the end shows a space.

    Raises:
        ValueError: an octet has its high bit set, so these are not septets.
    """
    if not septets.isascii():
        raise ValueError("septets have the high bit clear")
    if ESCAPE not in septets:
        return "".join([BASIC[septet] for septet in septets])
    characters: list[str] = []
    escaped = False
    for septet in septets:
        if escaped:
            # ESC ESC is reserved for a further table; it shows as a space, like any unknown one.
            character = " " if septet == ESCAPE else BASIC[septet]
            characters.append(_EXTENSION_BY_CODE.get(septet, character))
            escaped = False
        elif septet == ESCAPE:
            escaped = True
        else:
            characters.append(BASIC[septet])
    if escaped:
        characters.append(" ")
    return "".join(characters)
