"""Answers that a provider has compressed, though nothing but identity is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from adapters.wasm.egress.faults import malformed, too_large

_AUTOMATIC: Final = 32 + zlib.MAX_WBITS
"""To zlib: gzip or zlib, as the data says."""


def encodings(headers: Iterable[tuple[str, str]]) -> list[str]:
    """What was done to the body, in the order of doing."""
    texts = [value for name, value in headers if name == "content-encoding"]
    named = [name.strip().lower() for text in texts for name in text.split(",")]
    return [name for name in named if name not in ("", "identity")]


def plain(body: bytes, named: list[str], cap: int) -> bytes:
    """The body without its compression, of at most `cap` bytes. Raises HttpFault."""
    if not named or not body:
        return body
    if len(named) > 1 or named[0] not in ("gzip", "x-gzip", "deflate"):
        raise malformed("it is compressed in a way that was not asked for")
    stream = zlib.decompressobj(_AUTOMATIC)
    try:
        # One byte more tells that there is more, before the rest is unpacked.
        unpacked = stream.decompress(body, cap + 1)
    except zlib.error as error:
        raise malformed("its compression is broken") from error
    if len(unpacked) > cap:
        raise too_large("the answer, unpacked,", cap)
    if not stream.eof:
        raise malformed("its compression is broken")
    return unpacked
