"""A carrier's message ids, made comparable between its response and its receipts."""

from __future__ import annotations

from adapters.smpp.carriers.config import IdFormat

_BASE = {"decimal": 10, "hex": 16}


def comparable(message_id: str, written: IdFormat) -> str:
    """The id as the journal keeps it: a number in decimal without leading zeros, or the text.

    What does not read as the number it should be stays as it is: it may still match itself.
    """
    if written == "text":
        return message_id
    try:
        return str(int(message_id, _BASE[written]))
    except ValueError:
        return message_id
