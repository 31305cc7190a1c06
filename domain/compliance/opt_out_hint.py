"""Whether a marketing text says how to end it.

One table of what people are told in a country's languages, by whole words, whatever their case.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

HINTS: Final[tuple[str, ...]] = (
    "stop",  # the word itself is understood nearly everywhere
    "unsubscribe",
    "opt out",
    "opt-out",
    "optout",
    "afmeld",  # da
    "frameld",
    "avsluta",  # sv
    "avregistrera",
    "avslutt",  # no
    "meld av",
    "lopeta",  # fi
    "peruuta",
    "abmelden",  # de
    "abbestellen",
    "desabonner",  # fr
    "desinscrire",
    "desinscription",
    "baja",  # es
    "cancelar",
    "cancella",  # it
    "disiscriviti",
    "afmelden",  # nl
    "uitschrijven",
    "rezygnuj",  # pl
    "wypisz",
    "sair",  # pt
    "remover",
)
"""Without accents: texts are compared so."""

_FOUND: Final = re.compile(rf"\b(?:{'|'.join(map(re.escape, HINTS))})\b", re.IGNORECASE).search


def says_how_to_end(text: str) -> bool:
    """Whether one of the hints is in the text."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if not unicodedata.combining(c))
    return _FOUND(text) is not None
