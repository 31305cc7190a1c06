"""How a text becomes short messages: the choice of encoding, and the cuts.

Sizes follow GSM 03.40 (3GPP TS 23.040) section 9.2.3.24.1: a short message holds 140 octets, and
one part of several gives six of them to the concatenation header (UDH).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from domain.sms import gsm0338

Encoding = Literal["gsm7", "ucs2"]

GSM7_SINGLE: Final = 160
"""Septets in a message of one part."""
GSM7_PART: Final = 153
"""Septets in one part of several, after a header of `UDH_8` octets."""
UCS2_SINGLE: Final = 140
"""Octets (70 UTF-16 code units) in a message of one part."""
UCS2_PART: Final = 134
"""Octets (67 UTF-16 code units) in one part of several."""
UDH_8: Final = 6
"""Octets of the header with an 8-bit reference (3GPP TS 23.040 section 9.2.3.24.1)."""
UDH_16: Final = 7
"""Octets of the header with a 16-bit reference (section 9.2.3.24.8)."""
_OCTETS: Final = 140
MAX_PARTS: Final = 255
"""The concatenation header counts parts in one octet."""

DATA_CODING: Final[dict[Encoding, int]] = {"gsm7": 0, "ucs2": 8}
"""SMPP 3.4 section 5.2.19. 0 is the SMSC's default alphabet: GSM 03.38 unless a carrier differs."""


class TooManyPartsError(ValueError):
    """The text needs more than MAX_PARTS parts, which no concatenation header can number."""


@dataclass(frozen=True, slots=True)
class SegmentedText:
    """A text cut into the payloads of its short messages.

    `parts` hold the payload without any UDH, in order, at least one (an empty text is one empty
    part). Septets are unpacked, one an octet. `reference` (0..255) is what the parts of one message
    share and successive messages to the same handset should not.
    """

    encoding: Encoding
    data_coding: int
    parts: tuple[bytes, ...]
    reference: int

    def udh(self, index: int) -> bytes:
        """The user data header of part `index` (from 0): 8-bit concatenation, TS 23.040 9.2.3.24.1.

        Empty for a message of one part, which needs none.

        Raises:
            IndexError: there is no such part.
        """
        if not 0 <= index < len(self.parts):
            raise IndexError(index)
        if len(self.parts) == 1:
            return b""
        return bytes((0x05, 0x00, 0x03, self.reference, len(self.parts), index + 1))


def segment(
    text: str, *, reference: int, header: int = UDH_8, encoding: Encoding | None = None
) -> SegmentedText:
    """Cut `text` into short messages: GSM-7 when every character has a septet, otherwise UCS-2.

    Each of several parts leaves room for `header` octets; `encoding` "ucs2" allows no other.
    UCS-2 is UTF-16BE in practice: a surrogate pair stays in one part, as do ESC and its character.

    Raises:
        TooManyPartsError: more than MAX_PARTS parts.
        ValueError: `reference` is outside 0..255, or `text` holds a lone surrogate
            (UnicodeEncodeError), which no encoding can carry.
    """
    if not 0 <= reference <= 0xFF:
        raise ValueError(f"a concatenation reference is 0..255, not {reference}")
    septets = gsm0338.encode(text) if encoding != "ucs2" else None
    if septets is not None:
        encoding, payload = "gsm7", septets
        cuts = [0, *_gsm7_cuts(septets, (_OCTETS - header) * 8 // 7)]
    else:
        encoding, payload = "ucs2", text.encode("utf-16-be")
        cuts = [0, *_ucs2_cuts(payload, (_OCTETS - header) & ~1)]
    if len(cuts) > MAX_PARTS + 1:
        raise TooManyPartsError(f"{len(cuts) - 1} parts; a message has at most {MAX_PARTS}")
    parts = tuple(payload[start:end] for start, end in pairwise(cuts))
    return SegmentedText(encoding, DATA_CODING[encoding], parts, reference)


def count_segments(text: str) -> tuple[Encoding, int]:
    """The encoding and the number of parts `segment` would choose, without cutting.

    The number has no upper bound here: a caller compares it with its own limit.

    Raises:
        UnicodeEncodeError: `text` holds a lone surrogate.
    """
    septets = gsm0338.count_septets(text)
    if septets is not None:
        if septets <= GSM7_SINGLE:
            return "gsm7", 1
        if septets == len(text):
            return "gsm7", -(-septets // GSM7_PART)
        return "gsm7", sum(1 for _ in _gsm7_cuts(gsm0338.encode(text) or b""))
    payload = text.encode("utf-16-be")
    if len(payload) <= UCS2_SINGLE:
        return "ucs2", 1
    if len(payload) == 2 * len(text):
        return "ucs2", -(-len(payload) // UCS2_PART)
    return "ucs2", sum(1 for _ in _ucs2_cuts(payload))


def segments_of(channel: str, text: str | None) -> int:
    """What a text on a channel is paid for: its short messages by SMS, and one on any other."""
    if channel != "sms" or text is None:
        return 1
    try:
        return max(count_segments(text)[1], 1)
    except ValueError:
        # No short message can carry it; whoever cuts it will say so.
        return 1


def _gsm7_cuts(septets: bytes, part: int = GSM7_PART) -> Iterator[int]:
    return _cuts(septets, GSM7_SINGLE, part, _ends_in_escape)


def _ucs2_cuts(payload: bytes, part: int = UCS2_PART) -> Iterator[int]:
    return _cuts(payload, UCS2_SINGLE, part, _ends_in_high_surrogate)


def _ends_in_escape(septets: bytes, end: int) -> int:
    return 1 if septets[end - 1] == gsm0338.ESCAPE else 0


def _ends_in_high_surrogate(payload: bytes, end: int) -> int:
    return 2 if 0xD8 <= payload[end - 2] <= 0xDB else 0


def _cuts(
    payload: bytes, single: int, size: int, overhang: Callable[[bytes, int], int]
) -> Iterator[int]:
    """Yield where each part ends; `overhang` says how many octets must move to the next part."""
    total = len(payload)
    if total <= single:
        yield total
        return
    end = 0
    while total - end > size:
        end += size
        end -= overhang(payload, end)
        yield end
    yield total
