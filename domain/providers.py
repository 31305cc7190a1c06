"""Which provider of a step has its turn, and what its failure means for the others."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from domain.failures import Failure

OWN: Final = ""
"""Stands among a step's adapters for Hermes's own service of the channel."""


class Turn(Enum):
    """Whose turn is next, after a failure."""

    ANOTHER = "another"  # another provider's, at once
    AGAIN = "again"  # whoever is next, after a pause: all of them have been asked
    NOBODY = "nobody"  # the failure is not the provider's, or there is no other


class Providers:
    """The providers of one step, in the order in which they were chosen."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._at = 0

    @property
    def current(self) -> str | None:
        """Whose turn it is; None when nobody was chosen beforehand."""
        return self._names[self._at] if self._names else None

    def pass_on(self, failure: Failure) -> Turn:
        """Let the next one try, if it may succeed.

        Who failed for good is not asked again; the others are, in rounds.
        """
        if len(self._names) < 2 or not failure.of_provider:
            return Turn.NOBODY
        if failure.permanent:
            del self._names[self._at]
        else:
            self._at += 1
        if self._at < len(self._names):
            return Turn.ANOTHER
        self._at = 0
        return Turn.AGAIN
